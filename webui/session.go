package webui

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"aigateway/budget"
)

const (
	sessionCookie = "aig_session"
	// hostPrefix is of cookies that browsers take over TLS alone, and from no
	// neighbouring host.
	hostPrefix = "__Host-"
	// sessionFor is how long a sign-in lasts.
	sessionFor  = 12 * time.Hour
	maxSessions = 1000 // that are kept
	maxSignIn   = 4096 // bytes of its body
)

// signIns are values by the ids that stand for them, in memory: a restart ends them.
type signIns[T any] struct {
	most int // of more, those that end first go

	mu   sync.Mutex
	byID map[string]signIn[T]
}

func newSignIns[T any](most int) *signIns[T] {
	return &signIns[T]{most: most, byID: map[string]signIn[T]{}}
}

type signIn[T any] struct {
	of    T
	until time.Time
}

// makeRoom drops what has ended and, if there are most still, what ends first.
func makeRoom[V any](byID map[string]V, most int, until func(V) time.Time, now time.Time) {
	first := ""
	for id, v := range byID {
		if !now.Before(until(v)) {
			delete(byID, id)
		} else if first == "" || until(v).Before(until(byID[first])) {
			first = id
		}
	}
	if len(byID) >= most {
		delete(byID, first)
	}
}

// set keeps the value of an id until then.
func (s *signIns[T]) set(id string, of T, now, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	makeRoom(s.byID, s.most, func(in signIn[T]) time.Time { return in.until }, now)
	s.byID[id] = signIn[T]{of, until}
}

func (s *signIns[T]) get(id string, now time.Time) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, ok := s.byID[id]
	return in.of, ok && now.Before(in.until)
}

// signedIn is the secret of the key that r's session is of.
func (h *Handler) signedIn(r *http.Request) (string, error) {
	if err := ownPage(r); err != nil {
		return "", err
	}
	id := h.cookieOf(r, sessionCookie)
	in, until, ok, err := h.sessions.get(r.Context(), id, h.Now())
	switch {
	case err != nil:
		return "", err
	case !ok || in.Person != nil && (h.Issuer == nil || in.Rules != h.Issuer.rules):
		return "", sessionMissing()
	case in.Person != nil:
		return h.Issuer.secretOf(id, in.Person, until), nil
	}
	return in.Secret, nil
}

func sessionMissing() *budget.Error {
	return &budget.Error{Kind: budget.KindUnauthenticated, Reason: "session_missing", Message: "nobody is signed in, or the session has ended; sign in again"}
}

// who is what the page is told of the key it acts for.
type who struct {
	KeyID  string   `json:"key_id"`
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
	Tags   []string `json:"allowed_tags"`
}

// session signs in (POST), out (DELETE), and tells who is (GET).
func (h *Handler) session(w http.ResponseWriter, r *http.Request) {
	var key *budget.Key
	err := ownPage(r)
	if err == nil {
		switch r.Method {
		case http.MethodGet:
			var secret string
			if secret, err = h.signedIn(r); err == nil {
				key, err = h.Auth.Authenticate(secret)
			}
		case http.MethodPost:
			key, err = h.signIn(w, r)
		case http.MethodDelete:
			http.SetCookie(w, h.cookie(r, sessionCookie, "", -1))
			if _, err = h.sessions.end(r.Context(), h.cookieOf(r, sessionCookie)); err == nil {
				w.WriteHeader(http.StatusNoContent)
				return
			}
		default:
			err = budget.NotFound("route_unknown", "use GET, POST or DELETE")
		}
	}
	if err != nil {
		refuse(w, r, err)
		return
	}
	out := who{KeyID: key.ID, Name: key.Name, Scopes: []string{}, Tags: []string{}}
	for _, s := range key.Scopes {
		out.Scopes = append(out.Scopes, string(s))
	}
	for _, t := range key.AllowedTags {
		out.Tags = append(out.Tags, string(t))
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

func (h *Handler) signIn(w http.ResponseWriter, r *http.Request) (*budget.Key, error) {
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(kind) != "application/json" {
		return nil, budget.Invalid("field_invalid", "content-type", "send JSON, with content-type: application/json")
	}
	var body struct {
		Key    string `json:"key"`
		Ticket string `json:"ticket"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxSignIn)).Decode(&body); err != nil {
		return nil, budget.Invalid("field_invalid", "key", `the body must be {"key":"`+budget.KeyPrefix+`…"}`)
	}
	secret := strings.TrimSpace(body.Key)
	if body.Ticket != "" {
		var err error
		if secret, err = h.useTicket(r.Context(), body.Ticket); err != nil {
			return nil, err
		}
	}
	key, err := h.visitor(secret)
	if err != nil {
		return nil, err
	}
	return key, h.start(w, r, session{Secret: secret}, sessionFor)
}

// visitor is the key of secret, if there is something here for it. Those who may only
// call models are many and trusted little; their sign-ins would push out everybody's.
func (h *Handler) visitor(secret string) (*budget.Key, error) {
	key, err := h.Auth.Authenticate(secret)
	if err == nil && !key.Has(budget.ScopeUsage) && !key.Has(budget.ScopeBudgets) {
		return nil, &budget.Error{Kind: budget.KindPermission, Reason: "scope_missing", Message: "this key may call models and look at nothing; sign in with one that has the scope usage or budgets"}
	}
	return key, err
}

// start begins a session, and ends the one that the browser had.
func (h *Handler) start(w http.ResponseWriter, r *http.Request, in session, lasts time.Duration) error {
	now := h.Now()
	id, err := h.sessions.add(r.Context(), in, now, now.Add(lasts))
	if err == nil {
		_, err = h.sessions.end(r.Context(), h.cookieOf(r, sessionCookie))
	}
	if err == nil {
		http.SetCookie(w, h.cookie(r, sessionCookie, id, int(lasts/time.Second)))
	}
	return err
}

// cookie is out of reach for scripts, other sites and, over TLS, other hosts.
func (h *Handler) cookie(r *http.Request, name, value string, seconds int) *http.Cookie {
	c := &http.Cookie{Name: name, Value: value, Path: "/ui/", MaxAge: seconds, HttpOnly: true, SameSite: http.SameSiteStrictMode}
	if h.secure(r) {
		c.Name, c.Path, c.Secure = hostPrefix+name, "/", true
	}
	return c
}

// cookieOf is the value of r's cookie of a name; empty: it has none.
func (h *Handler) cookieOf(r *http.Request, name string) string {
	if h.secure(r) {
		name = hostPrefix + name
	}
	c, err := r.Cookie(name)
	if err != nil {
		return ""
	}
	return c.Value
}

// secure reports whether the browser came over TLS, as a proxy in front says with
// X-Forwarded-Proto. One that says nothing is seen through: browsers send a cookie of
// that prefix over TLS alone, and sign in by an issuer at the redirect address.
func (h *Handler) secure(r *http.Request) bool {
	return r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" ||
		slices.ContainsFunc(r.Cookies(), func(c *http.Cookie) bool { return strings.HasPrefix(c.Name, hostPrefix+"aig_") }) ||
		h.Issuer != nil && strings.HasPrefix(h.Issuer.RedirectURL, "https:") && strings.HasPrefix(r.URL.Path, "/ui/oidc/")
}
