package pricing_test

import (
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"
)

// edgeModels have prices that no two readings of a report share.
const edgeModels = `
- model: anthropic/edge
  family: bytes
  limits: {context: 1000000, max_output: 10000}
  service_tiers: {priority: "2", batch: "0.5"}
  prices:
  - input: "1"
    cache_read: "0.1"
    cache_write: "1.25"
    cache_write_long: "2"
    output: "5"
    tiers: [{from: 1001, input: "10", cache_read: "1", cache_write: "12.5", cache_write_long: "20", output: "50"}]
- model: outside/edge
  family: bytes
  limits: {context: 1000000, max_output: 10000}
  prices:
  - {input: "1", cache_read: "0.1", cache_write: "1.25", output: "5", tiers: [{from: 1001, input: "10", cache_read: "1", cache_write: "12.5", output: "50"}]}
- model: vllm/reranker
  family: rerank
  prices: [{input: "0.05", output: "0"}]
`

func edgeCatalog(t testing.TB) *pricing.Catalog {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load([]byte(edgeModels), &n); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&n, append(settleUpstreams(), pricing.Upstream{
		Provider: "outside", Dialect: pricing.DialectCustom,
		Extractor: &pricing.Extractor{Input: "in", CacheRead: "hit", CacheWrite: "put", Output: "made", CacheOutside: true},
	}), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func messagesBody(model, extra string) string {
	return `{"model":"` + model + `","max_tokens":5000,"messages":[{"role":"user","content":"hi"}]` + extra + `}`
}

// answered charges a whole answer of status 200 with that report.
func answered(b *pricing.Bound, usage string) pricing.Outcome {
	return pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: usage}, nil)
}

// Search units of an earlier report count beside a last one of zeros.
func TestSearchUnitsOfAnEarlierReport(t *testing.T) {
	b := mustBound(t, speltCatalog(t), pricing.Rerank, `{"model":"spelt/units","query":"a","documents":["b"]}`, noon())
	ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Output: true, FirstUsage: `{"billed_units":{"search_units":1}}`, Usage: `{"billed_units":{"search_units":0}}`}
	if got := pricing.Charge(b.Pin, b.Amount, ev, nil); got.Basis != budget.BasisUsage || got.Cost != 2_000_000 || len(got.Flags) > 0 {
		t.Errorf("got %+v", got)
	}
}

// Search units are how rerankers report, and no other call, whatever has a fee.
func TestSearchUnitsAreOfRerankers(t *testing.T) {
	const row = "- {model: capless/both, family: bytes, limits: {context: 100000, max_output: 1000}, prices: [{input: \"2\", output: \"8\", fees: {search_unit: \"0.002\"}}]}\n"
	c := mustOverlay(t, row)
	b := mustBound(t, c, pricing.Responses, `{"model":"capless/both","input":"hi","max_output_tokens":1000}`, noon())
	if got := answered(b, `{"input_tokens":1000,"output_tokens":100}`); got.Basis != budget.BasisUsage || got.Cost != 2_800_000 {
		t.Errorf("got %+v", got)
	}
	q := quoteUnbounded(t, c, pricing.Rerank, `{"model":"capless/none","query":"a","documents":["b"]}`, "model_not_priced")
	if got := answered(q.Bound, `{"total_tokens":10}`); got.Basis != budget.BasisUnpriced || got.Tokens.Input != 10 {
		t.Errorf("without a price: %+v", got)
	}
}

// Anthropic names the tier it billed inside the usage object, and nowhere else.
func TestMessagesAreBilledAtTheTierInTheReport(t *testing.T) {
	c := edgeCatalog(t)
	for _, tt := range []struct {
		asked, billed string
		cost          budget.Amount
		flags         []string
	}{
		{"", `"standard"`, 100_000, nil},
		{"", `"priority"`, 200_000, nil},
		{"", `"batch"`, 50_000, nil},
		{"", `null`, 100_000, nil},
		{`,"service_tier":"priority"`, `"standard"`, 100_000, nil},
		{`,"service_tier":"priority"`, `null`, 200_000, nil},
	} {
		b := mustBound(t, c, pricing.Messages, messagesBody("anthropic/edge", tt.asked), noon())
		got := answered(b, `{"input_tokens":100,"output_tokens":0,"service_tier":`+tt.billed+`}`)
		if got.Basis != budget.BasisUsage || got.Cost != tt.cost || !cmp.Equal(got.Flags, tt.flags, cmpopts.EquateEmpty()) {
			t.Errorf("asked %q, billed %s: %s %s %v, want %s %v", tt.asked, tt.billed, got.Basis, got.Cost, got.Flags, tt.cost, tt.flags)
		}
	}
}

// The price tier is chosen by all input: also by what was read from the cache
// and by what was written to it, where a dialect names them beside the input.
func TestCachedInputCountsTowardsThePriceTier(t *testing.T) {
	c := edgeCatalog(t)
	for _, tt := range []struct {
		e           pricing.Endpoint
		body, usage string
		cost        budget.Amount
	}{
		{pricing.Messages, messagesBody("anthropic/edge", ""), `{"input_tokens":600,"cache_creation_input_tokens":400,"output_tokens":0}`, 600_000 + 500_000},
		{pricing.Messages, messagesBody("anthropic/edge", ""), `{"input_tokens":600,"cache_creation_input_tokens":401,"output_tokens":0}`, 6_000_000 + 5_012_500},
		{pricing.Messages, messagesBody("anthropic/edge", ""), `{"input_tokens":600,"cache_read_input_tokens":400,"output_tokens":0}`, 600_000 + 40_000},
		{pricing.Messages, messagesBody("anthropic/edge", ""), `{"input_tokens":600,"cache_read_input_tokens":401,"output_tokens":0}`, 6_000_000 + 401_000},
		{pricing.Messages, messagesBody("anthropic/edge", ""), `{"input_tokens":600,"cache_read_input_tokens":200,"cache_creation_input_tokens":201,"output_tokens":0}`, 6_000_000 + 200_000 + 2_512_500},
		{pricing.Messages, messagesBody("anthropic/edge", ""), `{"input_tokens":1,"cache_creation_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":400,"ephemeral_1h_input_tokens":600},"output_tokens":1}`, 10_000 + 5_000_000 + 12_000_000 + 50_000},
		{pricing.Messages, messagesBody("anthropic/edge", ""), `{"input_tokens":900,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":100},"output_tokens":0}`, 9_000_000 + 1_250_000 + 2_000_000},
		{pricing.Chat, chatBody("outside/edge", `"max_tokens":5000`), `{"in":600,"put":400,"made":0}`, 600_000 + 500_000},
		{pricing.Chat, chatBody("outside/edge", `"max_tokens":5000`), `{"in":600,"put":401,"made":0}`, 6_000_000 + 5_012_500},
		{pricing.Chat, chatBody("outside/edge", `"max_tokens":5000`), `{"in":600,"hit":401,"made":0}`, 6_000_000 + 401_000},
	} {
		got := answered(mustBound(t, c, tt.e, tt.body, noon()), tt.usage)
		if got.Basis != budget.BasisUsage || got.Cost != tt.cost {
			t.Errorf("%s %s: %s %s, want %s", tt.e, tt.usage, got.Basis, got.Cost, tt.cost)
		}
	}
}

// A report that lacks what is billed is none: the bound is charged, which no
// report of a part may undercut.
func TestReportsWithoutWhatIsBilledAreNone(t *testing.T) {
	c := edgeCatalog(t)
	for _, tt := range []struct {
		e      pricing.Endpoint
		body   string
		usages []string
	}{
		{pricing.Responses, `{"model":"openai/gpt-5.5","max_output_tokens":100,"input":"hi"}`, []string{
			`{"input_tokens":10}`, `{"input_tokens":10,"output_tokens":null}`, `{"output_tokens":10}`,
		}},
		{pricing.Messages, messagesBody("anthropic/edge", ""), []string{
			`{"input_tokens":10}`, `{"output_tokens":10}`, `{"cache_read_input_tokens":5,"output_tokens":1}`, `{"iterations":[{"input_tokens":1}],"input_tokens":1,"output_tokens":1}`,
		}},
		{pricing.Rerank, `{"model":"cohere/rerank-v4.0-fast","query":"q","documents":["a"]}`, []string{
			`{}`, `{"billed_units":null}`, `{"billed_units":{}}`, `{"billed_units":{"search_units":null}}`, `{"billed_units":{"search_units":"many"}}`,
			`{"billed_units":{"search_units":[1]}}`, `{"billed_units":{"search_units":-1}}`, `{"billed_units":{"search_units":1,"search_units":2}}`,
			`{"billed_units":{"input_tokens":10}}`,
		}},
		{pricing.Rerank, `{"model":"vllm/reranker","query":"q","documents":["a"]}`, []string{
			`{}`, `{"total_tokens":null}`, `{"total_tokens":-1}`, `{"total_tokens":"many"}`, `{"total_tokens":[1]}`,
			`{"total_tokens":5,"prompt_tokens":-5}`, `{"billed_units":{"search_units":1}}`,
		}},
	} {
		b := mustBound(t, c, tt.e, tt.body, noon())
		for _, usage := range tt.usages {
			got := answered(b, usage)
			if got.Basis != budget.BasisBound || got.Cost != b.Amount || got.Tokens != (budget.Tokens{}) || !cmp.Equal(got.Flags, []string{pricing.FlagUsageMalformed}) {
				t.Errorf("%s %s: %+v, want the bound, %s, and %s", tt.e, usage, got, b.Amount, pricing.FlagUsageMalformed)
			}
		}
	}
}

// An answer that says auto repeats what was asked for, or its default, and does
// not say what was billed.
func TestAutoIsNoTier(t *testing.T) {
	c := edgeCatalog(t)
	b := mustBound(t, c, pricing.Messages, messagesBody("anthropic/edge", `,"service_tier":"priority"`), noon())
	for tier, want := range map[string]budget.Amount{`"auto"`: 200_000, `"AUTO"`: 200_000, `"standard"`: 100_000} {
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{
			Sent: true, Status: 200, Done: true, Usage: `{"input_tokens":100,"output_tokens":0}`, ServiceTier: tier,
		}, nil)
		if got.Basis != budget.BasisUsage || got.Cost != want {
			t.Errorf("%s: %s %v, want %v", tier, got.Basis, got.Cost, want)
		}
	}
}
