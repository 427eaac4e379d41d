package postgres

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// reply is what a transaction of an exchange answered.
type reply struct {
	grants []budget.Grant
	ends   []int64 // of the windows of grants
	lost   int64   // leases that were less than what their holder had

	generation, asserted int64     // asserted is 0: the store was of before the last answer
	timeline, server     string    // the one that is known, and the server's
	clock                time.Time // the server's
}

// add adds a later reply.
func (r *reply) add(o *reply) {
	r.grants, r.lost = append(r.grants, o.grants...), r.lost+o.lost
	r.generation, r.asserted, r.timeline, r.server, r.clock = o.generation, o.asserted, o.timeline, o.server, o.clock
}

// missing are the asks without a grant.
func (r *reply) missing(asks []budget.Ask) (out []budget.Ask) {
	have := make(map[budget.AccountName]bool, len(r.grants))
	for _, g := range r.grants {
		have[g.AccountName] = true
	}
	for _, a := range asks {
		if !have[a.AccountName] {
			out = append(out, a)
		}
	}
	return out
}

// fenceSQL takes the exchange's place in the order of m's exchanges: an older one
// that arrives late changes nothing. A replica has to have acknowledged the rules since
// it joined, left, or was left behind by AwaitVersion.
//
// $4 is the last one that was answered. A store that does not know of it is of before, as
// one that was put back from a backup: from this statement on m has not told its leases,
// which keeps all of them frozen. See Member.settle.
const fenceSQL = `UPDATE aig_holder h SET seen = now(), seq = $3, has_left = false, asserted = CASE WHEN h.seq < $4 THEN 0 ELSE h.asserted END FROM aig_state s
	WHERE h.id = $1 AND h.epoch = $2 AND h.seq < $3 AND NOT h.forgotten AND h.applied > 0
	RETURNING s.generation, h.asserted, s.timeline, ` + timeline + `, clock_timestamp()`

// fenced holds in statements behind fenceSQL if that found its row.
const fenced = `EXISTS (SELECT 1 FROM aig_holder WHERE id = $1 AND epoch = $2 AND seq = $3)`

// lockSQL notes which of the accounts that are asked about it has locked, for as long as
// the transaction lasts. One that another replica opens a moment later is visible to
// the next statement, and not locked.
const lockSQL = `SELECT set_config('aig.locked', coalesce(array_agg(n)::text, '{}'), true) FROM (SELECT r.n
	FROM aig_account a JOIN unnest($4::text[], $5::bigint[], $6::text[]) WITH ORDINALITY AS r(budget_id, start, scope, n) USING (budget_id, start, scope)
	WHERE ` + fenced + ` ORDER BY a.budget_id, a.start, a.scope FOR UPDATE OF a) AS locked`

// refunded is what corrections on account a have refunded beyond what they charged.
const refunded = `coalesce((SELECT greatest(0, -x.lease) FROM aig_lease x WHERE x.budget_id = a.budget_id AND x.start = a.start AND x.scope = a.scope AND x.holder = '` + adjustments + `'), 0)`

// exchangeSQL decides on accounts that are locked. What a replica has or uses is a
// fact, whatever the cap says: base. It gets more only from what is free, no more
// than its share of that unless it lacks it, and nothing at all if that is less than
// what it needs, or while leases are frozen. What nobody hears of any more may be
// reserved, all of it: stranded.
const exchangeSQL = `WITH
silent AS MATERIALIZED (SELECT id FROM aig_holder h WHERE NOT h.has_left AND NOT h.forgotten AND h.seen <= now() - $4 * interval '1 microsecond'),
live AS (SELECT greatest(1, count(*)) AS n, coalesce(bool_or(h.asserted < s.generation), false) OR bool_or(s.timeline <> ` + timeline + `) AS frozen
	FROM aig_state s, aig_holder h WHERE NOT h.has_left AND NOT h.forgotten AND h.seen > now() - $4 * interval '1 microsecond'),
old AS MATERIALIZED (SELECT a.*, r.acked, r.has, r.ask, r.least, r.now_spent, r.now_reserved, live.*,
		coalesce(l.lease, 0) AS held, coalesce(l.spent, 0) AS was_spent, coalesce(l.reserved, 0) AS was_reserved, l.holder IS NULL AS new,
		greatest(r.acked, r.has, r.now_spent + r.now_reserved) AS fact,
		CASE WHEN EXISTS (SELECT 1 FROM silent) THEN (SELECT coalesce(sum(o.lease - o.spent - o.reserved), 0)::bigint
			FROM aig_lease o JOIN silent ON silent.id = o.holder WHERE o.budget_id = a.budget_id AND o.start = a.start AND o.scope = a.scope AND o.holder <> $1) ELSE 0 END AS stranded,
		` + refunded + ` AS refunded
	FROM unnest($5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[]) WITH ORDINALITY
		AS r(budget_id, start, scope, acked, has, ask, least, now_spent, now_reserved, n)
	JOIN unnest(current_setting('aig.locked')::bigint[]) AS locked(n) USING (n)
	JOIN aig_account a USING (budget_id, start, scope) LEFT JOIN aig_lease l ON l.budget_id = a.budget_id AND l.start = a.start AND l.scope = a.scope AND l.holder = $1, live
	WHERE ` + fenced + `),
based AS MATERIALIZED (SELECT *, CASE WHEN ask < held THEN greatest(ask, fact) ELSE greatest(held, fact) END AS base FROM old),
freed AS MATERIALIZED (SELECT *, cap - (allocated - held + base) AS free FROM based),
most AS MATERIALIZED (SELECT *, CASE WHEN frozen OR ask <= base THEN 0
		ELSE greatest(0, least(ask - base, greatest(least - base, free / (2 * n)), free)) END AS may FROM freed),
done AS MATERIALIZED (SELECT *, base + CASE WHEN base + may < least THEN 0 ELSE may END AS gets FROM most),
told AS MATERIALIZED (SELECT *, allocated - held + gets AS total, NOT frozen AND least > gets AS lacks,
		spent - was_spent + now_spent AS all_spent, reserved - was_reserved + now_reserved AS all_reserved FROM done),
called AS (SELECT *, CASE
		WHEN total > cap THEN 'infinity'::timestamptz
		WHEN lacks AND total - gets > all_spent + all_reserved + stranded - now_spent - now_reserved THEN
			CASE WHEN recall_until > now() + interval '1 second' AND recall_until < 'infinity' THEN recall_until ELSE now() + interval '2 seconds' END
		WHEN recall_until = 'infinity' THEN '-infinity' ELSE recall_until END AS until FROM told),
leased AS (INSERT INTO aig_lease (budget_id, start, scope, holder, lease, spent, reserved)
	SELECT budget_id, start, scope, $1, gets, now_spent, now_reserved FROM called
	WHERE new OR (gets, now_spent, now_reserved) IS DISTINCT FROM (held, was_spent, was_reserved)
	ON CONFLICT ON CONSTRAINT aig_lease_pkey DO UPDATE SET lease = excluded.lease, spent = excluded.spent, reserved = excluded.reserved),
summed AS (UPDATE aig_account a SET allocated = c.total, spent = c.all_spent, reserved = c.all_reserved, recall_until = c.until FROM called c
	WHERE a.budget_id = c.budget_id AND a.start = c.start AND a.scope = c.scope
		AND (c.total, c.all_spent, c.all_reserved, c.until) IS DISTINCT FROM (a.allocated, a.spent, a.reserved, a.recall_until))
SELECT budget_id, start, scope, gets, cap, refunded, CASE WHEN frozen THEN least(0, cap - total) ELSE cap - total END, all_spent, all_reserved + stranded,
	until > now() AND NOT frozen AND NOT lacks AND gets > now_spent + now_reserved, acked > held, "end" FROM called`

// recallSQL are accounts that were not asked about and of which others lack what is
// unused here. $4 is the number of rows.
const recallSQL = `SELECT a.budget_id, a.start, a.scope, l.lease, a.cap, ` + refunded + `, a.cap - a.allocated, a.spent, a.reserved, true, false, a."end"
	FROM aig_account a JOIN aig_lease l ON l.budget_id = a.budget_id AND l.start = a.start AND l.scope = a.scope AND l.holder = $1
	WHERE a.recall_until > now() AND l.lease > l.spent + l.reserved AND ` + fenced + `
		AND NOT EXISTS (SELECT 1 FROM unnest($5::text[], $6::bigint[], $7::text[]) AS r(budget_id, start, scope) WHERE r.budget_id = a.budget_id AND r.start = a.start AND r.scope = a.scope)
	LIMIT $4`

// once is one transaction in one message, so that no lock waits for this process. A
// reply counts only if the server says COMMIT and nothing else.
func (m *Member) once(ctx context.Context, asks []budget.Ask) (*reply, error) {
	m.seq++
	m.promise(asks)
	r := &reply{}
	err := m.s.with(ctx, m.s.watchdog(), m.own, func(ctx context.Context, c *conn) error {
		c.notices.Store(0)
		batch := m.batch(asks)
		results := c.SendBatch(ctx, batch)
		found, err := r.read(results)
		if err != nil {
			results.Close()
			return err
		}
		tag, err := results.Exec()
		if closed := results.Close(); err == nil {
			err = closed
		}
		switch {
		case err != nil:
			return fmt.Errorf("%w: %w", errUnknown, err)
		case tag.String() != "COMMIT" || c.notices.Load() > 0:
			return errUnknown
		case !found:
			return &ended{m.missing(ctx, c)}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	m.answered = m.seq
	return r, nil
}

// promise takes back of what was acknowledged what asks give back: they may be obeyed
// though no answer comes.
func (m *Member) promise(asks []budget.Ask) {
	for i := range asks {
		if t, ok := m.told[asks[i].AccountName]; ok {
			t.Has = min(t.Has, max(asks[i].Has, asks[i].Lease))
			m.told[t.AccountName] = t
		}
	}
}

func (m *Member) batch(asks []budget.Ask) *pgx.Batch {
	var ids, scopes []string
	var starts, acked, has, lease, least, spent, reserved []int64
	for i := range asks {
		a := &asks[i]
		ids, starts, scopes, acked = append(ids, a.BudgetID), append(starts, a.Start), append(scopes, a.Scope), append(acked, int64(m.told[a.AccountName].Has))
		has, lease, least = append(has, int64(a.Has)), append(lease, int64(max(a.Lease, a.Has))), append(least, int64(a.Least))
		spent, reserved = append(spent, int64(a.Spent)), append(reserved, int64(a.Reserved))
	}
	stale := m.s.stale().Microseconds()
	b := &pgx.Batch{}
	b.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	b.Queue(fmt.Sprintf("SET LOCAL lock_timeout = %d", patience.Milliseconds()))
	b.Queue(fenceSQL, m.id, m.epoch, m.seq, m.answered)
	b.Queue(lockSQL, m.id, m.epoch, m.seq, ids, starts, scopes)
	b.Queue(exchangeSQL, m.id, m.epoch, m.seq, stale, ids, starts, scopes, acked, has, lease, least, spent, reserved)
	b.Queue(recallSQL, m.id, m.epoch, m.seq, chunk, ids, starts, scopes)
	b.Queue("COMMIT")
	return b
}

// read reads all answers but COMMIT's.
func (r *reply) read(results pgx.BatchResults) (found bool, err error) {
	for range 2 {
		if _, err := results.Exec(); err != nil {
			return false, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return false, err
	}
	_, err = pgx.ForEachRow(rows, []any{&r.generation, &r.asserted, &r.timeline, &r.server, &r.clock}, func() error { found = true; return nil })
	if err != nil {
		return false, err
	}
	if _, err := results.Exec(); err != nil {
		return false, err
	}
	for range 2 {
		rows, err := results.Query()
		if err != nil {
			return false, err
		}
		var g budget.Grant
		var lost bool
		var end int64
		_, err = pgx.ForEachRow(rows, []any{&g.BudgetID, &g.Start, &g.Scope, &g.Lease, &g.Cap, &g.Refunded, &g.Free, &g.Spent, &g.Reserved, &g.Recall, &lost, &end}, func() error {
			if r.grants, r.ends = append(r.grants, g), append(r.ends, end); lost {
				r.lost++
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	}
	return found, nil
}

// openAccounts makes the accounts that asks name, where the store's clock has begun
// their windows, and reports whether there is any.
func (s *Store) openAccounts(ctx context.Context, p *pool, asks []budget.Ask) (opened bool, err error) {
	if len(asks) == 0 {
		return false, nil
	}
	asks = slices.Clone(asks)
	slices.SortFunc(asks, func(a, b budget.Ask) int { return strings.Compare(a.BudgetID, b.BudgetID) })
	var ids []string
	for _, a := range asks {
		ids = append(ids, a.BudgetID)
	}
	err = s.transact(ctx, p, begin, func(ctx context.Context, c *conn) error {
		now, err := clock(ctx, c)
		if err != nil {
			return err
		}
		// Nobody edits the cap or the zone meanwhile.
		budgets, err := readBudgets(ctx, c, `WHERE id = ANY($1) ORDER BY id FOR SHARE`, ids)
		if err != nil {
			return err
		}
		byID := map[string]*budget.SharedBudget{}
		for i := range budgets {
			byID[budgets[i].ID] = &budgets[i]
		}
		for _, a := range asks {
			b := byID[a.BudgetID]
			if b == nil {
				continue
			}
			ok, err := openAccount(ctx, c, b, a.AccountName, now)
			if err != nil {
				return err
			}
			opened = opened || ok
		}
		return nil
	})
	return opened, err
}

// openAccount makes the account n of b, unless its window has not begun, is long over,
// or is no window of b, or b has no such scope, as no budget has one today. Two replicas
// whose time zones differ would else each have a cap of their own.
func openAccount(ctx context.Context, c *conn, b *budget.SharedBudget, n budget.AccountName, now time.Time) (bool, error) {
	end, ok, err := opens(b, n, now)
	if err != nil || !ok {
		return false, err
	}
	tag, err := c.Exec(ctx, openSQL, b.ID, n.Start, end, int64(b.Cap))
	if err != nil || tag.RowsAffected() > 0 {
		return err == nil, err
	}
	var exists bool
	err = c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM aig_account WHERE budget_id = $1 AND start = $2 AND scope = '')`, b.ID, n.Start).Scan(&exists)
	return exists, err
}

// opens is the end of b's window that begins with account n, and whether that account
// may be opened.
func opens(b *budget.SharedBudget, n budget.AccountName, now time.Time) (end int64, ok bool, err error) {
	loc, err := budget.ParseZone("time_zone", b.Zone)
	if err != nil {
		return 0, false, err
	}
	w := b.WindowAt(time.Unix(0, n.Start), loc)
	end = endOf(w)
	return end, n.Scope == "" && w.Start.UnixNano() == n.Start && !w.Start.After(now) && end >= now.Add(-24*time.Hour).UnixNano(), nil
}

// openSQL makes an account of all calls, beside none that shares its time.
const openSQL = `INSERT INTO aig_account (budget_id, start, "end", cap) SELECT $1, $2, $3, $4
	WHERE NOT EXISTS (SELECT 1 FROM aig_account WHERE budget_id = $1 AND scope = '' AND start < $3 AND "end" > $2)
	ON CONFLICT DO NOTHING`

// mustOpen is openAccount where that is the account of all calls of now.
func mustOpen(ctx context.Context, c *conn, b *budget.SharedBudget, start int64, now time.Time) error {
	ok, err := openAccount(ctx, c, b, budget.AccountName{BudgetID: b.ID, Start: start}, now)
	if err == nil && !ok {
		err = &budget.Error{Kind: budget.KindConflict, Reason: "window_overlaps", Message: fmt.Sprintf("a window of budget %s that was opened in another time zone has not ended yet; try again when it has", b.ID)}
	}
	return err
}

// endOf is the end of w in nanoseconds of Unix time.
func endOf(w budget.Window) int64 {
	if w.End.IsZero() {
		return math.MaxInt64
	}
	return w.End.UnixNano()
}

func clock(ctx context.Context, c *conn) (now time.Time, err error) {
	err = c.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
	return now, err
}
