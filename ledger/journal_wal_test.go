package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"aigateway/budget"
)

// TestJournalStaysBounded checks, verifies and copies a ledger of a
// running gateway again and again while it writes many times what its journal may
// take: 16 MiB, and what comes while a reader is in a slice.
func TestJournalStaysBounded(t *testing.T) {
	b := start(t)
	for i := range 10 {
		b.calls(budget.Tag(fmt.Sprint("old/", i)), 1000)
	}
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	rounds := 0
	i, file := inspect(t, b.dir), filepath.Join(t.TempDir(), "copy.db")
	readers.Go(func() {
		for ctx.Err() == nil {
			for _, read := range []func() error{
				func() error { _, err := b.Check(ctx); return err },
				func() error { _, err := i.Check(ctx); return err },
				func() error { _, err := i.Verify(ctx); return err },
				func() error { return errors.Join(i.Backup(ctx, file), os.Remove(file)) },
			} {
				if err := read(); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
			}
			rounds++
		}
	})
	wal := filepath.Join(b.dir, "ledger.db-wal")
	most := int64(0)
	for n := range 60 { // with some 200 pages each
		for j := range 200 {
			b.settle(settlement(b.reserve(budget.Tag(fmt.Sprintf("t/%d", (n*7919+j*104_729)%50_000)), 5), 3))
		}
		b.flush()
		info, err := os.Stat(wal)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, info.Size())
	}
	stop()
	readers.Wait()
	t.Logf("%d MiB at most; %d rounds of the readers", most>>20, rounds)
	if most > 32<<20 {
		t.Errorf("the journal came to %d MiB", most>>20)
	}
}
