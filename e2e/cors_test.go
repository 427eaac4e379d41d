package e2e_test

import (
	"net/http"
	"testing"
)

// A page of a listed origin may call models and read every answer, refusals
// above all; other pages may not, and nothing of it holds for the admin API.
func TestPagesOfListedOrigins(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	const page, other = "https://app.example.com", "https://evil.example.com"
	g.settings["Extra"] = "cors: {allowed_origins: [\"" + page + "\"]}"
	g.writeConfig()
	g.startRun()
	g.setBudget("broke", 0)
	const chat = `{"model":"fake/m1","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`
	stranger := http.Header{"Authorization": {"Bearer sk-aig-wrong"}}
	for _, tt := range []struct {
		name, method, path, body string
		header                   http.Header
		status                   int
	}{
		{"answered", "POST", "/v1/chat/completions", chat, tagged("page"), 200},
		{"refused", "POST", "/v1/chat/completions", chat, tagged("broke"), 402},
		{"no body", "POST", "/v1/chat/completions", "{", tagged("page"), 400},
		{"a stranger", "POST", "/v1/chat/completions", chat, stranger, 401},
		{"a provider's refusal", "POST", "/v1/chat/completions", `{"model":"fake/none","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`, tagged("page"), 404},
		{"models", "GET", "/v1/models", "", tagged("page"), 200},
		{"a stranger's models", "GET", "/v1/models", "", stranger, 401},
		{"a response of nobody", "GET", "/v1/responses/resp_none", "", tagged("page"), 404},
	} {
		for origin, want := range map[string]string{page: page, other: ""} {
			h := tt.header.Clone()
			h.Set("Origin", origin)
			r := g.insist(tt.method, g.url+tt.path, tt.body, h)
			if r.status != tt.status || r.header.Get("Access-Control-Allow-Origin") != want || (r.header.Get("Access-Control-Expose-Headers") == "*") != (want != "") {
				t.Errorf("%s from %s: %d %v %s", tt.name, origin, r.status, r.header, r.body)
			}
		}
	}
	ask := http.Header{"Origin": {page}, "Access-Control-Request-Method": {"GET"}}
	for _, url := range []string{g.url + "/v1/budgets", g.url + "/v1/keys", g.rest + "/v1/models"} {
		if r := g.insist(http.MethodOptions, url, "", ask); r.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("preflight of %s: %d %v", url, r.status, r.header)
		}
	}
}
