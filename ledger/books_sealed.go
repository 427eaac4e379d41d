package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"aigateway/budget"
)

// sealedRows is what the rows that a seal covers add up to, read anew: what the
// sealed sums have to be.
type sealedRows struct {
	seal  seal
	late  int64 // changes of sealed usage up to here are in usage
	zone  *time.Location
	at    [2]int64 // the bucket that was counted last, and its month
	rows  *booked
	usage map[sealedKey]*tagSum
}

// sealedKey is the key of sealed_usage.
type sealedKey struct {
	month int64
	tag   string
}

func (k sealedKey) compare(o sealedKey) int {
	return cmp.Or(cmp.Compare(k.tag, o.tag), cmp.Compare(k.month, o.month))
}

// everyMonth stands for all months in sealed_usage.
const everyMonth = -1

// readSealedRows begins at the seal of now.
func readSealedRows(ctx context.Context, q querier) (*sealedRows, error) {
	s := &sealedRows{rows: newBooked(), usage: map[sealedKey]*tagSum{}}
	var err error
	if s.seal, err = readSeal(ctx, q); err != nil {
		return nil, err
	}
	if s.zone, err = time.LoadLocation(s.seal.zone); err != nil { // "": nothing is sealed yet
		return nil, fmt.Errorf("months of sealed usage: %w", err)
	}
	return s, each(ctx, q, `SELECT coalesce(max(no), 0) FROM usage_late`, nil, func(r *sql.Rows) error { return r.Scan(&s.late) })
}

// others sums the rows that are no calls.
func (s *sealedRows) others(ctx context.Context, q querier) error {
	return errors.Join(s.rows.strays(ctx, q, "", nil, s.seal.covers), s.rows.adjusts(ctx, q, "", nil, s.seal.covers))
}

// addUsage counts what a bucket has of a tag, if the seal covers it.
func (s *sealedRows) addUsage(bucket int64, tag string, sum *tagSum) {
	if !s.seal.coversUsage(bucket, tag) {
		return
	}
	if s.at[0] != bucket || s.at[1] == 0 {
		s.at = [2]int64{bucket, monthOf(bucket, s.zone)}
	}
	for _, month := range []int64{everyMonth, s.at[1]} {
		k := sealedKey{month, tag}
		s.usage[k] = s.usage[k].plus(sum)
	}
}

// eachUsage calls f with the sums of every bucket and tag, in slices.
func (i *Inspector) eachUsage(ctx context.Context, f func(bucket int64, tag string, sum *tagSum)) error {
	bucket, tag, n := int64(math.MinInt64), "", sliceRows
	for n == sliceRows {
		i.between()
		n = 0
		err := each(ctx, i.db, `SELECT bucket, tag, sum(requests), sum(cost) FROM usage WHERE (bucket, tag) > (?, ?)
			GROUP BY bucket, tag ORDER BY bucket, tag LIMIT ?`, []any{bucket, tag, sliceRows}, func(r *sql.Rows) error {
			var sum tagSum
			err := r.Scan(&bucket, &tag, &sum.requests, (*int64)(&sum.cost))
			n++
			f(bucket, tag, &sum)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// compareSealed compares the sealed sums with the rows, unless a running gateway
// has gone on sealing meanwhile: the next check finds what is wrong then.
func (c *counting) compareSealed(ctx context.Context, s *sealedRows) error {
	now, err := readSeal(ctx, c.q)
	if err != nil || now != s.seal {
		return err
	}
	s.rows.spread()
	if err := c.readSealed(ctx, s.rows); err != nil {
		return err
	}
	stored := map[sealedKey]*tagSum{}
	err = each(ctx, c.q, `SELECT month, tag, requests, cost FROM sealed_usage`, nil, func(r *sql.Rows) error {
		var k sealedKey
		var sum tagSum
		err := r.Scan(&k.month, &k.tag, &sum.requests, (*int64)(&sum.cost))
		stored[k] = &sum
		return err
	})
	if err != nil {
		return err
	}
	late := newTouched()
	if err := each(ctx, c.q, `SELECT tag FROM usage_late WHERE no > ?`, []any{s.late}, late.scanTag); err != nil {
		return err
	}
	for k := range s.usage {
		stored[k] = stored[k].plus(nil)
	}
	for _, k := range slices.SortedFunc(maps.Keys(stored), sealedKey.compare) {
		if sum, n := stored[k], s.usage[k].plus(nil); !late.tags[k.tag] {
			c.report(Mismatch{Tag: k.tag, What: whatSealed, Stored: sum.cost, Counted: n.cost})
			c.report(Mismatch{Tag: k.tag, What: whatSealedRequests, Stored: budget.Amount(sum.requests), Counted: budget.Amount(n.requests)})
		}
	}
	return nil
}
