package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/budget"
)

// once does everything that leaves something behind for a while, with names that
// never come again, and lets it be forgotten: calls that are settled, expire, are
// settled late, or come from a ledger of before, on budgets and keys that are then
// deleted, over a crash, and a window and the retention that end.
func (b *bench) once(round int) *bench {
	b.t.Helper()
	ctx := b.t.Context()
	by := budget.Author{Actor: "test", Reason: "once"}
	var budgets, keys []string
	for i := range 30 {
		name := fmt.Sprintf("once/%d/%d", round, i)
		key, _, err := b.CreateKey(ctx, budget.Key{Name: name, Scopes: []budget.Scope{budget.ScopeInference}}, by)
		if err != nil {
			b.t.Fatal(err)
		}
		st, err := b.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: budget.TagPattern(name)}, Period: []budget.Period{budget.Day, budget.Month, budget.Total}[i%3], Cap: 1000}, by)
		if err != nil {
			b.t.Fatal(err)
		}
		own, err := b.SetBudget(ctx, budget.Budget{Target: budget.Target{KeyID: key.ID}, Period: budget.Day, Cap: 1000}, by)
		if err != nil {
			b.t.Fatal(err)
		}
		budgets, keys = append(budgets, st.ID, own.ID), append(keys, key.ID)
		for j := range 4 {
			r := b.reserve(budget.Tag(name), 9)
			if j < 2 {
				b.settle(settlement(r, 3))
			}
		}
		b.settle(budget.Settlement{RequestID: "stray-" + name, Basis: budget.BasisUsage, Cost: 1, Reservation: &budget.Reservation{
			ID: 1, ReservedAt: b.clock.now(), Attribution: budget.Attribution{Tag: budget.Tag(name)}, Bound: 1}})
	}
	b.flush()
	b = b.crash()
	b.clock.add(10 * time.Minute)
	b.tick() // expires what is open, charges what the crash left
	b.agree()
	for _, id := range budgets {
		if err := b.DeleteBudget(ctx, id, "", by); err != nil {
			b.t.Fatal(err)
		}
	}
	for _, id := range keys {
		if err := b.DeleteKey(ctx, id, by); err != nil {
			b.t.Fatal(err)
		}
	}
	for range 4 { // each month the ledger is closed and opened, so that epochs end
		b.clock.add(20 * 24 * time.Hour)
		b.shut()
		b = reopen(b.t, b.dir, b.clock)
		for range 3 {
			if err := b.PruneNow(ctx); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	return b
}

// TestNothingStays counts what memory and the tables that decide keep of tags,
// keys and budgets that are gone: no more in the end than after two rounds.
func TestNothingStays(t *testing.T) {
	b := start(t)
	b.budget("**", budget.Day, budget.MaxAmount) // it stays
	var sizes []map[string]int64
	rounds := 6
	if testing.Short() {
		rounds = 3
	}
	for round := range rounds {
		b = b.once(round)
		b.sound()
		n := b.Entries()
		for _, table := range []string{"account", "base", "sealed_account", "budget", "key", "hold", "settle", "stray", "link", "epoch", "usage_late"} {
			rows, err := b.Count(t.Context(), `SELECT count(*) FROM `+table)
			if err != nil {
				t.Fatal(err)
			}
			n["table "+table] = rows
		}
		sizes = append(sizes, n)
	}
	if diff := cmp.Diff(sizes[1], sizes[rounds-1]); diff != "" {
		t.Errorf("after two rounds (-) and after %d (+):\n%s", rounds, diff)
	}
	b.agree()
}

// TestDeletedBudgetIsForgotten deletes budgets whose spend a crash left open, which
// a late log could have lowered.
func TestDeletedBudgetIsForgotten(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Total, 1000)
	for range 3 {
		b.settle(settlement(b.reserve("a", 9), 3))
	}
	b.flush()
	b = b.crash()
	b.clock.add(10 * time.Minute)
	b.tick()
	if c := b.Counters(st.ID); c.Residue == 0 {
		t.Fatalf("the crash left nothing: %+v", c)
	}
	b.agree() // what is sealed of it goes, too
	if err := b.DeleteBudget(t.Context(), st.ID, "", budget.Author{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	if n := b.Entries(); n["accounts"] != 0 {
		t.Errorf("left of a deleted budget: %v", n)
	}
	if n, err := b.Count(t.Context(), `SELECT count(*) FROM sealed_account`); err != nil || n != 0 {
		t.Errorf("%d sealed sums of deleted budgets (%v)", n, err)
	}
	b.agree()
}
