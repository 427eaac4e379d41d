package fleet_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/adminapi"
	"aigateway/budget"
	"aigateway/fleet"
)

var (
	_ adminapi.BudgetStore = (*fleet.Fleet)(nil)
	_ adminapi.KeyStore    = (*fleet.Fleet)(nil)
	_ adminapi.UsageReader = (*fleet.Fleet)(nil)
	_ adminapi.AuditReader = (*fleet.Fleet)(nil)
)

// gateway is one of several that share s; stop ends its loops.
func gateway(t *testing.T, s *store, id, dir string) (f *fleet.Fleet, l *ledger, stop func()) {
	t.Helper()
	l = &ledger{}
	f, err := fleet.New(t.Context(), fleet.Config{Store: s, Member: member{s, id}, Ledger: l, Dir: dir, Now: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	t.Cleanup(stop)
	return f, l, stop
}

// TestEditsAreObeyedWhenAnswered makes edits at one gateway and looks at once at
// another's ledger.
func TestEditsAreObeyedWhenAnswered(t *testing.T) {
	t.Parallel()
	s := newStore()
	a, _, _ := gateway(t, s, "a", t.TempDir())
	b, obeys, _ := gateway(t, s, "b", t.TempDir())
	st, err := a.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "x"}, Cap: 7}, budget.Author{})
	if err != nil || st.Cap != 7 || len(obeys.rules.Budgets) != 1 || obeys.rules.Budgets[0].Counting || obeys.rules.Budgets[0].Cap != 7 {
		t.Fatalf("%+v, %v; the other obeys %+v", st, err, obeys.rules)
	}
	if st, err = b.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "x"}, Cap: 5}, budget.Author{}); err != nil || st.Cap != 5 {
		t.Errorf("%+v, %v", st, err)
	}
	if st, err = a.UpdateBudget(t.Context(), st.ID, "", func(b *budget.Budget) error { b.Cap = 4; return nil }, budget.Author{}); err != nil || obeys.rules.Budgets[0].Cap != 4 {
		t.Errorf("%+v, %v; the other obeys %+v", st, err, obeys.rules)
	}
	k, secret, err := a.CreateKey(t.Context(), budget.Key{Name: "k"}, budget.Author{})
	if _, known := b.GetKey(k.ID); err != nil || secret == "" || known != nil {
		t.Errorf("%+v, %v; at the other: %v", k, err, known)
	}
	err = a.DeleteKey(t.Context(), k.ID, budget.Author{})
	if keys, _ := b.ListKeys("", 9); err != nil || len(keys) != 0 {
		t.Errorf("%v; the other still has %v", err, keys)
	}
	if err := a.DeleteBudget(t.Context(), st.ID, "", budget.Author{}); err != nil || len(obeys.rules.Budgets) != 0 {
		t.Errorf("%v; the other obeys %+v", err, obeys.rules)
	}
}

// TestEditsWaitForAll: an edit is not answered while a gateway obeys older rules,
// unless it is silent.
func TestEditsWaitForAll(t *testing.T) {
	t.Parallel()
	s := newStore()
	a, _, _ := gateway(t, s, "a", t.TempDir())
	_, _, stop := gateway(t, s, "b", t.TempDir())
	stop()
	limited, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	var e *budget.Error
	if err := a.DeleteKey(limited, "key_k", budget.Author{}); !errors.As(err, &e) || e.Reason != "edit_unconfirmed" {
		t.Errorf("answered without the other: %v", err)
	}
	s.mu.Lock()
	s.silent = []string{"b"}
	s.mu.Unlock()
	if err := a.DeleteKey(t.Context(), "key_k", budget.Author{}); err != nil {
		t.Error(err)
	}
}

// TestRulesThatCannotBeObeyed are not acknowledged.
func TestRulesThatCannotBeObeyed(t *testing.T) {
	t.Parallel()
	s := newStore()
	a, l, _ := gateway(t, s, "a", t.TempDir())
	l.mu.Lock()
	l.fail = errors.New("the disk is full")
	l.mu.Unlock()
	limited, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := a.DeleteKey(limited, "key_k", budget.Author{}); err == nil {
		t.Error("answered")
	}
	if a.Problem() == nil {
		t.Error("no problem is told")
	}
}

// TestUsageIsTold: reports have what this gateway booked a moment before, and what
// others told; telling it again after a lost note changes nothing.
func TestUsageIsTold(t *testing.T) {
	t.Parallel()
	s, dir := newStore(), t.TempDir()
	a, la, stop := gateway(t, s, "a", dir)
	b, lb, _ := gateway(t, s, "b", t.TempDir())
	for i := range 3000 {
		la.book(int64(i), 1)
	}
	lb.book(1, 5)
	if err := b.Push(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := a.Usage(t.Context(), budget.UsageQuery{})
	if err != nil || rows[0].Requests != 3001 || rows[0].Cost != 3005 {
		t.Errorf("%+v, %v", rows, err)
	}
	stop()
	for _, text := range []string{"2000\n", "torn", ""} {
		if err := os.WriteFile(filepath.Join(dir, "store-place"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := fleet.New(t.Context(), fleet.Config{Store: s, Member: member{s, "a"}, Ledger: la, Dir: dir, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		costs, err := again.TagCosts(t.Context(), budget.Window{}, "")
		if err != nil || costs[0].Requests != 3001 || costs[0].Cost != 3005 {
			t.Errorf("after %q: %+v, %v", text, costs, err)
		}
		if err := again.Leave(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestStoreIsGone: whatever is asked says so, and what users did wrong stays theirs.
func TestStoreIsGone(t *testing.T) {
	t.Parallel()
	s := newStore()
	a, _, _ := gateway(t, s, "a", t.TempDir())
	st, err := a.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "x"}, Cap: 7}, budget.Author{})
	if err != nil {
		t.Fatal(err)
	}
	var e *budget.Error
	if _, err := a.UpdateBudget(t.Context(), st.ID, "old", nil, budget.Author{}); !errors.As(err, &e) || e.Kind != budget.KindConflict {
		t.Errorf("an old etag: %v", err)
	}
	s.mu.Lock()
	s.fail = errors.New("connection refused")
	s.mu.Unlock()
	for name, ask := range map[string]func() error{
		"set":    func() error { _, err := a.SetBudget(t.Context(), budget.Budget{}, budget.Author{}); return err },
		"update": func() error { _, err := a.UpdateBudget(t.Context(), "x", "", nil, budget.Author{}); return err },
		"delete": func() error { return a.DeleteBudget(t.Context(), "x", "", budget.Author{}) },
		"create": func() error { _, _, err := a.CreateKey(t.Context(), budget.Key{}, budget.Author{}); return err },
		"revoke": func() error { return a.DeleteKey(t.Context(), "x", budget.Author{}) },
		"get":    func() error { _, err := a.GetBudget("x"); return err },
		"list":   func() error { _, err := a.ListBudgets("", 1); return err },
		"audit":  func() error { _, err := a.AuditLog(t.Context(), 0, 1); return err },
		"usage":  func() error { _, err := a.Usage(t.Context(), budget.UsageQuery{}); return err },
		"by tag": func() error { _, err := a.TagCosts(t.Context(), budget.Window{}, ""); return err },
	} {
		if err := ask(); !errors.As(err, &e) || e.Kind != budget.KindUnavailable || e.Reason != "store_unreachable" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
