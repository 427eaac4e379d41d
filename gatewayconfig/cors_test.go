package gatewayconfig_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"aigateway/envoy"
)

const (
	page  = "https://app.example.com"
	other = "https://app.example.com.evil.example"
)

func preflight(t *testing.T, d *dataPlane, path, origin string) (int, http.Header) {
	t.Helper()
	code, header, _, err := d.call("OPTIONS", path, "", "", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,x-aig-tag")
	if err != nil {
		t.Fatal(err)
	}
	return code, header
}

// TestPreflights: scripts of a listed page may call whatever costs, lists models
// or is had by an id, and nothing else; other pages' may call nothing.
func TestPreflights(t *testing.T) {
	up := newProvider(t, false)
	file := fmt.Sprintf("providers: {up: {base_url: '%s/v1', api_key: k}}\n", up.URL)
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", file))
	paths := []string{"/v1/chat/completions", "/v1/chat/completions/", "/v1/messages", "/v1/messages/count_tokens", "/v1/responses", "/v1/responses/resp_1", "/v1/responses/resp_1/cancel",
		"/v1/models", "/v1/models/up%2Fm1", "/v1/images/generations", "/v1/audio/transcriptions", "/v2/rerank"}
	for _, path := range paths {
		if code, header := preflight(t, d, path, page); code == 200 || header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("without a list, %s: %d %v", path, code, header)
		}
	}
	d.set(t, snapshot(t, "127.0.0.1:1", "cors: {allowed_origins: ['http://localhost:5173', '"+page+"']}\n"+file))
	poll(t, "the list to be in force", func() bool { code, _ := preflight(t, d, paths[0], page); return code == 200 })
	for _, path := range paths {
		before := len(d.checks())
		code, header := preflight(t, d, path, page)
		if len(d.checks()) != before {
			t.Errorf("the preflight of %s was checked", path)
		}
		if code != 200 || header.Get("Access-Control-Allow-Origin") != page || header.Get("Access-Control-Allow-Headers") != "authorization,x-aig-tag" ||
			header.Get("Access-Control-Allow-Methods") != "GET,HEAD,POST,DELETE" || header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", path, code, header)
		}
		for _, origin := range []string{other, "null", "http://app.example.com", "https://appXexample.com", page + ", " + other, ""} {
			if code, header := preflight(t, d, path, origin); code == 200 || header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s from %q: %d %v", path, origin, code, header)
			}
		}
		// OPTIONS alone asks for nothing.
		if code, header, _, err := d.call("OPTIONS", path, "", "", "Origin", page); code == 200 || err != nil || header.Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("OPTIONS %s: %d %v %v", path, code, header, err)
		}
	}
	for _, path := range []string{"/v1/budgets", "/v1/keys", "/v1/usage/by-tag", "/v1/explain", "/openapi.json", "/none", "/v1/chat", "/v1/modelsx"} {
		if code, header := preflight(t, d, path, page); code == 200 || header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", path, code, header)
		}
	}
}

// TestPagesReadAnswers: what a listed page's script gets, it may read; what a
// provider says of origins never counts.
func TestPagesReadAnswers(t *testing.T) {
	p := newRawProvider(t)
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", fmt.Sprintf("cors: {allowed_origins: ['%s']}\nproviders: {up: {base_url: 'http://%s/v1', api_key: k}}", page, p.Addr())))
	for _, status := range []string{"200 OK", "400 Bad Request", "401 Unauthorized", "429 Too Many Requests", "500 Oops", "307 Temporary Redirect"} {
		p.set(head(status, "Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true", "Access-Control-Expose-Headers: x-evil", "Content-Length: 2") + "{}")
		for origin, want := range map[string]string{page: page, other: "", "": ""} {
			code, header, _, err := d.call("POST", "/v1/chat/completions", "up", "{}", "Origin", origin)
			if err != nil {
				t.Fatal(err)
			}
			exposed := ""
			if want != "" {
				exposed = "*"
			}
			if header.Get("Access-Control-Allow-Origin") != want || len(header.Values("Access-Control-Allow-Origin")) > 1 || header.Get("Access-Control-Allow-Credentials") != "" || header.Get("Access-Control-Expose-Headers") != exposed {
				t.Errorf("%s from %q: %d %v", status, origin, code, header)
			}
		}
	}
	// A provider that is no more, for which Envoy answers itself.
	code, header, body, err := d.call("POST", "/v1/chat/completions", "gone", "{}", "Origin", page)
	if err != nil || code != 503 || !strings.Contains(body, `"provider_not_ready"`) || header.Get("Access-Control-Allow-Origin") != page || header.Get(envoy.HeaderShouldRetry) != "true" {
		t.Errorf("a provider without routes: %d %s %v %v", code, body, header, err)
	}
}

func TestOriginsAreAList(t *testing.T) {
	for _, wrong := range []string{"'*'", "''", "null", "app.example.com", "https://app.example.com/", "https://App.example.com", "https://*.example.com", "https://app.example.com:443", "http://a:80", "ftp://a", "https://u@a", "https://a?b", "https://a#b"} {
		if _, err := parse(t, "cors: {allowed_origins: ["+wrong+"]}"); err == nil || !strings.Contains(err.Error(), "cors.allowed_origins") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	c := mustParse(t, "cors: {allowed_origins: ['https://app.example.com:8443', 'http://[::1]:3000', 'http://localhost']}")
	if len(c.AllowedOrigins) != 3 {
		t.Errorf("%q", c.AllowedOrigins)
	}
	if a, b := snapshot(t, "127.0.0.1:1", "cors: {}"), snapshot(t, "127.0.0.1:1", ""); a.Version() != b.Version() {
		t.Error("an empty list changes routes")
	}
}

// TestManyOrigins: a list is not one expression, which Envoy takes only short.
func TestManyOrigins(t *testing.T) {
	up := newProvider(t, false)
	var list []string
	for i := range 40 {
		list = append(list, fmt.Sprintf("'https://page-%d.example.com'", i))
	}
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", fmt.Sprintf("cors: {allowed_origins: [%s]}\nproviders: {up: {base_url: '%s/v1', api_key: k}}", strings.Join(list, ", "), up.URL)))
	if code, header := preflight(t, d, "/v1/chat/completions", "https://page-39.example.com"); code != 200 {
		t.Errorf("%d %v", code, header)
	}
}
