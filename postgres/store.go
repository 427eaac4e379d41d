package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"aigateway/budget"
)

// Config says where a store is.
type Config struct {
	// URL of the database, as libpq reads it. Tables are made in the schema that is
	// the first of its search_path.
	URL string
	// Durability is what the operator says keeps an acknowledged commit.
	Durability Durability
	// MaxStale is how long a replica may be silent before edits are answered without
	// it: it admits nothing by then. 0: 30 s.
	MaxStale time.Duration
	// Retention is how long counts of refused calls are kept, as replicas keep their
	// own; later only their sums by window. 0: 35 days.
	Retention time.Duration
	// UsageMonths is for how many months usage is kept by the quarter of an hour; what is
	// older FoldUsage keeps by the day, in UTC and in Zone. 0: 13.
	UsageMonths int
	// Zone is that of the gateway; nil: UTC.
	Zone *time.Location
	// ForgetAfter is the silence after which Tidy forgets a replica, as Forget does
	// that charges. 0: never.
	ForgetAfter time.Duration
}

// Store is what several gateways share. Its methods may be called concurrently.
type Store struct {
	config Config
	// servers are those of the address, in its order.
	servers []*pgx.ConnConfig
	// reports serves those of usage, others the rest but exchanges: neither an exchange nor
	// what makes a gateway obey an edit waits behind a report.
	reports, others *pool

	failovers, lost atomic.Int64

	following sync.Mutex // guards followed
	followed  edited     // what Rules returned last

	watching sync.Mutex // guards watch
	watch    watch
}

const (
	// patience is how long a transaction waits for a lock, and may stand still
	// because its client does: nobody else waits longer for it.
	patience = 5 * time.Second
	// connections are those of Store.others, reporting those of Store.reports.
	connections = 3
	reporting   = 2
)

// Open connects to the store, makes or upgrades its tables, and refuses a database
// that would lose what it acknowledged (see Check).
func Open(ctx context.Context, c Config) (*Store, error) {
	s, err := New(c)
	if err != nil {
		return nil, err
	}
	if err := s.Migrate(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Away reports whether err, of a store, may go by itself: that it cannot be reached,
// starts, fails over, or would lose commits right now. False is of what a person has to
// change: a password, a database's name, a missing right, a version, a replica's id.
func Away(err error) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		switch answer.Code[:min(2, len(answer.Code))] {
		case "28", "3D", "42":
			return false
		}
		return true
	}
	return err != nil && !clean(err)
}

// New is Open without a connection: Migrate has to succeed before anything else does.
func New(c Config) (*Store, error) {
	url, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, fmt.Errorf("read the address of the database: %w", err) // without the password
	}
	if c.MaxStale == 0 {
		c.MaxStale = 30 * time.Second
	}
	if c.Retention == 0 {
		c.Retention = 35 * 24 * time.Hour
	}
	if c.UsageMonths == 0 {
		c.UsageMonths = 13
	}
	if c.Zone == nil {
		c.Zone = time.UTC
	}
	url.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe // prepares nothing in a session, which a pooler may share
	if url.ConnectTimeout == 0 {
		url.ConnectTimeout = connectTimeout
	}
	if url.ValidateConnect == nil {
		url.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	s := &Store{config: c, servers: servers(url)}
	s.others, s.reports = s.newPool(connections), s.newPool(reporting)
	return s, nil
}

// Close ends the connections that nobody uses.
func (s *Store) Close() { s.others.close(); s.reports.close() }

// LostCommits is how many leases and replicas this process found to be less in the
// store than it had acknowledged. Nothing is granted then until all have told theirs.
func (s *Store) LostCommits() int64 { return s.lost.Load() }

// Failovers is how often this process was the first to notice that another server
// serves the database, or that it lost commits.
func (s *Store) Failovers() int64 { return s.failovers.Load() }

// watchdog is how long a transaction may take before it is given up, unknown: it may
// wait for a standby, and no timeout of the server ends that.
func (s *Store) watchdog() time.Duration { return s.config.MaxStale / 3 }

// with runs f on a connection of p, and keeps the connection only if f had no error. It
// waits for one as long as limit, and f's ctx lasts as long again.
func (s *Store) with(ctx context.Context, limit time.Duration, p *pool, f func(context.Context, *conn) error) error {
	waiting, enough := context.WithTimeout(ctx, limit)
	defer enough()
	c, err := p.take(waiting)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err = f(ctx, c); err != nil && !clean(err) {
		p.lose(c)
		return err
	}
	p.put(c)
	return err
}

// clean reports whether err left the connection as it was: the transaction has
// ended, and the server said how.
func clean(err error) bool {
	var ended *ended
	return errors.As(err, &ended)
}

// ended is the error of a transaction that certainly changed nothing.
type ended struct{ err error }

func (e *ended) Error() string { return e.err.Error() }
func (e *ended) Unwrap() error { return e.err }

var (
	begin = fmt.Sprintf("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %[1]d",
		patience.Milliseconds())
	beginRead = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
)

// errUnknown is the outcome of a commit of which the server did not clearly say that
// it is kept: it may be there, on this server alone, or not at all.
var errUnknown = errors.New("the database did not say whether it kept the change")

// transact runs f in a transaction. An error of f ends it without a trace.
func (s *Store) transact(ctx context.Context, p *pool, begin string, f func(context.Context, *conn) error) error {
	return s.transactWithin(ctx, s.watchdog(), p, begin, f)
}

func (s *Store) transactWithin(ctx context.Context, limit time.Duration, p *pool, begin string, f func(context.Context, *conn) error) error {
	for begun := time.Now(); ; {
		died := false // unnoticed, since the last transaction
		err := s.with(ctx, limit, p, func(ctx context.Context, c *conn) error {
			c.notices.Store(0)
			if _, err := c.PgConn().Exec(ctx, begin).ReadAll(); err != nil {
				died = c.used
				return err
			}
			c.used = true
			if err := f(ctx, c); err != nil {
				if _, undo := c.PgConn().Exec(ctx, "ROLLBACK").ReadAll(); undo != nil {
					return err
				}
				return &ended{err}
			}
			return c.commit(ctx)
		})
		if !died || ctx.Err() != nil || time.Since(begun) > limit {
			return err
		}
	}
}

func (c *conn) commit(ctx context.Context) error {
	results, err := c.PgConn().Exec(ctx, "COMMIT").ReadAll()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errUnknown, err)
	case c.notices.Load() > 0 || len(results) != 1 || results[0].CommandTag.String() != "COMMIT":
		return errUnknown
	}
	return nil
}

// write is a transaction of an edit, and read one that sees a single state. Their
// errors are fit for users.
func (s *Store) write(ctx context.Context, f func(context.Context, *conn) error) error {
	return shown(s.transact(ctx, s.others, begin, f))
}

func (s *Store) read(ctx context.Context, f func(context.Context, *conn) error) error {
	return s.readWithin(ctx, s.watchdog(), s.others, f)
}

// report is read for what may take slowWithin.
func (s *Store) report(ctx context.Context, f func(context.Context, *conn) error) error {
	return s.readWithin(ctx, slowWithin, s.reports, f)
}

func (s *Store) readWithin(ctx context.Context, limit time.Duration, p *pool, f func(context.Context, *conn) error) error {
	err := s.transactWithin(ctx, limit, p, beginRead, f)
	if errors.Is(err, errUnknown) {
		err = errors.New(err.Error()) // nothing was to be kept
	}
	return shown(err)
}

// look is a single query, made again where its connection had died meanwhile.
func (s *Store) look(ctx context.Context, f func(context.Context, *conn) error) error {
	for begun := time.Now(); ; {
		again := false
		err := s.with(ctx, s.watchdog(), s.others, func(ctx context.Context, c *conn) error {
			err := f(ctx, c)
			again, c.used = err != nil && c.used, true
			return err
		})
		if !again || ctx.Err() != nil || time.Since(begun) > s.watchdog() {
			return shown(err)
		}
	}
}

// shown is err as a user may see it.
func shown(err error) error {
	var known *budget.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, budget.ErrFenced) || errors.Is(err, budget.ErrRulesBehind) || errors.Is(err, budget.ErrUsageFolded):
		return err
	case errors.Is(err, errUnknown):
		return budget.Unavailable("store_outcome_unknown", "the database that the gateways share did not say whether it kept the change; look whether it is there before you retry", err)
	default:
		return budget.Unavailable("store_unreachable", "the database that the gateways share does not answer; retry in a moment", err)
	}
}
