package extauthz_test

import (
	"context"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/extauthz"
	"aigateway/pricing"
)

// origins are responses by key and id.
type origins map[[2]string]string

func (o origins) Provider(_ context.Context, keyID, id string) (string, bool) {
	provider, ok := o[[2]string{keyID, id}]
	return provider, ok
}

func (o origins) Foreign(keyID, provider, id string) bool {
	for known, of := range o {
		if known[1] == id && of == provider && known[0] != keyID {
			return true
		}
	}
	return false
}

// TestAnotherKeysIsNotNamed: what another key's call left at the provider is not
// there for this one, on a tag without a budget either, however it is named. What
// stands in the body is the client's own.
func TestAnotherKeysIsNotNamed(t *testing.T) {
	known := origins{{"key_1", "resp_1"}: "openai", {"key_2", "resp_2"}: "openai", {"key_2", "resp_3"}: "azure"}
	s := newServer(t, keysWith(nil), &fakeLedger{}, func(c *extauthz.Config) { c.Origins, c.Settled = known, &settled{unknown: true} })
	many := strings.Repeat(`{"type":"item_reference","id":"msg_1"},`, 2000)
	for members, foreign := range map[string]bool{
		`"previous_response_id":"resp_1"`:                                                 false,
		`"previous_response_id":"resp_2"`:                                                 true,
		`"previous_response_id":"resp\u005f2"`:                                            true,
		`"previous_response_id":"resp_3"`:                                                 false, // azure's
		`"previous_response_id":"resp_9"`:                                                 false, // nobody knows
		`"input":[{"type":"item_reference","id":"msg_other"}]`:                            true,
		`"input":[{"id":"msg_other"}]`:                                                    true,
		`"input":[{"type":"reasoning","id":"msg_other","summary":[]}]`:                    true,
		`"input":[{"type":"image_generation_call","id":"msg_other"}]`:                     true,
		`"input":[{"type":"web_search_call","id":"msg_other"}]`:                           true,
		`"input":[` + many + `{"type":"item_reference","id":"msg_other"}]`:                true,
		`"input":[{"type":"message","role":"assistant","id":"msg_other","content":"hi"}]`: false,
	} {
		for _, api := range []pricing.Endpoint{pricing.Responses, pricing.InputTokens} {
			out := check(t, s, on(api, authorized("r", `{"model":"openai/gpt-5.4-mini",`+members+`}`)))
			reason := ""
			if e, err := refusal(out); err == nil {
				reason = e.reason()
			}
			if (reason == "response_unknown") != foreign {
				t.Errorf("%s: %.200s is refused with %q", api, members, reason)
			}
		}
	}
}

func byID(method, path, body string, headers ...string) *authv3.CheckRequest {
	in := authorized("r", body, headers...)
	in.Attributes.ContextExtensions = map[string]string{"api": envoy.APIStored}
	in.Attributes.Request.Http.Method, in.Attributes.Request.Http.Path = method, path
	return in
}

// A stored response goes to the provider that made it with the same key; for
// everybody else there is none. It holds nothing.
func TestStoredResponses(t *testing.T) {
	ledger := &fakeLedger{}
	known := origins{{"key_1", "resp_1"}: "azure", {"key_2", "resp_2"}: "openai"}
	s := newServer(t, keysWith(nil), ledger, func(c *extauthz.Config) { c.Origins = known })
	for _, tt := range []struct {
		name, method, path, body string
		headers                  []string
		reason                   string // empty: passed
	}{
		{"read", "GET", "/v1/responses/resp_1", "", nil, ""},
		{"read on", "GET", "/v1/responses/resp_1?stream=true&starting_after=7", "", nil, ""},
		{"with a slash", "GET", "/v1/responses/resp_1/", "", nil, ""},
		{"delete", "DELETE", "/v1/responses/resp_1", "", nil, ""},
		{"cancel", "POST", "/v1/responses/resp_1/cancel", "", nil, ""},
		{"cancel, with an empty object", "POST", "/v1/responses/resp_1/cancel", " {}\n", nil, ""},
		{"input", "GET", "/v1/responses/resp_1/input_items?limit=5", "", nil, ""},
		{"of another key", "GET", "/v1/responses/resp_2", "", nil, "response_unknown"},
		{"of nobody", "GET", "/v1/responses/resp_3", "", nil, "response_unknown"},
		{"delete another key's", "DELETE", "/v1/responses/resp_2", "", nil, "response_unknown"},
		{"cancel another key's", "POST", "/v1/responses/resp_2/cancel", "", nil, "response_unknown"},
		{"a name of ours", "GET", "/v1/responses/compact", "", nil, "response_unknown"},
		{"post to one", "POST", "/v1/responses/resp_1", "", nil, "route_unknown"},
		{"put", "PUT", "/v1/responses/resp_1", "", nil, "route_unknown"},
		{"cancel by GET", "GET", "/v1/responses/resp_1/cancel", "", nil, "route_unknown"},
		{"delete its input", "DELETE", "/v1/responses/resp_1/input_items", "", nil, "route_unknown"},
		{"something else of it", "GET", "/v1/responses/resp_1/output", "", nil, "route_unknown"},
		{"a path in the id", "GET", "/v1/responses/resp_1/../resp_2", "", nil, "route_unknown"},
		{"an escape in the id", "GET", "/v1/responses/resp%5f1", "", nil, "route_unknown"},
		{"an id in the query", "GET", "/v1/responses/?/v1/responses/resp_1", "", nil, "route_unknown"},
		{"no path", "GET", "", "", nil, "route_unknown"},
		{"a body", "POST", "/v1/responses/resp_1/cancel", `{"model":"openai/gpt-5.5"}`, nil, "field_invalid"},
		{"an upgrade", "GET", "/v1/responses/resp_1", "", []string{"upgrade", "websocket"}, "field_invalid"},
		{"two tags", "GET", "/v1/responses/resp_1", "", []string{"x-aig-tag", "a", "x-aig-tag", "b"}, "tag_repeated"},
	} {
		out := check(t, s, byID(tt.method, tt.path, tt.body, tt.headers...))
		if len(ledger.take()) != 0 {
			t.Errorf("%s: it holds something", tt.name)
		}
		if tt.reason != "" {
			if e, err := refusal(out); err != nil || e.Error.Metadata["reason"] != tt.reason {
				t.Errorf("%s: %v, want %s", tt.name, out, tt.reason)
			}
			continue
		}
		md := out.GetDynamicMetadata().GetFields()
		if headerOf(out.GetOkResponse().GetHeaders(), "x-aig-int-upstream") != "azure" || md["rsv"].GetStringValue() != envoy.TokenFree || headerOf(out.GetOkResponse().GetHeaders(), "x-aig-int-edit") != "" {
			t.Errorf("%s: %v", tt.name, out)
		}
	}
	for name, s := range map[string]*extauthz.Server{
		"nothing is known": newServer(t, keysWith(nil), ledger),
		"an admin's key":   newServer(t, keysWith(func(k *budget.Key) { k.Scopes = []budget.Scope{budget.ScopeUsage} }), ledger, func(c *extauthz.Config) { c.Origins = known }),
	} {
		if out := check(t, s, byID("GET", "/v1/responses/resp_1", "")); out.GetOkResponse() != nil {
			t.Errorf("%s: %v", name, out)
		}
	}
}
