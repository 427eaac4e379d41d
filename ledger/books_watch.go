package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"aigateway/budget"
)

// Check recounts the books of the running ledger, its memory included, and
// refuses calls on every account whose totals its rows do not explain, until
// a later check finds them right. It reads the rows that were booked since the
// last check; those of before are sealed. It reads on the side, in slices that
// are each of one state; calls go on meanwhile.
func (l *Ledger) Check(ctx context.Context) (*Recount, error) {
	l.checking.Lock()
	defer l.checking.Unlock()
	r, err := l.check(ctx)
	if err != nil {
		return nil, fmt.Errorf("check the books: %w", err)
	}
	l.distrust(r)
	return r, nil
}

func (l *Ledger) check(ctx context.Context) (*Recount, error) {
	t, later := newTouched(), newTouched()
	if err := l.sealRows(ctx, t); err != nil {
		return nil, err
	}
	if err := l.sealUsage(ctx, t); err != nil {
		return nil, err
	}
	if err := l.store.addRecent(ctx, t); err != nil {
		return nil, err
	}
	if l.suspects == nil { // the last process may have known of some
		if err := l.store.addAll(ctx, t); err != nil {
			return nil, err
		}
	} else {
		maps.Copy(t.accounts, l.suspects.accounts)
		maps.Copy(t.tags, l.suspects.tags)
	}
	l.mu.Lock()
	for id := range l.core.accounts {
		t.accounts[id] = true
	}
	l.mu.Unlock()
	r, err := l.compare(ctx, t, later)
	if err == nil && len(r.Mismatches) > 0 {
		// Once more, on another state: what is wrong stays wrong.
		first := r.Mismatches
		again := newTouched()
		for _, m := range first {
			again.accounts[m.Account], again.tags[m.Tag] = true, true
		}
		var second *Recount
		if second, err = l.compare(ctx, again, later); err == nil {
			r.Mismatches = confirmed(first, second.Mismatches)
		}
	}
	if err != nil {
		return nil, err
	}
	l.suspects = later // these changed meanwhile
	for _, m := range r.Mismatches {
		l.suspects.accounts[m.Account], l.suspects.tags[m.Tag] = true, true
	}
	r.Rows = t.rows + later.rows
	return r, nil
}

// confirmed is what of b is about an account that a is also about.
func confirmed(a, b []Mismatch) []Mismatch {
	before := map[int64]bool{}
	for _, m := range a {
		before[m.Account] = true
	}
	var out []Mismatch
	for _, m := range b {
		if before[m.Account] {
			out = append(out, m)
		}
	}
	return out
}

// addRecent notes the tags of usage that is not sealed.
func (s *store) addRecent(ctx context.Context, t *touched) error {
	from, err := readSeal(ctx, s.read)
	if err != nil {
		return err
	}
	bucket := sql.NullInt64{Int64: from.bucket, Valid: true}
	for bucket.Valid {
		err := s.each(ctx, `SELECT DISTINCT tag FROM usage WHERE bucket = ?`, []any{bucket.Int64}, t.scanTag)
		if err != nil {
			return err
		}
		if err := s.read.QueryRowContext(ctx, `SELECT min(bucket) FROM usage WHERE bucket > ?`, bucket.Int64).Scan(&bucket); err != nil {
			return err
		}
	}
	return nil
}

func (t *touched) scanTag(r *sql.Rows) error {
	var tag string
	err := r.Scan(&tag)
	t.tags[tag] = true
	return err
}

// addAll notes every account and every tag that has a sum.
func (s *store) addAll(ctx context.Context, t *touched) error {
	err := s.each(ctx, `SELECT id FROM account`, nil, func(r *sql.Rows) error {
		var id int64
		err := r.Scan(&id)
		t.accounts[id] = true
		return err
	})
	for _, query := range []string{`SELECT tag FROM usage_tag`, `SELECT tag FROM sealed_tag`, `SELECT tag FROM sealed_usage WHERE month = -1`} {
		if err == nil {
			err = s.each(ctx, query, nil, t.scanTag)
		}
	}
	return err
}

// compareAtOnce is how many accounts or tags are compared in one state.
const compareAtOnce = 2000

// compare checks what t notes.
func (l *Ledger) compare(ctx context.Context, t, later *touched) (*Recount, error) {
	r := &Recount{}
	accounts := slices.Sorted(maps.Keys(t.accounts))
	for first := 0; first == 0 || first < len(accounts); first += compareAtOnce {
		ids := accounts[first:min(first+compareAtOnce, len(accounts))]
		err := l.compareSlice(ctx, r, ids, later, func(c *counting) error {
			return errors.Join(c.addSealed(ctx, ids), c.accountsOf(ctx, ids, first == 0))
		})
		if err != nil {
			return nil, err
		}
	}
	for tags := range slices.Chunk(slices.Sorted(maps.Keys(t.tags)), compareAtOnce) {
		if err := l.compareSlice(ctx, r, nil, later, func(c *counting) error { return c.tagsOf(ctx, tags) }); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// compareSlice runs f on one state of disk and of the memory of some accounts,
// with what rows behind the seal add up to.
func (l *Ledger) compareSlice(ctx context.Context, r *Recount, ids []int64, later *touched, f func(*counting) error) error {
	if err := l.sealRows(ctx, later); err != nil {
		return err // few are left for the state
	}
	conn, err := l.store.read.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := &counting{Recount: r, q: conn, rows: newBooked()}
	defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") }()
	var begin error
	err = l.onSync(ctx, func() error { // no commit is under way: disk and memory are the same
		if _, begin = conn.ExecContext(context.Background(), "BEGIN"); begin == nil {
			_, begin = readSeal(context.Background(), conn) // the first read picks the state
		}
		if begin == nil {
			c.memory = l.totals(ids)
		}
		return nil
	})
	if err := errors.Join(err, begin); err != nil {
		return err
	}
	s, err := readSeal(ctx, conn)
	if err != nil {
		return err
	}
	if _, err := c.rows.since(ctx, conn, s.link); err != nil {
		return err
	}
	c.rows.spread()
	return f(c)
}

// accountsOf compares some accounts, and once what concerns all.
func (c *counting) accountsOf(ctx context.Context, ids []int64, once bool) error {
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	c.base, err = amounts(ctx, c.q, `SELECT account, amount FROM base WHERE account IN (SELECT value FROM json_each(?))`, string(list))
	if err != nil {
		return err
	}
	c.Holds = 0
	if err := c.readHolds(ctx); err != nil {
		return err
	}
	if once {
		if err := c.readTwice(ctx); err != nil {
			return err
		}
	}
	return c.readAccounts(ctx, `WHERE a.id IN (SELECT value FROM json_each(?))`, string(list))
}

// addSealed counts what is sealed of some accounts.
func (c *counting) addSealed(ctx context.Context, ids []int64) error {
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	sealed, err := amounts(ctx, c.q, `SELECT account, amount FROM sealed_account WHERE account IN (SELECT value FROM json_each(?))`, string(list))
	for id, amount := range sealed {
		c.rows.accounts[id] += amount
	}
	return err
}

const tagsIn = `WHERE tag IN (SELECT value FROM json_each(?))`

// tagsOf compares the reports of some tags.
func (c *counting) tagsOf(ctx context.Context, tags []string) error {
	list, err := json.Marshal(tags)
	if err != nil {
		return err
	}
	s, err := readSeal(ctx, c.q)
	if err != nil {
		return err
	}
	sealed, err := tagSums(ctx, c.q, `SELECT tag, requests, cost FROM sealed_tag `+tagsIn, string(list))
	if err != nil {
		return err
	}
	stored, err := tagSums(ctx, c.q, `SELECT tag, requests, cost FROM sealed_usage `+tagsIn+` AND month = -1`, string(list))
	if err != nil {
		return err
	}
	recent, err := usageSince(ctx, c.q, string(list), s.bucket, s.tag)
	if err != nil {
		return err
	}
	rows := map[string]*tagSum{}
	for _, tag := range tags {
		rows[tag] = sealed[tag].plus(c.rows.tags[tag])
		stored[tag] = stored[tag].plus(recent[tag])
	}
	c.rows.tags = rows
	return c.readTags(ctx, tagsIn, stored, string(list))
}

// usageSince sums the usage of some tags behind a bucket and a tag. It reads no
// other tag's rows.
func usageSince(ctx context.Context, q querier, tags string, bucket int64, tag string) (map[string]*tagSum, error) {
	return tagSums(ctx, q, `WITH RECURSIVE b (bucket) AS (SELECT ?1 UNION ALL
			SELECT (SELECT min(bucket) FROM usage u WHERE u.bucket > b.bucket) FROM b WHERE b.bucket IS NOT NULL)
		SELECT u.tag, sum(u.requests), sum(u.cost) FROM b CROSS JOIN json_each(?3) j CROSS JOIN usage u ON u.bucket = b.bucket AND u.tag = j.value
		WHERE (u.bucket, u.tag) > (?1, ?2) GROUP BY u.tag`, bucket, tag, tags)
}

// totals copies the counters of some accounts, and what their open holds add up
// to.
func (l *Ledger) totals(ids []int64) map[int64]*inMemory {
	type item struct {
		h         *hold
		journaled bool
	}
	memory := make(map[int64]*inMemory, len(ids))
	if len(ids) == 0 {
		return memory
	}
	l.mu.Lock()
	c := l.core
	for _, id := range ids {
		// Calls that join a new budget are on it in memory first.
		if a := c.accounts[id]; a != nil && c.rules.byID[a.rule.ID] == a.rule {
			memory[id] = &inMemory{accountTotals: accountTotals{spent: a.spent, orphan: a.orphan, residue: a.residue, hw: a.hw}, held: a.held}
		}
	}
	items := make([]item, 0, len(c.open))
	for _, h := range c.open {
		items = append(items, item{h, h.openedIn != 0 || epochOf(h.id) != c.epoch})
	}
	l.mu.Unlock()
	for _, i := range items {
		for _, a := range i.h.legs {
			m := memory[a.id]
			if m == nil {
				continue
			}
			m.holds += i.h.bound
			if i.journaled {
				m.journaled += i.h.bound
			}
		}
	}
	return memory
}

// distrust makes accounts with mismatches refuse calls, and others not.
func (l *Ledger) distrust(r *Recount) {
	bad := map[int64]bool{}
	for _, m := range r.Mismatches {
		bad[m.Account] = true
		l.config.Log.Error("the books do not agree; calls on this budget are refused until they do", "mismatch", m.String())
	}
	l.mu.Lock()
	for id, a := range l.core.accounts {
		a.distrusted = bad[id]
	}
	l.checked.at, l.checked.mismatches = l.config.Now(), len(r.Mismatches)
	l.mu.Unlock()
	l.metrics.mismatches.Set(float64(len(r.Mismatches)))
	l.metrics.checked.Set(float64(l.config.Now().Unix()))
	if len(r.Mismatches) == 0 {
		l.config.Log.Debug("the books agree", "accounts", r.Accounts, "reservations", r.Holds, "rows", r.Rows)
	}
}

// watch checks the books now and then, until the ledger stops.
func (l *Ledger) watch() {
	defer close(l.watched)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-l.stop:
		case <-l.done:
		}
		cancel()
	}()
	next := time.NewTimer(min(l.config.checkFirst, l.config.CheckEvery))
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
		if _, err := l.Check(ctx); err != nil && ctx.Err() == nil {
			l.config.Log.Error("the books could not be checked", "error", err)
		}
		next.Reset(l.config.CheckEvery)
	}
}

// checkFirst is how long after a start the books are first checked: soon, but
// not while a recovery still reads its log files.
const checkFirst = time.Minute

// distrustedError is the answer on an account whose books do not agree.
func distrustedError(a *account) *budget.Error {
	return budget.Unavailable("books_disagree", fmt.Sprintf("spending on budget %s cannot be trusted right now: its totals differ from its records; an operator has to run `aigateway ledger check`", a.rule.ID), nil)
}
