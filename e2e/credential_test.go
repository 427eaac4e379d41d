package e2e_test

import (
	"net/http"
	"strings"
	"testing"
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
			if sends && (call.method == http.MethodGet || strings.HasSuffix(call.url, "/explain")) || len(tt.header["X-Api-Key"]) > 1 && !messages {
				continue // not a header of these
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
}
