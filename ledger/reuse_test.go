package ledger_test

import (
	"testing"

	"aigateway/budget"
)

// TestDeletedBudgetsAccountStaysDead: a reservation of a deleted budget must
// not find another budget under its account's id after restarts.
func TestDeletedBudgetsAccountStaysDead(t *testing.T) {
	b := start(t)
	old := b.budget("a", budget.Day, 1000)
	first, second := b.reserve("a", 60), b.reserve("a", 50)
	b.flush()
	if err := b.DeleteBudget(t.Context(), old.ID, "", budget.Author{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	b.shut()
	b = reopen(t, b.dir, b.clock)
	st := b.budget("b", budget.Day, 1000)
	b.shut()
	b = reopen(t, b.dir, b.clock)
	if c := b.Counters(st.ID); c.Used != 0 {
		t.Errorf("the new budget starts with %+v", c)
	}
	b.settle(settlement(first, 10))
	b.settle(settlement(second, 0))
	b.flush()
	b.want(st.ID, 0, 0)
}
