package ledger

import (
	"context"
	"database/sql"
	"fmt"

	"aigateway/budget"
)

// UsageSince returns the rows of usage that changed behind after, a place that an
// earlier call returned or 0, as they are now, and the place up to which that are
// all. There are more if upTo is not after, then up to some limit of rows or as
// many as one commit changed. Only changes count that a ledger with a Lessor made.
// Usage that is folded by the day is not told again: whoever was told keeps it by
// the quarter of an hour.
func (l *Ledger) UsageSince(ctx context.Context, after uint64, limit int) (rows []budget.UsageTotal, upTo uint64, err error) {
	if err := l.flush(ctx); err != nil {
		return nil, after, err
	}
	err = unchanging(ctx, l.store.read, func(q querier) error {
		rows, upTo, err = changedUsage(ctx, q, after, limit)
		return err
	})
	if err != nil {
		return nil, after, fmt.Errorf("read usage: %w", err)
	}
	return rows, upTo, nil
}

func changedUsage(ctx context.Context, q querier, after uint64, limit int) (rows []budget.UsageTotal, upTo uint64, err error) {
	// The last of so many rows, and all that its commit changed.
	last := sql.NullInt64{}
	err = each(ctx, q, `SELECT max(changed) FROM (SELECT changed FROM usage WHERE changed > ? AND changed > 0 ORDER BY changed LIMIT ?)`, []any{int64(after), limit}, func(r *sql.Rows) error {
		return r.Scan(&last)
	})
	if err != nil || !last.Valid {
		return nil, after, err
	}
	err = each(ctx, q, `SELECT bucket, tag, model, provider, key_id, requests, unpriced, cost, input, cache_read, cache_write, output, estimated, estimated_cost
		FROM usage WHERE changed > ? AND changed <= ? AND changed > 0`, []any{int64(after), last.Int64}, func(r *sql.Rows) error {
		var u budget.UsageTotal
		err := r.Scan(&u.Quarter, (*string)(&u.Tag), &u.Model, &u.Provider, &u.KeyID, &u.Requests, &u.Unpriced, (*int64)(&u.Cost),
			&u.Input, &u.CacheRead, &u.CacheWrite, &u.Output, &u.Estimated, (*int64)(&u.EstimatedCost))
		rows = append(rows, u)
		return err
	})
	return rows, uint64(last.Int64), err
}
