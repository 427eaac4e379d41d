package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"aigateway/budget"
)

// Usage sums the calls that q selects by q.GroupBy: by time first if grouped
// by a day or an hour, then highest cost first. It includes everything settled
// before the call.
func (l *Ledger) Usage(ctx context.Context, q budget.UsageQuery) ([]budget.UsageRow, error) {
	f := usageFilter{}
	f.tags(q.Tags)
	for _, c := range []struct{ column, value string }{{"model", q.Model}, {"provider", q.Provider}, {"key_id", q.KeyID}} {
		if c.value != "" {
			f.add(c.column+" = ?", c.value)
		}
	}
	zone := q.Zone
	if zone == nil {
		zone = l.config.Zone
	}
	return l.usage(ctx, q.Window, f, q.GroupBy, zone)
}

// TagCosts is the report by tag of w, for the tags that a pattern selects; the
// empty one selects all. It includes everything settled before the call, in any
// order.
func (l *Ledger) TagCosts(ctx context.Context, w budget.Window, tags budget.TagPattern) ([]budget.TagCost, error) {
	if err := budget.CheckUsageWindow(w); err != nil {
		return nil, err
	}
	if err := exactUsage(ctx, l.store.read, w, nil, nil); err != nil {
		return nil, err
	}
	if err := l.flush(ctx); err != nil {
		return nil, err
	}
	rows, err := l.store.tagCosts(ctx, w, tags)
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	return rows, nil
}

// tagCosts adds the sealed sums of a whole month of the gateway's zone and the
// usage behind the seal; for another span it adds up all usage.
func (s *store) tagCosts(ctx context.Context, w budget.Window, tags budget.TagPattern) (out []budget.TagCost, err error) {
	f := usageFilter{}
	f.tags(tags)
	first, last := bucketSpan(w.Start.UnixNano(), w.End.UnixNano())
	month := budget.Month.WindowAt(w.Start, s.zone)
	sums := map[string]*tagSum{}
	add := func(r *sql.Rows) error { return addTag(sums, r) }
	if month.Start.Equal(w.Start) && month.End.Equal(w.End) {
		err = unchanging(ctx, s.read, func(q querier) error { // the seal does not move meanwhile
			seal, err := readSeal(ctx, q)
			if err != nil {
				return err
			}
			err = each(ctx, q, "SELECT tag, requests, cost FROM sealed_usage WHERE "+strings.Join(append(f.terms, "month = ?"), " AND "), append(slices.Clip(f.args), first), add)
			if err != nil || seal.bucket < first {
				return err
			}
			// The bucket that is sealed in part, here; the later ones do not move under us for hours.
			rest := usageFilter{terms: slices.Clip(f.terms), args: slices.Clip(f.args)}
			rest.add("bucket = ? AND bucket < ? AND tag > ?", seal.bucket, last, seal.tag)
			first = seal.bucket + 1
			return each(ctx, q, "SELECT tag, sum(requests), sum(cost) FROM usage WHERE "+strings.Join(rest.terms, " AND ")+" GROUP BY tag", rest.args, add)
		})
		if err != nil {
			return nil, err
		}
	}
	query := "SELECT tag, sum(requests), sum(cost) FROM usage WHERE " + strings.Join(append(f.terms, "bucket >= ? AND bucket < ?"), " AND ") + " GROUP BY tag"
	err = s.inSlices(ctx, first, last, func(first, last int64) error {
		return s.each(ctx, query, append(slices.Clip(f.args), first, last), add)
	})
	for tag, sum := range sums {
		if *sum != (tagSum{}) {
			out = append(out, budget.TagCost{Tag: budget.Tag(tag), Requests: sum.requests, Cost: sum.cost})
		}
	}
	return out, err
}

// exactUsage refuses a report that old usage, which is kept by the day, cannot answer.
func exactUsage(ctx context.Context, q querier, w budget.Window, by []budget.Dimension, zone *time.Location) error {
	f, err := readFolds(ctx, q)
	if err != nil || len(f) == 0 {
		return err
	}
	var oldest sql.NullInt64
	err = each(ctx, q, `SELECT min(bucket) FROM usage`, nil, func(r *sql.Rows) error { return r.Scan(&oldest) })
	if err != nil || !oldest.Valid {
		return err
	}
	return f.Exact(w, oldest.Int64, by, zone)
}

// addTag adds a row of a tag, its requests and its cost to sums.
func addTag(sums map[string]*tagSum, r *sql.Rows) error {
	var tag sql.RawBytes
	var requests, cost int64
	if err := r.Scan(&tag, &requests, &cost); err != nil {
		return err
	}
	sum := sums[string(tag)]
	if sum == nil {
		sum = &tagSum{}
		sums[string(tag)] = sum
	}
	sum.requests += requests
	if _, fits := sum.cost.Add(budget.Amount(cost)); !fits {
		return fmt.Errorf("sum of usage passes %s", budget.MaxAmount.Display())
	}
	sum.cost += budget.Amount(cost)
	return nil
}

// usageFilter builds a WHERE clause.
type usageFilter struct {
	terms []string
	args  []any
}

func (f *usageFilter) add(term string, args ...any) {
	f.terms = append(f.terms, term)
	f.args = append(f.args, args...)
}

func (f *usageFilter) tags(p budget.TagPattern) {
	if p == "" || p == budget.AllTags {
		return
	}
	if root, ok := p.Subtree(); ok {
		// "0" follows "/" in ASCII: the range is every tag below root.
		f.add("(tag = ? OR tag >= ? AND tag < ?)", string(root), string(root)+"/", string(root)+"0")
		return
	}
	f.add("tag = ?", string(p))
}

// bucketSpan is the quarters of an hour from start to end.
func bucketSpan(start, end int64) (first, last int64) {
	if end == forever {
		end -= bucketNanos // keeps the rounding in range
	}
	return start / bucketNanos, (end + bucketNanos - 1) / bucketNanos
}

func (l *Ledger) usage(ctx context.Context, w budget.Window, f usageFilter, by []budget.Dimension, zone *time.Location) ([]budget.UsageRow, error) {
	if err := budget.CheckUsageWindow(w); err != nil {
		return nil, err
	}
	first, last := bucketSpan(w.Start.UnixNano(), w.End.UnixNano())
	timed := slices.Contains(by, budget.ByDay) || slices.Contains(by, budget.ByHour)
	columns, err := budget.UsageColumns(by)
	if err != nil {
		return nil, err
	}
	if err := exactUsage(ctx, l.store.read, w, by, zone); err != nil {
		return nil, err
	}
	if err := l.flush(ctx); err != nil {
		return nil, err
	}
	rows, err := l.store.usage(ctx, first, last, f, columns)
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	if timed {
		rows = budget.FoldUsage(rows, slices.Contains(by, budget.ByHour), zone)
	}
	budget.SortUsage(rows)
	return rows, nil
}

// usageColumns are selectable, in the order they are scanned.
func usageColumns() []string { return []string{"bucket", "tag", "model", "provider", "key_id"} }

// usageSlice is how much time one query of a report covers, a day in UTC: no
// query of a long report keeps the journal from being checkpointed for long. What
// a call cost is in one row, and so in one slice; also while usage is folded,
// which moves it within such a day.
const usageSlice = 96

// inSlices calls f with parts of the span from first to last (exclusive) that
// together hold all its rows.
func (s *store) inSlices(ctx context.Context, first, last int64, f func(first, last int64) error) error {
	var oldest, newest sql.NullInt64
	if err := s.read.QueryRowContext(ctx, `SELECT (SELECT min(bucket) FROM usage), (SELECT max(bucket) FROM usage)`).Scan(&oldest, &newest); err != nil || !oldest.Valid {
		return err
	}
	first, last = max(first, oldest.Int64), min(last, newest.Int64+1)
	for first < last {
		next := min(last, (first/usageSlice+1)*usageSlice)
		if err := f(first, next); err != nil {
			return err
		}
		first = next
	}
	return nil
}

// usage sums the rollup from first to last. A column that is not grouped by
// comes back empty.
func (s *store) usage(ctx context.Context, first, last int64, f usageFilter, columns map[string]bool) ([]budget.UsageRow, error) {
	var selected, grouped []string
	for _, c := range usageColumns() {
		switch {
		case columns[c]:
			selected, grouped = append(selected, c), append(grouped, c)
		case c == "bucket":
			selected = append(selected, "0")
		default:
			selected = append(selected, "''")
		}
	}
	query := "SELECT " + strings.Join(selected, ", ") + `, coalesce(sum(requests), 0), coalesce(sum(unpriced), 0), coalesce(sum(cost), 0),
		coalesce(sum(input), 0), coalesce(sum(cache_read), 0), coalesce(sum(cache_write), 0), coalesce(sum(output), 0),
		coalesce(sum(estimated), 0), coalesce(sum(estimated_cost), 0)
		FROM usage WHERE ` + strings.Join(append(f.terms, "bucket >= ? AND bucket < ?"), " AND ")
	if len(grouped) > 0 {
		query += " GROUP BY " + strings.Join(grouped, ", ")
	}
	out := []budget.UsageRow{}
	at := map[usageKey]int{}
	err := s.inSlices(ctx, first, last, func(first, last int64) error {
		return s.each(ctx, query, append(slices.Clip(f.args), first, last), func(r *sql.Rows) error {
			var u budget.UsageRow
			var k usageKey
			err := r.Scan(&k.bucket, (*string)(&k.attr.Tag), &k.attr.Model, &k.attr.Provider, &k.attr.KeyID, &u.Requests, &u.Unpriced, (*int64)(&u.Cost),
				&u.Input, &u.CacheRead, &u.CacheWrite, &u.Output, &u.Estimated, (*int64)(&u.EstimatedCost))
			i, ok := at[k]
			if !ok {
				i = len(out)
				at[k] = i
				u.Attribution = k.attr
				if k.bucket != 0 {
					u.Time = time.Unix(0, k.bucket*bucketNanos)
				}
				out = append(out, u)
				return err
			}
			if _, fits := out[i].Cost.Add(u.Cost); !fits {
				return fmt.Errorf("sum of usage passes %s", budget.MaxAmount.Display())
			}
			out[i].Add(u)
			return err
		})
	})
	if len(grouped) == 0 {
		if len(out) == 0 {
			out = append(out, budget.UsageRow{})
		}
		return out, err
	}
	return slices.DeleteFunc(out, func(u budget.UsageRow) bool {
		return u.Requests == 0 && u.Cost == 0 && u.Unpriced == 0 && u.Tokens == budget.Tokens{}
	}), err
}

// costOf is what target has cost from start to end, as q has it.
func costOf(ctx context.Context, q querier, target budget.Target, start, end int64) (sum budget.Amount, err error) {
	f := usageFilter{}
	if target.KeyID != "" {
		f.add("key_id = ?", target.KeyID)
	}
	f.tags(target.Tags)
	first, last := bucketSpan(start, end)
	f.add("bucket >= ? AND bucket < ?", first, last)
	err = each(ctx, q, "SELECT coalesce(sum(cost), 0) FROM usage WHERE "+strings.Join(f.terms, " AND "), f.args, func(r *sql.Rows) error {
		return r.Scan((*int64)(&sum))
	})
	if err != nil {
		return 0, fmt.Errorf("read usage: %w", err)
	}
	return min(sum, budget.MaxAmount), nil
}
