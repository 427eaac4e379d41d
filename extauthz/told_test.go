package extauthz_test

import (
	"context"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/extauthz"
	"aigateway/pricing"
)

// TestDecisionsAreTold: a decision is told once, with what was understood of the
// call and the trace it is part of, and without prompt and key; a question for the
// key alone, before the body, only when the answer is no.
func TestDecisionsAreTold(t *testing.T) {
	var told []extauthz.Decided
	ledger := &fakeLedger{}
	s := newServer(t, keysWith(nil), ledger, func(c *extauthz.Config) { c.Told = func(d extauthz.Decided) { told = append(told, d) } })
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	check(t, s, authorized("req-1", goodBody, "x-aig-tag", "team/a", "traceparent", parent))
	ledger.reserve = func(context.Context, budget.Request) (budget.Reservation, error) {
		return budget.Reservation{}, &budget.Error{Kind: budget.KindBudgetExceeded, Reason: "cap_reached", Message: "none is left"}
	}
	check(t, s, authorized("req-2", goodBody, "traceparent", strings.Repeat("x", 300)))
	for _, key := range []string{"Bearer sk-aig-wrong", "-"} {
		in := newCheck("req-3", "", "authorization", key)
		in.Attributes.ContextExtensions = map[string]string{"api": "chat", "step": "key"}
		check(t, s, in)
	}
	in := authorized("req-4", "")
	in.Attributes.ContextExtensions = map[string]string{"api": "chat", "step": "key"}
	check(t, s, in)
	if len(told) != 4 {
		t.Fatalf("%d decisions are told: %+v", len(told), told)
	}
	if d := told[0]; d.RequestID != "req-1" || d.TraceParent != parent || d.Endpoint != pricing.Chat || d.KeyID != "key_1" || d.Tag != "team/a" ||
		d.Model != "moonshot/kimi-k2.6" || d.Provider != "moonshot" || d.Status != 0 || !d.Bounded || d.Bound <= 0 || d.Start != noon {
		t.Errorf("the admitted call is told as %+v", d)
	}
	if d := told[1]; d.Status != 402 || d.Reason != "cap_reached" || d.Failed || d.TraceParent != "" || d.Model != "moonshot/kimi-k2.6" {
		t.Errorf("the refused call is told as %+v", d)
	}
	if d := told[2]; d.Status != 401 || d.KeyID != "" || d.Model != "" {
		t.Errorf("the call with a wrong key is told as %+v", d)
	}
}
