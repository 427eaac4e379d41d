package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"aigateway/budget"
)

// fold is a time whose usage is kept by the day: the quarters of an hour from the
// fold before it up to upto are added up to the parts of days that the borders of
// days in UTC and in zone leave. So days and months of both zones are exact.
type fold struct {
	upto int64 // a bucket
	zone *time.Location
}

// folds are in the order of time.
type folds []fold

func readFolds(ctx context.Context, q querier) (out folds, err error) {
	return out, each(ctx, q, `SELECT upto, zone FROM usage_fold ORDER BY upto`, nil, func(r *sql.Rows) error {
		var f fold
		var zone string
		err := r.Scan(&f.upto, &zone)
		if err == nil {
			f.zone, err = budget.ParseZone("time_zone", zone)
		}
		out = append(out, f)
		return err
	})
}

// upto is the first bucket that is not folded.
func (f folds) upto() int64 {
	if len(f) == 0 {
		return 0
	}
	return f[len(f)-1].upto
}

// at is the fold that a bucket is in.
func (f folds) at(bucket int64) *fold {
	for i := range f {
		if bucket < f[i].upto {
			return &f[i]
		}
	}
	return nil
}

// part is the part of a day that a bucket is in, by its first bucket and that of
// the next part.
func part(bucket int64, zone *time.Location) (first, next int64) {
	t := time.Unix(0, bucket*bucketNanos)
	utc, local := budget.Day.WindowAt(t, time.UTC), budget.Day.WindowAt(t, zone)
	return max(utc.Start.UnixNano(), local.Start.UnixNano()) / bucketNanos, min(utc.End.UnixNano(), local.End.UnixNano()) / bucketNanos
}

// bucket is where usage of a bucket is kept.
func (f folds) bucket(bucket int64) int64 {
	if bucket >= f.upto() {
		return bucket
	}
	first, _ := part(bucket, f.at(bucket).zone)
	return first
}

// exact is nil if usage can be told apart at t, else why not. Nothing has to be
// told apart before the oldest usage.
func (f folds) exact(t time.Time, oldest int64) error {
	bucket := t.UnixNano() / bucketNanos
	if bucket <= oldest || f.bucket(bucket) == bucket {
		return nil
	}
	zones := "UTC"
	if name := f.at(bucket).zone.String(); name != zones {
		zones += " and " + name
	}
	return budget.Invalid("usage_folded", "from", fmt.Sprintf("usage from before %s is kept by the day of %s, so a report cannot be exact that has a border at %s; use whole days of these zones, or a later time",
		time.Unix(0, f.upto()*bucketNanos).UTC().Format(time.RFC3339), zones, t.Format(time.RFC3339)))
}

// exactSpan is nil if a report of w is exact: its borders, and those of its days
// or hours.
func (f folds) exactSpan(w budget.Window, oldest int64, by budget.Dimension, zone *time.Location) error {
	for _, t := range []time.Time{w.Start, w.End} {
		if err := f.exact(t, oldest); err != nil {
			return err
		}
	}
	end := min(w.End.UnixNano(), f.upto()*bucketNanos)
	t := time.Unix(0, max(w.Start.UnixNano(), oldest*bucketNanos))
	switch by {
	case budget.ByHour:
		if t.UnixNano() < end {
			return budget.Invalid("usage_folded", "group_by", fmt.Sprintf("usage from before %s is kept by the day; group it by day, or take a later time", time.Unix(0, f.upto()*bucketNanos).UTC().Format(time.RFC3339)))
		}
	case budget.ByDay:
		for t = budget.Day.WindowAt(t, zone).End; t.UnixNano() < end; t = budget.Day.WindowAt(t, zone).End {
			if err := f.exact(t, oldest); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	foldRows  = 500 // moved in one transaction
	foldParts = 200 // of days, looked at in one
)

// foldUsage adds up some usage of before cutoff, in one transaction, and reports
// whether there is more. Reports learn of it before the first row moves. Only
// what is sealed is folded; the sealed sums stay as they are, for a part of a day
// is in one month.
func (s *store) foldUsage(ctx context.Context, cutoff int64) (more bool, err error) {
	border := budget.Month.WindowAt(time.Unix(0, cutoff), s.zone).Start.UnixNano() / bucketNanos
	border = min(border, s.seal.bucket)
	if border > s.folds.upto() {
		return true, s.announceFold(ctx, border)
	}
	err = s.transaction(ctx, func() error {
		for range foldParts {
			var bucket sql.NullInt64
			err := s.write.QueryRowContext(ctx, `SELECT min(bucket) FROM usage WHERE bucket >= ? AND bucket < ?`, s.foldAt, s.folds.upto()).Scan(&bucket)
			if err != nil || !bucket.Valid {
				more = false
				return err
			}
			more = true
			first, next := part(bucket.Int64, s.folds.at(bucket.Int64).zone)
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

// announceFold makes usage up to border a part of the folds.
func (s *store) announceFold(ctx context.Context, border int64) error {
	zone := s.zone.String()
	err := s.transaction(ctx, func() error {
		w := writer{ctx: ctx, s: &s.stmts}
		if n := len(s.folds); n > 0 && s.folds[n-1].zone.String() == zone {
			w.run(s.write, query{sql: `DELETE FROM usage_fold WHERE upto = ?`, args: []any{s.folds.upto()}})
		}
		w.run(s.write, query{sql: `INSERT INTO usage_fold (upto, zone) VALUES (?, ?)`, args: []any{border, zone}})
		return w.err
	})
	if err == nil {
		s.folds, err = readFolds(ctx, s.write)
	}
	return err
}

// foldPart moves rows behind first, before next, into first.
func (s *store) foldPart(ctx context.Context, first, next int64) (moved int64, err error) {
	const some = `SELECT * FROM usage WHERE bucket > ?1 AND bucket < ?2 ORDER BY bucket, tag, model, provider, key_id LIMIT ?3`
	_, err = s.write.ExecContext(ctx, `INSERT INTO usage (bucket, tag, model, provider, key_id, requests, unpriced, cost, input, cache_read, cache_write, output, estimated, estimated_cost)
		SELECT ?1, tag, model, provider, key_id, sum(requests), sum(unpriced), sum(cost), sum(input), sum(cache_read), sum(cache_write), sum(output), sum(estimated), sum(estimated_cost)
		FROM (`+some+`) WHERE true GROUP BY tag, model, provider, key_id`+usageConflictSQL, first, next, foldRows)
	if err != nil {
		return 0, err
	}
	result, err := s.write.ExecContext(ctx, `DELETE FROM usage WHERE (bucket, tag, model, provider, key_id) IN (SELECT bucket, tag, model, provider, key_id FROM (`+some+`))`, first, next, foldRows)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}
