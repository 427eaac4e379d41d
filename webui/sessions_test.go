package webui_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/webui"
)

// restart is another process with the same file of sessions.
func (w *world) restart(t *testing.T, path string, issuer *webui.Issuer) {
	t.Helper()
	h, err := webui.New(webui.Config{Auth: w.keys, Now: func() time.Time { return w.now }, Issuer: issuer, Sessions: path, REST: http.NotFoundHandler()})
	if err != nil {
		t.Fatal(err)
	}
	w.handler = h
}

// TestSessionsOutliveARestart keeps who is signed in, in a file that is good for nothing
// without their cookie, and forgets who signed out or whose time is over.
func TestSessionsOutliveARestart(t *testing.T) {
	w, path := newWorld(t), filepath.Join(t.TempDir(), "sessions")
	status := func(id string) int { return w.do("GET", "/ui/session", "", id).Code }
	w.restart(t, path, nil)
	stays, leaves := w.signIn(t), w.signIn(t)
	w.do("DELETE", "/ui/session", "", leaves)
	text, err := os.ReadFile(path)
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || info.Mode().Perm() != 0o600 || strings.Contains(string(text), "sk-aig") || strings.Contains(string(text), stays) {
		t.Errorf("the file: %s %v %v", text, err, statErr)
	}
	w.restart(t, path, nil)
	if status(stays) != http.StatusOK || status(leaves) != http.StatusUnauthorized {
		t.Errorf("after a restart: %d, signed out before it: %d", status(stays), status(leaves))
	}
	key := w.keys["sk-aig-one"]
	delete(w.keys, "sk-aig-one")
	if status(stays) != http.StatusUnauthorized {
		t.Error("a revoked key is signed in after a restart")
	}
	w.keys["sk-aig-one"] = key
	w.now = w.now.Add(12 * time.Hour)
	if status(stays) != http.StatusUnauthorized {
		t.Error("a session does not end")
	}
	for name, text := range map[string]string{"garbage": "{", "null": "null", "another's text": `{"` + strings.Repeat("0", 64) + `":{"until":"2126-01-01T00:00:00Z","text":"AAAA"}}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.restart(t, path, nil)
		if status(stays) != http.StatusUnauthorized || status(w.signIn(t)) != http.StatusOK {
			t.Errorf("%s in the file: nobody can sign in", name)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // it cannot be written
		t.Fatal(err)
	}
	if status(w.signIn(t)) != http.StatusOK {
		t.Error("where the file cannot be written nobody can sign in")
	}
}

// TestPeopleOutliveARestart, as long as there is an issuer.
func TestPeopleOutliveARestart(t *testing.T) {
	v, path := newVisit(t, nil), filepath.Join(t.TempDir(), "sessions")
	start := func(issuer *webui.Issuer) {
		h, err := webui.New(webui.Config{Auth: both{v.keys, v.oidc}, Now: func() time.Time { return v.now }, Issuer: issuer, Sessions: path, REST: http.NotFoundHandler()})
		if err != nil {
			t.Fatal(err)
		}
		v.handler = h
	}
	start(v.oidc)
	v.signInThere(t)
	again, err := webui.NewIssuer(v.oidc.OIDC)
	if err != nil {
		t.Fatal(err)
	}
	v.oidc = again
	start(again)
	if a := v.do("GET", "/ui/session", "", v.session()); a.Code != http.StatusOK || !strings.Contains(a.Body.String(), `"key_id":"oidc:anna@example.com","name":"anna@example.com","scopes":["usage"],"allowed_tags":["a/**"]`) {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	start(nil)
	if a := v.do("GET", "/ui/session", "", v.session()); a.Code != http.StatusUnauthorized {
		t.Errorf("without an issuer: %d %s", a.Code, a.Body)
	}
	start(again)
	v.now = v.now.Add(time.Hour)
	if a := v.do("GET", "/ui/session", "", v.session()); a.Code != http.StatusUnauthorized {
		t.Errorf("after its end: %d %s", a.Code, a.Body)
	}
	v.now = v.now.Add(-time.Hour)
	for name, change := range map[string]func(*webui.OIDC){
		"the role's scopes": func(c *webui.OIDC) { c.Roles[1].Scopes = []budget.Scope{budget.ScopeBudgets} },
		"the role's tags":   func(c *webui.OIDC) { c.Roles[1].Tags = nil },
		"no such role":      func(c *webui.OIDC) { c.Roles = c.Roles[2:] },
		"another issuer":    func(c *webui.OIDC) { c.Issuer += "/other" },
		"another client":    func(c *webui.OIDC) { c.ClientID = "other" },
		"another claim":     func(c *webui.OIDC) { c.GroupsClaim = "roles" },
		"a shorter session": func(c *webui.OIDC) { c.SessionFor = time.Minute },
		"nothing":           func(*webui.OIDC) {},
	} {
		c := v.oidc.OIDC
		c.Roles = slices.Clone(c.Roles)
		change(&c)
		changed, err := webui.NewIssuer(c)
		if err != nil {
			t.Fatal(err)
		}
		before := v.oidc
		v.oidc = changed
		start(changed)
		if a := v.do("GET", "/ui/session", "", v.session()); a.Code == http.StatusOK != (name == "nothing") {
			t.Errorf("%s has changed: %d %s", name, a.Code, a.Body)
		}
		v.oidc = before
	}
}

// TestSessionsFile is written for those who have a session alone, and where it cannot be
// written nobody who signed out is in the one of before.
func TestSessionsFile(t *testing.T) {
	w, dir := newWorld(t), t.TempDir()
	path := filepath.Join(dir, "sessions")
	w.restart(t, path, nil)
	id := w.signIn(t)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	w.do("DELETE", "/ui/session", "", "a stranger's")
	w.do("DELETE", "/ui/session", "", "")
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("strangers write the file: %v", err)
	}
	// Beside a name of this length no other fits that is made of it.
	full := filepath.Join(dir, strings.Repeat("s", 255))
	if err := os.Rename(path, full); err != nil {
		t.Fatal(err)
	}
	w.restart(t, full, nil)
	if a := w.do("GET", "/ui/session", "", id); a.Code != http.StatusOK {
		t.Fatalf("kept: %d", a.Code)
	}
	w.do("DELETE", "/ui/session", "", id)
	w.restart(t, full, nil)
	if a := w.do("GET", "/ui/session", "", id); a.Code != http.StatusUnauthorized {
		t.Errorf("signed out, and in by the file of before: %d", a.Code)
	}
}
