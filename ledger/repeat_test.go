package ledger_test

import (
	"testing"

	"aigateway/budget"
)

// A request id is one call: the same call gets the same reservation as long as
// it is open, and another call with its id is refused and holds nothing.
func TestTheSameRequestAgain(t *testing.T) {
	why := budget.Invalid("model_not_priced", "model", "no price")
	for _, tt := range []struct {
		name   string
		first  func(*budget.Request)
		change func(*budget.Request)
		same   bool
	}{
		{"the same", nil, func(*budget.Request) {}, true},
		{"the same without a bound", func(q *budget.Request) { q.Tag, q.Unbounded = "free", why }, func(*budget.Request) {}, true},
		{"another bound", nil, func(q *budget.Request) { q.Bound++ }, false},
		{"another tag", nil, func(q *budget.Request) { q.Tag = "b" }, false},
		{"another model", nil, func(q *budget.Request) { q.Model = "p/other" }, false},
		{"a bound of nothing in place of none", func(q *budget.Request) { q.Tag, q.Unbounded = "free", why }, func(q *budget.Request) { q.Bound, q.Unbounded = 0, nil }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t)
			st := b.budget("a", budget.Month, 100)
			q := b.request("a", 60)
			if tt.first != nil {
				tt.first(&q)
			}
			first, err := b.Reserve(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(&q)
			again, err := b.Reserve(t.Context(), q)
			if tt.same && (err != nil || again.ID != first.ID || again.Bound != first.Bound) {
				t.Errorf("%+v, %v; want the first, %+v", again, err, first)
			}
			if !tt.same && asError(t, err).Reason != "request_id_reused" {
				t.Errorf("%+v, %v; want request_id_reused", again, err)
			}
			if first.Bound == 60 {
				b.want(st.ID, 0, 60)
			}
		})
	}
}

// A call that has ended is not admitted again by its id, also before its end is
// durable.
func TestASettledRequestIsNoRepeat(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	q := b.request("a", 30)
	r, err := b.Reserve(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	b.settle(settlement(r, 10))
	if again, err := b.Reserve(t.Context(), q); err == nil && again.ID == r.ID {
		t.Error("a settled reservation was given out again")
	}
	b.flush()
	b.want(st.ID, 10, 0)
}

// The tightest of the refusing budgets is named, whichever was made first.
func TestTightestInAnyOrder(t *testing.T) {
	for _, caps := range [][2]budget.Amount{{20, 40}, {40, 20}} {
		b := start(t)
		ids := map[budget.Amount]string{}
		ids[caps[0]] = b.budget("a", budget.Day, caps[0]).ID
		ids[caps[1]] = b.budget("a", budget.Month, caps[1]).ID
		if e := b.refuse("a", 50, "cap_would_be_crossed"); e.Refusal.Budget.ID != ids[20] {
			t.Errorf("caps of %v: refused by that of %d", caps, e.Refusal.Remaining())
		}
	}
}
