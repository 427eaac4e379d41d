package webui_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/webui"
)

type keys map[string]*budget.Key

func (k keys) Authenticate(secret string) (*budget.Key, error) {
	if key := k[secret]; key != nil {
		return key, nil
	}
	return nil, &budget.Error{Kind: budget.KindUnauthenticated, Reason: "key_invalid", Message: "this key is unknown"}
}

type world struct {
	handler http.Handler
	keys    keys
	now     time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), keys: keys{
		"sk-aig-one": {ID: "key_1", Name: "finance", Scopes: []budget.Scope{budget.ScopeUsage}, AllowedTags: []budget.TagPattern{"a/**"}},
	}}
	h, err := webui.New(webui.Config{Auth: w.keys, Now: func() time.Time { return w.now }, REST: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/calls" { // one call between any two cursors
			fmt.Fprintf(out, "{\"calls\":[{\"id\":%q}],\n\"cursor\":\"c8\"}", r.URL.RawQuery)
			return
		}
		fmt.Fprint(out, r.Method, " ", r.URL.RequestURI(), " ", r.Header.Get("Authorization"), " ", r.Header.Get("Cookie"))
	})})
	if err != nil {
		t.Fatal(err)
	}
	w.handler = h
	return w
}

// do sends what the page sends, with headers added; a value of "-" leaves one out.
func (w *world) do(method, path, body, cookie string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		r.Header.Set("Cookie", "aig_session="+cookie)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Del(headers[i])
		if headers[i+1] != "-" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	out := httptest.NewRecorder()
	w.handler.ServeHTTP(out, r)
	return out
}

func (w *world) signIn(t *testing.T) string {
	t.Helper()
	a := w.do("POST", "/ui/session", `{"key":"sk-aig-one"}`, "")
	c := a.Result().Cookies()
	if a.Code != http.StatusOK || len(c) != 1 || strings.Contains(a.Body.String(), "sk-aig") {
		t.Fatalf("%d %s %v", a.Code, a.Body, c)
	}
	if !c[0].HttpOnly || c[0].SameSite != http.SameSiteStrictMode || c[0].Path != "/ui/" || strings.Contains(c[0].Value, "sk-aig") || len(c[0].Value) < 20 {
		t.Errorf("the cookie: %+v", c[0])
	}
	return c[0].Value
}

// TestSession acts with the rights of the key that signed in, until it signs out,
// the key is revoked, or the time is over.
func TestSession(t *testing.T) {
	w := newWorld(t)
	id := w.signIn(t)
	if got := w.do("GET", "/ui/api/v1/usage?by=a%2Fb", "", id).Body.String(); got != "GET /v1/usage?by=a%2Fb Bearer sk-aig-one " {
		t.Errorf("the API is asked %q", got)
	}
	if got := w.do("GET", "/ui/session", "", id).Body.String(); got != `{"key_id":"key_1","name":"finance","scopes":["usage"],"allowed_tags":["a/**"]}`+"\n" {
		t.Errorf("who: %s", got)
	}
	if got := w.do("GET", "/v1/usage", "", id).Body.String(); strings.Contains(got, "sk-aig") {
		t.Errorf("a cookie is good for the API itself: %s", got)
	}
	for name, end := range map[string]func(string){
		"signed out": func(id string) { w.do("DELETE", "/ui/session", "", id) },
		"12 hours":   func(string) { w.now = w.now.Add(12 * time.Hour) },
	} {
		id := w.signIn(t)
		end(id)
		if a := w.do("GET", "/ui/api/v1/usage", "", id); a.Code != http.StatusUnauthorized || !strings.Contains(a.Body.String(), "session_missing") {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	id = w.signIn(t)
	delete(w.keys, "sk-aig-one")
	if a := w.do("GET", "/ui/session", "", id); a.Code != http.StatusUnauthorized {
		t.Errorf("a revoked key is still signed in: %d %s", a.Code, a.Body)
	}
}

// TestWhoMayOnlyCall has keys that see nothing at the page begin no session: there is
// room for a number of them, and of more the oldest go.
func TestWhoMayOnlyCall(t *testing.T) {
	w := newWorld(t)
	for scope, want := range map[budget.Scope]int{
		budget.ScopeInference: http.StatusForbidden, budget.ScopeUsage: http.StatusOK, budget.ScopeBudgets: http.StatusOK, budget.ScopeAdmin: http.StatusOK,
	} {
		w.keys["sk-aig-two"] = &budget.Key{ID: "key_2", Scopes: []budget.Scope{scope}}
		if a := w.do("POST", "/ui/session", `{"key":"sk-aig-two"}`, ""); a.Code != want || (a.Header().Get("Set-Cookie") != "") != (want == http.StatusOK) {
			t.Errorf("%s signs in: %d %s", scope, a.Code, a.Body)
		}
		if a := w.do("POST", "/ui/ticket", "", "", "Sec-Fetch-Site", "-", "Authorization", "Bearer sk-aig-two"); a.Code != want {
			t.Errorf("%s gets an address: %d %s", scope, a.Code, a.Body)
		}
	}
}

// TestCrossSite sends what pages of other origins can make a browser send.
func TestCrossSite(t *testing.T) {
	w := newWorld(t)
	id := w.signIn(t)
	for _, site := range []string{"cross-site", "same-site", "none", "-"} {
		for _, r := range [][2]string{{"GET", "/ui/session"}, {"POST", "/ui/session"}, {"DELETE", "/ui/session"}, {"GET", "/ui/api/v1/usage"}, {"POST", "/ui/api/v1/budgets"}} {
			body := ""
			if r[0] == "POST" {
				body = `{"key":"sk-aig-one"}`
			}
			if a := w.do(r[0], r[1], body, id, "Sec-Fetch-Site", site); a.Code != http.StatusForbidden || a.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s %s from %s: %d %s", r[0], r[1], site, a.Code, a.Body)
			}
		}
	}
	for name, a := range map[string]*httptest.ResponseRecorder{
		"a form":    w.do("POST", "/ui/session", `{"key":"sk-aig-one"}`, "", "Content-Type", "text/plain"),
		"no JSON":   w.do("POST", "/ui/session", `key=sk-aig-one`, ""),
		"too large": w.do("POST", "/ui/session", `{"key":"`+strings.Repeat("x", 5000)+`"}`, ""),
	} {
		if a.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	if a := w.do("POST", "/ui/session", `{"key":"sk-aig-two"}`, ""); a.Code != http.StatusUnauthorized || a.Header().Get("Set-Cookie") != "" {
		t.Errorf("an unknown key: %d %s", a.Code, a.Body)
	}
	for i := range 1001 {
		if i == 1000 && w.do("GET", "/ui/session", "", id).Code != http.StatusUnauthorized {
			t.Error("the oldest of more than 1,000 sessions has not ended")
		}
		w.now = w.now.Add(time.Second)
		w.signIn(t)
	}
}

// TestFiles serves the page with a policy that lets it ask nobody else.
func TestFiles(t *testing.T) {
	w := newWorld(t)
	for path, kind := range map[string]string{"/ui/": "text/html; charset=utf-8", "/ui/style.css": "text/css; charset=utf-8", "/ui/main.js": "text/javascript; charset=utf-8"} {
		a := w.do("GET", path, "", "", "Sec-Fetch-Site", "none")
		tag := a.Header().Get("ETag")
		if a.Code != http.StatusOK || a.Header().Get("Content-Type") != kind || tag == "" || !strings.HasPrefix(a.Header().Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';") {
			t.Errorf("%s: %d %v", path, a.Code, a.Header())
		}
		if a := w.do("GET", path, "", "", "If-None-Match", tag); a.Code != http.StatusNotModified {
			t.Errorf("%s again: %d", path, a.Code)
		}
	}
	for _, path := range []string{"/ui/none", "/ui/../go.mod", "/ui/api/metrics", "/ui/page/index.html"} {
		if a := w.do("GET", path, "", ""); a.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.Code)
		}
	}
	if a := w.do("GET", "/ui", "", ""); a.Code != http.StatusFound || a.Header().Get("Location") != "/ui/" {
		t.Errorf("/ui: %d %v", a.Code, a.Header())
	}
}

// TestScriptIsSmall keeps what a page loads at what a slow line takes in a second.
func TestScriptIsSmall(t *testing.T) {
	names, err := filepath.Glob("page/*.js")
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err == nil {
			_, err = z.Write(text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if len(names) < 5 || packed.Len() > 60_000 {
		t.Errorf("%d modules have %d bytes, packed; 60,000 at most", len(names), packed.Len())
	}
	t.Logf("%d bytes, packed", packed.Len())
}

// TestTicket signs a browser in once, for five minutes, and only who has a key gets one.
func TestTicket(t *testing.T) {
	w := newWorld(t)
	make := func(headers ...string) *httptest.ResponseRecorder {
		return w.do("POST", "/ui/ticket", "", "", append([]string{"Sec-Fetch-Site", "-"}, headers...)...)
	}
	ticket := func() string {
		a := make("Authorization", "Bearer sk-aig-one")
		var body struct{ Path string }
		if err := json.Unmarshal(a.Body.Bytes(), &body); a.Code != http.StatusOK || err != nil || strings.Contains(a.Body.String(), "sk-aig") {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
		return strings.TrimPrefix(body.Path, "/ui/#/ticket/")
	}
	use := func(id string) *httptest.ResponseRecorder {
		return w.do("POST", "/ui/session", `{"ticket":"`+id+`"}`, "")
	}
	id := ticket()
	if a := use(id); a.Code != http.StatusOK || len(a.Result().Cookies()) != 1 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := use(id); a.Code != http.StatusUnauthorized || !strings.Contains(a.Body.String(), "ticket_used") || a.Header().Get("Set-Cookie") != "" {
		t.Errorf("the second time: %d %s", a.Code, a.Body)
	}
	id = ticket()
	w.now = w.now.Add(5 * time.Minute)
	if a := use(id); a.Code != http.StatusUnauthorized {
		t.Errorf("after five minutes: %d %s", a.Code, a.Body)
	}
	id = ticket()
	for range 100 {
		w.now = w.now.Add(time.Second)
		ticket()
	}
	if a := use(id); a.Code != http.StatusUnauthorized {
		t.Errorf("the oldest of more than 100: %d %s", a.Code, a.Body)
	}
	for name, a := range map[string]*httptest.ResponseRecorder{
		"no key": make(), "an unknown key": make("Authorization", "Bearer sk-aig-two"), "a page": make("Authorization", "Bearer sk-aig-one", "Sec-Fetch-Site", "same-origin"),
	} {
		if a.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
}

// TestEvents streams what ended, from a cursor on, and ends when the key is revoked or
// the server shuts down.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	id := w.signIn(t)
	s := httptest.NewServer(w.handler)
	defer s.Close()
	open := func(cursor, cookie, site string) (*http.Response, *bufio.Scanner) {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/ui/events?tag=a", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Site", site)
		r.Header.Set("Cookie", "aig_session="+cookie)
		r.Header.Set("Last-Event-ID", cursor)
		a, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { a.Body.Close() })
		return a, bufio.NewScanner(a.Body)
	}
	for _, refused := range [][2]string{{id, "cross-site"}, {"nobody", "same-origin"}} {
		if a, _ := open("", refused[0], refused[1]); a.StatusCode < 400 {
			t.Errorf("%v: %d", refused, a.StatusCode)
		}
	}
	a, lines := open("c7", id, "same-origin")
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", a.StatusCode, a.Header)
	}
	var got []string
	for len(got) < 2 && lines.Scan() {
		if text := lines.Text(); text != "" && text[0] != ':' {
			got = append(got, text)
		}
	}
	if want := []string{"id: c8", `data: {"calls":[{"id":"after=c7&tag=a"}],"cursor":"c8"}`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	one := w.keys["sk-aig-one"]
	delete(w.keys, "sk-aig-one")
	if a, _ := open("c8", id, "same-origin"); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("a revoked key opens a stream: %d", a.StatusCode)
	}
	w.keys["sk-aig-one"] = one
	w.handler.(*webui.Handler).Close()
	for lines.Scan() { // to the end
	}
}
