package e2e_test

import (
	"net/http"
	"strings"
	"testing"
)

// Models by their ids, with slashes as SDKs escape them, in the shape of the
// vendor whose SDK asks; what is escaped leads nowhere else.
func TestModelsOfBothVendors(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	bearer := http.Header{"Authorization": {"Bearer " + adminKey}}
	anthropic := http.Header{"X-Api-Key": {adminKey}, "Anthropic-Version": {"2023-06-01"}}
	for _, tt := range []struct {
		method, path string
		header       http.Header
		status       int
		want         string
	}{
		{"GET", "/v1/models/fake%2Fm1", bearer, 200, `"object":"model"`},
		{"GET", "/v1/models/fake/m1", bearer, 200, `"id":"fake/m1"`},
		{"HEAD", "/v1/models/fake%2Fm1", bearer, 200, ""},
		{"HEAD", "/v1/models", bearer, 200, ""},
		{"GET", "/v1/models?limit=1000", anthropic, 200, `"has_more":`},
		{"GET", "/v1/models/fake%2Fm1?beta=true", anthropic, 200, `"type":"model"`},
		{"GET", "/v1/models/fake%2Fnone", bearer, 404, `"model_unknown"`},
		{"GET", "/v1/models/fake%2Fnone", anthropic, 404, `"not_found_error"`},
		{"GET", "/v1/models/..%2Fbudgets", http.Header{"Authorization": {"Bearer sk-aig-wrong"}}, 401, `"authentication_error"`},
	} {
		r := g.insist(tt.method, g.url+tt.path, "", tt.header)
		if r.status != tt.status || !strings.Contains(strings.ReplaceAll(string(r.body), `": "`, `":"`), tt.want) {
			t.Errorf("%s %s %v: %d %s, want %d %s", tt.method, tt.path, tt.header, r.status, r.body, tt.status, tt.want)
		}
	}
}
