package ledger

import (
	"context"
	"database/sql"
	"math"
	"time"

	"aigateway/budget"
)

// AddRefused adds to the counts of refused calls; it is durable on return. Counts of
// a budget that is gone are dropped. They decide nothing: no check or chain covers
// them.
func (l *Ledger) AddRefused(ctx context.Context, sums []budget.Refused) error {
	var queries []query
	const more = ` DO UPDATE SET calls = calls + excluded.calls, distinct_calls = distinct_calls + excluded.distinct_calls, kept = min(kept + excluded.kept, 4611686018427387904)`
	for i := range sums {
		s := &sums[i]
		at := s.Time.UnixNano()
		queries = append(queries, query{
			sql: `INSERT INTO refused (bucket, budget, reason, calls, distinct_calls, kept) SELECT ?, ?, ?, ?, ?, ?
				WHERE ?2 = '' OR EXISTS (SELECT 1 FROM budget WHERE id = ?2) ON CONFLICT (bucket, budget, reason)` + more,
			args: []any{at / bucketNanos, s.BudgetID, s.Reason, s.Calls, s.Distinct, int64(s.Kept)},
		})
		if s.BudgetID != "" {
			queries = append(queries, query{
				sql: `INSERT INTO refused_window (budget, start, reason, calls, distinct_calls, kept)
					SELECT b.id, a.start, ?, ?, ?, ? FROM budget b JOIN account a ON a.budget = b.num
					WHERE b.id = ? AND a.start <= ? AND a."end" > ? ORDER BY a.start DESC LIMIT 1 ON CONFLICT (budget, start, reason)` + more,
				args: []any{s.Reason, s.Calls, s.Distinct, int64(s.Kept), s.BudgetID, at, at},
			})
		}
	}
	if len(queries) == 0 {
		return nil
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	return l.edit(ctx, queries, func() {})
}

// Refused adds up the refused calls of w, whose borders are quarters of an hour, by
// budget and reason. They are kept for as long as finished calls.
func (l *Ledger) Refused(ctx context.Context, w budget.Window) ([]budget.Refused, error) {
	if err := budget.CheckUsageWindow(w); err != nil {
		return nil, err
	}
	type group struct{ budget, reason string }
	at := map[group]int{}
	out := []budget.Refused{}
	first, last := bucketSpan(w.Start.UnixNano(), w.End.UnixNano())
	err := l.store.each(ctx, `SELECT budget, reason, calls, distinct_calls, kept FROM refused WHERE bucket >= ? AND bucket < ?`, []any{first, last}, func(r *sql.Rows) error {
		var s budget.Refused
		err := r.Scan(&s.BudgetID, &s.Reason, &s.Calls, &s.Distinct, (*int64)(&s.Kept))
		i, ok := at[group{s.BudgetID, s.Reason}]
		if !ok {
			at[group{s.BudgetID, s.Reason}] = len(out)
			out = append(out, s)
			return err
		}
		out[i].Add(s.RefusedSum)
		return err
	})
	return out, wrapRead(err)
}

// Windows lists the windows of a budget that began before before (zero: all), the
// last one first: the one that runs, and those that ended since the budget was made.
// The error is KindNotFound for a budget that is not there.
func (l *Ledger) Windows(ctx context.Context, id string, before time.Time, limit int) ([]budget.WindowReport, error) {
	status, err := l.GetBudget(id)
	if err == nil {
		err = l.flush(ctx)
	}
	if err != nil {
		return nil, err
	}
	most := int64(math.MaxInt64)
	if !before.IsZero() {
		most = before.UnixNano()
	}
	out := []budget.WindowReport{}
	if status.Window.Start.UnixNano() < most {
		out = append(out, budget.WindowReport{Window: status.Window, Running: true, Cap: &status.Cap, Spent: status.Spent})
	}
	err = l.store.each(ctx, `SELECT start, "end", spent FROM past_window WHERE budget = ?1 AND start < ?2 AND start < ?3
		UNION ALL SELECT a.start, a."end", a.spent FROM account a JOIN budget b ON b.num = a.budget WHERE b.id = ?1 AND a.start < ?2 AND a.start < ?3
		ORDER BY 1 DESC LIMIT ?4`, []any{id, most, status.Window.Start.UnixNano(), limit}, func(r *sql.Rows) error {
		var start, end int64
		var w budget.WindowReport
		err := r.Scan(&start, &end, (*int64)(&w.Spent))
		w.Start, w.End = time.Unix(0, start).UTC(), time.Unix(0, end).UTC()
		out = append(out, w)
		return err
	})
	if err != nil {
		return nil, wrapRead(err)
	}
	out = out[:min(len(out), limit)]
	if err := l.capsOf(ctx, id, out); err != nil {
		return nil, err
	}
	return out, l.refusedIn(ctx, id, out)
}

// capsOf tells from the audit log which cap each window ended with.
func (l *Ledger) capsOf(ctx context.Context, id string, windows []budget.WindowReport) error {
	for i := range windows {
		w := &windows[i]
		if w.Running {
			continue
		}
		err := l.store.each(ctx, `SELECT detail FROM audit WHERE subject = ? AND at < ? AND action IN ('create_budget', 'update_budget') ORDER BY id DESC LIMIT 1`, []any{id, w.End.UnixNano()}, func(r *sql.Rows) error {
			var text string
			if err := r.Scan(&text); err != nil {
				return err
			}
			if b, _, ok := budget.ReadTerms(text); ok {
				w.Cap = &b.Cap
			}
			return nil
		})
		if err != nil {
			return wrapRead(err)
		}
	}
	return nil
}

func (l *Ledger) refusedIn(ctx context.Context, id string, windows []budget.WindowReport) error {
	for i := range windows {
		err := l.store.each(ctx, `SELECT calls, distinct_calls, kept FROM refused_window WHERE budget = ? AND start = ?`, []any{id, windows[i].Start.UnixNano()}, func(r *sql.Rows) error {
			var s budget.RefusedSum
			err := r.Scan(&s.Calls, &s.Distinct, (*int64)(&s.Kept))
			windows[i].Refused.Add(s)
			return err
		})
		if err != nil {
			return wrapRead(err)
		}
	}
	return nil
}

// BudgetChanges lists the edits of a budget with ids below before (0: all), the last
// one first. It tells of budgets that are gone, too.
func (l *Ledger) BudgetChanges(ctx context.Context, id string, before int64, limit int) ([]budget.BudgetChange, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	entries, err := l.auditEntries(ctx, `WHERE subject = ? AND id < ? AND action IN ('create_budget', 'update_budget', 'delete_budget') ORDER BY id DESC LIMIT ?`, id, before, limit+1)
	if err != nil {
		return nil, err
	}
	return budget.ReadChanges(entries, limit)
}

// RefusedRows are up to limit counts of refused calls as they are kept, each of a
// quarter of an hour, in an order of theirs, behind after: of its Time, BudgetID and
// Reason.
func (l *Ledger) RefusedRows(ctx context.Context, after budget.Refused, limit int) (out []budget.Refused, err error) {
	bucket := int64(-1)
	if !after.Time.IsZero() {
		bucket = after.Time.UnixNano() / bucketNanos
	}
	err = l.store.each(ctx, `SELECT bucket, budget, reason, calls, distinct_calls, kept FROM refused WHERE (bucket, budget, reason) > (?, ?, ?)
		ORDER BY bucket, budget, reason LIMIT ?`, []any{bucket, after.BudgetID, after.Reason, limit}, func(r *sql.Rows) error {
		var s budget.Refused
		err := r.Scan(&bucket, &s.BudgetID, &s.Reason, &s.Calls, &s.Distinct, (*int64)(&s.Kept))
		s.Time = time.Unix(0, bucket*bucketNanos).UTC()
		out = append(out, s)
		return err
	})
	return out, wrapRead(err)
}
