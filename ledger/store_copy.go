package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"slices"
)

// copySlice is how many rows are copied at a time.
const copySlice = 10 * sliceRows

// copier copies a database, attached as src, into its own.
type copier struct {
	conn    *sql.Conn
	between func()
	link    int64 // rows of later links are not copied yet
	late    int64 // changes of sealed usage up to here are
	bucket  int64 // usage up to this bucket and tag is
	tag     string
	grown   []string // tables that are copied in slices
}

// copyTo fills the empty file part.
func (i *Inspector) copyTo(ctx context.Context, part string) error {
	path, err := filepath.Abs(part)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(path, url.Values{}, "journal_mode(OFF)", "synchronous(OFF)", "temp_store(MEMORY)", "busy_timeout(5000)"))
	if err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	c := &copier{conn: conn, between: i.between, bucket: math.MinInt64, grown: []string{"settle", "link", "usage", "audit"}}
	if err := c.exec(ctx, `ATTACH ? AS src`, dsn(i.path, url.Values{"mode": {"ro"}})); err != nil {
		return errors.Join(err, conn.Close(), db.Close())
	}
	return errors.Join(c.copy(ctx), conn.Close(), db.Close())
}

func (c *copier) exec(ctx context.Context, query string, args ...any) error {
	_, err := c.conn.ExecContext(ctx, query, args...)
	return err
}

func (c *copier) number(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = c.conn.QueryRowContext(ctx, query, args...).Scan(&n)
	return n, err
}

// schema runs the queries that made src's tables, or its indexes.
func (c *copier) schema(ctx context.Context, kind string) (names []string, err error) {
	var made []string
	err = each(ctx, c.conn, `SELECT name, sql FROM src.sqlite_master WHERE type = ? AND sql IS NOT NULL AND name NOT LIKE 'sqlite%'`, []any{kind}, func(r *sql.Rows) error {
		var name, text string
		err := r.Scan(&name, &text)
		names, made = append(names, name), append(made, text)
		return err
	})
	for _, text := range made {
		err = errors.Join(err, c.exec(ctx, text))
	}
	return names, err
}

func (c *copier) copy(ctx context.Context) error {
	tables, err := c.schema(ctx, "table")
	if err != nil {
		return err
	}
	if c.link, err = c.number(ctx, `SELECT link FROM src.head`); err != nil {
		return err
	}
	for _, t := range []struct{ table, key string }{{"settle", "rid"}, {"link", "no"}, {"audit", "id"}} {
		if err := c.table(ctx, t.table, t.key); err != nil {
			return err
		}
	}
	if c.late, err = c.number(ctx, `SELECT coalesce(max(no), 0) FROM src.usage_late`); err != nil {
		return err
	}
	for range 2 { // the second time takes what was sealed meanwhile
		if err := errors.Join(c.usage(ctx), c.booked(ctx)); err != nil {
			return err
		}
	}
	if err := c.moment(ctx, tables); err != nil {
		return err
	}
	_, err = c.schema(ctx, "index")
	if err != nil {
		return err
	}
	for _, pragma := range []string{"application_id", "user_version"} {
		n, err := c.number(ctx, `PRAGMA src.`+pragma)
		if err == nil {
			err = c.exec(ctx, fmt.Sprintf(`PRAGMA main.%s = %d`, pragma, n))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// table copies the rows that a table has, in the order of its key.
func (c *copier) table(ctx context.Context, table, key string) error {
	for last, n := int64(math.MinInt64), int64(copySlice); n == copySlice; {
		c.between()
		result, err := c.conn.ExecContext(ctx, fmt.Sprintf(`INSERT INTO main.%[1]s SELECT * FROM src.%[1]s WHERE %[2]s > ? ORDER BY %[2]s LIMIT ?`, table, key), last, copySlice)
		if err != nil {
			return err
		}
		if n, err = result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		if last, err = c.number(ctx, fmt.Sprintf(`SELECT max(%s) FROM main.%s`, key, table)); err != nil {
			return err
		}
	}
	return nil
}

// usage copies sealed usage. What changes of it afterwards is in usage_late.
func (c *copier) usage(ctx context.Context) error {
	for n := int64(copySlice); n > 0; {
		c.between()
		var bucket int64
		var tag string
		// A slice ends with a whole tag.
		err := c.conn.QueryRowContext(ctx, `SELECT bucket, tag FROM (SELECT bucket, tag FROM src.usage
			WHERE (bucket, tag) > (?1, ?2) AND (bucket, tag) <= (SELECT bucket, tag FROM src.seal) ORDER BY bucket, tag LIMIT ?3) ORDER BY bucket DESC, tag DESC LIMIT 1`,
			c.bucket, c.tag, copySlice).Scan(&bucket, &tag)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		result, err := c.conn.ExecContext(ctx, `INSERT INTO main.usage SELECT * FROM src.usage WHERE (bucket, tag) > (?, ?) AND (bucket, tag) <= (?, ?)`, c.bucket, c.tag, bucket, tag)
		if err != nil {
			return err
		}
		if n, err = result.RowsAffected(); err != nil {
			return err
		}
		c.bucket, c.tag = bucket, tag
	}
	return nil
}

// booked copies again what later links changed: calls that were settled, or
// corrected, and new rows of the audit log.
func (c *copier) booked(ctx context.Context) error {
	for more := true; more; {
		var calls []int64
		after, rows := c.link, 0
		more = false
		err := each(ctx, c.conn, `SELECT no, rows, calls FROM src.link WHERE no > ? ORDER BY no`, []any{c.link}, func(r *sql.Rows) error {
			var n int
			var list sql.RawBytes
			err := r.Scan(&c.link, &n, &list)
			calls, rows = append(calls, decodeCalls(list)...), rows+n
			if rows >= copySlice {
				more = true
				return errEnough
			}
			return err
		})
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		list, err := json.Marshal(slices.Clip(calls))
		if err != nil {
			return err
		}
		for _, st := range []query{
			{sql: `INSERT OR REPLACE INTO main.settle SELECT * FROM src.settle WHERE rid IN (SELECT value FROM json_each(?))`, args: []any{string(list)}},
			{sql: `INSERT OR REPLACE INTO main.settle SELECT * FROM src.settle WHERE late_link > 0 AND late_link > ? AND late_link <= ?`, args: []any{after, c.link}},
			{sql: `INSERT OR REPLACE INTO main.link SELECT * FROM src.link WHERE no > ? AND no <= ?`, args: []any{after, c.link}},
			{sql: `INSERT OR REPLACE INTO main.audit SELECT * FROM src.audit WHERE link > ? AND link <= ?`, args: []any{after, c.link}},
		} {
			if err := c.exec(ctx, st.sql, st.args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// moment makes the copy that of one moment: the rest of what grows, and all else.
func (c *copier) moment(ctx context.Context, tables []string) error {
	c.between()
	if err := c.exec(ctx, `BEGIN`); err != nil {
		return err
	}
	if err := c.booked(ctx); err != nil {
		return err
	}
	queries := []query{
		{sql: `DELETE FROM main.usage WHERE (bucket, tag) IN (SELECT bucket, tag FROM src.usage_late WHERE no > ?)`, args: []any{c.late}},
		{sql: `INSERT INTO main.usage SELECT * FROM src.usage WHERE (bucket, tag) IN (SELECT bucket, tag FROM src.usage_late WHERE no > ?) AND (bucket, tag) <= (?, ?)`, args: []any{c.late, c.bucket, c.tag}},
		{sql: `INSERT INTO main.usage SELECT * FROM src.usage WHERE (bucket, tag) > (?, ?)`, args: []any{c.bucket, c.tag}},
	}
	for _, table := range tables {
		if !slices.Contains(c.grown, table) {
			queries = append(queries, query{sql: fmt.Sprintf(`DELETE FROM main.%s`, table)}, query{sql: fmt.Sprintf(`INSERT INTO main.%[1]s SELECT * FROM src.%[1]s`, table)})
		}
	}
	for _, st := range queries {
		if err := c.exec(ctx, st.sql, st.args...); err != nil {
			return err
		}
	}
	return c.exec(ctx, `COMMIT`)
}
