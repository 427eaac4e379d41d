package webui_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/internal/oidctest"
	"aigateway/webui"
)

// visit is a browser at a page whose issuer is a fake one.
type visit struct {
	*world
	issuer  *oidctest.Issuer
	oidc    *webui.Issuer
	page    *httptest.Server
	cookies map[string]*http.Cookie
	told    []string
}

// both knows keys and who signed in, as the gateway does.
type both struct {
	keys   keys
	people *webui.Issuer
}

func (b both) Authenticate(secret string) (*budget.Key, error) {
	if webui.Known(secret) {
		return b.people.Authenticate(secret)
	}
	return b.keys.Authenticate(secret)
}

func newVisit(t *testing.T, change func(*webui.OIDC)) *visit {
	t.Helper()
	v := &visit{world: newWorld(t), cookies: map[string]*http.Cookie{}}
	now := func() time.Time { return v.now }
	v.issuer = oidctest.New(t, now)
	v.issuer.Claims = map[string]any{"groups": []string{"staff", "finance"}, "email": "anna@example.com", "email_verified": true}
	v.page = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.handler.ServeHTTP(w, r) }))
	t.Cleanup(v.page.Close)
	var telling sync.Mutex
	c := webui.OIDC{
		Issuer: v.issuer.URL, ClientID: v.issuer.ClientID, ClientSecret: v.issuer.ClientSecret, RedirectURL: v.page.URL + "/ui/oidc/callback",
		Scopes: []string{"email"}, UserClaim: "email", GroupsClaim: "groups", Now: now,
		Roles: []webui.Role{
			{Group: "platform", Scopes: []budget.Scope{budget.ScopeAdmin}},
			{Group: "finance", Scopes: []budget.Scope{budget.ScopeUsage}, Tags: []budget.TagPattern{"a/**"}},
			{Group: "staff", Scopes: []budget.Scope{budget.ScopeUsage, budget.ScopeBudgets}},
		},
		Told: func(key *budget.Key, err error) {
			telling.Lock()
			defer telling.Unlock()
			if err != nil {
				v.told = append(v.told, err.Error())
			} else {
				v.told = append(v.told, "in: "+key.ID)
			}
		},
	}
	if change != nil {
		change(&c)
	}
	var err error
	v.oidc, err = webui.NewIssuer(c)
	if err != nil {
		t.Fatal(err)
	}
	v.handler, err = webui.New(webui.Config{Auth: both{v.keys, v.oidc}, Now: now, Issuer: v.oidc, REST: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, err := both{v.keys, v.oidc}.Authenticate(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer sk-aig-") { // or REST asks nobody about it
			t.Errorf("REST is asked with %q", r.Header.Get("Authorization"))
		}
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(key.ID))
	})})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// follow asks and follows redirects as a browser does, with the cookies of each path,
// until one is to the page or is none.
func (v *visit) follow(t *testing.T, address, site string) (last *http.Response) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for range 10 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range v.cookies {
			if strings.HasPrefix(address, v.page.URL+c.Path) {
				r.AddCookie(c)
			}
		}
		r.Header.Set("Sec-Fetch-Site", site)
		last, err = client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		last.Body.Close()
		for _, c := range last.Cookies() {
			v.cookies[c.Name] = c
			if c.MaxAge < 0 {
				delete(v.cookies, c.Name)
			}
		}
		to := last.Header.Get("Location")
		if to == "" || strings.HasPrefix(to, "/ui/#") || to == "/ui/" {
			return last
		}
		address, site = to, "cross-site"
	}
	t.Fatal("redirects do not end")
	return nil
}

func (v *visit) signInThere(t *testing.T) string {
	t.Helper()
	return v.follow(t, v.page.URL+"/ui/oidc/start", "same-origin").Header.Get("Location")
}

func (v *visit) session() string {
	if c := v.cookies["aig_session"]; c != nil {
		return c.Value
	}
	return ""
}

// TestOIDC signs somebody in by the issuer: the first role whose group they are in is
// what they may do, under their own name, until the ID token is over.
func TestOIDC(t *testing.T) {
	v := newVisit(t, nil)
	if got := v.do("GET", "/ui/oidc", "", "").Body.String(); got != `{"enabled":true}`+"\n" {
		t.Errorf("whether: %s", got)
	}
	if to := v.signInThere(t); to != "/ui/" {
		t.Fatalf("%s: %v", to, v.told)
	}
	c := v.cookies["aig_session"]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/ui/" || c.MaxAge != 3600 || v.cookies["aig_oidc"] != nil {
		t.Errorf("cookies: %+v", v.cookies)
	}
	if got := v.do("GET", "/ui/session", "", v.session()).Body.String(); got != `{"key_id":"oidc:anna@example.com","name":"anna@example.com","scopes":["usage"],"allowed_tags":["a/**"]}`+"\n" {
		t.Errorf("who: %s", got)
	}
	if got := v.do("GET", "/ui/api/v1/usage", "", v.session()).Body.String(); got != "oidc:anna@example.com" {
		t.Errorf("REST is asked by %q", got)
	}
	if !slices.Equal(v.told, []string{"in: oidc:anna@example.com"}) {
		t.Errorf("told %q", v.told)
	}
	v.now = v.now.Add(time.Hour)
	if a := v.do("GET", "/ui/api/v1/usage", "", v.session()); a.Code != http.StatusUnauthorized {
		t.Errorf("after the token's end: %d %s", a.Code, a.Body)
	}
	v.signInThere(t)
	v.do("DELETE", "/ui/session", "", v.session())
	if a := v.do("GET", "/ui/session", "", v.session()); a.Code != http.StatusUnauthorized {
		t.Errorf("signed out: %d %s", a.Code, a.Body)
	}
}

// TestOIDCSessionFor lets a sign-in last longer than its token.
func TestOIDCSessionFor(t *testing.T) {
	v := newVisit(t, func(c *webui.OIDC) { c.SessionFor = 8 * time.Hour })
	v.signInThere(t)
	v.now = v.now.Add(8*time.Hour - time.Second)
	if a := v.do("GET", "/ui/session", "", v.session()); a.Code != http.StatusOK {
		t.Errorf("before its end: %d %s", a.Code, a.Body)
	}
	v.now = v.now.Add(time.Second)
	if a := v.do("GET", "/ui/session", "", v.session()); a.Code != http.StatusUnauthorized {
		t.Errorf("after its end: %d %s", a.Code, a.Body)
	}
}

// TestOIDCNames never takes an address that nobody has verified for who acts.
func TestOIDCNames(t *testing.T) {
	for name, c := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"a verified address":      {map[string]any{"email": "anna@example.com", "email_verified": true}, "in: oidc:anna@example.com"},
		"one that is not":         {map[string]any{"email": "boss@example.com", "email_verified": false}, "in: oidc:1000"},
		"one that nobody vouches": {map[string]any{"email": "boss@example.com"}, "in: oidc:1000"},
		"a line break":            {map[string]any{"email": "a\nb", "email_verified": true}, "in: oidc:1000"},
		"no address":              {nil, "in: oidc:1000"},
		"one group as a text":     {map[string]any{"groups": "finance"}, "in: oidc:1000"},
	} {
		v := newVisit(t, nil)
		v.issuer.Claims = map[string]any{"groups": []string{"finance"}}
		for k, x := range c.claims {
			v.issuer.Claims[k] = x
		}
		if v.signInThere(t); !slices.Equal(v.told, []string{c.want}) {
			t.Errorf("%s: %q, want %q", name, v.told, c.want)
		}
	}
}

// TestOIDCRefuses gives no session where anything about the sign-in is not as it must be.
func TestOIDCRefuses(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s reached another host", r.Method, r.URL)
	}))
	defer elsewhere.Close()
	claim := func(name string, value any) func(*visit) {
		return func(v *visit) { v.issuer.Claims[name] = value }
	}
	answer := func(name, value string) func(*visit) {
		return func(v *visit) { v.issuer.Answer = func(q url.Values) { q.Set(name, value) } }
	}
	for name, c := range map[string]struct {
		set  func(*visit)
		want string // the reason
		told string // in the log
	}{
		"another state":    {answer("state", "guessed"), "state", "state"},
		"no state":         {answer("state", ""), "state", "state"},
		"another nonce":    {claim("nonce", "of another sign-in"), "token", "nonce"},
		"no nonce":         {claim("nonce", nil), "token", "nonce"},
		"another audience": {claim("aud", "somebody else"), "token", "audience"},
		"made for another": {func(v *visit) {
			v.issuer.Claims["aud"] = []string{v.issuer.ClientID, "b"}
			v.issuer.Claims["azp"] = "b"
		}, "token", "audiences"},
		"one audience, made for another": {claim("azp", "b"), "token", "azp"},
		"several, for nobody":            {func(v *visit) { v.issuer.Claims["aud"] = []string{v.issuer.ClientID, "b"} }, "token", "audiences"},
		"another issuer's token":         {claim("iss", "https://evil.example.com"), "token", "issued by a different provider"},
		"expired":                        {claim("exp", 1), "token", "expired"},
		"not yet":                        {claim("nbf", 1<<33), "token", "before"},
		"another signature":              {func(v *visit) { v.issuer.Forge = true }, "token", "signature"},
		"no signature":                   {func(v *visit) { v.issuer.None = true }, "token", "signature"},
		"no subject":                     {func(v *visit) { v.issuer.Claims["sub"], v.issuer.Claims["email"] = "", nil }, "token", "subject"},
		"another verifier": {func(v *visit) {
			v.issuer.Tokens = func(f url.Values) url.Values { f.Set("code_verifier", "x"); return f }
		}, "token", "invalid_grant"},
		"another's code":          {answer("code", "stolen"), "token", "invalid_grant"},
		"another secret":          {func(v *visit) { v.issuer.ClientSecret = "changed" }, "token", "invalid_client"},
		"tokens elsewhere":        {func(v *visit) { v.issuer.TokenTo = elsewhere.URL + "/token" }, "token", "307"},
		"an answer of another":    {answer("iss", "https://evil.example.com"), "issuer", "evil.example.com"},
		"an issuer of other name": {func(v *visit) { v.issuer.Named = "https://evil.example.com" }, "issuer", "evil.example.com"},
		"the issuer says no":      {func(v *visit) { v.issuer.Deny = "access_denied" }, "denied", "access_denied"},
		"no group":                {claim("groups", []string{"visitors", "Finance", "finance "}), "groups", "no group"},
		"no groups claim":         {claim("groups", nil), "groups", "no group"},
		"a group in an object":    {claim("groups", map[string]any{"finance": true}), "groups", "no group"},
	} {
		v := newVisit(t, nil)
		c.set(v)
		if to := v.signInThere(t); to != "/ui/#/failed/"+c.want || v.session() != "" || len(v.told) != 1 || !strings.Contains(v.told[0], c.told) {
			t.Errorf("%s: to %s with the session %q, told %q", name, to, v.session(), v.told)
		}
	}
}

// TestOIDCInAnotherBrowser refuses what was not begun where it ends, or twice.
func TestOIDCInAnotherBrowser(t *testing.T) {
	v := newVisit(t, nil)
	// An attacker begins, and has the victim's browser end it.
	var code string
	v.issuer.Answer = func(q url.Values) { code = q.Encode() }
	v.signInThere(t)
	mine := v.cookies
	for name, cookies := range map[string]map[string]*http.Cookie{
		"no cookie":      {},
		"once more":      mine,
		"an empty one":   {"aig_oidc": {Name: "aig_oidc", Value: "..", Path: "/ui/oidc/"}},
		"another's":      {"aig_oidc": {Name: "aig_oidc", Value: "a.b.c", Path: "/ui/oidc/"}},
		"only its state": {"aig_oidc": {Name: "aig_oidc", Value: "a", Path: "/ui/oidc/"}},
	} {
		v.cookies = map[string]*http.Cookie{}
		for n, c := range cookies {
			if n != "aig_session" {
				v.cookies[n] = c
			}
		}
		if to := v.follow(t, v.page.URL+"/ui/oidc/callback?"+code, "cross-site").Header.Get("Location"); to != "/ui/#/failed/state" || v.session() != "" {
			t.Errorf("%s: %s", name, to)
		}
	}
	for _, site := range []string{"cross-site", "same-site", "none"} {
		if to := v.follow(t, v.page.URL+"/ui/oidc/start", site).Header.Get("Location"); to != "/ui/#/failed/refused" || len(v.cookies) != 0 {
			t.Errorf("begun from %s: %s %v", site, to, v.cookies)
		}
	}
	// Where it goes back to is the configuration's, whoever asks.
	r := httptest.NewRequest(http.MethodGet, "/ui/oidc/start?redirect_uri=https://evil.example.com&to=//evil.example.com", nil)
	r.Host = "evil.example.com"
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	out := httptest.NewRecorder()
	v.handler.ServeHTTP(out, r)
	if to := out.Header().Get("Location"); !strings.HasPrefix(to, v.issuer.URL+"/authorize?") || strings.Contains(to, "evil") {
		t.Errorf("sent to %s", to)
	}
}

// TestOIDCIssuerAway says so, and signs in when the issuer is back.
func TestOIDCIssuerAway(t *testing.T) {
	v := newVisit(t, nil)
	named := v.issuer.Named
	v.issuer.Named = "https://elsewhere.example.com"
	if to := v.signInThere(t); to != "/ui/#/failed/issuer" {
		t.Errorf("away: %s", to)
	}
	v.issuer.Named = named
	v.now = v.now.Add(time.Second)
	if to := v.signInThere(t); to != "/ui/" {
		t.Errorf("back: %s %v", to, v.told)
	}
	w := newWorld(t)
	if a := w.do("GET", "/ui/oidc", "", ""); a.Body.String() != `{"enabled":false}`+"\n" {
		t.Errorf("without an issuer: %s", a.Body)
	}
	for _, path := range []string{"/ui/oidc/start", "/ui/oidc/callback?code=a&state=b"} {
		if a := w.do("GET", path, "", ""); a.Code != http.StatusNotFound {
			t.Errorf("%s without an issuer: %d", path, a.Code)
		}
	}
}

// hears counts the requests that reach the issuer, by their paths. Each waits until free
// is closed, or its sender leaves.
func (v *visit) hears(free chan struct{}) (count func(path string) int) {
	var mu sync.Mutex
	heard := map[string]int{}
	v.issuer.Heard = func(r *http.Request) {
		mu.Lock()
		heard[r.URL.Path]++
		mu.Unlock()
		select {
		case <-free:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	return func(path string) int {
		mu.Lock()
		defer mu.Unlock()
		return heard[path]
	}
}

// stranger asks with a cookie of a sign-in, and gets a new one or where to go.
func (v *visit) stranger(ctx context.Context, path, pending string) string {
	r := httptest.NewRequest(http.MethodGet, path, nil).WithContext(ctx)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Cookie", "aig_oidc="+pending)
	out := httptest.NewRecorder()
	v.handler.ServeHTTP(out, r)
	for _, c := range out.Result().Cookies() {
		if c.Name == "aig_oidc" && c.MaxAge > 0 {
			return c.Value
		}
	}
	return out.Header().Get("Location")
}

// TestOIDCStrangers: an issuer that does not answer is asked a few times at once, holds up
// nobody who goes away, and is not asked again for a second.
func TestOIDCStrangers(t *testing.T) {
	v := newVisit(t, nil)
	const discovery = "/.well-known/openid-configuration"
	free := make(chan struct{})
	count := v.hears(free)
	gone, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() { v.stranger(gone, "/ui/oidc/start", "") })
	}
	for began := time.Now(); count(discovery) < 8 && time.Since(began) < 10*time.Second; {
		time.Sleep(time.Millisecond)
	}
	leave()
	left := make(chan struct{})
	go func() {
		all.Wait() // though the issuer answers none
		close(left)
	}()
	select {
	case <-left:
	case <-time.After(5 * time.Second):
		t.Fatal("who left waits for the issuer")
	}
	if n := count(discovery); n != 8 {
		t.Errorf("40 strangers make %d requests at once", n)
	}
	v.issuer.Named = "https://elsewhere.example.com" // before anything that waits reads it
	close(free)
	for range 3 {
		if to := v.stranger(t.Context(), "/ui/oidc/start", ""); to != "/ui/#/failed/issuer" {
			t.Errorf("away: %s", to)
		}
	}
	if n := count(discovery); n != 9 {
		t.Errorf("an issuer that is away is asked %d times in a second", n-8)
	}
}

// TestOIDCForged: only who began a sign-in here, within ten minutes, makes a request to
// the issuer with the client's secret.
func TestOIDCForged(t *testing.T) {
	v := newVisit(t, nil)
	free := make(chan struct{})
	close(free)
	count := v.hears(free)
	text := v.stranger(t.Context(), "/ui/oidc/start", "")
	end := func(pending string) string {
		state, _, _ := strings.Cut(pending, ".")
		return v.stranger(t.Context(), "/ui/oidc/callback?code=x&state="+state, pending)
	}
	parts := strings.Split(text, ".")
	forged := []string{"a.b.c", "a.b.c.9999999999."}
	if len(parts) == 5 {
		forged = append(forged, "a.b.c.9999999999."+parts[4], strings.Join(append(parts[:3:3], "9999999999", parts[4]), "."), text[:len(text)-1])
	}
	for _, pending := range forged {
		if to := end(pending); to != "/ui/#/failed/state" {
			t.Errorf("%s: %s", pending, to)
		}
	}
	v.now = v.now.Add(10 * time.Minute)
	if to := end(text); to != "/ui/#/failed/state" || count("/token") != 0 {
		t.Errorf("ten minutes later: %s; %d token requests", to, count("/token"))
	}
	v.now = v.now.Add(-time.Second)
	if to := end(text); to != "/ui/#/failed/token" || count("/token") == 0 {
		t.Errorf("a second before: %s; %d token requests", to, count("/token"))
	}
}

// TestOIDCSecretInTheBody learns once how the issuer takes the client's secret.
func TestOIDCSecretInTheBody(t *testing.T) {
	v := newVisit(t, nil)
	tokens := 0
	v.issuer.Post = true
	v.issuer.Heard = func(r *http.Request) {
		if r.URL.Path == "/token" {
			tokens++
		}
	}
	for _, want := range []int{2, 3} {
		if to := v.signInThere(t); to != "/ui/" || tokens != want {
			t.Errorf("%s after %d token requests, want %d: %v", to, tokens, want, v.told)
		}
	}
}

// TestCookiesOverTLS are of this host alone, and a sign-in ends the one before it.
func TestCookiesOverTLS(t *testing.T) {
	v := newVisit(t, func(c *webui.OIDC) { c.RedirectURL = strings.Replace(c.RedirectURL, "http:", "https:", 1) })
	host := func(c *http.Cookie, name string) bool {
		return c.Name == "__Host-"+name && c.Path == "/" && c.Secure && c.HttpOnly && c.Domain == ""
	}
	ask := func(method, path, body string, cookies ...string) *httptest.ResponseRecorder {
		return v.do(method, path, body, "", "Cookie", strings.Join(cookies, "; "))
	}
	begun := ask("GET", "/ui/oidc/start", "").Result().Cookies() // by a proxy that does not say TLS
	if len(begun) != 1 || !host(begun[0], "aig_oidc") || begun[0].SameSite != http.SameSiteLaxMode {
		t.Fatalf("begun with %v", begun)
	}
	const key = `{"key":"sk-aig-one"}`
	in := v.do("POST", "/ui/session", key, "", "X-Forwarded-Proto", "https").Result().Cookies()
	if len(in) != 1 || !host(in[0], "aig_session") || in[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("signed in with %v", in)
	}
	session := in[0].Name + "=" + in[0].Value
	if a := ask("GET", "/ui/session", "", session, "aig_session=planted"); a.Code != http.StatusOK {
		t.Errorf("by its cookie: %d", a.Code)
	}
	if a := v.do("GET", "/ui/session", "", in[0].Value, "X-Forwarded-Proto", "https"); a.Code != http.StatusUnauthorized {
		t.Errorf("by a cookie that a neighbour can set: %d", a.Code)
	}
	again := ask("POST", "/ui/session", key, session).Result().Cookies()
	if len(again) != 1 || !host(again[0], "aig_session") {
		t.Fatalf("signed in again with %v", again)
	}
	if a := ask("GET", "/ui/session", "", session); a.Code != http.StatusUnauthorized {
		t.Errorf("the session before it: %d", a.Code)
	}
	session = again[0].Name + "=" + again[0].Value
	ask("GET", "/ui/oidc/start", "", session)
	if a := ask("GET", "/ui/session", "", session); a.Code != http.StatusUnauthorized {
		t.Errorf("the session before a sign-in by the issuer: %d", a.Code)
	}
	last := ask("POST", "/ui/session", key, session).Result().Cookies()
	if out := ask("DELETE", "/ui/session", "", last[0].Name+"="+last[0].Value).Result().Cookies(); len(out) != 1 || !host(out[0], "aig_session") || out[0].MaxAge >= 0 {
		t.Errorf("signed out with %v", out)
	}
}
