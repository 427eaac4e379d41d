package webui

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"aigateway/budget"
)

const (
	pendingCookie = "aig_oidc"
	pendingFor    = 10 * time.Minute // somebody may take at the issuer
	issuerWithin  = 10 * time.Second // an answer of the issuer's
	issuerAtOnce  = 8                // that it is asked for, however many strangers come
	awayFor       = time.Second      // that it gave none is remembered
	maxSession    = 24 * time.Hour   // however long an ID token lasts
	maxUser       = 128              // bytes of a name
)

// OIDC is an issuer of ID tokens (OpenID Connect Core 1.0) and what its people may do.
type OIDC struct {
	Issuer, ClientID, ClientSecret string   // without a secret: a public client
	RedirectURL                    string   // the callback, as the issuer knows it
	Scopes                         []string // besides openid
	UserClaim, GroupsClaim         string   // of the ID token
	SessionFor                     time.Duration
	Roles                          []Role // the first whose group somebody is in decides
	CA                             []byte // PEM; empty: the system's
	// Told hears of each sign-in for the log, by who it is or why there is none. It is
	// called by many goroutines.
	Told func(key *budget.Key, err error)
	Now  func() time.Time
}

// Role is what members of a group may do.
type Role struct {
	Group  string
	Scopes []budget.Scope
	Tags   []budget.TagPattern // empty: all
}

// Issuer signs people in by the authorization code flow with PKCE. It is safe for
// concurrent use.
type Issuer struct {
	OIDC
	client *http.Client
	people *signIns[*budget.Key]
	chance string // of this process: what stands for a session in it cannot be made of the cookie
	rules  string // a hash of what decides who may do what, and for how long
	key    []byte // of the MACs of pending sign-ins: the same at every gateway of this client
	asking chan struct{}

	mu     sync.Mutex
	found  *found // nil: the issuer has not answered yet
	away   error  // why it did not, at awayAt
	awayAt time.Time
}

// found is what the issuer said of itself.
type found struct {
	provider *oidc.Provider
	config   oauth2.Config // which remembers how the token endpoint takes the secret
}

// NewIssuer returns an Issuer, which is asked for its addresses at the first sign-in.
func NewIssuer(c OIDC) (*Issuer, error) {
	i := &Issuer{OIDC: c, people: newSignIns[*budget.Key](maxSessions), chance: rand.Text(), rules: rulesOf(c), key: keyOf(c), asking: make(chan struct{}, issuerAtOnce)}
	var pool *x509.CertPool // nil: the system's
	if len(c.CA) > 0 {
		pool = x509.NewCertPool()
		if !pool.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("webui: the certificates that verify the issuer (CA) have none in PEM")
		}
	}
	i.client = &http.Client{
		Timeout:   issuerWithin,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, Proxy: http.ProxyFromEnvironment},
		// The code and the client's secret go to the issuer and nowhere else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return i, nil
}

// Authenticate finds the rights of somebody who signed in: secret is what a session
// stands for, and never leaves the process. Its errors are *budget.Error of kind
// unauthenticated.
func (i *Issuer) Authenticate(secret string) (*budget.Key, error) {
	id, _ := strings.CutPrefix(secret, personPrefix)
	if key, ok := i.people.get(id, i.Now()); ok {
		return key, nil
	}
	return nil, sessionMissing()
}

// personPrefix starts what stands for somebody's rights in the process, which REST takes
// as it takes a key.
const personPrefix = budget.KeyPrefix + "oidc-"

// Known reports whether secret is one that an Issuer made.
func Known(secret string) bool { return strings.HasPrefix(secret, personPrefix) }

// keyOf is of MACs that tell a sign-in that was begun, at this gateway or another, from
// one that was made up, as by a neighbouring host that plants cookies. It is no secret
// where the client has none, and rests on nothing: who can open the page can begin a
// sign-in, and have the issuer asked for its code, in vain, issuerAtOnce times at once.
func keyOf(c OIDC) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "a sign-in that was begun %q %q %q %q", c.Issuer, c.ClientID, c.ClientSecret, c.RedirectURL))
	return sum[:]
}

// rulesOf ends the sessions of people when it changes: their rights are those that the
// configuration gave when they signed in.
func rulesOf(c OIDC) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %d %q", c.Issuer, c.ClientID, c.UserClaim, c.GroupsClaim, c.SessionFor, c.Roles))
	return hex.EncodeToString(sum[:])
}

// ask takes one of the few places for a request to the issuer, until the caller calls
// done.
func (i *Issuer) ask(ctx context.Context) (asked context.Context, done func(), err error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, i.client), issuerWithin)
	select {
	case i.asking <- struct{}{}:
		return ctx, func() { <-i.asking; cancel() }, nil
	case <-ctx.Done():
		cancel()
		return nil, nil, fmt.Errorf("the issuer is being asked too much: %w", ctx.Err())
	}
}

// known is what the issuer said of itself, or that it was away just now; neither: it
// must be asked.
func (i *Issuer) known() (*found, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if ago := i.Now().Sub(i.awayAt); i.found == nil && i.away != nil && ago >= 0 && ago < awayFor {
		return nil, i.away
	}
	return i.found, nil
}

// discover asks the issuer for its addresses, until it has answered once.
func (i *Issuer) discover(ctx context.Context) (*found, error) {
	if f, err := i.known(); f != nil || err != nil {
		return f, err
	}
	asked, done, err := i.ask(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if f, err := i.known(); f != nil || err != nil { // while this one waited
		return f, err
	}
	p, err := oidc.NewProvider(asked, i.OIDC.Issuer)
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case err == nil && i.found == nil:
		i.found = &found{p, oauth2.Config{ClientID: i.ClientID, ClientSecret: i.ClientSecret, Endpoint: p.Endpoint(), RedirectURL: i.RedirectURL, Scopes: append([]string{oidc.ScopeOpenID}, i.Scopes...)}}
	case err != nil && ctx.Err() == nil: // and nobody went away
		i.away, i.awayAt = err, i.Now()
	}
	return i.found, err
}

// pending is a sign-in that somebody has begun. It is in a cookie of theirs and nowhere
// else, so nobody can fill a memory with it.
type pending struct{ state, nonce, verifier string }

// seal is the cookie's text.
func (i *Issuer) seal(p pending, until time.Time) string {
	text := strings.Join([]string{p.state, p.nonce, p.verifier, strconv.FormatInt(until.Unix(), 10)}, ".")
	return text + "." + i.mac(text)
}

func (i *Issuer) mac(text string) string {
	m := hmac.New(sha256.New, i.key)
	m.Write([]byte(text))
	return hex.EncodeToString(m.Sum(nil))
}

// open is who the callback with a state is for, by a cookie's text. An attacker's code in
// another browser has none.
func (i *Issuer) open(text, state string) (p pending, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 5 || !hmac.Equal([]byte(parts[4]), []byte(i.mac(strings.Join(parts[:4], ".")))) {
		return p, false
	}
	until, err := strconv.ParseInt(parts[3], 10, 64)
	p = pending{parts[0], parts[1], parts[2]}
	return p, err == nil && i.Now().Unix() < until && subtle.ConstantTimeCompare([]byte(p.state), []byte(state)) == 1
}

func (h *Handler) pendingCookie(r *http.Request, value string, seconds int) *http.Cookie {
	c := h.cookie(r, pendingCookie, value, seconds)
	if !c.Secure {
		c.Path = "/ui/oidc/"
	}
	c.SameSite = http.SameSiteLaxMode // the issuer sends the browser back
	return c
}

// The reasons why a sign-in failed, which the page has words for.
const (
	failedIssuer = "issuer"  // it does not answer, or is not who it should be
	failedState  = "state"   // not begun in this browser, or too long ago
	failedDenied = "denied"  // the issuer says no
	failedToken  = "token"   // none, or none that is good
	failedGroups = "groups"  // nobody who may do anything here
	failedSite   = "refused" // asked for by another site
	failedStore  = "store"   // of the gateways; it does not answer
)

// failed is a sign-in that did not work.
type failed struct {
	reason string
	err    error
}

func (f *failed) Error() string { return "sign-in: " + f.err.Error() }

func (f *failed) Unwrap() error { return f.err }

// oidc tells whether people can sign in so, and signs them in.
func (h *Handler) oidc(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		refuse(w, r, budget.NotFound("route_unknown", "use GET"))
		return
	}
	if r.URL.Path == "/ui/oidc" {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]bool{"enabled": h.Issuer != nil})
		return
	}
	if h.Issuer == nil {
		refuse(w, r, budget.NotFound("route_unknown", "no issuer is configured; set oidc, or sign in with a key"))
		return
	}
	var to string
	var err error
	switch r.URL.Path {
	case "/ui/oidc/start":
		to, err = h.begin(w, r)
	case "/ui/oidc/callback":
		to, err = h.callback(w, r)
	default:
		refuse(w, r, budget.NotFound("route_unknown", "open /ui/"))
		return
	}
	if err != nil {
		h.Issuer.Told(nil, err)
		reason := failedToken
		var f *failed
		if errors.As(err, &f) {
			reason = f.reason
		}
		to = "/ui/#/failed/" + reason
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// begin sends the browser to the issuer.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request) (to string, err error) {
	if err := ownPage(r); err != nil {
		return "", &failed{failedSite, err}
	}
	f, err := h.Issuer.discover(r.Context())
	if err != nil {
		return "", &failed{failedIssuer, err}
	}
	if _, err := h.sessions.end(r.Context(), h.cookieOf(r, sessionCookie)); err != nil { // which the callback, from another site, does not have
		return "", &failed{failedStore, err}
	}
	in := pending{rand.Text(), rand.Text(), oauth2.GenerateVerifier()}
	http.SetCookie(w, h.pendingCookie(r, h.Issuer.seal(in, h.Now().Add(pendingFor)), int(pendingFor/time.Second)))
	return f.config.AuthCodeURL(in.state, oidc.Nonce(in.nonce), oauth2.S256ChallengeOption(in.verifier)), nil
}

// callback is where the issuer sends the browser with a code.
func (h *Handler) callback(w http.ResponseWriter, r *http.Request) (to string, err error) {
	in, ok := h.Issuer.open(h.cookieOf(r, pendingCookie), r.URL.Query().Get("state"))
	http.SetCookie(w, h.pendingCookie(r, "", -1)) // whatever comes of it, once
	if !ok {
		return "", &failed{failedState, errors.New("the state is not one of this browser, or is too old")}
	}
	key, lasts, err := h.Issuer.signIn(r, in)
	if err != nil {
		return "", err
	}
	if err := h.start(w, r, session{Person: key, Rules: h.Issuer.rules}, lasts); err != nil {
		return "", &failed{failedStore, err}
	}
	h.Issuer.Told(key, nil)
	return "/ui/", nil
}

// secretOf is what stands for the rights of a session in the process. Who has the cookie
// cannot make it, and so can do nothing with the API that ends later than the session.
func (i *Issuer) secretOf(session string, key *budget.Key, until time.Time) string {
	id := hashOf(i.chance, session)
	if _, ok := i.people.get(id, i.Now()); !ok {
		i.people.set(id, key, i.Now(), until)
	}
	return personPrefix + id
}

// signIn turns the code of a callback into rights, and says for how long.
func (i *Issuer) signIn(r *http.Request, in pending) (*budget.Key, time.Duration, error) {
	q := r.URL.Query()
	switch iss := q.Get("iss"); { // RFC 9207
	case iss != "" && iss != i.OIDC.Issuer:
		return nil, 0, &failed{failedIssuer, fmt.Errorf("the answer is of the issuer %q", budget.Clip(iss, 200))}
	case q.Get("error") != "":
		return nil, 0, &failed{failedDenied, fmt.Errorf("the issuer answers %q", budget.Clip(q.Get("error"), 100))}
	}
	f, err := i.discover(r.Context())
	if err != nil {
		return nil, 0, &failed{failedIssuer, err}
	}
	ctx, done, err := i.ask(r.Context())
	if err != nil {
		return nil, 0, &failed{failedIssuer, err}
	}
	defer done()
	token, err := f.config.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(in.verifier))
	if err != nil {
		reason := failedIssuer
		var refused *oauth2.RetrieveError
		if errors.As(err, &refused) { // whose body may have anything in it
			reason = failedToken
			err = fmt.Errorf("the code was not taken: %s %s", refused.Response.Status, budget.Clip(refused.ErrorCode, 100))
		}
		return nil, 0, &failed{reason, err}
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, 0, &failed{failedToken, errors.New("no ID token came with the code")}
	}
	id, err := f.provider.Verifier(&oidc.Config{ClientID: i.ClientID, Now: i.Now}).Verify(ctx, raw)
	if err != nil {
		return nil, 0, &failed{failedToken, err}
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(in.nonce)) != 1 {
		return nil, 0, &failed{failedToken, errors.New("the nonce is another: the ID token is of another sign-in")}
	}
	key, err := i.rights(id)
	if err != nil {
		return nil, 0, err
	}
	if i.SessionFor > 0 {
		return key, i.SessionFor, nil
	}
	return key, min(id.Expiry.Sub(i.Now()), maxSession), nil
}

// rights are those of the first role whose group id names.
func (i *Issuer) rights(id *oidc.IDToken) (*budget.Key, error) {
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return nil, &failed{failedToken, err}
	}
	if azp, ok := claims["azp"]; (ok || len(id.Audience) > 1) && azp != any(i.ClientID) {
		return nil, &failed{failedToken, errors.New("the ID token has an azp that is another client's, or several audiences and no azp")}
	}
	who := i.who(id.Subject, claims)
	if who == "" {
		return nil, &failed{failedToken, errors.New("the ID token has no subject of 1 to 128 printable bytes")}
	}
	groups := groupsOf(claims[i.GroupsClaim])
	for _, role := range i.Roles {
		if slices.Contains(groups, role.Group) {
			return &budget.Key{ID: "oidc:" + who, Name: who, Scopes: role.Scopes, AllowedTags: role.Tags}, nil
		}
	}
	return nil, &failed{failedGroups, fmt.Errorf("%s is in no group of oidc.groups; the claim %s names %d", who, i.GroupsClaim, len(groups))}
}

// who is whom the audit log names: an address that nobody has verified may be anybody's.
func (i *Issuer) who(subject string, claims map[string]any) string {
	name, _ := claims[i.UserClaim].(string)
	verified, _ := claims["email_verified"].(bool)
	if !budget.Printable(name, maxUser) || i.UserClaim == "email" && !verified {
		name = subject
	}
	if !budget.Printable(name, maxUser) {
		return ""
	}
	return name
}

func groupsOf(claim any) (names []string) {
	switch c := claim.(type) {
	case string:
		return []string{c}
	case []any:
		for _, g := range c {
			if name, ok := g.(string); ok {
				names = append(names, name)
			}
		}
	}
	return names
}
