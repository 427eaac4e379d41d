package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"aigateway/budget"
)

// seal is how far the books were checked: rows and usage that it covers were
// read once and are in the sealed sums. It changes in transactions of the sync
// goroutine only.
type seal struct {
	listed int64 // links up to here do not name their calls
	old    int64 // of these links, calls up to this id are covered; -1: nothing
	link   int64 // of later ones, links up to here
	bucket int64 // usage up to this bucket and tag is covered
	tag    string
	zone   string
}

// covers reports whether what a row did on a link is sealed; rid is 0 for rows
// that are no calls.
func (s *seal) covers(rid, link int64) bool {
	if link <= s.listed {
		return rid <= s.old
	}
	return link <= s.link
}

func (s *seal) coversUsage(bucket int64, tag string) bool {
	return bucket < s.bucket || bucket == s.bucket && tag <= s.tag
}

// unlisted reports whether a link is one of those that do not name their calls.
func (s *seal) unlisted(_, link int64) bool { return link <= s.listed }

func readSeal(ctx context.Context, q querier) (s seal, err error) {
	err = each(ctx, q, `SELECT listed, old, link, bucket, tag, zone FROM seal`, nil, func(r *sql.Rows) error {
		return r.Scan(&s.listed, &s.old, &s.link, &s.bucket, &s.tag, &s.zone)
	})
	return s, err
}

// loadSeal reads the seal when the ledger starts. The months of sealed usage are
// those of one zone: another one begins them again.
func (s *store) loadSeal(ctx context.Context, zone string) (err error) {
	if s.seal, err = readSeal(ctx, s.write); err != nil {
		return fmt.Errorf("read what is sealed: %w", err)
	}
	if s.folds, err = readFolds(ctx, s.write); err != nil {
		return fmt.Errorf("read what is folded: %w", err)
	}
	if s.zone, err = budget.ParseZone("time_zone", zone); err != nil || s.seal.zone == zone {
		return err
	}
	next := s.seal
	next.bucket, next.tag, next.zone = 0, "", zone
	return s.moveSeal(ctx, next, query{sql: `DELETE FROM sealed_usage`})
}

// moveSeal makes next and what queries do durable, as one. After an error the
// outcome is unknown.
func (s *store) moveSeal(ctx context.Context, next seal, queries ...query) error {
	err := s.transaction(ctx, func() error {
		w := writer{ctx: ctx, s: &s.stmts}
		for _, st := range queries {
			w.run(s.write, st)
		}
		w.run(s.write, query{sql: `UPDATE seal SET listed = ?, old = ?, link = ?, bucket = ?, tag = ?, zone = ?`,
			args: []any{next.listed, next.old, next.link, next.bucket, next.tag, next.zone}})
		return w.err
	})
	if err == nil {
		s.seal = next
	}
	return err
}

// sealedSQL adds what rows add up to, or takes it off again, to the sealed sums
// of accounts that still exist and of tags.
func (b *booked) sealedSQL(sign int64) ([]query, error) {
	b.spread()
	accounts, tags := [][2]int64{}, [][3]any{}
	for id, amount := range b.accounts {
		if amount != 0 {
			accounts = append(accounts, [2]int64{id, sign * int64(amount)})
		}
	}
	for tag, sum := range b.tags {
		if *sum != (tagSum{}) {
			tags = append(tags, [3]any{tag, sign * sum.requests, sign * int64(sum.cost)})
		}
	}
	a, err := json.Marshal(accounts)
	t, err2 := json.Marshal(tags)
	return []query{
		{sql: `INSERT INTO sealed_account (account, amount) SELECT a.id, j.value ->> 1 FROM json_each(?) j JOIN account a ON a.id = j.value ->> 0 WHERE true
			ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount`, args: []any{string(a)}},
		{sql: `INSERT INTO sealed_tag (tag, requests, cost) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true
			ON CONFLICT (tag) DO UPDATE SET requests = requests + excluded.requests, cost = cost + excluded.cost`, args: []any{string(t)}},
	}, errors.Join(err, err2)
}

// onSync runs f on the sync goroutine, between two commits. If f fails, the
// ledger stops, as after a failed commit. The caller does not hold mu.
func (l *Ledger) onSync(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	job := func() error {
		err := f()
		done <- err
		return err
	}
	select {
	case l.jobs <- job:
		return <-done
	case <-l.done:
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.unavailable()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unchanging runs f on one state of the database.
func unchanging(ctx context.Context, db *sql.DB, f func(q querier) error) error {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin reading: %w", err)
	}
	return errors.Join(f(tx), tx.Rollback())
}

// touched is what a check has yet to compare: accounts and tags that changed.
type touched struct {
	accounts map[int64]bool
	tags     map[string]bool
	rows     int64 // read
}

func newTouched() *touched {
	return &touched{accounts: map[int64]bool{}, tags: map[string]bool{}}
}

func (t *touched) add(b *booked) {
	b.spread()
	for id := range b.accounts {
		t.accounts[id] = true
	}
	for tag := range b.tags {
		t.tags[tag] = true
	}
	t.rows += b.rows
}

// sealRows moves the seal over the rows that were booked since the last check,
// a slice at a time, until hardly any are left.
func (l *Ledger) sealRows(ctx context.Context, t *touched) error {
	for {
		more, err := l.sealSlice(ctx, t)
		if err != nil || !more {
			return err
		}
	}
}

// sealSlice reads some rows behind the seal and moves it over them. If rows were
// pruned in between, it reads them again.
func (l *Ledger) sealSlice(ctx context.Context, t *touched) (more bool, err error) {
	b := newBooked()
	var next, was seal
	before := l.store.prunes.Load()
	err = unchanging(ctx, l.store.read, func(q querier) (err error) {
		if was, err = readSeal(ctx, q); err != nil {
			return err
		}
		next, more, err = b.behind(ctx, q, was)
		return err
	})
	if err != nil || next == was {
		return false, err
	}
	queries, err := b.sealedSQL(1)
	if err != nil {
		return false, err
	}
	again := false
	err = l.onSync(ctx, func() error {
		if l.store.prunes.Load() != before {
			again = true
			return nil
		}
		return l.store.moveSeal(context.Background(), next, queries...)
	})
	if err == nil && !again {
		t.add(b)
	}
	return more || again, err
}

// behind counts some rows behind a seal and returns where it may move.
func (b *booked) behind(ctx context.Context, q querier, s seal) (next seal, more bool, err error) {
	next = s
	switch {
	case s.old == -1: // what is no call goes first
		next.old = 0
		return next, true, errors.Join(b.strays(ctx, q, `WHERE link <= ?`, []any{s.listed}, s.unlisted), b.adjusts(ctx, q, `WHERE link <= ?`, []any{s.listed}, s.unlisted))
	case s.old < math.MaxInt64:
		n, last := 0, s.old
		err := eachSettled(ctx, q, `WHERE rid > ? ORDER BY rid LIMIT ?`, []any{s.old, sliceRows}, func(r *settledRow) error {
			n++
			last = r.rid
			return b.settled(r, s.unlisted)
		})
		if next.old = last; n < sliceRows {
			next.old = math.MaxInt64
		}
		return next, true, err
	default:
		part, err := nextSpan(ctx, q, s.link, math.MaxInt64)
		if err != nil {
			return s, false, err
		}
		next.link = part.last
		return next, part.full, b.span(ctx, q, &part)
	}
}

// usageLead is how many buckets behind the present stay out of the seal: running
// calls still change them.
const usageLead = 8

// sealedGroups is how many tags of a bucket are sealed at a time.
const sealedGroups = 500

// sealUsage moves the seal over usage that hardly changes any more.
func (l *Ledger) sealUsage(ctx context.Context, t *touched) error {
	border := l.windowTime()/bucketNanos - usageLead
	for {
		n := 0
		err := l.onSync(ctx, func() (err error) {
			n, err = l.store.sealUsage(context.Background(), border, t)
			return err
		})
		if err != nil || n < sealedGroups {
			return err
		}
	}
}

// sealUsage moves the seal over the next tags before border, in the transaction
// that adds them up. Whoever changes a sealed row afterwards changes the sums.
func (s *store) sealUsage(ctx context.Context, border int64, t *touched) (n int, err error) {
	next := s.seal
	var sums [][4]any
	err = each(ctx, s.write, `SELECT bucket, tag, sum(requests), sum(cost) FROM usage WHERE (bucket, tag) > (?, ?) AND bucket < ?
		GROUP BY bucket, tag ORDER BY bucket, tag LIMIT ?`, []any{s.seal.bucket, s.seal.tag, border, sealedGroups}, func(r *sql.Rows) error {
		var requests, cost int64
		err := r.Scan(&next.bucket, &next.tag, &requests, &cost)
		n++
		t.tags[next.tag] = true
		sums = append(sums, [4]any{s.month(next.bucket), next.tag, requests, cost})
		return err
	})
	if err != nil || n == 0 {
		return 0, err
	}
	text, err := json.Marshal(sums)
	if err != nil {
		return 0, err
	}
	add := func(month string) query {
		return query{sql: `INSERT INTO sealed_usage (month, tag, requests, cost) SELECT ` + month + `, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE true
			ON CONFLICT (month, tag) DO UPDATE SET requests = requests + excluded.requests, cost = cost + excluded.cost`, args: []any{string(text)}}
	}
	return n, s.moveSeal(ctx, next, add("-1"), add("value ->> 0"))
}

// month is the first bucket of the month that a bucket is in.
func (s *store) month(bucket int64) int64 { return monthOf(bucket, s.zone) }

func monthOf(bucket int64, zone *time.Location) int64 {
	return budget.Month.WindowAt(time.Unix(0, bucket*bucketNanos), zone).Start.UnixNano() / bucketNanos
}

// addSealed keeps the sealed sums right when a row that is sealed changes.
func (w *writer) addSealed(s *store, bucket int64, tag string, requests, cost int64) {
	if !s.seal.coversUsage(bucket, tag) {
		return
	}
	w.run(s.write, query{sql: `INSERT INTO usage_late (bucket, tag) VALUES (?, ?)`, args: []any{bucket, tag}})
	for _, month := range []int64{everyMonth, s.month(bucket)} {
		w.run(s.write, query{sql: `INSERT INTO sealed_usage (month, tag, requests, cost) VALUES (?, ?, ?, ?)
			ON CONFLICT (month, tag) DO UPDATE SET requests = requests + excluded.requests, cost = cost + excluded.cost`, args: []any{month, tag, requests, cost}})
	}
}
