package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"aigateway/budget"
)

// matching is every budget that watches a request, found the slow way.
func (w *simWorld) matching(r *budget.Request) map[int64]bool {
	m := map[int64]bool{}
	for _, b := range w.c.rules.byID {
		if b.Target.Watches(r.Tag, r.KeyID) {
			m[b.num] = true
		}
	}
	if r0 := w.made; r0 != nil && !r0.deleted && r0.Target.Watches(r.Tag, r.KeyID) {
		m[r0.num] = true
	}
	return m
}

// checkLegs is I9: the hold is on every budget that watches the call.
func (w *simWorld) checkLegs(h *hold, want map[int64]bool) {
	got := map[int64]bool{}
	for _, a := range h.legs {
		if got[a.rule.num] = true; w.c.wall < a.start || w.c.wall >= a.end {
			w.broken("I9: id %d is on account %d, whose window is not open", h.id, a.id)
		}
	}
	if !maps.Equal(got, want) || len(h.legs) != len(want) {
		w.broken("I9: id %d is on budgets %v, want %v", h.id, got, want)
	}
}

// meet notices new accounts.
func (w *simWorld) meet() {
	for id, a := range w.c.accounts {
		if w.accounts[id] == nil {
			w.accounts[id] = &simAccount{budget: a.rule.num, start: a.start, end: a.end, allowed: a.limit, seed: a.spent,
				loose: w.edit != nil} // the cap from before the edit
			if a == a.rule.next {
				w.reached("next window prepared")
			}
		}
	}
	for _, r := range w.c.rules.byID {
		id, known := w.current[r.num]
		now := r.peek(w.c.wall)
		if o := w.accounts[id]; known && o != nil && !o.gone && o.end > w.c.wall && o.start <= w.c.wall && (now == nil || now.id != id) {
			w.broken("budget %d forgot account %d, whose window runs until %s", r.num, id, utc(o.end))
		}
		if now == nil {
			continue
		}
		if known && id != now.id {
			if a := w.c.accounts[id]; a != nil && a.held > 0 {
				w.reached("window ended with open calls")
			}
		}
		w.current[r.num] = now.id
	}
}

// exposure is what the provider may bill, by account. What a call costs beyond
// its bound is left out: no cap can stop it.
func (w *simWorld) exposure() map[int64]budget.Amount {
	sum := map[int64]budget.Amount{}
	for _, c := range w.calls {
		t := c.r.Bound
		if !c.running {
			t = min(c.actual, t)
		}
		for _, ids := range [][]int64{c.r.Accounts, c.joined} {
			for _, id := range ids {
				sum[id] += t
			}
		}
	}
	return sum
}

// check is every invariant, after every step.
func (w *simWorld) check() {
	w.meet()
	exposure := w.exposure()
	held, journaled, dispatched := map[int64]budget.Amount{}, map[int64]budget.Amount{}, map[int64]budget.Amount{}
	answered := map[int64]bool{}
	for id, h := range w.c.open {
		_, onDisk := w.disk.holds[id]
		_, finished := w.disk.settled[id]
		for _, a := range h.legs {
			held[a.id] += h.bound
			if !onDisk && !finished {
				dispatched[a.id] += h.bound
				answered[a.id] = true
			}
		}
		if w.c.expired[id] != nil {
			w.broken("I6: id %d is both open and expired", id)
		}
	}
	for _, h := range w.disk.holds {
		for _, id := range h.accounts {
			journaled[id] += h.bound
			if b, ok := w.disk.rules[w.disk.accounts[id].budget]; ok && !b.Target.Watches(h.attr.Tag, h.attr.KeyID) {
				w.broken("I9: the row of id %d names account %d, which is another budget's", h.id, id)
			}
		}
	}
	for _, id := range sortedIDs(w.accounts) {
		o := w.accounts[id]
		if _, alive := w.disk.rules[o.budget]; o.gone || !alive {
			continue
		}
		a, row := w.c.accounts[id], w.disk.accounts[id]
		t := o.seed + exposure[id]
		if t > max(o.allowed, o.seed) {
			w.broken("I4: account %d may be billed %d, cap %d", id, t, o.allowed)
		}
		if known := row.spent + row.orphan + journaled[id] + dispatched[id]; known > row.hw && row.id != 0 || row.id == 0 && answered[id] {
			w.broken("I1: account %d: spent %d, orphan %d, journaled %d, dispatched %d, but a mark of %d", id, row.spent, row.orphan, journaled[id], dispatched[id], row.hw)
		}
		if most := max(o.allowed, o.seed) + o.excess; row.hw > most && !o.loose && w.edit == nil {
			w.broken("I2: account %d has a mark of %d above %d", id, row.hw, most)
		}
		if a == nil {
			if t > row.spent {
				w.broken("I3: account %d is forgotten with %d spent, %d may be billed", id, row.spent, t)
			}
			continue
		}
		w.checkAccount(a, t, held[id])
	}
	w.checkLines()
}

func (w *simWorld) checkAccount(a *account, exposure, held budget.Amount) {
	switch {
	case a.used() < exposure:
		w.broken("I3: account %d uses %d, %d may be billed", a.id, a.used(), exposure)
	case a.held != held:
		w.broken("I5: account %d holds %d, its open calls sum to %d", a.id, a.held, held)
	case a.spent < 0 || a.orphan < 0 || a.residue < 0 || a.residue > a.spent || a.rise < 0 || a.falling < 0 || a.soon.spent < 0 || a.soon.orphan < 0 || a.soon.residue < 0 || a.refs < 0:
		w.broken("I5: a counter of account %d is out of range: %+v", a.id, a.counters)
	case a.usable > a.hw:
		w.broken("R2: account %d may use %d of a mark of %d", a.id, a.usable, a.hw)
	}
}

// settleEverything delivers every log, twice, lets everything else expire, and
// counts every nano (I7, I8).
func (w *simWorld) settleEverything() {
	w.after = "the end"
	for len(w.turns) > 0 {
		w.c.leave(w.turns[0])
		w.turns = w.turns[1:]
	}
	for _, c := range w.calls {
		if c.running {
			w.end(c)
		}
	}
	for range 2 {
		for _, c := range w.calls {
			if !c.lost {
				w.deliver(c)
			}
		}
		w.drain()
		w.check()
	}
	w.wall += 2 * simTimeout
	w.mono += 2 * simTimeout
	for range 3 {
		w.begin()
		w.drain()
	}
	w.check()
	if len(w.c.open) > 0 || len(w.c.queue) > 0 {
		w.broken("I6: %d calls are still open", len(w.c.open))
	}
	w.recount()
	for _, c := range w.calls {
		w.checkCall(c)
	}
}

// recount compares every account with the rows that explain it.
func (w *simWorld) recount() {
	sum := map[int64]budget.Amount{}
	total := budget.Amount(0)
	for _, rows := range [][]simRow{slices.Collect(maps.Values(w.archive)), w.strayed} {
		for _, r := range rows {
			total += r.actual
			for _, id := range r.hold.accounts {
				sum[id] += r.actual
			}
		}
	}
	for _, id := range sortedIDs(w.accounts) {
		o := w.accounts[id]
		if _, alive := w.disk.rules[o.budget]; o.gone || !alive {
			continue
		}
		row := w.disk.accounts[id]
		if got, want := row.spent-row.residue, o.seed+sum[id]; got != want {
			w.broken("I7: account %d has spent %d (%d less %d of residue), its rows sum to %d", id, got, row.spent, row.residue, want)
		}
	}
	if got := w.disk.cost(budget.Target{Tags: budget.AllTags}, 0, forever); got != total {
		w.broken("I7: the report says %d, the rows %d", got, total)
	}
}

// checkCall is I8: what a call was charged is what its log proves, or its
// bound if no log came.
func (w *simWorld) checkCall(c *simCall) {
	row, charged := w.archive[c.r.ID]
	_, kept := w.disk.settled[c.r.ID]
	closed := epochOf(c.r.ID) <= w.c.closed
	id := fmt.Sprintf("%d.%d", epochOf(c.r.ID), seqOf(c.r.ID))
	if c.lost || !c.seen {
		if charged && (row.status != statusExpired || row.actual != c.r.Bound) {
			w.broken("I8: id %s, whose log is lost, was charged %d with status %d", id, row.actual, row.status)
		}
		return
	}
	if c.entry.Reservation == nil && c.ambiguous {
		return // nobody could tell which call it was about
	}
	want, _ := charge(&c.entry, c.r.Bound, c.entry.Reservation != nil)
	switch {
	case !charged && !closed && c.entry.Reservation != nil:
		w.broken("I8: id %s was never charged", id)
	case charged && row.actual != want && kept && row.status != statusExpired,
		charged && row.status == statusExpired && kept && want != c.r.Bound && !closed:
		w.broken("I8: id %s was charged %d with status %d, its log proves %d", id, row.actual, row.status, want)
	}
}

// dump is a core as text: two that dump alike behave alike after a restart.
func dump(c *core) string {
	var b strings.Builder
	fmt.Fprintf(&b, "epoch %d closed %d wall %d seq %d lastAccount %d pools %d\n", c.epoch, c.closed, c.wall, c.seq, c.lastAccount, len(c.pools))
	for _, e := range slices.Sorted(maps.Keys(c.marks)) {
		fmt.Fprintf(&b, "mark %d %d\n", e, c.marks[e])
	}
	for _, id := range sortedIDs(c.accounts) {
		a := c.accounts[id]
		fmt.Fprintf(&b, "account %d of %d [%d, %d) %+v refs %d cur %v next %v\n", id, a.rule.num, a.start, a.end, a.counters, a.refs, a.rule.cur == a, a.rule.next == a)
	}
	for _, id := range slices.Sorted(maps.Keys(c.rules.byID)) {
		r := c.rules.byID[id]
		fmt.Fprintf(&b, "budget %d %+v\n", r.num, r.Budget)
	}
	for _, m := range []map[budget.ReservationID]*hold{c.open, c.expired} {
		for _, id := range slices.Sorted(maps.Keys(m)) {
			h := m[id]
			fmt.Fprintf(&b, "hold %d %s %+v bound %d at %d unpriced %v on %v state %d\n", id, h.requestID, h.attr, h.bound, h.reservedAt, h.unpriced, h.ids, h.state)
		}
	}
	fmt.Fprintf(&b, "requests %v\norphaned %v\nstrays %v\n", slices.Sorted(maps.Keys(c.requests)), slices.Sorted(maps.Keys(c.orphaned)), slices.Sorted(maps.Keys(c.strays)))
	return b.String()
}
