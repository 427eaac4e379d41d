package ledger_test

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestRowsWithoutTags opens a database from before rows had tags, with rows of
// every kind: its history still verifies, and goes on.
func TestRowsWithoutTags(t *testing.T) {
	dir := t.TempDir()
	in, err := os.Open("testdata/before_tags.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, z)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	b := reopen(t, dir, &clock{t: april.Add(time.Hour)})
	b.agree()
	b.settle(settlement(b.reserve("a", 60), 20))
	b.reserve("a", 70)
	b.flush()
	b.agree()
	b.clock.add(36 * 24 * time.Hour)
	b.tick()
	for range 3 {
		if err := b.PruneNow(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.agree()
	}
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM settle WHERE tag IS NULL"); err != nil || n != 0 {
		t.Errorf("%d rows without tags are left (%v)", n, err)
	}
}
