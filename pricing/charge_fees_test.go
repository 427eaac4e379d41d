package pricing_test

import (
	"encoding/base64"
	"encoding/binary"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"
)

// Of containers in two sizes, those that ran are the dearer ones first, and so
// is what passes the number allowed. Their price is by memory: it stays that of
// the model asked for, whichever answers.
func TestContainersOfTwoSizes(t *testing.T) {
	c := mustLoad(t)
	b := mustBound(t, c, pricing.Responses, `{"model":"openai/gpt-5.5","max_output_tokens":1000,"max_tool_calls":3,"input":"hi",
		"tools":[{"type":"code_interpreter","container":{"memory_limit":"1g"}},{"type":"code_interpreter","container":{"memory_limit":"4g"}}]}`, noon())
	for _, tt := range []struct {
		calls, model string
		cost         budget.Amount
	}{
		{`2`, "", 24 * budget.Cent},
		{`4`, "", 39 * budget.Cent},
		{`7`, "", 57 * budget.Cent},
		{`null`, "", 45 * budget.Cent},
		{`4`, `"gpt-5"`, 39 * budget.Cent},
	} {
		ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Model: tt.model,
			Usage: `{"input_tokens":0,"output_tokens":0,"server_side_tool_usage_details":{"code_interpreter_calls":` + tt.calls + `}}`}
		got := pricing.Charge(b.Pin, b.Amount, ev, c.Served("openai/gpt-5.5", noon()))
		if got.Basis != budget.BasisUsage || got.Cost != tt.cost || len(got.Flags) > 0 {
			t.Errorf("%s calls, answered by %s: %+v, want %s", tt.calls, tt.model, got, tt.cost)
		}
	}
}

// Searches that are not told, or told in two ways, ran as often as they might.
func TestSearchesThatAreNotTold(t *testing.T) {
	b := mustBound(t, mustLoad(t), pricing.Responses, `{"model":"openai/gpt-5.5","max_output_tokens":1000,"max_tool_calls":3,"input":"hi","tools":[{"type":"web_search"}]}`, noon())
	for usage, searches := range map[string]budget.Amount{
		`{"web_search":{"num_requests":2}}`: 2, `{"web_search":{"num_requests":0}}`: 0, `{"web_search":{"num_requests":1,"num_requests":2}}`: 3, `{"web_search":{}}`: 3, `{}`: 3, ``: 3, `{"web_search":{"num_requests":2}`: 3,
	} {
		ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"input_tokens":0,"output_tokens":0}`, ToolUsage: usage}
		if got := pricing.Charge(b.Pin, b.Amount, ev, nil); got.Basis != budget.BasisUsage || got.Cost != searches*budget.Cent {
			t.Errorf("%s: %+v, want %d searches", usage, got, searches)
		}
	}
}

// Fetches that a report counts are free.
func TestFetchesAreFree(t *testing.T) {
	b := mustBound(t, mustLoad(t), pricing.Messages, `{"model":"anthropic/claude-sonnet-4.6","max_tokens":1000,"messages":[]}`, noon())
	got := answered(b, `{"input_tokens":100,"output_tokens":10,"server_tool_use":{"web_fetch_requests":3}}`)
	if got.Basis != budget.BasisUsage || got.Cost != 450_000 || len(got.Flags) > 0 {
		t.Errorf("got %+v", got)
	}
}

// A bucket without a price takes its parent's, and no other's.
func TestUnpricedBucketsTakeTheirParentsPrice(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	b := mustBound(t, c, pricing.Chat, chatBody("capless/writes", `"max_tokens":100`), noon())
	for details, want := range map[string]budget.Amount{
		`"prompt_tokens_details":{"cached_tokens":50}`:      100_000 + 20_000,
		`"cache_creation":{"ephemeral_1h_input_tokens":50}`: 50_000 + 150_000 + 20_000, // that of those kept for a while
	} {
		got := answered(b, `{"prompt_tokens":100,"completion_tokens":10,`+details+`}`)
		if got.Cost != want || !cmp.Equal(got.Flags, []string{pricing.FlagBucketUnpriced}) {
			t.Errorf("%s: got %+v, want %s", details, got, want)
		}
	}
}

// feeModels have a fee for each call, and fees by the minute beside those of a tool.
const feeModels = `
- model: openai/fee
  family: bytes
  limits: {context: 100000, max_output: 100000}
  prices: [{input: "1", output: "10", fees: {request: "0.05"}}]
- model: capless/hears
  family: bytes
  limits: {context: 10000, max_output: 100}
  prices: [{input: "2", output: "8", fees: {audio_minute: "0.6", web_search: "0.01"}}]
- model: capless/hears-dearly
  family: bytes
  limits: {context: 10000, max_output: 100}
  prices: [{input: "0", output: "0", fees: {audio_minute: "1.2"}}]
`

// The seconds of a report are those of the recording, and of nothing else that is
// billed by use; a minute costs what it does at the model that answered.
func TestSecondsAreTheRecordings(t *testing.T) {
	c := mustOverlay(t, feeModels)
	sound := base64.StdEncoding.EncodeToString(wav(40))
	b := mustBound(t, c, pricing.Chat, `{"model":"capless/hears","max_tokens":100,"tools":[{"type":"web_search_20250305","max_uses":2}],
		"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"`+sound+`","format":"wav"}}]}]}`, noon())
	const tokens = `"prompt_tokens":100,"completion_tokens":10`
	const tokensCost, searches = (100*2 + 10*8) * 1000, 2 * budget.Cent
	for _, tt := range []struct {
		model, first, last string
		want               budget.Amount
	}{
		{"hears", "", `{` + tokens + `,"prompt_audio_seconds":30}`, 30*budget.Cent + searches + tokensCost},
		{"hears-dearly", "", `{` + tokens + `,"prompt_audio_seconds":30}`, 60*budget.Cent + searches},
		{"hears", "", `{` + tokens + `}`, 41*budget.Cent + searches + tokensCost}, // what the bound has
		{"hears", "", `{` + tokens + `,"prompt_audio_seconds":30,"prompt_audio_seconds":10}`, 41*budget.Cent + searches + tokensCost},
		{"hears", "", `{"prompt_tokens":100,"total_tokens":110,"prompt_audio_seconds":30}`, 30*budget.Cent + searches + tokensCost},
		{"hears", `{"prompt_tokens":1,"completion_tokens":1,"prompt_audio_seconds":30}`, `{` + tokens + `,"prompt_audio_seconds":10}`, 30*budget.Cent + searches + tokensCost},
	} {
		ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Model: `"` + tt.model + `"`, FirstUsage: tt.first, Usage: tt.last}
		if got := pricing.Charge(b.Pin, b.Amount, ev, c.Served("capless/hears", noon())); got.Cost != tt.want {
			t.Errorf("%s, %s, %s: %+v, want %s", tt.model, tt.first, tt.last, got, tt.want)
		}
	}
}

// What a report says is audio is no more of it, whatever the call brought.
func TestAudioOfAReport(t *testing.T) {
	sound := base64.StdEncoding.EncodeToString(wav(40))
	b := mustBound(t, mustOverlay(t, overlayModels), pricing.Chat, content("capless/voice", `{"type":"input_audio","input_audio":{"data":"`+sound+`","format":"wav"}}`), noon())
	got := answered(b, `{"prompt_tokens":1000,"completion_tokens":10,"prompt_tokens_details":{"audio_tokens":40}}`)
	if want := budget.Amount(960*1 + 40*8 + 10*2); got.Basis != budget.BasisUsage || got.Cost != want*1000 {
		t.Errorf("got %+v", got)
	}
}

// Reports of images and recordings that cannot be read are none.
func TestMediaReportsThatCannotBeRead(t *testing.T) {
	c := mustLoad(t)
	heard, err := boundForm(t, c, pricing.Transcriptions, form(t, field{name: "model", text: "openai/whisper-1"}, field{name: "file", data: wav(3)}))
	if err != nil {
		t.Fatal(err)
	}
	drawn := mustBound(t, c, pricing.Images, `{"model":"openai/gpt-image-2","prompt":"a hat","n":1,"quality":"low","size":"1024x1024"}`, noon())
	for usage, b := range map[string]*pricing.Bound{
		`"x"`: drawn, `{"input_tokens":"?","output_tokens":5}`: drawn, `{"output_tokens":5}`: drawn,
		`[1]`: heard, `{"seconds":"?"}`: heard, `{"seconds":1,"seconds":2}`: heard, `{"type":"duration"}`: heard,
	} {
		if got := answered(b, usage); got.Basis != budget.BasisBound || got.Cost != b.Amount || !cmp.Equal(got.Flags, []string{pricing.FlagUsageMalformed}) {
			t.Errorf("%s: %+v, want the bound %s", usage, got, b.Amount)
		}
	}
}

// A fee for each call is due for one that its client left, too.
func TestFeesOfAStoppedStream(t *testing.T) {
	b := mustBound(t, mustOverlay(t, feeModels), pricing.Chat, chatBody("openai/fee", `"stream":true,"max_tokens":50000`), noon())
	ev := cutAfter(time.Second, 0, 0)
	got := pricing.Charge(b.Pin, b.Amount, ev, nil)
	if want := tokensAt(inputOf(t, b), 1_000_000, 3*400, 10_000_000) + 5*budget.Cent; got.Basis != budget.BasisElapsed || got.Cost != want {
		t.Errorf("got %+v, want %s", got, want)
	}
}

// speedModels have a tier and a speed, and a price of the cache by the input.
const speedModels = `
- model: anthropic/quick
  family: bytes
  limits: {context: 1000000, max_output: 10000}
  service_tiers: {priority: "3", fast: "2"}
  inference_geo: {us: "1.5", eu: "2"}
  prices: [{input: "1", output: "1"}]
- model: anthropic/slow
  family: bytes
  limits: {context: 1000000, max_output: 10000}
  service_tiers: {batch: "0.5"}
  inference_geo: {us: "1.1"}
  flat_cache_read: true
  prices: [{input: "1", cache_read: "0.1", output: "1", tiers: [{from: 1001, input: "10", cache_read: "1", output: "10"}]}]
`

// Where a report names a tier and a speed, the dearer of the two counts; "null"
// beside the report is no tier. A region counts as on the model that answered. A
// price tier is that of all input, also for what is billed apart.
func TestTierSpeedAndRegionOfAReport(t *testing.T) {
	c := mustOverlay(t, speedModels)
	for _, tt := range []struct {
		model, served, usage, tier string
		cost                       budget.Amount
		flags                      []string
	}{
		{"quick", "", `{"input_tokens":100,"output_tokens":0,"service_tier":"priority","speed":"fast"}`, "", 300_000, nil},
		{"quick", "", `{"input_tokens":100,"output_tokens":0,"service_tier":"standard","speed":"fast"}`, "", 200_000, nil},
		{"quick", "", `{"input_tokens":100,"output_tokens":0,"service_tier":"priority"}`, "null", 300_000, nil},
		{"quick", "", `{"input_tokens":100,"output_tokens":0,"service_tier":"fast","service_tier":"fast"}`, "", 200_000, nil},
		{"quick", "", `{"input_tokens":100,"output_tokens":0,"service_tier":"fast","service_tier":"standard"}`, "", 300_000, []string{pricing.FlagTierUnpriced}},
		{"quick", "", `{"input_tokens":100,"output_tokens":0,"inference_geo":"us"}`, "", 150_000, nil},
		{"quick", "", `{"input_tokens":100,"output_tokens":0,"service_tier":"fast","service_tier":""}`, "", 200_000, nil},
		{"slow", "quick", `{"input_tokens":100,"output_tokens":0,"inference_geo":"eu"}`, "", 200_000, nil},
		{"slow", "", `{"input_tokens":100,"output_tokens":0,"inference_geo":"eu"}`, "", 110_000, []string{pricing.FlagGeoUnpriced}},
		{"slow", "", `{"input_tokens":1000,"cache_read_input_tokens":1000,"output_tokens":0,"service_tier":"batch"}`, "", 5_000_000 + 1_000_000, nil},
	} {
		b := mustBound(t, c, pricing.Messages, messagesBody("anthropic/"+tt.model, ""), noon())
		ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: tt.usage, ServiceTier: tt.tier}
		if tt.served != "" {
			ev.Model = `"` + tt.served + `"`
		}
		got := pricing.Charge(b.Pin, budget.Dollar, ev, c.Served("anthropic/"+tt.model, noon()))
		if got.Basis != budget.BasisUsage || got.Cost != tt.cost || !cmp.Equal(got.Flags, tt.flags, cmpopts.EquateEmpty()) {
			t.Errorf("%s answered by %s, %s: %s %v, want %s %v", tt.model, tt.served, tt.usage, got.Cost, got.Flags, tt.cost, tt.flags)
		}
	}
}

// Whichever part of an answer the operator's own price stands in for, it counts
// for the whole of it.
func TestOwnPriceOfAnyIteration(t *testing.T) {
	c := mustOverlay(t, tunes+"- {model: anthropic/claude-haiku-4.5, prices: [{output: \"6\"}]}\n")
	b := mustBound(t, c, pricing.Messages, `{"model":"anthropic/claude-sonnet-4.6","max_tokens":1000,"messages":[{"role":"user","content":"`+string(make300k())+`"}]}`, noon())
	ev := pricing.Evidence{Sent: true, Status: 200, Done: true,
		Usage: `{"input_tokens":100,"output_tokens":10,"iterations":[{"model":"claude-haiku-5-5","input_tokens":100,"output_tokens":10},{"model":"claude-haiku-4-5","input_tokens":100,"output_tokens":10}]}`}
	got := pricing.Charge(b.Pin, b.Amount, ev, c.Served("anthropic/claude-sonnet-4.6", noon()))
	if want := budget.Amount(2 * (100*3_000 + 10*50_000)); got.Cost != want {
		t.Errorf("charged %d, want %d; %+v", got.Cost, want, got)
	}
}

// Where a dialect counts the cache beside the input, and there is no output, a
// total is all of it: it holds the cache already.
func TestTotalOfInputBesideTheCache(t *testing.T) {
	var n yaml.Node
	if err := yaml.Load([]byte(`[{model: outside/embed, family: bytes, limits: {context: 100000}, prices: [{input: "1", cache_read: "0.1", output: "0"}]}]`), &n); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&n, []pricing.Upstream{{
		Provider: "outside", Dialect: pricing.DialectCustom,
		Extractor: &pricing.Extractor{Input: "in", CacheRead: "hit", Total: "all", Output: "made", CacheOutside: true},
	}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	b := mustBound(t, c, pricing.Embeddings, `{"model":"outside/embed","input":"hi"}`, noon())
	for usage, want := range map[string]budget.Amount{
		`{"in":100,"hit":50,"all":150}`: 105_000,
		`{"in":100,"hit":50}`:           105_000,
		`{"in":100,"hit":50,"":1}`:      105_000, // no bill
		`{"in":100,"hit":50,"all":160}`: 115_000,
		`{"hit":50,"all":150}`:          105_000,
		`{"in":100,"hit":50,"all":120}`: 105_000,
	} {
		if got := answered(b, usage); got.Cost != want || got.Tokens.CacheRead != 50 {
			t.Errorf("%s: %+v, want %s", usage, got, want)
		}
	}
}

// Zeros beside output are no report, but for a call that may generate nothing.
func TestZerosBesideOutput(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	const usage = `{"prompt_tokens":10,"completion_tokens":0,"total_tokens":10}`
	for _, tt := range []struct {
		e       pricing.Endpoint
		body    string
		usage   string
		reports bool
	}{
		{pricing.Chat, chatBody("capless/m", `"max_tokens":100`), usage, false},
		{pricing.Chat, chatBody("capless/m", `"max_tokens":100`), `{"prompt_tokens":0,"completion_tokens":10}`, false},
		{pricing.Completions, `{"model":"capless/m","prompt":"hi","max_tokens":100}`, usage, false},
	} {
		b := mustBound(t, c, tt.e, tt.body, noon())
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Output: true, Usage: tt.usage}, nil)
		want := pricing.Outcome{Basis: budget.BasisUsage, Cost: 10_000, Tokens: budget.Tokens{Input: 10}}
		if !tt.reports {
			want = pricing.Outcome{Basis: budget.BasisBound, Cost: b.Amount, Tokens: got.Tokens, Flags: []string{pricing.FlagUsageHollow}}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", tt.body, tt.usage, diff)
		}
	}
}

// A pin with a dialect of a later version reads no report, nor does one whose
// dialect needs paths and that has none.
func TestDialectOfALaterVersion(t *testing.T) {
	b := mustBound(t, mustLoad(t), pricing.Chat, chatBody(kimi, `"max_tokens":100`), noon())
	raw, err := base64.RawURLEncoding.DecodeString(b.Pin)
	if err != nil {
		t.Fatal(err)
	}
	flags, n := binary.Uvarint(raw[1:])
	for _, dialect := range []uint64{6, 15} { // four bits
		other := base64.RawURLEncoding.EncodeToString(append(binary.AppendUvarint(raw[:1:1], flags|dialect<<16), raw[1+n:]...))
		got := pricing.Charge(other, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":1,"completion_tokens":1}`}, nil)
		if got.Basis != budget.BasisBound || got.Cost != b.Amount {
			t.Errorf("%d: got %+v, want the bound", dialect, got)
		}
	}
}

// auto in an answer is the default beside a call that asked for less.
func TestAutoIsNoCheaperTier(t *testing.T) {
	b := mustBound(t, mustLoad(t), pricing.Chat, chatBody("openai/gpt-5.5", `"max_tokens":1,"service_tier":"flex"`), noon())
	ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":1000,"completion_tokens":0}`, ServiceTier: `"auto"`}
	if got := pricing.Charge(b.Pin, b.Amount, ev, nil); got.Cost != 5_000_000 {
		t.Errorf("got %+v, want the default's price", got)
	}
}

// xAI bills a request that it refuses for its content, with whatever model: a row
// that an import adds has no such fee.
func TestRefusedContentOfAnyModelOfXAI(t *testing.T) {
	c := mustOverlay(t, `
- {model: xai/new, prices: [{input: "1", output: "1"}]}
- {model: xai/priced, prices: [{input: "1", output: "1", fees: {content_refusal: "0.07"}}]}
- {model: xai/free, prices: [{input: "1", output: "1", fees: {content_refusal: "0", web_search: "0.01"}}]}
- {model: xai/searches, prices: [{input: "1", output: "1", fees: {web_search: "0.01"}}]}
- {model: groq/other, prices: [{input: "1", output: "1"}]}
- {model: openrouter/xai/new, prices: [{input: "1", output: "1"}]}`)
	for model, want := range map[string]string{
		"xai/new": "0.05", "xai/priced": "0.07", "xai/free": "0", "xai/searches": "0.05", "groq/other": "0", "openrouter/xai/new": "0",
		"xai/grok-4.20": "0.05", "xai/grok-build-0.1": "0.05", "xai/grok-code-fast-1": "0.05", "xai/grok-4.6": "0.05",
	} {
		b := mustBound(t, c, pricing.Chat, chatBody(model, `"max_tokens":1`), noon())
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 403, Refused: true}, nil)
		if got.Cost != dollars(t, want) || got.Cost > b.Amount || (len(got.Flags) > 0) != (want != "0") {
			t.Errorf("%s: %s %v of %s, want %s", model, got.Cost, got.Flags, b.Amount, want)
		}
	}
}
