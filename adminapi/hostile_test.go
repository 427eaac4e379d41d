package adminapi_test

import (
	"strings"
	"testing"

	"aigateway/adminapi"
	"aigateway/budget"
)

// TestHostileTable sends every combination of hostile parts to every route:
// never a 5xx, never an answer that is no JSON, never a change without a right.
func TestHostileTable(t *testing.T) {
	w := newWorld(t)
	w.usage()
	w.ok(w.do(admin, "POST", "/v1/budgets", `{"tag":"keep","monthly_cap_cents":5}`), "POST /v1/budgets")
	bodies := []string{
		"", " ", "\x00", "{", "}", "[]", "[[[[", "{}", "null", "true", "1", `"x"`, "{\"\":1}", `{"tag":{}}`, `{"tag":"\u0000"}`, `{"name":[]}`,
		`{"monthly_cap_cents":1e400}`, `{"monthly_cap_cents":-0}`, `{"monthly_cap_cents":01}`, `{"scopes":[[]]}`, `{"expire_time":"0000-00-00T00:00:00Z"}`,
		`{"expire_time":"9999-12-31T23:59:59.999999999Z"}`, "\ufeff{}", `{"tag":"a"}` + "\n" + `{"tag":"b"}`, `{/*c*/}`, `{'tag':'a'}`, "{\"tag\":\"\xc3\"}",
		strings.Repeat("[", 5000), strings.Repeat(`{"a":`, 5000), `{"tag":"` + strings.Repeat("\\u00e9", 9000) + `"}`, strings.Repeat("a", 100_000),
		"tag=a&monthly_cap_cents=1", "<xml/>",
	}
	queries := []string{
		"", "?", "?=", "?&&", "?%", "?%00", "?%ff=%ff", "?tag", "?tag=%00", "?tag=%e2%80%ae", "?page_size=1e9", "?page_size=0x10", "?page_size=%2B1", "?page_size=-2147483648",
		"?page_token=" + strings.Repeat("A", 9000), "?page_token=MTo", "?page_token=MTr_", "?group_by=tag,model,provider,key,hour", "?group_by=" + strings.Repeat("tag,", 2000),
		"?from=2026-02-30", "?from=2026-04-01T00:00:00%2B99:99", "?to=9999-12-31", "?to=-1", "?time_zone=..%2F..%2Fetc%2Fpasswd", "?time_zone=%00", "?time_zone=Local",
		"?month=2026-04%0a", "?etag=%22", "?id=other", "?budget.id=1", "?key_id='%20OR%201=1--", "?tag=a&tag=b", "?format=csv&format=json", "?x[y]=1", "?" + strings.Repeat("a=b&", 3000),
	}
	ids := []string{"x", "%", "..", ".", "bud_001x", "\x00", "\n", "é", "a:b", ":verb", "'", "{id}", "*", strings.Repeat("z", 9000), "\xff", " "}
	headers := []string{"", "text/csv", "*/*;q=x", ";;;", strings.Repeat("a,", 4000), "application/grpc", "\x01"}

	count := 0
	send := func(method, path, query, body, accept string) {
		count++
		a := w.do(admin, method, path+query, body, "Accept", accept, "Grpc-Timeout", "1n", "Grpc-Metadata-X-Bin", "!", "X-Forwarded-Host", "\xff",
			"X-HTTP-Method-Override", "DELETE", "Te", "trailers", "Connection", "Upgrade", "Content-Type", "application/json")
		if a.status >= 500 {
			t.Errorf("%s %s %s: status %d: %s", method, clip(path+query), clip(body), a.status, a.body)
		}
		if a.status >= 300 {
			envelope(t, a)
		}
	}
	for _, route := range adminapi.Routes() {
		method, path, _ := strings.Cut(route, " ")
		for _, id := range ids {
			p := strings.ReplaceAll(path, "{id}", id)
			send(method, p, "", `{"monthly_cap_cents":1}`, "")
			if p == path { // no id in it
				break
			}
		}
		p := strings.ReplaceAll(path, "{id}", "none")
		for _, body := range bodies {
			send(method, p, "", body, "")
		}
		for _, query := range queries {
			send(method, p, query, "", "")
		}
		for _, accept := range headers {
			send(method, p, "", "", accept)
		}
	}
	if count < 1000 {
		t.Errorf("only %d inputs", count)
	}
	if len(w.store.budgets) != 1 || w.store.budgets[0].Cap != 5*budget.Cent {
		t.Errorf("hostile input changed budgets: %v", w.store.budgets)
	}
	if len(w.store.keys) != 5 {
		t.Errorf("hostile input changed keys: %d", len(w.store.keys))
	}
	t.Logf("%d inputs", count)
}
