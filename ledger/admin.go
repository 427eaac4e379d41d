package ledger

import (
	"context"
	"encoding/json"
	"errors"
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
	return l.queueEdit(event{kind: eventAdmin, change: &change{queries, durable}})
}

// queueEdit returns the number that e has in the queue. The caller holds mu.
func (l *Ledger) queueEdit(e event) (n uint64) {
	l.core.enqueue(e)
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

// SetBudget creates the budget of (Target, Period) or replaces its cap, zone and
// default output cap, and is durable on return. A new budget starts with what its target
// already cost in the window, so deleting and setting a budget again forgets
// nothing, and has the calls that run at that moment. A cap below what is spent and
// reserved holds at once: running calls finish, nothing new starts.
func (l *Ledger) SetBudget(ctx context.Context, b budget.Budget, by budget.Author) (budget.Status, error) {
	loc, err := b.Check()
	if err == nil {
		err = by.Check()
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
	next.Cap, next.Zone, next.Defaults = b.Cap, b.Zone, b.Defaults
	return l.replaceBudget(ctx, r, next, loc, by)
}

// createBudget makes a budget in two steps, so that from the answer on it has the
// calls that run as well as what its target already cost: it counts, while its past
// is read, and then limits. The caller holds admin.
func (l *Ledger) createBudget(ctx context.Context, b budget.Budget, loc *time.Location, by budget.Author) (budget.Status, error) {
	wall := l.windowTime()
	l.lastRule++
	b.ID = "bud_" + randomText(16)
	b.CreateTime = time.Unix(0, wall).UTC()
	b.UpdateTime = b.CreateTime
	edits := []ruleEdit{{rule: &rule{Budget: b, num: l.lastRule, loc: loc}, next: b, loc: loc}}
	if err := l.makeRules(ctx, edits, l.auditBudget(by, "create_budget", b)); err != nil {
		return budget.Status{}, err
	}
	return l.GetBudget(b.ID)
}

// makeRules makes budgets, at most maxMade, all or none. The caller holds admin.
func (l *Ledger) makeRules(ctx context.Context, edits []ruleEdit, audit ...query) error {
	if err := l.countCalls(ctx, edits); err != nil {
		for _, e := range edits {
			if e.made != nil { // as if it had never been; a restart does the same
				err = errors.Join(err, l.applyRule(ctx, ruleEdit{rule: e.rule, deleted: true}, nil))
			}
		}
		return err
	}
	return l.applyEdits(ctx, edits, func(e *ruleEdit) []query {
		b := &e.next
		return append([]query{{sql: `INSERT INTO budget (num, id, tags, key_id, period, zone, cap, create_time, update_time, default_max_tokens, default_max_tool_calls, counting) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			args: []any{e.rule.num, b.ID, string(b.Target.Tags), b.Target.KeyID, int64(b.Period), b.Zone, int64(b.Cap), b.CreateTime.UnixNano(), b.UpdateTime.UnixNano(), b.DefaultMaxTokens, b.DefaultMaxToolCalls, boolInt(e.counting)}}}, audit...)
	})
}

// countCalls starts to count the calls that the new rules watch on their first
// accounts, and notes what their targets had cost in their windows until then.
func (l *Ledger) countCalls(ctx context.Context, edits []ruleEdit) error {
	l.mu.Lock()
	err := l.unavailable()
	l.mu.Unlock()
	if err != nil {
		return err
	}
	return unchanging(ctx, l.store.read, func(q querier) error {
		var begun error
		err := l.onSync(ctx, func() error { // no commit is under way
			at := l.instant()
			if _, begun = readSeal(context.Background(), q); begun != nil { // the first read picks the state
				return nil
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if begun = l.unavailable(); begun != nil {
				return nil
			}
			for i := range edits {
				edits[i].made, edits[i].past = l.core.count(edits[i].rule, at)
			}
			l.noteQueued(at)
			l.signal(true)
			return nil
		})
		if err := errors.Join(err, begun); err != nil {
			return err
		}
		for i := range edits {
			e := &edits[i]
			cost, err := costOf(ctx, q, e.next.Target, e.made.start, e.made.end) // which stay: it is not listed, so nobody edits it
			if err != nil {
				return err
			}
			e.past = max(0, min(cost+e.past, budget.MaxAmount))
		}
		return nil
	})
}

// replaceBudget moves r to next. The caller holds admin.
func (l *Ledger) replaceBudget(ctx context.Context, r *rule, next budget.Budget, loc *time.Location, by budget.Author) (budget.Status, error) {
	next.UpdateTime = time.Unix(0, max(l.windowTime(), r.UpdateTime.UnixNano()+1)).UTC()
	err := l.applyRule(ctx, ruleEdit{rule: r, next: next, loc: loc}, []query{
		{sql: `UPDATE budget SET cap = ?, zone = ?, default_max_tokens = ?, default_max_tool_calls = ?, update_time = ? WHERE num = ?`,
			args: []any{int64(next.Cap), next.Zone, next.DefaultMaxTokens, next.DefaultMaxToolCalls, next.UpdateTime.UnixNano(), r.num}},
		l.auditBudget(by, "update_budget", next),
	})
	if err != nil {
		return budget.Status{}, err
	}
	return l.GetBudget(r.ID)
}

// applyRule is the one door through which edits of budgets reach the accounts. It
// returns once e is durable, with stored, which keeps the edit itself, and true:
// a lower cap counts in memory first, everything else once it is durable. The
// caller holds admin.
func (l *Ledger) applyRule(ctx context.Context, e ruleEdit, stored []query) error {
	return l.applyEdits(ctx, []ruleEdit{e}, func(*ruleEdit) []query { return stored })
}

// applyEdits is applyRule for several edits, in one transaction.
func (l *Ledger) applyEdits(ctx context.Context, edits []ruleEdit, stored func(*ruleEdit) []query) error {
	at := l.instant()
	l.mu.Lock()
	if err := l.unavailable(); err != nil {
		l.mu.Unlock()
		return err
	}
	l.core.advance(&at)
	var n uint64
	for i := range edits {
		out := l.core.edit(edits[i], at.wall, stored(&edits[i]))
		out.joined = i < len(edits)-1
		n = l.queueEdit(out)
	}
	l.mu.Unlock()
	return l.awaitEdit(ctx, n)
}

func (l *Ledger) auditBudget(by budget.Author, action string, b budget.Budget) query {
	return l.audit(by, action, b.ID, b.Terms())
}

// UpdateBudget lets change edit a copy of the budget and makes the result
// durable. Only Cap, Zone and Defaults may change: another target or period is another
// budget. A non-empty etag must match, else KindConflict; change must not call
// the ledger.
func (l *Ledger) UpdateBudget(ctx context.Context, id, etag string, change func(*budget.Budget) error, by budget.Author) (budget.Status, error) {
	if err := by.Check(); err != nil {
		return budget.Status{}, err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	r, err := l.find(id, etag)
	if err != nil {
		return budget.Status{}, err
	}
	next, loc, err := r.Edited(change)
	if err != nil {
		return budget.Status{}, err
	}
	return l.replaceBudget(ctx, r, next, loc, by)
}

// find returns the budget id if etag is empty or current. Rules change only
// under admin and mu together, so a holder of admin may read the result.
func (l *Ledger) find(id, etag string) (*rule, error) {
	l.mu.Lock()
	r := l.core.rules.byID[id]
	l.mu.Unlock()
	if r == nil {
		return nil, budget.NoBudget(id)
	}
	return r, r.CheckEtag(etag)
}

// DeleteBudget removes a budget; it is durable on return. Its cap holds until
// then. A non-empty etag must match.
func (l *Ledger) DeleteBudget(ctx context.Context, id, etag string, by budget.Author) error {
	if err := by.Check(); err != nil {
		return err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	r, err := l.find(id, etag)
	if err != nil {
		return err
	}
	return l.applyRule(ctx, ruleEdit{rule: r, deleted: true}, []query{
		{sql: `DELETE FROM budget WHERE num = ?`, args: []any{r.num}},
		{sql: `DELETE FROM past_window WHERE budget = ?`, args: []any{r.ID}},
		{sql: `DELETE FROM refused_window WHERE budget = ?`, args: []any{r.ID}},
		l.auditBudget(by, "delete_budget", r.Budget),
	})
}

// GetBudget returns a budget with its counters; the error is KindNotFound.
func (l *Ledger) GetBudget(id string) (budget.Status, error) {
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.core.rules.byID[id]
	if r == nil {
		return budget.Status{}, budget.NoBudget(id)
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
