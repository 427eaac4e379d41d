package adminapi_test

import (
	"strings"
	"testing"
	"time"

	"aigateway/budget"
)

// TestBills keeps what providers billed, and compares it with what was recorded of the
// same provider and UTC day, also where the gateway's days are others.
func TestBills(t *testing.T) {
	w := newWorld(t)
	row := func(provider, at string, cost budget.Amount) budget.UsageRow {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		return budget.UsageRow{Attribution: budget.Attribution{Tag: "a", Provider: provider}, Time: when, Requests: 1, Cost: cost}
	}
	w.store.rows = []budget.UsageRow{row("openai", "2026-04-01T00:00:00Z", 5*budget.Dollar), row("openai", "2026-04-02T23:45:00Z", 8*budget.Dollar), row("anthropic", "2026-04-01T12:00:00Z", budget.Dollar)}
	wantJSON(t, w.ok(w.do(reporter, "GET", "/v1/bills", ""), "GET /v1/bills"), `{"month":"","time_zone":"UTC","rows":[],"providers":[],"months":[]}`)

	sum := strings.Repeat("ab", 32)
	bill := `{"provider":"openai","month":"2026-04","days":[{"day":"2026-04-01","billed_usd":"4.90"},{"day":"2026-04-02","billed_usd":"9.50","corrected_usd":"1.50"},{"day":"2026-04-03","billed_usd":"0.00"}],"exports":["` + sum + `"]}`
	w.ok(w.do(admin, "POST", "/v1/bills", bill), "POST /v1/bills")
	w.ok(w.do(admin, "POST", "/v1/bills", `{"provider":"openai","month":"2026-03","days":[{"day":"2026-03-31","billed_usd":"1.00"}]}`), "POST /v1/bills")
	const by = `,"import_time":"2026-04-15T10:07:00Z","actor":"key_a"}`
	got := w.ok(w.do(reporter, "GET", "/v1/bills?month=2026-04", ""), "GET /v1/bills")
	wantJSON(t, got, strings.ReplaceAll(`{"month":"2026-04","time_zone":"UTC","rows":[
		{"provider":"openai","day":"2026-04-01","billed_usd":"4.90","recorded_usd":"5.00","difference_usd":"-0.10","corrected_usd":"0.00","open_usd":"-0.10"BY,
		{"provider":"openai","day":"2026-04-02","billed_usd":"9.50","recorded_usd":"8.00","difference_usd":"1.50","corrected_usd":"1.50","open_usd":"0.00"BY,
		{"provider":"openai","day":"2026-04-03","billed_usd":"0.00","recorded_usd":"0.00","difference_usd":"0.00","corrected_usd":"0.00","open_usd":"0.00"BY],
		"providers":[{"provider":"openai","day":"","billed_usd":"14.40","recorded_usd":"13.00","difference_usd":"1.40","corrected_usd":"1.50","open_usd":"-0.10"BY],
		"months":["2026-03","2026-04"]}`, "BY", by))

	for body, field := range map[string]string{
		`{"month":"2026-04","days":[{"day":"2026-04-01","billed_usd":"1"}]}`:                                                      "provider",
		`{"provider":"a/b","month":"2026-04","days":[{"day":"2026-04-01","billed_usd":"1"}]}`:                                     "provider",
		`{"provider":"a","month":"April","days":[{"day":"2026-04-01","billed_usd":"1"}]}`:                                         "month",
		`{"provider":"a","month":"2026-04","days":[]}`:                                                                            "days",
		`{"provider":"a","month":"2026-04","days":[{"day":"2026-05-01","billed_usd":"1"}]}`:                                       "days.day",
		`{"provider":"a","month":"2026-04","days":[{"day":"2026-04-02","billed_usd":"1"},{"day":"2026-04-02","billed_usd":"1"}]}`: "days.day",
		`{"provider":"a","month":"2026-04","days":[{"day":"2026-04-01"}]}`:                                                        "days.billed_usd",
		`{"provider":"a","month":"2026-04","days":[{"day":"2026-04-01","billed_usd":"1","corrected_usd":"x"}]}`:                   "days.corrected_usd",
		`{"provider":"a","month":"2026-04","days":[{"day":"2026-04-01","billed_usd":"1"}],"exports":["nothing"]}`:                 "exports",
	} {
		w.wantError(w.do(admin, "POST", "/v1/bills", body), 400, "field_invalid", field)
	}
	w.wantError(w.do(reporter, "GET", "/v1/bills?month=x", ""), 400, "field_invalid", "month")
	w.wantError(w.do(reporter, "POST", "/v1/bills", bill), 403, "scope_missing", "")
	w.wantError(w.do(teamA, "GET", "/v1/bills", ""), 403, "key_not_allowed", "")
}
