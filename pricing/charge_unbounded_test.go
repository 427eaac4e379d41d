package pricing_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"
)

// unboundedRows price what they leave open: a context, an image, audio, a region.
const unboundedRows = `
- {model: mistral/open-ended, family: bytes, prices: [{input: "1", input_audio: "9", output: "10", fees: {web_search: "0.01"}}]}
- {model: capless/endless, family: bytes, prices: [{input: "1", output: "10"}]}
- {model: openai/plain, family: bytes, limits: {context: 100000}, prices: [{input: "1", output: "10", fees: {web_search: "0.01"}}]}
- {model: openai/tiered, family: gpt, prices: [{input: "1", output: "10"}]}
- {model: openrouter/acme/picture, prices: [{input: "1", output: "10"}]}
- {model: openrouter/acme/free, prices: [{input: "0", output: "0"}]}
- {model: capless/terms, family: bytes, inference_geo: {us: "2", eu: "3"}, prices: [{input: "1", cache_write: "2", cache_write_long: "5", output: "10", fees: {request: "0.05"}}]}
- {model: capless/peaks, family: bytes, inference_geo: {us: "2"}, peaks: [{from: "08:00", to: "20:00", multiplier: "3"}], prices: [{input: "1", output: "10"}]}
- {model: mistral/ours, family: bytes, prices: [{input: "3", output: "30"}]}
`

// quoteUnbounded quotes a call that must have no bound, for a reason.
func quoteUnbounded(t *testing.T, c *pricing.Catalog, e pricing.Endpoint, body, reason string) pricing.Quote {
	t.Helper()
	q, err := c.Quote(context.Background(), pricing.Query{Endpoint: e, Body: []byte(body), At: noon()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if q.Unbounded == nil || q.Unbounded.Reason != reason || q.Bound.Amount != 0 {
		t.Fatalf("%s: unbounded %+v, bound %s", body, q.Unbounded, q.Bound.Amount)
	}
	return q
}

const openUsage = `{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}`

// The bound decides admission, the usage decides the cost: a call without a bound
// whose price and usage are known costs what it used.
func TestUsagePricesACallWithoutABound(t *testing.T) {
	c := mustOverlay(t, unboundedRows)
	cost := func(in, out int64) budget.Amount { return tokensAt(in, 1_000_000, out, 10_000_000) }
	for _, tt := range []struct {
		name     string
		endpoint pricing.Endpoint
		body     string
		reason   string
		ev       pricing.Evidence
		want     budget.Amount
		flag     string
	}{
		{"unknown output", pricing.Chat, chatBody("capless/endless", ""), "max_output_unknown",
			pricing.Evidence{Usage: openUsage}, cost(1000, 100), ""},
		{"image of unknown size", pricing.Chat, `{"model":"openai/plain","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://a/b.png"}]}]}`, "unbounded_media",
			pricing.Evidence{Usage: openUsage}, cost(1000, 100), ""},
		{"an unknown part", pricing.Chat, `{"model":"openai/plain","max_tokens":5,"messages":[{"role":"user","content":[{"type":"video_url","video_url":"https://a/b.mp4"}]}]}`, "unbounded_media",
			pricing.Evidence{Usage: openUsage}, cost(1000, 100), ""},
		{"audio of unknown length", pricing.Chat, `{"model":"mistral/open-ended","max_tokens":5,"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"AAAA","format":"ogg"}}]}]}`, "unbounded_media",
			pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"audio_tokens":400}}`}, tokensAt(600, 1_000_000, 100, 10_000_000) + tokensAt(400, 9_000_000, 0, 0), ""},
		{"audio out", pricing.Chat, chatBody("openai/plain", `"max_tokens":5,"modalities":["text","audio"]`), "unbounded_media",
			pricing.Evidence{Usage: openUsage}, cost(1000, 100), ""},
		{"hosted tool without a limit", pricing.Responses, `{"model":"openai/plain","max_output_tokens":5,"input":"x","tools":[{"type":"web_search"}]}`, "unbounded_tool",
			pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100}`, ToolUsage: `{"web_search":{"num_requests":3}}`}, cost(1000, 100) + 3*budget.Cent, ""},
		{"hosted tool without a fee", pricing.Responses, `{"model":"openai/plain","max_output_tokens":5,"input":"x","tools":[{"type":"file_search"}],"max_tool_calls":2}`, "unbounded_tool",
			pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100}`}, cost(1000, 100), ""},
		{"hosted tool without a fee, which ran", pricing.Responses, `{"model":"openai/plain","max_output_tokens":5,"input":"x","tools":[{"type":"file_search"}],"max_tool_calls":2}`, "unbounded_tool",
			pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100}`, ToolUsage: `{"file_search":{"num_requests":1}}`}, cost(1000, 100), pricing.FlagBucketUnpriced},
		{"more than ten times what a known context can cost", pricing.Chat, `{"model":"openai/plain","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://a/b.png"}]}]}`, "unbounded_media",
			pricing.Evidence{Usage: `{"prompt_tokens":20000000,"completion_tokens":100}`}, 10 * cost(100_000, 100_000), pricing.FlagAbsurd},
		{"a bill that nothing compares with", pricing.Chat, chatBody("openrouter/acme/new", `"max_tokens":5`), "model_not_priced",
			pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"cost":5000}`}, 1000 * budget.Dollar, pricing.FlagAbsurd},
		{"a fee for each call", pricing.Chat, chatBody("capless/terms", ""), "max_output_unknown",
			pricing.Evidence{Usage: openUsage}, cost(1000, 100) + 5*budget.Cent, ""},
		{"the region asked for", pricing.Chat, chatBody("capless/terms", `"inference_geo":"us"`), "max_output_unknown",
			pricing.Evidence{Usage: openUsage}, 2*cost(1000, 100) + 5*budget.Cent, ""},
		{"a region nobody knows", pricing.Chat, chatBody("capless/terms", `"inference_geo":"mars"`), "tier_not_priced",
			pricing.Evidence{Usage: openUsage}, 3*cost(1000, 100) + 5*budget.Cent, ""},
		{"a region nobody knows, at the peak", pricing.Chat, chatBody("capless/peaks", `"max_tokens":5,"inference_geo":"mars"`), "tier_not_priced",
			pricing.Evidence{Usage: openUsage}, 6 * cost(1000, 100), ""},
		{"long-lived writes", pricing.Chat, chatBody("capless/terms", `"x":{"cache_control":{"ttl":"1h"}}`), "max_output_unknown",
			pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"prompt_tokens_details":{"cache_write_tokens":200}}`}, cost(800, 100) + tokensAt(200, 5_000_000, 0, 0) + 5*budget.Cent, ""},
		{"a bill for what is free", pricing.Chat, `{"model":"openrouter/acme/free","max_tokens":5,"messages":[{"role":"user","content":[{"type":"video_url","video_url":"https://a/b.mp4"}]}]}`, "unbounded_media",
			pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"cost":5000}`}, 10 * budget.Dollar, pricing.FlagAbsurd},
		{"hosted tool, unknown context", pricing.Chat, chatBody("mistral/open-ended", `"max_tokens":5,"tools":[{"type":"web_search","max_uses":1}]`), "unbounded_tool",
			pricing.Evidence{Usage: openUsage}, cost(1000, 100), ""},
		{"unknown tier, and none in the answer", pricing.Chat, chatBody("openai/tiered", `"max_tokens":5,"service_tier":"ultrafast"`), "tier_not_priced",
			pricing.Evidence{Usage: openUsage}, 2 * cost(1000, 100), ""},
		{"unknown tier, billed as the usual one", pricing.Chat, chatBody("openai/tiered", `"max_tokens":5,"service_tier":"ultrafast"`), "tier_not_priced",
			pricing.Evidence{Usage: openUsage, ServiceTier: `"default"`}, cost(1000, 100), ""},
		{"unknown tier, billed", pricing.Chat, chatBody("openai/tiered", `"max_tokens":5,"service_tier":"ultrafast"`), "tier_not_priced",
			pricing.Evidence{Usage: openUsage, ServiceTier: `"ultrafast"`}, 2 * cost(1000, 100), pricing.FlagTierUnpriced},
		{"unknown stored input", pricing.Responses, `{"model":"mistral/open-ended","max_output_tokens":5,"input":"x","previous_response_id":"resp_1"}`, "unbounded_input",
			pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":100}`}, cost(1000, 100), ""},
		{"only the model that answered has a price", pricing.Chat, chatBody("mistral/no-row", `"max_tokens":5`), "model_not_priced",
			pricing.Evidence{Usage: openUsage, Model: `"ours"`}, 3 * cost(1000, 100), ""},
		{"the provider names its bill", pricing.Chat, chatBody("openrouter/acme/new", `"max_tokens":5`), "model_not_priced",
			pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"cost":0.25}`}, 25 * budget.Cent, ""},
		{"hosts of a model without an image rule", pricing.Chat, `{"model":"openrouter/acme/picture","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://a/b.png"}]}]}`, "unbounded_media",
			pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":100,"cost":0.25}`}, 25 * budget.Cent, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := quoteUnbounded(t, c, tt.endpoint, tt.body, tt.reason)
			tt.ev.Sent, tt.ev.Status, tt.ev.Done, tt.ev.Output = true, 200, true, true
			got := pricing.Charge(q.Bound.Pin, q.Bound.Amount, tt.ev, c.Served(q.Model.Slug, noon()))
			if got.Basis != budget.BasisUsage || got.Cost != tt.want || slices.Contains(got.Flags, pricing.FlagBoundExceeded) || tt.flag != "" && !slices.Contains(got.Flags, tt.flag) ||
				slices.Contains(got.Flags, pricing.FlagBucketUnpriced) != (tt.flag == pricing.FlagBucketUnpriced) {
				t.Errorf("charged %s (%s, %v), want %s", got.Cost, got.Basis, got.Flags, tt.want)
			}
			if strings.Contains(q.Bound.Pin, "=") {
				t.Error(q.Bound.Pin)
			}
		})
	}
}

// What nobody knows stays unknown; a report that is not the last word is the least.
func TestWhatACallWithoutABoundLeavesUnknown(t *testing.T) {
	c := mustOverlay(t, unboundedRows)
	priced := quoteUnbounded(t, c, pricing.Chat, chatBody("capless/endless", `"stream":true`), "max_output_unknown")
	unknown := quoteUnbounded(t, c, pricing.Chat, chatBody("mistral/no-row", `"max_tokens":5`), "model_not_priced")
	for _, tt := range []struct {
		name  string
		quote pricing.Quote
		ev    pricing.Evidence
		basis budget.Basis
		cost  budget.Amount
	}{
		{"no report", priced, pricing.Evidence{Status: 200, Done: true, Output: true}, budget.BasisUnpriced, 0},
		{"cut before one", priced, pricing.Evidence{Status: 200, Cut: true, Stream: true}, budget.BasisUnpriced, 0},
		{"cut after one", priced, pricing.Evidence{Status: 200, Cut: true, Stream: true, Output: true, Usage: openUsage}, budget.BasisElapsed, tokensAt(1000, 1_000_000, 100, 10_000_000)},
		{"a hollow one", priced, pricing.Evidence{Status: 200, Done: true, Output: true, Usage: `{"prompt_tokens":0,"completion_tokens":0}`}, budget.BasisUnpriced, 0},
		{"no price", unknown, pricing.Evidence{Status: 200, Done: true, Output: true, Usage: openUsage}, budget.BasisUnpriced, 0},
		{"no price, of an unknown model", unknown, pricing.Evidence{Status: 200, Done: true, Output: true, Usage: openUsage, Model: `"new"`}, budget.BasisUnpriced, 0},
		{"refused", priced, pricing.Evidence{Status: 400}, budget.BasisProviderError, 0},
		{"absurd", priced, pricing.Evidence{Status: 200, Done: true, Output: true, Usage: `{"prompt_tokens":1000,"completion_tokens":900000000000000}`}, budget.BasisUsage, 10 * tokensAt(10_000_000, 1_000_000, 10_000_000, 10_000_000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.ev.Sent = true
			got := pricing.Charge(tt.quote.Bound.Pin, 0, tt.ev, c.Served(tt.quote.Model.Slug, noon()))
			if got.Basis != tt.basis || got.Cost != tt.cost || slices.Contains(got.Flags, pricing.FlagBoundExceeded) {
				t.Errorf("%+v, want %s by %s", got, tt.cost, tt.basis)
			}
		})
	}
}
