package main

import (
	"aigateway/budget"
	"aigateway/webui"
)

// visitors knows keys, and who an issuer signed in at the page.
type visitors struct {
	authenticator
	issuer *webui.Issuer // nil: there is none
}

// Authenticate returns the rights that belong to secret.
func (v visitors) Authenticate(secret string) (*budget.Key, error) {
	if v.issuer != nil && webui.Known(secret) {
		return v.issuer.Authenticate(secret)
	}
	return v.authenticator.Authenticate(secret)
}

// issuer is the one of the configuration, if there is one.
func (c *controlPlane) issuer(a *app) (*webui.Issuer, error) {
	o := c.cfg.OIDC
	if !o.Set() {
		return nil, nil
	}
	w := webui.OIDC{
		Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: o.ClientSecret.Reveal(), RedirectURL: o.RedirectURL.String(),
		Scopes: o.Scopes, UserClaim: o.UserClaim, GroupsClaim: o.GroupsClaim, SessionFor: o.SessionFor, CA: o.CA, Now: c.ledger.Now,
		Told: func(key *budget.Key, err error) {
			if err != nil {
				a.log.Warn("nobody was signed in at the page", "error", err)
				return
			}
			a.log.Info("somebody signed in at the page", "who", key.ID, "scopes", key.Scopes, "tags", key.AllowedTags)
		},
	}
	for _, g := range o.Groups {
		w.Roles = append(w.Roles, webui.Role{Group: g.Name, Scopes: g.Scopes, Tags: g.Tags})
	}
	return webui.NewIssuer(w)
}
