package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"aigateway/budget"
)

const (
	// callSlice is how many rows one query of a list looks at: no query keeps the
	// journal from being checkpointed for long.
	callSlice = 5000
	// callScan is how many rows one page looks at: some tenths of a second.
	callScan = 40 * callSlice
)

// Calls lists calls that were admitted and whose rows are not pruned yet, the
// newest first, with all that ended before the call of this method. A call that
// runs has no row of its own: it is here from memory.
func (l *Ledger) Calls(ctx context.Context, q budget.CallQuery) (budget.CallPage, error) {
	var running []*hold // before the rows are read: whatever ends meanwhile is in one of them
	if q.State == "" || q.State == budget.CallRunning {
		running = l.running(&q)
	}
	if err := l.flush(ctx); err != nil {
		return budget.CallPage{}, err
	}
	page, err := l.store.calls(ctx, &q)
	if err != nil {
		return budget.CallPage{}, fmt.Errorf("read calls: %w", err)
	}
	have := make(map[budget.ReservationID]bool, len(page.Calls))
	for _, c := range page.Calls {
		have[c.ID] = true
	}
	running = slices.DeleteFunc(running, func(h *hold) bool { return have[h.id] || h.id < page.Before })
	page.Calls = append(page.Calls, l.runningCalls(running[:min(len(running), q.Limit)])...)
	slices.SortFunc(page.Calls, func(a, b budget.Call) int { return cmp.Compare(b.ID, a.ID) })
	if len(page.Calls) > q.Limit {
		page.Calls = page.Calls[:q.Limit]
		last := &page.Calls[q.Limit-1]
		page.Before, page.Reached = last.ID, last.DecidedAt
	}
	return page, nil
}

// running are the open holds that q selects, the newest first.
func (l *Ledger) running(q *budget.CallQuery) []*hold {
	l.mu.Lock()
	open := make([]*hold, 0, len(l.core.open))
	for id, h := range l.core.open {
		if h.state == holdOpen && (q.Before == 0 || id < q.Before) {
			open = append(open, h)
		}
	}
	l.mu.Unlock() // what follows reads what never changes
	open = slices.DeleteFunc(open, func(h *hold) bool {
		return !q.Selects(&h.attr, h.requestID, budget.CallRunning, time.Unix(0, h.reservedAt))
	})
	slices.SortFunc(open, func(a, b *hold) int { return cmp.Compare(b.id, a.id) })
	return open
}

func (l *Ledger) runningCalls(holds []*hold) []budget.Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]budget.Call, 0, len(holds))
	for _, h := range holds {
		out = append(out, budget.Call{
			ID: h.id, RequestID: h.requestID, State: budget.CallRunning, Attribution: h.attr, DecidedAt: time.Unix(0, h.reservedAt).UTC(),
			Bound: h.bound, Unpriced: h.unpriced, Budgets: h.budgets(), Arithmetic: h.arithmetic,
		})
	}
	return out
}

// calls reads a page of finished calls: in slices, up to callScan rows, so that
// it may be empty and not the last.
func (s *store) calls(ctx context.Context, q *budget.CallQuery) (page budget.CallPage, err error) {
	r := callReader{query: q, before: forever}
	if q.Before > 0 {
		r.before = int64(q.Before)
	}
	for looked := 0; looked < callScan && len(r.calls) < q.Limit; looked += callSlice {
		lowest, reached, err := s.callSlice(ctx, r.before)
		if err != nil {
			return page, err
		}
		if err := r.read(ctx, s.read, lowest); err != nil {
			return page, err
		}
		r.before, page.Reached = lowest, reached
		if lowest == 0 || reached.Before(q.Since) {
			r.before = 0
			break
		}
	}
	if len(r.calls) == q.Limit { // there may be more in the last slice
		last := &r.calls[q.Limit-1]
		r.before, page.Reached = int64(last.ID), last.DecidedAt
	}
	if r.before == 0 {
		page.Reached = time.Time{}
	}
	page.Calls, page.Before = r.calls, budget.ReservationID(r.before)
	return page, r.nameBudgets(ctx, s.read)
}

// callTime is when a row's call was decided; of a row from before that was kept,
// when it ended.
const callTime = "coalesce(reserved_at, at)"

// callSlice is the row callSlice rows below before, and the time of its call: 0
// and none where there are fewer.
func (s *store) callSlice(ctx context.Context, before int64) (lowest int64, at time.Time, err error) {
	err = s.each(ctx, `SELECT rid, `+callTime+` FROM settle WHERE rid < ? ORDER BY rid DESC LIMIT 1 OFFSET ?`, []any{before, callSlice - 1}, func(r *sql.Rows) error {
		var nanos int64
		err := r.Scan(&lowest, &nanos)
		at = time.Unix(0, nanos).UTC()
		return err
	})
	return lowest, at, err
}

const callColumns = `SELECT rid, at, status, basis, bound, actual, accounts, coalesce(request_id, ''), ` + callTime + `, coalesce(unpriced, 0), coalesce(key_id, ''),
	coalesce(tag, ''), coalesce(model, ''), coalesce(provider, substr(model, 1, instr(model, '/') - 1), ''), detail FROM settle WHERE `

// callReader collects finished calls.
type callReader struct {
	query    *budget.CallQuery
	before   int64 // only rows below this one
	calls    []budget.Call
	accounts [][]int64 // of each call
}

// read adds the calls that the query selects of the rows from lowest on.
func (c *callReader) read(ctx context.Context, q querier, lowest int64) error {
	f := c.filter()
	f.add("rid >= ? AND rid < ?", lowest, c.before)
	return each(ctx, q, callColumns+strings.Join(f.terms, " AND ")+` ORDER BY rid DESC LIMIT ?`, append(f.args, c.query.Limit-len(c.calls)), c.scan)
}

// filter is the query's part of a WHERE clause.
func (c *callReader) filter() (f usageFilter) {
	for _, t := range []struct{ column, value string }{{"request_id", c.query.RequestID}, {"key_id", c.query.KeyID}, {"model", c.query.Model}} {
		if t.value != "" {
			f.add(t.column+" = ?", t.value)
		}
	}
	switch c.query.State {
	case budget.CallExpired:
		f.add("status = ?", statusExpired)
	case budget.CallSettled:
		f.add("status <> ?", statusExpired)
	case budget.CallRunning, budget.CallRefused: // which have no row here
		f.add("0")
	}
	if !c.query.Since.IsZero() {
		f.add(callTime+" >= ?", c.query.Since.UnixNano())
	}
	var any usageFilter
	for _, p := range c.query.Tags {
		if p == "" || p == budget.AllTags {
			return f
		}
		any.tags(p)
	}
	if len(any.terms) > 0 {
		f.add("("+strings.Join(any.terms, " OR ")+")", any.args...)
	}
	return f
}

func (c *callReader) scan(r *sql.Rows) error {
	var call budget.Call
	var at, decided int64
	var status int
	var accounts, told sql.RawBytes
	err := r.Scan((*uint64)(&call.ID), &at, &status, (*string)(&call.Basis), (*int64)(&call.Bound), (*int64)(&call.Cost), &accounts, &call.RequestID, &decided, &call.Unpriced,
		&call.KeyID, (*string)(&call.Tag), &call.Model, &call.Provider, &told)
	if err != nil {
		return err
	}
	ids, err := decodeAccounts(accounts)
	if err != nil {
		return fmt.Errorf("settle %d: %w", call.ID, err)
	}
	call.DecidedAt, call.State = time.Unix(0, decided).UTC(), budget.CallSettled
	if status == statusExpired {
		call.State = budget.CallExpired
	}
	d := decodeDetail(told)
	if d.took >= 0 {
		call.EndedAt = call.DecidedAt.Add(d.took)
	}
	call.Status, call.Tokens, call.Served, call.Arithmetic = d.status, d.tokens, d.served, d.arithmetic
	c.calls, c.accounts = append(c.calls, call), append(c.accounts, ids)
	return nil
}

// nameBudgets fills in which budgets the accounts of the calls are of. One that
// was deleted has no name any more.
func (c *callReader) nameBudgets(ctx context.Context, q querier) error {
	list, err := json.Marshal(slices.Concat(c.accounts...))
	if err != nil {
		return err
	}
	names := map[int64]string{}
	err = each(ctx, q, `SELECT account.id, budget.id FROM account JOIN budget ON budget.num = account.budget WHERE account.id IN (SELECT value FROM json_each(?))`, []any{string(list)}, func(r *sql.Rows) error {
		var account int64
		var name string
		err := r.Scan(&account, &name)
		names[account] = name
		return err
	})
	for i, ids := range c.accounts {
		for _, id := range ids {
			if name := names[id]; name != "" {
				c.calls[i].Budgets = append(c.calls[i].Budgets, name)
			}
		}
	}
	return err
}
