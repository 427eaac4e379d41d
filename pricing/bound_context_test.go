package pricing_test

import (
	"slices"
	"strings"
	"testing"

	"aigateway/pricing"
)

// TestTooSmallAContextShows: the context clamps a bound, so a row that has too
// small a one lets a call cost more than its bound. That cannot be known before
// the call; it must not go unseen after it, and the call is charged in full.
func TestTooSmallAContextShows(t *testing.T) {
	body := `{"model":"` + kimi + `","max_tokens":10,"messages":[{"role":"user","content":"` + strings.Repeat("x", 5000) + `"}]}`
	usage := pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":2000,"completion_tokens":10,"total_tokens":2010}`}
	for _, tt := range []struct {
		context string
		over    bool
	}{{"1000", true}, {"2000", false}, {"262144", false}} {
		b := mustBound(t, mustOverlay(t, "- {model: "+kimi+", limits: {context: "+tt.context+"}}"), pricing.Chat, body, noon())
		out := pricing.Charge(b.Pin, b.Amount, usage, nil)
		if want := tokensAt(2000, 950_000, 10, 4_000_000); out.Cost != want {
			t.Errorf("context %s: cost %s, want %s", tt.context, out.Cost, want)
		}
		if over := slices.Contains(out.Flags, pricing.FlagBoundExceeded); over != tt.over || over != (out.Cost > b.Amount) {
			t.Errorf("context %s: flags %v; cost %s, bound %s", tt.context, out.Flags, out.Cost, b.Amount)
		}
	}
}
