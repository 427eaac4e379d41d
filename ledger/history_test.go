package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"aigateway/budget"
)

// TestWindows tells of windows that ended, also once their accounts are gone: what
// each spent, under which cap, and what the cap refused. A deleted budget takes its
// windows along.
func TestWindows(t *testing.T) {
	b := start(t)
	one := b.budget("a", budget.Day, 100)
	refused := func(at time.Time, reason string, calls int64) budget.Refused {
		return budget.Refused{BudgetID: one.ID, Reason: reason, Time: at.Truncate(15 * time.Minute), RefusedSum: budget.RefusedSum{Calls: calls, Distinct: 1, Kept: 1000}}
	}
	b.settle(settlement(b.reserve("a", 60), 20))
	first := b.clock.now()
	if err := b.AddRefused(t.Context(), []budget.Refused{refused(first, "cap_held", 3), refused(first, "cap_reached", 1), {Reason: "model_unknown", Time: first.Truncate(15 * time.Minute), RefusedSum: budget.RefusedSum{Calls: 2}}}); err != nil {
		t.Fatal(err)
	}
	b.clock.add(24 * time.Hour)
	b.settle(settlement(b.reserve("a", 60), 30))
	if _, err := b.UpdateBudget(t.Context(), one.ID, "", func(x *budget.Budget) error { x.Cap = 500; return nil }, budget.Author{Actor: "key_1", Reason: "launch"}); err != nil {
		t.Fatal(err)
	}
	b.clock.add(24 * time.Hour)
	b.settle(settlement(b.reserve("a", 60), 40))
	later, late := refused(b.clock.now(), "cap_held", 1), refused(first, "cap_held", 1) // counted before midnight, told after it
	if err := b.AddRefused(t.Context(), []budget.Refused{later, late, {BudgetID: "bud_gone", Reason: "cap_held", Time: later.Time, RefusedSum: budget.RefusedSum{Calls: 1}}}); err != nil {
		t.Fatal(err)
	}
	b.windows(one.ID, "40 of 500, 1 1 1000 true", "30 of 500, 0 0 0 false", "20 of 100, 5 3 3000 false")
	if got, err := b.Refused(t.Context(), april4(t)); err != nil || len(got) != 3 || got[0].Calls+got[1].Calls+got[2].Calls != 8 {
		t.Errorf("refused in April: %+v, %v", got, err)
	}
	if changes, err := b.BudgetChanges(t.Context(), one.ID, 0, 1); err != nil || len(changes) != 1 || changes[0].Reason != "launch" || changes[0].Before.Cap != 100 || changes[0].After.Cap != 500 || changes[0].Actor != "key_1" {
		t.Errorf("changes: %+v, %v", changes, err)
	}
	b.clock.add(60 * 24 * time.Hour)
	b.tick()
	for range 3 {
		if err := b.PruneNow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM account WHERE spent > 0"); err != nil || n != 0 {
		t.Fatalf("%d accounts are left (%v)", n, err)
	}
	b.windows(one.ID, "0 of 500, 0 0 0 true", "40 of 500, 1 1 1000 false", "30 of 500, 0 0 0 false", "20 of 100, 5 3 3000 false")
	if got, err := b.Windows(t.Context(), one.ID, first.Add(time.Hour), 9); err != nil || len(got) != 1 || got[0].Spent != 20 {
		t.Errorf("windows from before: %+v, %v", got, err)
	}
	b.agree()
	if err := b.DeleteBudget(t.Context(), one.ID, "", budget.Author{Actor: "key_1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Windows(t.Context(), one.ID, time.Time{}, 9); asError(t, err).Kind != budget.KindNotFound {
		t.Errorf("a deleted budget: %v", err)
	}
	for _, table := range []string{"past_window", "refused_window", "refused"} {
		if n, err := b.Count(t.Context(), "SELECT count(*) FROM "+table); err != nil || n != 0 {
			t.Errorf("%d rows of %s are left (%v)", n, table, err)
		}
	}
	if changes, err := b.BudgetChanges(t.Context(), one.ID, 0, 9); err != nil || len(changes) != 3 || changes[0].After != nil || changes[0].Before.Cap != 500 || changes[2].Before != nil {
		t.Errorf("changes of a deleted budget: %+v, %v", changes, err)
	}
}

func (b *bench) windows(id string, want ...string) {
	b.t.Helper()
	got, err := b.Windows(b.t.Context(), id, time.Time{}, 99)
	if err != nil {
		b.t.Fatal(err)
	}
	var told []string
	for _, w := range got {
		told = append(told, fmt.Sprintf("%d of %d, %d %d %d %v", w.Spent, *w.Cap, w.Refused.Calls, w.Refused.Distinct, w.Refused.Kept, w.Running))
	}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		b.t.Errorf("windows:\n%q, want\n%q", told, want)
	}
}
