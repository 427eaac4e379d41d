package ledger

import (
	"slices"
	"testing"

	"aigateway/budget"
)

// TestPlan: a mark stays where it is while it is neither too near nor too far, and
// is given back where nobody needs it.
func TestPlan(t *testing.T) {
	for name, tt := range map[string]struct {
		c         counters
		batch     delta
		lower     bool
		hw, usabl budget.Amount
	}{
		"half of the way ahead is left":   {counters{limit: 9000, spent: 100, hw: 150, usable: 150}, delta{}, false, 150, 150},
		"less than half":                  {counters{limit: 9000, spent: 101, hw: 150, usable: 150}, delta{}, false, 201, 150},
		"what a batch rises by counts":    {counters{limit: 9000, spent: 100, hw: 150, usable: 150}, delta{spent: 1}, false, 201, 150},
		"four times as far":               {counters{limit: 9000, spent: 100, hw: 503, usable: 503}, delta{}, false, 503, 503},
		"further":                         {counters{limit: 9000, spent: 100, hw: 504, usable: 504}, delta{}, false, 200, 200},
		"above the limit":                 {counters{limit: 170, spent: 100, hw: 180, usable: 180}, delta{}, false, 170, 170},
		"use is above the limit":          {counters{limit: 70, spent: 100, hw: 180, usable: 180}, delta{}, false, 100, 100},
		"somebody waits for more":         {counters{limit: 9000, spent: 100, hw: 190, usable: 190, need: 91}, delta{}, false, 200, 190},
		"somebody waits for much more":    {counters{limit: 9000, spent: 100, hw: 190, usable: 190, need: 700}, delta{}, false, 800, 190},
		"somebody waits, and it is there": {counters{limit: 9000, spent: 100, hw: 190, usable: 190, need: 90}, delta{}, false, 190, 190},
		"given back":                      {counters{limit: 9000, spent: 100, hw: 190, usable: 190}, delta{}, true, 100, 100},
		"not while somebody waits":        {counters{limit: 9000, spent: 100, hw: 190, usable: 190, need: 1}, delta{}, true, 200, 190},
	} {
		if hw := tt.c.plan(tt.batch, 100, tt.lower); hw != tt.hw || tt.c.usable != tt.usabl || tt.c.need != 0 {
			t.Errorf("%s: a mark of %d, %d usable, %d needed; want %d, %d", name, hw, tt.c.usable, tt.c.need, tt.hw, tt.usabl)
		}
	}
}

// TestCountersGoOn: what is queued counts once it is durable, and what a crash left
// open is held.
func TestCountersGoOn(t *testing.T) {
	c := counters{limit: 1000, spent: 100, orphan: 50, residue: 20, hw: 400, usable: 400, held: 60, rise: 5}
	d := delta{spent: 30, orphan: -10, residue: 7, held: -40, rise: -5}
	c.queue(d)
	if c.falling != 25 || c.soon.spent != 30 || c.soon.orphan != -10 || c.soon.residue != 7 {
		t.Errorf("queued: %+v", c)
	}
	c.apply(d, 300)
	if want := (counters{limit: 1000, spent: 130, orphan: 40, residue: 27, hw: 300, usable: 300, held: 20, soon: c.soon}); c != want {
		t.Errorf("applied: %+v, want %+v", c, want)
	}
	c.recover(25)
	want := counters{limit: 1000, spent: 130, orphan: 145, residue: 27, hw: 300, usable: 300, held: 25}
	want.soon.spent, want.soon.orphan, want.soon.residue = 130, 145, 27
	if c != want {
		t.Errorf("recovered: %+v, want %+v", c, want)
	}
}

// TestPace: the largest bound of this minute and the last counts, and the pace rises
// at once and falls slowly.
func TestPace(t *testing.T) {
	var p pace
	minute := 60 * second
	for i, step := range []struct {
		at      int64
		bound   budget.Amount
		largest budget.Amount // of both minutes
	}{{10 * minute, 7, 7}, {10*minute + second, 3, 7}, {11 * minute, 2, 7}, {11*minute + second, 5, 7}, {12 * minute, 1, 5}, {15 * minute, 4, 4}} {
		p.note(step.bound, step.at)
		if got := max(p.largest, p.previous); got != step.largest {
			t.Errorf("step %d: the largest is %d, want %d", i, got, step.largest)
		}
	}
	if p.sum != 22 {
		t.Errorf("%d in all, want 22", p.sum)
	}
	p.since, p.sum = 16*minute, 1000
	for i, want := range []budget.Amount{4000, 3000, 2244} { // a second each, of which only the first had calls
		if got := p.size(16*minute+int64(i+1)*second, second); got != want {
			t.Errorf("second %d: %d, want %d", i, got, want)
		}
	}
	if got := p.size(16*minute+3*second, second/1000); got != 8 { // a commit takes a millisecond: two calls are more
		t.Errorf("%d, want twice the largest", got)
	}
}

// TestExpiryList keeps the order of what was put in, whatever is taken out.
func TestExpiryList(t *testing.T) {
	var l expiryList
	h := make([]*hold, 5)
	for i := range h {
		h[i] = &hold{id: budget.ReservationID(i)}
		l.push(h[i])
	}
	want := func(ids ...budget.ReservationID) {
		t.Helper()
		var on, back []budget.ReservationID
		for h := l.front; h != nil && len(on) < 9; h = h.next {
			on = append(on, h.id)
		}
		for h := l.back; h != nil && len(back) < 9; h = h.prev {
			back = append(back, h.id)
		}
		slices.Reverse(back)
		if !slices.Equal(on, ids) || !slices.Equal(back, ids) {
			t.Errorf("%v, and backwards %v; want %v", on, back, ids)
		}
	}
	want(0, 1, 2, 3, 4)
	l.remove(h[2])
	want(0, 1, 3, 4)
	l.remove(h[0])
	want(1, 3, 4)
	l.remove(h[4])
	want(1, 3)
	h[2].prev, h[2].next = h[0], h[4] // wherever it was before
	l.push(h[2])
	want(1, 3, 2)
	for _, i := range []int{1, 3, 2} {
		l.remove(h[i])
	}
	want()
	l.push(h[0])
	want(0)
}

// TestForget: an account stays while anything can still change it, one reason at a
// time.
func TestForget(t *testing.T) {
	for name, tt := range map[string]struct {
		set   func(a *account)
		stays bool
	}{
		"nothing":                      {func(*account) {}, false},
		"it is the current one":        {func(a *account) { a.rule.cur = a }, true},
		"it is the next one":           {func(a *account) { a.rule.next = a }, true},
		"its budget is deleted":        {func(a *account) { a.rule.cur, a.rule.deleted = a, true }, false},
		"a hold":                       {func(a *account) { a.refs = 1 }, true},
		"what a crash left":            {func(a *account) { a.orphan = 1 }, true},
		"what a late log may refund":   {func(a *account) { a.residue = 1 }, true},
		"the same of a deleted budget": {func(a *account) { a.residue, a.rule.deleted = 1, true }, false},
		"an unused mark":               {func(a *account) { a.raised = true }, true},
		"a row to be written":          {func(a *account) { a.wanted = true }, true},
		"a commit under way":           {func(a *account) { a.inNo = 1 }, true},
		"somebody waits":               {func(a *account) { a.line = []*waiter{{}} }, true},
		"the store has to be told":     {func(a *account) { a.share = &share{listed: true} }, true},
		"the store has been told":      {func(a *account) { a.share = &share{} }, false},
	} {
		c := newCore(forever / 4)
		a := &account{id: 7, rule: &rule{}}
		c.accounts[a.id] = a
		tt.set(a)
		if c.forget(a); (c.accounts[a.id] != nil) != tt.stays {
			t.Errorf("%s: it stays: %v", name, !tt.stays)
		}
	}
}
