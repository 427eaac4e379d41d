package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	_ adminapi.Peers       = (*fleet.Fleet)(nil)

	_ adminapi.BudgetHistory   = (*fleet.Fleet)(nil)
	_ adminapi.AdjustmentStore = (*fleet.Fleet)(nil)
)

// echo answers what it was asked, and by whom; "bad" it cannot.
func echo(id string) func(context.Context, string, []byte, int) ([]byte, error) {
	return func(_ context.Context, kind string, question []byte, most int) ([]byte, error) {
		if kind == "bad" && id != "a" {
			return nil, errors.New("nobody knows what that is")
		}
		return json.Marshal(fmt.Sprintf("%s: %s %s", id, kind, question))
	}
}

// TestQuestions: each gateway answers for itself; who cannot, or does not in time, is
// named, and so is the store where nobody can be asked.
func TestQuestions(t *testing.T) {
	t.Parallel()
	s := newStore()
	a, _, _ := gateway(t, s, "a", t.TempDir())
	gateway(t, s, "b", t.TempDir())
	_, _, stop := gateway(t, s, "c", t.TempDir())
	ask := func(kind string, answered, unreachable string) {
		t.Helper()
		answers, missing, err := a.Ask(t.Context(), kind, []byte(`{"n":1}`), false)
		var got []string
		for id, text := range answers {
			got = append(got, id)
			if want := fmt.Sprintf("%q", id+": "+kind+` {"n":1}`); string(text) != want {
				t.Errorf("%s, want %s", text, want)
			}
		}
		slices.Sort(got)
		slices.Sort(missing)
		if strings.Join(got, " ") != answered || strings.Join(missing, " ") != unreachable || err != nil {
			t.Errorf("%q, without %q, %v; want %q, without %q", got, missing, err, answered, unreachable)
		}
	}
	ask("open", "a b c", "")
	ask("bad", "a", "b c")
	stop()
	ask("open", "a b", "c")
	s.mu.Lock()
	s.fail = errors.New("connection refused")
	s.mu.Unlock()
	ask("open", "a", "store")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := a.Ask(gone, "open", []byte(`1`), false); !errors.Is(err, context.Canceled) {
		t.Errorf("of a caller that is gone: %v", err)
	}
}

// TestQuestionsAreBounded: the first question of a gateway leaves room for the answers
// of all, and many at once are a few in the store. Of questions that came together, one that takes
// long does not hold up the next one.
func TestQuestionsAreBounded(t *testing.T) {
	t.Parallel()
	s := newStore()
	for i := range 16 {
		s.obeyed[fmt.Sprintf("silent %d", i)] = 0
	}
	var most atomic.Int64
	hold := make(chan struct{})
	f, err := fleet.New(fleet.Config{Store: s, Ledger: &ledger{}, ID: "a", Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.DiscardHandler), Answer: func(ctx context.Context, kind string, _ []byte, n int) ([]byte, error) {
		most.Store(int64(n))
		if kind == "long" {
			<-hold
		}
		return []byte("1"), nil
	}})
	if err == nil {
		err = f.Join(t.Context(), member{s, "a"})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, missing, err := f.Ask(t.Context(), "open", []byte("1"), false); err != nil || len(missing) != 16 || most.Load() > 8<<20/16 {
		t.Errorf("without %q, %v; an answer may have %d bytes", missing, err, most.Load())
	}
	before := len(s.asked)
	var asking sync.WaitGroup
	for range 64 { // each waits for those that are silent
		asking.Go(func() {
			if _, missing, err := f.Ask(t.Context(), "open", []byte("1"), false); err != nil || len(missing) != 16 {
				t.Errorf("without %q, %v", missing, err)
			}
		})
	}
	asking.Wait()
	if n := len(s.asked) - before; n > 8 {
		t.Errorf("64 questions at once are %d rows", n)
	}
	answersBeside(t, s, f, hold)
}

// TestPagesAreAskedTogether: as many questions at once as pages are open are a few rows
// of the store, and each has its own answers: what is asked of the past does not join the
// others, and who does not know of several questions, as an older program, is asked
// each.
func TestPagesAreAskedTogether(t *testing.T) {
	t.Parallel()
	for _, older := range []bool{false, true} {
		s := newStore()
		if older {
			s.older = "b"
		}
		a, _, _ := gateway(t, s, "a", t.TempDir())
		gateway(t, s, "b", t.TempDir())
		ask := func(pages int) (rows int) {
			t.Helper()
			s.mu.Lock()
			before := len(s.asked)
			s.mu.Unlock()
			var asking sync.WaitGroup
			for i := range pages {
				asking.Go(func() {
					answers, missing, err := a.Ask(t.Context(), "page", fmt.Appendf(nil, `{"n":%d}`, i), i%2 == 0)
					for id, text := range answers {
						if want := fmt.Sprintf("%q", fmt.Sprintf(`%s: page {"n":%d}`, id, i)); string(text) != want {
							t.Errorf("page %d: %s, not %s", i, text, want)
						}
					}
					if len(answers) != 2 || len(missing) > 0 || err != nil {
						t.Errorf("page %d: %d answers, without %q, %v", i, len(answers), missing, err)
					}
				})
			}
			asking.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.asked) - before
		}
		if rows := ask(1); rows != 1 {
			t.Errorf("a question is %d rows", rows)
		}
		if rows := ask(40); !older && rows > 8 {
			t.Errorf("40 questions at once are %d rows", rows)
		}
		if rows := ask(5); older && rows != 5 {
			t.Errorf("5 questions of an older program are %d rows", rows)
		}
	}
}

// answersBeside asks f, which does not run yet, something that takes until hold is closed and then
// something else, and wants that answered.
func answersBeside(t *testing.T, s *store, f *fleet.Fleet, hold chan struct{}) {
	t.Helper()
	var asking sync.WaitGroup
	other := member{s, "b"}
	for i, kind := range []string{"long", "open"} {
		asking.Go(func() {
			_, missing, err := other.Ask(t.Context(), kind, []byte(`{"most":9,"body":1}`), []byte("1"), 4*time.Second, 0)
			if got := !slices.Contains(missing, "a"); err != nil || got != (i == 1) {
				t.Errorf("%s: answered: %t, %v", kind, got, err)
			}
		})
		for open := 0; open <= i; time.Sleep(time.Millisecond) {
			all, err := member{s, "a"}.Questions(t.Context())
			if open = len(all); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	asking.Wait()
	close(hold)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// gateway is one of several that share s; stop ends its loops.
func gateway(t *testing.T, s *store, id, dir string) (f *fleet.Fleet, l *ledger, stop func()) {
	t.Helper()
	l = &ledger{}
	f, err := fleet.New(fleet.Config{Store: s, Ledger: l, ID: id, Answer: echo(id), Retention: time.Hour, Dir: dir, Now: time.Now, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err == nil {
		err = f.Join(t.Context(), member{s, id})
	}
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

// TestOneProblemIsToldOnce: all that asks a store that is gone fails with the same
// words.
func TestOneProblemIsToldOnce(t *testing.T) {
	t.Parallel()
	s := newStore()
	a, _, _ := gateway(t, s, "a", t.TempDir())
	s.mu.Lock()
	s.fail = errors.New("the store is gone")
	s.mu.Unlock()
	time.Sleep(3 * time.Second) // of which each job needs one
	if err := a.Problem(); err == nil || strings.Count(err.Error(), "the store is gone") != 1 {
		t.Errorf("%v, want it once", err)
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
	if _, err := a.UsageAsOf(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := a.Usage(t.Context(), budget.UsageQuery{})
	if err != nil || rows[0].Requests != 3001 || rows[0].Cost != 3005 {
		t.Errorf("%+v, %v", rows, err)
	}
	if err := s.change(func() { delete(s.totals, "a"); s.lost++ }); err != nil { // put back from a backup
		t.Fatal(err)
	}
	if _, err := a.UsageAsOf(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err = a.Usage(t.Context(), budget.UsageQuery{})
	if err != nil || rows[0].Requests != 3001 || rows[0].Cost != 3005 {
		t.Errorf("once the store had lost it: %+v, %v", rows, err)
	}
	stop()
	for _, text := range []string{"2000\n", "torn", ""} {
		if err := os.WriteFile(filepath.Join(dir, "store-place"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := fleet.New(fleet.Config{Store: s, Ledger: la, Dir: dir, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			err = again.Join(t.Context(), member{s, "a"})
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.UsageAsOf(t.Context()); err != nil {
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

// TestAReportTellsOnce: a report of a key with many tags is many questions, and tells the
// store once what was booked here.
func TestAReportTellsOnce(t *testing.T) {
	t.Parallel()
	s := newStore()
	f, err := fleet.New(fleet.Config{Store: s, Ledger: &ledger{}, Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = f.Join(t.Context(), member{s, "a"})
	}
	if err != nil {
		t.Fatal(err)
	}
	before := s.pushes
	_, err = f.UsageAsOf(t.Context())
	for range 20 {
		_, costs := f.TagCosts(t.Context(), budget.Window{}, "t/**")
		_, usage := f.Usage(t.Context(), budget.UsageQuery{})
		err = errors.Join(err, costs, usage)
	}
	if n := s.pushes - before; err != nil || n != 1 {
		t.Errorf("told %d times, %v", n, err)
	}
}

// TestFoldsAreLearnt: what the store keeps by the day the ledger does, too, and what the
// ledger did before it had a store, the store does; usage that was told by what is no
// longer so is told again.
func TestFoldsAreLearnt(t *testing.T) {
	t.Parallel()
	s := newStore()
	alone := budget.UsageFolds{{Upto: 100, Zone: time.UTC}}
	s.due = budget.UsageFolds{{Upto: 200, Zone: time.UTC}, {Upto: 300, Zone: time.UTC}}
	l := &ledger{own: alone}
	f, err := fleet.New(fleet.Config{Store: s, Ledger: l, Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = f.Join(t.Context(), member{s, "a"})
	}
	if err != nil {
		t.Fatal(err)
	}
	follows := func() int64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.folds.Upto()
	}
	l.book(50, 1)
	if err := f.Push(t.Context()); err != nil || follows() != 100 || s.folds.Upto() != 100 {
		t.Errorf("%v; the ledger follows %d, and the store folds up to %d", err, follows(), s.folds.Upto())
	}
	if _, err := s.FoldUsage(t.Context()); err != nil { // at another gateway
		t.Fatal(err)
	}
	l.book(51, 1)
	if err := f.Push(t.Context()); err != nil || follows() != 200 || len(s.totals["a"]) != 2 {
		t.Errorf("%v; the ledger follows %d, and was told of %v", err, follows(), s.totals["a"])
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	for end := time.Now().Add(time.Minute); follows() != 300 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil || follows() != 300 {
		t.Errorf("%v; the ledger follows %d", err, follows())
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
		"set":              func() error { _, err := a.SetBudget(t.Context(), budget.Budget{}, budget.Author{}); return err },
		"update":           func() error { _, err := a.UpdateBudget(t.Context(), "x", "", nil, budget.Author{}); return err },
		"delete":           func() error { return a.DeleteBudget(t.Context(), "x", "", budget.Author{}) },
		"create":           func() error { _, _, err := a.CreateKey(t.Context(), budget.Key{}, budget.Author{}); return err },
		"revoke":           func() error { return a.DeleteKey(t.Context(), "x", budget.Author{}) },
		"get":              func() error { _, err := a.GetBudget("x"); return err },
		"list":             func() error { _, err := a.ListBudgets("", 1); return err },
		"audit":            func() error { _, err := a.AuditLog(t.Context(), 0, 1); return err },
		"bill":             func() error { return a.ImportBill(t.Context(), budget.Bill{}, budget.Author{}) },
		"bills":            func() error { _, err := a.Bills(t.Context()); return err },
		"usage":            func() error { _, err := a.Usage(t.Context(), budget.UsageQuery{}); return err },
		"as of":            func() error { _, err := a.UsageAsOf(t.Context()); return err },
		"refusals":         func() error { return a.PushRefused(t.Context(), []budget.Refused{{}}) },
		"refused":          func() error { _, err := a.Refused(t.Context(), budget.Window{}); return err },
		"windows":          func() error { _, err := a.Windows(t.Context(), "x", time.Time{}, 1); return err },
		"changes":          func() error { _, err := a.BudgetChanges(t.Context(), "x", 0, 1); return err },
		"replicas":         func() error { _, err := a.Replicas(t.Context()); return err },
		"adjust":           func() error { _, err := a.Adjust(t.Context(), budget.Adjustment{}, ""); return err },
		"list adjustments": func() error { _, err := a.Adjustments(t.Context(), "", 1); return err },
		"last adjustments": func() error { _, err := a.LastAdjustments(t.Context(), 1); return err },
		"by tag":           func() error { _, err := a.TagCosts(t.Context(), budget.Window{}, ""); return err },
	} {
		if err := ask(); !errors.As(err, &e) || e.Kind != budget.KindUnavailable || e.Reason != "store_unreachable" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNotJoined: before a store was reached, whatever needs it says that it cannot be,
// this gateway answers for itself, and a join that failed can be made again.
func TestNotJoined(t *testing.T) {
	t.Parallel()
	s := newStore()
	s.fail = errors.New("connection refused")
	f, err := fleet.New(fleet.Config{Store: s, Ledger: &ledger{}, ID: "a", Answer: echo("a"), Dir: t.TempDir(), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Join(t.Context(), member{s, "a"}); err == nil {
		t.Error("a store that is away was joined")
	}
	var e *budget.Error
	if _, err := f.UsageAsOf(t.Context()); !errors.As(err, &e) || e.Reason != "store_unreachable" {
		t.Errorf("%v", err)
	}
	if err := f.PushRefused(t.Context(), nil); !errors.As(err, &e) || e.Reason != "store_unreachable" {
		t.Errorf("%v", err)
	}
	if answers, missing, err := f.Ask(t.Context(), "open", []byte("1"), true); err != nil || len(answers) != 1 || !slices.Equal(missing, []string{"store"}) {
		t.Errorf("%q, without %q, %v", answers, missing, err)
	}
	if f.Leave(t.Context()) == nil {
		t.Error("it left what it had not joined")
	}
	s.fail = nil
	if err := f.Join(t.Context(), member{s, "a"}); err != nil {
		t.Error(err)
	}
	if _, err := f.UsageAsOf(t.Context()); err != nil {
		t.Error(err)
	}
}
