package pricing_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"go.yaml.in/yaml/v4"
)

// What Messages reports in OpenAI's spelling includes the cache, and a report of
// which any count cannot be read is none, whatever stands in the one before it.
func TestMessagesReports(t *testing.T) {
	c := speltCatalog(t)
	const micro = 1000
	good := `{"input_tokens":10,"output_tokens":1}`
	call := `{"input_tokens":1,"output_tokens":1}`
	for _, tt := range []struct {
		name, first, last string
		cost              budget.Amount
	}{
		{"the input holds the cache", "", `{"prompt_tokens":1000,"completion_tokens":100,"cache_read_input_tokens":200,"cache_creation_input_tokens":300}`, (500*2 + 100 + 750 + 800) * micro},
		{"and the writes by their time to live", "", `{"prompt_tokens":1000,"completion_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200}}`, (700*2 + 250 + 800 + 800) * micro},
		{"all of it is the cache", "", `{"prompt_tokens":100,"completion_tokens":10,"cache_read_input_tokens":100}`, (50 + 80) * micro},
		{"the last is no object", good, `[]`, -1},
		{"the last cannot be read", good, `{"input_tokens":"?","output_tokens":5}`, -1},
		{"the first cannot be read", `{"input_tokens":"?","output_tokens":1}`, good, -1},
		{"a call of several cannot be read", "", `{"input_tokens":1,"output_tokens":1,"iterations":[{"input_tokens":"?","output_tokens":1}]}`, -1},
		{"as many calls as are read", "", `{"input_tokens":1,"output_tokens":1,"iterations":[` + strings.Repeat(call+",", 999) + call + `]}`, 1000 * (2 + 8) * micro},
		{"more calls than are read", "", `{"input_tokens":1,"output_tokens":1,"iterations":[` + strings.Repeat(call+",", 1000) + call + `]}`, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, bound := speltCharge(t, c, pricing.Messages, "", pricing.Evidence{Stream: true, FirstUsage: tt.first, Usage: tt.last})
			checkReport(t, got, tt.cost, bound)
		})
	}
}

// checkReport wants that cost; -1: the bound, for the report is none.
func checkReport(t *testing.T, got pricing.Outcome, cost, bound budget.Amount) {
	t.Helper()
	malformed := cost < 0
	if malformed {
		cost = bound
	}
	if got.Cost != cost || slices.Contains(got.Flags, pricing.FlagUsageMalformed) != malformed {
		t.Errorf("%+v, want %s", got, cost)
	}
}

// A count is a number in full, and details are an object or nothing.
func TestCountsThatAreNone(t *testing.T) {
	c := speltCatalog(t)
	for _, count := range []string{`"1ex"`, `"1e"`, `".5"`, `"5."`, `"x"`, `"1x"`, `"-1"`, `"0x1"`, `[1]`, `{}`} {
		got, bound := speltCharge(t, c, pricing.Chat, "", pricing.Evidence{Usage: `{"completion_tokens":1,"prompt_tokens":` + count + `}`})
		t.Run(count, func(t *testing.T) { checkReport(t, got, -1, bound) })
	}
	for _, usage := range []string{
		`{"prompt_tokens":1,"completion_tokens":"?","total_tokens":5}`,
		`{"prompt_tokens":1000,"completion_tokens":1,"prompt_tokens_details":{"cache_write_tokens":"?","cache_creation_tokens":300,"cache_write_tokens_details":7}}`,
	} {
		got, bound := speltCharge(t, c, pricing.Chat, "", pricing.Evidence{Usage: usage})
		t.Run(usage, func(t *testing.T) { checkReport(t, got, -1, bound) })
	}
	for details, cost := range map[string]budget.Amount{`[]`: 10_000, `[ ]`: 10_000, `""`: 10_000, `0`: 10_000, `false`: 10_000, `null`: 10_000, `" "`: -1, `[0]`: -1, `7`: -1, `true`: -1} {
		got, bound := speltCharge(t, c, pricing.Chat, "", pricing.Evidence{Usage: `{"completion_tokens":1,"prompt_tokens":1,"prompt_tokens_details":` + details + `}`})
		t.Run(details, func(t *testing.T) { checkReport(t, got, cost, bound) })
	}
}

// What follows a report makes it none on every dialect, as does a count that is
// none where parts of a token are usual.
func TestReportsWithATail(t *testing.T) {
	var n yaml.Node
	if err := yaml.Load([]byte(`[{model: odd/embed, family: bytes, prices: [{input: "2", output: "0"}]}, {model: odd/chat, family: bytes, limits: {max_output: 100}, prices: [{input: "2", output: "8"}]}, {model: vllm/rank, family: rerank, prices: [{input: "2", output: "0"}]}]`), &n); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&n, []pricing.Upstream{{Provider: "vllm"}, {
		Provider: "odd", Dialect: pricing.DialectCustom, Extractor: &pricing.Extractor{Input: "in", Output: "out", Cost: "bill.usd"},
	}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		e           pricing.Endpoint
		body, usage string
		cost        budget.Amount
	}{
		{pricing.Rerank, `{"model":"vllm/rank","query":"a","documents":["b"]}`, `{"total_tokens":5}`, 10_000},
		{pricing.Rerank, `{"model":"vllm/rank","query":"a","documents":["b"]}`, `{"total_tokens":5} x`, -1},
		{pricing.Embeddings, `{"model":"odd/embed","input":"a"}`, `{"in":5,"out":0}`, 10_000},
		{pricing.Embeddings, `{"model":"odd/embed","input":"a"}`, `{"in":5,"out":0} x`, -1},
		{pricing.Embeddings, `{"model":"odd/embed","input":"a"}`, `{"in":"1ex","out":0}`, -1},
		{pricing.Embeddings, `{"model":"odd/embed","input":"a"}`, `{"in":".5","out":0}`, -1},
		{pricing.Embeddings, `{"model":"odd/embed","input":"a"}`, `{"in":"5.","out":0}`, -1},
		{pricing.Chat, chatBody("odd/chat", `"max_tokens":100`), `{"in":5,"out":1,"bill":{"usd":0.0001}}`, 100_000},
		{pricing.Chat, chatBody("odd/chat", `"max_tokens":100`), `{"in":5,"out":1}`, 18_000},
	} {
		b := mustBound(t, c, tt.e, tt.body, noon())
		t.Run(tt.usage, func(t *testing.T) { checkReport(t, answered(b, tt.usage), tt.cost, b.Amount) })
	}
}
