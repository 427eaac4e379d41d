package adminapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"aigateway/adminapi"
	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
	"aigateway/internal/goldentest"
)

func TestAuthentication(t *testing.T) {
	w := newWorld(t)
	for _, route := range adminapi.Routes() {
		method, path, _ := strings.Cut(route, " ")
		path = strings.ReplaceAll(path, "{id}", "x")
		a := w.do("", method, path, "")
		w.wantError(a, 401, "key_missing", "authorization")
		if a.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: WWW-Authenticate is %q", route, a.header.Get("WWW-Authenticate"))
		}
		w.wantError(w.do("sk-aig-unknown", method, path, ""), 401, "key_invalid", "authorization")
	}
	for _, header := range []string{"sk-aig-admin", "Basic sk-aig-admin", "Bearer sk-aig-admin x", "Bearer sk-other", "Bearer", "Bearer sk-aig-\x80\xff", strings.Repeat("B", 10000)} {
		w.wantError(w.do("", "GET", "/v1/models", "", "Authorization", header), 401, "key_invalid", "authorization")
	}
	for _, sent := range [][]string{
		{"Bearer " + admin, "Bearer " + admin}, {"Bearer sk-other", "Bearer " + admin},
		{"Bearer " + admin + ",Bearer " + admin}, {"Bearer sk-other,Bearer " + admin}, // as Envoy joins them
	} {
		r := httptest.NewRequest("GET", "/v1/models", nil)
		r.Header["Authorization"] = sent
		a := w.serve(r)
		w.wantError(a, 401, "key_invalid", "authorization")
		if !strings.Contains(a.body, "send one Authorization header with one key") || strings.Contains(a.body, admin) {
			t.Errorf("%q is answered with %s", sent, a.body)
		}
	}
	if a := w.do("", "GET", "/v1/models", "", "Authorization", "bearer "+admin); a.status != 200 {
		t.Errorf("a lower-case scheme was refused: %s", a.body)
	}
	// A forwarded metadata header is no door.
	w.wantError(w.do("", "GET", "/v1/models", "", "Grpc-Metadata-Authorization", "Bearer "+admin), 401, "key_missing", "authorization")
}

// TestOneKeyInTwoHeaders: both doors take a key in either header, and in both
// where it is the same.
func TestOneKeyInTwoHeaders(t *testing.T) {
	w := newWorld(t)
	models := aigatewayv1.NewModelServiceClient(w.dial())
	for _, tt := range []struct {
		name             string
		bearers, apiKeys []string
		reason           string // empty: taken
		field            string
	}{
		{"x-api-key alone", nil, []string{admin}, "", ""},
		{"the same", []string{"Bearer " + admin}, []string{admin}, "", ""},
		{"the same, scheme in lower case", []string{"bearer " + admin}, []string{admin}, "", ""},
		{"the same, two blanks", []string{"Bearer  " + admin}, []string{admin}, "", ""},
		{"two blanks alone", []string{"Bearer  " + admin}, nil, "", ""},
		{"different", []string{"Bearer " + admin}, []string{finance}, "key_invalid", "authorization"},
		{"a provider's", []string{"Bearer " + admin}, []string{"sk-ant-1"}, "key_invalid", "authorization"},
		{"a prefix", []string{"Bearer " + admin}, []string{admin[:len(admin)-1]}, "key_invalid", "authorization"},
		{"one empty", []string{"Bearer " + admin}, []string{""}, "key_invalid", "authorization"},
		{"the other empty", []string{""}, []string{admin}, "key_invalid", "authorization"},
		{"bare in authorization", []string{admin}, []string{admin}, "key_invalid", "authorization"},
		{"basic", []string{"Basic " + admin}, []string{admin}, "key_invalid", "authorization"},
		{"scheme in x-api-key", nil, []string{"Bearer " + admin}, "key_invalid", "x-api-key"},
		{"x-api-key twice", nil, []string{admin, admin}, "key_invalid", "x-api-key"},
		{"joined", nil, []string{admin + "," + admin}, "key_invalid", "x-api-key"},
		{"authorization twice", []string{"Bearer " + admin, "Bearer " + admin}, []string{admin}, "key_invalid", "authorization"},
		{"none", nil, nil, "key_missing", "authorization"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.t = t
			r := httptest.NewRequest("GET", "/v1/models", nil)
			ctx := t.Context()
			for _, v := range tt.bearers {
				r.Header.Add("Authorization", v)
				ctx = metadata.AppendToOutgoingContext(ctx, "authorization", v)
			}
			for _, v := range tt.apiKeys {
				r.Header.Add("X-Api-Key", v)
				ctx = metadata.AppendToOutgoingContext(ctx, "x-api-key", v)
			}
			a := w.serve(r)
			_, err := models.ListModels(ctx, &aigatewayv1.ListModelsRequest{})
			if tt.reason == "" {
				if a.status != 200 || err != nil {
					t.Errorf("REST %d %s, gRPC %v", a.status, a.body, err)
				}
				return
			}
			w.wantError(a, 401, tt.reason, tt.field)
			wantStatus(t, err, codes.Unauthenticated, strings.ToUpper(tt.reason), tt.field)
			if strings.Contains(a.body, admin) || strings.Contains(err.Error(), admin) {
				t.Errorf("the answer has the key: %s, %v", a.body, err)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	w := newWorld(t)
	const limited = "sk-aig-limited"
	w.store.keys[limited] = budget.Key{ID: "key_l", Name: "limited", Scopes: []budget.Scope{budget.ScopeAdmin}, AllowedTags: []budget.TagPattern{"team/a/**"}, CreateTime: instant}
	need := map[string]string{ // route prefix: the narrow key that may use it
		"/v1/budgets": finance, "/v1/usage": reporter, "/v1/calls": reporter, "/v1/overview": reporter, "/v1/health": reporter, "/v1/books": reporter, "/v1/refusals": reporter, "/v1/keys": admin, "/v1/reservations": admin, "/v1/models": "any",
		"/v1/adjustments": admin, "/v1/audit": admin, "/v1/bills": admin, "/v1/explain": inference,
	}
	for _, route := range adminapi.Routes() {
		method, path, _ := strings.Cut(route, " ")
		allowed := ""
		for prefix, key := range need {
			if strings.HasPrefix(path, prefix) {
				allowed = key
			}
		}
		if allowed == "" {
			t.Errorf("%s has no row in this test", route)
		}
		body := ""
		if method == "POST" || method == "PATCH" {
			body = `{}`
		}
		for _, key := range []string{admin, reporter, finance, inference} {
			a := w.do(key, method, strings.ReplaceAll(path, "{id}", "x"), body)
			refused := a.status == http.StatusForbidden
			reads := (allowed == finance || path == "/v1/bills") && method == "GET" && key == reporter // who may see what was spent may see caps and bills
			if want := key != admin && key != allowed && allowed != "any" && !reads; refused != want {
				t.Errorf("%s with %s: status %d, want refused: %v", route, key, a.status, want)
			}
			if refused {
				w.wantError(a, 403, "scope_missing", "")
			}
		}
		if allowed == admin { // such a key may be stored, though none is made
			w.wantError(w.do(limited, method, strings.ReplaceAll(path, "{id}", "x"), body), 403, "key_not_allowed", "")
		}
	}
}

// TestTagLimits follows a key that is limited to team/a/** and shared.
func TestTagLimits(t *testing.T) {
	w := newWorld(t)
	w.usage()
	wantJSON(t, w.ok(w.do(teamA, "GET", "/v1/usage/by-tag", ""), "GET /v1/usage/by-tag"), `[
		{"tag":"team/a","requests":2,"cost_cents":300},
		{"tag":"team/a/x","requests":3,"cost_cents":201},
		{"tag":"shared","requests":4,"cost_cents":100}]`)
	wantJSON(t, w.ok(w.do(teamA, "GET", "/v1/usage/by-tag?tag=team/a/x", ""), "GET /v1/usage/by-tag"), `[{"tag":"team/a/x","requests":3,"cost_cents":201}]`)
	for _, tag := range []string{"summarize", "**", "team/**", "team", "team/ab", "shared/**"} {
		w.wantError(w.do(teamA, "GET", "/v1/usage/by-tag?tag="+tag, ""), 403, "tag_not_allowed", "tag")
		w.wantError(w.do(teamA, "GET", "/v1/usage?tag="+tag, ""), 403, "tag_not_allowed", "tag")
		w.wantError(w.do(teamA, "POST", "/v1/budgets", `{"tag":"`+tag+`","monthly_cap_cents":1}`), 403, "tag_not_allowed", "tag")
	}
	// Groups of several allowed patterns are added up, and none is counted twice.
	got := w.ok(w.do(teamA, "GET", "/v1/usage?group_by=key", ""), "GET /v1/usage").(map[string]any)
	if total := got["total"].(map[string]any)["cost_usd"]; total != "6.000000001" {
		t.Errorf("total %v, want 6.000000001", total)
	}
	if rows := got["rows"].([]any); len(rows) != 2 {
		t.Errorf("rows by key: %v", rows)
	}

	for _, body := range []string{`{"tag":"summarize","monthly_cap_cents":1}`, `{"key_id":"key_d","monthly_cap_cents":1}`, `{"tag":"team/a/**","monthly_cap_cents":1}`} {
		w.ok(w.do(admin, "POST", "/v1/budgets", body), "POST /v1/budgets")
	}
	list := w.ok(w.do(teamA, "GET", "/v1/budgets", ""), "GET /v1/budgets").(map[string]any)["budgets"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["id"] != "bud_003" {
		t.Errorf("budgets: %v", list)
	}
	for _, id := range []string{"bud_001", "bud_002"} {
		w.wantError(w.do(teamA, "GET", "/v1/budgets/"+id, ""), 404, "budget_not_found", "")
		w.wantError(w.do(teamA, "PATCH", "/v1/budgets/"+id, `{"monthly_cap_cents":9}`), 404, "budget_not_found", "")
		w.wantError(w.do(teamA, "DELETE", "/v1/budgets/"+id, ""), 404, "budget_not_found", "")
	}
	w.wantError(w.do(teamA, "POST", "/v1/budgets", `{"key_id":"key_d","monthly_cap_cents":1}`), 403, "key_not_allowed", "key_id")
	w.ok(w.do(teamA, "POST", "/v1/budgets", `{"tag":"team/a/x/**","monthly_cap_cents":1}`), "POST /v1/budgets")
	w.ok(w.do(teamA, "PATCH", "/v1/budgets/bud_003", `{"monthly_cap_cents":9}`), "PATCH /v1/budgets/{id}")
}

func TestCovers(t *testing.T) {
	tests := []struct {
		a, p budget.TagPattern
		want bool
	}{
		{"**", "**", true}, {"**", "a/**", true}, {"**", "a", true},
		{"a/**", "**", false}, {"a/**", "a", true}, {"a/**", "a/b", true}, {"a/**", "a/b/**", true}, {"a/**", "a/**", true},
		{"a/**", "ab", false}, {"a/**", "ab/**", false}, {"a/b/**", "a/**", false}, {"a/b/**", "a", false},
		{"a", "a", true}, {"a", "a/**", false}, {"a", "a/b", false}, {"a", "**", false},
	}
	for _, tt := range tests {
		if got := adminapi.Covers(tt.a, tt.p); got != tt.want {
			t.Errorf("covers(%q, %q) = %v", tt.a, tt.p, got)
		}
	}
}

// invalid is a request that is refused for what is in it.
type invalid struct {
	method, target, body string
	status               int
	reason, param        string
}

func invalidRequests() []invalid {
	long := strings.Repeat("x", 65)
	return []invalid{
		{"POST", "/v1/budgets", ``, 400, "body_missing", ""},
		{"POST", "/v1/budgets", ` `, 400, "body_missing", ""},
		{"POST", "/v1/budgets", `{`, 400, "body_not_json", ""},
		{"POST", "/v1/budgets", `{"tag"`, 400, "body_not_json", ""},
		{"POST", "/v1/budgets", `nonsense`, 400, "body_not_json", ""},
		{"POST", "/v1/budgets", `[]`, 400, "field_invalid", ""},
		{"POST", "/v1/budgets", `"a"`, 400, "field_invalid", ""},
		{"POST", "/v1/budgets", `null`, 400, "field_invalid", ""},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":1}{}`, 400, "body_not_json", ""},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":1} x`, 400, "body_not_json", ""},
		{"POST", "/v1/budgets", "{\"tag\":\"\xff\",\"monthly_cap_cents\":1}", 400, "invalid_utf8", ""},
		{"POST", "/v1/budgets", `{"tag":"\ud800","monthly_cap_cents":1}`, 400, "body_not_json", ""},
		{"POST", "/v1/budgets", `{"tag":"a","tag":"b","monthly_cap_cents":1}`, 400, "duplicate_key", "tag"},
		{"POST", "/v1/budgets", `{"tag":"a","t\u0061g":"b","monthly_cap_cents":1}`, 400, "duplicate_key", "tag"},
		{"POST", "/v1/budgets", `{"tag":null,"tag":"b","monthly_cap_cents":1}`, 400, "duplicate_key", "tag"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cent":1}`, 400, "unknown_field", "monthly_cap_cent"},
		{"POST", "/v1/budgets", `{"tag":"a","monthlyCapCents":1}`, 400, "unknown_field", "monthlyCapCents"},
		{"POST", "/v1/budgets", `{"Tag":"a","monthly_cap_cents":1}`, 400, "unknown_field", "Tag"},
		{"POST", "/v1/budgets", `{"budget":{"tag":"a"}}`, 400, "unknown_field", "budget"},
		{"POST", "/v1/budgets", `{}`, 400, "field_invalid", "tag"},
		{"POST", "/v1/budgets", `{"tag":"a"}`, 400, "field_invalid", "monthly_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":null}`, 400, "field_invalid", "monthly_cap_cents"},
		{"POST", "/v1/budgets", `{"monthly_cap_cents":1}`, 400, "field_invalid", "tag"},
		{"POST", "/v1/budgets", `{"tag":"","monthly_cap_cents":1}`, 400, "tag_invalid", "tag"},
		{"POST", "/v1/budgets", `{"tag":"` + long + `","monthly_cap_cents":1}`, 400, "tag_invalid", "tag"},
		{"POST", "/v1/budgets", `{"tag":"a\u0000","monthly_cap_cents":1}`, 400, "tag_invalid", "tag"},
		{"POST", "/v1/budgets", `{"tag":"/**","monthly_cap_cents":1}`, 400, "tag_invalid", "tag"},
		{"POST", "/v1/budgets", `{"tag":7,"monthly_cap_cents":1}`, 400, "field_invalid", "tag"},
		{"POST", "/v1/budgets", `{"tag":{"a":1},"monthly_cap_cents":1}`, 400, "field_invalid", "tag"},
		{"POST", "/v1/budgets", `{"tag":["a"],"monthly_cap_cents":1}`, 400, "field_invalid", "tag"},
		{"POST", "/v1/budgets", `{"tag":"a","key_id":"key_d","monthly_cap_cents":1}`, 400, "field_invalid", "key_id"},
		{"POST", "/v1/budgets", `{"key_id":"key_zzz","monthly_cap_cents":1}`, 400, "field_invalid", "key_id"},
		{"POST", "/v1/budgets", `{"key_id":"","monthly_cap_cents":1}`, 400, "field_invalid", "key_id"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":"1"}`, 400, "field_invalid", "monthly_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":0.5}`, 400, "field_invalid", "monthly_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":1.0}`, 400, "field_invalid", "monthly_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":1e3}`, 400, "field_invalid", "monthly_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":-1}`, 400, "field_invalid", "monthly_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":461168601843}`, 400, "field_invalid", "monthly_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":9223372036854775808}`, 400, "field_invalid", "monthly_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":true}`, 400, "field_invalid", "monthly_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":NaN}`, 400, "body_not_json", ""},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"total_cap_cents":1}`, 400, "field_invalid", "total_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"time_zone":"Mars/Base"}`, 400, "field_invalid", "time_zone"},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"default_max_tool_calls":1001}`, 400, "field_invalid", "default_max_tool_calls"},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"default_max_tokens":-1}`, 400, "field_invalid", "default_max_tokens"},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"default_max_tokens":10000001}`, 400, "field_invalid", "default_max_tokens"},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"time_zone":"Local"}`, 400, "field_invalid", "time_zone"},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"time_zone":"../../etc/passwd"}`, 400, "field_invalid", "time_zone"},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"etag":"x"}`, 400, "field_invalid", "etag"},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"spent":"0.00"}`, 400, "field_invalid", "spent"},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"reserved_cents":0}`, 400, "field_invalid", "reserved_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","daily_cap_cents":1,"period":"day"}`, 400, "field_invalid", "period"},
		{"POST", "/v1/budgets?tag=a", `{"tag":"a","daily_cap_cents":1}`, 400, "unknown_field", "tag"},
		{"POST", "/v1/budgets", `{"tag":"` + strings.Repeat("x", 70_000) + `"}`, 413, "body_too_large", ""},
		{"PATCH", "/v1/budgets/b?update_mask=cap", `{"daily_cap_cents":1}`, 400, "unknown_field", "update_mask"},
		{"GET", "/v1/budgets", `{}`, 400, "body_unexpected", ""},
		{"GET", "/v1/budgets?budget.tag=a", ``, 400, "unknown_field", "budget.tag"},
		{"GET", "/v1/budgets?page_size=x", ``, 400, "field_invalid", "page_size"},
		{"GET", "/v1/budgets?page_size=1&page_size=2", ``, 400, "duplicate_key", "page_size"},
		{"GET", "/v1/budgets?page_size=9999999999", ``, 400, "field_invalid", "page_size"},
		{"GET", "/v1/budgets?tag=", ``, 400, "field_invalid", "tag"},
		{"GET", "/v1/budgets?tag=%ff", ``, 400, "invalid_utf8", "tag"},
		{"GET", "/v1/budgets?%zz", ``, 400, "field_invalid", ""},
		{"GET", "/v1/budgets?a;b", ``, 400, "field_invalid", ""},
		{"GET", "/v1/usage/by-tag?mont=2026-04", ``, 400, "unknown_field", "mont"},
		{"GET", "/v1/usage/by-tag?month=2026-4", ``, 400, "field_invalid", "month"},
		{"GET", "/v1/usage/by-tag?month=2026-13", ``, 400, "field_invalid", "month"},
		{"GET", "/v1/usage/by-tag?month=", ``, 400, "field_invalid", "month"},
		{"GET", "/v1/usage/by-tag?month=0001-01", ``, 400, "field_invalid", "month"},
		{"GET", "/v1/usage/by-tag?month=9999-12", ``, 400, "field_invalid", "month"},
		{"GET", "/v1/usage/by-tag?format=csv", ``, 400, "unknown_field", "format"},
		{"GET", "/v1/usage/by-tag?tag=" + long, ``, 400, "tag_invalid", "tag"},
		{"GET", "/v1/usage/by-tag?tag=a&tag=b", ``, 400, "duplicate_key", "tag"},
		{"GET", "/v1/usage?group_by=colour", ``, 400, "field_invalid", "group_by"},
		{"GET", "/v1/usage?group_by=tag&group_by=tag", ``, 400, "field_invalid", "group_by"},
		{"GET", "/v1/usage?group_by=,", ``, 400, "field_invalid", "group_by"},
		{"GET", "/v1/usage?from=yesterday", ``, 400, "field_invalid", "from"},
		{"GET", "/v1/usage?from=2026-04-01T00:01:00Z", ``, 400, "field_invalid", "from"},
		{"GET", "/v1/usage?from=2026-05&to=2026-04", ``, 400, "field_invalid", "from"},
		{"GET", "/v1/usage?from=2026-04&to=2026-04", ``, 400, "field_invalid", "from"},
		{"GET", "/v1/usage?to=2300-01", ``, 400, "field_invalid", "to"},
		{"GET", "/v1/usage?from=0001-01-01&time_zone=America/New_York", ``, 400, "field_invalid", "from"},
		{"GET", "/v1/usage?time_zone=Nowhere", ``, 400, "field_invalid", "time_zone"},
		{"GET", "/v1/usage?format=xml", ``, 400, "field_invalid", "format"},
		{"GET", "/v1/usage?format=csv&format=csv", ``, 400, "duplicate_key", "format"},
		{"POST", "/v1/keys", `{}`, 400, "field_invalid", "name"},
		{"POST", "/v1/keys", `{"name":"` + long + `","scopes":["usage"]}`, 400, "field_invalid", "name"},
		{"POST", "/v1/keys", `{"name":"a\nb","scopes":["usage"]}`, 400, "field_invalid", "name"},
		{"POST", "/v1/keys", `{"name":"a"}`, 400, "field_invalid", "scopes"},
		{"POST", "/v1/keys", `{"name":"a","scopes":[]}`, 400, "field_invalid", "scopes"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"default_max_tool_calls":-5}`, 400, "field_invalid", "default_max_tool_calls"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"default_max_tokens":-5}`, 400, "field_invalid", "default_max_tokens"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["root"]}`, 400, "field_invalid", "scopes"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage","usage"]}`, 400, "field_invalid", "scopes"},
		{"POST", "/v1/keys", `{"name":"a","scopes":"usage"}`, 400, "field_invalid", "scopes"},
		{"POST", "/v1/keys", `{"name":"a","scopes":[null]}`, 400, "field_invalid", "scopes"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"secret":"x"}`, 400, "unknown_field", "secret"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"id":"key_a"}`, 400, "field_invalid", "id"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"allowed_tags":[""]}`, 400, "tag_invalid", "allowed_tags"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage","admin"],"allowed_tags":["a"]}`, 400, "field_invalid", "allowed_tags"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"allowed_tags":["a"],"default_tag":"b"}`, 400, "field_invalid", "default_tag"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"default_tag":"` + long + `"}`, 400, "tag_invalid", "default_tag"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"default_tag":"` + long[:62] + `/**"}`, 400, "tag_invalid", "default_tag"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"allowed_models":["gpt"]}`, 400, "field_invalid", "allowed_models"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"allowed_models":["*"]}`, 400, "field_invalid", "allowed_models"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"allowed_models":["openai/gpt-*"]}`, 400, "field_invalid", "allowed_models"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"allowed_models":["` + strings.Repeat(`a/b","`, 200) + `a/b"]}`, 400, "field_invalid", "allowed_models"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"allowed_tags":["` + strings.Repeat(`a","`, 200) + `a"]}`, 400, "field_invalid", "allowed_tags"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"expire_time":"2020-01-01T00:00:00Z"}`, 400, "field_invalid", "expire_time"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"expire_time":"9000-01-01T00:00:00Z"}`, 400, "field_invalid", "expire_time"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"expire_time":"soon"}`, 400, "field_invalid", "expire_time"},
		{"POST", "/v1/keys", `{"name":"a","scopes":["usage"],"expire_time":1}`, 400, "field_invalid", "expire_time"},
		{"GET", "/v1/reservations?page_size=-5", ``, 400, "field_invalid", "page_size"},
		{"POST", "/v1/adjustments", `{"budget_id":"bud_1","tag":"a","amount":"1","reason":"r","request_id":"i"}`, 400, "field_invalid", "budget_id"},
		{"POST", "/v1/adjustments", `{"tag":"a","reason":"r","request_id":"i"}`, 400, "field_invalid", "amount"},
		{"POST", "/v1/adjustments", `{"tag":"a","amount":"1e3","reason":"r","request_id":"i"}`, 400, "field_invalid", "amount"},
		{"POST", "/v1/adjustments", `{"tag":"a","amount":1,"reason":"r","request_id":"i"}`, 400, "field_invalid", "amount"},
		{"POST", "/v1/adjustments", `{"tag":"a","amount":"1","reason":"r","request_id":"i","actor":"me"}`, 400, "field_invalid", "actor"},
		{"POST", "/v1/adjustments", `{"tag":"a","amount":"1","reason":"r","request_id":"i","why":"x"}`, 400, "unknown_field", "why"},
		{"GET", "/v1/adjustments?page_token=x", ``, 400, "field_invalid", "page_token"},
		{"GET", "/v1/audit?page_token=MTph", ``, 400, "field_invalid", "page_token"},
		{"GET", "/v1/models?limit=5", ``, 400, "unknown_field", "limit"},
	}
}

func TestValidation(t *testing.T) {
	w := newWorld(t)
	for _, tt := range invalidRequests() {
		t.Run(clip(tt.method+" "+tt.target+" "+tt.body), func(t *testing.T) {
			w.t = t
			w.wantError(w.do(admin, tt.method, tt.target, tt.body), tt.status, tt.reason, tt.param)
		})
	}
	if len(w.store.budgets) > 0 || w.store.sequence > 0 {
		t.Errorf("a refused request changed something: %v", w.store.budgets)
	}
}

// TestWording holds what errors say; other tests look at their reason and field
// only.
func TestWording(t *testing.T) {
	w := newWorld(t)
	var said strings.Builder
	say := func(method, target, body string, a answer) {
		var e struct{ Error struct{ Message string } }
		if err := json.Unmarshal([]byte(a.body), &e); err != nil {
			t.Fatalf("%s: %v", a.body, err)
		}
		fmt.Fprintf(&said, "%s\n\t%d %s\n", clip(fmt.Sprintf("%s %q %q", method, target, body)), a.status, e.Error.Message)
	}
	for _, tt := range invalidRequests() {
		say(tt.method, tt.target, tt.body, w.do(admin, tt.method, tt.target, tt.body))
	}
	say("GET", "/v1/models", "no key", w.do("", "GET", "/v1/models", ""))
	say("GET", "/v1/models", "an unknown key", w.do("sk-aig-unknown", "GET", "/v1/models", ""))
	say("GET", "/v1/budgets/bud_x", "", w.do(admin, "GET", "/v1/budgets/bud_x", ""))
	say("GET", "/none", "", w.do(admin, "GET", "/none", ""))
	goldentest.Equal(t, "testdata/errors.golden", said.String())
}

func clip(s string) string { return s[:min(len(s), 80)] }

func TestContentTypes(t *testing.T) {
	w := newWorld(t)
	const body = `{"tag":"a","monthly_cap_cents":1}`
	for _, media := range []string{"application/json", "application/json; charset=UTF-8", "Application/JSON"} {
		w.ok(w.do(admin, "POST", "/v1/budgets", body, "Content-Type", media), "POST /v1/budgets")
	}
	// `curl -d` calls JSON a form, others call it nothing; it is read all the same.
	for _, media := range []string{"", "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "application/octet-stream", "application/jsonp", ";"} {
		w.ok(w.do(admin, "POST", "/v1/budgets", body, "Content-Type", media), "POST /v1/budgets")
		w.ok(w.do("", "POST", "/v1/budgets", body, "Content-Type", media, "X-Api-Key", admin), "POST /v1/budgets")
		// A browser has to say what it sends: a form needs no one's leave.
		for _, sign := range [][2]string{{"Cookie", "session=1"}, {"Cookie", ""}, {"Origin", "https://evil.test"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-origin"}} {
			w.wantError(w.do(admin, "POST", "/v1/budgets", body, "Content-Type", media, sign[0], sign[1]), 400, "content_type_unsupported", "content-type")
		}
		w.wantError(w.do("", "POST", "/v1/budgets", body, "Content-Type", media, "Cookie", "key="+admin), 401, "key_missing", "authorization")
	}
	w.ok(w.do(admin, "POST", "/v1/budgets", body, "Origin", "https://page.test", "Cookie", "a=b"), "POST /v1/budgets")
	for _, media := range []string{"application/json; charset=latin1", "text/plain; charset=utf-16", "application/json,text/plain", "multipart/form-data; boundary=x", "Multipart/Mixed"} {
		w.wantError(w.do(admin, "POST", "/v1/budgets", body, "Content-Type", media), 400, "content_type_unsupported", "content-type")
	}
	w.wantError(w.do(admin, "POST", "/v1/budgets", "tag=a&monthly_cap_cents=1", "Content-Type", "application/x-www-form-urlencoded"), 400, "body_not_json", "")
	w.wantError(w.do(admin, "POST", "/v1/budgets", body, "Content-Encoding", "gzip"), 400, "content_encoding_unsupported", "content-encoding")
}

func TestUnknownRoutes(t *testing.T) {
	w := newWorld(t)
	for _, target := range []string{
		"/", "/v1", "/v1/", "/v2/budgets", "/v1/budgets//", "//v1/budgets", "/v1//budgets", "/v1/budgets/a/b", "/v1/usage//", "/v1/usage/by-tag//",
		"/V1/budgets", "/v1/Budgets", "/v1/./budgets", "/v1/../v1/budgets", "/openapi.json/", "/healthz/x", "/metrics/", "*", "", "v1/budgets", "/v1/budgets/\xff",
		"/" + strings.Repeat("a", 20_000), "/aigateway.v1.BudgetService/ListBudgets", "/favicon.ico", "/v1/models//kimi-k2.6",
	} {
		w.wantError(w.do(admin, "GET", target, ""), 404, "route_unknown", "")
	}
	for _, target := range []string{"/v1/budgets", "/v1/usage/by-tag", "/v1/keys", "/v1/models"} {
		if plain, slash := w.do(admin, "GET", target, ""), w.do(admin, "GET", target+"/", ""); slash.status != 200 || slash.body != plain.body {
			t.Errorf("%s/: %d %s, without the slash %d %s", target, slash.status, slash.body, plain.status, plain.body)
		}
	}
	for _, target := range []string{"/v1/budgets", "/v1/budgets/bud_1", "/v1/usage/by-tag", "/v1/keys", "/v1/models", "/openapi.json", "/healthz", "/readyz", "/metrics", "/none"} {
		for _, method := range []string{"HEAD", "OPTIONS", "PUT", "TRACE", "CONNECT", "LOCK", "get", strings.Repeat("M", 5000)} {
			if method == "HEAD" && target == "/v1/models" {
				continue // vendors' SDKs may ask so
			}
			a := w.do(admin, method, target, "")
			w.wantError(a, 404, "route_unknown", "")
			if errorType, _, _ := envelope(t, a); errorType != "not_found" {
				t.Errorf("%s %s: type %s", method, target, errorType)
			}
		}
	}
	w.wantError(w.do(admin, "POST", "/v1/usage/by-tag", "{}"), 404, "route_unknown", "")
	w.wantError(w.do(admin, "POST", "/v1/models", "a=b", "X-HTTP-Method-Override", "GET", "Content-Type", "application/x-www-form-urlencoded"), 404, "route_unknown", "")
}

func TestStoreTrouble(t *testing.T) {
	w := newWorld(t)
	w.store.fail = fmt.Errorf("set budget: %w", budget.Unavailable("store_unavailable", "the ledger stopped; try again", errors.New("disk full at /secret/path")))
	a := w.do(finance, "POST", "/v1/budgets", `{"tag":"a","monthly_cap_cents":1}`)
	w.wantError(a, 503, "store_unavailable", "")
	if a.header.Get("X-Should-Retry") != "true" {
		t.Errorf("x-should-retry is %q", a.header.Get("X-Should-Retry"))
	}
	if strings.Contains(a.body, "secret/path") || !strings.Contains(w.log.String(), "secret/path") {
		t.Error("the cause belongs in the log and not in the answer")
	}
	w.store.fail = errors.New("no such table: budgets")
	for _, target := range []string{"/v1/budgets", "/v1/usage", "/v1/usage/by-tag", "/v1/keys"} {
		a := w.do(admin, "GET", target, "")
		w.wantError(a, 500, "internal", "")
		if strings.Contains(a.body, "table") {
			t.Errorf("%s shows internals: %s", target, a.body)
		}
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	w := newWorld(t)
	w.store.panics = true
	w.wantError(w.do(admin, "GET", "/v1/usage", ""), 500, "internal", "")
	w.wantError(w.do(admin, "GET", "/v1/budgets/bud_1", ""), 500, "internal", "")
	if !strings.Contains(w.log.String(), "store exploded") {
		t.Error("the panic is not in the log")
	}
	w.store.panics = false
	w.ok(w.do(admin, "GET", "/v1/models", ""), "GET /v1/models")
}

func TestRequestID(t *testing.T) {
	w := newWorld(t)
	a := w.do(admin, "GET", "/v1/budgets/none", "", "X-Request-Id", "abc-1")
	if !strings.Contains(a.body, `"request_id":"abc-1"`) {
		t.Errorf("no request id in %s", a.body)
	}
	for _, id := range []string{strings.Repeat("a", 200), "a b", "é"} {
		if a := w.do(admin, "GET", "/none", "", "X-Request-Id", id); strings.Contains(a.body, "request_id") {
			t.Errorf("id %q was repeated: %s", id, a.body)
		}
	}
}

func TestOperations(t *testing.T) {
	w := newWorld(t)
	wantJSON(t, decode(t, w.do("", "GET", "/healthz", "").body), `{"status":"ok"}`)
	w.setReady([]adminapi.Condition{{Name: "ledger"}, {Name: "envoy"}}...)
	a := w.do("", "GET", "/readyz", "")
	wantJSON(t, decode(t, a.body), `{"ready":true,"conditions":[{"name":"ledger","ready":true},{"name":"envoy","ready":true}]}`)
	if a.status != 200 {
		t.Errorf("readyz: %d", a.status)
	}
	w.ready[1].Err = errors.New("no listener yet")
	a = w.do("", "GET", "/readyz", "")
	wantJSON(t, decode(t, a.body), `{"ready":false,"conditions":[{"name":"ledger","ready":true},{"name":"envoy","ready":false,"message":"no listener yet"}]}`)
	if a.status != 503 {
		t.Errorf("readyz: %d", a.status)
	}
	w.ready[1] = adminapi.Condition{Name: "config_file", Warning: errors.New("line 3: a typo")}
	a = w.do("", "GET", "/readyz", "")
	wantJSON(t, decode(t, a.body), `{"ready":true,"conditions":[{"name":"ledger","ready":true},{"name":"config_file","ready":true,"warning":"line 3: a typo"}]}`)
	if a.status != 200 {
		t.Errorf("readyz with a warning: %d", a.status)
	}
	w.do(admin, "GET", "/v1/models", "")
	metrics := w.do(reporter, "GET", "/metrics", "")
	if want := `aig_api_requests_total{code="OK",method="/aigateway.v1.ModelService/ListModels"} 1`; metrics.status != 200 || !strings.Contains(metrics.body, want) {
		t.Errorf("metrics: %d\n%s", metrics.status, metrics.body)
	}
}

// TestMetricsNeedAKey: what they count is everybody's.
func TestMetricsNeedAKey(t *testing.T) {
	w := newWorld(t)
	w.wantError(w.do("", "GET", "/metrics", ""), 401, "key_missing", "authorization")
	w.wantError(w.do("", "GET", "/metrics", "", "Cookie", "key="+admin), 401, "key_missing", "authorization")
	w.wantError(w.do("sk-aig-unknown", "GET", "/metrics", ""), 401, "key_invalid", "authorization")
	w.wantError(w.do("", "GET", "/metrics?key="+admin, ""), 401, "key_missing", "authorization")
	for _, key := range []string{inference, finance, teamA} { // the last is limited to tags
		w.wantError(w.do(key, "GET", "/metrics", ""), 403, "scope_missing", "")
	}
	for _, a := range []answer{w.do(admin, "GET", "/metrics", ""), w.do(reporter, "GET", "/metrics", ""), w.do("", "GET", "/metrics", "", "X-Api-Key", reporter)} {
		if a.status != 200 || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
			t.Errorf("metrics: %d %s", a.status, a.header.Get("Content-Type"))
		}
	}
}

// TestRealHTTP sends what httptest cannot: bytes on a socket.
func TestRealHTTP(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.server.REST())
	defer server.Close()
	target := server.URL + "/v1/budgets/" + url.PathEscape("team/a b")
	r, err := http.NewRequest("GET", target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+admin)
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	w.wantError(answer{resp.StatusCode, resp.Header, string(body)}, 404, "route_unknown", "")

	head, err := server.Client().Head(server.URL + "/v1/budgets")
	if err != nil {
		t.Fatal(err)
	}
	_ = head.Body.Close()
	if head.StatusCode != 404 || head.Header.Get("Content-Type") != "application/json" {
		t.Errorf("HEAD: %d %s", head.StatusCode, head.Header.Get("Content-Type"))
	}
}

// TestErrorsNameWhatToSend pins remedies that would be easy to get wrong.
func TestErrorsNameWhatToSend(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct{ method, target, body, want string }{
		{"POST", "/v1/budgets", `{"tag":"a","cap":"5.00"}`, "send monthly_cap_cents, daily_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a","period":"day","daily_cap_cents":1}`, "send monthly_cap_cents, daily_cap_cents"},
		{"POST", "/v1/budgets", `{"tag":"a/*","daily_cap_cents":1}`, "/**"},
		{"GET", "/v1/usage?from=0001-01-01&time_zone=America/New_York", ``, "from 2000 to 2199"},
	} {
		if got := w.do(admin, tt.method, tt.target, tt.body).body; !strings.Contains(got, tt.want) {
			t.Errorf("%s %s %s: %s, want %q in it", tt.method, tt.target, tt.body, got, tt.want)
		}
	}
}
