package ledger_test

import (
	"context"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// BenchmarkReserveSettleShared is BenchmarkReserveSettle on budgets that a store
// lends: what a decision costs must not depend on it.
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
	if err := l.ApplyRules(b.Context(), rules); err != nil {
		b.Fatal(err)
	}
	for l.Ready() != nil {
		time.Sleep(time.Millisecond)
	}
	b.Run("reserve", func(b *testing.B) { benchReserve(b, l, false) })
	b.Run("settle", func(b *testing.B) { benchReserve(b, l, true) })
}
