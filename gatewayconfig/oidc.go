package gatewayconfig

import (
	"net/url"
	"slices"
	"strconv"
	"time"

	"aigateway/budget"
)

// OIDC is who signs people in at the page, by OpenID Connect 1.0. The zero OIDC is
// nobody: keys alone do.
type OIDC struct {
	Issuer       string // https, or http on loopback; as its ID tokens spell it
	ClientID     string
	ClientSecret Secret   // empty: a public client
	RedirectURL  *url.URL // of the page as browsers see it, ending in /ui/oidc/callback
	Scopes       []string // that are asked for, besides openid
	UserClaim    string   // of the ID token: who acts, in the audit log
	GroupsClaim  string   // of the ID token
	// SessionFor is how long a sign-in lasts, 1 min to 24 h; 0: as long as its ID token.
	SessionFor time.Duration
	Groups     []OIDCGroup // the first that somebody is in decides
	CA         []byte      // PEM that verifies the issuer; empty: the system's
}

// OIDCGroup is what its members may do at the page.
type OIDCGroup struct {
	Name   string
	Scopes []budget.Scope      // usage alone is to look
	Tags   []budget.TagPattern // empty: all
}

// Set reports whether there is one.
func (o *OIDC) Set() bool { return o.Issuer != "" }

// CallbackPath is where the issuer sends browsers back to.
const CallbackPath = "/ui/oidc/callback"

type fileOIDC struct {
	Issuer       string          `yaml:"issuer"`
	ClientID     secretText      `yaml:"client_id"`
	ClientSecret secretText      `yaml:"client_secret"`
	RedirectURL  string          `yaml:"redirect_url"`
	Scopes       []string        `yaml:"scopes"`
	UserClaim    string          `yaml:"user_claim"`
	GroupsClaim  string          `yaml:"groups_claim"`
	SessionFor   time.Duration   `yaml:"session_for"`
	Groups       []fileOIDCGroup `yaml:"groups"`
	TLS          fileTLS         `yaml:"tls"`
}

type fileOIDCGroup struct {
	Group  string   `yaml:"group"`
	Scopes []string `yaml:"scopes"`
	Tags   []string `yaml:"tags"`
}

func (v *validator) oidc(f *fileOIDC) OIDC {
	if f == nil {
		return OIDC{}
	}
	out := OIDC{
		Issuer: f.Issuer, ClientID: v.needed("oidc.client_id", f.ClientID, true).text, ClientSecret: v.needed("oidc.client_secret", f.ClientSecret, false),
		Scopes: []string{"profile", "email"}, UserClaim: "email", GroupsClaim: "groups", CA: v.caFile("oidc.tls.ca_file", f.TLS.CAFile),
	}
	v.secureURL("oidc.issuer", f.Issuer, "the issuer, as its ID tokens spell it, such as https://login.example.com/realms/staff")
	out.RedirectURL = v.secureURL("oidc.redirect_url", f.RedirectURL, "the page's address as browsers see it and the issuer knows it, such as https://gateway.example.com"+CallbackPath)
	if out.RedirectURL != nil && out.RedirectURL.Path != CallbackPath {
		v.fail("oidc.redirect_url", "is another path; write https://HOST%s", CallbackPath)
	}
	if f.Scopes != nil {
		out.Scopes = f.Scopes
	}
	for i, s := range out.Scopes {
		v.word("oidc.scopes["+strconv.Itoa(i)+"]", s, "scope", "email")
	}
	if f.UserClaim != "" {
		out.UserClaim = v.word("oidc.user_claim", f.UserClaim, "claim", "email")
	}
	if f.GroupsClaim != "" {
		out.GroupsClaim = v.word("oidc.groups_claim", f.GroupsClaim, "claim", "groups")
	}
	if f.SessionFor != 0 {
		out.SessionFor = v.between("oidc.session_for", f.SessionFor, time.Minute, 24*time.Hour)
	}
	if len(f.Groups) == 0 {
		v.fail("oidc.groups", "is empty, so nobody could sign in; write {group: NAME, scopes: [usage]}")
	}
	for i, g := range f.Groups {
		out.Groups = append(out.Groups, v.oidcGroup("oidc.groups["+strconv.Itoa(i)+"]", g))
	}
	return out
}

func (v *validator) oidcGroup(field string, f fileOIDCGroup) OIDCGroup {
	out := OIDCGroup{Name: f.Group}
	if f.Group == "" {
		v.fail(field+".group", "is missing; write a name that stands in the groups claim")
	}
	if len(f.Scopes) == 0 {
		v.fail(field+".scopes", "is empty; write usage (to look), budgets (to edit budgets) or admin")
	}
	for _, text := range f.Scopes {
		s, err := budget.ParseScope(field+".scopes", text)
		if err != nil || s == budget.ScopeInference {
			v.fail(field+".scopes", "holds %s; write usage (to look), budgets (to edit budgets) or admin", shown(text))
			continue
		}
		out.Scopes = append(out.Scopes, s)
	}
	for _, text := range f.Tags {
		p, err := budget.ParseTagPattern(field+".tags", text)
		if err != nil {
			v.fail(field+".tags", "holds %s; write a tag, or a path with ** at its end, such as team/**", shown(text))
			continue
		}
		out.Tags = append(out.Tags, p)
	}
	if len(out.Tags) > 0 && slices.Contains(out.Scopes, budget.ScopeAdmin) {
		v.fail(field+".tags", "limits admin, which is for all tags; leave tags out, or write scopes: [usage, budgets]")
	}
	return out
}

// secureURL is what browsers or secrets are sent to.
func (v *validator) secureURL(field, text, such string) *url.URL {
	u := plainURL(text)
	if u == nil {
		v.fail(field, "is %s; write %s", shown(text), such)
		return nil
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		v.fail(field, "is not https: who signs in could be read on the way; write https://")
	}
	return u
}
