package ledger

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/budget"
)

// simSQLite is the real database beside the simulated one, with the real
// recovery. The sync goroutine does not run: the simulation takes its place.
type simSQLite struct {
	t   *testing.T
	dir string
	now func() time.Time
	l   *Ledger
}

func newSimSQLite(t *testing.T, w *simWorld) *simSQLite {
	return &simSQLite{t: t, dir: t.TempDir(), now: func() time.Time { return time.Unix(0, w.wall) }}
}

func (s *simSQLite) commit(b *batch) {
	if err := s.l.store.commit(context.Background(), b); err != nil {
		s.t.Fatalf("commit: %v", err)
	}
}

// recover opens the database and compares what it recovers with w's core,
// which the database's then replaces.
func (s *simSQLite) recover(w *simWorld) {
	l := &Ledger{config: Config{Dir: s.dir, Now: s.now, HoldTimeout: time.Duration(simTimeout)}}
	l.config.setDefaults()
	l.base = l.config.Now()
	var err error
	if l.lock, err = takeLock(s.dir); err != nil {
		s.t.Fatal(err)
	}
	// What else recover returns is about files that the simulation leaves out.
	results := reflect.ValueOf(l.recover).Call([]reflect.Value{reflect.ValueOf(context.Background())})
	if err, _ := results[len(results)-1].Interface().(error); err != nil {
		s.t.Fatalf("seed %d: recover: %v", w.seed, err)
	}
	s.l = l
	if d := cmp.Diff(dump(w.c), dump(l.core)); d != "" {
		w.broken("SQLite recovers something else (-simulated +SQLite):\n%s", d)
	}
	if d := cmp.Diff(w.disk.spool, l.spool); d != "" {
		w.broken("SQLite has another log position (-simulated +SQLite):\n%s", d)
	}
	if w.epochs > 1 {
		w.reached("sqlite recovered")
	}
	w.c = l.core
}

// die leaves the files as a kill leaves them. A batch on its way is written,
// or its last bytes are not.
func (s *simSQLite) die(w *simWorld, written bool) {
	dir := s.t.TempDir()
	pending := w.b != nil && !w.onB
	if pending && written {
		s.commit(w.b)
		w.write()
	}
	if err := s.l.CopyFiles(dir); err != nil {
		s.t.Fatal(err)
	}
	if pending && !written && w.rng.IntN(3) > 0 {
		s.tear(w, dir)
	}
	s.stop()
	s.dir = dir
}

// tear commits the batch on the old files and gives the new ones only a part
// of what that wrote.
func (s *simSQLite) tear(w *simWorld, dir string) {
	before, err := os.ReadFile(filepath.Join(dir, databaseFile+"-wal"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.commit(w.b)
	after, err := os.ReadFile(filepath.Join(s.dir, databaseFile+"-wal"))
	if err != nil {
		s.t.Fatal(err)
	}
	if len(after) <= len(before) || !bytes.HasPrefix(after, before) {
		return // the journal file was started anew
	}
	w.reached("sqlite with a torn tail")
	after = after[:len(before)+w.rng.IntN(len(after)-len(before))]
	if err := os.WriteFile(filepath.Join(dir, databaseFile+"-wal"), after, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// stop closes what a process would have lost.
func (s *simSQLite) stop() {
	if s.l == nil {
		return
	}
	if err := s.l.store.close(); err != nil {
		s.t.Fatal(err)
	}
	if err := s.l.lock.release(); err != nil {
		s.t.Fatal(err)
	}
	s.l = nil
}

func (s *simSQLite) compareCost(w *simWorld, target budget.Target, start, end int64, want budget.Amount) {
	got, err := costOf(context.Background(), s.l.store.read, target, start, end)
	if err != nil {
		s.t.Fatal(err)
	}
	if got != want {
		w.broken("SQLite says that %s cost %d, the simulated disk %d", target.Label(), got, want)
	}
}
