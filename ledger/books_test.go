package ledger_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/ledger"
)

func inspect(t testing.TB, dir string) *ledger.Inspector {
	t.Helper()
	i, err := ledger.Inspect(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i
}

// proven checks the books and the hash chain, and returns the head.
func proven(t testing.TB, dir string, expect ...ledger.Head) ledger.Head {
	t.Helper()
	i := inspect(t, dir)
	r, err := i.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Mismatches {
		t.Error(m)
	}
	v, err := i.Verify(t.Context(), expect...)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range v.Problems {
		t.Error(p)
	}
	return v.Head
}

// agree checks the books of the running ledger, memory included, and of disk.
func (b *bench) agree() ledger.Head {
	b.t.Helper()
	b.flush()
	r, err := b.Check(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range r.Mismatches {
		b.t.Error(m)
	}
	b.sound()
	return proven(b.t, b.dir)
}

func (b *bench) adjust(a budget.Adjustment) budget.Adjustment {
	b.t.Helper()
	b.n++
	if a.RequestID == "" {
		a.RequestID = fmt.Sprintf("adjust-%d", b.n)
	}
	a.Reason = "the provider's invoice says so"
	out, err := b.Adjust(b.t.Context(), a, "key_ops")
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// eventful is a ledger with a row of every kind: settled, expired, corrected,
// orphaned, stray, adjusted, an audit log, and a residue.
func eventful(t *testing.T) (*bench, budget.Status) {
	t.Helper()
	b := start(t)
	st := b.budget("a", budget.Month, 1_000_000)
	b.budget("**", budget.Day, 1_000_000)
	for range 3 {
		b.settle(settlement(b.reserve("a", 60), 20))
		b.flush()
	}
	late := b.reserve("a", 60)
	b.reserve("a", 70)
	b.clock.add(6 * time.Minute)
	b.tick() // both expire
	b.settle(settlement(late, 30))
	b.flush()
	b.settle(settlement(b.reserve("a", 500), 60))
	b.flush()
	release := b.gate.Stall()
	lost := b.reserve("a", 50)
	dir := t.TempDir()
	if err := b.CopyFiles(dir); err != nil {
		t.Fatal(err)
	}
	release()
	n := b.n
	b = reopen(t, dir, b.clock)
	b.n = n
	b.settle(settlement(lost, 20))
	b.clock.add(6 * time.Minute)
	b.tick() // what is left of the pool is charged
	stray := lost
	stray.ID = 1 << 60
	b.settle(budget.Settlement{RequestID: "stray-1", Reservation: &stray, Basis: budget.BasisUsage, Cost: 7})
	b.reserve("a", 11)
	b.adjust(budget.Adjustment{Tag: "a", Amount: 15})
	b.adjust(budget.Adjustment{BudgetID: st.ID, Amount: -5})
	b.flush()
	return b, st
}

func TestBooksAgree(t *testing.T) {
	b, st := eventful(t)
	head := b.agree()
	b = b.crash()
	b.agree()
	if err := b.DeleteBudget(t.Context(), st.ID, "", budget.Author{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	again := b.budget("a", budget.Month, 1_000_000) // starts with what the target cost
	b.settle(settlement(b.reserve("a", 60), 20))
	if c := b.Counters(again.ID); c.Used < 200 {
		t.Errorf("counters %+v: a new budget forgot the past", c)
	}
	b.agree()
	proven(t, b.dir, head)
	b.shut()
	proven(t, b.dir, head)
}

func TestPrunedBooksAgree(t *testing.T) {
	b, st := eventful(t)
	before := b.agree()
	was := b.Counters(st.ID)
	b.shut()
	b = reopen(t, b.dir, b.clock, func(c *ledger.Config) { c.Retention = time.Hour; c.HoldTimeout = 100 * time.Hour })
	b.settle(settlement(b.reserve("a", 60), 20))
	b.flush()
	for range 3 {
		b.clock.add(2 * time.Hour)
		if err := b.PruneNow(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.agree()
	}
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM settle"); err != nil || n != 0 {
		t.Errorf("%d settled rows are left (%v)", n, err)
	}
	if c := b.Counters(st.ID); c.Spent != was.Spent+20 {
		t.Errorf("counters %+v, want what was %+v and 20 more", c, was)
	}
	v, err := inspect(t, b.dir).Verify(t.Context(), before)
	if err != nil || len(v.Problems) != 1 || !strings.Contains(v.Problems[0], "older than what is retained") {
		t.Errorf("a head that was pruned: %v, %v", v, err)
	}
	if v.From == 0 || v.Audit < 5 {
		t.Errorf("verification %+v, want a checkpoint and the whole audit log", v)
	}
}

// TestTampering changes the files behind the ledger's back, one way at a time.
func TestTampering(t *testing.T) {
	b, _ := eventful(t)
	b.clock.add(5 * time.Hour)
	b.tick()
	b.reserve("a", 12)
	head := b.agree() // seals usage, too
	b.shut()
	for _, c := range []struct {
		sql           string
		check, verify bool // must notice
	}{
		{`UPDATE account SET spent = spent - 1 WHERE id = 1`, true, false},
		{`UPDATE account SET residue = residue + 1 WHERE id = 1`, true, false},
		{`UPDATE account SET hw = spent - 1 WHERE id = 1`, true, false},
		{`UPDATE base SET amount = amount + 1 WHERE account = 1`, true, false},
		{`UPDATE usage SET cost = cost - 1`, true, true},
		{`UPDATE usage SET requests = requests + 1`, true, true},
		{`UPDATE hold SET bound = bound + 1000000`, true, false},
		{`INSERT INTO hold SELECT rid, 'r', 1, 0, 0, x'', '', '', '', '', NULL FROM settle LIMIT 1`, true, false},
		{`UPDATE settle SET actual = actual + 1 WHERE status = 0`, true, true},
		{`UPDATE settle SET bound = bound + 1, actual = actual + 1 WHERE status = 1`, true, true},
		{`UPDATE settle SET actual = 1 WHERE status = 2`, true, true},
		{`UPDATE settle SET actual = 1 WHERE status = 3`, true, true},
		{`UPDATE settle SET at = at + 1 WHERE status = 0`, false, true},
		{`UPDATE settle SET basis = 'bound' WHERE status = 0`, false, true},
		{`DELETE FROM settle WHERE status = 0`, true, true},
		{`DELETE FROM settle WHERE status = 2`, true, true},
		{`UPDATE settle SET link = 0 WHERE status = 0`, false, true},
		{`UPDATE settle SET link = link + 1 WHERE status = 0`, false, true},
		{`INSERT INTO settle (rid, at, status, basis, bound, actual, accounts) VALUES (77, 1, 0, 'released', 0, 0, x'')`, false, true},
		{`UPDATE stray SET actual = 6`, true, true},
		{`UPDATE stray SET tag = 'x'`, true, true},
		{`UPDATE settle SET tag = 'x' WHERE status = 0`, true, true},
		{`UPDATE settle SET tag = NULL WHERE status = 0`, true, true},
		{`UPDATE settle SET tag = 'x' WHERE status = 1`, true, true},
		{`UPDATE settle SET tag = 'x' WHERE status = 2`, true, true},
		{`UPDATE settle SET tag = 'x' WHERE status = 3`, true, true},
		{`UPDATE usage SET tag = tag || 'x'`, true, true},
		{`INSERT INTO usage_tag (tag, requests, cost) VALUES ('a', 0, 1)`, true, false},
		{`UPDATE meta SET value = 1000000 WHERE name = 'tagged_after'`, false, true},
		{`UPDATE sealed_account SET amount = amount + 1`, true, true},
		{`DELETE FROM sealed_account`, true, true},
		{`UPDATE sealed_account SET amount = amount - 1; UPDATE account SET spent = spent - 1`, true, true},
		{`UPDATE sealed_tag SET cost = cost + 1`, true, true},
		{`UPDATE sealed_tag SET requests = requests + 1`, true, true},
		{`INSERT INTO sealed_tag VALUES ('x', 1, 1)`, true, true},
		{`DELETE FROM sealed_tag`, true, true},
		{`UPDATE sealed_usage SET cost = cost - 1`, true, true},
		{`UPDATE sealed_usage SET cost = cost - 1 WHERE month > 0`, true, true},
		{`UPDATE sealed_usage SET requests = requests + 1 WHERE month < 0`, true, true},
		{`UPDATE sealed_usage SET month = month + 1 WHERE month > 0`, true, true},
		{`INSERT INTO sealed_usage VALUES (5, 'x', 0, 1)`, true, true},
		{`DELETE FROM sealed_usage`, true, true},
		{`UPDATE seal SET link = link - 1`, true, true},
		{`UPDATE seal SET link = 0`, true, true},
		{`UPDATE seal SET bucket = bucket - 1`, true, true},
		{`UPDATE link SET calls = x'' WHERE no = (SELECT link FROM settle WHERE status = 0)`, false, true},
		{`UPDATE link SET calls = x'ff' WHERE no = (SELECT link FROM settle WHERE status = 3)`, false, true},
		{`DELETE FROM stray`, true, true},
		{`UPDATE adjust SET reason = 'never mind' WHERE id = 1`, false, true},
		{`UPDATE adjust SET amount = 14 WHERE id = 1`, true, true},
		{`DELETE FROM adjust WHERE id = 2`, false, true},
		{`UPDATE audit SET actor = 'nobody' WHERE id = 2`, false, true},
		{`DELETE FROM audit WHERE id = 2`, false, true},
		{`DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)`, false, true},
		{`DELETE FROM audit`, false, true},
		{`INSERT INTO audit (at, actor, action, subject, detail) VALUES (1, 'a', 'b', 'c', '{}')`, false, true},
		{`UPDATE link SET at = at + 1 WHERE no = 2`, false, true},
		{`DELETE FROM link WHERE no = 2`, false, true},
		{`DELETE FROM link WHERE no = (SELECT max(no) FROM link)`, false, true},
		{`UPDATE head SET hash = zeroblob(32)`, false, true},
		{`INSERT INTO checkpoint SELECT no, hash, at, 0 FROM link WHERE no = 3`, false, true},
		{`INSERT INTO settle SELECT 77, at, 0, 'released', 0, 0, x'', NULL, NULL, NULL, NULL, 'a', NULL, NULL, link, 0, NULL FROM settle WHERE status = 0 LIMIT 1`, false, true},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(b.dir)); err != nil {
			t.Fatal(err)
		}
		tamper(t, dir, c.sql)
		i := inspect(t, dir)
		r, err := i.Check(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", c.sql, err)
		}
		if got := len(r.Mismatches) > 0; got != c.check {
			t.Errorf("%s: check noticed: %v, want %v (%v)", c.sql, got, c.check, r.Mismatches)
		}
		v, err := i.Verify(t.Context(), head)
		if err != nil {
			t.Fatalf("%s: %v", c.sql, err)
		}
		if got := len(v.Problems) > 0; got != c.verify {
			t.Errorf("%s: verify noticed: %v, want %v (%v)", c.sql, got, c.verify, v.Problems)
		}
	}
}

func tamper(t *testing.T, dir, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	result, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%s: changed nothing (%v)", statement, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHeadText(t *testing.T) {
	b := start(t)
	head := b.agree()
	if again, err := ledger.ParseHead(head.String()); err != nil || again != head {
		t.Errorf("%v becomes %v (%v)", head, again, err)
	}
	for _, bad := range []string{"", "1", "1:", "1:00", "-1:" + strings.Repeat("0", 64), "x:" + strings.Repeat("0", 64), "1:" + strings.Repeat("0", 66)} {
		if h, err := ledger.ParseHead(bad); err == nil {
			t.Errorf("%q is read as %v", bad, h)
		}
	}
}

// TestMismatchFailsClosed damages one account of a running ledger.
func TestMismatchFailsClosed(t *testing.T) {
	registry := prometheus.NewRegistry()
	b := start(t, func(c *ledger.Config) { c.Metrics = registry })
	st := b.budget("a", budget.Month, 1000)
	b.budget("b", budget.Month, 1000)
	b.settle(settlement(b.reserve("a", 60), 20))
	b.agree()
	damage := func(delta int) {
		t.Helper()
		b.flush()
		if err := b.Exec(t.Context(), `UPDATE account SET spent = spent + ? WHERE spent = ?`, delta, 20+max(0, -delta)); err != nil {
			t.Fatal(err)
		}
	}
	damage(1)
	r, err := b.Check(t.Context())
	if err != nil || len(r.Mismatches) == 0 || r.Mismatches[0].BudgetID != st.ID {
		t.Fatalf("check: %+v, %v", r, err)
	}
	if e := b.refuse("a", 10, "books_disagree"); e.Kind != budget.KindUnavailable {
		t.Errorf("kind %v, want unavailable: the cap is not the reason", e.Kind)
	}
	b.settle(settlement(b.reserve("b", 60), 20))
	if got := gauge(t, registry, "aig_ledger_mismatches"); got == 0 {
		t.Error("no alarm")
	}
	damage(-1)
	b.agree()
	b.reserve("a", 10)
	if got := gauge(t, registry, "aig_ledger_mismatches"); got != 0 {
		t.Errorf("alarm of %v after the repair", got)
	}
}

func gauge(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// TestCheckInBackground lets the timer find the damage.
func TestCheckInBackground(t *testing.T) {
	b := start(t, func(c *ledger.Config) { c.CheckEvery = 20 * time.Millisecond })
	b.budget("a", budget.Month, 1000)
	b.settle(settlement(b.reserve("a", 60), 20))
	b.flush()
	if err := b.Exec(t.Context(), `UPDATE base SET amount = amount + 1`); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		_, err := b.Reserve(t.Context(), b.request("a", 1))
		return err != nil && asError(t, err).Reason == "books_disagree"
	})
}

// TestCheckUnderLoad recounts while calls run: no state between two commits
// may look like a mismatch.
func TestCheckUnderLoad(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, budget.MaxAmount)
	b.budget("**", budget.Total, budget.MaxAmount)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			r, err := b.Reserve(t.Context(), budget.Request{RequestID: fmt.Sprint(i), Bound: 100, Attribution: budget.Attribution{Tag: "a"}})
			if err == nil && i%5 > 0 {
				err = b.Settle(t.Context(), settlement(r, budget.Amount(i%130)))
			}
			if err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for range 10 {
		r, err := b.Check(t.Context())
		if err != nil || len(r.Mismatches) > 0 {
			t.Errorf("check: %+v, %v", r, err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	b.agree()
}

// TestFirstSchemaIsTakenOver opens a database that was written before there
// were books.
func TestFirstSchemaIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	schema, err := os.ReadFile("migrations/0001_ledger.sql")
	if err != nil {
		t.Fatal(err)
	}
	month := budget.Month.WindowAt(april, time.UTC)
	db, err := sql.Open("sqlite", filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), string(schema)+fmt.Sprintf(`
		INSERT INTO budget VALUES (1, 'bud_1', 'a', '', 1, '', 1000, 1, 1);
		INSERT INTO account VALUES (1, 1, %d, %d, 90, 0, 10, 90);
		INSERT INTO epoch VALUES (1, 5, 1);
		INSERT INTO settle (rid, at, status, basis, bound, actual, accounts) VALUES (8796093022209, 1, 0, 'usage', 60, 50, x'01');
		INSERT INTO stray VALUES ('s', 1, 'usage', 7, x'01');
		INSERT INTO usage VALUES (1, 'a', 'p/m', 'p', 'k', 9, 0, 70, 0, 0, 0, 0);
		INSERT INTO audit VALUES (1, 1, 'admin', 'create_budget', 'bud_1', '{}');
		PRAGMA application_id = 1634297719; PRAGMA user_version = 1;`, month.Start.UnixNano(), month.End.UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Inspect(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "schema 1") {
		t.Errorf("inspecting the old schema: %v", err)
	}
	b := reopen(t, dir, &clock{t: april})
	b.settle(settlement(b.reserve("a", 60), 20))
	b.agree()
	b.want("bud_1", 110, 0)
}
