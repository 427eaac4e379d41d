package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const keyJSON = `{"id":"key_3","name":"team a","scopes":["inference","usage"],"allowed_tags":["team/a/**"],"default_tag":"team/a",
"allowed_models":["openai/*","moonshot/kimi-k2.6"],"create_time":"2026-03-01T00:00:00Z","expire_time":"2027-01-01T00:00:00Z","default_max_tokens":1024,"default_max_tool_calls":2}`

const secretText = "sk-aig-only-shown-once"

func TestKeysCreate(t *testing.T) {
	f := &fakeREST{answer: `{"key":` + keyJSON + `,"secret":"` + secretText + `"}`}
	env := f.start(t)
	r := runCLI(t, env, "keys", "create", "--name", "team a", "--scope", "inference,usage", "--tag", "team/a/**", "--tag", "a,b",
		"--default-tag", "team/a", "--model", "openai/*", "--expires", "2027-01-01", "--default-max-tokens", "1024", "--default-max-tool-calls", "2")
	if r.code != 0 || r.stdout != secretText+"\n" {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(r.stderr, "shown this once") || strings.Contains(r.stderr, secretText) {
		t.Errorf("stderr %q", r.stderr)
	}
	want := `{"allowed_models":["openai/*"],"allowed_tags":["team/a/**","a,b"],"default_max_tokens":1024,"default_max_tool_calls":2,"default_tag":"team/a","expire_time":"2027-01-01T00:00:00Z","name":"team a","scopes":["inference","usage"]}`
	if diff := cmp.Diff(want, f.body); diff != "" || f.method+f.uri != "POST/v1/keys" {
		t.Errorf("%s %s -want +got:\n%s", f.method, f.uri, diff)
	}
	r = runCLI(t, env, "keys", "create", "--name", "x", "-o", "json")
	if r.code != 0 || strings.Count(r.stdout+r.stderr, secretText) != 1 || !strings.Contains(r.stdout, `"id": "key_3"`) {
		t.Errorf("%+v", r)
	}
	r = runCLI(t, env, "keys", "create", "--name", "x", "-o", "csv")
	if header, row, _ := strings.Cut(r.stdout, "\n"); r.code != 0 || !strings.HasSuffix(header, ",secret") || !strings.HasSuffix(row, ","+secretText+"\n") {
		t.Errorf("%+v", r)
	}
	if want := `{"name":"x","scopes":["inference"]}`; f.body != want {
		t.Errorf("body %s, want %s", f.body, want)
	}
}

func TestKeysList(t *testing.T) {
	f := &fakeREST{answer: `{"keys":[` + keyJSON + `,{"id":"key_4","name":"root","scopes":["admin"],"allowed_tags":[],"default_tag":"","allowed_models":[],"create_time":"2026-03-01T00:00:00Z"}],"next_page_token":""}`}
	env := f.start(t)
	for _, format := range []string{"table", "csv"} {
		r := runCLI(t, env, "keys", "list", "-o", format)
		if r.code != 0 {
			t.Fatalf("%+v", r)
		}
		golden(t, "keys."+format+".golden", r.stdout)
	}
}

func TestKeysGetAndDelete(t *testing.T) {
	f := &fakeREST{answer: keyJSON}
	env := f.start(t)
	if r := runCLI(t, env, "keys", "get", "key_3", "-o", "yaml"); r.code != 0 || !strings.Contains(r.stdout, "expire_time: \"2027-01-01T00:00:00Z\"") {
		t.Errorf("%+v", r)
	}
	f.answer = "{}"
	if r := runCLI(t, env, "keys", "delete", "key_3"); r.code != 0 || r.stdout != "" || f.method+f.uri != "DELETE/v1/keys/key_3" {
		t.Errorf("asked %s %s; %+v", f.method, f.uri, r)
	}
}
