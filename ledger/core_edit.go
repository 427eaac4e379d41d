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
}

// edit takes e, whoever decided and stored it. A lower cap holds from now on. It
// returns what changes in the accounts' rows, and what makes all of e true once
// they are durable.
func (c *core) edit(e ruleEdit, wall int64) (rows []query, durable func()) {
	r := e.rule
	if e.deleted {
		return deleteAccounts(r.num), func() { c.removeRule(r) }
	}
	c.cut(r, e.next.Cap)
	moved := func() {}
	if e.next.Zone != r.Zone {
		rows, moved = c.moveWindow(r, e.loc, wall)
	}
	return rows, func() {
		c.replace(r, e.next, e.loc)
		moved()
	}
}

// lastAccountSQL keeps the ids of accounts that are about to be deleted from
// coming back to life: reservations and tokens may still name them.
const lastAccountSQL = `INSERT INTO meta (name, value) SELECT 'last_account', coalesce(max(id), 0) FROM account WHERE true
	ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`

// deleteAccounts deletes the rows of a budget's accounts.
func deleteAccounts(num int64) []query {
	return []query{
		{sql: lastAccountSQL},
		{sql: `DELETE FROM base WHERE account IN (SELECT id FROM account WHERE budget = ?)`, args: []any{num}},
		{sql: `DELETE FROM sealed_account WHERE account IN (SELECT id FROM account WHERE budget = ?)`, args: []any{num}},
		{sql: `DELETE FROM account WHERE budget = ?`, args: []any{num}},
	}
}

// cut lowers the limits of r's accounts, never raises them.
func (c *core) cut(r *rule, limit budget.Amount) {
	for _, a := range [...]*account{r.cur, r.next} {
		if a != nil && limit < a.limit {
			a.limit = limit
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
			a.limit = next.Cap
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
