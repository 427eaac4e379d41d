package pricing_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// tunes are deployments with prices of the operator's own, dearer and cheaper
// than what they answer as.
const tunes = `
- model: openai/dear-tune
  prices: [{input: "10", output: "30"}]
- model: openai/cheap-tune
  prices: [{input: "0.1", output: "0.1"}]
- model: anthropic/claude-sonnet-4.6
  prices: [{output: "50"}]
- model: moonshot/kimi-k2.6
  limits: {max_output: 1000}
`

// gpt-6-sol costs 2 in and 10 out, claude-haiku-5.5 less than the sonnet here:
// what a built-in row gives never undercuts what the operator wrote.
func TestServedModelDoesNotUndercut(t *testing.T) {
	builtIn, own := mustLoad(t), mustOverlay(t, tunes)
	both := mustOverlay(t, tunes+"- {model: openai/gpt-6-sol, prices: [{source: contract}]}\n")
	later := mustOverlay(t, "- {model: openai/gpt-5.5, prices: [{from: 2027-06-01, input: \"50\", output: \"90\", tiers: []}]}")
	const usage = `{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050}`
	for _, tt := range []struct {
		name            string
		reserve, settle *pricing.Catalog
		model, answered string
		at              time.Time
		cost            budget.Amount // nano
	}{
		{"dearer than what answers", own, own, "openai/dear-tune", "gpt-6-sol", noon(), 10_000_000 + 1_500_000},
		{"its version too", own, own, "openai/dear-tune", "gpt-6-sol-2026-09-01", noon(), 10_000_000 + 1_500_000},
		{"cheaper than what answers", own, own, "openai/cheap-tune", "gpt-6-sol", noon(), 2_000_000 + 500_000},
		{"both are the operator's", both, both, "openai/dear-tune", "gpt-6-sol", noon(), 2_000_000 + 500_000},
		{"the operator's, answered as itself", own, own, "openai/cheap-tune", "cheap-tune", noon(), 100_000 + 5_000},
		{"both are built in", own, own, "openai/gpt-5.5", "gpt-6-sol", noon(), 2_000_000 + 500_000},
		{"the file is gone at the end", own, builtIn, "openai/dear-tune", "gpt-6-sol", noon(), 10_000_000 + 1_500_000},
		{"the file came after the start", builtIn, later, "openai/gpt-5.5", "gpt-6-sol", time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC), 2_000_000 + 500_000},
		{"before the operator's own list", later, later, "openai/gpt-5.5", "gpt-6-sol", noon(), 2_000_000 + 500_000},
		{"shortly before it", later, later, "openai/gpt-5.5", "gpt-6-sol", time.Date(2027, 5, 31, 23, 30, 0, 0, time.UTC), 50_000_000 + 4_500_000},
		{"in it", later, later, "openai/gpt-5.5", "gpt-6-sol", time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC), 50_000_000 + 4_500_000},
		{"limits are no price", own, own, "moonshot/kimi-k2.6", "kimi-k2.5", noon(), served(t, own, "moonshot/kimi-k2.5", 1000, 50)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := mustBound(t, tt.reserve, pricing.Chat, chatBody(tt.model, `"max_tokens":100,"user":"`+string(make300k())+`"`), tt.at)
			ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: usage, Model: fmt.Sprintf("%q", tt.answered)}
			got := pricing.Charge(b.Pin, b.Amount, ev, tt.settle.Served(tt.model, tt.at))
			if got.Basis != budget.BasisUsage || got.Cost != tt.cost || len(got.Flags) != 0 {
				t.Errorf("charged %d, want %d; %+v", got.Cost, tt.cost, got)
			}
		})
	}
}

// served is what tokens of a model cost.
func served(t *testing.T, c *pricing.Catalog, slug string, in, out int64) budget.Amount {
	t.Helper()
	m, err := c.Resolve(slug, noon())
	if err != nil || m.Row == nil {
		t.Fatalf("%s: %+v, %v", slug, m, err)
	}
	return budget.Amount((in*rate(t, m, "input", 0) + out*rate(t, m, "output", 0) + 999) / 1000)
}

// The operator's price stands in for a bill nobody saw, so it never passes the
// bound; what the answering model's row gives is a bill, and may.
func TestOwnPriceKeepsTheBound(t *testing.T) {
	c := mustOverlay(t, tunes)
	b := mustBound(t, c, pricing.Chat, chatBody("openai/dear-tune", `"max_tokens":1`), noon())
	for _, tt := range []struct {
		prompt   int64 // tokens at 10, or at 2, dollars a million
		want     budget.Amount
		exceeded bool
	}{
		{int64(b.Amount) / 20_000, b.Amount / 2, false},
		{int64(b.Amount) / 10_000 * 2, b.Amount, false},
		{int64(b.Amount) / 2_000 * 2, b.Amount * 2, true},
	} {
		ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Model: `"gpt-6-sol"`, Usage: fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":0}`, tt.prompt)}
		got := pricing.Charge(b.Pin, b.Amount, ev, c.Served("openai/dear-tune", noon()))
		if off := tt.want - got.Cost; off < 0 || off > 20_000 || slices.Contains(got.Flags, pricing.FlagBoundExceeded) != tt.exceeded {
			t.Errorf("%d tokens: charged %s (%v), want %s", tt.prompt, got.Cost, got.Flags, tt.want)
		}
	}
}

// Each model call of an answer has a model of its own.
func TestOwnPriceOfIterations(t *testing.T) {
	c := mustOverlay(t, tunes)
	b := mustBound(t, c, pricing.Messages, `{"model":"anthropic/claude-sonnet-4.6","max_tokens":1000,"messages":[{"role":"user","content":"`+string(make300k())+`"}]}`, noon())
	ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Model: `"claude-sonnet-4-6"`,
		Usage: `{"input_tokens":100,"output_tokens":10,"iterations":[{"model":"claude-sonnet-4-6","input_tokens":100,"output_tokens":10},{"model":"claude-haiku-5-5","input_tokens":100,"output_tokens":10}]}`}
	got := pricing.Charge(b.Pin, b.Amount, ev, c.Served("anthropic/claude-sonnet-4.6", noon()))
	if want := budget.Amount(2 * (100*3_000 + 10*50_000)); got.Cost != want || got.Basis != budget.BasisUsage {
		t.Errorf("charged %d, want %d; %+v", got.Cost, want, got)
	}
}
