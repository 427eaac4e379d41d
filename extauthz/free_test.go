package extauthz_test

import (
	"context"
	"testing"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/pricing"
)

// Counting tokens holds nothing, also where the budget has nothing left; key, tag
// and model are checked as for any call.
func TestFreeCallsHoldNothing(t *testing.T) {
	const body = `{"model":"anthropic/claude-sonnet-5.5","messages":[{"role":"user","content":"hi"}]}`
	ledger := &fakeLedger{}
	broke := &fakeLedger{reserve: func(context.Context, budget.Request) (budget.Reservation, error) {
		return budget.Reservation{}, &budget.Error{Kind: budget.KindBudgetExceeded, Reason: "cap_reached"}
	}}
	for name, l := range map[string]*fakeLedger{"no budget": ledger, "an empty budget": broke} {
		out := check(t, newServer(t, keysWith(nil), l), on(pricing.CountTokens, newCheck("r", body, "x-api-key", goodKey, "anthropic-beta", "thinking-2025")))
		md := out.GetDynamicMetadata().GetFields()
		if out.GetOkResponse() == nil || len(l.take()) != 0 || md["rsv"].GetStringValue() != envoy.TokenFree || headerOf(out.GetOkResponse().GetHeaders(), "x-aig-int-edit") == "" || !md["anthropic"].GetBoolValue() || md["betas"].GetStringValue() != "thinking-2025" {
			t.Errorf("%s: %v", name, out)
		}
	}
	for _, tt := range []struct {
		name, body, reason string
		headers            []string
		limit              func(*budget.Key)
	}{
		{"no key", body, "key_missing", nil, nil},
		{"a wrong key", body, "key_invalid", []string{"x-api-key", "sk-aig-wrong"}, nil},
		{"another model's key", body, "model_not_allowed", []string{"x-api-key", goodKey}, func(k *budget.Key) { k.AllowedModels = []string{"openai/*"} }},
		{"another tag's key", body, "tag_not_allowed", []string{"x-api-key", goodKey, "x-aig-tag", "b"}, func(k *budget.Key) { k.AllowedTags = []budget.TagPattern{"a"} }},
		{"a model nobody has", `{"model":"nobody/m"}`, "provider_unknown", []string{"x-api-key", goodKey}, nil},
		{"no model", `{}`, "model_missing", []string{"x-api-key", goodKey}, nil},
		{"no JSON", `{`, "body_not_json", []string{"x-api-key", goodKey}, nil},
	} {
		out := check(t, newServer(t, keysWith(tt.limit), ledger), on(pricing.CountTokens, newCheck("r", tt.body, tt.headers...)))
		if e, err := anthropicRefusal(out); err != nil || e.Error.Metadata["reason"] != tt.reason {
			t.Errorf("%s: %+v, %v, want %s", tt.name, e, err, tt.reason)
		}
	}
}
