package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"aigateway/budget"
)

// edit queues queries and returns once they are durable and durable, which
// runs under mu, has made them true in memory. The caller holds admin.
func (l *Ledger) edit(ctx context.Context, queries []query, durable func()) error {
	l.mu.Lock()
	if err := l.unavailable(); err != nil {
		l.mu.Unlock()
		return err
	}
	n := l.editLocked(queries, durable)
	l.mu.Unlock()
	return l.awaitEdit(ctx, n)
}

// awaitEdit waits for an edit even if the caller gives up: the next edit
// builds on this one.
func (l *Ledger) awaitEdit(ctx context.Context, n uint64) error {
	return l.await(context.WithoutCancel(ctx), n, true)
}

func (l *Ledger) editLocked(queries []query, durable func()) (n uint64) {
	l.core.enqueue(event{kind: eventAdmin, change: &change{queries, durable}})
	l.noteQueued(l.instant())
	l.signal(true)
	return l.core.queued
}

// audit is the row that says who did what, and why.
func (l *Ledger) audit(by budget.Author, action, subject string, detail map[string]any) query {
	if by.Reason != "" {
		detail["reason"] = by.Reason
	}
	return auditRow(l.config.Now().UnixNano(), by.Actor, action, subject, detail)
}

func auditRow(at int64, actor, action, subject string, detail any) query {
	text, err := json.Marshal(detail)
	if err != nil {
		text = fmt.Appendf(nil, "%q", err.Error())
	}
	return query{
		sql:    `INSERT INTO audit (at, actor, action, subject, detail, link, hash) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		args:   []any{at, actor, action, subject, string(text)},
		booked: auditEntry(at, actor, action, subject, string(text)),
	}
}

// checkAuthor refuses a reason that cannot be kept.
func checkAuthor(by budget.Author) error {
	if by.Reason != "" && !printable(by.Reason, budget.MaxReasonBytes) {
		return budget.Invalid("field_invalid", "reason", fmt.Sprintf("reason must be up to %d bytes of printable text, or absent", budget.MaxReasonBytes))
	}
	return nil
}

// SetBudget creates the budget of (Target, Period) or replaces its cap, zone and
// default output cap, and is durable on return. A new budget starts with what its target
// already cost in the window, so deleting and setting a budget again forgets
// nothing; calls that run at that moment are not counted. A lower cap holds at
// once, even below what is spent: running calls finish, nothing new starts.
func (l *Ledger) SetBudget(ctx context.Context, b budget.Budget, by budget.Author) (budget.Status, error) {
	loc, err := checkBudget(&b)
	if err == nil {
		err = checkAuthor(by)
	}
	if err != nil {
		return budget.Status{}, err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	l.mu.Lock()
	r := l.core.rules.target[targetKey{b.Target, b.Period}]
	l.mu.Unlock()
	if r == nil {
		return l.createBudget(ctx, b, loc, by)
	}
	next := r.Budget
	next.Cap, next.Zone, next.DefaultMaxTokens = b.Cap, b.Zone, b.DefaultMaxTokens
	return l.replaceBudget(ctx, r, next, loc, by)
}

// checkBudget validates what a caller chose and returns the zone.
func checkBudget(b *budget.Budget) (*time.Location, error) {
	switch {
	case (b.Target.Tags == "") == (b.Target.KeyID == ""):
		return nil, budget.Invalid("field_invalid", "target", "a budget watches either tags or one key; name exactly one")
	case b.Period < budget.Month || b.Period > budget.Total:
		return nil, budget.Invalid("field_invalid", "period", "period is unknown; use month, day, week or total")
	case b.Cap < 0 || b.Cap > budget.MaxAmount:
		return nil, budget.Invalid("field_invalid", "cap", fmt.Sprintf("cap must be from 0 to %d cents", budget.MaxCents))
	}
	if err := budget.CheckDefaultMaxTokens(b.DefaultMaxTokens); err != nil {
		return nil, err
	}
	if b.Target.Tags != "" {
		if _, err := budget.ParseTagPattern("tag", string(b.Target.Tags)); err != nil {
			return nil, err
		}
	}
	return budget.ParseZone("time_zone", b.Zone)
}

func (l *Ledger) createBudget(ctx context.Context, b budget.Budget, loc *time.Location, by budget.Author) (budget.Status, error) {
	wall := l.windowTime()
	start, end := windowAt(b.Period, loc, wall)
	seed, err := l.costOf(ctx, b.Target, start, end)
	if err != nil {
		return budget.Status{}, err
	}
	l.lastRule++
	b.ID = "bud_" + randomText(16)
	b.CreateTime = time.Unix(0, wall).UTC()
	b.UpdateTime = b.CreateTime
	r := &rule{Budget: b, num: l.lastRule, loc: loc}
	insert := query{sql: `INSERT INTO budget (num, id, tags, key_id, period, zone, cap, create_time, update_time, default_max_tokens) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		args: []any{r.num, b.ID, string(b.Target.Tags), b.Target.KeyID, int64(b.Period), b.Zone, int64(b.Cap), wall, wall, b.DefaultMaxTokens}}
	l.mu.Lock()
	if err := l.unavailable(); err != nil {
		l.mu.Unlock()
		return budget.Status{}, err
	}
	a := l.core.newAccount(r, start, end)
	a.spent, a.soon.spent, a.hw, a.limit = seed, seed, seed, seed
	r.cur = a
	n := l.editLocked([]query{insert, baseSQL(a.id, int64(seed)), l.auditBudget(by, "create_budget", b)}, func() { l.core.rules.add(r) })
	l.mu.Unlock()
	if err := l.awaitEdit(ctx, n); err != nil {
		return budget.Status{}, err
	}
	return l.GetBudget(b.ID)
}

// replaceBudget moves r to next. A lower cap counts in memory first, a higher
// one only once it is durable. The caller holds admin.
func (l *Ledger) replaceBudget(ctx context.Context, r *rule, next budget.Budget, loc *time.Location, by budget.Author) (budget.Status, error) {
	wall := l.windowTime()
	next.UpdateTime = time.Unix(0, max(wall, r.UpdateTime.UnixNano()+1)).UTC()
	queries := []query{
		{sql: `UPDATE budget SET cap = ?, zone = ?, default_max_tokens = ?, update_time = ? WHERE num = ?`,
			args: []any{int64(next.Cap), next.Zone, next.DefaultMaxTokens, next.UpdateTime.UnixNano(), r.num}},
		l.auditBudget(by, "update_budget", next),
	}
	l.mu.Lock()
	if err := l.unavailable(); err != nil {
		l.mu.Unlock()
		return budget.Status{}, err
	}
	l.core.cut(r, next.Cap)
	moved := func() {}
	if next.Zone != r.Zone {
		var st []query
		st, moved = l.core.moveWindow(r, loc, wall)
		queries = append(queries, st...)
	}
	n := l.editLocked(queries, func() {
		l.core.replace(r, next, loc)
		moved()
	})
	l.mu.Unlock()
	if err := l.awaitEdit(ctx, n); err != nil {
		return budget.Status{}, err
	}
	return l.GetBudget(r.ID)
}

func (l *Ledger) auditBudget(by budget.Author, action string, b budget.Budget) query {
	return l.audit(by, action, b.ID, map[string]any{
		"target": targetLabel(b.Target), "period": b.Period.String(), "time_zone": b.Zone, "cap_nano_usd": int64(b.Cap), "default_max_tokens": b.DefaultMaxTokens,
	})
}

// cut lowers the cap that admission obeys, never raises it.
func (c *core) cut(r *rule, limit budget.Amount) {
	for _, a := range [...]*account{r.cur, r.next} {
		if a != nil && limit < a.cap {
			a.cap = limit
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
			a.cap = next.Cap
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

// UpdateBudget lets change edit a copy of the budget and makes the result
// durable. Only Cap, Zone and DefaultMaxTokens may change: another target or period is another
// budget. A non-empty etag must match, else KindConflict; change must not call
// the ledger.
func (l *Ledger) UpdateBudget(ctx context.Context, id, etag string, change func(*budget.Budget) error, by budget.Author) (budget.Status, error) {
	if err := checkAuthor(by); err != nil {
		return budget.Status{}, err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	r, err := l.find(id, etag)
	if err != nil {
		return budget.Status{}, err
	}
	next := r.Budget
	if err := change(&next); err != nil {
		return budget.Status{}, err
	}
	if next.Target != r.Target || next.Period != r.Period || next.ID != r.ID {
		return budget.Status{}, budget.Invalid("field_immutable", "target", "target and period of a budget cannot change; set another budget and delete this one")
	}
	loc, err := checkBudget(&next)
	if err != nil {
		return budget.Status{}, err
	}
	next.CreateTime = r.CreateTime
	return l.replaceBudget(ctx, r, next, loc, by)
}

// find returns the budget id if etag is empty or current. Rules change only
// under admin and mu together, so a holder of admin may read the result.
func (l *Ledger) find(id, etag string) (*rule, error) {
	l.mu.Lock()
	r := l.core.rules.byID[id]
	l.mu.Unlock()
	switch {
	case r == nil:
		return nil, noBudget(id)
	case etag != "" && etag != r.Etag():
		return nil, &budget.Error{Kind: budget.KindConflict, Reason: "etag_mismatch", Field: "etag",
			Message: "the budget has changed since it was read; read it again and retry"}
	default:
		return r, nil
	}
}

func noBudget(id string) error {
	return budget.NotFound("budget_not_found", fmt.Sprintf("there is no budget %q", id))
}

// lastAccountSQL keeps the ids of accounts that are about to be deleted from
// coming back to life: reservations and tokens may still name them.
const lastAccountSQL = `INSERT INTO meta (name, value) SELECT 'last_account', coalesce(max(id), 0) FROM account WHERE true
	ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)`

// DeleteBudget removes a budget; it is durable on return. Its cap holds until
// then. A non-empty etag must match.
func (l *Ledger) DeleteBudget(ctx context.Context, id, etag string, by budget.Author) error {
	if err := checkAuthor(by); err != nil {
		return err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	r, err := l.find(id, etag)
	if err != nil {
		return err
	}
	return l.edit(ctx, []query{
		{sql: `DELETE FROM budget WHERE num = ?`, args: []any{r.num}},
		{sql: lastAccountSQL},
		{sql: `DELETE FROM base WHERE account IN (SELECT id FROM account WHERE budget = ?)`, args: []any{r.num}},
		{sql: `DELETE FROM sealed_account WHERE account IN (SELECT id FROM account WHERE budget = ?)`, args: []any{r.num}},
		{sql: `DELETE FROM account WHERE budget = ?`, args: []any{r.num}},
		l.auditBudget(by, "delete_budget", r.Budget),
	}, func() { l.core.removeRule(r) })
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

// GetBudget returns a budget with its counters; the error is KindNotFound.
func (l *Ledger) GetBudget(id string) (budget.Status, error) {
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.core.rules.byID[id]
	if r == nil {
		return budget.Status{}, noBudget(id)
	}
	l.core.advance(&at)
	return *l.core.status(r, at.wall), nil
}

// ListBudgets returns up to limit budgets in order of id, after the given one;
// the empty id starts at the front.
func (l *Ledger) ListBudgets(after string, limit int) ([]budget.Status, error) {
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.core.advance(&at)
	ids := page(l.core.rules.ids, after, limit)
	out := make([]budget.Status, 0, len(ids))
	for _, id := range ids {
		out = append(out, *l.core.status(l.core.rules.byID[id], at.wall))
	}
	return out, nil
}

// windowTime is the wall clock, made monotonic.
func (l *Ledger) windowTime() int64 {
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.core.advance(&at)
	return at.wall
}
