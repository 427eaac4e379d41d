package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // driver "sqlite"

	"aigateway/budget"
)

const (
	databaseFile  = "ledger.db"
	applicationID = 0x61696777 // "aigw"
	// SQLite 3.7.0 to 3.51.2 can lose commits in WAL mode with two connections.
	minSQLite = 3_051_003
)

// store is the SQLite database: one connection that writes, used by the sync
// goroutine alone, and a pool that only reads.
type store struct {
	db    *sql.DB
	write *sql.Conn
	read  *sql.DB
	stmts queries

	// Of the sync goroutine.
	chain chain
	page  linkPage
	seal  seal
	zone  *time.Location // of the months of sealed usage
	// shared: rows of usage note their changes, for UsageSince.
	shared bool
	folds  budget.UsageFolds
	// foldAt is a bucket: folded usage before it is in its place.
	foldAt int64
	step   func(int)    // may be nil
	prunes atomic.Int64 // how often rows were deleted
	reads  *os.File     // whoever reads for long keeps it locked: nothing is deleted then
	// witness notes outside the database how many commits it has; may be nil.
	witness func(commits uint64) error
}

// dsn builds a data source name; pragmas run on every new connection.
func dsn(path string, query url.Values, pragmas ...string) string {
	query["_pragma"] = pragmas
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}).String()
}

// openStore opens or creates the database in dir and brings it to the newest
// schema. FULL makes a commit survive power loss: with NORMAL the last ones
// may vanish, and with them the high-water marks that admission relied on.
func openStore(ctx context.Context, dir string, wall int64) (*store, error) {
	path, err := filepath.Abs(filepath.Join(dir, databaseFile))
	if err != nil {
		return nil, fmt.Errorf("find database: %w", err)
	}
	if err := checkSpace(dir); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // it holds the token key
	if err != nil {
		return nil, fmt.Errorf("create database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("create database: %w", err)
	}
	common := []string{"busy_timeout(5000)", "temp_store(MEMORY)", "mmap_size(0)", "trusted_schema(OFF)"}
	writer := append([]string{
		"journal_mode(WAL)", "synchronous(FULL)", "fullfsync(1)", "checkpoint_fullfsync(1)",
		"cache_size(-65536)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)",
	}, common...)
	s := &store{}
	if s.reads, err = openReads(dir); err != nil {
		return nil, err
	}
	if s.db, err = sql.Open("sqlite", dsn(path, url.Values{}, writer...)); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), s.reads.Close())
	}
	s.db.SetMaxOpenConns(1)
	if err := s.prepare(ctx, path, wall, append(common, "query_only(1)", "cache_size(-16384)")); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *store) prepare(ctx context.Context, path string, wall int64, reader []string) error {
	var err error
	if s.write, err = s.db.Conn(ctx); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if err := s.checkVersion(ctx); err != nil {
		return err
	}
	if err := migrate(ctx, s.write); err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	if s.read, err = sql.Open("sqlite", dsn(path, url.Values{"mode": {"ro"}}, reader...)); err != nil {
		return fmt.Errorf("open database for reading: %w", err)
	}
	s.read.SetMaxOpenConns(4)
	if s.stmts, err = prepareQueries(ctx, s.write); err != nil {
		return err
	}
	if err := s.loadChain(ctx); err != nil {
		return err
	}
	return s.rebase(ctx, wall)
}

func (s *store) checkVersion(ctx context.Context) error {
	var version string
	if err := s.write.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return fmt.Errorf("read SQLite version: %w", err)
	}
	if n, ok := versionNumber(version); !ok || n < minSQLite {
		return fmt.Errorf("SQLite %s can lose commits in WAL mode; build with 3.51.3 or newer", version)
	}
	return nil
}

// versionNumber is "3.51.3" as 3051003.
func versionNumber(s string) (int, bool) {
	n := 0
	parts := strings.Split(s, ".")
	for i := range 3 {
		v := 0
		if i < len(parts) {
			var err error
			if v, err = strconv.Atoi(parts[i]); err != nil {
				return 0, false
			}
		}
		n = n*1000 + v
	}
	return n, true
}

// close releases the connections. Closing the last one checkpoints the WAL.
func (s *store) close() error {
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.stmts.close(), s.write.Close())
	}
	errs = append(errs, s.db.Close(), s.reads.Close())
	return errors.Join(errs...)
}

// transaction runs f in a transaction of the write connection. An error
// leaves the outcome unknown: a failed commit may still have reached the disk.
func (s *store) transaction(ctx context.Context, f func() error) error {
	if _, err := s.write.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	s.at(stepBegun)
	if err := f(); err != nil {
		_, undo := s.write.ExecContext(ctx, "ROLLBACK")
		return errors.Join(err, undo)
	}
	s.at(stepWritten)
	if _, err := s.write.ExecContext(ctx, "COMMIT"); err != nil {
		return fmt.Errorf("commit transaction: %w", err)
	}
	s.at(stepCommitted)
	return nil
}

// The numbered steps of a sync, where tests end the process.
const (
	stepTaken     = iota + 1 // the batch is taken and planned
	stepBegun                // the transaction has begun
	stepWritten              // its rows are written, not committed
	stepCommitted            // it is durable, memory does not know
	stepApplied              // memory knows
)

func (s *store) at(step int) {
	if s.step != nil {
		s.step(step)
	}
}
