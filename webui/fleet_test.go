package webui_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/webui"
)

// kept is the store of several gateways.
type kept struct {
	texts map[string][]byte
	ends  map[string]time.Time
	away  bool
	slow  time.Duration // until it is said to be away
	asked int
}

func (k *kept) problem() error {
	if k.away {
		time.Sleep(k.slow)
		return budget.Unavailable("store_unreachable", "the store is away", nil)
	}
	return nil
}

func (k *kept) KeepSession(_ context.Context, hash string, sealed []byte, _, ends time.Time) error {
	if k.away {
		return k.problem()
	}
	k.texts[hash], k.ends[hash] = sealed, ends
	return nil
}

func (k *kept) Session(_ context.Context, hash string) ([]byte, time.Time, error) {
	k.asked++
	if k.away {
		return nil, time.Time{}, k.problem()
	}
	return k.texts[hash], k.ends[hash], nil
}

func (k *kept) EndSession(_ context.Context, hash string) (bool, error) {
	if k.away {
		return false, k.problem()
	}
	_, was := k.texts[hash]
	delete(k.texts, hash)
	return was, nil
}

// pair are two gateways that share a store, and a browser that a load balancer sends to
// one or the other.
type pair struct {
	*world
	kept *kept
	at   map[string]http.Handler
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{newWorld(t), &kept{texts: map[string][]byte{}, ends: map[string]time.Time{}}, map[string]http.Handler{}}
	for _, name := range []string{"one", "other"} {
		h, err := webui.New(webui.Config{Auth: p.keys, Now: func() time.Time { return p.now }, Store: p.kept, REST: http.NotFoundHandler()})
		if err != nil {
			t.Fatal(err)
		}
		p.at[name] = h
	}
	p.handler = p.at["one"]
	return p
}

// status is how a gateway answers a session.
func (p *pair) status(gateway, id string) int {
	p.handler = p.at[gateway]
	defer func() { p.handler = p.at["one"] }()
	return p.do("GET", "/ui/session", "", id).Code
}

// TestSessionsOfSeveralGateways signs in at one gateway and out at one, which the other
// knows within a second.
func TestSessionsOfSeveralGateways(t *testing.T) {
	p := newPair(t)
	id := p.signIn(t)
	if one, other := p.status("one", id), p.status("other", id); one != http.StatusOK || other != http.StatusOK {
		t.Fatalf("signed in at one: %d, at the other: %d", one, other)
	}
	for hash, text := range p.kept.texts {
		if strings.Contains(hash+string(text), id) || strings.Contains(string(text), "sk-aig") {
			t.Errorf("the store has %s %q", hash, text)
		}
	}
	asked := p.kept.asked
	if p.status("other", id); p.kept.asked != asked {
		t.Error("the store is asked at each request")
	}
	p.do("DELETE", "/ui/session", "", id)
	p.now = p.now.Add(time.Second)
	if one, other := p.status("one", id), p.status("other", id); one != http.StatusUnauthorized || other != http.StatusUnauthorized {
		t.Errorf("signed out at one: %d, at the other a second later: %d", one, other)
	}
	id = p.signIn(t)
	for range 1001 { // memory has the last thousand, the store all
		p.now = p.now.Add(time.Second)
		p.signIn(t)
	}
	if p.status("one", id) != http.StatusOK {
		t.Error("a session is not kept among many")
	}
}

// TestSessionsWithoutTheStore lets who was signed in look at why, and nobody in.
func TestSessionsWithoutTheStore(t *testing.T) {
	p := newPair(t)
	id := p.signIn(t)
	p.status("other", id)
	p.kept.away = true
	p.now = p.now.Add(time.Hour)
	if p.status("one", id) != http.StatusOK || p.status("other", id) != http.StatusOK {
		t.Error("who was signed in is not any more")
	}
	p.kept.slow, p.now = time.Second, p.now.Add(time.Hour) // as long as its word is good
	began, asked := time.Now(), p.kept.asked
	p.status("one", id)
	p.now = p.now.Add(time.Since(began))
	if p.status("one", id); p.kept.asked != asked+1 {
		t.Error("who has just waited for the store in vain waits again")
	}
	p.kept.slow = 0
	if got := p.status("one", "somebody that another gateway may know"); got != http.StatusServiceUnavailable {
		t.Errorf("a session is said not to be: %d", got)
	}
	if a := p.do("POST", "/ui/session", `{"key":"sk-aig-one"}`, ""); a.Code != http.StatusServiceUnavailable {
		t.Errorf("signed in: %d", a.Code)
	}
	if a := p.do("DELETE", "/ui/session", "", id); a.Code != http.StatusServiceUnavailable || !strings.Contains(a.Header().Get("Set-Cookie"), "Max-Age=0") {
		t.Errorf("signed out: %d %v", a.Code, a.Header())
	}
}

// TestTicketOfSeveralGateways has an address that signs in at any gateway, and once.
func TestTicketOfSeveralGateways(t *testing.T) {
	p := newPair(t)
	a := p.do("POST", "/ui/ticket", "", "", "Sec-Fetch-Site", "-", "Authorization", "Bearer sk-aig-one")
	_, ticket, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(a.Body.String()), `"}`), "#/ticket/")
	if got := p.status("other", ticket); got != http.StatusUnauthorized {
		t.Errorf("an address is a cookie: %d", got)
	}
	use := func(gateway string) int {
		p.handler = p.at[gateway]
		return p.do("POST", "/ui/session", `{"ticket":"`+ticket+`"}`, "").Code
	}
	if first, second := use("other"), use("one"); first != http.StatusOK || second != http.StatusUnauthorized {
		t.Errorf("an address signs in with %d, then %d", first, second)
	}
}

// TestOIDCAtSeveralGateways begins a sign-in at one gateway and ends it at another, with
// and without a client's secret.
func TestOIDCAtSeveralGateways(t *testing.T) {
	for _, secret := range []string{"between us", ""} {
		k := &kept{texts: map[string][]byte{}, ends: map[string]time.Time{}}
		v := newVisit(t, func(c *webui.OIDC) { c.ClientSecret = secret })
		v.issuer.ClientSecret = secret
		at := map[bool]http.Handler{}
		stand := map[string]bool{} // for a session, at a gateway
		for _, callback := range []bool{false, true} {
			issuer, err := webui.NewIssuer(v.oidc.OIDC)
			if err != nil {
				t.Fatal(err)
			}
			h, err := webui.New(webui.Config{Auth: both{v.keys, issuer}, Now: func() time.Time { return v.now }, Issuer: issuer, Store: k, REST: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				stand[r.Header.Get("Authorization")] = true
			})})
			if err != nil {
				t.Fatal(err)
			}
			at[callback] = h
		}
		v.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at[r.URL.Path == "/ui/oidc/callback"].ServeHTTP(w, r)
		})
		if to := v.signInThere(t); to != "/ui/" {
			t.Fatalf("with the secret %q: %s: %v", secret, to, v.told)
		}
		for _, h := range at {
			v.handler = h
			if a := v.do("GET", "/ui/session", "", v.session()); a.Code != http.StatusOK || !strings.Contains(a.Body.String(), "anna@example.com") {
				t.Errorf("with the secret %q: %d %s", secret, a.Code, a.Body)
			}
			v.do("GET", "/ui/api/v1/budgets", "", v.session())
		}
		if len(stand) != 2 {
			t.Errorf("what stands for a session in the process is made of what the browser has: %v", stand)
		}
	}
}
