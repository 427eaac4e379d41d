package adminapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReasonsAreAudited gives a reason with every kind of change, and none.
func TestReasonsAreAudited(t *testing.T) {
	ctx := t.Context()
	l, key, secret, w := onLedger(t)
	set := w.ok(w.do(secret, "POST", "/v1/budgets?reason=the%20plan%20of%20May", `{"tag":"a","monthly_cap_cents":500}`), "POST /v1/budgets").(map[string]any)
	id := set["id"].(string)
	w.ok(w.do(secret, "PATCH", "/v1/budgets/"+id+"?reason=a%20%22busy%22%20week", `{"monthly_cap_cents":600}`), "PATCH /v1/budgets/{id}")
	w.ok(w.do(secret, "POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":700}`), "POST /v1/budgets")
	w.wantError(w.do(secret, "DELETE", "/v1/budgets/"+id+"?reason="+strings.Repeat("x", 501), ""), 400, "field_invalid", "reason")
	w.wantError(w.do(secret, "POST", "/v1/budgets?reason=two%0Alines", `{"tag":"a","monthly_cap_cents":700}`), 400, "field_invalid", "reason")
	w.wantError(w.do(secret, "PATCH", "/v1/budgets/"+id+"?reason=%07", `{"monthly_cap_cents":600}`), 400, "field_invalid", "reason")
	w.wantError(w.do(secret, "POST", "/v1/keys?reason=%20", `{"name":"ci","scopes":["inference"]}`), 400, "field_invalid", "reason")
	w.ok(w.do(secret, "DELETE", "/v1/budgets/"+id+"?reason=over", ""), "DELETE /v1/budgets/{id}")
	made := w.ok(w.do(secret, "POST", "/v1/keys?reason=for%20ci", `{"name":"ci","scopes":["inference"]}`), "POST /v1/keys").(map[string]any)
	other := made["key"].(map[string]any)["id"].(string)
	w.wantError(w.do(secret, "DELETE", "/v1/keys/"+other+"?reason=%07", ""), 400, "field_invalid", "reason")
	w.ok(w.do(secret, "DELETE", "/v1/keys/"+other+"?reason=it%20leaked", ""), "DELETE /v1/keys/{id}")

	log, err := l.AuditLog(ctx, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range log[1:] { // the first begins the chain
		reason := ""
		if _, rest, ok := strings.Cut(e.Detail, `"reason":`); ok {
			reason, _, _ = strings.Cut(strings.TrimRight(rest, "}"), `,"`)
		}
		if e.Actor != key.ID && e.Action != "create_key" {
			t.Errorf("%s was done by %q, want %q", e.Action, e.Actor, key.ID)
		}
		got = append(got, e.Action+" "+reason)
	}
	want := []string{`create_key "the first"`, `create_budget "the plan of May"`, `update_budget "a \"busy\" week"`, "update_budget ",
		`delete_budget "over"`, `create_key "for ci"`, `delete_key "it leaked"`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
