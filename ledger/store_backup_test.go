package ledger_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// backup copies the running ledger b.
func backup(t *testing.T, b *bench) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backup.db")
	if err := inspect(t, b.dir).Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestRestoreHoldsWhatItCannotKnow restores a backup over the ledger it was
// taken from, and into an empty directory, a month later.
func TestRestoreHoldsWhatItCannotKnow(t *testing.T) {
	for name, fresh := range map[string]bool{"in place": false, "on another machine": true} {
		for months := range 2 {
			t.Run(name, func(t *testing.T) {
				b := start(t)
				st := b.budget("a", budget.Month, 1000)
				b.settle(settlement(b.reserve("a", 60), 30))
				b.flush()
				file := backup(t, b)
				if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
					t.Errorf("backup: %v, %v", info, err)
				}
				if err := inspect(t, b.dir).Backup(t.Context(), file); err == nil {
					t.Error("a backup was overwritten")
				}
				b.clock.set(april.AddDate(0, months, 0))
				unknown := b.reserve("a", 500)
				b.flush()
				if _, err := ledger.Restore(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, file); err == nil || !strings.Contains(err.Error(), "another aigateway") {
					t.Errorf("restore under a running gateway: %v", err)
				}
				b.shut()
				dir := b.dir
				if fresh {
					dir = t.TempDir()
				}
				r, err := ledger.Restore(t.Context(), ledger.Config{Dir: dir, Now: b.clock.now}, file)
				if err != nil {
					t.Fatal(err)
				}
				if r.Budget != 1 || (r.Aside == "") != fresh {
					t.Errorf("restored %+v", r)
				}
				b = reopen(t, dir, b.clock)
				if c := b.Counters(st.ID); c.Used != 1000 || r.Held != 1000-c.Spent {
					t.Errorf("counters %+v, held %d: want the whole cap held", c, r.Held)
				}
				b.refuse("a", 1, "cap_held_since_restore")
				if months == 0 {
					b.settle(settlement(unknown, 100))
					b.flush()
					if c := b.Counters(st.ID); c.Spent != 130 || c.Used != 600 {
						t.Errorf("counters %+v, want the forgotten call settled from what is held", c)
					}
				}
				if got := b.reserve("other", 1).ID >> 43; got <= unknown.ID>>43 {
					t.Errorf("epoch %d again", got)
				}
				b.agree()
			})
		}
	}
}

func TestRestoreRefusesWhatIsNoBackup(t *testing.T) {
	b, other := start(t), start(t)
	b.budget("a", budget.Month, 1000)
	b.flush()
	good, foreign := backup(t, b), backup(t, other)
	b.shut()
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"empty": {}, "text": []byte("not a database"), "truncated": text[:len(text)/2],
		"damaged": append(append([]byte{}, text[:8192]...), make([]byte, len(text)-8192)...),
	} {
		file := filepath.Join(t.TempDir(), "bad.db")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Restore(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v, want one that names the file", name, err)
		}
		nowhere := filepath.Join(t.TempDir(), "typo")
		_, err := ledger.Restore(t.Context(), ledger.Config{Dir: nowhere, Now: b.clock.now}, file)
		if _, left := os.Stat(nowhere); err == nil || !os.IsNotExist(left) {
			t.Errorf("%s, into a new directory: %v, and it is there: %v", name, err, left)
		}
	}
	if _, err := ledger.Restore(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, foreign); err == nil || !strings.Contains(err.Error(), "another gateway") {
		t.Errorf("another gateway's backup: %v", err)
	}
	if _, err := ledger.Restore(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, b.dir); err == nil || !strings.Contains(err.Error(), b.dir+" is no regular file") {
		t.Errorf("a directory: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(b.dir, "*restor*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	reopen(t, b.dir, b.clock).agree() // nothing happened to it
}

// TestLostJournalIsNoticed takes commits away that were reported as durable: a
// truncated and a bit-flipped write-ahead log.
func TestLostJournalIsNoticed(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"truncated": func(b []byte) []byte { return b[:len(b)*2/3] },
		"gone":      func([]byte) []byte { return nil },
		"flipped":   func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
	} {
		b := start(t)
		st := b.budget("a", budget.Month, 1000)
		b.shut() // moves the budget from the log into the database
		b = reopen(t, b.dir, b.clock)
		for range 5 {
			b.settle(settlement(b.reserve("a", 60), 30))
			b.flush()
		}
		dir := t.TempDir()
		if err := b.Crash(b.gate, dir); err != nil {
			t.Fatal(err)
		}
		wal := filepath.Join(dir, "ledger.db-wal")
		text, err := os.ReadFile(wal)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(wal, damage(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = ledger.Open(t.Context(), ledger.Config{Dir: dir, Now: b.clock.now})
		if err == nil {
			t.Errorf("%s: opened as if nothing were missing", name)
			continue
		}
		after := reopen(t, dir, b.clock, func(c *ledger.Config) { c.AcceptRollback = true })
		if c := after.Counters(st.ID); c.Used != 1000 {
			t.Errorf("%s: counters %+v, want the whole cap held", name, c)
		}
		after.agree()
	}
}

// TestRelease: after a restore one command gives back what nobody spent, never
// what calls are known to have cost, whether it was charged meanwhile or not.
func TestRelease(t *testing.T) {
	for _, charged := range []bool{false, true} {
		releases(t, charged)
	}
}

// releases restores a copy, lets what happened since be charged or not, and
// releases the rest.
func releases(t *testing.T, charged bool) {
	t.Helper()
	b := start(t)
	st, idle := b.budget("a", budget.Month, 1000), b.budget("b", budget.Day, 70)
	b.settle(settlement(b.reserve("a", 60), 30))
	b.flush()
	file := backup(t, b)
	unknown := b.reserve("a", 500)
	b.flush()
	b.shut()
	restore := func() *bench {
		t.Helper()
		if _, err := ledger.Restore(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, file); err != nil {
			t.Fatal(err)
		}
		return reopen(t, b.dir, b.clock)
	}
	by := budget.Author{Actor: "test", Reason: "nothing else was sent"}
	b = restore()
	e := b.refuse("a", 1, "cap_held_since_restore")
	if e.Refusal.Restored != 970 {
		t.Errorf("the refusal says that %d is held since a restore", e.Refusal.Restored)
	}
	b.refuse("a", 971, "cap_would_be_crossed") // more than the restore holds
	_, err := b.Adjust(t.Context(), budget.Adjustment{RequestID: "x", Tag: "a", Amount: -50, Reason: "not billed"}, "test")
	if err == nil || !strings.Contains(err.Error(), "ledger release") {
		t.Errorf("a refund of what is held: %v", err)
	}
	b.settle(settlement(unknown, 100)) // its log came late
	if charged {
		b.clock.add(6 * time.Minute)
		b.tick()
		b.want(st.ID, 600, 0) // 100 of 500 held
		b.refuse("a", 401, "cap_held_since_restore")
	}
	b.release(by, map[string][3]budget.Amount{st.ID: {400, 470, 870}, idle.ID: {0, 70, 70}})
	b = reopen(t, b.dir, b.clock)
	b.want(st.ID, 130, 0)
	b.want(idle.ID, 0, 0)
	b.settle(settlement(b.reserve("a", 870), 870))
	b.refuse("a", 1, "cap_reached")
	b.agree()
	if entries, err := b.AuditLog(t.Context(), 0, 100); err != nil || !strings.Contains(fmt.Sprint(entries), "release_restored") {
		t.Errorf("audit log: %v, %v", entries, err)
	}
}

// release releases what a restore holds, once: what was left of each budget, what
// is released and what is left then.
func (b *bench) release(by budget.Author, want map[string][3]budget.Amount) {
	t := b.t
	t.Helper()
	if _, err := ledger.Release(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, by); err == nil || !strings.Contains(err.Error(), "another aigateway") {
		t.Errorf("release under a running gateway: %v", err)
	}
	b.shut()
	if _, err := ledger.Release(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, budget.Author{Actor: "test"}); err == nil {
		t.Error("released without a reason")
	}
	released, err := ledger.Release(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, by)
	if err != nil || len(released) != 2 {
		t.Fatalf("released %+v, %v", released, err)
	}
	for _, r := range released {
		left := func(s budget.Status) budget.Amount { return s.Cap - s.Spent - s.Reserved }
		if got := [3]budget.Amount{left(r.Before), r.Amount, left(r.After)}; got != want[r.Before.ID] {
			t.Errorf("left, released, left: %d, want %d", got, want[r.Before.ID])
		}
	}
	again, err := ledger.Release(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, by)
	if err != nil || again != nil {
		t.Errorf("released again: %+v, %v", again, err)
	}
}

// TestReleaseLeavesACrash: what a crash after the restore left undecided is not
// the restore's to give back.
func TestReleaseLeavesACrash(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	b.flush()
	file := backup(t, b)
	b.shut()
	if _, err := ledger.Restore(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, file); err != nil {
		t.Fatal(err)
	}
	b = reopen(t, b.dir, b.clock, func(c *ledger.Config) { ledger.WithRing(c, -1<<20) })
	if _, err := b.UpdateBudget(t.Context(), st.ID, "", func(x *budget.Budget) error { x.Cap = 1000; return nil }, budget.Author{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	b.reserve("a", 300)
	b = b.crash()
	b.shut()
	released, err := ledger.Release(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, budget.Author{Actor: "test", Reason: "r"})
	if err != nil || len(released) != 0 {
		t.Errorf("released %+v, %v", released, err)
	}
}

// TestCommandsDeleteNothing: a restore and a release do not know how long the
// gateway keeps what happened, and leave calls that the default would delete.
func TestCommandsDeleteNothing(t *testing.T) {
	keep := func(c *ledger.Config) { c.Retention, c.UsageMonths = 1000*24*time.Hour, 60 }
	b := start(t, keep)
	b.budget("a", budget.Month, budget.MaxAmount)
	for range 3 {
		b.calls("a", 5)
		b.clock.add(100 * 24 * time.Hour)
	}
	b.shut()
	b = reopen(t, b.dir, b.clock, keep) // an epoch that is young
	b.calls("a", 1)
	count := func() (rows [3]int64) {
		for i, table := range []string{"settle", "link", "usage"} {
			var err error
			if rows[i], err = b.Count(t.Context(), `SELECT count(*) FROM `+table); err != nil {
				t.Fatal(err)
			}
		}
		return rows
	}
	before := count()
	file := backup(t, b)
	b.shut()
	config := ledger.Config{Dir: b.dir, Now: b.clock.now}
	if _, err := ledger.Restore(t.Context(), config, file); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Release(t.Context(), config, budget.Author{Actor: "test", Reason: "nothing else was sent"}); err != nil {
		t.Fatal(err)
	}
	b = reopen(t, b.dir, b.clock, keep)
	if after := count(); after[0] != before[0] || after[1] < before[1] || after[2] != before[2] {
		t.Errorf("calls, links and usage %v before the commands, %v after them", before, after)
	}
	b.agree()
}
