package pricing_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"pgregory.net/rapid"
)

// dialectCalls is one call per usage dialect.
func dialectCalls(t testing.TB, c *pricing.Catalog) (names []string, bounds []*pricing.Bound) {
	t.Helper()
	for _, call := range []struct {
		name, body string
		e          pricing.Endpoint
	}{
		{"openai_chat", chatBody(kimi, `"max_tokens":100,"stream":true`), pricing.Chat},
		{"openai_chat, implicit writes", chatBody("openai/gpt-6-sol", `"max_tokens":100,"n":3,"stream":true`), pricing.Chat},
		{"openrouter", chatBody("openrouter/a/b", `"max_tokens":100`), pricing.Chat},
		{"openai_responses", `{"model":"openai/gpt-6-sol","max_output_tokens":9,"input":"x","tools":[{"type":"web_search"}],"max_tool_calls":2}`, pricing.Responses},
		{"anthropic_messages", `{"model":"anthropic/claude-opus-5.5","max_tokens":9,"messages":[],"x":{"cache_control":{"ttl":"1h"}},"tools":[{"type":"web_search_20250305","max_uses":1}]}`, pricing.Messages},
		{"cohere_rerank", `{"model":"cohere/rerank-v4.0-fast","query":"q","documents":["a"]}`, pricing.Rerank},
		{"tokens_rerank", `{"model":"jina/reranker","query":"q","documents":["a"]}`, pricing.Rerank},
		{"custom", chatBody("odd/m", `"max_tokens":100`), pricing.Chat},
		{"embeddings", `{"model":"voyage/voyage-4","input":"a"}`, pricing.Embeddings},
	} {
		names, bounds = append(names, call.name), append(bounds, mustBound(t, c, call.e, call.body, noon()))
	}
	return names, bounds
}

// Whatever a provider reports: counts and costs are never negative, the same
// report costs the same, a word about another model never makes a call free of
// its flag, and what the OpenAI family reports adds up to what it reported.
func FuzzUsage(f *testing.F) {
	c := settleCatalog(f)
	names, bounds := dialectCalls(f, c)
	served := c.Served("anthropic/claude-opus-5.5", noon())
	for i, usage := range []string{
		`{"prompt_tokens":9,"completion_tokens":5,"total_tokens":20,"prompt_tokens_details":{"cached_tokens":3},"prompt_cache_hit_tokens":3,"prompt_cache_miss_tokens":6}`,
		`{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cache_write_tokens":4,"cache_write_tokens_details":{"ttl_12h_tokens":1}},"completion_tokens_details":{"audio_tokens":2}}`,
		`{"prompt_tokens":9,"completion_tokens":5,"cost":1.5e-3,"is_byok":true,"cost_details":{"upstream_inference_cost":2E-4}}`,
		`{"input_tokens":9,"output_tokens":5,"total_tokens":14,"input_tokens_details":{"cached_tokens":1}}`,
		`{"input_tokens":9,"output_tokens":5,"cache_creation_input_tokens":7,"cache_creation":{"ephemeral_1h_input_tokens":2},"iterations":[{"model":"claude-haiku-4-5","input_tokens":1,"output_tokens":2}],"server_tool_use":{"web_search_requests":1},"speed":"fast"}`,
		`{"billed_units":{"search_units":1.5}}`, `{"total_tokens":1e2}`, `{"in":{"all":9,"hit":3},"made":5}`, `{"prompt_tokens":8,"total_tokens":8}`,
	} {
		f.Add(uint8(i), uint8(13), usage, usage, `{"web_search":{"num_requests":1},"image_gen":{"total_tokens":3}}`, `"claude-haiku-4-5-20251001"`, `"priority"`, 200, int64(time.Second))
	}
	f.Fuzz(func(t *testing.T, which, bits uint8, usage, first, tools, model, tier string, status int, duration int64) {
		i := int(which) % len(bounds)
		b := bounds[i]
		ev := pricing.Evidence{Sent: bits&1 != 0, Cut: bits&2 != 0, Stream: bits&4 != 0, Done: bits&8 != 0, Status: status, Duration: time.Duration(duration),
			Usage: usage, FirstUsage: first, ToolUsage: tools, Model: model, ServiceTier: tier, Finished: int(bits >> 4 & 3), Output: bits&64 != 0, Many: bits&128 != 0}
		out := pricing.Charge(b.Pin, b.Amount, ev, served)
		again := pricing.Charge(b.Pin, b.Amount, ev, served)
		if out.Cost != again.Cost || out.Basis != again.Basis || out.Served != again.Served || !slices.Equal(out.Flags, again.Flags) {
			t.Errorf("%s: %+v, then %+v", names[i], out, again)
		}
		n := out.Tokens
		if out.Basis == "" || out.Cost < 0 || out.Cost > budget.MaxAmount || min(n.Input, n.CacheRead, n.CacheWrite, n.Output) < 0 {
			t.Errorf("%s: %+v", names[i], out)
		}
		if over := slices.Contains(out.Flags, pricing.FlagBoundExceeded); over != (out.Cost > b.Amount) {
			t.Errorf("%s: %+v with a bound of %s", names[i], out, b.Amount)
		}
		if out.Basis == budget.BasisBound && out.Cost < b.Amount {
			t.Errorf("%s: %+v is less than the bound %s", names[i], out, b.Amount)
		}
		if i < 3 && out.Basis == budget.BasisUsage && len(out.Flags) == 0 {
			addsUp(t, usage, n)
		}
	})
}

// addsUp compares counts with a lenient reading of the report.
func addsUp(t *testing.T, usage string, n budget.Tokens) {
	t.Helper()
	var u struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
		Total      int64 `json:"total_tokens"`
		Hit        int64 `json:"prompt_cache_hit_tokens"`
		Miss       int64 `json:"prompt_cache_miss_tokens"`
	}
	if json.Unmarshal([]byte(usage), &u) != nil {
		return // the strict reader knows better
	}
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(usage), &members) != nil {
		return
	}
	for name := range members { // the lenient reader ignores case
		if !slices.Contains([]string{"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details", "cached_tokens", "cost"}, name) {
			return
		}
	}
	if in := n.Input + n.CacheRead + n.CacheWrite; in != u.Prompt || n.Output != max(u.Completion, u.Total-u.Prompt) {
		t.Errorf("%s was read as %+v", usage, n)
	}
}

// FuzzBound drives the comparison with the slow bound by coverage.
func FuzzBound(f *testing.F) {
	c, o := oracleSides(f)
	f.Add([]byte{})
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { agrees(t, c, o) }))
}
