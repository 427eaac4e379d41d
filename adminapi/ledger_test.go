package adminapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/ledger"
)

// onLedger serves a ledger of the test's own, with an admin key and its secret.
func onLedger(t *testing.T) (*ledger.Ledger, budget.Key, string, *world) {
	t.Helper()
	now := func() time.Time { return instant }
	l, err := ledger.Open(t.Context(), ledger.Config{Dir: t.TempDir(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	key, secret, err := l.CreateKey(t.Context(), budget.Key{Name: "admin", Scopes: []budget.Scope{budget.ScopeAdmin}}, budget.Author{Actor: "test", Reason: "the first"})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.server, err = adminapi.New(adminapi.Config{
		Auth: l, Keys: l, Budgets: l, History: l, Usage: l, Calls: l, Reservations: l, Adjustments: l, Bills: l, Audit: l, State: l,
		Catalog: func() adminapi.Catalog { return adminapi.Catalog{} }, Now: now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.server.Close() })
	return l, key, secret, w
}

// TestOnTheLedger runs the contract on the real thing: a budget is set over
// REST, calls are reserved and settled, and the reports show them.
func TestOnTheLedger(t *testing.T) {
	ctx := t.Context()
	l, key, secret, w := onLedger(t)
	set := w.ok(w.do(secret, "POST", "/v1/budgets", `{"tag":"summarize","monthly_cap_cents":50000}`), "POST /v1/budgets").(map[string]any)
	id := set["id"].(string)
	reserve := func(i int, bound budget.Amount) budget.Reservation {
		t.Helper()
		r, err := l.Reserve(ctx, budget.Request{
			RequestID: fmt.Sprintf("r%d", i), Bound: bound,
			Attribution: budget.Attribution{KeyID: key.ID, Tag: "summarize", Model: "moonshot/kimi-k2.6", Provider: "moonshot"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := reserve(1, budget.Dollar)
	reserve(2, 2*budget.Dollar+1)
	err := l.Settle(ctx, budget.Settlement{RequestID: "r1", Reservation: &first, Basis: budget.BasisUsage, Cost: 33*budget.Cent + 1, Tokens: budget.Tokens{Input: 7, Output: 3}, At: instant})
	if err != nil {
		t.Fatal(err)
	}

	wantJSON(t, w.ok(w.do(secret, "GET", "/v1/usage/by-tag?month=2026-04", ""), "GET /v1/usage/by-tag"), `[{"tag":"summarize","requests":1,"cost_cents":34}]`)
	got := w.ok(w.do(secret, "GET", "/v1/budgets/"+id, ""), "GET /v1/budgets/{id}").(map[string]any)
	if got["spent"] != "0.330000001" || got["reserved"] != "2.000000001" || got["spent_cents"] != json.Number("34") || got["reserved_cents"] != json.Number("200") || got["remaining_cents"] != json.Number("49766") {
		t.Errorf("budget: %v", got)
	}
	open := w.ok(w.do(secret, "GET", "/v1/reservations", ""), "GET /v1/reservations").(map[string]any)["reservations"].([]any)
	if len(open) != 1 || open[0].(map[string]any)["request_id"] != "r2" {
		t.Errorf("reservations: %v", open)
	}
	for _, pair := range []string{"tag,model", "provider,key", "key,day", "model,hour", "hour,tag"} {
		report := w.ok(w.do(secret, "GET", "/v1/usage?group_by="+pair, ""), "GET /v1/usage").(map[string]any)
		if rows := report["rows"].([]any); len(rows) != 1 || report["total"].(map[string]any)["cost_usd"] != "0.330000001" {
			t.Errorf("%s: %v", pair, report)
		}
	}

	w.refunds(key, secret, id)
	page := w.ok(w.do(secret, "GET", "/v1/audit?page_size=3", ""), "GET /v1/audit").(map[string]any)
	entries := page["entries"].([]any)
	if len(entries) != 3 || entries[2].(map[string]any)["action"] != "create_budget" || entries[2].(map[string]any)["actor"] != key.ID {
		t.Errorf("audit: %v", entries)
	}
	page = w.ok(w.do(secret, "GET", "/v1/audit?page_size=3&page_token="+page["next_page_token"].(string), ""), "GET /v1/audit").(map[string]any)
	entries = page["entries"].([]any)
	if len(entries) != 1 || entries[0].(map[string]any)["subject"] != "adj_1" || page["next_page_token"] != "" {
		t.Errorf("audit, second page: %v", page)
	}

	etag := got["etag"].(string)
	w.ok(w.do(secret, "PATCH", "/v1/budgets/"+id, `{"monthly_cap_cents":1,"etag":"`+etag+`"}`), "PATCH /v1/budgets/{id}")
	w.wantError(w.do(secret, "PATCH", "/v1/budgets/"+id, `{"monthly_cap_cents":2,"etag":"`+etag+`"}`), 409, "etag_mismatch", "etag")
	made := w.ok(w.do(secret, "POST", "/v1/keys", `{"name":"ci","scopes":["usage"],"allowed_tags":["ci/**"]}`), "POST /v1/keys").(map[string]any)
	narrow := made["secret"].(string)
	wantJSON(t, w.ok(w.do(narrow, "GET", "/v1/usage/by-tag", ""), "GET /v1/usage/by-tag"), `[]`)
	w.ok(w.do(secret, "DELETE", "/v1/keys/"+made["key"].(map[string]any)["id"].(string), ""), "DELETE /v1/keys/{id}")
	w.wantError(w.do(narrow, "GET", "/v1/usage/by-tag", ""), 401, "key_invalid", "authorization")
	w.ok(w.do(secret, "DELETE", "/v1/budgets/"+id, ""), "DELETE /v1/budgets/{id}")
	w.wantError(w.do(secret, "GET", "/v1/budgets/"+id, ""), 404, "budget_not_found", "")
}

// refunds books one correction, twice, and some that are refused.
func (w *world) refunds(key budget.Key, secret, id string) {
	w.t.Helper()
	refund := `{"tag":"summarize","amount":"-0.13","reason":"the provider's invoice","request_id":"inv-4"}`
	booked := w.ok(w.do(secret, "POST", "/v1/adjustments", refund), "POST /v1/adjustments").(map[string]any)
	if booked["amount"] != "-0.13" || booked["actor"] != key.ID || booked["id"] != "adj_1" {
		w.t.Errorf("adjustment: %v", booked)
	}
	again := w.ok(w.do(secret, "POST", "/v1/adjustments", refund), "POST /v1/adjustments").(map[string]any)
	if diff := cmp.Diff(booked, again); diff != "" {
		w.t.Errorf("repeat: %s", diff)
	}
	w.wantError(w.do(secret, "POST", "/v1/adjustments", strings.Replace(refund, "0.13", "0.14", 1)), 409, "request_id_reused", "request_id")
	w.wantError(w.do(secret, "POST", "/v1/adjustments", `{"budget_id":"`+id+`","amount":"-9","reason":"r","request_id":"x"}`), 400, "field_invalid", "amount")
	w.wantError(w.do(secret, "POST", "/v1/adjustments", `{"budget_id":"bud_x","amount":"9","reason":"r","request_id":"x"}`), 404, "budget_not_found", "")
	wantJSON(w.t, w.ok(w.do(secret, "GET", "/v1/usage/by-tag?month=2026-04", ""), "GET /v1/usage/by-tag"), `[{"tag":"summarize","requests":1,"cost_cents":21}]`)
	if list := w.ok(w.do(secret, "GET", "/v1/adjustments", ""), "GET /v1/adjustments").(map[string]any)["adjustments"].([]any); len(list) != 1 {
		w.t.Errorf("adjustments: %v", list)
	}
}

// TestManyClients has clients of both kinds of call at once, under the race
// detector.
func TestManyClients(t *testing.T) {
	w := newWorld(t)
	w.usage()
	server := httptest.NewServer(w.server.REST())
	defer server.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				r, err := http.NewRequest("POST", server.URL+"/v1/budgets", strings.NewReader(fmt.Sprintf(`{"tag":"t%d","daily_cap_cents":%d}`, i, j)))
				if err != nil {
					t.Error(err)
					return
				}
				if j%2 == 1 {
					r, err = http.NewRequest("GET", server.URL+"/v1/usage?group_by=tag,day", nil)
					if err != nil {
						t.Error(err)
						return
					}
				} else {
					r.Header.Set("Content-Type", "application/json")
				}
				r.Header.Set("Authorization", "Bearer "+admin)
				resp, err := server.Client().Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 200 {
					t.Errorf("status %d, %v", resp.StatusCode, err)
				}
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
}
