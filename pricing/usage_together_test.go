package pricing_test

import (
	"slices"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"

	"go.yaml.in/yaml/v4"
)

// togetherRows have a price for every part: input $2, cache read $0.50, writes
// $2.50 and $4, output $8 a million.
const togetherRows = `
- {model: spelt/sound, family: bytes, limits: {context: 1000000, max_output: 100000}, prices: [{input: "2", output: "8", output_audio: "80"}]}
- {model: spelt/sight, family: bytes, limits: {context: 1000000, max_output: 100000}, prices: [{input: "2", output: "8", output_image: "80"}]}
- {model: odd/all, family: bytes, limits: {context: 1000000, max_output: 100000}, prices: [{input: "2", cache_read: "0.5", cache_write: "2.5", cache_write_long: "4", output: "8", input_audio: "20", input_image: "30", output_audio: "80"}]}
- {model: odd/short, family: bytes, limits: {context: 1000000, max_output: 100000}, prices: [{input: "2", cache_write: "2.5", output: "8"}]}
- {model: openrouter/acme/m, family: bytes, limits: {context: 1000000, max_output: 100000}, prices: [{input: "2", output: "8"}]}
- {model: anthropic/step, family: bytes, limits: {context: 1000000, max_output: 100000}, prices: [{input: "1", output: "5", tiers: [{from: 1001, input: "10", output: "50"}]}]}
`

func togetherCatalog(t *testing.T) *pricing.Catalog {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load([]byte(spelt+togetherRows), &n); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&n, []pricing.Upstream{
		{Provider: "spelt"}, {Provider: "anthropic"}, {Provider: "openrouter", Dialect: pricing.DialectOpenRouter},
		{Provider: "odd", Dialect: pricing.DialectCustom, Extractor: &pricing.Extractor{
			Input: "in", Output: "out", CacheRead: "hit", CacheWrite: "put", CacheWriteLong: "keep", InputAudio: "heard", InputImage: "seen", OutputAudio: "said", Cost: "bill",
		}},
	}, 1e12)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// reported is one answer's reports, and what they come to together.
type reported struct {
	name, model  string // empty: spelt/chat
	e            pricing.Endpoint
	more         string // members of the body
	ev           pricing.Evidence
	cost         budget.Amount // -1: the bound
	inconsistent bool
}

func (r *reported) check(t *testing.T, c *pricing.Catalog) {
	t.Helper()
	body := speltBody(r.e, r.more)
	if r.model != "" {
		body = `{"model":"` + r.model + `","max_tokens":9000,"messages":[{"role":"user","content":"hi"}]` + r.more + `}`
	}
	b := mustBound(t, c, r.e, body, noon())
	r.ev.Sent, r.ev.Status, r.ev.Done = true, 200, true
	got := pricing.Charge(b.Pin, b.Amount, r.ev, nil)
	want, basis := r.cost, budget.BasisUsage
	if want < 0 {
		want, basis = b.Amount, budget.BasisBound
	}
	if got.Cost != want || got.Basis != basis || slices.Contains(got.Flags, pricing.FlagUsageInconsistent) != r.inconsistent {
		t.Errorf("%s %s, flags %v; want %s %s, inconsistent %t", got.Basis, got.Cost, got.Flags, basis, want, r.inconsistent)
	}
}

func checkReported(t *testing.T, tests []reported) {
	t.Helper()
	c := togetherCatalog(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.check(t, c) })
	}
}

const (
	webSearches  = `,"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":5}]`
	thousandIn   = `{"input_tokens":1000,"output_tokens":100}`
	thousandChat = `{"prompt_tokens":1000,"completion_tokens":100}`
)

// Several reports of one answer come to more than any of them where each has a
// part that the others lack.
func TestReportsTogether(t *testing.T) {
	const micro = 1000
	checkReported(t, []reported{
		{name: "searches of an earlier report", e: pricing.Messages, more: webSearches,
			ev: pricing.Evidence{FirstUsage: `{"input_tokens":10,"output_tokens":1,"server_tool_use":{"web_search_requests":3}}`, Usage: thousandIn}, cost: (2800 + 30_000) * micro},
		{name: "fewer searches in the last", e: pricing.Messages, more: webSearches,
			ev: pricing.Evidence{FirstUsage: `{"input_tokens":10,"output_tokens":1,"server_tool_use":{"web_search_requests":3}}`, Usage: `{"input_tokens":1000,"output_tokens":100,"server_tool_use":{"web_search_requests":2}}`}, cost: (2800 + 30_000) * micro},
		{name: "an earlier one disagrees with itself", e: pricing.Chat,
			ev: pricing.Evidence{FirstUsage: `{"prompt_tokens":10,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":20}}`, Usage: thousandChat}, cost: 2800 * micro, inconsistent: true},
		{name: "a price of long inputs", model: "anthropic/step", e: pricing.Messages,
			ev: pricing.Evidence{FirstUsage: `{"input_tokens":1001,"output_tokens":0}`, Usage: `{"input_tokens":600,"output_tokens":10}`}, cost: (10_010 + 500) * micro},
		{name: "several calls in the last", e: pricing.Messages,
			ev: pricing.Evidence{FirstUsage: `{"input_tokens":2000,"output_tokens":1}`, Usage: `{"input_tokens":1,"output_tokens":1,"iterations":[{"input_tokens":1000,"output_tokens":10},{"input_tokens":500,"output_tokens":5}]}`}, cost: 4008 * micro},
		{name: "speech in an earlier one", model: "spelt/sound", e: pricing.Chat,
			ev: pricing.Evidence{FirstUsage: `{"prompt_tokens":10,"completion_tokens":100,"completion_tokens_details":{"audio_tokens":100}}`, Usage: thousandChat}, cost: 8020 * micro},
		{name: "the last splits one token", e: pricing.Chat,
			ev: pricing.Evidence{FirstUsage: `{"prompt_tokens":1000,"completion_tokens":1}`, Usage: `{"prompt_tokens":1,"completion_tokens":100,"prompt_tokens_details":{"cached_tokens":1}}`}, cost: 2_798_500},
		{name: "the last has no input", e: pricing.Chat,
			ev: pricing.Evidence{FirstUsage: `{"prompt_tokens":1000,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":400}}`, Usage: `{"prompt_tokens":0,"completion_tokens":100}`}, cost: 2200 * micro},
		{name: "a whole answer's later report has no input", e: pricing.Messages,
			ev: pricing.Evidence{FirstUsage: thousandIn, Usage: `{"output_tokens":100}`}, cost: -1},
		{name: "no output but of a later call", e: pricing.Messages, ev: pricing.Evidence{Output: true, Usage: `{"input_tokens":1,"output_tokens":1,"iterations":[{"input_tokens":50,"output_tokens":0},{"input_tokens":50,"output_tokens":10}]}`}, cost: (200 + 80) * micro},
		{name: "no output, but a bill", model: "openrouter/acme/m", e: pricing.Chat, ev: pricing.Evidence{Output: true, Usage: `{"prompt_tokens":10,"completion_tokens":0,"cost":0.002}`}, cost: 2000 * micro},
		{name: "no output, and the smallest bill", model: "openrouter/acme/m", e: pricing.Chat, ev: pricing.Evidence{Output: true, Usage: `{"prompt_tokens":10,"completion_tokens":0,"cost":0.000000001}`}, cost: 1},
		{name: "no output, and no bill", model: "openrouter/acme/m", e: pricing.Chat, ev: pricing.Evidence{Output: true, Usage: `{"prompt_tokens":10,"completion_tokens":0,"cost":0}`}, cost: -1},
		{name: "no output, but a bill before", model: "openrouter/acme/m", e: pricing.Chat, ev: pricing.Evidence{Output: true, FirstUsage: `{"prompt_tokens":10,"completion_tokens":0,"cost":0.002}`, Usage: `{"prompt_tokens":10,"completion_tokens":0,"cost":0}`}, cost: 2000 * micro},
		{name: "no output, and no bill any more", model: "openrouter/acme/m", e: pricing.Chat, ev: pricing.Evidence{Output: true, FirstUsage: `{"prompt_tokens":10,"completion_tokens":0,"cost":0.002}`, Usage: `{"prompt_tokens":10,"completion_tokens":0}`}, cost: -1},
		{name: "unreadable writes, and only short ones are dearer", model: "odd/short", e: pricing.Chat, ev: pricing.Evidence{Usage: `{"in":1000,"out":100,"put":"?"}`}, cost: -1},
		{name: "the fee beside a bill of one's own, which cannot be read", model: "openrouter/acme/m", e: pricing.Chat, ev: pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"cost":"?","is_byok":true,"cost_details":{"upstream_inference_cost":0.5}}`}, cost: 2800 * micro},
		{name: "a bill before one of several calls", model: "openrouter/acme/m", e: pricing.Messages, ev: pricing.Evidence{FirstUsage: `{"input_tokens":10,"output_tokens":1,"cost":0.005}`,
			Usage: `{"input_tokens":1,"output_tokens":1,"cost":0.002,"iterations":[{"input_tokens":10,"output_tokens":10},{"input_tokens":10,"output_tokens":10}]}`}, cost: 5000 * micro},
		{name: "as much in each call", e: pricing.Messages, ev: pricing.Evidence{Output: true, Usage: `{"input_tokens":1,"output_tokens":1,"iterations":[{"input_tokens":50,"output_tokens":10},{"input_tokens":50,"output_tokens":10}]}`}, cost: (200 + 160) * micro},
	})
}

// Parts that are more than their whole are no part of it: bridges to other APIs
// report what was cached beside the rest.
func TestPartsAboveTheirWholeStandBesideIt(t *testing.T) {
	const micro = 1000
	chat := func(more string) pricing.Evidence {
		return pricing.Evidence{Usage: `{"prompt_tokens":100,"completion_tokens":10` + more + `}`}
	}
	checkReported(t, []reported{
		{name: "cached, and a total of all", e: pricing.Chat, ev: chat(`,"total_tokens":5110,"prompt_tokens_details":{"cached_tokens":5000}`), cost: (200 + 2500 + 80) * micro, inconsistent: true},
		{name: "cached, and a total without it", e: pricing.Chat, ev: chat(`,"total_tokens":110,"prompt_tokens_details":{"cached_tokens":5000}`), cost: (200 + 2500 + 80) * micro, inconsistent: true},
		{name: "cached", e: pricing.Chat, ev: chat(`,"cached_tokens":5000`), cost: (200 + 2500 + 80) * micro, inconsistent: true},
		{name: "one more than the whole", e: pricing.Chat, ev: chat(`,"cached_tokens":102`), cost: (200 + 51 + 80) * micro, inconsistent: true},
		{name: "the whole", e: pricing.Chat, ev: chat(`,"cached_tokens":100`), cost: (50 + 80) * micro},
		{name: "cached and written together", e: pricing.Chat, ev: chat(`,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":60}`), cost: (200 + 30 + 150 + 80) * micro, inconsistent: true},
		{name: "Responses", e: pricing.Responses, ev: pricing.Evidence{Usage: `{"input_tokens":100,"input_tokens_details":{"cached_tokens":5000},"output_tokens":10}`}, cost: (200 + 2500 + 80) * micro, inconsistent: true},
		{name: "no plain input", e: pricing.Chat, ev: pricing.Evidence{Usage: `{"prompt_tokens":0,"completion_tokens":10,"cached_tokens":50}`}, cost: (25 + 80) * micro, inconsistent: true},
		{name: "sound", model: "odd/all", e: pricing.Chat, ev: pricing.Evidence{Usage: `{"in":100,"out":10,"heard":300}`}, cost: (200 + 6000 + 80) * micro, inconsistent: true},
		{name: "sound and pictures together", model: "odd/all", e: pricing.Chat, ev: pricing.Evidence{Usage: `{"in":100,"out":10,"heard":60,"seen":60}`}, cost: (200 + 1200 + 1800 + 80) * micro, inconsistent: true},
		{name: "all of it is sound", model: "odd/all", e: pricing.Chat, ev: pricing.Evidence{Usage: `{"in":100,"out":10,"heard":100}`}, cost: (2000 + 80) * micro},
		{name: "sound without a price", model: "openrouter/acme/m", e: pricing.Chat, ev: chat(`,"prompt_tokens_details":{"audio_tokens":300}`), cost: (800 + 80) * micro, inconsistent: true},
		{name: "speech", model: "odd/all", e: pricing.Chat, ev: pricing.Evidence{Usage: `{"in":100,"out":10,"said":20}`}, cost: (200 + 80 + 1600) * micro, inconsistent: true},
		{name: "all output is speech", model: "odd/all", e: pricing.Chat, ev: pricing.Evidence{Usage: `{"in":100,"out":20,"said":20}`}, cost: (200 + 1600) * micro},
		{name: "pictures", model: "spelt/sight", e: pricing.Chat, ev: chat(`,"completion_tokens_details":{"image_tokens":30}`), cost: (200 + 80 + 2400) * micro, inconsistent: true},
		{name: "what was cached is sound, too", model: "odd/all", e: pricing.Chat, ev: pricing.Evidence{Usage: `{"in":100,"out":10,"hit":80,"heard":40}`}, cost: (40 + 800 + 80) * micro, inconsistent: true},
	})
}

// TestFirstReportWithoutALast is a report that nothing follows which can be read.
func TestFirstReportWithoutALast(t *testing.T) {
	b := mustBound(t, togetherCatalog(t), pricing.Chat, speltBody(pricing.Chat, ""), noon())
	charge := func(ev pricing.Evidence) pricing.Outcome {
		ev.Sent, ev.Done = true, true
		return pricing.Charge(b.Pin, b.Amount, ev, nil)
	}
	if got := charge(pricing.Evidence{Status: 200, FirstUsage: `{"prompt_tokens":"?"}`}); got.Basis != budget.BasisBound || slices.Contains(got.Flags, pricing.FlagUsageMalformed) {
		t.Errorf("an unreadable first, and none after it: %+v", got)
	}
	if got := charge(pricing.Evidence{Status: 200, FirstUsage: `{"prompt_tokens":"?"}`, Usage: thousandChat}); got.Basis != budget.BasisUsage || got.Cost != 2_800_000 || len(got.Flags) > 0 {
		t.Errorf("an unreadable first, and a good one after it: %+v", got)
	}
	if got := charge(pricing.Evidence{Status: 500, FirstUsage: thousandChat}); got.Basis == budget.BasisProviderError || got.Cost < 2_800_000 {
		t.Errorf("an error with a report: %+v", got)
	}
}

// A later report of a Messages stream names its input: it has the last word on
// that, and on the cache.
func TestLastWordOnTheInput(t *testing.T) {
	const micro = 1000
	stream := func(first, last string) pricing.Evidence {
		return pricing.Evidence{Stream: true, FirstUsage: first, Usage: last}
	}
	const split = `{"input_tokens":1000,"cache_creation_input_tokens":600,"cache_creation":{"ephemeral_5m_input_tokens":200,"ephemeral_1h_input_tokens":400},"output_tokens":1}`
	checkReported(t, []reported{
		{name: "fewer writes", e: pricing.Messages, ev: stream(split, `{"input_tokens":700,"cache_creation_input_tokens":300,"output_tokens":10}`), cost: (1400 + 1200 + 80) * micro},
		{name: "one token of input", e: pricing.Messages, ev: stream(split, `{"input_tokens":1,"cache_creation_input_tokens":300,"output_tokens":10}`), cost: (2 + 1200 + 80) * micro},
		{name: "no input", e: pricing.Messages, ev: stream(split, `{"input_tokens":0,"cache_creation_input_tokens":300,"output_tokens":10}`), cost: (2000 + 500 + 1600 + 80) * micro},
		{name: "writes split anew", e: pricing.Messages, ev: stream(split, `{"input_tokens":700,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":300},"output_tokens":10}`), cost: (1400 + 750 + 80) * micro},
		{name: "writes that live for another time", e: pricing.Messages, ev: stream(`{"input_tokens":1000,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":300},"output_tokens":1}`, `{"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":300},"output_tokens":10}`), cost: (2000 + 1200 + 80) * micro},
		{name: "a split of zeros keeps the first one", e: pricing.Messages, ev: stream(split, `{"input_tokens":1000,"cache_creation_input_tokens":600,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":10}`), cost: (2000 + 500 + 1600 + 80) * micro},
		{name: "fewer reads", e: pricing.Messages, ev: stream(`{"input_tokens":1000,"cache_read_input_tokens":800,"output_tokens":1}`, `{"input_tokens":500,"cache_read_input_tokens":500,"output_tokens":10}`), cost: (1000 + 250 + 80) * micro},
		{name: "fewer writes, split", e: pricing.Messages, ev: stream(`{"input_tokens":1000,"cache_creation_input_tokens":500,"output_tokens":1}`, `{"input_tokens":700,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":300},"output_tokens":10}`), cost: (1400 + 750 + 80) * micro},
		{name: "output in the first only", e: pricing.Messages, ev: stream(thousandIn, `{"input_tokens":1000}`), cost: 2800 * micro},
		{name: "writes of both kinds, without a sum", e: pricing.Messages, ev: stream("", `{"input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":100}`), cost: (2800 + 250 + 800) * micro},
		{name: "short writes, without a sum", e: pricing.Messages, ev: stream("", `{"input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":100},"output_tokens":100}`), cost: (2800 + 250) * micro},
		{name: "long writes, without a sum", e: pricing.Messages, ev: stream("", `{"input_tokens":1000,"cache_creation":{"ephemeral_1h_input_tokens":200},"output_tokens":100}`), cost: (2800 + 800) * micro},
	})
}

// A delta has the last word on the input also where others follow that do not
// name it.
func TestLastWordOnTheInputBeforeTheLastDelta(t *testing.T) {
	const micro = 1000
	const whole, split = `{"input_tokens":34824,"output_tokens":1}`, `{"input_tokens":3883,"cache_read_input_tokens":30464,"output_tokens":5}`
	deltas := func(last string, between ...string) pricing.Evidence {
		return pricing.Evidence{Stream: true, Output: true, FirstUsage: whole, OtherUsage: between, Usage: last}
	}
	const input = 2*3883 + 30464/2
	checkReported(t, []reported{
		{name: "output alone", e: pricing.Messages, ev: deltas(`{"output_tokens":50}`, split), cost: (input + 400) * micro},
		{name: "null for the input", e: pricing.Messages, ev: deltas(`{"input_tokens":null,"output_tokens":50}`, split), cost: (input + 400) * micro},
		{name: "zeros for the input", e: pricing.Messages, ev: deltas(`{"input_tokens":0,"cache_read_input_tokens":0,"output_tokens":50}`, split), cost: (input + 400) * micro},
		{name: "no output", e: pricing.Messages, ev: deltas(`{"input_tokens":0}`, split), cost: (input + 40) * micro},
		{name: "two of output", e: pricing.Messages, ev: deltas(`{"output_tokens":60}`, split, `{"output_tokens":50}`), cost: (input + 480) * micro},
		{name: "output before it", e: pricing.Messages, ev: deltas(`{"output_tokens":60}`, `{"output_tokens":1}`, split), cost: (34824*2 + 8) * micro}, // never less than a report by itself
		{name: "more input after it", e: pricing.Messages, ev: deltas(`{"input_tokens":3900,"cache_read_input_tokens":30464,"output_tokens":60}`, split), cost: (2*3900 + 30464/2 + 480) * micro},
		{name: "no delta names it", e: pricing.Messages, ev: deltas(`{"output_tokens":60}`, `{"output_tokens":50}`), cost: (34824*2 + 480) * micro},
	})
}

// A delta without plain input has the last word on it, too, where it names what was
// cached: what that does not cover of the start's input was not cached.
func TestDeltaOfCachedInputAlone(t *testing.T) {
	const micro = 1000
	deltas := func(first, last string, between ...string) pricing.Evidence {
		return pricing.Evidence{Stream: true, Output: true, FirstUsage: first, OtherUsage: between, Usage: last}
	}
	const whole = `{"input_tokens":1000,"output_tokens":1}`
	checkReported(t, []reported{
		{name: "all read", e: pricing.Messages, ev: deltas(whole, `{"input_tokens":0,"cache_read_input_tokens":1000,"output_tokens":100}`), cost: (500 + 800) * micro},
		{name: "more than all", e: pricing.Messages, ev: deltas(whole, `{"input_tokens":0,"cache_read_input_tokens":1200,"output_tokens":100}`), cost: (600 + 800) * micro},
		{name: "all written", e: pricing.Messages, ev: deltas(whole, `{"input_tokens":0,"cache_creation_input_tokens":1000,"output_tokens":100}`), cost: (2500 + 800) * micro},
		{name: "all written, without a sum", e: pricing.Messages, ev: deltas(whole, `{"input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":600,"ephemeral_1h_input_tokens":400},"output_tokens":100}`), cost: (1500 + 1600 + 800) * micro},
		{name: "both", e: pricing.Messages, ev: deltas(whole, `{"input_tokens":0,"cache_read_input_tokens":600,"cache_creation_input_tokens":400,"output_tokens":100}`), cost: (300 + 1000 + 800) * micro},
		{name: "not all of it", e: pricing.Messages, ev: deltas(whole, `{"input_tokens":0,"cache_read_input_tokens":600,"output_tokens":100}`), cost: (800 + 300 + 800) * micro},
		{name: "the start split it already", e: pricing.Messages, ev: deltas(`{"input_tokens":1000,"cache_read_input_tokens":600,"output_tokens":1}`, `{"input_tokens":0,"cache_read_input_tokens":600,"output_tokens":100}`), cost: (2000 + 300 + 800) * micro},
		{name: "the start has the writes", e: pricing.Messages, ev: deltas(`{"input_tokens":1000,"cache_creation_input_tokens":400,"output_tokens":1}`, `{"input_tokens":0,"cache_read_input_tokens":1000,"output_tokens":100}`), cost: (500 + 1000 + 800) * micro},
		{name: "the start has the reads", e: pricing.Messages, ev: deltas(`{"input_tokens":1000,"cache_read_input_tokens":600,"output_tokens":1}`, `{"input_tokens":0,"cache_creation_input_tokens":1000,"output_tokens":100}`), cost: (2500 + 300 + 800) * micro},
		{name: "one token", e: pricing.Messages, ev: deltas(`{"input_tokens":1,"output_tokens":1}`, `{"input_tokens":0,"cache_creation_input_tokens":1,"output_tokens":1000}`), cost: 2_500 + 8000*micro},
		{name: "the start has how long they live", e: pricing.Messages, ev: deltas(`{"input_tokens":0,"cache_creation_input_tokens":400,"cache_creation":{"ephemeral_1h_input_tokens":400},"output_tokens":1}`, `{"input_tokens":0,"cache_creation_input_tokens":400,"output_tokens":100}`), cost: (1600 + 800) * micro},
		{name: "nothing cached", e: pricing.Messages, ev: deltas(whole, `{"input_tokens":0,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"output_tokens":100}`), cost: 2800 * micro},
		{name: "no word on the input", e: pricing.Messages, ev: deltas(whole, `{"cache_read_input_tokens":1000,"output_tokens":100}`), cost: (2000 + 500 + 800) * micro},
		{name: "output alone after it", e: pricing.Messages, ev: deltas(whole, `{"output_tokens":100}`, `{"input_tokens":0,"cache_read_input_tokens":1000,"output_tokens":5}`), cost: (500 + 800) * micro},
		{name: "output alone after a part", e: pricing.Messages, ev: deltas(whole, `{"output_tokens":100}`, `{"input_tokens":0,"cache_read_input_tokens":600,"output_tokens":5}`), cost: (800 + 300 + 800) * micro},
	})
}

// Calls that are fewer than the sums say leave the rest to the model that answered.
func TestCallsThatLackWhatTheSumsHave(t *testing.T) {
	const micro = 1000
	sums := func(calls string) pricing.Evidence {
		return pricing.Evidence{Output: true, Usage: `{"input_tokens":1000,"output_tokens":100,"iterations":[` + calls + `]}`}
	}
	checkReported(t, []reported{
		{name: "all of it", e: pricing.Messages, ev: sums(`{"input_tokens":1000,"output_tokens":100}`), cost: 2800 * micro},
		{name: "more", e: pricing.Messages, ev: sums(`{"input_tokens":1000,"output_tokens":100},{"input_tokens":50,"output_tokens":0}`), cost: 2900 * micro},
		{name: "next to nothing", e: pricing.Messages, ev: sums(`{"input_tokens":1,"output_tokens":1}`), cost: 2800 * micro, inconsistent: true},
		{name: "zeros", e: pricing.Messages, ev: sums(`{"input_tokens":0,"output_tokens":0}`), cost: 2800 * micro, inconsistent: true},
		{name: "less input, more output", e: pricing.Messages, ev: sums(`{"input_tokens":600,"output_tokens":150}`), cost: (2000 + 1200) * micro, inconsistent: true},
		{name: "more input, less output", e: pricing.Messages, ev: sums(`{"input_tokens":1200,"output_tokens":50}`), cost: (2400 + 800) * micro, inconsistent: true},
		{name: "cached input", e: pricing.Messages, ev: sums(`{"input_tokens":0,"cache_read_input_tokens":1000,"output_tokens":100}`), cost: (500 + 800) * micro},
	})
}

// What was written to the cache for a time that nobody knows costs something; where
// a sum has it, what the call asked for says how long.
func TestWritesOfUnknownLife(t *testing.T) {
	const micro = 1000
	report := func(raw string) pricing.Evidence { return pricing.Evidence{Usage: raw} }
	checkReported(t, []reported{
		{name: "Messages, no sum", e: pricing.Messages, ev: report(`{"input_tokens":1000,"cache_creation":{"ephemeral_24h_input_tokens":300},"output_tokens":100}`), cost: -1},
		{name: "Messages, a part of them", e: pricing.Messages, ev: report(`{"input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_24h_input_tokens":300},"output_tokens":100}`), cost: -1},
		{name: "Messages, a sum", e: pricing.Messages, ev: report(`{"input_tokens":1000,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_24h_input_tokens":300},"output_tokens":100}`), cost: (2800 + 750) * micro},
		{name: "Messages, none", e: pricing.Messages, ev: report(`{"input_tokens":1000,"cache_creation":{"ephemeral_24h_input_tokens":0,"note":"x"},"output_tokens":100}`), cost: 2800 * micro},
		{name: "chat, no sum", e: pricing.Chat, ev: report(`{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cache_write_tokens_details":{"ttl_24h_tokens":300}}}`), cost: -1},
		{name: "chat, a sum", e: pricing.Chat, ev: report(`{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cache_write_tokens":300,"cache_write_tokens_details":{"ttl_24h_tokens":300}}}`), cost: (1400 + 750 + 800) * micro},
		{name: "chat, Anthropic's name", e: pricing.Chat, ev: report(`{"prompt_tokens":1000,"completion_tokens":100,"cache_creation":{"ephemeral_24h_input_tokens":300}}`), cost: -1},
	})
}

// Cohere says what it bills for texts beside them, and so do some who have its models
// under OpenAI's paths.
func TestBilledUnitsOfEmbeddings(t *testing.T) {
	const micro = 1000
	report := func(raw string) pricing.Evidence { return pricing.Evidence{Output: true, Usage: raw} }
	checkReported(t, []reported{
		{name: "input", e: pricing.Embeddings, ev: report(`{"api_version":{"version":"2"},"billed_units":{"input_tokens":5}}`), cost: 10 * micro},
		{name: "with a fraction", e: pricing.Embeddings, ev: report(`{"billed_units":{"input_tokens":5.0,"images":0},"tokens":{"input_tokens":9}}`), cost: 10 * micro},
		{name: "images too", e: pricing.Embeddings, ev: report(`{"billed_units":{"input_tokens":5,"images":1}}`), cost: -1},
		{name: "nothing", e: pricing.Embeddings, ev: report(`{"billed_units":{"input_tokens":0}}`), cost: -1},
		{name: "of an answer with output", e: pricing.Chat, ev: report(`{"billed_units":{"input_tokens":5}}`), cost: -1},
	})
}

// What cannot be read of a report's parts.
func TestPartsThatCannotBeRead(t *testing.T) {
	const micro = 1000
	one := func(usage string) pricing.Evidence { return pricing.Evidence{Usage: usage} }
	tests := []reported{
		{name: "how long writes live", e: pricing.Messages, ev: one(`{"input_tokens":1000,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":"?","ephemeral_1h_input_tokens":1},"output_tokens":100}`), cost: (2800 + 750) * micro},
		{name: "short writes, without a sum", e: pricing.Messages, ev: one(`{"input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":"?"},"output_tokens":100}`), cost: -1},
		{name: "long writes, without a sum", e: pricing.Messages, ev: one(`{"input_tokens":1000,"cache_creation":{"ephemeral_1h_input_tokens":"?"},"output_tokens":100}`), cost: -1},
		{name: "no split at all", e: pricing.Messages, ev: one(`{"input_tokens":1000,"cache_creation":"x","output_tokens":100}`), cost: -1},
		{name: "parts of the input", e: pricing.Chat, ev: one(`{"completion_tokens":100,"prompt_cache_hit_tokens":400,"prompt_cache_miss_tokens":600}`), cost: (1200 + 200 + 800) * micro},
		{name: "one part of the input", e: pricing.Chat, ev: one(`{"completion_tokens":100,"prompt_cache_hit_tokens":400}`), cost: -1},
		{name: "the other part of the input", e: pricing.Chat, ev: one(`{"completion_tokens":100,"prompt_cache_miss_tokens":600}`), cost: -1},
		{name: "an unreadable part of the input", e: pricing.Chat, ev: one(`{"completion_tokens":100,"prompt_cache_hit_tokens":"?","prompt_cache_miss_tokens":600}`), cost: -1},
		{name: "another unreadable part", e: pricing.Chat, ev: one(`{"completion_tokens":100,"prompt_cache_hit_tokens":400,"prompt_cache_miss_tokens":"?"}`), cost: -1},
		{name: "one part of the input twice", e: pricing.Chat, ev: one(`{"completion_tokens":100,"prompt_cache_hit_tokens":400,"prompt_cache_hit_tokens":500,"prompt_cache_miss_tokens":600}`), cost: -1},
		{name: "the other part of the input twice", e: pricing.Chat, ev: one(`{"completion_tokens":100,"prompt_cache_hit_tokens":400,"prompt_cache_miss_tokens":600,"prompt_cache_miss_tokens":500}`), cost: -1},
		{name: "seconds of a call that is not billed by them", e: pricing.Chat, ev: pricing.Evidence{Output: true, Usage: `{"prompt_tokens":1000,"completion_tokens":100,"prompt_audio_seconds":0}`}, cost: 2800 * micro},
		{name: "long writes of a chat, without a sum", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"cache_creation":{"ephemeral_1h_input_tokens":"?"}}`), cost: -1},
		{name: "no split of a chat", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"cache_creation":"x"}`), cost: -1},
		{name: "no split in the details", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cache_write_tokens_details":"x"}}`), cost: -1},
		{name: "writes of a chat, without a sum", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}}`), cost: (1400 + 250 + 800 + 800) * micro},
		{name: "a part of a token", e: pricing.Chat, ev: one(`{"prompt_tokens":1000.1,"completion_tokens":100}`), cost: -1},
		{name: "a colon among digits", e: pricing.Chat, ev: one(`{"prompt_tokens":"100:","completion_tokens":100}`), cost: -1},
		{name: "it ends before a number", e: pricing.Chat, ev: one(`{"completion_tokens":100,"prompt_tokens":`), cost: -1},
		{name: "it ends before an object", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":`), cost: -1},
		{name: "it ends before a bill", model: "openrouter/acme/m", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"cost":`), cost: -1},
		{name: "it ends before whose bill it is", model: "openrouter/acme/m", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"cost":1,"is_byok":`), cost: -1},
		{name: "it ends before a tier", e: pricing.Messages, ev: one(`{"input_tokens":1000,"output_tokens":100,"service_tier":`), cost: -1},
		{name: "no bill, and one of nothing", model: "openrouter/acme/m", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"cost":"?","cost":0}`), cost: 2800 * micro},
		{name: "an object for no list of calls", e: pricing.Messages, ev: one(`{"input_tokens":1000,"output_tokens":100,"iterations":{}}`), cost: 2800 * micro},
		{name: "a text for no list of calls", e: pricing.Messages, ev: one(`{"input_tokens":1000,"output_tokens":100,"iterations":""}`), cost: 2800 * micro},
		{name: "unreadable writes, dearer than input", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cache_write_tokens":"?"}}`), cost: -1},
		{name: "what may be speech", model: "spelt/sound", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"completion_tokens_details":"x"}`), cost: -1},
		{name: "what may be images", model: "spelt/sight", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"completion_tokens_details":"x"}`), cost: -1},
		{name: "speech", model: "spelt/sound", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"completion_tokens_details":{"audio_tokens":"?"}}`), cost: -1},
		{name: "images", model: "spelt/sight", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"completion_tokens_details":{"image_tokens":"?"}}`), cost: -1},
		{name: "writes beside the input, by the total", e: pricing.Chat, ev: one(`{"prompt_tokens":1000,"completion_tokens":100,"cache_creation_input_tokens":300,"total_tokens":1400}`), cost: (2000 + 750 + 800) * micro},
	}
	members := []string{"input_tokens", "prompt_tokens", "output_tokens", "completion_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"}
	for _, bad := range members { // beside all others
		var usage []string
		for _, m := range members {
			usage = append(usage, `"`+m+`":`+map[bool]string{true: `"?"`, false: "100"}[m == bad])
		}
		tests = append(tests, reported{name: bad, e: pricing.Messages, ev: one("{" + strings.Join(usage, ",") + "}"), cost: -1})
	}
	checkReported(t, tests)
}

// TestExtractorOfEveryPart reads all that an operator can name of a report.
func TestExtractorOfEveryPart(t *testing.T) {
	const micro = 1000
	const all = `{"in":1000,"out":100,"hit":200,"put":100,"keep":50,"heard":40,"seen":30,"said":20`
	const cost = (580*2+100+250+200+800+900)*micro + (80*8+20*80)*micro
	one := func(usage string) pricing.Evidence { return pricing.Evidence{Usage: usage} }
	checkReported(t, []reported{
		{name: "all", model: "odd/all", e: pricing.Chat, ev: one(all + `}`), cost: cost},
		{name: "unreadable short writes", model: "odd/all", e: pricing.Chat, ev: one(`{"in":1000,"out":100,"put":"?"}`), cost: -1},
		{name: "unreadable long writes", model: "odd/all", e: pricing.Chat, ev: one(`{"in":1000,"out":100,"keep":"?"}`), cost: -1},
		{name: "no JSON", model: "odd/all", e: pricing.Chat, ev: one(`{"in":1000,"out":100`), cost: -1},
		{name: "a bill", model: "odd/all", e: pricing.Chat, ev: one(all + `,"bill":0.005}`), cost: 5_000 * micro},
	})
}

// The region that an earlier report names is that of the whole answer.
func TestRegionOfAnEarlierReport(t *testing.T) {
	b := mustBound(t, mustLoad(t), pricing.Messages, `{"model":"anthropic/claude-opus-5.5","max_tokens":1000,"messages":[],"inference_geo":"us"}`, noon())
	ev := pricing.Evidence{Sent: true, Status: 200, Done: true, FirstUsage: `{"input_tokens":10,"output_tokens":0,"inference_geo":"us"}`, Usage: `{"input_tokens":1000,"output_tokens":0,"inference_geo":null}`}
	if got := pricing.Charge(b.Pin, b.Amount, ev, nil); got.Basis != budget.BasisUsage || got.Cost != 4_400_000 {
		t.Errorf("%s %s", got.Basis, got.Cost)
	}
	plain := mustBound(t, mustLoad(t), pricing.Messages, `{"model":"anthropic/claude-opus-5.5","max_tokens":1000,"messages":[]}`, noon())
	if got := pricing.Charge(plain.Pin, plain.Amount, ev, nil); got.Cost != 4_400_000 {
		t.Errorf("not asked for: %s %s", got.Basis, got.Cost)
	}
}
