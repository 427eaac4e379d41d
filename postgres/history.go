package postgres

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// PushRefused tells what m has refused: absolute counts, each of a quarter of an hour,
// which only grow. What is older than counts are kept for is not taken any more.
func (m *Member) PushRefused(ctx context.Context, counts []budget.Refused) error {
	for len(counts) > 0 {
		n := min(len(counts), usageChunk)
		var buckets, calls, distinct, kept []int64
		var budgets, reasons []string
		for i := range counts[:n] {
			r := &counts[i]
			buckets, budgets, reasons = append(buckets, r.Time.UnixNano()/quarter), append(budgets, r.BudgetID), append(reasons, r.Reason)
			calls, distinct, kept = append(calls, r.Calls), append(distinct, r.Distinct), append(kept, int64(r.Kept))
		}
		counts = counts[n:]
		err := m.s.write(ctx, func(ctx context.Context, c *conn) error {
			var known bool
			var now time.Time
			err := c.QueryRow(ctx, `SELECT now(), EXISTS (SELECT 1 FROM aig_holder WHERE id = $1 AND epoch = $2 AND NOT forgotten)`, m.id, m.epoch).Scan(&now, &known)
			if err == nil && !known {
				err = m.missing(ctx, c)
			}
			if err != nil {
				return err
			}
			_, err = c.Exec(ctx, `INSERT INTO aig_refused (holder, bucket, budget_id, reason, calls, distinct_calls, kept)
				SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[]) AS r(bucket, budget_id, reason, calls, distinct_calls, kept)
				WHERE bucket >= $8
				ON CONFLICT (bucket, budget_id, reason, holder) DO UPDATE SET calls = excluded.calls, distinct_calls = excluded.distinct_calls, kept = excluded.kept
				WHERE aig_refused.calls < excluded.calls`, m.id, buckets, budgets, reasons, calls, distinct, kept, m.s.refusedFrom(now)+24*4)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// quarter is of an hour, in nanoseconds.
const quarter = int64(15 * time.Minute)

// refusedFrom is the oldest quarter of which counts of refused calls are kept at now, of
// the store: two days more than a replica has its own, and so no clock brings them back.
func (s *Store) refusedFrom(now time.Time) int64 {
	return now.Add(-s.config.Retention-48*time.Hour).UnixNano() / quarter
}

// sumRefused adds up counts; Kept stays at MaxAmount.
var sumRefused = sumOf("calls") + ", " + sumOf("distinct_calls") + ", " + sumOf("kept")

// Refused adds up what all replicas have told of the refused calls of w, whose borders
// are quarters of an hour, by budget and reason.
func (s *Store) Refused(ctx context.Context, w budget.Window) (out []budget.Refused, err error) {
	if err := budget.CheckUsageWindow(w); err != nil {
		return nil, err
	}
	first, last := quarters(w.Start.UnixNano(), endOf(w))
	out = []budget.Refused{}
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		rows, err := c.Query(ctx, `SELECT budget_id, reason, `+sumRefused+` FROM aig_refused WHERE bucket >= $1 AND bucket < $2 GROUP BY budget_id, reason`, first, last)
		if err != nil {
			return err
		}
		var r budget.Refused
		_, err = pgx.ForEachRow(rows, []any{&r.BudgetID, &r.Reason, &r.Calls, &r.Distinct, &r.Kept}, func() error {
			out = append(out, r)
			return nil
		})
		return err
	})
	return out, err
}

// Windows lists the windows of a budget that began before before (zero: all), the last
// one first: the one that runs by the store's clock, and those that ended since the
// budget was made, of all replicas. The error is KindNotFound.
func (s *Store) Windows(ctx context.Context, id string, before time.Time, limit int) (out []budget.WindowReport, err error) {
	status, err := s.Budget(ctx, id)
	if err != nil {
		return nil, err
	}
	most := int64(math.MaxInt64)
	if !before.IsZero() {
		most = before.UnixNano()
	}
	running := status.Window.Start.UnixNano()
	out = []budget.WindowReport{}
	if running < most {
		out = append(out, budget.WindowReport{Window: status.Window, Running: true, Cap: &status.Cap, Spent: status.Spent})
	}
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		rows, err := c.Query(ctx, `SELECT start, "end", spent FROM aig_past_window WHERE budget_id = $1 AND start < $2
			UNION SELECT start, "end", spent FROM aig_account WHERE budget_id = $1 AND scope = '' AND start < $2 ORDER BY start DESC LIMIT $3`, id, min(most, running), max(0, limit))
		if err != nil {
			return err
		}
		var start, end int64
		var spent budget.Amount
		_, err = pgx.ForEachRow(rows, []any{&start, &end, &spent}, func() error {
			out = append(out, budget.WindowReport{Window: budget.Window{Start: time.Unix(0, start).UTC(), End: time.Unix(0, end).UTC()}, Spent: spent})
			return nil
		})
		if err != nil {
			return err
		}
		out = out[:min(len(out), max(0, limit))]
		details := &pgx.Batch{} // one message for all windows
		for i := range out {
			windowDetail(details, id, &out[i])
		}
		return c.SendBatch(ctx, details).Close()
	})
	return out, err
}

// windowDetail asks with which cap a window ended, and what was refused in it.
func windowDetail(b *pgx.Batch, id string, w *budget.WindowReport) {
	first, last := quarters(w.Start.UnixNano(), endOf(w.Window))
	b.Queue(`SELECT `+sumRefused+` FROM (SELECT calls, distinct_calls, kept FROM aig_refused WHERE budget_id = $1 AND bucket >= $2 AND bucket < $3
		UNION ALL SELECT calls, distinct_calls, kept FROM aig_refused_window WHERE budget_id = $1 AND start = $4) AS r`, id, first, last, w.Start.UnixNano()).
		QueryRow(func(row pgx.Row) error { return row.Scan(&w.Refused.Calls, &w.Refused.Distinct, &w.Refused.Kept) })
	if w.Running {
		return
	}
	b.Queue(`SELECT detail FROM aig_audit WHERE subject = $1 AND at < $2 AND action IN ('create_budget', 'update_budget') ORDER BY id DESC LIMIT 1`, id, w.End.UnixNano()).
		Query(func(rows pgx.Rows) error {
			detail, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err == nil && len(detail) > 0 {
				if b, _, ok := budget.ReadTerms(detail[0]); ok {
					w.Cap = &b.Cap
				}
			}
			return err
		})
}

// BudgetChanges lists the edits of a budget with ids below before (0: all), the last
// one first. It tells of budgets that are gone, too.
func (s *Store) BudgetChanges(ctx context.Context, id string, before int64, limit int) (out []budget.BudgetChange, err error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	var entries []budget.AuditEntry
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		entries, err = readAudit(ctx, c, `WHERE subject = $1 AND id < $2 AND action IN ('create_budget', 'update_budget', 'delete_budget') ORDER BY id DESC LIMIT $3`, id, before, max(0, limit)+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	return budget.ReadChanges(entries, limit)
}

// foldRefused deletes some counts of refused calls that are older at now than they are
// kept, and adds them to the windows that they are of.
func (s *Store) foldRefused(ctx context.Context, c *conn, now time.Time) error {
	_, err := c.Exec(ctx, `WITH old AS (DELETE FROM aig_refused WHERE (bucket, budget_id, reason, holder) IN
			(SELECT bucket, budget_id, reason, holder FROM aig_refused WHERE bucket < $1 ORDER BY bucket LIMIT 1000 FOR UPDATE SKIP LOCKED)
			RETURNING bucket, budget_id, calls, distinct_calls, kept),
		span AS (SELECT budget_id, start, "end" FROM aig_past_window UNION SELECT budget_id, start, "end" FROM aig_account WHERE scope = '')
		INSERT INTO aig_refused_window (budget_id, start, calls, distinct_calls, kept)
			SELECT o.budget_id, w.start, sum(o.calls), sum(o.distinct_calls), `+sumOf("o.kept")+`
			FROM old o JOIN span w ON w.budget_id = o.budget_id AND w.start / $2 <= o.bucket AND w."end" / $2 > o.bucket GROUP BY o.budget_id, w.start
		ON CONFLICT (budget_id, start) DO UPDATE SET calls = aig_refused_window.calls + excluded.calls, distinct_calls = aig_refused_window.distinct_calls + excluded.distinct_calls,
			kept = least(aig_refused_window.kept::numeric + excluded.kept, $3)::bigint`, s.refusedFrom(now), quarter, int64(budget.MaxAmount))
	return err
}
