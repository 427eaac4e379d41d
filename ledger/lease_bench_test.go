package ledger_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// BenchmarkReserveSettleShared times calls on budgets of a ledger's own and on the same
// ones that a store lends, a thousand of each in turns: what a decision costs must not
// depend on it. It reports the 25th percentile for a call.
func BenchmarkReserveSettleShared(b *testing.B) {
	caps := map[string]budget.Amount{}
	rules := budget.Rules{Version: 1}
	for _, p := range []budget.TagPattern{"team/**", "team/a/b", budget.AllTags} {
		id := "bud_" + string(p)
		caps[id] = budget.MaxAmount
		rules.Budgets = append(rules.Budgets, budget.SharedBudget{Budget: budget.Budget{ID: id, Target: budget.Target{Tags: p}, Period: budget.Month, Cap: budget.MaxAmount}})
	}
	l, err := ledger.Open(b.Context(), ledger.Lent(ledger.Config{Dir: b.TempDir(), JournalWait: 5 * time.Second}, caps))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close(context.Background()) })
	l.FollowClock(time.Now())
	if err := l.ApplyRules(b.Context(), rules); err != nil {
		b.Fatal(err)
	}
	for l.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	const calls = 1000
	var took [2][2][]time.Duration // without and with; reserved and settled
	both := []*ledger.Ledger{real(b, 0), l}
	b.ResetTimer()
	for i := range b.N {
		for lent, l := range both {
			benchLives(b, l, i*calls, calls, func(settling bool, f func()) {
				half := 0
				if settling {
					half = 1
				}
				begun := time.Now()
				f()
				took[lent][half] = append(took[lent][half], time.Since(begun)/calls)
			})
		}
	}
	for lent, which := range []string{"alone", "lent"} {
		for half, what := range []string{"reserve", "settle"} {
			slices.Sort(took[lent][half])
			b.ReportMetric(float64(took[lent][half][b.N/4].Nanoseconds()), which+"-"+what+"-ns")
		}
	}
}

// BenchmarkApplyRules puts each of 100 edits of 10,000 budgets in force, as what changed
// and as all rules, in turns.
func BenchmarkApplyRules(b *testing.B) {
	rules, caps := budget.Rules{Version: 1}, map[string]budget.Amount{}
	for i := range 10_000 {
		id := fmt.Sprint("bud_", i)
		caps[id] = budget.MaxAmount
		rules.Budgets = append(rules.Budgets, budget.SharedBudget{Budget: budget.Budget{ID: id, Target: budget.Target{Tags: budget.TagPattern(fmt.Sprint("m/", i))}, Period: budget.Month, Cap: budget.Dollar,
			CreateTime: time.Unix(1, 0), UpdateTime: time.Unix(1, 0)}})
	}
	l, err := ledger.Open(b.Context(), ledger.Lent(ledger.Config{Dir: b.TempDir(), JournalWait: 5 * time.Second}, caps))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close(context.Background()) })
	apply := func(r budget.Rules) time.Duration {
		begun := time.Now()
		if err := l.ApplyRules(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		return time.Since(begun)
	}
	apply(rules)
	var took [2][]time.Duration
	for range b.N {
		for i := range 200 {
			rules.Version++
			rules.Budgets[i].Cap++
			if i%2 == 0 {
				took[0] = append(took[0], apply(budget.Rules{Version: rules.Version, Since: rules.Version - 1, Budgets: rules.Budgets[i : i+1]}))
			} else {
				took[1] = append(took[1], apply(rules))
			}
		}
	}
	for i, what := range []string{"changed-ms", "all-ms"} {
		slices.Sort(took[i])
		b.ReportMetric(took[i][len(took[i])/2].Seconds()*1000, what)
	}
	b.ReportMetric(0, "ns/op")
}
