package main

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/ledger"
)

// adminOnly authenticates one admin key, and the ledger's keys.
type adminOnly struct{ ledger *ledger.Ledger }

func (a adminOnly) Authenticate(secret string) (*budget.Key, error) {
	if secret == testKey {
		return &budget.Key{ID: "admin", Scopes: []budget.Scope{budget.ScopeAdmin}}, nil
	}
	return a.ledger.Authenticate(secret)
}

// startAPI serves the real REST door on a real ledger.
func startAPI(t *testing.T) (*ledger.Ledger, map[string]string) {
	t.Helper()
	ctx := context.Background()
	l, err := ledger.Open(ctx, ledger.Config{Dir: filepath.Join(t.TempDir(), "data")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(ctx); err != nil {
			t.Errorf("close the ledger: %v", err)
		}
	})
	api, err := adminapi.New(adminapi.Config{
		Auth: adminOnly{l}, Keys: l, Budgets: l, History: l, Usage: l, Calls: l, Reservations: l, Adjustments: l, Bills: l, Audit: l, State: l,
		Catalog: func() adminapi.Catalog { return adminapi.Catalog{} }, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Close(); err != nil {
			t.Errorf("close the API: %v", err)
		}
	})
	s := httptest.NewServer(api.REST())
	t.Cleanup(s.Close)
	return l, map[string]string{envServer: s.URL, envAPIKey: testKey}
}

// must runs a command that has to succeed and returns its output.
func must(t *testing.T, env map[string]string, args ...string) string {
	t.Helper()
	r := runCLI(t, env, args...)
	if r.code != 0 {
		t.Fatalf("aigateway %s: code %d: %s", strings.Join(args, " "), r.code, r.stderr)
	}
	return r.stdout
}

func wantIn(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("got %q, want %q in it", text, w)
		}
	}
}

// TestClientAgainstTheRealAPI drives every client command against the real
// doors and the real ledger: strict decoding on both sides meets here.
func TestClientAgainstTheRealAPI(t *testing.T) {
	l, env := startAPI(t)
	secret := strings.TrimSpace(must(t, env, "keys", "create", "--name", "team a", "--tag", "summarize", "--expires", "2099-01-01"))
	key, err := l.Authenticate(secret)
	if err != nil {
		t.Fatal(err)
	}
	wantIn(t, must(t, env, "keys", "list"), key.ID, "team a", "2099-01-01T00:00:00Z")
	wantIn(t, must(t, env, "keys", "get", key.ID, "-o", "json"), `"id": "`+key.ID+`"`)

	wantIn(t, must(t, env, "budgets", "set", "--tag", "summarize", "--monthly", "500.00", "--time-zone", "Europe/Berlin"), "summarize", "500.00", "Europe/Berlin")
	must(t, env, "budgets", "set", "--key", key.ID, "--total", "10")
	idOf := regexp.MustCompile(`(?m)^bud_\w+`)
	if all := idOf.FindAllString(must(t, env, "budgets", "list"), -1); len(all) != 2 {
		t.Fatalf("two budgets were set; listed: %v", all)
	}
	id := idOf.FindString(must(t, env, "budgets", "list", "--tag", "summarize"))

	spend(t, l, key.ID, env)
	wantIn(t, must(t, env, "budgets", "get", id), "0.3225", "499.6775")
	month := time.Now().UTC().Format("2006-01")
	wantIn(t, must(t, env, "usage", "--month", month), "summarize         1      0.33")
	query := must(t, env, "usage", "query", "--by", "tag,model,key,day", "--from", month, "-o", "csv")
	wantIn(t, query, "tag,model,key_id,time,requests,", "summarize,moonshot/kimi-k2.6,"+key.ID+",", ",0.3225")
	wantIn(t, must(t, env, "usage", "query", "--by", "provider", "--tag", "summarize", "-o", "yaml"), `cost_usd: "0.3225"`)

	wantError(t, runCLI(t, env, "usage", "query", "--from", "yesterday"), exitError, "from is", "(field_invalid, HTTP 400)")
	wantError(t, runCLI(t, env, "budgets", "delete", id, "--etag", "stale"), exitError, "HTTP 409", "read it again")
	must(t, env, "budgets", "delete", id)
	wantError(t, runCLI(t, env, "budgets", "get", id), exitError, "HTTP 404", "budgets list")
	must(t, env, "keys", "delete", key.ID)
	env[envAPIKey] = secret
	wantError(t, runCLI(t, env, "usage"), exitError, "HTTP 401", envAPIKey)
	if r := runCLI(t, env, "usage"); strings.Contains(r.stderr, secret) {
		t.Error("the secret is in the error")
	}
}

// spend makes and settles one call of $0.3225, and looks at its reservation in
// between.
func spend(t *testing.T, l *ledger.Ledger, keyID string, env map[string]string) {
	t.Helper()
	ctx := context.Background()
	wantIn(t, must(t, env, "reservations", "list", "-o", "json"), "[]")
	r, err := l.Reserve(ctx, budget.Request{
		RequestID:   "0b1c",
		Attribution: budget.Attribution{KeyID: keyID, Tag: "summarize", Model: "moonshot/kimi-k2.6", Provider: "moonshot"},
		Bound:       budget.Dollar,
	})
	if err != nil {
		t.Fatal(err)
	}
	wantIn(t, must(t, env, "reservations", "list"), "summarize", "moonshot/kimi-k2.6", keyID, "1.00", "0b1c")
	err = l.Settle(ctx, budget.Settlement{RequestID: "0b1c", Reservation: &r, Basis: budget.BasisUsage, Cost: 322_500_000, At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; { // reports follow the disk
		if out := must(t, env, "usage", "-o", "csv"); strings.Contains(out, "summarize") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the settled call never showed in the report")
		}
	}
}
