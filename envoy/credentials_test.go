package envoy_test

import (
	"strings"
	"testing"

	lua "github.com/yuin/gopher-lua"

	"aigateway/envoy"
)

// TestCheckToken: what Envoy would take for no token, and never ask again after,
// is an error, and of errors only the code is left.
func TestCheckToken(t *testing.T) {
	const good = `200 {"access_token":"a.b-c_d~e+f/g==","expires_in":3600,"token_type":"Bearer"}`
	for answer, want := range map[string]string{
		`200 {"access_token":"a.b-c_d~e+f/g==","expires_in":3600}`:                                                good,
		`200 {"token_type":"bearer","expires_in" : "3600", "ext_expires_in":1,"access_token": "a.b-c_d~e+f/g=="}`: good,
		"200 {\n \"expires_in\": 3600.0,\n \"access_token\":\"a.b-c_d~e+f/g==\"":                                  good,
		`200 `:     "502 no token ",
		`200 null`: "502 no token ",
		`200 {"access_token":"","expires_in":3600}`:                                  "502 no token ",
		`200 {"access_token":"a b","expires_in":3600}`:                               "502 no token ",
		`200 {"access_token":"a\r\nx: y","expires_in":3600}`:                         "502 no token ",
		`200 {"access_token":"a","expires_in":0}`:                                    "502 no token ",
		`200 {"access_token":"a","expires_in":1}`:                                    "502 no token ",
		`200 {"access_token":"a","expires_in":-5}`:                                   "502 no token ",
		`200 {"access_token":"a","expires_in":1e400}`:                                "502 no token ",
		`200 {"access_token":"a","expires_in":99999999999999999999}`:                 "502 no token ",
		`200 {"access_token":"` + strings.Repeat("a", 20<<10) + `","expires_in":9}`:  "502 no token ",
		`200 {"error":"invalid_scope"}`:                                              "502 invalid_scope ",
		`401 {"error":"invalid_client","error_description":"AADSTS7000215: secret"}`: "401 invalid_client AADSTS7000215",
		`500 secret`: "500 no token ",
	} {
		if got := checkToken(t, answer); got != want {
			t.Errorf("%.80s\n got %.200s\nwant %.200s", answer, got, want)
		}
	}
}

// TestCheckTokenIsBounded gives it a megabyte of what its patterns begin with.
func TestCheckTokenIsBounded(t *testing.T) {
	for _, piece := range []string{`"access_token"   `, `"access_token":"a`, `"access_token":`, `"expires_in" :`, `"error":"a`, "AADSTS", " ", "a", "="} {
		if got := checkToken(t, "200 "+strings.Repeat(piece, (1<<20)/len(piece))); !strings.HasPrefix(got, "502") {
			t.Errorf("%q: %.100s", piece, got)
		}
	}
}

// checkToken gives the filter an answer, its status before its body.
func checkToken(t *testing.T, answer string) string {
	t.Helper()
	l := lua.NewState()
	defer l.Close()
	status, body, _ := strings.Cut(answer, " ")
	l.SetGlobal("status", lua.LString(status))
	l.SetGlobal("text", lua.LString(body))
	script := envoy.CheckToken().GetDefaultSourceCode().GetInlineString()
	if err := l.DoString(script + `
local headers = { get = function(_, name) return status end, replace = function(_, name, value) status = value end }
local body = { length = function() return #text end, getBytes = function(_, at, n) return text:sub(at + 1, at + n) end, setBytes = function(_, s) text = s end }
envoy_on_response({ headers = function() return headers end, body = function() return body end })
`); err != nil {
		t.Fatal(err)
	}
	return l.GetGlobal("status").String() + " " + l.GetGlobal("text").String()
}
