package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"aigateway/budget"
)

// Inspector reads a ledger's database without its lock: beside the process that
// serves it, or while nobody does. It never writes.
type Inspector struct {
	db      *sql.DB
	path    string
	between func() // tests look between two slices
}

// Exists reports whether dir has a ledger.
func Exists(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, databaseFile))
	return err == nil
}

// Inspect opens the database of dir for reading. Close releases it.
func Inspect(ctx context.Context, dir string) (*Inspector, error) {
	return inspectFile(ctx, filepath.Join(dir, databaseFile))
}

func inspectFile(ctx context.Context, file string) (*Inspector, error) {
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("find database: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("find database: %w", err)
	}
	db, err := sql.Open("sqlite", dsn(path, url.Values{"mode": {"ro"}},
		"busy_timeout(5000)", "temp_store(MEMORY)", "mmap_size(0)", "trusted_schema(OFF)", "cache_size(-16384)"))
	if err != nil {
		return nil, fmt.Errorf("open database for reading: %w", err)
	}
	i := &Inspector{db: db, path: path, between: func() {}}
	if err := i.checkSchema(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return i, nil
}

func (i *Inspector) checkSchema(ctx context.Context) error {
	var app, version int
	if err := i.db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return fmt.Errorf("read %s: %w", i.path, err)
	}
	if err := i.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read %s: %w", i.path, err)
	}
	newest, err := schemaVersion()
	switch {
	case err != nil:
		return err
	case app != applicationID:
		return fmt.Errorf("%s is no ledger of aigateway", i.path)
	case version > newest:
		return fmt.Errorf("%s has schema %d, this program knows %d; run the newer aigateway", i.path, version, newest)
	case version < newest:
		return fmt.Errorf("%s has schema %d, this program writes %d; start the gateway once to bring it up to date", i.path, version, newest)
	}
	return nil
}

// Close releases the database.
func (i *Inspector) Close() error { return i.db.Close() }

// snapshot runs f on one state of the database, whatever is written meanwhile.
func (i *Inspector) snapshot(ctx context.Context, f func(q querier) error) error {
	tx, err := i.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("begin reading: %w", err)
	}
	return errors.Join(f(tx), tx.Rollback())
}

// SpoolPosition is how far the access-log file has durably been read.
func (i *Inspector) SpoolPosition(ctx context.Context) (budget.SpoolPosition, error) {
	var p budget.SpoolPosition
	err := i.db.QueryRowContext(ctx, `SELECT file, offset FROM spool`).Scan(&p.File, &p.Offset)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return p, fmt.Errorf("read the log's position: %w", err)
	}
	return p, nil
}
