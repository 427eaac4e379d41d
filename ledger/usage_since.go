package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"aigateway/budget"
)

// UsageSince returns the rows of usage that changed behind after, a place that an
// earlier call returned or 0, as they are now, and the place up to which that are
// all. There are more if upTo is not after, then up to some limit of rows or as
// many as one commit changed. Only changes count that a ledger with a Lessor made.
// Of time that whoever is told keeps by the day, as folds say, a row is the total of a
// part of a day.
func (l *Ledger) UsageSince(ctx context.Context, after uint64, limit int, folds budget.UsageFolds) (rows []budget.UsageTotal, upTo uint64, err error) {
	if err := l.flush(ctx); err != nil {
		return nil, after, err
	}
	err = unchanging(ctx, l.store.read, func(q querier) error {
		rows, upTo, err = changedUsage(ctx, q, after, limit)
		if err == nil {
			rows, err = inParts(ctx, q, rows, folds)
		}
		return err
	})
	if err != nil {
		return nil, after, fmt.Errorf("read usage: %w", err)
	}
	return rows, upTo, nil
}

// scanTotal reads a row of usage.
func scanTotal(r *sql.Rows) (u budget.UsageTotal, err error) {
	err = r.Scan(&u.Quarter, (*string)(&u.Tag), &u.Model, &u.Provider, &u.KeyID, &u.Requests, &u.Unpriced, (*int64)(&u.Cost),
		&u.Input, &u.CacheRead, &u.CacheWrite, &u.Output, &u.Estimated, (*int64)(&u.EstimatedCost))
	return u, err
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
		u, err := scanTotal(r)
		rows = append(rows, u)
		return err
	})
	return rows, uint64(last.Int64), err
}

// inParts puts the totals of parts of days in the place of rows of folded time. What was
// folded here by the days of another zone cannot be told by those of folds, and is not
// told again: whoever was told keeps it.
func inParts(ctx context.Context, q querier, rows []budget.UsageTotal, folds budget.UsageFolds) (out []budget.UsageTotal, err error) {
	own, err := readFolds(ctx, q)
	if err != nil {
		return nil, err
	}
	parts := map[int64]map[budget.Attribution]bool{} // what is wanted, by the first bucket
	for _, r := range rows {
		first, next := folds.Part(r.Quarter)
		ownFirst, ownNext := own.Part(r.Quarter)
		switch apart := ownFirst < first || ownNext > next; {
		case apart && r.Quarter >= folds.Upto():
			return nil, fmt.Errorf("usage of %s is kept by the day here, which the store does not know yet; it is told once it does", time.Unix(0, r.Quarter*bucketNanos).UTC().Format(time.DateOnly))
		case apart:
		case r.Quarter >= folds.Upto():
			out = append(out, r)
		case parts[first] == nil:
			parts[first] = map[budget.Attribution]bool{r.Attribution: true}
		default:
			parts[first][r.Attribution] = true
		}
	}
	for first, wanted := range parts {
		_, next := folds.Part(first)
		err = each(ctx, q, `SELECT ?, tag, model, provider, key_id, sum(requests), sum(unpriced), sum(cost), sum(input), sum(cache_read), sum(cache_write), sum(output), sum(estimated), sum(estimated_cost)
			FROM usage WHERE bucket >= ? AND bucket < ? GROUP BY tag, model, provider, key_id`, []any{first, first, next}, func(r *sql.Rows) error {
			u, err := scanTotal(r)
			if u.Next = next; wanted[u.Attribution] {
				out = append(out, u)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
