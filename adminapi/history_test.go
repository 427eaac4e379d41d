package adminapi_test

import (
	"errors"
	"testing"
	"time"

	"aigateway/adminapi"
	"aigateway/budget"
)

var aprilWindow = budget.Window{Start: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)}

// TestBudgetHistory reads a budget's windows, changes and curve, in pages, the last
// one first; who reads usage may read them, and change nothing.
func TestBudgetHistory(t *testing.T) {
	w := newWorld(t)
	limit := 5 * budget.Dollar
	w.store.budgets = []budget.Status{{
		Budget: budget.Budget{ID: "bud_1", Target: budget.Target{Tags: "a"}, Period: budget.Month, Cap: limit}, Window: aprilWindow, Spent: 4 * budget.Dollar,
	}}
	march := budget.Window{Start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), End: aprilWindow.Start}
	w.store.windows = []budget.WindowReport{
		{Window: aprilWindow, Running: true, Cap: &limit, Spent: 4 * budget.Dollar, Refused: budget.RefusedSum{Calls: 3, Distinct: 2, Kept: 7}},
		{Window: march, Spent: budget.Cent},
	}
	one := `{"start":"2026-04-01T00:00:00Z","end":"2026-05-01T00:00:00Z","running":true,"cap":"5.00","spent":"4.00","refused_calls":3,"distinct_calls":2,"kept":"0.000000007"}`
	got := w.ok(w.do(reporter, "GET", "/v1/budgets/bud_1/windows?page_size=1", ""), "GET /v1/budgets/{id}/windows").(map[string]any)
	token := got["next_page_token"].(string)
	wantJSON(t, got, `{"windows":[`+one+`],"next_page_token":`+quoted(token)+`}`)
	wantJSON(t, w.ok(w.do(reporter, "GET", "/v1/budgets/bud_1/windows?page_size=1&page_token="+token, ""), "GET /v1/budgets/{id}/windows"),
		`{"windows":[{"start":"2026-03-01T00:00:00Z","end":"2026-04-01T00:00:00Z","running":false,"spent":"0.01","refused_calls":0,"distinct_calls":0,"kept":"0.00"}],"next_page_token":""}`)

	w.store.changes = []budget.BudgetChange{
		{AuditEntry: budget.AuditEntry{ID: 9, Time: instant, Actor: "key_c", Action: "update_budget"}, Reason: "launch", Before: &budget.Budget{Cap: budget.Dollar}, After: &budget.Budget{Cap: limit, Zone: "Europe/Berlin"}},
		{AuditEntry: budget.AuditEntry{ID: 4, Time: instant, Actor: "key_c", Action: "create_budget"}, After: &budget.Budget{Cap: budget.Dollar}},
	}
	terms := func(limit, zone string) string {
		return `{"cap":"` + limit + `","time_zone":"` + zone + `","default_max_tokens":0,"default_max_tool_calls":0}`
	}
	got = w.ok(w.do(finance, "GET", "/v1/budgets/bud_1/changes?page_size=1", ""), "GET /v1/budgets/{id}/changes").(map[string]any)
	token = got["next_page_token"].(string)
	wantJSON(t, got, `{"changes":[{"id":"9","create_time":"2026-04-15T10:07:00Z","actor":"key_c","action":"update_budget","reason":"launch",
		"before":`+terms("1.00", "UTC")+`,"after":`+terms("5.00", "Europe/Berlin")+`}],"next_page_token":`+quoted(token)+`}`)
	got = w.ok(w.do(finance, "GET", "/v1/budgets/bud_1/changes?page_token="+token, ""), "GET /v1/budgets/{id}/changes").(map[string]any)
	if c := got["changes"].([]any); len(c) != 1 || c[0].(map[string]any)["before"] != nil {
		t.Errorf("the oldest change: %v", got)
	}

	for d, cost := range map[int]budget.Amount{2: budget.Dollar, 5: 2 * budget.Dollar} {
		w.store.rows = append(w.store.rows, budget.UsageRow{Attribution: budget.Attribution{Tag: "a"}, Time: time.Date(2026, 4, d, 0, 0, 0, 0, time.UTC), Cost: cost})
	}
	wantJSON(t, w.ok(w.do(finance, "GET", "/v1/budgets/bud_1/curve", ""), "GET /v1/budgets/{id}/curve"), `{"points":[
		{"time":"2026-04-01T00:00:00Z","spent":"1.00"},{"time":"2026-04-02T00:00:00Z","spent":"1.00"},{"time":"2026-04-03T00:00:00Z","spent":"2.00"},
		{"time":"2026-04-05T00:00:00Z","spent":"2.00"},{"time":"2026-04-06T00:00:00Z","spent":"4.00"},{"time":"2026-04-15T10:07:00Z","spent":"4.00"}]}`)

	for _, part := range []string{"windows", "changes", "curve"} {
		w.wantError(w.do(teamA, "GET", "/v1/budgets/bud_1/"+part, ""), 404, "budget_not_found", "")
		w.wantError(w.do(inference, "GET", "/v1/budgets/bud_1/"+part, ""), 403, "scope_missing", "")
	}
	w.wantError(w.do(reporter, "PATCH", "/v1/budgets/bud_1", `{"monthly_cap_cents":1}`), 403, "scope_missing", "")
	w.wantError(w.do(finance, "GET", "/v1/budgets/bud_1/windows?page_token=x", ""), 400, "field_invalid", "page_token")
}

// TestForecast goes on in a straight line, once there is a line.
func TestForecast(t *testing.T) {
	w := newWorld(t)
	forecast := func(spent budget.Amount, window budget.Window) any {
		w.store.budgets = []budget.Status{{Budget: budget.Budget{ID: "bud_1", Target: budget.Target{Tags: "a"}, Period: budget.Month, Cap: 10 * budget.Dollar}, Window: window, Spent: spent}}
		return w.ok(w.do(finance, "GET", "/v1/budgets/bud_1", ""), "GET /v1/budgets/{id}").(map[string]any)["forecast"]
	}
	// 14 days, 10 hours and 7 minutes of 30 days are over.
	wantJSON(t, forecast(4*budget.Dollar, aprilWindow), `{"method":"straight_line","projected":"8.320893725"}`)
	wantJSON(t, forecast(6*budget.Dollar, aprilWindow), `{"method":"straight_line","projected":"12.481340588","full_at":"2026-04-25T00:51:40Z"}`)
	wantJSON(t, forecast(10*budget.Dollar, aprilWindow), `{"method":"straight_line","projected":"20.802234314","full_at":"2026-04-15T10:07:00Z"}`)
	if f := forecast(budget.Dollar, budget.Window{Start: instant.Add(-time.Hour), End: instant.Add(20 * time.Hour)}); f != nil {
		t.Errorf("a forecast of a window that has hardly begun: %v", f)
	}
	if f := forecast(budget.Dollar, budget.Window{Start: time.Unix(0, 0)}); f != nil {
		t.Errorf("a forecast of a window without an end: %v", f)
	}
}

// TestOverview sums up what a key may see.
func TestOverview(t *testing.T) {
	w := newWorld(t)
	status := func(id string, tag budget.TagPattern, limit, spent budget.Amount) budget.Status {
		return budget.Status{Budget: budget.Budget{ID: id, Target: budget.Target{Tags: tag}, Period: budget.Month, Cap: limit}, Window: aprilWindow, Spent: spent}
	}
	w.store.budgets = []budget.Status{status("bud_1", "**", 100*budget.Dollar, 4*budget.Dollar), status("bud_2", "team/a/**", budget.Dollar, budget.Dollar), status("bud_3", "shared", 2*budget.Dollar, budget.Dollar)}
	w.store.rows = []budget.UsageRow{
		{Attribution: budget.Attribution{Tag: "team/a"}, Time: instant, Requests: 1, Cost: budget.Dollar},
		{Attribution: budget.Attribution{Tag: "b"}, Time: instant, Requests: 1, Cost: 3 * budget.Dollar},
	}
	w.store.open = []budget.Open{{Attribution: budget.Attribution{Tag: "shared"}, Bound: 2}, {Attribution: budget.Attribution{Tag: "b"}, Bound: 5}}
	w.store.refused = []budget.Refused{
		{BudgetID: "bud_1", Reason: "cap_held", RefusedSum: budget.RefusedSum{Calls: 9, Distinct: 2, Kept: 30}},
		{BudgetID: "bud_2", Reason: "cap_reached", RefusedSum: budget.RefusedSum{Calls: 1, Distinct: 1, Kept: 40}},
		{BudgetID: "bud_3", Reason: "cap_reached", RefusedSum: budget.RefusedSum{Calls: 5, Distinct: 1, Kept: 1}},
		{Reason: "model_unknown", RefusedSum: budget.RefusedSum{Calls: 2, Distinct: 1}},
	}
	wantJSON(t, w.ok(w.do(reporter, "GET", "/v1/overview", ""), "GET /v1/overview"), `{"from":"2026-04-01T00:00:00Z","to":"2026-05-01T00:00:00Z","time_zone":"UTC",
		"spent":"4.00","reserved":"0.000000007","running_calls":2,"projected":"8.320893725","method":"straight_line","refused_calls":17,"distinct_calls":5,"kept":"0.000000071",
		"cap":"100.00","budgets":3,"budgets_full":1,"budgets_filling":1,"next_full_at":"2026-04-29T20:14:00Z"}`)
	wantJSON(t, w.ok(w.do(teamA, "GET", "/v1/overview", ""), "GET /v1/overview"), `{"from":"2026-04-01T00:00:00Z","to":"2026-05-01T00:00:00Z","time_zone":"UTC",
		"spent":"1.00","reserved":"0.000000002","running_calls":1,"projected":"2.080223431","method":"straight_line","refused_calls":6,"distinct_calls":2,"kept":"0.000000041",
		"budgets":2,"budgets_full":1,"budgets_filling":1,"next_full_at":"2026-04-29T20:14:00Z"}`)
	got := w.ok(w.do(reporter, "GET", "/v1/refusals", ""), "GET /v1/refusals").(map[string]any)
	wantJSON(t, got["reasons"], `[{"reason":"cap_reached","calls":6,"distinct_calls":2,"kept":"0.000000041"},{"reason":"cap_held","calls":9,"distinct_calls":2,"kept":"0.00000003"},
		{"reason":"model_unknown","calls":2,"distinct_calls":1,"kept":"0.00"}]`)
	wantJSON(t, got["total"], `{"reason":"","calls":17,"distinct_calls":5,"kept":"0.000000071"}`)
	got = w.ok(w.do(teamA, "GET", "/v1/refusals?budget_id=bud_3", ""), "GET /v1/refusals").(map[string]any)
	wantJSON(t, got["rows"], `[{"budget_id":"bud_3","reason":"cap_reached","calls":5,"distinct_calls":1,"kept":"0.000000001"}]`)
	if got = w.ok(w.do(teamA, "GET", "/v1/refusals?budget_id=bud_1", ""), "GET /v1/refusals").(map[string]any); len(got["rows"].([]any)) != 0 {
		t.Errorf("a key sees what a budget of others refused: %v", got)
	}
}

// TestStatus tells how the gateway and its books are, to keys that see all tags.
func TestStatus(t *testing.T) {
	w := newWorld(t)
	w.store.rows = []budget.UsageRow{{Attribution: budget.Attribution{Tag: "a", Model: "x/y"}, Time: instant, Requests: 3, Unpriced: 2}, {Attribution: budget.Attribution{Tag: "a", Model: "x/z"}, Time: instant, Requests: 3}}
	w.store.adjusted = []budget.Adjustment{{ID: "adj_1", Tag: "a", Amount: -budget.Cent, Reason: "credit", Actor: "key_c", Time: instant}}
	w.ready = []adminapi.Condition{{Name: "ledger"}, {Name: "providers", Warning: errors.New("slow")}}
	got := w.ok(w.do(reporter, "GET", "/v1/health", ""), "GET /v1/health")
	wantJSON(t, got, `{"ready":true,"conditions":[{"name":"ledger","ready":true,"message":"","warning":""},{"name":"providers","ready":true,"message":"","warning":"slow"}],
		"providers":[{"provider":"moonshot","calls":4,"faults":1,"mean_ms":250,"last_fault":"timeout"},{"provider":"openai","calls":0,"faults":0,"last_fault":""}],
		"unpriced_models":[{"model":"x/y","calls":2}],"catalog_version":"c0ffee","prices_checked_at":"2026-04-13T08:07:00Z","prices_age_days":2,
		"clock_ahead_ms":20,"database_bytes":1048576,"disk_free_bytes":1073741824,"disk_full_days":3651}`)
	wantJSON(t, w.ok(w.do(reporter, "GET", "/v1/books", ""), "GET /v1/books"), `{"head":"42:9f86d0","checked_at":"2026-04-15T10:07:00Z","mismatches":1,
		"corrections":[{"create_time":"2026-04-15T10:07:00Z","subject":"a","amount":"-0.01","reason":"credit","actor":"key_c"}]}`)
	for _, path := range []string{"/v1/health", "/v1/books"} {
		w.wantError(w.do(teamA, "GET", path, ""), 403, "key_not_allowed", "")
	}
}
