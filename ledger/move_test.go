package ledger

import (
	"testing"
	"time"

	"aigateway/budget"
)

// TestWindowEndsWhileItsZoneChanges: between an edit and its commit the window
// may end by itself. What the next one holds must not be forgotten.
func TestWindowEndsWhileItsZoneChanges(t *testing.T) {
	at := instant{wall: time.Date(2026, 4, 15, 23, 59, 30, 0, time.UTC).UnixNano(), mono: 1}
	c := newCore(forever / 4)
	c.epoch = 1
	r := &rule{Budget: budget.Budget{ID: "bud_1", Target: budget.Target{Tags: budget.AllTags}, Period: budget.Day, Cap: 100}, num: 1, loc: time.UTC}
	c.rules.add(r)
	commit := func() { c.apply(c.begin(at, 0)) }
	reserve := func() {
		t.Helper()
		for range 2 {
			if out, _, _, _ := c.reserve(&budget.Request{Bound: 10}, at); out == admitted {
				return
			}
			commit()
		}
		t.Fatal("not admitted")
	}
	reserve()
	c.housekeep(at)
	commit()
	if r.next == nil || r.next.usable < 10 {
		t.Fatalf("the next window is not prepared: %+v", r.next)
	}
	_, moved := c.moveWindow(r, time.FixedZone("", 9*3600), at.wall)
	at.wall += 60 * second
	at.mono += 60 * second
	reserve()
	used := r.peek(at.wall)
	moved()
	commit()
	if got := c.account(r, at.wall); got != used || got.used() != 10 {
		t.Errorf("after the edit the window has account %d with %d used, want %d with 10", got.id, got.used(), used.id)
	}
}

// TestWindowHasOneAccount: when the calendar says that a window which ended is
// still the one of now, as newer zone data may, it goes on and no other opens.
func TestWindowHasOneAccount(t *testing.T) {
	at := instant{wall: time.Date(2026, 4, 15, 22, 0, 0, 0, time.UTC).UnixNano(), mono: 1}
	c := newCore(forever / 4)
	c.epoch = 1
	r := &rule{Budget: budget.Budget{ID: "bud_1", Target: budget.Target{Tags: budget.AllTags}, Period: budget.Day, Cap: 100}, num: 1, loc: time.UTC}
	c.rules.add(r)
	a := c.account(r, at.wall)
	c.apply(c.begin(at, 0))
	a.end = at.wall + second
	at.wall += 60 * second
	for range 3 {
		if got := c.account(r, at.wall); got != a {
			t.Fatalf("account %d opened beside %d", got.id, a.id)
		}
	}
	midnight := time.Date(2026, 4, 16, 0, 0, 0, 0, time.UTC).UnixNano()
	if b := c.begin(at, 0); len(b.accounts) != 1 || !b.accounts[0].changed || b.accounts[0].end != midnight {
		t.Errorf("the commit has %+v, want the end of the day", b.accounts)
	}
}

// TestStrayOfADeletedBudget: a stray is charged at once, also where the window is
// new. If its budget is deleted before the commit, the account gets no row, and
// after a crash another may have its id.
func TestStrayOfADeletedBudget(t *testing.T) {
	at := instant{wall: time.Date(2026, 4, 15, 22, 0, 0, 0, time.UTC).UnixNano(), mono: 1}
	c := newCore(forever / 4)
	c.epoch = 1
	all := budget.Target{Tags: budget.AllTags}
	gone := &rule{Budget: budget.Budget{ID: "bud_1", Target: all, Period: budget.Day, Cap: 100}, num: 1, loc: time.UTC}
	stays := &rule{Budget: budget.Budget{ID: "bud_2", Target: all, Period: budget.Total, Cap: 100}, num: 2, loc: time.UTC}
	for _, r := range []*rule{gone, stays} {
		c.rules.add(r)
		c.account(r, at.wall)
	}
	c.apply(c.begin(at, 0))

	c.enqueue(c.edit(ruleEdit{rule: gone, deleted: true}, at.wall, nil))
	b := c.begin(at, 0)
	at.wall += 3 * 3600 * second // another day
	at.mono += 3 * 3600 * second
	if res := c.settle(&budget.Settlement{RequestID: "stray", Reservation: &budget.Reservation{ID: makeID(9, 1), Bound: 10}, Basis: budget.BasisUsage, Cost: 10}, at); res.effect != strayCharged {
		t.Fatalf("effect %d", res.effect)
	}
	c.apply(b)
	b = c.begin(at, 0)
	rows := map[int64]bool{}
	for _, a := range b.accounts {
		rows[a.id] = a.changed
	}
	if ids := b.events[0].h.ids; len(ids) != 1 || ids[0] != stays.cur.id || !rows[ids[0]] {
		t.Errorf("the stray names accounts %v, rows are written for %v", ids, rows)
	}
	c.apply(b)
	if stays.cur.spent != 10 {
		t.Errorf("%d spent, want 10", stays.cur.spent)
	}
}
