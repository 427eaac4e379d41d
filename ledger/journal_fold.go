package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"aigateway/budget"
)

func readFolds(ctx context.Context, q querier) (out budget.UsageFolds, err error) {
	return out, each(ctx, q, `SELECT upto, zone FROM usage_fold ORDER BY upto`, nil, func(r *sql.Rows) error {
		var f budget.UsageFold
		var zone string
		err := r.Scan(&f.Upto, &zone)
		if err == nil {
			f.Zone, err = budget.ParseZone("time_zone", zone)
		}
		out = append(out, f)
		return err
	})
}

// UsageFolds are the times whose usage is kept by the day here.
func (l *Ledger) UsageFolds(ctx context.Context) (budget.UsageFolds, error) {
	folds, err := readFolds(ctx, l.store.read)
	if err != nil {
		return nil, fmt.Errorf("read which usage is folded: %w", err)
	}
	return folds, nil
}

// FollowFolds says which usage a store keeps by the day: a ledger with a Lessor folds
// its own likewise, when it comes to it, and nothing else. So a part of a day of the
// store is always some rows here, and its total can be told.
func (l *Ledger) FollowFolds(folds budget.UsageFolds) { l.storeFolds.Store(&folds) }

// foldDue is what usage is to be folded to by now. Only what is sealed is.
func (l *Ledger) foldDue(ctx context.Context) (budget.UsageFold, error) {
	s := l.store
	if !s.shared {
		due := budget.UsageFoldDue(time.Unix(0, l.windowTime()), l.config.UsageMonths, s.zone)
		return budget.UsageFold{Upto: min(due, s.seal.bucket), Zone: s.zone}, nil
	}
	told := l.storeFolds.Load()
	if told == nil {
		return budget.UsageFold{}, nil
	}
	i := slices.IndexFunc(*told, func(f budget.UsageFold) bool { return f.Upto > s.folds.Upto() })
	if i < 0 {
		return budget.UsageFold{}, nil
	}
	next := (*told)[i]
	next.Upto = min(next.Upto, s.seal.bucket)
	if next.Zone.String() == s.zone.String() {
		return next, nil
	}
	var any bool
	err := s.write.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM usage WHERE bucket < ?)`, next.Upto).Scan(&any)
	if any || err != nil { // its parts of days may be in two months of the sealed sums
		return budget.UsageFold{}, err
	}
	return next, nil
}

const (
	foldRows  = 500 // moved in one transaction
	foldParts = 200 // of days, looked at in one
)

// foldUsage adds up some usage of before due and of what was folded already, in one
// transaction, and reports whether there is more. Reports learn of it before the first
// row moves. The sealed sums stay as they are, for a part of a day is in one month.
func (s *store) foldUsage(ctx context.Context, due budget.UsageFold) (more bool, err error) {
	if due.Upto > s.folds.Upto() {
		return true, s.announceFold(ctx, due)
	}
	err = s.transaction(ctx, func() error {
		for range foldParts {
			var bucket sql.NullInt64
			err := s.write.QueryRowContext(ctx, `SELECT min(bucket) FROM usage WHERE bucket >= ? AND bucket < ?`, s.foldAt, s.folds.Upto()).Scan(&bucket)
			if err != nil || !bucket.Valid {
				more = false
				return err
			}
			more = true
			first, next := s.folds.Part(bucket.Int64)
			moved, err := s.foldPart(ctx, first, next)
			if err != nil || moved == foldRows {
				return err
			}
			s.foldAt = next
		}
		return nil
	})
	return more, err
}

// announceFold makes usage up to due a part of the folds.
func (s *store) announceFold(ctx context.Context, due budget.UsageFold) error {
	zone := due.Zone.String()
	err := s.transaction(ctx, func() error {
		w := writer{ctx: ctx, s: &s.stmts}
		if n := len(s.folds); n > 0 && s.folds[n-1].Zone.String() == zone {
			w.run(s.write, query{sql: `DELETE FROM usage_fold WHERE upto = ?`, args: []any{s.folds.Upto()}})
		}
		w.run(s.write, query{sql: `INSERT INTO usage_fold (upto, zone) VALUES (?, ?)`, args: []any{due.Upto, zone}})
		return w.err
	})
	if err == nil {
		s.folds, err = readFolds(ctx, s.write)
	}
	return err
}

// foldPart moves rows behind first, before next, into first. What is told of that is its
// total, so it is told if one of them would have been.
func (s *store) foldPart(ctx context.Context, first, next int64) (moved int64, err error) {
	const some = `SELECT * FROM usage WHERE bucket > ?1 AND bucket < ?2 ORDER BY bucket, tag, model, provider, key_id LIMIT ?3`
	_, err = s.write.ExecContext(ctx, `INSERT INTO usage (bucket, tag, model, provider, key_id, requests, unpriced, cost, input, cache_read, cache_write, output, estimated, estimated_cost, changed)
		SELECT ?1, tag, model, provider, key_id, sum(requests), sum(unpriced), sum(cost), sum(input), sum(cache_read), sum(cache_write), sum(output), sum(estimated), sum(estimated_cost), max(changed)
		FROM (`+some+`) WHERE true GROUP BY tag, model, provider, key_id`+usageConflictSQL+`, changed = max(changed, excluded.changed)`, first, next, foldRows)
	if err != nil {
		return 0, err
	}
	result, err := s.write.ExecContext(ctx, `DELETE FROM usage WHERE (bucket, tag, model, provider, key_id) IN (SELECT bucket, tag, model, provider, key_id FROM (`+some+`))`, first, next, foldRows)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
