package ledger

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migration is a file NNNN_name.sql: it brings a database of the schema before
// to schema NNNN. It never changes once released.
type migration struct{ name, script string }

// migrations are the files in the order of their numbers, which are 1, 2, 3 and
// so on. A number given twice or left out is an error: the files are known by
// their numbers, so that one which is added elsewhere at the same time cannot
// shift those of databases that exist.
func migrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "migrations/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	list := make([]migration, len(names))
	for i, name := range names {
		if !strings.HasPrefix(path.Base(name), fmt.Sprintf("%04d_", i+1)) {
			return nil, fmt.Errorf("%s stands where migration %04d belongs: each number is given once, and none is left out", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		list[i] = migration{name, string(text)}
	}
	return list, nil
}

// schemaVersion is the newest schema.
func schemaVersion() (int, error) {
	list, err := migrations(migrationFiles)
	return len(list), err
}

// migrate runs the migrations above user_version, each in its own transaction.
func migrate(ctx context.Context, conn *sql.Conn) error {
	list, err := migrations(migrationFiles)
	if err != nil {
		return err
	}
	var app, version int
	if err := conn.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return err
	}
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if app != applicationID && (app != 0 || version != 0) {
		return fmt.Errorf("%s belongs to another program (application_id %#x); choose another data directory", databaseFile, app)
	}
	if version > len(list) {
		return fmt.Errorf("%s has schema %d, this program knows %d; run the newer aigateway", databaseFile, version, len(list))
	}
	for i := version; i < len(list); i++ {
		script := fmt.Sprintf("BEGIN IMMEDIATE;\n%s\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;\nCOMMIT;", list[i].script, applicationID, i+1)
		if _, err := conn.ExecContext(ctx, script); err != nil {
			return fmt.Errorf("%s: %w", list[i].name, err)
		}
	}
	return nil
}
