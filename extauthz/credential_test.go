package extauthz_test

import (
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"
)

// Whoever sends two keys is told which header to send once, in the envelope of
// the API that was called, and never reads a key in the answer.
func TestTwoKeysSayWhichHeader(t *testing.T) {
	bearer, other := "Bearer "+goodKey, "Bearer sk-other-1"
	const (
		once      = "more than one Authorization header was sent, or one with a comma in it; send one Authorization header with one key"
		onceXKey  = "more than one x-api-key header was sent, or one with a comma in it; send one x-api-key header with one key"
		alone     = "Authorization and x-api-key were sent with different keys; send Authorization alone"
		oneOfBoth = "Authorization and x-api-key were sent with different keys; send one of them, with one key"
	)
	for _, tt := range []struct {
		headers        []string
		chat, messages string
	}{
		{[]string{"authorization", bearer, "authorization", bearer}, once, once},
		{[]string{"authorization", other, "authorization", bearer}, once, once},
		{[]string{"authorization", bearer + "," + bearer}, once, once}, // as Envoy joins them
		{[]string{"authorization", bearer + "," + other}, once, once},
		{[]string{"authorization", other + "," + bearer}, once, once},
		{[]string{"authorization", "Basic Zm9v," + bearer}, once, once},
		{[]string{"authorization", bearer, "x-api-key", goodKey + "x"}, alone, oneOfBoth},
		{[]string{"authorization", bearer, "x-api-key", bearer}, alone, oneOfBoth},
		{[]string{"authorization", bearer, "x-api-key", ""}, alone, oneOfBoth},
		{[]string{"authorization", "", "x-api-key", goodKey}, alone, oneOfBoth},
		{[]string{"authorization", goodKey, "x-api-key", goodKey}, alone, oneOfBoth},
		{[]string{"authorization", "Basic " + goodKey, "x-api-key", goodKey}, alone, oneOfBoth},
		{[]string{"authorization", bearer, "x-api-key", goodKey, "x-api-key", goodKey}, onceXKey, onceXKey},
		{[]string{"authorization", bearer, "x-api-key", "sk-other-1"}, alone, oneOfBoth},
		{[]string{"x-api-key", goodKey, "x-api-key", "sk-other-1"}, "no key was sent; send Authorization: Bearer sk-aig-…", onceXKey},
		{[]string{"x-api-key", "sk-other-1," + goodKey}, "no key was sent; send Authorization: Bearer sk-aig-…", onceXKey},
	} {
		s := newServer(t, keysWith(nil), &fakeLedger{})
		out := check(t, s, newCheck("r", goodBody, tt.headers...))
		if e, err := refusal(out); err != nil || e.Error.Code != 401 || e.Error.Message != tt.chat {
			t.Errorf("%q: %+v, %v; want %s", tt.headers, e, err, tt.chat)
		}
		native := check(t, s, on(pricing.Messages, newCheck("r", messagesBody, tt.headers...)))
		if e, err := anthropicRefusal(native); err != nil || native.GetDeniedResponse().GetStatus().GetCode() != 401 || e.Error.Message != tt.messages {
			t.Errorf("%q: %+v, %v; want %s", tt.headers, e, err, tt.messages)
		}
		for _, body := range []string{out.GetDeniedResponse().GetBody(), native.GetDeniedResponse().GetBody()} {
			if strings.Contains(body, goodKey) || strings.Contains(body, "sk-other") {
				t.Errorf("%q: the answer has a key: %s", tt.headers, body)
			}
		}
	}
}

// TestOneKeyInBothHeaders is one key for every API: clients that speak to both
// kinds send both headers. A key that is unknown stays unknown.
func TestOneKeyInBothHeaders(t *testing.T) {
	for e, body := range calls() {
		for _, bearer := range []string{"Bearer ", "bearer ", "Bearer  "} {
			ledger := &fakeLedger{}
			out := check(t, newServer(t, keysWith(nil), ledger), on(e, newCheck("r", body, "authorization", bearer+goodKey, "x-api-key", goodKey)))
			if seen := ledger.take(); out.GetOkResponse() == nil || len(seen) != 1 || seen[0].KeyID != "key_1" {
				t.Errorf("%s, %q: %d reservations: %s", e, bearer, len(seen), out.GetDeniedResponse().GetBody())
			}
		}
		out := check(t, newServer(t, keysWith(nil), &fakeLedger{}), on(e, newCheck("r", body, "authorization", "Bearer sk-aig-x", "x-api-key", "sk-aig-x")))
		if out.GetDeniedResponse().GetStatus().GetCode() != 401 {
			t.Errorf("%s: an unknown key twice is answered with %v", e, out)
		}
	}
}

// A configured admin key may have a comma: only a refusal looks for one.
func TestKeyWithAComma(t *testing.T) {
	keys := &keyring{map[string]*budget.Key{goodKey + ",x": {ID: "key_comma", Scopes: []budget.Scope{budget.ScopeAdmin}}}}
	if out := check(t, newServer(t, keys, &fakeLedger{}), newCheck("r", goodBody, "authorization", "Bearer "+goodKey+",x")); out.GetOkResponse() == nil {
		t.Errorf("a valid key was refused: %s", out.GetDeniedResponse().GetBody())
	}
}
