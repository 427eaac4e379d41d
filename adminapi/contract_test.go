package adminapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"aigateway/adminapi"
	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

func TestUsageByTagIsTheContract(t *testing.T) {
	w := newWorld(t)
	w.usage()
	a := w.do(reporter, "GET", "/v1/usage/by-tag?month=2026-04", "")
	wantJSON(t, w.ok(a, "GET /v1/usage/by-tag"), `[
		{"tag":"summarize","requests":8210,"cost_cents":4210},
		{"tag":"team/a","requests":2,"cost_cents":300},
		{"tag":"team/a/x","requests":3,"cost_cents":201},
		{"tag":"shared","requests":4,"cost_cents":100},
		{"tag":"small","requests":1,"cost_cents":1}]`)
	if strings.Contains(a.body, `:"`) && strings.Contains(a.body, `"cost_cents":"`) {
		t.Errorf("numbers are strings: %s", a.body)
	}
	wantJSON(t, w.ok(w.do(reporter, "GET", "/v1/usage/by-tag", ""), "GET /v1/usage/by-tag"), a.body) // the default is this month
	wantJSON(t, w.ok(w.do(reporter, "GET", "/v1/usage/by-tag?month=2026-04&tag=summarize", ""), "GET /v1/usage/by-tag"),
		`[{"tag":"summarize","requests":8210,"cost_cents":4210}]`)
	if a := w.do(reporter, "GET", "/v1/usage/by-tag?month=2020-01", ""); a.body != "[]" {
		t.Errorf("an empty month is %q, want []", a.body)
	}
}

func TestSetBudgetIsTheContract(t *testing.T) {
	w := newWorld(t)
	got := w.ok(w.do(finance, "POST", "/v1/budgets", `{"tag":"summarize","monthly_cap_cents":50000}`), "POST /v1/budgets")
	want := `{"id":"bud_001","tag":"summarize","period":"month","monthly_cap_cents":50000,"time_zone":"UTC",
		"cap_cents":50000,"spent_cents":0,"reserved_cents":0,"remaining_cents":50000,
		"cap":"500.00","spent":"0.00","reserved":"0.00","remaining":"500.00",
		"window_start":"2026-04-01T00:00:00Z","resets_at":"2026-05-01T00:00:00Z","etag":` + quoted(budget.Budget{UpdateTime: instant}.Etag()) + `,
		"create_time":"2026-04-15T10:07:00Z","update_time":"2026-04-15T10:07:00Z","default_max_tokens":0,"default_max_tool_calls":0,"forecast":{"method":"straight_line","projected":"0.00"}}`
	wantJSON(t, got, want)
	wantJSON(t, w.ok(w.do(finance, "GET", "/v1/budgets/bud_001", ""), "GET /v1/budgets/{id}"), want)
	wantJSON(t, w.ok(w.do(finance, "GET", "/v1/budgets", ""), "GET /v1/budgets"), `{"budgets":[`+want+`],"next_page_token":""}`)
	if diff := cmp.Diff([]string{"key_c"}, w.store.actors); diff != "" {
		t.Errorf("actors: -want +got:\n%s", diff)
	}

	// Setting it again replaces the cap of the same budget.
	again := w.ok(w.do(finance, "POST", "/v1/budgets", `{"tag":"summarize","monthly_cap_cents":1}`), "POST /v1/budgets").(map[string]any)
	if again["id"] != "bud_001" || again["cap"] != "0.01" {
		t.Errorf("replaced budget: %v", again)
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func TestBudgetPeriodsAndTargets(t *testing.T) {
	w := newWorld(t)
	tests := []struct{ body, period, capName, start, end string }{
		{`{"tag":"**","daily_cap_cents":0}`, "day", "daily_cap_cents", "2026-04-15T00:00:00Z", "2026-04-16T00:00:00Z"},
		{`{"tag":"team/a/**","weekly_cap_cents":5,"time_zone":"Europe/Berlin"}`, "week", "weekly_cap_cents", "2026-04-12T22:00:00Z", "2026-04-19T22:00:00Z"},
		{`{"key_id":"key_d","total_cap_cents":461168601842}`, "total", "total_cap_cents", "", ""},
		{`{"tag":"a","monthly_cap_cents":7,"time_zone":null,"key_id":null}`, "month", "monthly_cap_cents", "2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.period, func(t *testing.T) {
			got := w.ok(w.do(finance, "POST", "/v1/budgets", tt.body), "POST /v1/budgets").(map[string]any)
			if got["period"] != tt.period || got[tt.capName] != got["cap_cents"] {
				t.Errorf("period %v, %s %v, cap_cents %v", got["period"], tt.capName, got[tt.capName], got["cap_cents"])
			}
			if tt.start == "" {
				if got["window_start"] != nil || got["resets_at"] != nil {
					t.Errorf("a total budget has a window: %v", got)
				}
			} else if got["window_start"] != tt.start || got["resets_at"] != tt.end {
				t.Errorf("window %v to %v, want %s to %s", got["window_start"], got["resets_at"], tt.start, tt.end)
			}
			if _, tag := got["tag"]; tag == (got["key_id"] != nil) {
				t.Errorf("tag and key_id: %v", got)
			}
		})
	}
}

// TestCentsAddUp walks amounts that are no whole cents.
func TestCentsAddUp(t *testing.T) {
	w := newWorld(t)
	w.store.budgets = []budget.Status{{Budget: budget.Budget{ID: "bud_1", Target: budget.Target{Tags: "a"}, Period: budget.Month, Cap: budget.Dollar}}}
	amounts := []budget.Amount{0, 1, budget.Cent - 1, budget.Cent, budget.Cent + 1, 50*budget.Cent + 5, 99 * budget.Cent, budget.Dollar - 1, budget.Dollar, 2 * budget.Dollar}
	for _, spent := range amounts {
		for _, reserved := range amounts {
			w.store.budgets[0].Spent, w.store.budgets[0].Reserved = spent, reserved
			got := w.ok(w.do(finance, "GET", "/v1/budgets/bud_1", ""), "GET /v1/budgets/{id}").(map[string]any)
			n := func(name string) int64 {
				v, err := got[name].(json.Number).Int64()
				if err != nil {
					t.Fatalf("%s is %v", name, got[name])
				}
				return v
			}
			sum := n("spent_cents") + n("reserved_cents") + n("remaining_cents")
			if spent+reserved <= budget.Dollar && sum != 100 {
				t.Errorf("spent %s reserved %s: %d + %d + %d != 100", spent, reserved, n("spent_cents"), n("reserved_cents"), n("remaining_cents"))
			}
			if n("reserved_cents") < 0 || n("remaining_cents") < 0 || n("spent_cents") != spent.CeilCents() {
				t.Errorf("spent %s reserved %s: %v", spent, reserved, got)
			}
			if got["spent"] != spent.String() || got["reserved"] != reserved.String() {
				t.Errorf("exact amounts: %v", got)
			}
		}
	}
}

func TestUpdateAndDeleteBudget(t *testing.T) {
	w := newWorld(t)
	created := w.ok(w.do(finance, "POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":100,"time_zone":"Europe/Berlin"}`), "POST /v1/budgets").(map[string]any)
	etag := created["etag"].(string)

	got := w.ok(w.do(finance, "PATCH", "/v1/budgets/bud_001", `{"monthly_cap_cents":200,"etag":`+quoted(etag)+`}`), "PATCH /v1/budgets/{id}").(map[string]any)
	if got["cap"] != "2.00" || got["time_zone"] != "Europe/Berlin" {
		t.Errorf("after a new cap: %v", got)
	}
	got = w.ok(w.do(finance, "PATCH", "/v1/budgets/bud_001", `{"time_zone":"UTC"}`), "PATCH /v1/budgets/{id}").(map[string]any)
	if got["cap"] != "2.00" || got["time_zone"] != "UTC" {
		t.Errorf("after a new zone: %v", got)
	}
	got = w.ok(w.do(finance, "PATCH", "/v1/budgets/bud_001", `{"monthly_cap_cents":0}`), "PATCH /v1/budgets/{id}").(map[string]any)
	if got["cap"] != "0.00" {
		t.Errorf("after a cap of 0: %v", got)
	}
	for _, tt := range []struct{ body, tokens, tools string }{
		{`{"default_max_tokens":4096}`, "4096", "0"}, {`{"default_max_tool_calls":5}`, "4096", "5"},
		{`{"default_max_tokens":0 }`, "0", "5"}, {`{"default_max_tool_calls":0}`, "0", "0"},
	} {
		got = w.ok(w.do(finance, "PATCH", "/v1/budgets/bud_001", tt.body), "PATCH /v1/budgets/{id}").(map[string]any)
		if fmt.Sprint(got["default_max_tokens"]) != tt.tokens || fmt.Sprint(got["default_max_tool_calls"]) != tt.tools || got["cap"] != "0.00" || got["time_zone"] != "UTC" {
			t.Errorf("after %s: %v", tt.body, got)
		}
	}
	w.wantError(w.do(finance, "PATCH", "/v1/budgets/bud_001", `{"default_max_tokens":-1}`), 400, "field_invalid", "default_max_tokens")
	w.wantError(w.do(finance, "PATCH", "/v1/budgets/bud_001", `{"monthly_cap_cents":1,"etag":"old"}`), 409, "etag_mismatch", "etag")
	w.wantError(w.do(finance, "PATCH", "/v1/budgets/bud_001", `{"daily_cap_cents":1}`), 400, "field_invalid", "daily_cap_cents")
	w.wantError(w.do(finance, "PATCH", "/v1/budgets/bud_001", `{"tag":"b"}`), 400, "field_invalid", "tag")
	w.wantError(w.do(finance, "PATCH", "/v1/budgets/bud_001", `{"spent_cents":0}`), 400, "field_invalid", "spent_cents")
	w.wantError(w.do(finance, "PATCH", "/v1/budgets/bud_001", `{}`), 400, "field_invalid", "budget")
	w.wantError(w.do(finance, "PATCH", "/v1/budgets/bud_001", `{"etag":"x","time_zone":null}`), 400, "field_invalid", "budget")
	w.wantError(w.do(finance, "PATCH", "/v1/budgets/bud_009", `{"monthly_cap_cents":1}`), 404, "budget_not_found", "")

	w.wantError(w.do(finance, "DELETE", "/v1/budgets/bud_001?etag=old", ""), 409, "etag_mismatch", "etag")
	w.wantError(w.do(finance, "DELETE", "/v1/budgets/bud_001", `{"etag":"old"}`), 400, "body_unexpected", "")
	wantJSON(t, w.ok(w.do(finance, "DELETE", "/v1/budgets/bud_001", ""), "DELETE /v1/budgets/{id}"), `{}`)
	w.wantError(w.do(finance, "DELETE", "/v1/budgets/bud_001", ""), 404, "budget_not_found", "")
}

func TestListsPage(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.ok(w.do(finance, "POST", "/v1/budgets", fmt.Sprintf(`{"tag":"t%d","monthly_cap_cents":1}`, i)), "POST /v1/budgets")
	}
	walk := func(key, path, list, op string) []string {
		var ids []string
		token := ""
		for range 20 {
			a := w.ok(w.do(key, "GET", path+token, ""), op).(map[string]any)
			entries := a[list].([]any)
			if len(entries) > 3 {
				t.Errorf("a page of %d entries, want at most 3", len(entries))
			}
			for _, e := range entries {
				ids = append(ids, e.(map[string]any)["id"].(string))
			}
			next := a["next_page_token"].(string)
			if next == "" {
				return ids
			}
			token = "&page_token=" + next
		}
		t.Fatal("the pages do not end")
		return nil
	}
	ids := walk(finance, "/v1/budgets?page_size=3", "budgets", "GET /v1/budgets")
	if want := []string{"bud_001", "bud_002", "bud_003", "bud_004", "bud_005", "bud_006", "bud_007"}; !slices.Equal(ids, want) {
		t.Errorf("budgets: %v", ids)
	}
	if ids := walk(finance, "/v1/budgets?page_size=1&tag=t3", "budgets", "GET /v1/budgets"); !slices.Equal(ids, []string{"bud_004"}) {
		t.Errorf("budgets of t3: %v", ids)
	}
	if ids := walk(admin, "/v1/keys?page_size=2", "keys", "GET /v1/keys"); !slices.Equal(ids, []string{"key_a", "key_b", "key_c", "key_d", "key_e"}) {
		t.Errorf("keys: %v", ids)
	}
	w.wantError(w.do(finance, "GET", "/v1/budgets?page_size=-1", ""), 400, "field_invalid", "page_size")
	w.wantError(w.do(finance, "GET", "/v1/budgets?page_token=zzz", ""), 400, "field_invalid", "page_token")
	w.ok(w.do(finance, "GET", "/v1/budgets?page_size=2000000000", ""), "GET /v1/budgets")
}

func TestQueryUsage(t *testing.T) {
	w := newWorld(t)
	w.usage()
	const op = "GET /v1/usage"
	wantJSON(t, w.ok(w.do(reporter, "GET", "/v1/usage?from=2026-04-02&to=2026-04-03&group_by=model,key", ""), op), `{
		"from":"2026-04-02T00:00:00Z","to":"2026-04-03T00:00:00Z","time_zone":"UTC","group_by":["model","key"],
		"rows":[
		 {"model":"moonshot/kimi-k2.6","key_id":"key_e","requests":3,"unpriced_requests":0,"cost_cents":201,"cost_usd":"2.000000001","input_tokens":30,"cache_read_tokens":3,"cache_write_tokens":6,"output_tokens":15,"estimated_requests":0,"estimated_cost_usd":"0.00"},
		 {"model":"openai/gpt-5.5","key_id":"key_e","requests":4,"unpriced_requests":0,"cost_cents":100,"cost_usd":"1.00","input_tokens":40,"cache_read_tokens":4,"cache_write_tokens":8,"output_tokens":20,"estimated_requests":0,"estimated_cost_usd":"0.00"}],
		"total":{"requests":7,"unpriced_requests":0,"cost_cents":301,"cost_usd":"3.000000001","input_tokens":70,"cache_read_tokens":7,"cache_write_tokens":14,"output_tokens":35,"estimated_requests":0,"estimated_cost_usd":"0.00"}}`)

	got := w.ok(w.do(reporter, "GET", "/v1/usage?from=2026-04-01&to=2026-04-04&group_by=day&time_zone=America/New_York", ""), op).(map[string]any)
	var times []string
	for _, r := range got["rows"].([]any) {
		times = append(times, r.(map[string]any)["time"].(string))
	}
	if want := []string{"2026-04-01T00:00:00-04:00", "2026-04-02T00:00:00-04:00"}; !slices.Equal(times, want) {
		t.Errorf("days: %v, want %v", times, want)
	}

	empty := w.ok(w.do(reporter, "GET", "/v1/usage?from=2020-01&to=2020-02&group_by=tag&group_by=hour", ""), op).(map[string]any)
	if rows := empty["rows"].([]any); len(rows) != 0 {
		t.Errorf("rows of an empty report: %v", rows)
	}
	// Havana's 8 March begins at 01:00, its 1 November has 00:00 twice.
	for from, want := range map[string]string{"2026-03-08": "2026-03-08T01:00:00-04:00", "2026-11-01": "2026-11-01T00:00:00-04:00"} {
		got := w.ok(w.do(reporter, "GET", "/v1/usage?to=2027-01&time_zone=America/Havana&from="+from, ""), op).(map[string]any)
		if got["from"] != want {
			t.Errorf("from %s is %s, want %s", from, got["from"], want)
		}
	}
	// The defaults are this month until the quarter of an hour that is running.
	w.ok(w.do(reporter, "GET", "/v1/usage", ""), op)
	q := w.store.queries[len(w.store.queries)-1]
	if got := q.Window.Start.Format("2006-01-02T15:04") + " " + q.Window.End.Format("2006-01-02T15:04"); got != "2026-04-01T00:00 2026-04-15T10:15" {
		t.Errorf("default span: %s", got)
	}
	w.ok(w.do(reporter, "GET", "/v1/usage?tag=team/**&model=openai/x&provider=openai&key_id=key_d", ""), op)
	q = w.store.queries[len(w.store.queries)-1]
	if q.Tags != "team/**" || q.Model != "openai/x" || q.Provider != "openai" || q.KeyID != "key_d" {
		t.Errorf("filters: %+v", q)
	}
}

func TestEveryPairOfDimensions(t *testing.T) {
	w := newWorld(t)
	w.usage()
	dims := []string{"tag", "model", "provider", "key", "day", "hour"}
	for _, a := range dims {
		for _, b := range dims {
			target := "/v1/usage?group_by=" + a + "," + b
			got := w.do(reporter, "GET", target, "")
			if a == b || a == "day" && b == "hour" || a == "hour" && b == "day" {
				w.wantError(got, 400, "field_invalid", "group_by")
				continue
			}
			report := w.ok(got, "GET /v1/usage").(map[string]any)
			if cost := report["total"].(map[string]any)["cost_usd"]; cost != "48.090000007" {
				t.Errorf("%s: total %v", target, cost)
			}
		}
	}
}

func TestUsageCSV(t *testing.T) {
	w := newWorld(t)
	w.store.rows = []budget.UsageRow{
		row(1, 0, `=HYPERLINK("x","y")`, "openai/gpt-5.5", "key_d", 1, 5*budget.Cent),
		row(1, 0, "team/ä, b", "openai/gpt-5.5", "key_d", 2, 1),
	}
	w.store.rows[0].Estimated, w.store.rows[0].EstimatedCost = 1, 2*budget.Cent
	const want = "tag,time,requests,unpriced_requests,cost_cents,cost_usd,input_tokens,cache_read_tokens,cache_write_tokens,output_tokens,estimated_requests,estimated_cost_usd\n" +
		"\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\",2026-04-01T00:00:00Z,1,0,5,0.05,10,1,2,5,1,0.02\n" +
		"\"team/ä, b\",2026-04-01T00:00:00Z,2,0,1,0.000000001,20,2,4,10,0,0.00\n"
	for name, a := range map[string]answer{
		"format":  w.do(reporter, "GET", "/v1/usage?group_by=tag,day&format=csv", ""),
		"accept":  w.do(reporter, "GET", "/v1/usage?group_by=tag,day", "", "Accept", "text/csv; header=present, application/json;q=0.5"),
		"format2": w.do(reporter, "GET", "/v1/usage?group_by=tag,day&format=csv", "", "Accept", "application/json"),
	} {
		if a.status != 200 || a.header.Get("Content-Type") != "text/csv; charset=utf-8" || a.body != want {
			t.Errorf("%s: %d %s\n%s", name, a.status, a.header.Get("Content-Type"), a.body)
		}
	}
	for _, accept := range []string{"application/json, text/csv", "*/*", "text/html", ""} {
		a := w.do(reporter, "GET", "/v1/usage", "", "Accept", accept)
		if a.header.Get("Content-Type") != "application/json" {
			t.Errorf("Accept: %s answered with %s", accept, a.header.Get("Content-Type"))
		}
	}
	a := w.do(reporter, "GET", "/v1/usage?format=csv&group_by=nothing", "")
	w.wantError(a, 400, "field_invalid", "group_by") // errors are JSON all the same
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	got := w.ok(w.do(admin, "POST", "/v1/keys", `{"name":"ci","scopes":["inference","usage"],"allowed_tags":["ci/**"],
		"default_tag":"ci/main","allowed_models":["moonshot/*","openai/gpt-5.5"],"expire_time":"2027-01-01T00:00:00Z","default_max_tokens":1024,"default_max_tool_calls":7}`), "POST /v1/keys")
	key := `{"id":"key_001","name":"ci","scopes":["inference","usage"],"allowed_tags":["ci/**"],"default_tag":"ci/main",
		"allowed_models":["moonshot/*","openai/gpt-5.5"],"create_time":"2026-04-15T10:07:00Z","expire_time":"2027-01-01T00:00:00Z","default_max_tokens":1024,"default_max_tool_calls":7}`
	wantJSON(t, got, `{"key":`+key+`,"secret":"sk-aig-new-key_001"}`)
	read := w.do(admin, "GET", "/v1/keys/key_001", "")
	wantJSON(t, w.ok(read, "GET /v1/keys/{id}"), key)
	list := w.do(admin, "GET", "/v1/keys", "")
	w.ok(list, "GET /v1/keys")
	if strings.Contains(read.body+list.body, "sk-aig-new") {
		t.Error("a secret was shown twice")
	}
	wantJSON(t, w.ok(w.do(admin, "DELETE", "/v1/keys/key_001", ""), "DELETE /v1/keys/{id}"), `{}`)
	w.wantError(w.do(admin, "GET", "/v1/keys/key_001", ""), 404, "key_not_found", "")
	w.wantError(w.do(admin, "DELETE", "/v1/keys/key_001", ""), 404, "key_not_found", "")
	if diff := cmp.Diff([]string{"key_a", "key_a", "key_a"}, w.store.actors); diff != "" {
		t.Errorf("actors: -want +got:\n%s", diff)
	}
	if strings.Contains(w.log.String(), "sk-aig-") {
		t.Error("a secret was logged")
	}
}

func TestModels(t *testing.T) {
	w := newWorld(t)
	wantJSON(t, w.ok(w.do(admin, "GET", "/v1/models", ""), "GET /v1/models"), `{"object":"list","data":[
		{"id":"moonshot/kimi-k2.6","object":"model","created":0,"owned_by":"moonshot","prices_checked_at":"2026-01-02"},
		{"id":"openai/gpt-5.5","object":"model","created":0,"owned_by":"openai","prices_checked_at":""}],
		"catalog_version":"c0ffee","catalog_age_days":2}`)
	wantJSON(t, w.ok(w.do(inference, "GET", "/v1/models", ""), "GET /v1/models"), `{"object":"list","data":[
		{"id":"moonshot/kimi-k2.6","object":"model","created":0,"owned_by":"moonshot","prices_checked_at":"2026-01-02"}],
		"catalog_version":"c0ffee","catalog_age_days":2}`)
}

// One model, by its slug with or without escapes; a key sees those it may call.
func TestModel(t *testing.T) {
	w := newWorld(t)
	const kimi = `{"id":"moonshot/kimi-k2.6","object":"model","created":0,"owned_by":"moonshot","prices_checked_at":"2026-01-02"}`
	wantJSON(t, w.ok(w.do(inference, "GET", "/v1/models/moonshot/kimi-k2.6", ""), "GET /v1/models/{model}"), kimi)
	for _, target := range []string{"/v1/models/moonshot/kimi-k2.6", "/v1/models"} {
		if a := w.do(inference, "HEAD", target, ""); a.status != 200 {
			t.Errorf("HEAD %s: %d", target, a.status)
		}
	}
	for _, id := range []string{"openai/gpt-5.5", "nobody/m", "kimi-k2.6", "moonshot", "moonshot/kimi-k2.6/x"} {
		w.wantError(w.do(inference, "GET", "/v1/models/"+id, ""), 404, "model_unknown", "model")
	}
	w.wantError(w.do("", "GET", "/v1/models/moonshot/kimi-k2.6", ""), 401, "key_missing", "authorization")
	w.wantError(w.do(inference, "DELETE", "/v1/models/moonshot/kimi-k2.6", ""), 404, "route_unknown", "")
}

// Who sends Anthropic's version header gets Anthropic's shape, pages and errors.
func TestModelsForAnthropicsSDKs(t *testing.T) {
	w := newWorld(t)
	get := func(key, target string) answer {
		return w.do("", "GET", target, "", "Anthropic-Version", "2023-06-01", "X-Api-Key", key)
	}
	one := func(id string) string {
		return `{"type":"model","id":"` + id + `","display_name":"` + id + `","created_at":"1970-01-01T00:00:00Z"}`
	}
	const kimi, gpt = "moonshot/kimi-k2.6", "openai/gpt-5.5"
	page := func(more bool, ids ...string) string {
		if len(ids) == 0 {
			return fmt.Sprintf(`{"data":[],"has_more":%v,"first_id":null,"last_id":null}`, more)
		}
		var models []string
		for _, id := range ids {
			models = append(models, one(id))
		}
		return fmt.Sprintf(`{"data":[%s],"has_more":%v,"first_id":%q,"last_id":%q}`, strings.Join(models, ","), more, ids[0], ids[len(ids)-1])
	}
	for target, want := range map[string]string{
		"/v1/models":                               page(false, kimi, gpt),
		"/v1/models?beta=true&limit=1000":          page(false, kimi, gpt),
		"/v1/models?limit=1":                       page(true, kimi),
		"/v1/models?limit=1&after_id=" + kimi:      page(false, gpt),
		"/v1/models?after_id=" + gpt:               page(false),
		"/v1/models?before_id=" + gpt:              page(false, kimi),
		"/v1/models?before_id=" + gpt + "&limit=1": page(false, kimi),
		"/v1/models/" + gpt:                        one(gpt),
	} {
		a := get(admin, target)
		if a.status != 200 {
			t.Errorf("%s: %d %s", target, a.status, a.body)
			continue
		}
		wantJSON(t, decode(t, string(a.body)), want)
	}
	wantJSON(t, decode(t, string(get(inference, "/v1/models").body)), page(false, kimi))
	for target, want := range map[string]string{
		"/v1/models/" + gpt:          "404 not_found_error model_unknown",
		"/v1/models?limit=0":         "400 invalid_request_error field_invalid",
		"/v1/models?limit=x":         "400 invalid_request_error field_invalid",
		"/v1/models?after_id=" + gpt: "400 invalid_request_error field_invalid",
	} {
		a := get(inference, target)
		var e struct {
			Type  string
			Error struct {
				Type     string
				Metadata struct{ Reason string }
			}
		}
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Type != "error" || fmt.Sprint(a.status, " ", e.Error.Type, " ", e.Error.Metadata.Reason) != want {
			t.Errorf("%s: %d %s, want %s", target, a.status, a.body, want)
		}
	}
	if a := get("sk-aig-wrong", "/v1/models"); a.status != 401 || !strings.Contains(string(a.body), `"type":"error"`) {
		t.Errorf("a wrong key: %d %s", a.status, a.body)
	}
}

func TestReservations(t *testing.T) {
	w := newWorld(t)
	wantJSON(t, w.ok(w.do(admin, "GET", "/v1/reservations", ""), "GET /v1/reservations"), `{"reservations":[]}`)
	for i := range 3 {
		w.store.open = append(w.store.open, budget.Open{
			ID: budget.ReservationID(1<<63 + uint64(i)), RequestID: "r", Attribution: budget.Attribution{KeyID: "key_d", Tag: "a", Model: "openai/x", Provider: "openai"},
			Bound: 1, Budgets: []string{"bud_1", "bud_7"}, ReservedAt: instant, Deadline: instant.Add(5 * 60e9),
		})
	}
	wantJSON(t, w.ok(w.do(admin, "GET", "/v1/reservations?page_size=1", ""), "GET /v1/reservations"), `{"reservations":[
		{"id":"9223372036854775808","request_id":"r","key_id":"key_d","tag":"a","model":"openai/x","provider":"openai","bound":"0.000000001",
		 "reserve_time":"2026-04-15T10:07:00Z","expire_time":"2026-04-15T10:12:00Z","budgets":["bud_1","bud_7"]}]}`)
}

// TestEveryOperationIsDescribed compares the routes with openapi.json.
func TestEveryOperationIsDescribed(t *testing.T) {
	w := newWorld(t)
	if diff := cmp.Diff(adminapi.Routes(), w.doc.Operations()); diff != "" {
		t.Errorf("-served +described:\n%s", diff)
	}
	a := w.do("", "GET", "/openapi.json", "")
	var served struct{ OpenAPI string }
	if err := json.Unmarshal([]byte(a.body), &served); err != nil || a.status != http.StatusOK || served.OpenAPI != "3.1.0" {
		t.Errorf("GET /openapi.json: %d, version %q, %v", a.status, served.OpenAPI, err)
	}
}

// TestFieldConventions walks every field of the API.
func TestFieldConventions(t *testing.T) {
	fields := 0
	for _, f := range []protoreflect.FileDescriptor{
		aigatewayv1.File_aigateway_v1_budget_proto, aigatewayv1.File_aigateway_v1_budget_service_proto,
		aigatewayv1.File_aigateway_v1_usage_proto, aigatewayv1.File_aigateway_v1_usage_service_proto,
		aigatewayv1.File_aigateway_v1_key_proto, aigatewayv1.File_aigateway_v1_key_service_proto,
		aigatewayv1.File_aigateway_v1_model_proto, aigatewayv1.File_aigateway_v1_model_service_proto,
		aigatewayv1.File_aigateway_v1_reservation_proto, aigatewayv1.File_aigateway_v1_reservation_service_proto,
		aigatewayv1.File_aigateway_v1_adjustment_proto, aigatewayv1.File_aigateway_v1_adjustment_service_proto,
		aigatewayv1.File_aigateway_v1_audit_proto, aigatewayv1.File_aigateway_v1_audit_service_proto,
		aigatewayv1.File_aigateway_v1_overview_service_proto, aigatewayv1.File_aigateway_v1_status_service_proto, aigatewayv1.File_aigateway_v1_explanation_proto, aigatewayv1.File_aigateway_v1_explain_service_proto,
	} {
		for i := range f.Messages().Len() {
			m := f.Messages().Get(i)
			for j := range m.Fields().Len() {
				fields++
				fd := m.Fields().Get(j)
				if fd.JSONName() != string(fd.Name()) {
					t.Errorf("%s has JSON name %s", fd.FullName(), fd.JSONName())
				}
				number := fd.Options().(*descriptorpb.FieldOptions).GetJstype() == descriptorpb.FieldOptions_JS_NUMBER
				if is64 := fd.Kind() == protoreflect.Int64Kind; is64 != number {
					t.Errorf("%s: JS_NUMBER is %v", fd.FullName(), number)
				}
				switch fd.Kind() {
				case protoreflect.DoubleKind, protoreflect.FloatKind, protoreflect.Uint64Kind, protoreflect.Sint64Kind, protoreflect.Fixed64Kind:
					t.Errorf("%s has kind %v", fd.FullName(), fd.Kind())
				}
			}
		}
	}
	if fields < 80 {
		t.Errorf("only %d fields were checked", fields)
	}
}

// TestBudgetsBeginWithTheGatewaysMonths pins that a budget and the report beside
// it count the same month.
func TestBudgetsBeginWithTheGatewaysMonths(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorldIn(t, berlin)
	for _, tt := range []struct{ body, zone, start string }{
		{`{"tag":"a","monthly_cap_cents":1}`, "Europe/Berlin", "2026-03-31T22:00:00Z"},
		{`{"tag":"b","monthly_cap_cents":1,"time_zone":"UTC"}`, "UTC", "2026-04-01T00:00:00Z"},
	} {
		got := w.ok(w.do(finance, "POST", "/v1/budgets", tt.body), "POST /v1/budgets").(map[string]any)
		if got["time_zone"] != tt.zone || got["window_start"] != tt.start {
			t.Errorf("%s has zone %v from %v, want %s from %s", tt.body, got["time_zone"], got["window_start"], tt.zone, tt.start)
		}
	}
}
