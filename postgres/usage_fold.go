package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"aigateway/budget"
)

// guardLock is the arguments of the advisory lock of aig_usage_guard.
const guardLock = `1634298742, 'aig_usage'::regclass::oid::int`

// knownFolds tells aig_usage_guard up to where usage is known to be folded: $1.
const knownFolds = `set_config('aig.usage_upto', $1::bigint::text, true)`

// folded is budget.ErrUsageFolded if err is of aig_usage_guard.
func folded(err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == "AGW01" {
		return fmt.Errorf("%w: %s", budget.ErrUsageFolded, answer.Message)
	}
	return err
}

func readFolds(ctx context.Context, c *conn) (folds budget.UsageFolds, err error) {
	rows, err := c.Query(ctx, `SELECT upto, zone FROM aig_usage_fold ORDER BY upto`)
	if err != nil {
		return nil, err
	}
	var f budget.UsageFold
	var zone string
	_, err = pgx.ForEachRow(rows, []any{&f.Upto, &zone}, func() (err error) {
		f.Zone, err = budget.ParseZone("time_zone", zone)
		folds = append(folds, f)
		return err
	})
	return folds, err
}

// exactUsage is nil if a report of w is exact, grouped by by in zone.
func exactUsage(ctx context.Context, c *conn, w budget.Window, by []budget.Dimension, zone *time.Location) error {
	folds, err := readFolds(ctx, c)
	if err != nil || len(folds) == 0 {
		return err
	}
	var oldest *int64
	err = c.QueryRow(ctx, `SELECT min(bucket) FROM aig_usage`).Scan(&oldest)
	if err != nil || oldest == nil {
		return err
	}
	return folds.Exact(w, *oldest, by, zone)
}

// UsageFolds are the times whose usage is kept by the day. own are those of a replica:
// where they go further, the store's do too from now on.
func (s *Store) UsageFolds(ctx context.Context, own budget.UsageFolds) (folds budget.UsageFolds, err error) {
	err = s.look(ctx, func(ctx context.Context, c *conn) error {
		folds, err = readFolds(ctx, c)
		return err
	})
	for _, f := range own {
		if err != nil {
			return nil, err
		}
		if f.Upto > folds.Upto() {
			folds, err = s.announceFold(ctx, f)
		}
	}
	return folds, err
}

// announceFold makes usage up to f a part of the folds, and returns those. While a
// replica lives whose program does not know of them nothing is folded: its reports
// would be wrong without a word.
func (s *Store) announceFold(ctx context.Context, f budget.UsageFold) (folds budget.UsageFolds, err error) {
	err = s.transact(ctx, s.others, begin, func(ctx context.Context, c *conn) error {
		if _, err := c.Exec(ctx, `SELECT pg_advisory_xact_lock(`+guardLock+`)`); err != nil {
			return err
		}
		if folds, err = readFolds(ctx, c); err != nil {
			return err
		}
		var waits bool
		err := c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM aig_holder h WHERE `+live+` AND h.folds <> h.epoch)`, s.stale().Microseconds()).Scan(&waits)
		if err != nil || waits || f.Upto <= folds.Upto() {
			return err
		}
		if n := len(folds); n > 0 && folds[n-1].Zone.String() == f.Zone.String() {
			if _, err := c.Exec(ctx, `DELETE FROM aig_usage_fold WHERE upto = $1`, folds.Upto()); err != nil {
				return err
			}
			folds = folds[:n-1]
		}
		folds = append(folds, f)
		_, err = c.Exec(ctx, `INSERT INTO aig_usage_fold (upto, zone) VALUES ($1, $2)`, f.Upto, f.Zone.String())
		return err
	})
	return folds, shown(err)
}

const (
	foldRows    = 1000            // moved in one transaction
	foldBuckets = 1000            // looked at in one query
	foldFor     = 5 * time.Second // in one call
)

// FoldUsage adds up usage that is older than Config.UsageMonths, by all replicas,
// whether they live or not, in transactions of foldRows, and reports whether there is
// more. One replica does at a time; while another one does, there is nothing to do.
func (s *Store) FoldUsage(ctx context.Context) (more bool, err error) {
	begun := time.Now()
	var now time.Time
	err = s.look(ctx, func(ctx context.Context, c *conn) error { now, err = clock(ctx, c); return err })
	if err != nil {
		return false, err
	}
	folds, err := s.UsageFolds(ctx, budget.UsageFolds{{Upto: budget.UsageFoldDue(now, s.config.UsageMonths, s.config.Zone), Zone: s.config.Zone}})
	for at := int64(0); err == nil; {
		var buckets []int64
		if buckets, err = s.usageBuckets(ctx, at, folds.Upto()); err != nil || len(buckets) == 0 {
			break
		}
		for _, b := range buckets {
			first, next := folds.Part(b)
			if b < at || b == first {
				continue
			}
			for moved := int64(foldRows); moved == foldRows; {
				if time.Since(begun) > foldFor {
					return true, nil
				}
				moved, err = s.foldPart(ctx, folds.Upto(), first, next)
				if errors.Is(err, budget.ErrUsageFolded) { // another replica has announced more
					return true, nil
				}
				if err != nil || moved < 0 {
					return false, err
				}
			}
			at = next
		}
		at = max(at, buckets[len(buckets)-1]+1)
	}
	return false, err
}

// usageBuckets are the first quarters of an hour from first to last, exclusive, that
// there is usage of: each is one step in the index.
func (s *Store) usageBuckets(ctx context.Context, first, last int64) (out []int64, err error) {
	err = s.look(ctx, func(ctx context.Context, c *conn) error {
		rows, err := c.Query(ctx, `WITH RECURSIVE b (bucket) AS (SELECT min(bucket) FROM aig_usage WHERE bucket >= $1 AND bucket < $2
				UNION ALL SELECT (SELECT min(u.bucket) FROM aig_usage u WHERE u.bucket > b.bucket AND u.bucket < $2) FROM b WHERE b.bucket IS NOT NULL)
			SELECT bucket FROM b WHERE bucket IS NOT NULL LIMIT $3`, first, last, foldBuckets)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		return err
	})
	return out, err
}

// addUsage adds a row of usage to the one that is there, within MaxAmount.
var addUsage = fmt.Sprintf(`ON CONFLICT (bucket, tag, model, provider, key_id, holder) DO UPDATE SET seq = greatest(aig_usage.seq, excluded.seq), requests = aig_usage.requests + excluded.requests,
	unpriced = aig_usage.unpriced + excluded.unpriced, cost = least(greatest(aig_usage.cost::numeric + excluded.cost, -%d), %[1]d)::bigint,
	input = aig_usage.input + excluded.input, cache_read = aig_usage.cache_read + excluded.cache_read, cache_write = aig_usage.cache_write + excluded.cache_write,
	output = aig_usage.output + excluded.output, estimated = aig_usage.estimated + excluded.estimated,
	estimated_cost = least(aig_usage.estimated_cost::numeric + excluded.estimated_cost, %[1]d)::bigint`, int64(budget.MaxAmount))

// foldPart moves up to foldRows rows behind first, before next, into first, which no push
// sees half done. -1: another replica folds.
func (s *Store) foldPart(ctx context.Context, upto, first, next int64) (moved int64, err error) {
	err = s.transact(ctx, s.others, begin, func(ctx context.Context, c *conn) error {
		moved = -1
		var ours bool
		err := c.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock(1634298743, 'aig_usage'::regclass::oid::int)`).Scan(&ours)
		if err != nil || !ours {
			return err
		}
		if _, err := c.Exec(ctx, `SELECT `+knownFolds+`, pg_advisory_xact_lock(`+guardLock+`)`, upto); err != nil {
			return err
		}
		return c.QueryRow(ctx, `WITH gone AS (DELETE FROM aig_usage WHERE ctid = ANY(ARRAY(SELECT ctid FROM aig_usage WHERE bucket > $1 AND bucket < $2 LIMIT $3)) RETURNING *),
			put AS (INSERT INTO aig_usage (holder, bucket, tag, model, provider, key_id, seq, requests, unpriced, cost, input, cache_read, cache_write, output, estimated, estimated_cost)
				SELECT holder, $1, tag, model, provider, key_id, max(seq), sum(requests), sum(unpriced), `+sumOf("cost")+`, sum(input), sum(cache_read), sum(cache_write), sum(output), sum(estimated), `+sumOf("estimated_cost")+`
				FROM gone GROUP BY holder, tag, model, provider, key_id `+addUsage+`)
			SELECT count(*) FROM gone`, first, next, foldRows).Scan(&moved)
	})
	return moved, shown(folded(err))
}
