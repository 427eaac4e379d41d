package adminapi_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"aigateway/adminapi"
	aigatewayv1 "aigateway/api/gen/aigateway/v1"
)

// FuzzCheckBody: what the strict check lets pass, protojson takes as well, so
// that the gateway behind it has nothing left to refuse.
func FuzzCheckBody(f *testing.F) {
	for _, seed := range []string{
		`{"tag":"a","monthly_cap_cents":1}`, `{"name":"a","scopes":["usage"],"expire_time":"2027-01-01T00:00:00.5Z"}`,
		`{"tag":null}`, `{"allowed_tags":[]}`, `{"tag":"\ud83d\ude00"}`, `{"expire_time":"2027-01-01T00:00:00+01:00"}`, `[]`, `{"total_cap_cents":-0}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, m := range []proto.Message{&aigatewayv1.Budget{}, &aigatewayv1.Key{}} {
			clean, err := adminapi.CheckBody([]byte(body), m.ProtoReflect().Descriptor())
			if err != nil {
				continue
			}
			if err := protojson.Unmarshal(clean, m); err != nil {
				t.Errorf("%q passed as %q, and protojson says: %v", body, clean, err)
			}
			if _, err := proto.Marshal(m); err != nil {
				t.Errorf("%q passed and cannot be sent: %v", body, err)
			}
		}
	})
}

// FuzzREST: whatever is sent, the answer is no 5xx, and an error is in the
// envelope.
func FuzzREST(f *testing.F) {
	f.Add(0, "/v1/budgets", "page_size=1", `{"tag":"a","monthly_cap_cents":1}`)
	f.Add(1, "/v1/budgets", "", `{"tag":"a","monthly_cap_cents":1}`)
	f.Add(2, "/v1/budgets/bud_001", "", `{"monthly_cap_cents":1}`)
	f.Add(3, "/v1/budgets/bud_001", "etag=x", ``)
	f.Add(0, "/v1/usage", "from=2026-04&to=2026-05&group_by=tag,day&time_zone=Europe/Berlin&format=csv", ``)
	f.Add(0, "/v1/usage/by-tag", "month=2026-04&tag=a/**", ``)
	f.Add(1, "/v1/keys", "", `{"name":"a","scopes":["usage"]}`)
	f.Fuzz(func(t *testing.T, method int, path, query, body string) {
		w := newWorld(t)
		w.usage()
		methods := []string{"GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS"}
		r := httptest.NewRequest(methods[(method%len(methods)+len(methods))%len(methods)], "/", strings.NewReader(body))
		setTarget(r, path)
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "Bearer "+admin)
		r.Header.Set("Content-Type", "application/json")
		a := w.serve(r)
		if a.status >= 500 {
			t.Errorf("status %d: %s", a.status, a.body)
		}
		if a.status >= 300 && strings.HasPrefix(path, "/v1") {
			envelope(t, a)
		}
	})
}
