package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/internal/reconciliationtest"
	"aigateway/ledger"
)

// booksWorld is the real REST door on a real ledger whose time the test sets.
type booksWorld struct {
	*testing.T
	ledger *ledger.Ledger
	env    map[string]string
	clock  atomic.Int64 // Unix nanoseconds
	calls  int
}

func newBooksWorld(t *testing.T) *booksWorld {
	t.Helper()
	w := &booksWorld{T: t}
	w.set(1)
	now := func() time.Time { return time.Unix(0, w.clock.Load()).UTC() }
	ctx := context.Background()
	var err error
	w.ledger, err = ledger.Open(ctx, ledger.Config{Dir: filepath.Join(t.TempDir(), "data"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.ledger.Close(ctx); err != nil {
			t.Errorf("close the ledger: %v", err)
		}
	})
	api, err := adminapi.New(adminapi.Config{
		Auth: adminOnly{w.ledger}, Keys: w.ledger, Budgets: w.ledger, History: w.ledger, Usage: w.ledger, Calls: w.ledger, Reservations: w.ledger, Adjustments: w.ledger, Bills: w.ledger, Audit: w.ledger, State: w.ledger,
		Catalog: func() adminapi.Catalog { return adminapi.Catalog{} }, Now: now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close() })
	s := httptest.NewServer(api.REST())
	t.Cleanup(s.Close)
	w.env = map[string]string{envServer: s.URL, envAPIKey: testKey}
	return w
}

// set moves the clock to noon of a day counted from 1 April 2026.
func (w *booksWorld) set(day int) {
	w.clock.Store(time.Date(2026, 4, day, 12, 0, 0, 0, time.UTC).UnixNano())
}

// call makes and settles one call.
func (w *booksWorld) call(tag budget.Tag, model string, cost budget.Amount, basis budget.Basis) {
	w.Helper()
	w.calls++
	r, err := w.ledger.Reserve(w.Context(), budget.Request{
		RequestID: fmt.Sprintf("r%d", w.calls), Bound: cost, Attribution: budget.Attribution{Tag: tag, Model: "openai/" + model, Provider: "openai"},
	})
	if err != nil {
		w.Fatal(err)
	}
	if err := w.ledger.Settle(w.Context(), budget.Settlement{Reservation: &r, Basis: basis, Cost: cost, At: time.Unix(0, w.clock.Load())}); err != nil {
		w.Fatal(err)
	}
}

// spendApril is what testdata/reconcile_costs.csv is compared with; it ends in
// May.
func (w *booksWorld) spendApril() {
	w.set(1)
	w.call("summarize", "gpt-5.5", 3*budget.Dollar, budget.BasisUsage)
	w.call("summarize", "gpt-5.5", budget.Dollar, budget.BasisBound)
	w.call("chat", "gpt-5.5", budget.Dollar, budget.BasisUsage)
	w.set(2)
	w.call("chat", "gpt-5.4-mini", 8*budget.Dollar, budget.BasisUsage)
	w.set(3)
	w.call("chat", "gpt-5.4-mini", 2_000_000, budget.BasisUsage)
	w.set(4)
	w.call("chat", "gpt-5.4-mini", 4*budget.Dollar, budget.BasisUsage)
	w.set(32)
}

// budgetOf reads a budget's line of the list.
func (w *booksWorld) budgetOf(tag string) string {
	w.Helper()
	return regexp.MustCompile(`\s+`).ReplaceAllString(must(w.T, w.env, "budgets", "list", "--tag", tag), " ")
}

func reconcileArgs(more ...string) []string {
	return append([]string{"reconcile", "--provider", "openai", "--month", "2026-04", "-f", "testdata/reconcile_costs.csv"}, more...)
}

func TestReconcile(t *testing.T) {
	w := newBooksWorld(t)
	w.spendApril()
	for _, format := range []string{"table", "json", "csv"} {
		r := runCLI(t, w.env, reconcileArgs("-o", format)...)
		if r.code != 0 {
			t.Fatalf("%s: %+v", format, r)
		}
		golden(t, "reconcile."+format+".golden", r.stdout)
		wantIn(t, r.stderr, "not in the exports, and not compared: 2026-04-04 to 2026-04-30; 4.00 USD are recorded there")
	}
}

// TestReconcileCorrects: preview, book, and nothing the second time.
func TestReconcileCorrects(t *testing.T) {
	w := newBooksWorld(t)
	must(t, w.env, "budgets", "set", "--tag", "chat", "--monthly", "2.00")
	must(t, w.env, "budgets", "delete", regexp.MustCompile(`bud_\w+`).FindString(w.budgetOf("chat")))
	w.spendApril()
	must(t, w.env, "budgets", "set", "--tag", "chat", "--monthly", "2.00")
	w.call("summarize", "gpt-5.5", 10*budget.Dollar, budget.BasisUsage)
	must(t, w.env, "budgets", "set", "--tag", "summarize", "--monthly", "20.00")
	w.call("chat", "gpt-5.4-mini", budget.Dollar, budget.BasisUsage)

	r := runCLI(t, w.env, reconcileArgs("--correct")...)
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	ids := regexp.MustCompile(`bud_[0-9A-Za-z]+`)
	golden(t, "reconcile_correct.table.golden", ids.ReplaceAllString(r.stdout, "bud_x"))
	wantIn(t, r.stderr, "1 correction puts a budget above its cap", "nothing was booked; --yes books -0.50 USD in the windows that are open now, not in 2026-04")
	if out := must(t, w.env, "adjustments", "list", "-o", "json"); strings.TrimSpace(out) != "[]" {
		t.Errorf("a preview booked %s", out)
	}

	r = runCLI(t, w.env, reconcileArgs("--correct", "--yes")...)
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	wantIn(t, r.stdout, "adj_1", "adj_2", "adj_3")
	wantIn(t, r.stderr, "booked -0.50 USD")
	list := must(t, w.env, "adjustments", "list", "-o", "csv")
	wantIn(t, list, ",summarize,,-1.60,admin,", ",chat,,-0.40,admin,", ",chat,,1.50,admin,",
		"reconciliation: provider openai, day 2026-04-02 UTC, model openai/gpt-5.4-mini: vendor 9.50, recorded 8.00, corrected before 0.00; export sha256 ")
	wantIn(t, w.budgetOf("summarize"), "20.00 8.40 0.00 11.60")
	wantIn(t, w.budgetOf("chat"), "2.00 2.10 0.00 0.00")
	_, err := w.ledger.Reserve(t.Context(), budget.Request{RequestID: "late", Bound: 1, Attribution: budget.Attribution{Tag: "chat", Model: "openai/gpt-5.5", Provider: "openai"}})
	if err == nil || !strings.Contains(err.Error(), "chat") {
		t.Errorf("a call above the cap: %v", err)
	}

	for _, args := range [][]string{{"--correct"}, {"--correct", "--yes"}, {"--correct", "--yes", "--min", "0"}} {
		again := runCLI(t, w.env, reconcileArgs(args...)...)
		if len(args) == 4 { // what is below a cent, which is a refund the budget takes
			wantIn(t, again.stdout, "2026-04-03", "-0.002", "adj_4")
			continue
		}
		if again.code != 0 || !strings.Contains(again.stderr, "no corrections are needed") {
			t.Errorf("%v: %+v", args, again)
		}
	}
	if got := strings.Count(must(t, w.env, "adjustments", "list", "-o", "csv"), "reconciliation:"); got != 4 {
		t.Errorf("%d corrections after four runs, want 4", got)
	}
	// What was billed is kept, with what was booked: the books of two days tie, and the
	// third lacks what is below a cent.
	wantIn(t, must(t, w.env, "bills", "-o", "csv"), "openai,2026-04-01,3.00,5.00,-2.00,-2.00,0.00,", "openai,2026-04-02,9.50,8.00,1.50,1.50,0.00,", "openai,2026-04-03,0.00,0.002,-0.002,-0.002,0.00,")
	if out := must(t, w.env, reconcileArgs("-o", "json")...); !strings.Contains(out, `"corrected_usd": "-0.502"`) || !strings.Contains(out, `"open_usd": "0.00"`) {
		t.Errorf("after booking: %s", out)
	}
}

// TestReconcileRefundsNoMoreThanIsSpent: the ledger would refuse it, so it is
// said before.
func TestReconcileRefundsNoMoreThanIsSpent(t *testing.T) {
	w := newBooksWorld(t)
	w.spendApril()
	must(t, w.env, "budgets", "set", "--tag", "summarize", "--daily", "5")
	r := runCLI(t, w.env, reconcileArgs("--correct", "--yes", "-o", "csv")...)
	if r.code != exitError {
		t.Fatalf("%+v", r)
	}
	wantIn(t, r.stdout, "2026-04-01,openai/gpt-5.5,summarize,-1.60,,\"not booked: budget bud_", "has spent 0.00 in its open window, less than this refund",
		"chat,1.50,adj_", "no budget watches the tag")
	wantIn(t, r.stderr, "1 correction could not be booked")
	if out := must(t, w.env, "adjustments", "list", "-o", "csv"); strings.Contains(out, "-1.60") || strings.Count(out, "reconciliation:") != 2 {
		t.Errorf("booked: %s", out)
	}
}

// TestReconcileOverTheAPI asks a stand-in for the provider.
func TestReconcileOverTheAPI(t *testing.T) {
	w := newBooksWorld(t)
	w.spendApril()
	const secret = "sk-admin-hunter2hunter2"
	v := &reconciliationtest.Vendor{OpenAIKey: secret, PageDays: 10, Lines: []reconciliationtest.Line{
		{Day: "2026-04-01", Model: "gpt-5.5-2026-04-23", USD: "5", Input: 1, Calls: 3}, {Day: "2026-04-04", Model: "gpt-5.4-mini", USD: "4.25", Input: 1, Calls: 1},
	}}
	s := httptest.NewServer(v)
	defer s.Close()
	args := []string{"reconcile", "--provider", "openai", "--month", "2026-04", "--api", "--api-url", s.URL, "-o", "csv"}
	w.env[envOpenAIAdminKey] = secret
	r := runCLI(t, w.env, args...)
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	wantIn(t, r.stdout, "2026-04-01,openai/gpt-5.5,summarize,4.00,4.00,0.00,1.00,0.00,\n", "2026-04-04,openai/gpt-5.4-mini,chat,4.25,4.00,0.25,0.00,0.00,the vendor counts other tokens: +1 input",
		"2026-04-02,openai/gpt-5.4-mini,chat,0.00,8.00,-8.00,")
	if strings.Contains(r.stdout+r.stderr, secret) {
		t.Error("the key was printed")
	}

	w.env[envOpenAIAdminKey] = "sk-admin-wrong"
	r = runCLI(t, w.env, args...)
	wantError(t, r, exitError, "download OpenAI costs", "answered 401", "(key)", "admin key")
	if strings.Contains(r.stderr, "sk-admin-wrong") {
		t.Error("the key is in the error")
	}
	file := writeFile(t, "admin", secret+"\n")
	if r := runCLI(t, w.env, append(args, "--admin-key-file", file)...); r.code != 0 {
		t.Errorf("with a key file: %+v", r)
	}
	v.Lines = nil
	wantIn(t, runCLI(t, w.env, append(args, "--admin-key-file", file)...).stdout, "the vendor has nothing under this name")
	for _, bad := range []string{"", "a b", testKey} {
		w.env[envOpenAIAdminKey] = bad
		r := runCLI(t, w.env, args...)
		wantError(t, r, exitError, "admin key")
		if bad != "" && strings.Contains(r.stderr, bad) {
			t.Error("the key is in the error")
		}
	}
	w.env[envOpenAIAdminKey] = secret
	for _, bad := range []string{"http://example.com", "https://", "https://u:p@example.com", "https://example.com?x=1", "ftp://127.0.0.1"} {
		wantError(t, runCLI(t, w.env, "reconcile", "--provider", "openai", "--month", "2026-04", "--api", "--api-url", bad), exitUsage, "--api-url must be https")
	}
}

func TestWaitToRetry(t *testing.T) {
	var stderr strings.Builder
	a := newApp(io.Discard, &stderr, func(string) string { return "" })
	if err := a.waitToRetry(t.Context(), time.Millisecond); err != nil || !strings.Contains(stderr.String(), "asking again in 1ms") {
		t.Errorf("%v, %q", err, stderr.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.waitToRetry(ctx, time.Hour); err == nil {
		t.Error("an interrupted command goes on waiting")
	}
}

func TestReconcileWithoutWhatItNeeds(t *testing.T) {
	f := &fakeREST{answer: "{}"}
	env := f.start(t)
	future := runCLI(t, env, "reconcile", "--provider", "openai", "--month", "2199-01", "-f", "x")
	wantError(t, future, exitError, "no UTC day of 2199-01 is over yet")
	wantError(t, runCLI(t, env, "reconcile", "--provider", "openai", "--month", "2026-04", "-f", "missing"), exitError, "read the export", "missing")
	wantError(t, runCLI(t, env, "reconcile", "--provider", "openai", "--month", "2026-04", "-f", writeFile(t, "f", "hello")), exitError, "read the export", "of no export that is known")
	if len(f.asked) != 0 {
		t.Errorf("asked the server: %v", f.asked)
	}
}
