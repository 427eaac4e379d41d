package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestKeySentTwice sends more than one key, through Envoy, which joins some of
// the headers that are there twice, and to the REST door: the refusal names the
// header and what to send, and repeats no key.
func TestKeySentTwice(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	const other = "sk-other-0123456789"
	ours, theirs := "Bearer "+adminKey, "Bearer "+other
	auth := func(values ...string) http.Header { return http.Header{"Authorization": values} }
	chat := chatBody("fake/m1", "twice", "hello", `,"max_tokens":9`)
	for _, call := range []struct{ method, url, body string }{
		{http.MethodPost, g.url + "/v1/chat/completions", chat},
		{http.MethodPost, g.url + "/v1/messages", chat},
		{http.MethodPost, g.url + "/v1/explain", `{"body":` + chat + `}`},
		{http.MethodGet, g.url + "/v1/budgets", ""},
		{http.MethodGet, g.rest + "/v1/budgets", ""},
	} {
		messages := strings.HasSuffix(call.url, "/messages")
		for name, tt := range map[string]struct {
			header http.Header
			want   string
		}{
			"the same twice": {auth(ours, ours), "send one Authorization header"},
			"theirs first":   {auth(theirs, ours), "send one Authorization header"},
			"theirs last":    {auth(ours, theirs), "send one Authorization header"},
			"two schemes":    {auth("Basic Zm9vOmJhcg==", ours), "send one Authorization header"},
			"in one header":  {auth(ours + ", " + theirs), "send one Authorization header"},
			"x-api-key, too": {http.Header{"Authorization": {ours}, "X-Api-Key": {other}}, "x-api-key"},
			"x-api-key twice": {http.Header{"Authorization": nil, "X-Api-Key": {adminKey, other}},
				"send one x-api-key header"},
		} {
			sends := tt.header["X-Api-Key"] != nil
			if sends && len(tt.header["X-Api-Key"]) > 1 && strings.HasSuffix(call.url, "/completions") {
				continue // alone, no header of this one
			}
			r := g.try(call.method, call.url, call.body, tt.header)
			e := wantError(t, r, http.StatusUnauthorized, "authentication_error")
			if !strings.Contains(e.Error.Message, tt.want) || (e.Type == "error") != messages {
				t.Errorf("%s, %s: %s, want %q", call.url, name, r.body, tt.want)
			}
			if text := string(r.body); strings.Contains(text, adminKey) || strings.Contains(text, other) {
				t.Errorf("%s, %s: the answer has a key: %s", call.url, name, text)
			}
		}
	}
	if n := g.doors["fake"].came("twice"); n > 0 {
		t.Errorf("%d refused calls were sent", n)
	}
	for _, call := range []struct{ method, url, body string }{
		{http.MethodPost, g.url + "/v1/chat/completions", chat},
		{http.MethodPost, g.url + "/v1/explain", `{"body":` + chat + `}`},
		{http.MethodGet, g.url + "/v1/budgets", ""},
		{http.MethodGet, g.rest + "/v1/budgets", ""},
	} {
		if r := g.try(call.method, call.url, call.body, http.Header{"Authorization": {ours}, "X-Api-Key": {adminKey}}); r.status != http.StatusOK {
			t.Errorf("%s with one key in both headers: %d %s %v", call.url, r.status, r.body, r.err)
		}
	}
}

// TestJSONByAnyName sends bodies as `curl -d '{…}'` does: as forms, or without a
// content type, through Envoy and to the REST door. The provider is a strict one
// and gets application/json. A browser's form gets nothing.
func TestJSONByAnyName(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	for _, name := range []string{"", "application/x-www-form-urlencoded", "text/plain;charset=UTF-8", "application/octet-stream"} {
		as := func(more ...string) http.Header {
			h := http.Header{"Content-Type": {name}, "X-Aig-Tag": {"named"}}
			if name == "" {
				h["Content-Type"] = nil
			}
			for i := 0; i+1 < len(more); i += 2 {
				h.Set(more[i], more[i+1])
			}
			return h
		}
		for _, door := range []string{g.url, g.rest} {
			if r := g.try(http.MethodPost, door+"/v1/budgets", `{"tag":"named","monthly_cap_cents":50000}`, as()); r.status != http.StatusOK {
				t.Errorf("%s/v1/budgets as %q: %d %s %v", door, name, r.status, r.body, r.err)
			}
			for _, sign := range []string{"Cookie", "Origin", "Sec-Fetch-Site"} {
				r := g.try(http.MethodPost, door+"/v1/budgets", `{"tag":"named","monthly_cap_cents":1}`, as(sign, "x"))
				wantError(t, r, http.StatusBadRequest, "invalid_request_error")
			}
		}
		for _, text := range []string{"hello", strings.Repeat("long ", 60_000)} { // in one check, and in two
			r := g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "named", text, `,"max_tokens":9`), as())
			if r.status != http.StatusOK {
				t.Errorf("a call of %d bytes as %q: %d %s %v", len(text), name, r.status, r.body, r.err)
			}
		}
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
}
