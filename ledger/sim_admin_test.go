package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"aigateway/budget"
)

// The administrator's part: what SetBudget, UpdateBudget and DeleteBudget do
// around the core, with one edit at a time as under Ledger.admin.

func (w *simWorld) enqueueEdit(num int64, e event, disk func(*simDisk), applied func(*simWorld)) {
	w.edits[e.change] = disk
	w.edit = &simEdit{num: num, change: e.change, applied: applied}
	w.c.enqueue(e)
}

// editing reports whether an administrator's turn is not over.
func (w *simWorld) editing() bool { return w.edit != nil || w.making != nil }

// simMaking is a budget that counts.
type simMaking struct {
	rule *rule
	a    *account
	past budget.Amount
}

// countBudget is the first step of a new budget, between two commits.
func (w *simWorld) countBudget() bool {
	if w.editing() || w.b != nil {
		return false
	}
	b := budget.Budget{
		Target: pick(w, []budget.Target{{Tags: "**"}, {Tags: "a/**"}, {Tags: "a"}, {Tags: "a/x"}, {Tags: "b"}, {KeyID: "k1"}}),
		Period: pick(w, []budget.Period{budget.Month, budget.Day, budget.Week, budget.Total}),
		Zone:   pick(w, []string{"", "Europe/Berlin", "Asia/Tokyo"}), Cap: budget.Amount(40 + w.rng.IntN(400)),
	}
	if w.c.rules.target[targetKey{b.Target, b.Period}] != nil {
		return false
	}
	loc, err := b.Check()
	if err != nil {
		w.broken("budget: %v", err)
		return false
	}
	at := w.at()
	w.c.advance(&at)
	w.disk.lastRule++
	r := &rule{num: w.disk.lastRule, loc: loc}
	b.ID = fmt.Sprintf("bud_%06d", r.num)
	b.CreateTime = time.Unix(0, at.wall).UTC()
	b.UpdateTime = b.CreateTime
	r.Budget = b
	a, queued := w.c.count(r, w.at())
	past := w.disk.cost(b.Target, a.start, a.end)
	if w.real != nil {
		w.real.compareCost(w, b.Target, a.start, a.end, past)
	}
	w.making, w.made = &simMaking{r, a, past + queued}, r
	w.accounts[a.id] = &simAccount{budget: r.num, start: a.start, end: a.end, allowed: a.limit}
	w.joined(r, a)
	w.note("%s %s counts: account %d, cap %d, past %d and %d queued", b.Target.Label(), b.Period, a.id, b.Cap, past, queued)
	return true
}

// joined wants each call on a that r watches and that has neither ended nor been
// erased, and no other.
func (w *simWorld) joined(r *rule, a *account) {
	for _, c := range w.calls {
		h := w.c.open[c.r.ID]
		on := h != nil && h.state == holdOpen && r.Target.Watches(c.r.Tag, c.r.KeyID) && h.reservedAt >= a.start && h.reservedAt < a.end
		if h != nil && slices.Contains(h.legs, a) != on {
			w.broken("id %d is on the new account %d: %v, want %v", c.r.ID, a.id, !on, on)
		}
		if on {
			w.reached("running call joined")
			c.joined = append(c.joined, a.id)
		}
	}
}

// enforceBudget is the second step.
func (w *simWorld) enforceBudget() bool {
	m := w.making
	if m == nil {
		return false
	}
	w.meet()
	w.making = nil
	r, b := m.rule, m.rule.Budget
	e := w.c.edit(ruleEdit{rule: r, next: b, loc: r.loc, made: m.a, past: m.past}, w.c.wall, []query{{
		sql:  `INSERT INTO budget (num, id, tags, key_id, period, zone, cap, create_time, update_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		args: []any{r.num, b.ID, string(b.Target.Tags), b.Target.KeyID, int64(b.Period), b.Zone, int64(b.Cap), b.CreateTime.UnixNano(), b.UpdateTime.UnixNano()}}})
	w.accounts[m.a.id].seed = e.cost
	w.enqueueEdit(r.num, e, func(d *simDisk) { d.rules[r.num] = b }, func(w *simWorld) {
		w.reached("budget created")
		if e.cost > 0 {
			w.reached("budget created with a past")
		}
	})
	if m.a.used() > b.Cap {
		w.reached("budget created above its cap")
	}
	w.lowerAllowed(r, b.Cap)
	w.note("account %d: cap %d, past %d", m.a.id, b.Cap, e.cost)
	return true
}

// abandonBudget is the end of a budget whose past could not be read.
func (w *simWorld) abandonBudget() bool {
	m := w.making
	if m == nil || w.rng.IntN(4) > 0 {
		return false
	}
	w.making = nil
	w.reached("budget abandoned")
	w.deleteRule(m.rule, nil)
	return true
}

func (w *simWorld) editBudget() bool { return w.editRule(pick(w, w.rules()), w.rng.IntN(6)) }

// editAtBorder changes a budget, often its zone, when its window is about to
// end and the next one is prepared.
func (w *simWorld) editAtBorder() bool {
	r := pick(w, w.rules())
	if r == nil || r.cur == nil || r.cur.end == forever || w.c.wall >= r.cur.end || w.editing() {
		return false
	}
	if lead := 30 * second; r.cur.end-lead > w.wall {
		w.mono += r.cur.end - lead - w.wall
		w.wall = r.cur.end - lead
	}
	w.drain()
	w.begin()
	w.drain()
	return w.editRule(r, 2+w.rng.IntN(2))
}

func (w *simWorld) editRule(r *rule, kind int) bool {
	if w.editing() || r == nil {
		return false
	}
	at := w.at()
	w.c.advance(&at)
	next := w.drawEdit(r.Budget, kind)
	loc, err := next.Check()
	if err != nil {
		w.broken("budget: %v", err)
		return false
	}
	next.UpdateTime = time.Unix(0, max(at.wall, r.UpdateTime.UnixNano()+1)).UTC()
	w.meet()
	w.lowerAllowed(r, next.Cap)
	running, prepared, end := (*account)(nil), (*account)(nil), int64(0)
	if next.Zone != r.Zone {
		w.reached("zone changed")
		if running = r.peek(at.wall); running != nil {
			_, end = windowAt(r.Period, loc, at.wall)
		}
		if prepared = r.next; prepared != nil && prepared != running {
			w.reached("zone changed with a prepared window")
			w.accounts[prepared.id].gone = true
		}
	}
	e := w.c.edit(ruleEdit{rule: r, next: next, loc: loc}, at.wall, []query{{sql: `UPDATE budget SET cap = ?, zone = ?, update_time = ? WHERE num = ?`,
		args: []any{int64(next.Cap), next.Zone, next.UpdateTime.UnixNano(), r.num}}})
	w.enqueueEdit(r.num, e, func(d *simDisk) { d.replace(r.num, next, running, prepared, end) }, func(w *simWorld) {
		if running != nil && running.end == end {
			w.accounts[running.id].end = end
		}
		w.meet()
		w.lowerAllowed(r, next.Cap)
		for _, a := range []*account{r.cur, r.next} {
			if a != nil {
				w.accounts[a.id].allowed = max(w.accounts[a.id].allowed, next.Cap)
			}
		}
	})
	w.note("budget %d: cap %d, zone %q", r.num, next.Cap, next.Zone)
	return true
}

func (w *simWorld) drawEdit(next budget.Budget, kind int) budget.Budget {
	switch kind {
	case 0, 1:
		next.Cap += budget.Amount(1 + w.rng.IntN(100))
		w.reached("cap raised")
	case 2:
		next.Zone = pick(w, []string{"", "Europe/Berlin", "Asia/Tokyo", "America/Los_Angeles"})
		if w.rng.IntN(2) == 0 {
			next.Cap = budget.Amount(w.rng.IntN(100))
		}
	default:
		next.Cap = budget.Amount(w.rng.Int64N(int64(next.Cap) + 1))
		w.reached("cap cut")
	}
	return next
}

// lowerAllowed notes that nothing is admitted above limit any more.
func (w *simWorld) lowerAllowed(r *rule, limit budget.Amount) {
	for _, a := range []*account{r.cur, r.next} {
		if a == nil {
			continue
		}
		if limit < a.used() {
			w.reached("cap cut below use")
		}
		if o := w.accounts[a.id]; limit < o.allowed {
			o.allowed = max(limit, min(o.allowed, a.used()))
		}
	}
}

// replace is what the queries of an edit do.
func (d *simDisk) replace(num int64, next budget.Budget, running, prepared *account, end int64) {
	d.rules[num] = next
	if prepared != nil && prepared != running {
		delete(d.accounts, prepared.id)
	}
	if running == nil {
		return
	}
	if a, ok := d.accounts[running.id]; ok {
		a.end = end
		d.accounts[running.id] = a
	}
}

func (w *simWorld) deleteBudget() bool {
	r := pick(w, w.rules())
	if w.editing() || r == nil || w.rng.IntN(3) > 0 {
		return false
	}
	w.deleteRule(r, []query{{sql: `DELETE FROM budget WHERE num = ?`, args: []any{r.num}}})
	return true
}

func (w *simWorld) deleteRule(r *rule, stored []query) {
	held := r.cur != nil && r.cur.held > 0
	w.enqueueEdit(r.num, w.c.edit(ruleEdit{rule: r, deleted: true}, w.c.wall, stored), func(d *simDisk) {
		delete(d.rules, r.num)
		d.deleteAccounts(func(num int64) bool { return num == r.num })
	}, func(w *simWorld) {
		if held {
			w.reached("budget deleted with open calls")
		}
		for _, o := range w.accounts {
			if o.budget == r.num {
				o.gone = true
			}
		}
		delete(w.current, r.num)
	})
	w.note("budget %d deleted", r.num)
}

// deleteAccounts deletes the accounts of some budgets, and keeps their ids from
// coming back.
func (d *simDisk) deleteAccounts(of func(num int64) bool) {
	for id := range d.accounts {
		d.lastID = max(d.lastID, id)
	}
	maps.DeleteFunc(d.accounts, func(_ int64, a accountRow) bool { return of(a.budget) })
}
