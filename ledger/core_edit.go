package ledger

import (
	"time"

	"aigateway/budget"
)

// ruleEdit is a decided edit of a budget: what it becomes, or that it goes.
type ruleEdit struct {
	rule    *rule
	deleted bool
	next    budget.Budget
	loc     *time.Location // of next
	// counting: next has calls and limits none yet.
	counting bool
	// Of a new budget, which counts: its account of the window it was made in, and
	// what its target had cost there.
	made *account
	past budget.Amount
}

// edit takes e, whoever decided it: stored are the queries that keep it. A lower
// cap holds from now on; all of e is true once the event is durable, which the
// caller queues.
func (c *core) edit(e ruleEdit, wall int64, stored []query) event {
	r, out := e.rule, event{kind: eventAdmin}
	var rows []query
	var durable func()
	switch {
	case e.deleted:
		rows, durable = deleteAccounts(r.num), func() { c.removeRule(r) }
	case e.made != nil:
		out = c.enforce(r, e.made, e.past, e.counting)
		rows, durable = []query{baseSQL(e.made.id, int64(out.cost))}, func() { c.rules.list(r) }
	default:
		if r.counting = r.counting && e.counting; !r.counting {
			c.cut(r, e.next.Cap)
		}
		moved := func() {}
		if e.next.Zone != r.Zone {
			rows, moved = c.moveWindow(r, e.loc, wall)
		}
		durable = func() {
			c.replace(r, e.next, e.loc)
			moved()
		}
	}
	out.change = &change{append(stored, rows...), durable}
	return out
}

// limit is what admission obeys on r's accounts.
func (r *rule) limit() budget.Amount {
	if r.counting {
		return budget.MaxAmount
	}
	return r.Cap
}

// count is the first step of a new budget: its account has all calls that r
// watches from now on, those that run as well, and refuses none. It returns the
// account, and what queued events will add to the usage of r's target in its
// window. No commit may be under way: the database and the queue then know
// together what the target has cost so far, and what ends later counts on the
// account.
func (c *core) count(r *rule, at instant) (a *account, queued budget.Amount) {
	c.advance(&at)
	start, end := r.window(at.wall)
	r.counting = true
	a = c.newAccount(r, start, end)
	r.cur = a
	first, last := bucketSpan(start, end)
	for i := range c.queue {
		c.queue[i].usage(func(h *hold, u tally) {
			if bucket := h.reservedAt / bucketNanos; r.Target.Watches(h.attr.Tag, h.attr.KeyID) && bucket >= first && bucket < last {
				queued += u.cost
			}
		})
	}
	for _, h := range c.running(r.Target, start, end) {
		c.join(h, a, at)
	}
	c.rules.watch(r)
	return a, queued
}

// running are the open calls that t watches and that were reserved from start to
// end: a call counts in the window it was reserved in.
func (c *core) running(t budget.Target, start, end int64) (out []*hold) {
	for h := c.expiry.front; h != nil; h = h.next {
		if t.Watches(h.attr.Tag, h.attr.KeyID) && h.reservedAt >= start && h.reservedAt < end {
			out = append(out, h)
		}
	}
	return out
}

// join puts the open call h on a as well. Accounts of deleted budgets leave it, so
// that a call has no more of them than there are budgets. Other goroutines may
// read the old lists.
func (c *core) join(h *hold, a *account, at instant) {
	legs := make([]*account, 0, len(h.legs)+1)
	for _, old := range h.legs {
		if !old.rule.deleted {
			legs = append(legs, old)
			continue
		}
		old.held -= h.bound
		old.refs--
		c.forget(old)
	}
	h.legs = append(legs, a)
	h.ids = make([]int64, len(h.legs))
	for i, leg := range h.legs {
		h.ids[i] = leg.id
	}
	a.held += h.bound
	a.refs++
	a.active = at.mono
	a.largest, a.minute = max(a.largest, h.bound), at.mono/(60*second)
	c.push(event{kind: eventJoin, h: h})
}

// enforce is the second step of a new budget: it begins with what its target had
// cost, and its cap limits from now on, however much that and the running calls
// make; unless other ledgers still count.
func (c *core) enforce(r *rule, a *account, past budget.Amount, counting bool) event {
	r.counting = counting
	c.cut(r, r.limit())
	return event{kind: eventPast, pooled: a, cost: limitCharge([]*account{a}, past, 0)}
}

// lastAccountSQL keeps the ids of accounts that are about to be deleted from
// coming back to life: reservations and tokens may still name them.
const lastAccountSQL = `INSERT INTO meta (name, value) SELECT 'last_account', coalesce(max(id), 0) FROM account WHERE true
	ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`

// deleteAccounts deletes the rows of a budget's accounts.
func deleteAccounts(num int64) []query { return deleteAccountsWhere(`budget = ?`, num) }

// dropUnanswered deletes what the last process counted for a budget that it had not
// made yet: numbers only grow, and one budget is made at a time.
func dropUnanswered() []query {
	return deleteAccountsWhere(`budget > (SELECT coalesce(max(num), 0) FROM budget)`)
}

func deleteAccountsWhere(where string, args ...any) []query {
	return []query{
		{sql: lastAccountSQL},
		{sql: `DELETE FROM base WHERE account IN (SELECT id FROM account WHERE ` + where + `)`, args: args},
		{sql: `DELETE FROM sealed_account WHERE account IN (SELECT id FROM account WHERE ` + where + `)`, args: args},
		{sql: `DELETE FROM account WHERE ` + where, args: args},
	}
}

// cut lowers the limits of r's accounts, never raises them.
func (c *core) cut(r *rule, limit budget.Amount) {
	for _, a := range [...]*account{r.cur, r.next} {
		if a != nil && a.lent(limit) < a.limit {
			a.limit = a.lent(limit)
			c.want(a) // its mark must come below the new cap
		}
	}
}

// replace makes a durable edit of r true.
func (c *core) replace(r *rule, next budget.Budget, loc *time.Location) {
	if next.Zone != r.Zone {
		c.rules.leave(r)
		r.Budget, r.loc = next, loc
		c.rules.join(r)
	}
	r.Budget = next
	for _, a := range [...]*account{r.cur, r.next} {
		if a != nil {
			a.limit = a.lent(r.limit())
			c.want(a)
		}
	}
}

// moveWindow ends the running window of r at the border of the new zone: what
// it spent is not forgotten there, and the windows after it are new. It returns
// the queries and what becomes true once they are durable. Until then the
// window may end by itself; the one that followed is in use then and stays.
func (c *core) moveWindow(r *rule, loc *time.Location, wall int64) ([]query, func()) {
	var queries []query
	running, prepared := r.peek(wall), r.next
	if prepared != nil && prepared != running {
		prepared.dropped, r.next = true, nil
		c.forget(prepared)
		queries = append(queries, query{sql: `DELETE FROM account WHERE id = ?`, args: []any{prepared.id}})
	}
	if running == nil {
		return queries, func() {}
	}
	r.moving = true // nothing is prepared for the old border meanwhile
	_, end := windowAt(r.Period, loc, wall)
	queries = append(queries, query{sql: `UPDATE account SET "end" = ? WHERE id = ?`, args: []any{end, running.id}})
	return queries, func() {
		if r.moving = false; r.peek(running.start) == running {
			running.end = end
		}
	}
}

func (c *core) removeRule(r *rule) {
	c.rules.remove(r)
	r.deleted = true
	for _, a := range [...]*account{r.cur, r.next} {
		if a != nil {
			c.forget(a)
		}
	}
}
