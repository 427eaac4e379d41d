package ledger_test

import (
	"fmt"
	"testing"

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
					rs[i], err = l.Reserve(b.Context(), budget.Request{RequestID: fmt.Sprint(n), Bound: 100_000_000,
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
					if err := l.Settle(b.Context(), budget.Settlement{Reservation: &rs[i], Basis: budget.BasisUsage, Cost: 12_345_678}); err != nil {
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
