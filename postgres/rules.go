package postgres

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// edited is a version of the rules, and which edit made it: after commits were lost,
// another one may have that version.
type edited struct {
	version uint64
	token   string // "": nobody noted it
}

func readEdited(ctx context.Context, c *conn) (e edited, err error) {
	err = c.QueryRow(ctx, `SELECT s.version, coalesce(e.token::text, '') FROM aig_state s LEFT JOIN aig_edit e ON e.version = s.version`).Scan(&e.version, &e.token)
	return e, err
}

// Rules returns the budgets and keys if their version is not the given one: what changed
// since that, if this process read it here and the store knows of all edits since; else
// all. A store that has not come to the known version yet was put back from a backup:
// leases are frozen until all have told theirs, and its rules get a version that is newer.
func (s *Store) Rules(ctx context.Context, known uint64) (r budget.Rules, changed bool, err error) {
	s.following.Lock()
	defer s.following.Unlock()
	last := s.followed
	if last.version != known {
		last = edited{version: known}
	}
	var now edited
	same := func() bool { return now.version == known && (last.token == "" || last.token == now.token) }
	err = s.look(ctx, func(ctx context.Context, c *conn) error { now, err = readEdited(ctx, c); return err })
	if err == nil && now.version < known && now.version > 1 { // 1: nobody ever edited it, it is another store
		err = shown(s.freezeAll(ctx, s.others, known, ""))
	}
	if err != nil || same() {
		return budget.Rules{Version: now.version}, false, err
	}
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		r, changed = budget.Rules{}, false
		if now, err = readEdited(ctx, c); err != nil || same() {
			return err
		}
		r, err = readRules(ctx, c, last)
		changed = err == nil
		return err
	})
	r.Version = now.version
	if changed {
		s.followed = now
	}
	return r, changed, err
}

// readRules reads what changed since last, or all.
func readRules(ctx context.Context, c *conn, last edited) (r budget.Rules, err error) {
	if last.token != "" {
		var known bool
		err = c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM aig_edit WHERE version = $1 AND token = $2::uuid)`, int64(last.version), last.token).Scan(&known)
		if err != nil {
			return r, err
		}
		if known {
			r.Since = last.version
		}
	}
	if r.Budgets, err = readBudgets(ctx, c, `WHERE version > $1 OR $1 = 0 ORDER BY id`, int64(r.Since)); err != nil {
		return r, err
	}
	if r.Keys, err = readKeys(ctx, c, `WHERE version > $1 OR $1 = 0 ORDER BY id`, int64(r.Since)); err != nil {
		return r, err
	}
	if r.Since > 0 {
		rows, err := c.Query(ctx, `SELECT id FROM aig_deleted WHERE version > $1 ORDER BY id`, int64(r.Since))
		if err != nil {
			return r, err
		}
		r.Gone, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return r, err
	}
	return r, nil
}

// readBudgets reads the budgets that clause selects.
func readBudgets(ctx context.Context, c *conn, clause string, args ...any) (out []budget.SharedBudget, err error) {
	rows, err := c.Query(ctx, `SELECT id, tags, key_id, period, zone, cap, default_max_tokens, default_max_tool_calls, create_time, update_time,
		counting, running_start, running_end FROM aig_budget `+clause, args...)
	if err != nil {
		return nil, err
	}
	var b budget.SharedBudget
	var created, updated, start, end int64
	_, err = pgx.ForEachRow(rows, []any{&b.ID, &b.Target.Tags, &b.Target.KeyID, &b.Period, &b.Zone, &b.Cap, &b.DefaultMaxTokens, &b.DefaultMaxToolCalls, &created, &updated,
		&b.Counting, &start, &end}, func() error {
		b.CreateTime, b.UpdateTime, b.Running = time.Unix(0, created).UTC(), time.Unix(0, updated).UTC(), budget.Window{}
		if end > 0 {
			b.Running = budget.Window{Start: time.Unix(0, start).UTC(), End: time.Unix(0, end).UTC()}
		}
		out = append(out, b)
		return nil
	})
	return out, err
}

// edit is a transaction that changes rules, one at a time, and returns the version
// that has its change. f is told the store's time.
func (s *Store) edit(ctx context.Context, f func(ctx context.Context, c *conn, now time.Time) error) (version uint64, err error) {
	return s.editWithin(ctx, s.watchdog(), f)
}

func (s *Store) editWithin(ctx context.Context, limit time.Duration, f func(ctx context.Context, c *conn, now time.Time) error) (version uint64, err error) {
	for again := false; ; again = true {
		var generation int64
		var moved bool
		err = s.transactWithin(ctx, limit, s.others, begin, func(ctx context.Context, c *conn) error {
			var now time.Time
			err := c.QueryRow(ctx, `UPDATE aig_state SET version = version + 1 RETURNING version, generation, clock_timestamp(), timeline <> `+timeline).
				Scan(&version, &generation, &now, &moved)
			if err != nil {
				return err
			}
			if moved {
				return errors.New("the database has failed over")
			}
			return f(ctx, c, now.UTC())
		})
		if !moved || again {
			return version, shown(err)
		}
		if err := s.freeze(ctx, s.others, generation); err != nil {
			return 0, shown(err)
		}
	}
}

// SetBudget creates the budget of (Target, Period) or replaces its cap, zone and
// defaults. One that is new counts and limits nobody until Enforce; made is also
// true of one that another replica has left so. The edit is kept on return, and
// obeyed everywhere once AwaitVersion of version has returned.
func (s *Store) SetBudget(ctx context.Context, b budget.Budget, by budget.Author) (id string, version uint64, made bool, err error) {
	loc, err := b.Check()
	if err == nil {
		err = by.Check()
	}
	if err != nil {
		return "", 0, false, err
	}
	version, err = s.edit(ctx, func(ctx context.Context, c *conn, now time.Time) error {
		old, err := readBudgets(ctx, c, `WHERE tags = $1 AND key_id = $2 AND period = $3 FOR UPDATE`, string(b.Target.Tags), b.Target.KeyID, int64(b.Period))
		if err != nil {
			return err
		}
		if len(old) > 0 {
			next := old[0].Budget
			next.Cap, next.Zone, next.Defaults = b.Cap, b.Zone, b.Defaults
			id, made = next.ID, old[0].Counting
			return s.replaceBudget(ctx, c, &old[0], next, loc, now, by)
		}
		id, made = "bud_"+strings.ToLower(rand.Text()[:16]), true
		b.ID, b.CreateTime, b.UpdateTime = id, now, now
		if err := insertBudget(ctx, c, budget.SharedBudget{Budget: b, Counting: true}); err != nil {
			return err
		}
		return auditBudget(ctx, c, now, by, "create_budget", b)
	})
	return id, version, made, err
}

func insertBudget(ctx context.Context, c sender, b budget.SharedBudget) error {
	start, end := running(&b)
	_, err := c.Exec(ctx, `INSERT INTO aig_budget (id, tags, key_id, period, zone, cap, default_max_tokens, default_max_tool_calls, create_time, update_time,
		counting, running_start, running_end) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
		b.ID, string(b.Target.Tags), b.Target.KeyID, int64(b.Period), b.Zone, int64(b.Cap), b.DefaultMaxTokens, b.DefaultMaxToolCalls,
		b.CreateTime.UnixNano(), b.UpdateTime.UnixNano(), b.Counting, start, end)
	return err
}

// running are the columns of b's Running.
func running(b *budget.SharedBudget) (start, end int64) {
	if b.Running.End.IsZero() {
		return 0, 0
	}
	return b.Running.Start.UnixNano(), b.Running.End.UnixNano()
}

// replaceBudget moves old to next. A cap below what leases have in all stops raises
// at once and calls back what is unused.
func (s *Store) replaceBudget(ctx context.Context, c *conn, old *budget.SharedBudget, next budget.Budget, loc *time.Location, now time.Time, by budget.Author) error {
	moved := budget.SharedBudget{Budget: next, Running: old.Running}
	// Locked in the order in which exchanges do.
	if _, err := c.Exec(ctx, `SELECT 1 FROM aig_account WHERE budget_id = $1 ORDER BY start, scope FOR UPDATE`, next.ID); err != nil {
		return err
	}
	if next.Zone != old.Zone && next.Period != budget.Total {
		was, err := budget.ParseZone("time_zone", old.Zone)
		if err != nil {
			return err
		}
		moved.Running = budget.Window{Start: old.WindowAt(now, was).Start, End: next.Period.WindowAt(now, loc).End}
		if _, err := c.Exec(ctx, `UPDATE aig_account SET "end" = $3 WHERE budget_id = $1 AND start = $2`, next.ID, moved.Running.Start.UnixNano(), moved.Running.End.UnixNano()); err != nil {
			return err
		}
	}
	start, end := running(&moved)
	updated := max(now.UnixNano(), old.UpdateTime.UnixNano()+1)
	if _, err := c.Exec(ctx, `UPDATE aig_budget SET cap = $2, zone = $3, default_max_tokens = $4, default_max_tool_calls = $5, update_time = $6,
		running_start = $7, running_end = $8 WHERE id = $1`,
		next.ID, int64(next.Cap), next.Zone, next.DefaultMaxTokens, next.DefaultMaxToolCalls, updated, start, end); err != nil {
		return err
	}
	if _, err := c.Exec(ctx, `UPDATE aig_account SET cap = $2, recall_until = CASE WHEN allocated > $2 THEN 'infinity'::timestamptz
		WHEN recall_until = 'infinity' THEN '-infinity' ELSE recall_until END WHERE budget_id = $1`, next.ID, int64(next.Cap)); err != nil {
		return err
	}
	return auditBudget(ctx, c, now, by, "update_budget", next)
}

// findBudget locks the budget id if etag is empty or current.
func findBudget(ctx context.Context, c *conn, id, etag string) (*budget.SharedBudget, error) {
	found, err := readBudgets(ctx, c, `WHERE id = $1 AND NOT counting FOR UPDATE`, id)
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, budget.NoBudget(id)
	default:
		return &found[0], found[0].CheckEtag(etag)
	}
}

// UpdateBudget lets change edit a copy of the budget and keeps the result. Only Cap,
// Zone and Defaults may change. A non-empty etag must match, else KindConflict;
// change may be called more than once.
func (s *Store) UpdateBudget(ctx context.Context, id, etag string, change func(*budget.Budget) error, by budget.Author) (version uint64, err error) {
	if err := by.Check(); err != nil {
		return 0, err
	}
	return s.edit(ctx, func(ctx context.Context, c *conn, now time.Time) error {
		old, err := findBudget(ctx, c, id, etag)
		if err != nil {
			return err
		}
		next, loc, err := old.Edited(change)
		if err != nil {
			return err
		}
		return s.replaceBudget(ctx, c, old, next, loc, now, by)
	})
}

// DeleteBudget removes a budget and its leases. A non-empty etag must match.
func (s *Store) DeleteBudget(ctx context.Context, id, etag string, by budget.Author) (version uint64, err error) {
	if err := by.Check(); err != nil {
		return 0, err
	}
	return s.edit(ctx, func(ctx context.Context, c *conn, now time.Time) error {
		old, err := findBudget(ctx, c, id, etag)
		if err != nil {
			return err
		}
		for _, sql := range []string{
			`SELECT 1 FROM aig_account WHERE budget_id = $1 ORDER BY start, scope FOR UPDATE`,
			`DELETE FROM aig_lease WHERE budget_id = $1`, `DELETE FROM aig_account WHERE budget_id = $1`, `DELETE FROM aig_budget WHERE id = $1`,
			`DELETE FROM aig_past_window WHERE budget_id = $1`, `DELETE FROM aig_refused_window WHERE budget_id = $1`,
		} {
			if _, err := c.Exec(ctx, sql, id); err != nil {
				return err
			}
		}
		return auditBudget(ctx, c, now, by, "delete_budget", old.Budget)
	})
}

func auditBudget(ctx context.Context, c *conn, now time.Time, by budget.Author, action string, b budget.Budget) error {
	return audit(ctx, c, now, by, action, b.ID, b.Terms())
}

// enforceEvery spaces looks at replicas that are awaited.
const enforceEvery = 100 * time.Millisecond

// Enforce waits until every live replica has told what the budget's target cost it,
// adds what those who are gone told in their usage, and lets the cap limit. It
// returns a version that has this, which AwaitVersion waits for.
func (s *Store) Enforce(ctx context.Context, id string) (version uint64, err error) {
	err = until(ctx, enforceEvery, func() (bool, error) {
		var waiting int
		err := s.read(ctx, func(ctx context.Context, c *conn) error {
			return c.QueryRow(ctx, `SELECT count(*) FROM aig_holder h WHERE `+live+` AND NOT EXISTS (SELECT 1 FROM aig_lease l WHERE l.budget_id = $2 AND l.scope = '' AND l.holder = h.id)`,
				s.stale().Microseconds(), id).Scan(&waiting)
		})
		return waiting == 0, err
	})
	if err != nil {
		return 0, err
	}
	return s.enforce(ctx, id)
}

// live selects the replicas h that count: $1 is the longest silence in microseconds.
const live = `NOT h.has_left AND NOT h.forgotten AND h.seen > now() - $1 * interval '1 microsecond'`

// until looks again and again, until done or ctx is.
func until(ctx context.Context, every time.Duration, look func() (done bool, err error)) error {
	for {
		done, err := look()
		if err == nil && done {
			return nil
		}
		if err == nil {
			select {
			case <-ctx.Done():
			case <-time.After(every):
			}
		}
		switch {
		case ctx.Err() != nil:
			return budget.Unavailable("store_replicas_silent", "not every gateway has answered yet; an edit is kept, and read it again to see", errors.Join(ctx.Err(), err))
		case err != nil:
			return err
		}
	}
}

// enforce ends the counting of a budget.
func (s *Store) enforce(ctx context.Context, id string) (version uint64, err error) {
	already := errors.New("it does")
	version, err = s.edit(ctx, func(ctx context.Context, c *conn, now time.Time) error {
		found, err := readBudgets(ctx, c, `WHERE id = $1 FOR UPDATE`, id)
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return budget.NoBudget(id)
		case !found[0].Counting:
			return &budget.Error{Err: already}
		}
		b := &found[0]
		loc, err := budget.ParseZone("time_zone", b.Zone)
		if err != nil {
			return err
		}
		w := b.WindowAt(now, loc)
		if err := mustOpen(ctx, c, b, w.Start.UnixNano(), now); err != nil {
			return err
		}
		if _, err := c.Exec(ctx, `SELECT 1 FROM aig_account WHERE budget_id = $1 ORDER BY start, scope FOR UPDATE`, id); err != nil {
			return err
		}
		if err := addPast(ctx, c, b, w); err != nil {
			return err
		}
		_, err = c.Exec(ctx, `UPDATE aig_budget SET counting = false WHERE id = $1`, id)
		return err
	})
	if errors.Is(err, already) { // another replica was first; not all may have heard of it
		err = s.look(ctx, func(ctx context.Context, c *conn) error {
			return c.QueryRow(ctx, `SELECT version FROM aig_state`).Scan(&version)
		})
	}
	return version, err
}

// addPast leases to replicas that told nothing of b what their usage says its target
// has cost in w: they are gone, and what they spent is spent.
func addPast(ctx context.Context, c *conn, b *budget.SharedBudget, w budget.Window) error {
	f := filter{}
	first, last := quarters(w.Start.UnixNano(), endOf(w))
	f.add("u.bucket >= ? AND u.bucket < ?", first, last)
	f.tags(b.Target.Tags)
	if b.Target.KeyID != "" {
		f.add("u.key_id = ?", b.Target.KeyID)
	}
	past := filter{args: slices.Clone(f.args), terms: slices.Clone(f.terms)}
	f.add("u.holder <> ?", adjustments)
	f.add("NOT EXISTS (SELECT 1 FROM aig_lease l WHERE l.budget_id = ? AND l.scope = '' AND l.holder = u.holder)", b.ID)
	n := len(f.args)
	_, err := c.Exec(ctx, fmt.Sprintf(`WITH past AS (SELECT u.holder, least(greatest(sum(u.cost), 0), %d)::bigint AS cost FROM aig_usage u WHERE %s GROUP BY u.holder),
		put AS (INSERT INTO aig_lease (budget_id, start, scope, holder, lease, spent, reserved) SELECT $%d, $%d, '', holder, cost, cost, 0 FROM past)
		UPDATE aig_account SET allocated = allocated + p.sum, spent = spent + p.sum FROM (SELECT coalesce(sum(cost), 0)::bigint AS sum FROM past) p WHERE budget_id = $%[3]d AND start = $%[4]d AND scope = ''`,
		int64(budget.MaxAmount), f.where(), n+1, n+2), append(f.args, b.ID, w.Start.UnixNano())...)
	if err != nil {
		return err
	}
	// What was corrected: a target that was refunded more than it cost has cost nothing.
	past.add("u.holder = ?", adjustments)
	n = len(past.args)
	var corrected, spent budget.Amount
	err = c.QueryRow(ctx, fmt.Sprintf(`SELECT (SELECT `+sumOf("u.cost")+` FROM aig_usage u WHERE %s), spent
		FROM aig_account WHERE budget_id = $%d AND start = $%d AND scope = ''`, past.where(), n+1, n+2), append(past.args, b.ID, w.Start.UnixNano())...).Scan(&corrected, &spent)
	if err != nil || corrected == 0 {
		return err
	}
	return lend(ctx, c, b.ID, w.Start.UnixNano(), max(corrected, -spent))
}

// AwaitVersion returns once every replica obeys the rules of version, or has been
// silent so long that it admits nothing: those are named, and have to acknowledge the
// rules before they exchange again.
func (s *Store) AwaitVersion(ctx context.Context, version uint64) (silent []string, err error) {
	err = until(ctx, enforceEvery, func() (bool, error) {
		var waiting int
		err := s.read(ctx, func(ctx context.Context, c *conn) error {
			return c.QueryRow(ctx, `SELECT count(*) FILTER (WHERE `+live+`), coalesce(array_agg(h.id ORDER BY h.id), '{}')
				FROM aig_holder h WHERE `+lagging, s.stale().Microseconds(), int64(version)).Scan(&waiting, &silent)
		})
		if err == nil && waiting == 0 && len(silent) > 0 {
			waiting, err = s.leaveBehind(ctx, version, len(silent))
		}
		return waiting == 0, err
	})
	if err != nil {
		return nil, err
	}
	return silent, nil
}

// lagging selects the replicas h that do not obey version $2 yet.
const lagging = `NOT h.has_left AND NOT h.forgotten AND h.applied < $2`

// leaveBehind shuts out the n replicas that are silent and lag behind version, and
// returns how many of them have spoken meanwhile.
func (s *Store) leaveBehind(ctx context.Context, version uint64, n int) (spoken int, err error) {
	err = s.write(ctx, func(ctx context.Context, c *conn) error {
		tag, err := c.Exec(ctx, `WITH silent AS (SELECT h.id FROM aig_holder h WHERE `+lagging+` AND NOT (`+live+`) ORDER BY h.id FOR UPDATE)
			UPDATE aig_holder h SET applied = 0 FROM silent WHERE h.id = silent.id`, s.stale().Microseconds(), int64(version))
		spoken = max(0, n-int(tag.RowsAffected()))
		return err
	})
	return spoken, err
}

// Tidy does what nobody waits for: it lets budgets limit whose maker did not live to
// say so, and deletes accounts whose window ended 40 days ago by the store's clock: by
// that of a machine, which may be ahead, it may not have ended. Some replica calls it now
// and then.
func (s *Store) Tidy(ctx context.Context) error {
	var counting []string
	err := s.write(ctx, func(ctx context.Context, c *conn) error {
		rows, err := c.Query(ctx, `SELECT b.id FROM aig_budget b WHERE b.counting AND NOT EXISTS (SELECT 1 FROM aig_holder h WHERE `+live+`
			AND NOT EXISTS (SELECT 1 FROM aig_lease l WHERE l.budget_id = b.id AND l.scope = '' AND l.holder = h.id)) ORDER BY b.id LIMIT 100`, s.stale().Microseconds())
		if err != nil {
			return err
		}
		if counting, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
		now, err := clock(ctx, c)
		if err != nil {
			return err
		}
		_, err = c.Exec(ctx, `WITH old AS (SELECT budget_id, start, scope FROM aig_account WHERE "end" < $1 ORDER BY budget_id, start, scope LIMIT 1000 FOR UPDATE SKIP LOCKED),
			leases AS (DELETE FROM aig_lease l USING old WHERE l.budget_id = old.budget_id AND l.start = old.start AND l.scope = old.scope),
			kept AS (INSERT INTO aig_past_window (budget_id, start, "end", spent) SELECT a.budget_id, a.start, a."end", a.spent FROM aig_account a JOIN old USING (budget_id, start, scope)
				WHERE scope = '' AND EXISTS (SELECT 1 FROM aig_budget b WHERE b.id = a.budget_id) ON CONFLICT DO NOTHING)
			DELETE FROM aig_account a USING old WHERE a.budget_id = old.budget_id AND a.start = old.start AND a.scope = old.scope`, now.AddDate(0, 0, -40).UnixNano())
		if err != nil {
			return err
		}
		if err := s.foldRefused(ctx, c, now); err != nil {
			return err
		}
		return forgetQuestions(ctx, c)
	})
	for _, id := range counting {
		if err == nil {
			_, err = s.enforce(ctx, id)
		}
	}
	if err == nil && s.config.ForgetAfter > 0 {
		err = s.forgetGone(ctx)
	}
	return err
}

// quarters are the quarters of an hour from start to end, in ns, end exclusive.
func quarters(start, end int64) (first, last int64) {
	if end > math.MaxInt64-quarter {
		return start / quarter, math.MaxInt64
	}
	return start / quarter, (end + quarter - 1) / quarter
}

func marshal(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%q", err.Error())
	}
	return string(text)
}
