package ledger_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// real opens a ledger on the real clock, with n budgets on other tags written
// straight to the database.
func real(b testing.TB, budgets int) *ledger.Ledger {
	b.Helper()
	dir := b.TempDir()
	config := ledger.Config{Dir: dir, JournalWait: 5 * time.Second}
	l, err := ledger.Open(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	fill(b, l, budgets, 0, 0)
	if err := l.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	if l, err = ledger.Open(b.Context(), config); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close(context.Background()) })
	for _, p := range []budget.TagPattern{"team/**", "team/a/b", budget.AllTags} {
		if _, err := l.SetBudget(b.Context(), budget.Budget{Target: budget.Target{Tags: p}, Period: budget.Month, Cap: budget.MaxAmount}, budget.Author{Actor: "bench"}); err != nil {
			b.Fatal(err)
		}
	}
	return l
}

// fill writes budgets with an account each, holds on the first ones, and
// finished reservations.
func fill(b testing.TB, l *ledger.Ledger, budgets, holds, settled int) {
	b.Helper()
	month := budget.Month.WindowAt(time.Now(), time.UTC)
	script := []string{
		"BEGIN",
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)
			INSERT INTO budget (num, id, tags, key_id, period, zone, cap, create_time, update_time) SELECT i, printf('bud_%%08d', i), printf('other/%%d', i), '', 1, '', 1000000000, 1, 1 FROM n WHERE %d > 0`, budgets, budgets),
		fmt.Sprintf(`INSERT INTO account (id, budget, start, "end", spent, orphan, residue, hw) SELECT num, num, %d, %d, 1000, 0, 0, 1000 FROM budget WHERE id LIKE 'bud_0%%'`, month.Start.UnixNano(), month.End.UnixNano()),
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)
			INSERT INTO hold (rid, request_id, reserved_at, bound, unpriced, accounts, key_id, tag, model, provider) SELECT i + (1 << 43) + 2000000, printf('req-%%d', i), %d, 100, 0, x'01', 'key_a', 'other/1', 'p/m', 'p' FROM n WHERE %d > 0`, holds, time.Now().UnixNano(), holds),
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)
			INSERT INTO settle (rid, at, status, basis, bound, actual, accounts) SELECT i + (1 << 43), %d, 0, 'usage', 100, 50, x'01' FROM n WHERE %d > 0`, settled, time.Now().UnixNano(), settled),
		"UPDATE epoch SET seq = 3000000",
		"COMMIT",
	}
	// One call: the sync goroutine shares the connection.
	if err := l.Exec(b.Context(), strings.Join(script, ";\n")); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkReserveSettle(b *testing.B) {
	for _, budgets := range []int{0, 100_000} {
		b.Run("budgets="+strconv.Itoa(budgets), func(b *testing.B) {
			l := real(b, budgets)
			b.Run("reserve", func(b *testing.B) { benchReserve(b, l, false) })
			b.Run("settle", func(b *testing.B) { benchReserve(b, l, true) })
		})
	}
}

// benchReserve times one half of a call's life and runs the other untimed.
func benchReserve(b *testing.B, l *ledger.Ledger, timeSettle bool) {
	b.ReportAllocs()
	const chunk = 1000
	b.StopTimer()
	for done := 0; done < b.N; done += chunk {
		benchLives(b, l, done, min(chunk, b.N-done), func(settling bool, f func()) { time1(b, settling == timeSettle, f) })
	}
}

// benchLives reserves and then settles n calls, numbered from first, each half within timed.
func benchLives(b *testing.B, l *ledger.Ledger, first, n int, timed func(settling bool, f func())) {
	ids := make([]string, n)
	rs := make([]budget.Reservation, n)
	for i := range n {
		ids[i] = "req-" + strconv.Itoa(first+i)
	}
	timed(false, func() {
		for i := range n {
			r, err := l.Reserve(b.Context(), budget.Request{RequestID: ids[i], Bound: 100_000,
				Attribution: budget.Attribution{KeyID: "key_a", Tag: "team/a/b", Model: "p/m", Provider: "p"}})
			if err != nil {
				b.Fatal(err)
			}
			rs[i] = r
		}
	})
	timed(true, func() {
		for i := range n {
			if err := l.Settle(b.Context(), budget.Settlement{RequestID: ids[i], Reservation: &rs[i], Basis: budget.BasisUsage, Cost: 60_000}); err != nil {
				b.Fatal(err)
			}
		}
	})
	if err := l.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func time1(b *testing.B, timed bool, f func()) {
	if timed {
		b.StartTimer()
		defer b.StopTimer()
	}
	f()
}

// BenchmarkLife is a call's whole life including its share of the journal.
func BenchmarkLife(b *testing.B) {
	l := real(b, 1000)
	b.ReportAllocs()
	before := cpuTime(b)
	defer func() { b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op") }()
	b.RunParallel(func(p *testing.PB) {
		i := 0
		for p.Next() {
			i++
			id := fmt.Sprintf("%p-%d", p, i)
			r, err := l.Reserve(b.Context(), budget.Request{RequestID: id, Bound: 100_000,
				Attribution: budget.Attribution{KeyID: "key_a", Tag: "team/a/b", Model: "p/m", Provider: "p"}})
			if err != nil {
				b.Error(err)
				return
			}
			if err := l.Settle(b.Context(), budget.Settlement{RequestID: id, Reservation: &r, Basis: budget.BasisUsage, Cost: 60_000}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	if err := l.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// cpuTime is what this process used so far; wall time misleads on shared cores.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOpen starts on 100,000 budgets, 50,000 open reservations and a
// million finished ones, after a clean end and after kill -9.
func BenchmarkOpen(b *testing.B) {
	full := b.TempDir()
	l, err := ledger.Open(b.Context(), ledger.Config{Dir: full})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, l, 100_000, 50_000, 1_000_000)
	crashed := b.TempDir()
	if err := l.CopyFiles(crashed); err != nil {
		b.Fatal(err)
	}
	if err := l.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Run("clean", func(b *testing.B) { benchOpen(b, full) })
	b.Run("kill", func(b *testing.B) { benchOpen(b, crashed) })
}

func benchOpen(b *testing.B, template string) {
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		l, err := ledger.Open(b.Context(), ledger.Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := l.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	l := real(b, 0)
	_, secret, err := l.CreateKey(b.Context(), budget.Key{Name: "k", Scopes: []budget.Scope{budget.ScopeInference}}, budget.Author{Actor: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Authenticate(secret); err != nil {
			b.Fatal(err)
		}
	}
}
