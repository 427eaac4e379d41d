package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestPublishedContract uses one address for everything, in the very shapes
// that the guide publishes: clients parse them already.
func TestPublishedContract(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	r := g.try(http.MethodPost, g.url+"/v1/budgets", `{"tag":"summarize","monthly_cap_cents":50000}`, nil)
	var b budgetJSON
	if r.status != http.StatusOK || json.Unmarshal(r.body, &b) != nil {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	if b.Tag != "summarize" || b.CapCents != 50_000 || b.SpentCents != 0 || b.RemainingCents != 50_000 || b.Cap != "500.00" {
		t.Errorf("budget %+v", b)
	}
	for range 3 {
		if r := g.chat("fake/m1", "summarize", "hello", `,"max_tokens":9`); r.status != http.StatusOK {
			t.Fatalf("%d %s %v", r.status, r.body, r.err)
		}
	}
	if r := g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "untagged", "hello", `,"max_tokens":9`), nil); r.status != http.StatusOK {
		t.Fatalf("without a tag: %d %s", r.status, r.body)
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
	this := time.Now().UTC().Format("2006-01")
	for path, want := range map[string]string{
		"/v1/usage/by-tag?month=" + this + "&tag=summarize": `^\[\{"tag":"summarize","requests":3,"cost_cents":1\}\]$`,
		"/v1/usage/by-tag?tag=untagged":                     `^\[\{"tag":"untagged","requests":1,"cost_cents":1\}\]$`,
		"/v1/usage/by-tag?month=2020-01":                    `^\[\]$`,
		"/v1/budgets":                                       `"monthly_cap_cents":50000`,
		"/v1/budgets/" + b.ID:                               `"cap_cents":50000`,
		"/v1/models":                                        `"id":"fake/m1","object":"model"`,
		"/openapi.json":                                     `"/v1/usage/by-tag"`,
	} {
		r := g.try(http.MethodGet, g.url+path, "", nil)
		compact := strings.NewReplacer(" ", "", "\n", "").Replace(string(r.body))
		if r.status != http.StatusOK || !regexp.MustCompile(want).MatchString(compact) {
			t.Errorf("GET %s: %d %.500s, want %s", path, r.status, compact, want)
		}
	}
	g.wantEveryPathServed(t)
	big := g.chat("fake/m1", "summarize", "hello", `,"max_tokens":10000000,"n":9`)
	e := wantError(t, big, http.StatusPaymentRequired, "budget_exceeded")
	if !strings.Contains(e.Error.Message, "summarize") || e.Error.Metadata["budget"] != b.ID || e.Error.Metadata["currency"] != "USD" {
		t.Errorf("refusal %s", big.body)
	}
	g.settle(time.Minute)
	for more, want := range map[int64]int{0: http.StatusOK, 1: http.StatusPaymentRequired} {
		g.setBudget("exact", 50)
		e := wantError(t, g.chat("fake/m1", "exact", "hello", `,"max_tokens":9999999`), http.StatusPaymentRequired, "budget_exceeded")
		fits, ok := e.Error.Metadata["max_tokens_that_fit"].(float64)
		if !ok {
			t.Fatalf("no max_tokens_that_fit: %+v", e)
		}
		// Seven digits as before: the bound counts the body's bytes.
		r := g.chat("fake/m1", "exact", "hello", fmt.Sprintf(`,"max_tokens":%d%s`, int64(fits)+more, strings.Repeat(" ", 7-len(fmt.Sprint(int64(fits)+more)))))
		if r.status != want {
			t.Errorf("max_tokens %d (fits %v): %d %s, want %d", int64(fits)+more, fits, r.status, r.body, want)
		}
		g.settle(time.Minute)
	}
}

// wantEveryPathServed asks the clients' address for every path that the
// description it serves names: what does not reach the API, Envoy refuses.
func (g *gateway) wantEveryPathServed(t *testing.T) {
	t.Helper()
	var api struct{ Paths map[string]any }
	r := g.try(http.MethodGet, g.url+"/openapi.json", "", nil)
	if err := json.Unmarshal(r.body, &api); err != nil || len(api.Paths) < 10 {
		t.Fatalf("%d paths: %v", len(api.Paths), err)
	}
	for path := range api.Paths {
		path = strings.NewReplacer("{id}", "none").Replace(path)
		if r := g.try(http.MethodGet, g.url+path, "", nil); r.err != nil || strings.Contains(string(r.body), "nothing is served at this path") {
			t.Errorf("GET %s: %d %s %v", path, r.status, r.body, r.err)
		}
	}
}

// TestKeys makes keys that may do one thing, and tries the others.
func TestKeys(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	create := func(body string) (id string, auth http.Header) {
		r := g.try(http.MethodPost, g.url+"/v1/keys", body, nil)
		var made struct {
			Key    struct{ ID string }
			Secret string
		}
		if r.status != http.StatusOK || json.Unmarshal(r.body, &made) != nil || !strings.HasPrefix(made.Secret, "sk-aig-") {
			t.Fatalf("create key: %d %s %v", r.status, r.body, r.err)
		}
		return made.Key.ID, http.Header{"Authorization": {"Bearer " + made.Secret}}
	}
	caller, callerAuth := create(`{"name":"caller","scopes":["inference"],"allowed_tags":["team/a/**"],"default_tag":"team/a/default","allowed_models":["fake/m1"]}`)
	_, readerAuth := create(`{"name":"reader","scopes":["usage"]}`)
	call := func(auth http.Header, model, tag string) reply {
		h := auth.Clone()
		if tag != "" {
			h.Set("X-Aig-Tag", tag)
		}
		return g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody(model, tag, "hello", `,"max_tokens":9`), h)
	}
	if r := call(callerAuth, "fake/m1", "team/a/x"); r.status != http.StatusOK {
		t.Errorf("an allowed call: %d %s", r.status, r.body)
	}
	if r := call(callerAuth, "fake/m1", ""); r.status != http.StatusOK {
		t.Errorf("a call under the default tag: %d %s", r.status, r.body)
	}
	wantError(t, call(callerAuth, "fake/m1", "team/b"), http.StatusForbidden, "permission_error")
	wantError(t, call(callerAuth, "quick/m1", "team/a/x"), http.StatusForbidden, "permission_error")
	wantError(t, call(readerAuth, "fake/m1", "team/a/x"), http.StatusForbidden, "permission_error")
	wantError(t, g.try(http.MethodGet, g.url+"/v1/usage/by-tag", "", callerAuth), http.StatusForbidden, "permission_error")
	wantError(t, g.try(http.MethodPost, g.url+"/v1/budgets", `{"tag":"x","monthly_cap_cents":1}`, readerAuth), http.StatusForbidden, "permission_error")
	wantError(t, g.try(http.MethodGet, g.url+"/v1/keys", "", readerAuth), http.StatusForbidden, "permission_error")
	if r := g.try(http.MethodGet, g.url+"/v1/usage/by-tag", "", readerAuth); r.status != http.StatusOK {
		t.Errorf("a reader's report: %d %s", r.status, r.body)
	}

	// A budget on the key, whatever the tag.
	r := g.try(http.MethodPost, g.url+"/v1/budgets", fmt.Sprintf(`{"key_id":%q,"total_cap_cents":0}`, caller), nil)
	if r.status != http.StatusOK {
		t.Fatalf("budget of a key: %d %s", r.status, r.body)
	}
	wantError(t, call(callerAuth, "fake/m1", "team/a/x"), http.StatusPaymentRequired, "budget_exceeded")

	if r := g.try(http.MethodDelete, g.url+"/v1/keys/"+caller, "", nil); r.status != http.StatusOK {
		t.Fatalf("delete key: %d %s", r.status, r.body)
	}
	wantError(t, call(callerAuth, "fake/m1", "team/a/x"), http.StatusUnauthorized, "authentication_error")
	g.settle(time.Minute)
	if u := g.usage(); u["team/a/default"].requests != 1 || u["team/a/x"].requests != 1 {
		t.Errorf("usage %+v", u)
	}
}
