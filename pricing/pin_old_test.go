package pricing_test

import (
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// Pins that an earlier version wrote are in tokens of running calls and in the
// ledger: they settle as they did.
func TestOlderPins(t *testing.T) {
	start := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, pin string
		ev        pricing.Evidence
		cost      budget.Amount
	}{
		{"Moonshot", "AQEBAMMI8P05gJL0AQEBAQEAAAIEZmxleAEBCW9uX2RlbWFuZAEBAQBD8P05gOIJgJL0AQ",
			pricing.Evidence{Usage: `{"prompt_tokens":10,"completion_tokens":5}`}, 29_500},
		{"DeepSeek, in reach of its peak", "AQkBAMkIoKQo4Ox4AgEBAQAAAgRmbGV4AQEJb25fZGVtYW5kAQEBAEOgpCjwqwHg7Hg",
			pricing.Evidence{Usage: `{"prompt_tokens":1000,"completion_tokens":0}`}, 1_320_000},
		{"Anthropic in the US, a search allowed twice", "AYGBDAEAwIQ9gJL0AYDaxAkLCgEBAAACBGZhc3QCAQ1zdGFuZGFyZF9vbmx5AQEBAE-AkvQBwJoMwJaxAoCk6AOA2sQJAQp3ZWJfc2VhcmNoAoDIr6Al",
			pricing.Evidence{Usage: `{"input_tokens":1000,"output_tokens":0,"inference_geo":"global","server_tool_use":{"web_search_requests":1}}`}, 14_400_000},
	} {
		tt.ev.Sent, tt.ev.Status, tt.ev.Done, tt.ev.Start, tt.ev.End = true, 200, true, start, start
		got := pricing.Charge(tt.pin, budget.Dollar, tt.ev, nil)
		if got.Basis != budget.BasisUsage || got.Cost != tt.cost || len(got.Flags) > 0 {
			t.Errorf("%s: %s %s %v, want %s", tt.name, got.Basis, got.Cost, got.Flags, tt.cost)
		}
		if e := pricing.EndpointOf(tt.pin); e != "" {
			t.Errorf("%s: of %s", tt.name, e)
		}
	}
}

// TestEndpointOfAPin: a pin of now tells which endpoint was called.
func TestEndpointOfAPin(t *testing.T) {
	c := mustLoad(t)
	for e, body := range map[pricing.Endpoint]string{
		pricing.Chat:       `{"model":"moonshot/kimi-k2.6","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`,
		pricing.Responses:  `{"model":"openai/gpt-5.5","max_output_tokens":50,"input":"hi"}`,
		pricing.Embeddings: `{"model":"openai/text-embedding-3-small","input":"hi"}`,
	} {
		if got := pricing.EndpointOf(mustBound(t, c, e, body, noon()).Pin); got != e {
			t.Errorf("a call of %s is of %q", e, got)
		}
	}
	for _, text := range []string{"", "AQ", "%%", "____________________"} {
		if got := pricing.EndpointOf(text); got != "" {
			t.Errorf("%q is of %s", text, got)
		}
	}
}
