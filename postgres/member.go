package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"aigateway/budget"
)

// Member is one replica of the store, for as long as its process lives. Its methods
// may be called concurrently; exchanges are served one at a time.
type Member struct {
	s      *Store
	id     string
	epoch  int64
	joined time.Time

	mu sync.Mutex // held through an exchange
	// own serves exchanges alone.
	own *pool
	// seq is of the last exchange, answered of the last one that was answered.
	seq, answered int64
	// told is what was last asked of each account, with what the store has acknowledged
	// since and was not given back: after a failover that lost commits it is told again.
	told   map[budget.AccountName]told
	pruned time.Time // by the store's clock

	pushing sync.Mutex
	pushes  int64
}

// Join makes the replica known and takes its place: a process that had its id
// before is refused from now on, as a replica is that was forgotten (ErrFenced).
func (s *Store) Join(ctx context.Context, r budget.Replica) (*Member, error) {
	if r.ID == "" || len(r.ID) > 128 {
		return nil, errors.New("a replica's id must have 1 to 128 bytes")
	}
	m := &Member{s: s, id: r.ID, own: s.newPool(1), told: map[budget.AccountName]told{}}
	err := s.write(ctx, func(ctx context.Context, c *conn) error {
		err := c.QueryRow(ctx, `INSERT INTO aig_holder (id, name, program, config_hash, epoch, folds, seq, seen, applied, asserted)
			SELECT $1, $2, $3, $4, 1, 1, 0, now(), 0, generation FROM aig_state
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, program = excluded.program, config_hash = excluded.config_hash,
				epoch = aig_holder.epoch + 1, folds = aig_holder.epoch + 1, seq = 0, seen = excluded.seen, applied = 0, has_left = false
			WHERE NOT aig_holder.forgotten RETURNING epoch, clock_timestamp()`, r.ID, r.Name, r.Program, r.ConfigHash).Scan(&m.epoch, &m.joined)
		if errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("replica %s was forgotten; give it an empty data directory: %w", r.ID, budget.ErrFenced)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Joined is when m joined, by the store's clock.
func (m *Member) Joined() time.Time { return m.joined }

// Close ends m's connection. It tells the store nothing: see Leave.
func (m *Member) Close() { m.own.close() }

// Acknowledge tells that the replica obeys the rules of version from now on.
func (m *Member) Acknowledge(ctx context.Context, version uint64) error {
	return m.update(ctx, `UPDATE aig_holder SET applied = $3 WHERE id = $1 AND epoch = $2 AND NOT forgotten`, int64(version))
}

// Leave says that the replica has stopped and returned what it could: nobody waits
// for it, and its numbers are final.
func (m *Member) Leave(ctx context.Context) error {
	return m.update(ctx, `UPDATE aig_holder SET has_left = true, applied = 0 WHERE id = $1 AND epoch = $2 AND NOT forgotten`)
}

// update edits m's row in sql, in which $1 and $2 are m's id and epoch.
func (m *Member) update(ctx context.Context, sql string, args ...any) error {
	batch := &pgx.Batch{}
	batch.Queue(sql, append([]any{m.id, m.epoch}, args...)...)
	return m.send(ctx, batch)
}

// send is a transaction in one message, as once is: exchanges lock the row of m, too, and
// must not wait until a network has carried every statement of another transaction. It may
// happen twice. The last statement has to change m's row.
func (m *Member) send(ctx context.Context, statements *pgx.Batch) error {
	batch := &pgx.Batch{}
	batch.Queue("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
	batch.Queue(fmt.Sprintf("SET LOCAL lock_timeout = %d", patience.Milliseconds()))
	for _, q := range statements.QueuedQueries {
		batch.Queue(q.SQL, q.Arguments...)
	}
	batch.Queue("COMMIT")
	found := false
	err := m.s.look(ctx, func(ctx context.Context, c *conn) error {
		c.notices.Store(0)
		results := c.SendBatch(ctx, batch)
		var before, tag pgconn.CommandTag
		var err error
		for range batch.QueuedQueries {
			before = tag
			if tag, err = results.Exec(); err != nil {
				break
			}
		}
		if closed := results.Close(); err == nil {
			err = closed
		}
		if err == nil && (tag.String() != "COMMIT" || c.notices.Load() > 0) {
			err = errUnknown
		}
		found = before.RowsAffected() == 1
		return err
	})
	if err != nil || found {
		return err
	}
	var why error
	err = m.s.look(ctx, func(ctx context.Context, c *conn) error { why = m.missing(ctx, c); return nil })
	return cmp.Or(err, shown(why))
}

// missing is why the store has no row of m's epoch.
func (m *Member) missing(ctx context.Context, c *conn) error {
	var epoch int64
	var forgotten bool
	err := c.QueryRow(ctx, `SELECT epoch, forgotten FROM aig_holder WHERE id = $1`, m.id).Scan(&epoch, &forgotten)
	switch {
	case err == nil && (epoch > m.epoch || forgotten):
		return budget.ErrFenced
	case err == nil && epoch == m.epoch:
		return budget.ErrRulesBehind
	case err == nil || errors.Is(err, pgx.ErrNoRows):
		return errLost
	default:
		return err
	}
}

// errLost is that the store does not know what it had acknowledged.
var errLost = errors.New("the database has lost what it acknowledged")

// chunk is how many accounts one transaction exchanges: what it answers fits the
// buffers of a connection, so that a client that stands still holds no lock.
const chunk = 500

// Exchange tells the store what m has of accounts and what it wants, and returns
// what it may have: see budget.Ask. An account that the store does not know, such as
// one whose window its clock has not begun, has no grant; one that was not asked
// about has a grant where what is unused there is wanted elsewhere. What an error
// left undone is known by the next exchange. clock is what the store's clock showed
// meanwhile.
func (m *Member) Exchange(ctx context.Context, asks []budget.Ask) (grants []budget.Grant, clock time.Time, err error) {
	if err := checkAsks(asks); err != nil {
		return nil, clock, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := &reply{}
	for first := true; first || len(asks) > 0; first = false {
		n := min(len(asks), chunk)
		if err := m.exchangeSome(ctx, asks[:n], all); err != nil {
			return nil, clock, shown(err)
		}
		asks = asks[n:]
	}
	if err := m.settle(ctx, all); err != nil {
		return nil, clock, shown(err)
	}
	m.prune(all.clock)
	return all.grants, all.clock, nil
}

func checkAsks(asks []budget.Ask) error {
	for i := range asks {
		a := &asks[i]
		for _, n := range [...]budget.Amount{a.Has, a.Lease, a.Least, a.Spent, a.Reserved, a.Spent + a.Reserved} {
			if n < 0 || n > budget.MaxAmount {
				return fmt.Errorf("ask of budget %s is out of range: %+v", a.BudgetID, *a)
			}
		}
	}
	return nil
}

// exchangeSome exchanges up to chunk asks and adds what is answered to all.
func (m *Member) exchangeSome(ctx context.Context, asks []budget.Ask, all *reply) error {
	r, err := m.try(ctx, asks)
	if err != nil {
		return err
	}
	all.add(r)
	missing := r.missing(asks)
	if len(missing) == 0 {
		return nil
	}
	opened, err := m.s.openAccounts(ctx, m.own, missing)
	if err != nil {
		return err
	}
	if opened {
		if r, err = m.try(ctx, missing); err != nil {
			return err
		}
		all.add(r)
		missing = r.missing(missing)
	}
	for _, a := range missing {
		delete(m.told, a.AccountName)
	}
	return nil
}

// settle does what a reply says has to be done after commits may have been lost.
func (m *Member) settle(ctx context.Context, r *reply) error {
	switch {
	case r.asserted == 0:
		return m.s.freezeAll(ctx, m.own, 0, m.id)
	case r.lost > 0 && r.asserted == r.generation, r.timeline != r.server:
		return m.s.freeze(ctx, m.own, r.generation)
	case r.asserted < r.generation:
		return m.assert(ctx, r.generation)
	default:
		return nil
	}
}

// try is one exchange, and another one where the connection had died meanwhile.
func (m *Member) try(ctx context.Context, asks []budget.Ask) (*reply, error) {
	begun := time.Now()
	for again := false; ; again = true {
		r, err := m.once(ctx, asks)
		switch {
		case err == nil:
			m.note(asks, r)
			return r, nil
		case errors.Is(err, errLost):
			if err := m.rejoin(ctx); err != nil {
				return nil, err
			}
		case clean(err) || time.Since(begun) > time.Second:
			return nil, err
		}
		if again {
			return nil, err
		}
	}
}

// told is what a member knows of an account.
type told struct {
	budget.Ask
	end int64 // of its window
}

// note keeps what the store has acknowledged.
func (m *Member) note(asks []budget.Ask, r *reply) {
	m.s.lost.Add(r.lost)
	at := make(map[budget.AccountName]*budget.Ask, len(asks))
	for i := range asks {
		at[asks[i].AccountName] = &asks[i]
	}
	for i, g := range r.grants {
		t := m.told[g.AccountName]
		if asked := at[g.AccountName]; asked != nil {
			t.Ask = *asked
		}
		t.AccountName, t.Has, t.end = g.AccountName, g.Lease, r.ends[i]
		m.told[g.AccountName] = t
	}
}

// prune forgets accounts whose window ended two days before now, of the store.
func (m *Member) prune(now time.Time) {
	if now.Sub(m.pruned) < time.Hour {
		return
	}
	m.pruned = now
	for n, t := range m.told {
		if t.end < now.AddDate(0, 0, -2).UnixNano() {
			delete(m.told, n)
		}
	}
}

// rejoin makes m's row again, which the store has lost: it lives, and has not told its
// leases.
func (m *Member) rejoin(ctx context.Context) error {
	err := m.s.transact(ctx, m.own, begin, func(ctx context.Context, c *conn) error {
		_, err := c.Exec(ctx, `INSERT INTO aig_holder (id, name, program, config_hash, epoch, folds, seq, seen, applied, asserted)
			VALUES ($1, '', '', '', $2, $2, $3, now(), 0, 0)
			ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch, folds = excluded.folds, seq = excluded.seq, seen = excluded.seen, applied = 0, asserted = 0, has_left = false
			WHERE aig_holder.epoch < excluded.epoch AND NOT aig_holder.forgotten`, m.id, m.epoch, m.seq)
		return err
	})
	if err != nil {
		return err
	}
	return m.s.freezeAll(ctx, m.own, 0, m.id)
}

// assert tells the store all leases again after it may have lost some.
func (m *Member) assert(ctx context.Context, generation int64) error {
	all := make([]budget.Ask, 0, len(m.told))
	for _, t := range m.told {
		t.Lease, t.Least = t.Has, 0
		all = append(all, t.Ask)
	}
	for len(all) > 0 {
		n := min(len(all), chunk)
		if err := m.exchangeSome(ctx, all[:n], &reply{}); err != nil {
			return err
		}
		all = all[n:]
	}
	return m.s.transact(ctx, m.own, begin, func(ctx context.Context, c *conn) error {
		_, err := c.Exec(ctx, `UPDATE aig_holder SET asserted = $3 WHERE id = $1 AND epoch = $2 AND asserted < $3`, m.id, m.epoch, generation)
		return err
	})
}

// freeze stops raises until all who live have told their leases again: in the
// generation that follows the given one. Rules may be lost too: everybody takes them
// anew, at a version that nobody can have seen.
func (s *Store) freeze(ctx context.Context, p *pool, generation int64) error {
	var froze bool
	err := s.transact(ctx, p, begin, func(ctx context.Context, c *conn) error {
		tag, err := c.Exec(ctx, `UPDATE aig_state `+freezes+` WHERE generation = $2`, 0, generation)
		froze = tag.RowsAffected() > 0
		return err
	})
	if err == nil && froze {
		s.failovers.Add(1)
	}
	return err
}

// freezeAll is freeze of a store that is of before, as one that was put back from a
// backup: until all who did not leave have told their leases, or were not heard of for
// MaxStale from now on, however long ago that store heard of them. known is a version of
// the rules that it may have lost, id the replica that has noticed, or empty.
func (s *Store) freezeAll(ctx context.Context, p *pool, known uint64, id string) error {
	err := s.transact(ctx, p, begin, func(ctx context.Context, c *conn) error {
		if _, err := c.Exec(ctx, `UPDATE aig_state `+freezes, int64(known)); err != nil {
			return err
		}
		_, err := c.Exec(ctx, `UPDATE aig_holder SET seen = greatest(seen, now()), asserted = CASE WHEN id = $1 THEN greatest(asserted, 1) ELSE asserted END
			WHERE id = ANY(ARRAY(SELECT id FROM aig_holder WHERE NOT has_left AND NOT forgotten ORDER BY id FOR UPDATE))`, id)
		return err
	})
	if err == nil {
		s.lost.Add(1)
		s.failovers.Add(1)
	}
	return err
}

// freezes is what freeze makes of aig_state; $1 is a version that somebody obeys, or 0.
const freezes = `SET generation = generation + 1, timeline = ` + timeline + `,
	version = (greatest(version, $1, (SELECT max(applied) FROM aig_holder)) / 1048576 + 1) * 1048576`

// timeline is the history of the server that is asked: it changes at a promotion.
// The control file tells it later.
const timeline = `substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`

// stale is the silence after which nobody waits for a replica, by the store's clock,
// which may go a tenth faster.
func (s *Store) stale() time.Duration { return s.config.MaxStale + s.config.MaxStale/10 }
