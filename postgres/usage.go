package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// usageChunk is how many rows one transaction of a push has.
const usageChunk = 1000

// PushUsage tells what m has booked: absolute totals, of which a later push has the
// last word. The replica's usage is complete up to now once it returns. Totals of before
// upto are of parts of days; ErrUsageFolded says that this is not UsageFolds' Upto any
// more, and that nothing, or not all, was told.
func (m *Member) PushUsage(ctx context.Context, totals []budget.UsageTotal, upto int64) error {
	m.pushing.Lock()
	defer m.pushing.Unlock()
	m.pushes++
	seq := m.epoch<<32 | m.pushes
	for first := true; first || len(totals) > 0; first = false {
		n := min(len(totals), usageChunk)
		if err := m.pushSome(ctx, seq, totals[:n], upto, n == len(totals)); err != nil {
			return err
		}
		totals = totals[n:]
	}
	return nil
}

func (m *Member) pushSome(ctx context.Context, seq int64, totals []budget.UsageTotal, upto int64, last bool) error {
	var texts, partTexts [4][]string // tag, model, provider, key
	var numbers [10][]int64
	var parts [2][]int64 // from, to
	for i := range totals {
		t := &totals[i]
		for j, s := range [...]string{string(t.Tag), t.Model, t.Provider, t.KeyID} {
			texts[j] = append(texts[j], s)
			if t.Next != 0 {
				partTexts[j] = append(partTexts[j], s)
			}
		}
		if t.Next != 0 {
			parts[0], parts[1] = append(parts[0], t.Quarter), append(parts[1], t.Next)
		}
		for j, n := range [...]int64{t.Quarter, t.Requests, t.Unpriced, int64(t.Cost), t.Input, t.CacheRead, t.CacheWrite, t.Output, t.Estimated, int64(t.EstimatedCost)} {
			numbers[j] = append(numbers[j], n)
		}
	}
	batch := &pgx.Batch{}
	if len(totals) > 0 {
		args := []any{m.id, m.epoch, seq}
		for _, column := range texts {
			args = append(args, column)
		}
		for _, column := range numbers {
			args = append(args, column)
		}
		batch.Queue(`SELECT `+knownFolds+`, pg_advisory_xact_lock_shared(`+guardLock+`)`, upto)
		batch.Queue(`INSERT INTO aig_usage (holder, seq, tag, model, provider, key_id, bucket, requests, unpriced, cost, input, cache_read, cache_write, output, estimated, estimated_cost)
			SELECT $1, $3, * FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[],
				$12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[])
			WHERE EXISTS (SELECT 1 FROM aig_holder WHERE id = $1 AND epoch = $2 AND NOT forgotten)
			ON CONFLICT (bucket, tag, model, provider, key_id, holder) DO UPDATE SET seq = excluded.seq, requests = excluded.requests, unpriced = excluded.unpriced,
				cost = excluded.cost, input = excluded.input, cache_read = excluded.cache_read, cache_write = excluded.cache_write, output = excluded.output,
				estimated = excluded.estimated, estimated_cost = excluded.estimated_cost
			WHERE aig_usage.seq < excluded.seq`, args...)
	}
	if len(parts[0]) > 0 { // their totals have what was told of them by the quarter of an hour
		batch.Queue(`DELETE FROM aig_usage u USING unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[]) AS p(first, next, tag, model, provider, key_id)
			WHERE u.holder = $1 AND u.bucket > p.first AND u.bucket < p.next AND u.tag = p.tag AND u.model = p.model AND u.provider = p.provider AND u.key_id = p.key_id
				AND EXISTS (SELECT 1 FROM aig_holder WHERE id = $1 AND epoch = $2 AND NOT forgotten)`,
			m.id, m.epoch, parts[0], parts[1], partTexts[0], partTexts[1], partTexts[2], partTexts[3])
	}
	batch.Queue(`UPDATE aig_holder SET pushed = CASE WHEN $3 THEN now() ELSE pushed END WHERE id = $1 AND epoch = $2 AND NOT forgotten`, m.id, m.epoch, last)
	return folded(m.send(ctx, batch))
}

// filter builds a WHERE clause; ? stands for the next argument.
type filter struct {
	terms []string
	args  []any
}

func (f *filter) add(term string, args ...any) {
	for _, a := range args {
		f.args = append(f.args, a)
		term = strings.Replace(term, "?", fmt.Sprintf("$%d", len(f.args)), 1)
	}
	f.terms = append(f.terms, term)
}

func (f *filter) tags(p budget.TagPattern) {
	if p == "" || p == budget.AllTags {
		return
	}
	if root, ok := p.Subtree(); ok {
		// "0" follows "/" in ASCII: the range is every tag below root.
		f.add("(u.tag = ? OR u.tag >= ? AND u.tag < ?)", string(root), string(root)+"/", string(root)+"0")
		return
	}
	f.add("u.tag = ?", string(p))
}

func (f *filter) where() string { return strings.Join(f.terms, " AND ") }

// Usage sums what all replicas have told of the calls that q selects, as the ledger
// does for one. How complete that is, UsageAsOf said before.
func (s *Store) Usage(ctx context.Context, q budget.UsageQuery) (rows []budget.UsageRow, err error) {
	columns, err := budget.UsageColumns(q.GroupBy)
	if err == nil {
		err = budget.CheckUsageWindow(q.Window)
	}
	if err != nil {
		return nil, err
	}
	query, args := usageSQL(q, columns)
	rows = []budget.UsageRow{}
	err = s.report(ctx, func(ctx context.Context, c *conn) error {
		if err := exactUsage(ctx, c, q.Window, q.GroupBy, q.Zone); err != nil {
			return err
		}
		found, err := c.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		var u budget.UsageRow
		var bucket int64
		_, err = pgx.ForEachRow(found, []any{&bucket, &u.Tag, &u.Model, &u.Provider, &u.KeyID, &u.Requests, &u.Unpriced, &u.Cost,
			&u.Input, &u.CacheRead, &u.CacheWrite, &u.Output, &u.Estimated, &u.EstimatedCost}, func() error {
			if u.Time = (time.Time{}); bucket != 0 {
				u.Time = time.Unix(0, bucket*int64(15*time.Minute))
			}
			if len(q.GroupBy) == 0 || u.Requests != 0 || u.Cost != 0 || u.Unpriced != 0 || u.Tokens != (budget.Tokens{}) {
				rows = append(rows, u)
			}
			return nil
		})
		return err
	})
	if err == nil && columns["bucket"] {
		rows = budget.FoldUsage(rows, slices.Contains(q.GroupBy, budget.ByHour), q.Zone)
	}
	budget.SortUsage(rows)
	return rows, err
}

// sumOf adds up an integer column of any rows, within MaxAmount above and below 0: a
// correction has up to that.
func sumOf(column string) string {
	return fmt.Sprintf("least(greatest(coalesce(sum(%s), 0), -%d), %[2]d)::bigint", column, int64(budget.MaxAmount))
}

// usageSQL sums what q selects by columns; the others come back empty.
func usageSQL(q budget.UsageQuery, columns map[string]bool) (query string, args []any) {
	f := filter{}
	first, last := quarters(q.Window.Start.UnixNano(), endOf(q.Window))
	f.add("u.bucket >= ? AND u.bucket < ?", first, last)
	f.tags(q.Tags)
	for _, c := range []struct{ column, value string }{{"model", q.Model}, {"provider", q.Provider}, {"key_id", q.KeyID}} {
		if c.value != "" {
			f.add("u."+c.column+" = ?", c.value)
		}
	}
	var selected, grouped []string
	for _, c := range []string{"bucket", "tag", "model", "provider", "key_id"} {
		switch {
		case columns[c]:
			selected, grouped = append(selected, "u."+c), append(grouped, "u."+c)
		case c == "bucket":
			selected = append(selected, "0::bigint")
		default:
			selected = append(selected, "''")
		}
	}
	query = "SELECT " + strings.Join(selected, ", ")
	for _, column := range []string{"requests", "unpriced", "cost", "input", "cache_read", "cache_write", "output", "estimated", "estimated_cost"} {
		query += ", " + sumOf("u."+column)
	}
	query += " FROM aig_usage u WHERE " + f.where()
	if len(grouped) > 0 {
		query += " GROUP BY " + strings.Join(grouped, ", ")
	}
	return query, f.args
}

// UsageAsOf is the moment up to which the usage of all replicas is in, and whose is
// missing since.
func (s *Store) UsageAsOf(ctx context.Context) (asOf budget.AsOf, err error) {
	err = s.look(ctx, func(ctx context.Context, c *conn) (err error) {
		asOf, err = oldest(ctx, c, "coalesce(pushed, joined)")
		return err
	})
	return asOf, err
}

// oldest is when the first of those that count was last heard of in column, now if
// nobody does, and of whom nothing was for budget.ReportLag.
func oldest(ctx context.Context, c *conn, column string) (asOf budget.AsOf, err error) {
	err = c.QueryRow(ctx, `SELECT coalesce(min(`+column+`), now()), array_agg(id ORDER BY id) FILTER (WHERE `+column+` < now() - $1 * interval '1 microsecond')
		FROM aig_holder WHERE NOT has_left AND NOT forgotten`, budget.ReportLag.Microseconds()).Scan(&asOf.Time, &asOf.Behind)
	return asOf, err
}

// TagCosts is the report by tag of w, for the tags that a pattern selects, in any
// order, as Usage.
func (s *Store) TagCosts(ctx context.Context, w budget.Window, tags budget.TagPattern) (out []budget.TagCost, err error) {
	rows, err := s.Usage(ctx, budget.UsageQuery{Window: w, GroupBy: []budget.Dimension{budget.ByTag}, Tags: tags, Zone: time.UTC})
	for _, r := range rows {
		if r.Requests != 0 || r.Cost != 0 {
			out = append(out, budget.TagCost{Tag: r.Tag, Requests: r.Requests, Cost: r.Cost})
		}
	}
	return out, err
}
