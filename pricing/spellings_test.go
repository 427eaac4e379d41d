package pricing_test

import (
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"
)

// spelt has round prices: input $2, cache read $0.50, cache write $2.50 and $4,
// output $8 a million.
const spelt = `
- model: spelt/chat
  family: bytes
  limits: {context: 1000000, max_output: 100000}
  prices: [{input: "2", cache_read: "0.5", cache_write: "2.5", cache_write_long: "4", output: "8", input_audio: "20",
    fees: {web_search: "0.01", web_fetch: "0.002", file_search: "0.0025", code_container: "0.03"}}]
- model: spelt/embed
  family: embeddings
  prices: [{input: "2", output: "0"}]
- model: odd/embed
  family: embeddings
  prices: [{input: "2", output: "0"}]
- model: spelt/rank
  family: rerank
  prices: [{input: "2", output: "0"}]
- model: spelt/units
  family: rerank
  prices: [{input: "0", output: "0", fees: {search_unit: "0.002"}}]
`

func speltCatalog(t testing.TB) *pricing.Catalog {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load([]byte(spelt), &n); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&n, []pricing.Upstream{
		{Provider: "spelt"}, {Provider: "moonshot"}, {Provider: "openai"}, {Provider: "openrouter", Dialect: pricing.DialectOpenRouter},
		{Provider: "odd", Dialect: pricing.DialectCustom, Extractor: &pricing.Extractor{Input: "in", Output: "out", Total: "all"}},
	}, 1e12)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func speltBody(e pricing.Endpoint, members string) string {
	switch e {
	case pricing.Embeddings:
		return `{"model":"spelt/embed","input":"` + strings.Repeat("x", 5000) + `"}`
	case pricing.Rerank:
		return `{"model":"spelt/rank","query":"` + strings.Repeat("x", 5000) + `","documents":["b"]}`
	case pricing.Responses:
		return `{"model":"spelt/chat","max_output_tokens":9000,"input":"` + strings.Repeat("x", 5000) + `"` + members + `}`
	}
	return `{"model":"spelt/chat","max_tokens":9000,"messages":[{"role":"user","content":"` + strings.Repeat("x", 5000) + `"}]` + members + `}`
}

func speltCharge(t *testing.T, c *pricing.Catalog, e pricing.Endpoint, members string, ev pricing.Evidence) (pricing.Outcome, budget.Amount) {
	t.Helper()
	b := mustBound(t, c, e, speltBody(e, members), noon())
	ev.Sent, ev.Status, ev.Done = true, 200, true
	return pricing.Charge(b.Pin, b.Amount, ev, nil), b.Amount
}

// What a report says is read in every spelling and shape that leaves no doubt.
func TestUsageSpellings(t *testing.T) {
	c := speltCatalog(t)
	const micro = 1000
	for _, tt := range []struct {
		name  string
		e     pricing.Endpoint
		usage string
		cost  budget.Amount
		flags []string
	}{
		{"input and output on chat", pricing.Chat, `{"input_tokens":1000,"output_tokens":100}`, 2800 * micro, nil},
		{"prompt and completion on Responses", pricing.Responses, `{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}`, 2800 * micro, nil},
		{"prompt and completion on Messages", pricing.Messages, `{"prompt_tokens":1000,"completion_tokens":100,"cache_read_input_tokens":400}`, 2200 * micro, nil},
		{"both, equal", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"input_tokens":1000,"output_tokens":100}`, 2800 * micro, nil},
		{"both, one of them zero", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"input_tokens":0,"output_tokens":0}`, 2800 * micro, nil},
		{"input details on chat", pricing.Chat, `{"input_tokens":1000,"output_tokens":100,"input_tokens_details":{"cached_tokens":400}}`, 2200 * micro, nil},
		{"with a fraction of zero", pricing.Chat, `{"prompt_tokens":1000.0,"completion_tokens":1e2,"total_tokens":1.1E3}`, 2800 * micro, nil},
		{"as text", pricing.Chat, `{"prompt_tokens":"1000","completion_tokens":" 100 "}`, 2800 * micro, nil},
		{"fraction on Messages", pricing.Messages, `{"input_tokens":1000.0,"output_tokens":"1e2"}`, 2800 * micro, nil},
		{"empty lists for details", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":[],"completion_tokens_details":""}`, 2800 * micro, nil},
		{"details without members, and null", pricing.Responses, `{"input_tokens":1000,"output_tokens":100,"input_tokens_details":{},"output_tokens_details":null}`, 2800 * micro, nil},
		{"an empty list for the time to live", pricing.Messages, `{"input_tokens":1000,"output_tokens":100,"cache_creation":[],"server_tool_use":[],"iterations":null}`, 2800 * micro, nil},
		{"wrong types that mean nothing", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"queue_time":"x","service":[{}],"cost":{"a":1},"is_byok":7,"completion_tokens_details":{"reasoning_tokens":"?"}}`, 2800 * micro, nil},
		{"wrong types that mean nothing on Messages", pricing.Messages, `{"input_tokens":1000,"output_tokens":100,"service_tier":7,"speed":[],"inference_geo":{},"cache_creation_input_tokens":0,"cache_creation":"x"}`, 2800 * micro, nil},
		{"an invalid string elsewhere", pricing.Chat, "{\"prompt_tokens\":1000,\"completion_tokens\":100,\"note\":\"\xff\"}", 2800 * micro, nil},
		{"members twice, equal", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens":1000.0,"completion_tokens":"100","completion_tokens":null}`, 2800 * micro, nil},
		{"members twice on Messages", pricing.Messages, `{"input_tokens":1000,"output_tokens":100,"input_tokens":1000,"x":1,"x":2}`, 2800 * micro, nil},
		{"details twice, equal", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cached_tokens":400},"prompt_tokens_details":{"cached_tokens":400}}`, 2200 * micro, nil},
		{"a negative part stays in its whole", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cached_tokens":-1}}`, 2800 * micro, nil},
		{"a part twice, different, stays in its whole", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cached_tokens":1,"cached_tokens":400}}`, 2800 * micro, nil},
		{"Mistral", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"num_cached_tokens":400}`, 2200 * micro, nil},
		{"Mistral, details", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"prompt_token_details":{"cached_tokens":400}}`, 2200 * micro, nil},
		{"LiteLLM: cache writes within the prompt", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"cache_creation_input_tokens":300,"cache_read_input_tokens":400,"prompt_tokens_details":{"cached_tokens":400,"cache_creation_tokens":300}}`, (300*2 + 200 + 750 + 800) * micro, nil},
		{"LiteLLM: long-lived ones", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"prompt_tokens_details":{"cache_creation_tokens":300,"cache_creation_token_details":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}}}`, (700*2 + 250 + 800 + 800) * micro, nil},
		{"the total says that they are not", pricing.Chat, `{"prompt_tokens":300,"completion_tokens":100,"total_tokens":1100,"cache_creation_input_tokens":300,"cache_read_input_tokens":400}`, (300*2 + 200 + 750 + 800) * micro, nil},
		{"they cannot be", pricing.Chat, `{"prompt_tokens":300,"completion_tokens":100,"cache_creation_input_tokens":300,"cache_read_input_tokens":400}`, (300*2 + 200 + 750 + 800) * micro, nil},
		{"Anthropic's report on chat", pricing.Chat, `{"input_tokens":800,"output_tokens":100,"cache_creation_input_tokens":300,"cache_read_input_tokens":400}`, (800*2 + 200 + 750 + 800) * micro, nil},
		{"writes beside the Responses API's names", pricing.Responses, `{"input_tokens":1000,"output_tokens":100,"total_tokens":1100,"cache_creation_input_tokens":300}`, (700*2 + 750 + 800) * micro, nil},
		{"embeddings: the total is input", pricing.Embeddings, `{"total_tokens":1000}`, 2000 * micro, nil},
		{"embeddings: zero beside a total", pricing.Embeddings, `{"prompt_tokens":0,"total_tokens":1000}`, 2000 * micro, nil},
		{"embeddings by input tokens", pricing.Embeddings, `{"input_tokens":1000}`, 2000 * micro, nil},
		{"embeddings as text", pricing.Embeddings, `{"total_tokens":"1000","prompt_tokens_details":[]}`, 2000 * micro, nil},
		{"ranking as text, twice", pricing.Rerank, `{"total_tokens":"1000.0","total_tokens":1000,"billed_units":[]}`, 2000 * micro, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := speltCharge(t, c, tt.e, "", pricing.Evidence{Usage: tt.usage})
			if got.Basis != budget.BasisUsage || got.Cost != tt.cost || !cmp.Equal(got.Flags, tt.flags, cmpopts.EquateEmpty()) {
				t.Errorf("%s: %s %s %v, want %s %v", tt.usage, got.Basis, got.Cost, got.Flags, tt.cost, tt.flags)
			}
		})
	}
}

// What leaves a doubt about money keeps the bound.
func TestUsageThatLeavesADoubt(t *testing.T) {
	c := speltCatalog(t)
	for _, tt := range []struct {
		name  string
		e     pricing.Endpoint
		usage string
	}{
		{"different values", pricing.Chat, `{"prompt_tokens":1000,"prompt_tokens":2000,"completion_tokens":1}`},
		{"half a token", pricing.Chat, `{"prompt_tokens":1000.5,"completion_tokens":1}`},
		{"negative", pricing.Messages, `{"input_tokens":1000,"output_tokens":-1}`},
		{"no number", pricing.Responses, `{"input_tokens":"many","output_tokens":1}`},
		{"no output", pricing.Chat, `{"input_tokens":1000}`},
		{"only a total where there is output", pricing.Chat, `{"total_tokens":1000}`},
		{"an unreadable part that is dearer", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":1,"prompt_tokens_details":{"audio_tokens":-1}}`},
		{"details of which some are dearer", pricing.Chat, `{"prompt_tokens":1000,"completion_tokens":1,"prompt_tokens_details":[{"cached_tokens":5}]}`},
		{"cache reads on top of the input", pricing.Messages, `{"input_tokens":1000,"output_tokens":1,"cache_read_input_tokens":"x"}`},
		{"iterations that are none", pricing.Messages, `{"input_tokens":1000,"output_tokens":1,"iterations":[7]}`},
		{"embeddings without input", pricing.Embeddings, `{"completion_tokens":9}`},
		{"ranking, different values", pricing.Rerank, `{"total_tokens":1000,"total_tokens":1001}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, bound := speltCharge(t, c, tt.e, "", pricing.Evidence{Usage: tt.usage})
			if want := []string{pricing.FlagUsageMalformed}; got.Basis != budget.BasisBound || got.Cost != bound || !cmp.Equal(got.Flags, want) {
				t.Errorf("%s: %s %s %v, want the bound %s", tt.usage, got.Basis, got.Cost, got.Flags, bound)
			}
		})
	}
}

// An extractor without a name for what the provider reports finds the total.
func TestCustomEmbeddingsByTotal(t *testing.T) {
	c := speltCatalog(t)
	b := mustBound(t, c, pricing.Embeddings, `{"model":"odd/embed","input":"abc"}`, noon())
	for _, usage := range []string{`{"all":50}`, `{"all":50.0,"all":"50"}`, `{"in":null,"all":50}`} {
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: usage}, nil)
		if got.Basis != budget.BasisUsage || got.Cost != 100_000 {
			t.Errorf("%s: %s %s", usage, got.Basis, got.Cost)
		}
	}
}

// The billed amount may be text, and stand twice.
func TestBilledAmountAsText(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	for usage, want := range map[string]budget.Amount{
		`"cost":"0.00123"`:               1_230_000,
		`"cost":0.00123,"cost":"123e-5"`: 1_230_000,
		`"cost":0.00123,"cost":0.5`:      12_000, // the counts decide
		`"cost":null,"cost_details":[]`:  12_000,
		`"cost":"0.0001","is_byok":"true","cost_details":{"upstream_inference_cost":"0.002"}`: 2_100_000,
	} {
		b := mustBound(t, c, pricing.Chat, chatBody("openrouter/a/b", `"max_tokens":1000000`), noon())
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true,
			Usage: `{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11,` + usage + `}`}, nil)
		if got.Basis != budget.BasisUsage || got.Cost != want {
			t.Errorf("%s: %s %s, want %s", usage, got.Basis, got.Cost, want)
		}
	}
}

// Fees of hosted tools settle at the number of uses that the answer tells.
func TestFeesSettleAtTheUsesTold(t *testing.T) {
	c := speltCatalog(t)
	tokens := budget.Amount(2_800_000)
	const search, fetch, file, code = 10_000_000, 2_000_000, 2_500_000, 30_000_000
	chat := `,"tools":[{"type":"web_search","max_uses":3},{"type":"web_fetch","max_uses":4}]`
	many := `,"max_tool_calls":2,"tools":[{"type":"web_search"},{"type":"file_search"},{"type":"code_interpreter","container":{"type":"auto"}},{"type":"code_interpreter","container":{"memory_limit":"4g"}}]`
	for _, tt := range []struct {
		name    string
		e       pricing.Endpoint
		members string
		ev      pricing.Evidence
		fees    budget.Amount
		flags   []string
	}{
		{"chat does not tell", pricing.Chat, chat, pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100}`}, 3*search + 4*fetch, nil},
		{"chat tells of searches", pricing.Chat, chat, pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"server_tool_use":{"web_search_requests":1}}`}, search + 4*fetch, nil},
		{"chat tells of both", pricing.Chat, chat, pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"server_tool_use":{"web_search_requests":0,"web_fetch_requests":"2"}}`}, 2 * fetch, nil},
		{"what cannot be read is not told", pricing.Chat, chat, pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"server_tool_use":{"web_search_requests":-1,"web_fetch_requests":0}}`}, 3 * search, nil},
		{"xAI", pricing.Chat, chat, pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"server_side_tool_usage_details":{"web_search_calls":2,"x_search_calls":0}}`}, 2*search + 4*fetch, nil},
		{"Messages: nothing ran", pricing.Messages, chat, pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100}`}, 0, nil},
		{"Messages: some ran", pricing.Messages, chat, pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100,"server_tool_use":{"web_search_requests":2,"web_fetch_requests":1}}`}, 2*search + fetch, nil},
		{"Messages: an unreadable number", pricing.Messages, chat, pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100,"server_tool_use":{"web_search_requests":"x"}}`}, 3 * search, nil},
		{"Responses: not told", pricing.Responses, many, pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100}`}, 2*search + 2*file + 2*code + 2*4*code, nil},
		{"Responses: told", pricing.Responses, many, pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100}`, ToolUsage: `{"web_search":{"num_requests":1},"file_search":{"num_requests":"2"}}`}, search + 2*file + 2*code + 2*4*code, nil},
		{"Responses: containers, the dearest first", pricing.Responses, many, pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100,"server_side_tool_usage_details":{"web_search_calls":0,"file_search_calls":0,"code_interpreter_calls":3}}`}, 2*4*code + code, nil},
		{"more than the bound allowed", pricing.Chat, chat, pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"server_tool_use":{"web_search_requests":5,"web_fetch_requests":0}}`}, 5 * search, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := speltCharge(t, c, tt.e, tt.members, tt.ev)
			if got.Basis != budget.BasisUsage || got.Cost != tokens+tt.fees || !cmp.Equal(got.Flags, tt.flags, cmpopts.EquateEmpty()) {
				t.Errorf("%s %s %v, want %s", got.Basis, got.Cost, got.Flags, tokens+tt.fees)
			}
		})
	}
}

// A tool that ran unasked, and that the bound has no fee for, costs at least the
// bound, in every dialect that tells of it.
func TestToolsThatRanUnasked(t *testing.T) {
	c := speltCatalog(t)
	for _, tt := range []struct {
		e  pricing.Endpoint
		ev pricing.Evidence
	}{
		{pricing.Chat, pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"server_tool_use":{"web_search_requests":1}}`}},
		{pricing.Chat, pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"server_side_tool_usage_details":{"code_interpreter_calls":1}}`}},
		{pricing.Messages, pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100,"server_tool_use":{"code_execution_requests":1}}`}},
		{pricing.Responses, pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100}`, ToolUsage: `{"file_search":{"num_requests":1}}`}},
	} {
		got, bound := speltCharge(t, c, tt.e, "", tt.ev)
		if got.Basis != budget.BasisBound || got.Cost != bound {
			t.Errorf("%s %s: %s %s, want the bound %s", tt.e, tt.ev.Usage, got.Basis, got.Cost, bound)
		}
	}
}
