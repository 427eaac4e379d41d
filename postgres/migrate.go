package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrationLock is any number that all versions agree on.
const migrationLock = 0x61696777

// readable is the oldest migration whose programs can work with the tables as this
// program leaves them: gateways of two versions share a store while one is rolled
// out. A migration only adds; what it makes useless goes when no program that needs
// it is readable any more.
const readable = 1

// slowWithin is how long an upgrade, an import or a report may take, of large tables on
// a slow disk: nobody waits behind them.
const slowWithin = 10 * time.Minute

// tableWithin is how long an upgrade waits for one table, which every exchange of the
// gateways that run waits behind it for. Who copies the database keeps tables from it
// for hours.
const tableWithin = time.Second

// Migrate makes or upgrades the tables, one replica at a time. An error that is Away also
// says that a transaction, such as that of pg_dump, keeps a table from being upgraded.
// One that is not Away may be that of a pooler that will not do (see Check).
func (s *Store) Migrate(ctx context.Context) error {
	files, err := migrations.ReadDir("migrations")
	if err != nil {
		return err
	}
	if err := s.refuseSharedPool(ctx); err != nil {
		return err
	}
	return s.transactWithin(ctx, slowWithin, s.others, begin, func(ctx context.Context, c *conn) error {
		// Whoever comes second waits for the first one's tables, however long they take.
		if _, err := c.Exec(ctx, "SELECT set_config('lock_timeout', '10min', true), pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return err
		}
		var exists bool
		if err := c.QueryRow(ctx, "SELECT to_regclass('aig_schema') IS NOT NULL").Scan(&exists); err != nil {
			return err
		}
		if !exists {
			if _, err := c.Exec(ctx, "CREATE TABLE aig_schema (one boolean PRIMARY KEY CHECK (one), version bigint NOT NULL, readable bigint NOT NULL)"); err != nil {
				return err
			}
			if _, err := c.Exec(ctx, "INSERT INTO aig_schema VALUES (true, 0, 0)"); err != nil {
				return err
			}
		}
		var have, oldest int
		if err := c.QueryRow(ctx, "SELECT version, readable FROM aig_schema").Scan(&have, &oldest); err != nil {
			return err
		}
		if oldest > len(files) {
			return fmt.Errorf("the store was upgraded to version %d, which needs a program of version %d; this one has %d: upgrade it", have, oldest, len(files))
		}
		if have >= len(files) {
			return nil
		}
		if _, err := c.Exec(ctx, "SELECT set_config('lock_timeout', $1, true)", fmt.Sprint(tableWithin.Milliseconds())); err != nil {
			return err
		}
		for _, f := range files[have:] {
			text, err := migrations.ReadFile(path.Join("migrations", f.Name()))
			if err != nil {
				return err
			}
			_, err = c.PgConn().Exec(ctx, string(text)).ReadAll()
			var answer *pgconn.PgError
			if errors.As(err, &answer) && answer.Code == "55P03" { // lock_not_available
				return fmt.Errorf("another transaction, such as that of a backup, uses a table that is to be upgraded, which waits for its end: %w", err)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", strings.TrimSuffix(f.Name(), ".sql"), err)
			}
		}
		_, err := c.Exec(ctx, "UPDATE aig_schema SET version = $1, readable = $2", len(files), readable)
		return err
	})
}

func (s *Store) refuseSharedPool(ctx context.Context) error {
	return s.with(ctx, slowWithin, s.others, func(ctx context.Context, c *conn) error {
		if c.pooler == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 2*c.pooler.ConnectTimeout)
		defer cancel()
		shared, err := shares(ctx, c.Conn, c.pooler)
		if err == nil && shared {
			err = &ended{errors.New(sharedPool)}
		}
		return err
	})
}
