package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aigateway/gatewayconfig"
)

const testKey = "sk-aig-test0123456789"

// fakeREST answers every request with one canned answer and keeps what it was
// asked.
type fakeREST struct {
	status int    // 0: 200
	answer string // body

	// What was asked last, or of every request in asked.
	method, uri, body, auth string
	asked                   []string
}

func (f *fakeREST) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	f.method, f.uri, f.body, f.auth = r.Method, r.RequestURI, string(text), r.Header.Get("Authorization")
	f.asked = append(f.asked, r.Method+" "+r.RequestURI)
	w.Header().Set("Content-Type", "application/json")
	if f.status == 0 {
		f.status = http.StatusOK
	}
	w.WriteHeader(f.status)
	fmt.Fprint(w, f.answer)
}

// start serves f and returns the environment that points the program at it.
func (f *fakeREST) start(t *testing.T) map[string]string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return map[string]string{envServer: s.URL, envAPIKey: testKey}
}

func TestAnswersThatAreNoSuccess(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		answer string
		words  []string
	}{
		{"envelope", 403, `{"error":{"message":"the key may not use tag \"x\"","type":"permission_error","code":403,"metadata":{"reason":"tag_not_allowed"}}}`,
			[]string{`the key may not use tag "x" (tag_not_allowed, HTTP 403)`, "hint: use a key with the scope"}},
		{"envelope without a reason", 500, `{"error":{"message":"internal error","type":"api_error","code":500}}`, []string{"internal error (HTTP 500)"}},
		{"unauthorized", 401, `{"error":{"message":"no such key","type":"authentication_error","code":401,"metadata":{"reason":"key_invalid"}}}`,
			[]string{"no such key (key_invalid, HTTP 401)", envAPIKey}},
		{"unavailable", 503, `{"error":{"message":"recovering","metadata":{"reason":"recovering"}}}`, []string{"retry in a moment"}},
		{"conflict", 409, `{"error":{"message":"etag","metadata":{"reason":"etag_mismatch"}}}`, []string{"read it again"}},
		{"html", 502, "<html>\n<h1>Bad   gateway</h1>\x1b[31m", []string{`"502 Bad Gateway"`, `<html> <h1>Bad gateway</h1>\x1b[31m`, "check --server"}},
		{"empty", 404, "", []string{"an empty body", "check --server"}},
		{"control characters in a message", 400, `{"error":{"message":"a\u001b[2Jb\u202ec\n\td","metadata":{"reason":"r"}}}`, []string{`a\x1b[2Jb\u202ec`, "c\n\td"}},
		{"redirect", 302, "", []string{`"302 Found"`}},
		{"not what was asked for", 200, `{"budgets":[],"next_page_token":"","surprise":1}`, []string{"not what this version expects", "surprise", "aigateway version"}},
		{"no JSON", 200, `hello`, []string{"not what this version expects"}},
		{"two values", 200, `{"budgets":[],"next_page_token":""}{}`, []string{"not what this version expects"}},
		{"duplicate member", 200, `{"budgets":[],"budgets":[]}`, []string{"not what this version expects"}},
		{"money as a float", 200, `{"budgets":[{"cap_cents":0.5}],"next_page_token":""}`, []string{"not what this version expects"}},
		{"a list without an end", 200, `{"budgets":[],"next_page_token":"again"}`, []string{"same next page"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fakeREST{status: tc.status, answer: tc.answer}
			r := runCLI(t, f.start(t), "budgets", "list")
			wantError(t, r, exitError, tc.words...)
			if strings.Contains(r.stderr, testKey) {
				t.Error("the key is in the error")
			}
		})
	}
}

func TestRedirectTakesNoKeyAlong(t *testing.T) {
	elsewhere := &fakeREST{answer: "[]"}
	target := httptest.NewServer(elsewhere)
	defer target.Close()
	s := httptest.NewServer(http.RedirectHandler(target.URL+"/v1/usage/by-tag", http.StatusTemporaryRedirect))
	defer s.Close()
	wantError(t, runCLI(t, map[string]string{envServer: s.URL, envAPIKey: testKey}, "usage"), exitError, "307 Temporary Redirect")
	if len(elsewhere.asked) != 0 {
		t.Errorf("followed: %v", elsewhere.asked)
	}
}

func TestNoServer(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close() // its port refuses connections now
	wantError(t, runCLI(t, map[string]string{envServer: s.URL, envAPIKey: testKey}, "usage"), exitError,
		"no answer from "+s.URL, "connection refused", "aigateway run")
}

func TestServerFlag(t *testing.T) {
	f := &fakeREST{answer: "[]"}
	env := f.start(t)
	r := runCLI(t, map[string]string{envServer: "http://127.0.0.1:1", envAPIKey: testKey}, "usage", "--server", env[envServer]+"/base")
	if r.code != 0 || f.uri != "/base/v1/usage/by-tag" {
		t.Errorf("asked %q; %+v", f.uri, r)
	}
	for _, bad := range []string{"127.0.0.1:8081", "ftp://host", "http://", "http://h?x=1", "http://h#x", "://", "http://user:" + testKey + "@host"} {
		r := runCLI(t, map[string]string{envAPIKey: testKey}, "usage", "--server", bad)
		wantError(t, r, exitUsage, "--server")
		if strings.Contains(r.stderr, testKey) {
			t.Error("the key is in the error")
		}
	}
}

func TestWhereTheKeyComesFrom(t *testing.T) {
	f := &fakeREST{answer: "[]"}
	server := f.start(t)[envServer]
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, adminKeyFile), []byte("sk-aig-admin\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "aigateway"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "aigateway", adminKeyFile), []byte("sk-aig-home\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, "key", "sk-aig-file\r\n")
	configured := "sk-aig-configured-0123456789"
	config := writeFile(t, "aigateway.yaml", "data_dir: "+dir+"\nadmin_key: file:"+writeFile(t, "admin", configured)+"\nproviders: {openai: {api_key: \"${NOT_SET_HERE}\"}}\n")
	without := writeFile(t, "aigateway.yaml", "data_dir: "+dir+"\n")
	for _, tc := range []struct {
		name string
		env  map[string]string
		args []string
		want string
	}{
		{"data directory", map[string]string{gatewayconfig.EnvDataDir: dir}, nil, "sk-aig-admin"},
		{"the configuration's default", map[string]string{"XDG_DATA_HOME": home}, nil, "sk-aig-home"},
		{"environment first", map[string]string{gatewayconfig.EnvDataDir: dir, envAPIKey: "sk-aig-env"}, nil, "sk-aig-env"},
		{"flag before all", map[string]string{gatewayconfig.EnvDataDir: dir, envAPIKey: "sk-aig-env"}, []string{"--api-key-file", file}, "sk-aig-file"},
		{"the configuration", nil, []string{"--config", config, "--server", server}, configured},
		{"the configuration's data directory", nil, []string{"--config", without, "--server", server}, "sk-aig-admin"},
		{"environment before the configuration", map[string]string{envAPIKey: "sk-aig-env"}, []string{"--config", config, "--server", server}, "sk-aig-env"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := map[string]string{envServer: server}
			maps.Copy(env, tc.env)
			if r := runCLI(t, env, append([]string{"usage"}, tc.args...)...); r.code != 0 || f.auth != "Bearer "+tc.want {
				t.Errorf("sent %q, want %q; %+v", f.auth, tc.want, r)
			}
		})
	}
}

func TestKeysThatAreNotSent(t *testing.T) {
	f := &fakeREST{answer: "[]"}
	server := f.start(t)[envServer]
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, adminKeyFile), []byte("sk-aig-admin\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const secret = "hunter2-hunter2"
	for _, tc := range []struct {
		name  string
		env   map[string]string
		args  []string
		words []string
	}{
		{"none", map[string]string{gatewayconfig.EnvDataDir: t.TempDir()}, nil, []string{"no API key", envAPIKey, "aigateway run"}},
		{"the admin key to another machine", map[string]string{gatewayconfig.EnvDataDir: dir, envServer: "http://gateway.example:8081"}, nil, []string{"no API key for gateway.example:8081"}},
		{"one that cannot be read", nil, []string{"--config", writeFile(t, "c.yaml", "data_dir: /nowhere\nadmin_key: file:/nowhere/admin\n"), "--server", server}, []string{"read admin_key", "/nowhere/admin", "--api-key-file"}},
		{"the configured key to another machine", nil, []string{"--config", writeFile(t, "c.yaml", "data_dir: /nowhere\nadmin_key: sk-aig-0123456789012345678901\n"), "--server", "http://gateway.example:8081"}, []string{"no API key for gateway.example:8081"}},
		{"another program's key", map[string]string{envAPIKey: secret}, nil, []string{"holds no aigateway key", "sk-aig-"}},
		{"only the prefix", map[string]string{envAPIKey: "sk-aig-"}, nil, []string{"holds no aigateway key"}},
		{"a line break", map[string]string{envAPIKey: "sk-aig-a\r\nx-evil: 1"}, nil, []string{"holds no aigateway key"}},
		{"a wrong file", nil, []string{"--api-key-file", writeFile(t, "f", secret)}, []string{"holds no aigateway key"}},
		{"no file", nil, []string{"--api-key-file", filepath.Join(dir, "missing")}, []string{"read the API key", "missing"}},
		{"a folder", nil, []string{"--api-key-file", dir}, []string{"read the API key"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env := map[string]string{envServer: server}
			for k, v := range tc.env {
				env[k] = v
			}
			r := runCLI(t, env, append([]string{"usage"}, tc.args...)...)
			wantError(t, r, exitError, tc.words...)
			if strings.Contains(r.stderr, secret) {
				t.Error("the secret is in the error")
			}
		})
	}
	if len(f.asked) != 0 {
		t.Errorf("sent something: %v", f.asked)
	}
}
