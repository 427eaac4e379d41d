package pricing_test

import (
	"fmt"
	"testing"

	"aigateway/pricing"
)

// Anthropic's fast mode costs a multiple of all token prices on the models that
// have it, says its price page; on others it has no price.
func TestFastMode(t *testing.T) {
	c := mustLoad(t)
	body := func(model, speed string) string {
		return fmt.Sprintf(`{"model":"anthropic/%s","max_tokens":100,"speed":%q,"messages":[{"role":"user","content":"hi"}]}`, model, speed)
	}
	for model, factor := range map[string]int64{"claude-opus-4.6": 12, "claude-opus-4.8": 2, "claude-opus-5": 2, "claude-opus-5.5": 2, "claude-fable-5.2": 2} {
		usual, fast := mustBound(t, c, pricing.Messages, body(model, "standard"), noon()), mustBound(t, c, pricing.Messages, body(model, "fast"), noon())
		slack := int64(fast.Amount) - factor*int64(usual.Amount)
		if slack > 0 || slack < -1_000_000 { // the names differ by four bytes
			t.Errorf("%s: %s, fast %s; want %d times that", model, usual.Amount, fast.Amount, factor)
		}
	}
	if _, err := tryBound(c, pricing.Messages, body("claude-haiku-4.5", "fast"), noon()); refusal(t, err).Reason != "tier_not_priced" {
		t.Error(err)
	}
}
