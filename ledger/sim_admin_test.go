package ledger

import (
	"fmt"
	"time"

	"aigateway/budget"
)

// The administrator's part: what SetBudget, UpdateBudget and DeleteBudget do
// around the core, with one edit at a time as under Ledger.admin.

func (w *simWorld) enqueueEdit(num int64, st []query, disk func(*simDisk), durable func(), applied func(*simWorld)) {
	ch := &change{queries: st, durable: durable}
	w.edits[ch] = disk
	w.edit = &simEdit{num: num, change: ch, applied: applied}
	w.c.enqueue(event{kind: eventAdmin, change: ch})
}

func (w *simWorld) createBudget() bool {
	if w.edit != nil {
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
	loc, err := checkBudget(&b)
	if err != nil {
		w.broken("budget: %v", err)
		return false
	}
	w.drain() // as costOf does
	at := w.at()
	w.c.advance(&at)
	start, end := windowAt(b.Period, loc, at.wall)
	seed := w.disk.cost(b.Target, start, end)
	if w.real != nil {
		w.real.compareCost(w, b.Target, start, end, seed)
	}
	w.disk.lastRule++
	num := w.disk.lastRule
	b.ID = fmt.Sprintf("bud_%06d", num)
	b.CreateTime = time.Unix(0, at.wall).UTC()
	b.UpdateTime = b.CreateTime
	r := &rule{Budget: b, num: num, loc: loc}
	a := w.c.newAccount(r, start, end)
	a.spent, a.soon.spent, a.hw, a.usable = seed, seed, seed, seed
	r.cur = a
	w.accounts[a.id] = &simAccount{budget: num, start: start, end: end, seed: seed, allowed: b.Cap}
	w.enqueueEdit(num, []query{{sql: `INSERT INTO budget (num, id, tags, key_id, period, zone, cap, create_time, update_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		args: []any{num, b.ID, string(b.Target.Tags), b.Target.KeyID, int64(b.Period), b.Zone, int64(b.Cap), at.wall, at.wall}}},
		func(d *simDisk) { d.rules[num] = b },
		func() { w.c.rules.add(r) }, func(w *simWorld) {
			w.reached("budget created")
			if seed > 0 {
				w.reached("budget created with a past")
			}
		})
	w.note("%s %s: account %d, cap %d, seed %d", targetLabel(b.Target), b.Period, a.id, b.Cap, seed)
	return true
}

func (w *simWorld) editBudget() bool { return w.editRule(pick(w, w.rules()), w.rng.IntN(6)) }

// editAtBorder changes a budget, often its zone, when its window is about to
// end and the next one is prepared.
func (w *simWorld) editAtBorder() bool {
	r := pick(w, w.rules())
	if r == nil || r.cur == nil || r.cur.end == forever || w.c.wall >= r.cur.end || w.edit != nil {
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
	if w.edit != nil || r == nil {
		return false
	}
	at := w.at()
	w.c.advance(&at)
	next := w.drawEdit(r.Budget, kind)
	loc, err := checkBudget(&next)
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
	rows, durable := w.c.edit(ruleEdit{rule: r, next: next, loc: loc}, at.wall)
	st := append([]query{{sql: `UPDATE budget SET cap = ?, zone = ?, update_time = ? WHERE num = ?`,
		args: []any{int64(next.Cap), next.Zone, next.UpdateTime.UnixNano(), r.num}}}, rows...)
	w.enqueueEdit(r.num, st, func(d *simDisk) { d.replace(r.num, next, running, prepared, end) }, durable, func(w *simWorld) {
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
	if w.edit != nil || r == nil || w.rng.IntN(3) > 0 {
		return false
	}
	held := r.cur != nil && r.cur.held > 0
	rows, durable := w.c.edit(ruleEdit{rule: r, deleted: true}, w.c.wall)
	st := append([]query{{sql: `DELETE FROM budget WHERE num = ?`, args: []any{r.num}}}, rows...)
	w.enqueueEdit(r.num, st, func(d *simDisk) {
		delete(d.rules, r.num)
		for id := range d.accounts {
			d.lastID = max(d.lastID, id)
		}
		for id, a := range d.accounts {
			if a.budget == r.num {
				delete(d.accounts, id)
			}
		}
	}, durable, func(w *simWorld) {
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
	return true
}
