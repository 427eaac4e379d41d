package gatewayconfig_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/gatewayconfig"
)

func TestStore(t *testing.T) {
	if s := mustParse(t, "").Store; s.Set() {
		t.Errorf("a store that nobody set: %+v", s)
	}
	s := mustParse(t, "store: {postgres: 'postgres://gw:hush@db.example/gw?sslmode=verify-full', durability: shared_storage}").Store
	if !s.Set() || s.Postgres.Reveal() != "postgres://gw:hush@db.example/gw?sslmode=verify-full" || s.Durability != "shared_storage" || s.MaxStale != 30*time.Second || s.ForgetAfter != 0 {
		t.Errorf("%+v", s)
	}
	if s := mustParse(t, "store: {postgres: 'postgres:///gw?host=/run/postgresql', durability: single_node, max_stale: 10s, forget_after: 20s}").Store; s.MaxStale != 10*time.Second || s.ForgetAfter != 20*time.Second {
		t.Errorf("%+v", s)
	}
	file := filepath.Join(t.TempDir(), "address")
	if err := os.WriteFile(file, []byte("postgresql://gw@db/gw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := mustParse(t, "store: {postgres: 'file:"+file+"', durability: single_node}").Store; s.Postgres.Reveal() != "postgresql://gw@db/gw" {
		t.Errorf("%+v", s)
	}
}

// TestStoreProblems: each names its field and what to do, and never the password.
func TestStoreProblems(t *testing.T) {
	for text, want := range map[string]string{
		"store: {}":                           "store.postgres: is missing; write postgres://",
		"store: {postgres: 'postgres://h/d'}": "store.durability: is missing; say what keeps",
		"store: {postgres: 'postgres://h/d', durability: synchronous_standy}":             `store.durability: is "synchronous_standy"; did you mean "synchronous_standby"?`,
		"store: {postgres: 'mysql://u:hush@h/d', durability: single_node}":                "store.postgres: must begin with postgres://",
		"store: {postgres: 'host=h password=hush', durability: single_node}":              "store.postgres: must begin with postgres://",
		"store: {postgres: 'postgres://u:hu%sh@h/d', durability: single_node}":            "store.postgres: is no URL",
		"store: {postgres: 'postgres:///d', durability: single_node}":                     "store.postgres: names no host",
		"store: {postgres: 'postgres://u:hush@h', durability: single_node}":               "store.postgres: names no database",
		"store: {postgres: '${NO_SUCH}', durability: single_node}":                        "store.postgres: the environment variable NO_SUCH is not set",
		"store: {postgres: 'file:/no/such', durability: single_node}":                     "store.postgres: read file",
		"store: {postgres: 'postgres://h/d', durability: single_node, max_stale: 1s}":     "store.max_stale: is 1s; write 5s to 10m0s",
		"store: {postgres: 'postgres://h/d', durability: single_node, forget_after: 59s}": "store.forget_after: is 59s; write 1m0s to 720h0m0s",
		"store: {postgres: 'postgres://h/d', durability: single_node, max_stall: 1m}":     "store.max_stall: unknown key",
	} {
		_, err := parse(t, text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}

// TestDigest: what differs anywhere differs there, and a path is no difference.
func TestDigest(t *testing.T) {
	digest := func(key, more string) string {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "key"), key)
		write(t, filepath.Join(dir, "c.yaml"), "providers: {openai: {api_key: file:key}}\n"+more)
		c, err := gatewayconfig.Read(filepath.Join(dir, "c.yaml"), func(string) string { return "/nowhere" })
		if err != nil {
			t.Fatal(err)
		}
		return c.Digest()
	}
	if a, b := digest("one", ""), digest("one", ""); a != b || len(a) != 12 {
		t.Errorf("the same is %q and %q", a, b)
	}
	if a, b, c := digest("one", ""), digest("two", ""), digest("one", "log_format: json"); a == b || a == c || b == c {
		t.Errorf("what differs is %q, %q and %q", a, b, c)
	}
}
