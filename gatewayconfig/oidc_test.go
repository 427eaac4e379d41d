package gatewayconfig_test

import (
	"fmt"
	"strings"
	"testing"

	"aigateway/gatewayconfig"
)

func TestOIDC(t *testing.T) {
	const (
		whole  = "issuer: 'https://login.example.com/r', client_id: c, client_secret: '${SECRET}', redirect_url: 'https://g.example.com/ui/oidc/callback', "
		groups = "groups: [{group: finance, scopes: [usage]}, {group: leads, scopes: [usage, budgets], tags: [a, 'b/**']}]"
	)
	o := mustParse(t, "oidc: {"+whole+groups+", session_for: 8h}", "SECRET", "s3cret").OIDC
	if got := fmt.Sprint(o.Issuer, o.ClientID, o.RedirectURL, o.Scopes, o.UserClaim, o.GroupsClaim, o.SessionFor, o.Groups); got !=
		"https://login.example.com/rchttps://g.example.com/ui/oidc/callback [profile email]emailgroups8h0m0s [{finance [usage] []} {leads [usage budgets] [a b/**]}]" {
		t.Errorf("read %s", got)
	}
	if o.ClientSecret.Reveal() != "s3cret" || strings.Contains(fmt.Sprintf("%+v %#v", o, o), "s3cret") {
		t.Errorf("the secret: %+v", o)
	}
	if c := mustParse(t, ""); c.OIDC.Set() {
		t.Errorf("somebody signs people in by default: %+v", c.OIDC)
	}
	if o := mustParse(t, "oidc: {"+strings.Replace(whole, "client_secret: '${SECRET}', ", "", 1)+groups+"}").OIDC; !o.ClientSecret.Empty() || o.SessionFor != 0 {
		t.Errorf("a public client: %+v", o)
	}
	set := func(old, new string) string {
		text := strings.Replace(whole+groups, old, new, 1)
		if text == whole+groups {
			t.Fatalf("%q is not there", old)
		}
		return text
	}
	for text, want := range map[string]string{
		set("https://login.example.com/r", "http://127.0.0.1:1/r"):        "",
		set("https://login.example.com/r", "http://login.example.com"):    "oidc.issuer: is not https",
		set("https://login.example.com/r", "https://a/?x=1"):              "oidc.issuer",
		set("issuer: 'https://login.example.com/r', ", ""):                "oidc.issuer",
		set("client_id: c, ", ""):                                         "oidc.client_id: is missing",
		set("${SECRET}", "${NONE}"):                                       "NONE",
		set("https://g.example", "http://g.example"):                      "oidc.redirect_url: is not https",
		set("/ui/oidc/callback", "/callback"):                             "write https://HOST/ui/oidc/callback",
		whole:                                                             "oidc.groups: is empty",
		whole + "groups: [{scopes: [usage]}]":                             "oidc.groups[0].group: is missing",
		whole + "groups: [{group: a}]":                                    "oidc.groups[0].scopes: is empty",
		whole + "groups: [{group: a, scopes: [inference]}]":               "oidc.groups[0].scopes: holds \"inference\"",
		whole + "groups: [{group: a, scopes: [read]}]":                    "oidc.groups[0].scopes: holds \"read\"",
		whole + "groups: [{group: a, scopes: [usage], tags: ['**/b']}]":   "oidc.groups[0].tags: holds",
		whole + "groups: [{group: a, scopes: [usage, admin], tags: [b]}]": "oidc.groups[0].tags: limits admin",
		whole + groups + ", session_for: 30s":                             "oidc.session_for",
		whole + groups + ", session_for: 48h":                             "oidc.session_for",
		whole + groups + ", user_claim: \"a\\nb\"":                        "oidc.user_claim",
		whole + groups + ", tls: {ca_file: none.pem}":                     "oidc.tls.ca_file",
		whole + groups + ", isuer: x":                                     "did you mean",
	} {
		_, err := parse(t, "oidc: {"+text+"}", "SECRET", "s3cret")
		if err == nil != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: %v, want %q in it", text, err, want)
		}
	}
	a, b := mustParse(t, "oidc: {"+whole+groups+"}", "SECRET", "a"), mustParse(t, "oidc: {"+whole+groups+"}", "SECRET", "b")
	if fields := gatewayconfig.NeedsRestart(a, b); len(fields) != 1 || fields[0] != "oidc" {
		t.Errorf("a change needs a restart for %v", fields)
	}
}
