package ledger_test

import (
	"os"
	"slices"
	"testing"
	"testing/fstest"

	"aigateway/ledger"
)

// TestMigrationNumbers wants the files' numbers to be the schemas they make: a
// file that was added beside another of the same number would otherwise shift
// what later numbers mean, for databases that exist.
func TestMigrationNumbers(t *testing.T) {
	names, err := ledger.MigrationNames(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	// What databases out there have run, in this order. Only append.
	released := []string{
		"migrations/0001_ledger.sql", "migrations/0002_books.sql", "migrations/0003_default_max_tokens.sql",
		"migrations/0004_estimates.sql", "migrations/0005_tags.sql",
	}
	if len(names) < len(released) || !slices.Equal(names[:len(released)], released) {
		t.Errorf("migrations are %q, and released ones %q", names, released)
	}
	for _, files := range [][]string{
		{"0001_a.sql", "0002_b.sql", "0002_c.sql"}, {"0001_a.sql", "0003_b.sql"}, {"0002_a.sql"}, {"1_a.sql"}, {"0001_a.sql", "b.sql"}, {"+001_a.sql"}, {"0001.sql"},
	} {
		dir := fstest.MapFS{}
		for _, name := range files {
			dir["migrations/"+name] = &fstest.MapFile{}
		}
		if got, err := ledger.MigrationNames(dir); err == nil {
			t.Errorf("%q are taken as %q", files, got)
		}
	}
}
