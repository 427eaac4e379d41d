package ledger_test

import (
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// A bound that is no amount is refused before it touches a budget: a negative
// one would make room for others.
func TestABoundOutOfRangeIsRefused(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	for _, bound := range []budget.Amount{-1, -1000, -budget.MaxAmount, budget.MaxAmount + 1} {
		for _, tag := range []budget.Tag{"a", "watched by nobody"} {
			_, err := b.Reserve(t.Context(), b.request(tag, bound))
			if e := asError(t, err); e.Reason != "bound_invalid" || e.Kind != budget.KindInvalid {
				t.Errorf("a bound of %d on %s: %v", bound, tag, e)
			}
		}
	}
	b.want(st.ID, 0, 0)
	b.reserve("a", 100)
	b.refuse("a", 1, "cap_held")
	b.sound()
}

// An account that a call still refers to outlives its window, however idle its
// budget is and however long ago it ended.
func TestAnIdleAccountStaysWhileACallRefersToIt(t *testing.T) {
	b := start(t, func(c *ledger.Config) { c.HoldTimeout = 48 * time.Hour }) // longer than a step of the clock
	b.budget("a", budget.Day, 1000)
	late := b.reserve("a", 60)
	b.flush()
	for range 100 { // it runs on: its deadline never comes, its window ended long ago
		b.clock.add(24 * time.Hour)
		b.Heartbeat(late.ID, "")
		b.tick()
	}
	b.flush()
	for range 3 {
		if err := b.PruneNow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM account"); err != nil || n == 0 {
		t.Fatalf("%d accounts (%v): the one of an open call was deleted", n, err)
	}
	b.settle(settlement(late, 7))
	b.flush()
	b.agree()
	b.sound()
	spent, err := b.Count(t.Context(), "SELECT coalesce(sum(spent), 0) FROM account")
	if err != nil || spent != 7 {
		t.Errorf("%d is spent (%v), want 7", spent, err)
	}
}

// What is listed of an open call is all that is known of it.
func TestOpenReservationsTellAll(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Day, 1000)
	r := b.reserve("a", 60)
	list := b.OpenReservations(10)
	if len(list) != 1 {
		t.Fatalf("%d are open", len(list))
	}
	got := list[0]
	if got.ID != r.ID || got.Bound != 60 || got.Attribution != r.Attribution || !got.ReservedAt.Equal(b.clock.now()) || got.RequestID == "" {
		t.Errorf("%+v, want %+v", got, r)
	}
	if len(got.Budgets) != 1 || got.Budgets[0] != st.ID {
		t.Errorf("held on %v, want %s", got.Budgets, st.ID)
	}
}
