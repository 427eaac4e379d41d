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

func (f *usageFilter) buckets(start, end int64) {
	f.add("bucket >= ? AND bucket < ?", start/bucketNanos, (end+bucketNanos-1)/bucketNanos)
}

func (l *Ledger) usage(ctx context.Context, w budget.Window, f usageFilter, by []budget.Dimension, zone *time.Location) ([]budget.UsageRow, error) {
	if w.End.IsZero() || !w.Start.Before(w.End) {
		return nil, budget.Invalid("field_invalid", "end", "the period of a usage report must end after it starts")
	}
	if w.Start.UnixNano()%bucketNanos != 0 || w.End.UnixNano()%bucketNanos != 0 {
		return nil, budget.Invalid("field_invalid", "start", "usage is kept by quarters of an hour; start and end must be on one")
	}
	f.buckets(w.Start.UnixNano(), w.End.UnixNano())
	timed := slices.Contains(by, budget.ByDay) || slices.Contains(by, budget.ByHour)
	columns, err := groupColumns(by, timed)
	if err != nil {
		return nil, err
	}
	if err := l.flush(ctx); err != nil {
		return nil, err
	}
	rows, err := l.store.usage(ctx, f, columns)
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	if timed {
		if rows, err = foldTime(rows, slices.Contains(by, budget.ByHour), zone); err != nil {
			return nil, err
		}
	}
	sortUsage(rows)
	return rows, nil
}

// usageColumns are selectable, in the order they are scanned.
func usageColumns() []string { return []string{"bucket", "tag", "model", "provider", "key_id"} }

// groupColumns maps dimensions to columns; days and hours group by bucket.
func groupColumns(by []budget.Dimension, timed bool) (map[string]bool, error) {
	columns := map[string]bool{"bucket": timed}
	for _, d := range by {
		switch d {
		case budget.ByTag, budget.ByModel, budget.ByProvider:
			columns[string(d)] = true
		case budget.ByKey:
			columns["key_id"] = true
		case budget.ByDay, budget.ByHour:
		default:
			return nil, budget.Invalid("field_invalid", "group_by", fmt.Sprintf("group_by is %q; use tag, model, provider, key, day or hour", string(d)))
		}
	}
	return columns, nil
}

// usage sums the rollup. A column that is not grouped by comes back empty.
func (s *store) usage(ctx context.Context, f usageFilter, columns map[string]bool) ([]budget.UsageRow, error) {
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
		FROM usage WHERE ` + strings.Join(f.terms, " AND ")
	if len(grouped) > 0 {
		query += " GROUP BY " + strings.Join(grouped, ", ")
	}
	out := []budget.UsageRow{}
	err := s.each(ctx, query, f.args, func(r *sql.Rows) error {
		var u budget.UsageRow
		var bucket int64
		err := r.Scan(&bucket, (*string)(&u.Tag), &u.Model, &u.Provider, &u.KeyID, &u.Requests, &u.Unpriced, (*int64)(&u.Cost),
			&u.Input, &u.CacheRead, &u.CacheWrite, &u.Output, &u.Estimated, (*int64)(&u.EstimatedCost))
		if bucket != 0 {
			u.Time = time.Unix(0, bucket*bucketNanos)
		}
		if u.Requests != 0 || u.Cost != 0 || u.Unpriced != 0 || u.Tokens != (budget.Tokens{}) || len(grouped) == 0 {
			out = append(out, u)
		}
		return err
	})
	return out, err
}

// foldTime sums rows of quarter hours into the days or hours of zone.
func foldTime(rows []budget.UsageRow, hours bool, zone *time.Location) ([]budget.UsageRow, error) {
	type group struct {
		at   int64
		attr budget.Attribution
	}
	index := map[group]int{}
	out := []budget.UsageRow{}
	for _, r := range rows {
		t := r.Time.In(zone)
		if hours {
			t = t.Truncate(15 * time.Minute).Add(-time.Duration(t.Minute()) * time.Minute)
		} else {
			t = budget.Day.WindowAt(t, zone).Start
		}
		g := group{t.UnixNano(), r.Attribution}
		i, ok := index[g]
		if !ok {
			i = len(out)
			index[g] = i
			out = append(out, budget.UsageRow{Attribution: r.Attribution, Time: t})
		}
		sum := &out[i]
		if _, ok := sum.Cost.Add(r.Cost); !ok {
			return nil, fmt.Errorf("sum of usage passes %s", budget.MaxAmount.Display())
		}
		sum.Add(r)
	}
	return out, nil
}

func sortUsage(rows []budget.UsageRow) {
	slices.SortFunc(rows, func(a, b budget.UsageRow) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		if a.Cost != b.Cost {
			if a.Cost > b.Cost {
				return -1
			}
			return 1
		}
		for _, p := range [][2]string{{string(a.Tag), string(b.Tag)}, {a.Model, b.Model}, {a.Provider, b.Provider}, {a.KeyID, b.KeyID}} {
			if c := strings.Compare(p[0], p[1]); c != 0 {
				return c
			}
		}
		return 0
	})
}

// costOf is what target has cost from start to end.
func (l *Ledger) costOf(ctx context.Context, target budget.Target, start, end int64) (budget.Amount, error) {
	f := usageFilter{}
	if target.KeyID != "" {
		f.add("key_id = ?", target.KeyID)
	}
	f.tags(target.Tags)
	if end == forever {
		end -= bucketNanos // keeps the rounding in range
	}
	f.buckets(start, end)
	if err := l.flush(ctx); err != nil {
		return 0, err
	}
	rows, err := l.store.usage(ctx, f, nil)
	if err != nil {
		return 0, fmt.Errorf("read usage: %w", err)
	}
	return min(rows[0].Cost, budget.MaxAmount), nil
}
