package ledger_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// BenchmarkDisk measures what a finished call adds to the database, when every
// call has a commit of its own (10 calls a second) and when 20 share one (1,000 a
// second): the numbers of docs/operations.md and of DiskEstimate.
func BenchmarkDisk(b *testing.B) {
	for _, perCommit := range []int{1, 20} {
		b.Run(fmt.Sprintf("calls-per-commit=%d", perCommit), func(b *testing.B) {
			dir := b.TempDir()
			l, err := ledger.Open(b.Context(), ledger.Config{Dir: dir})
			if err != nil {
				b.Fatal(err)
			}
			for i := range 2 {
				tags := []budget.TagPattern{"team/a/**", "**"}
				if _, err := l.SetBudget(b.Context(), budget.Budget{Target: budget.Target{Tags: tags[i]}, Period: budget.Month, Cap: budget.MaxAmount}, budget.Author{Actor: "bench"}); err != nil {
					b.Fatal(err)
				}
			}
			pages := func() int64 {
				n, err := l.Count(b.Context(), `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`)
				if err != nil {
					b.Fatal(err)
				}
				return n
			}
			n, before := 0, pages()
			for b.Loop() {
				rs := make([]budget.Reservation, perCommit)
				for i := range rs {
					rs[i], err = l.Reserve(b.Context(), budget.Request{RequestID: fmt.Sprintf("%08x-5cf1-4f4e-9bb1-0123456789ab", n), Bound: 100_000_000, Arithmetic: make([]byte, 44),
						Attribution: budget.Attribution{KeyID: "key_aaaaaaaaaaaaaaaa", Tag: "team/a/agent-7", Model: "openai/gpt-5.5", Provider: "openai"}})
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if err := l.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
				for i := range rs {
					if err := l.Settle(b.Context(), budget.Settlement{Reservation: &rs[i], Basis: budget.BasisUsage, Cost: 12_345_678, Tokens: budget.Tokens{Input: 1234, Output: 567}, Status: 200, At: rs[i].ReservedAt.Add(1500 * time.Millisecond)}); err != nil {
						b.Fatal(err)
					}
				}
				if err := l.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(pages()-before)/float64(n), "bytes/call")
			if err := l.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkUsageDisk measures what a row of usage takes, and what stays of it once
// it is kept by the day: a month of ten combinations a quarter of an hour.
func BenchmarkUsageDisk(b *testing.B) {
	const quarters, combinations = 30 * 96, 10
	for _, zone := range []string{"UTC", "Asia/Kolkata"} {
		b.Run(zone, func(b *testing.B) {
			place, err := time.LoadLocation(zone)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				clock := &clock{t: time.Date(2026, 4, 1, 0, 0, 0, 0, place)}
				l := reopen(b, b.TempDir(), clock, func(c *ledger.Config) { c.Zone, c.UsageMonths = place, 2 })
				for range quarters {
					for i := range combinations {
						r, err := l.Reserve(b.Context(), budget.Request{RequestID: fmt.Sprint(l.n), Bound: 5,
							Attribution: budget.Attribution{KeyID: "key_aaaaaaaaaaaaaaaa", Tag: budget.Tag(fmt.Sprint("team/a/agent-", i)), Model: "openai/gpt-5.5", Provider: "openai"}})
						if err != nil {
							b.Fatal(err)
						}
						l.n++
						l.settle(settlement(r, 12_345_678))
					}
					clock.add(15 * time.Minute)
				}
				l.flush()
				size := func() float64 {
					n, err := l.Count(b.Context(), `SELECT sum(pgsize) FROM dbstat WHERE name = 'usage'`)
					if err != nil {
						b.Fatal(err)
					}
					return float64(n)
				}
				before := size()
				clock.add(100 * 24 * time.Hour)
				l.calls("later", 1)
				clock.add(5 * time.Hour)
				l.checked()     // only what is sealed is folded
				for range 400 { // rounds of folding
					if err := l.PruneNow(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(before/quarters/combinations, "bytes/row")
				b.ReportMetric(size()/before*100, "%-kept-by-day")
				l.shut()
			}
		})
	}
}

// BenchmarkCheckRate is how many rows a second ledger check, verify and backup read.
func BenchmarkCheckRate(b *testing.B) {
	const rows = 100_000
	l := start(b)
	for i := range 100 {
		l.calls(budget.Tag(fmt.Sprint("t/", i)), rows/100)
	}
	l.checked()
	i := inspect(b, l.dir)
	for name, read := range map[string]func() error{
		"check":  func() error { _, err := i.Check(b.Context()); return err },
		"verify": func() error { _, err := i.Verify(b.Context()); return err },
		"backup": func() error { return i.Backup(b.Context(), filepath.Join(b.TempDir(), "copy.db")) },
	} {
		b.Run(name, func(b *testing.B) {
			before := cpuTime(b)
			for b.Loop() {
				if err := read(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(rows*float64(b.N)/(cpuTime(b)-before).Seconds(), "rows/cpu-s")
		})
	}
}
