package pricing_test

import (
	"slices"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"
)

// A bill above the bound is charged as reported, up to ten times the larger of
// the bound and a full context with the longest answer. What exceeds that is
// charged there and flagged, whichever number of the report is absurd.
func TestAbsurdBills(t *testing.T) {
	c := speltCatalog(t)
	const full = 2*budget.Dollar + 80*budget.Cent // 1M × $2 and 100k × $8 a million
	for _, tt := range []struct {
		name    string
		e       pricing.Endpoint
		members string
		ev      pricing.Evidence
		cost    budget.Amount
	}{
		{"10^15 tokens", pricing.Chat, "", pricing.Evidence{Usage: `{"prompt_tokens":1000000000000000,"completion_tokens":1}`}, 10 * full},
		{"more than fit a number", pricing.Chat, "", pricing.Evidence{Usage: `{"prompt_tokens":9223372036854775808,"completion_tokens":1}`}, 10 * full},
		{"1e300", pricing.Chat, "", pricing.Evidence{Usage: `{"prompt_tokens":1,"completion_tokens":1e300}`}, 10 * full},
		{"a total", pricing.Chat, "", pricing.Evidence{Usage: `{"prompt_tokens":1,"completion_tokens":1,"total_tokens":1e15}`}, 10 * full},
		{"Responses", pricing.Responses, "", pricing.Evidence{Usage: `{"input_tokens":1e15,"output_tokens":1}`}, 10 * full},
		{"Messages", pricing.Messages, "", pricing.Evidence{Usage: `{"input_tokens":1,"output_tokens":1,"cache_creation_input_tokens":1e15}`}, 10 * full},
		{"an iteration", pricing.Messages, "", pricing.Evidence{Usage: `{"input_tokens":1,"output_tokens":1,"iterations":[{"input_tokens":1e15,"output_tokens":1}]}`}, 10 * full},
		{"searches", pricing.Messages, `,"tools":[{"type":"web_search","max_uses":1}]`, pricing.Evidence{Usage: `{"input_tokens":1,"output_tokens":1,"server_tool_use":{"web_search_requests":1e12}}`}, 10 * full},
		{"large, but a bill", pricing.Chat, "", pricing.Evidence{Usage: `{"prompt_tokens":13000000,"completion_tokens":1}`}, 26*budget.Dollar + 8000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := speltCharge(t, c, tt.e, tt.members, tt.ev)
			want := tt.cost
			absurd := want != 26*budget.Dollar+8000
			if got.Basis != budget.BasisUsage || got.Cost != want || slices.Contains(got.Flags, pricing.FlagAbsurd) != absurd || !slices.Contains(got.Flags, pricing.FlagBoundExceeded) {
				t.Errorf("%s %s %v, want %s", got.Basis, got.Cost, got.Flags, want)
			}
			if absurd && (got.Billed <= got.Cost || got.Tokens != budget.Tokens{}) {
				t.Errorf("billed %s, tokens %+v", got.Billed, got.Tokens)
			}
		})
	}
}

// The same for an amount that the provider states, in any model's money.
func TestAbsurdAmounts(t *testing.T) {
	c := mustOverlay(t, overlayModels+`
- model: openrouter/a/free
  family: bytes
  limits: {context: 1000}
  prices: [{input: "0", output: "0"}]
- model: openrouter/a/full
  family: bytes
  limits: {context: 1000000, max_output: 1000}
  prices: [{input: "1", output: "2"}]
`)
	for _, tt := range []struct {
		model, cost string
		want        budget.Amount
	}{
		{"openrouter/a/full", "1e9", 10 * (budget.Dollar + 2_000_000)},
		{"openrouter/a/full", "10.02", 10 * (budget.Dollar + 2_000_000)},
		{"openrouter/a/full", "9.5", 9*budget.Dollar + 50*budget.Cent},
		{"openrouter/a/free", "1e9", 10 * budget.Dollar},
		{"openrouter/a/free", "0.25", 25 * budget.Cent},
	} {
		b := mustBound(t, c, pricing.Chat, chatBody(tt.model, `"max_tokens":10`), noon())
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":10,"completion_tokens":1,"cost":` + tt.cost + `}`}, nil)
		if got.Cost != tt.want || slices.Contains(got.Flags, pricing.FlagAbsurd) != (tt.cost == "1e9") {
			t.Errorf("%s at %s: %s %v, want %s", tt.model, tt.cost, got.Cost, got.Flags, tt.want)
		}
	}
}

// A dearer model that answers may cost what its own limits cost.
func TestAbsurdByTheModelThatAnswered(t *testing.T) {
	c := mustLoad(t)
	b := mustBound(t, c, pricing.Messages, `{"model":"anthropic/claude-haiku-4.5","max_tokens":10,"messages":[]}`, noon())
	ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Model: `"claude-fable-5-1"`, Usage: `{"input_tokens":5000000,"output_tokens":10}`}
	got := pricing.Charge(b.Pin, b.Amount, ev, c.Served("anthropic/claude-haiku-4.5", noon()))
	if want := 50*budget.Dollar + 500_000; got.Cost != want || slices.Contains(got.Flags, pricing.FlagAbsurd) {
		t.Errorf("%s %v, want %s", got.Cost, got.Flags, want)
	}
}

// What a running report says beyond the bound is charged: the ledger takes the
// basis bound for the bound itself.
func TestMoreThanTheBoundIsNoBound(t *testing.T) {
	c := mustLoad(t)
	b := mustBound(t, c, pricing.Chat, chatBody("gemini/gemini-2.5-flash", `"stream":true,"max_tokens":10`), noon())
	ev := pricing.Evidence{Sent: true, Status: 200, Stream: true, Cut: true, Usage: `{"prompt_tokens":100000,"completion_tokens":1,"total_tokens":100001}`}
	if got := pricing.Charge(b.Pin, b.Amount, ev, nil); got.Cost <= b.Amount || got.Basis == budget.BasisBound {
		t.Errorf("%s %s, the bound is %s", got.Basis, got.Cost, b.Amount)
	}
}
