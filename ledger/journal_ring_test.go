package ledger_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// killed reopens what the end of the process leaves, at any moment of a commit.
func (b *bench) killed(edits ...func(*ledger.Config)) *bench {
	b.t.Helper()
	dir := b.t.TempDir()
	if err := b.CopyAll(dir); err != nil {
		b.t.Fatal(err)
	}
	after := reopen(b.t, dir, b.clock, edits...)
	after.n = b.n
	return after
}

// caught is a ledger with 100 spent, one durable hold of 60 and, while the disk
// is stuck, two holds of 50 and a settlement that only memory and ring know.
func caught(t *testing.T, edits ...func(*ledger.Config)) (b *bench, id string, calls []budget.Reservation) {
	t.Helper()
	b = start(t, edits...)
	id = b.budget("a", budget.Month, 1000).ID
	b.settle(settlement(b.reserve("a", 100), 100))
	calls = append(calls, b.reserve("a", 60))
	b.flush()
	t.Cleanup(b.gate.Stall())
	calls = append(calls, b.reserve("a", 50), b.reserve("a", 50))
	b.settle(settlement(calls[1], 20))
	return b, id, calls
}

func TestProcessEndLeavesNothingUndecided(t *testing.T) {
	b, id, calls := caught(t)
	b = b.killed()
	want := ledger.Counters{Spent: 100, Held: 160, HighWater: 260, Limit: 260, Used: 260}
	if c := b.Counters(id); c != want {
		t.Fatalf("counters %+v, want %+v", c, want)
	}
	b = b.killed() // at once again: the recovery was durable
	if c := b.Counters(id); c != want {
		t.Fatalf("after another kill: %+v, want %+v", c, want)
	}
	b = b.crash() // nor does a power loss change what is durable
	if c := b.Counters(id); c != want {
		t.Fatalf("after a power loss: %+v, want %+v", c, want)
	}
	for range 3 {
		for _, r := range calls {
			b.settle(settlement(r, 20))
		}
		b.flush()
		b.want(id, 160, 0)
		b = b.killed()
	}
	b.sound()
}

func TestRingRecoveredHoldExpiresAndIsCorrectedOnce(t *testing.T) {
	b, id, calls := caught(t)
	b = b.killed()
	b.clock.add(6 * time.Minute)
	b.tick()
	b.want(id, 260, 0)
	b = b.killed()
	for range 2 {
		for _, r := range calls {
			b.settle(settlement(r, 20))
		}
		b.flush()
		b.want(id, 160, 0)
	}
	b.sound()
}

func TestRingKeepsWhatAHoldIs(t *testing.T) {
	b := start(t)
	id := b.budget("a", budget.Month, 1000).ID
	b.budget("**", budget.Day, 1000)
	first := b.reserve("a", 70)
	b.settle(settlement(first, 0))
	b.flush()
	t.Cleanup(b.gate.Stall())
	r := b.reserve("a", 70)
	unpriced, err := b.Reserve(t.Context(), budget.Request{RequestID: "free", Attribution: budget.Attribution{Tag: "a", Model: "p/x"}})
	if err != nil {
		t.Fatal(err)
	}
	before := b.OpenReservations(9)
	b = b.killed()
	after := b.OpenReservations(9)
	if len(after) != 2 || len(before) != 2 {
		t.Fatalf("%d open reservations, %d before", len(after), len(before))
	}
	for i := range after {
		before[i].Deadline, after[i].Deadline = time.Time{}, time.Time{}
		if !reflect.DeepEqual(after[i], before[i]) {
			t.Errorf("reservation %+v, want %+v", after[i], before[i])
		}
	}
	// Found by request id alone, as of a call whose token was lost.
	b.settle(budget.Settlement{RequestID: "req-2", Basis: budget.BasisReleased})
	b.settle(settlement(unpriced, 0))
	b.flush()
	b.want(id, 0, 0)
	if b.IsOpen(r.ID) {
		t.Error("a settled reservation is open")
	}
}

// TestRingIsNotTrusted has every reason to fall back to the conservative rule.
func TestRingIsNotTrusted(t *testing.T) {
	change := func(f func(t *testing.T, path string)) func(*testing.T, string) func(*ledger.Config) {
		return func(t *testing.T, dir string) func(*ledger.Config) {
			f(t, filepath.Join(dir, ledger.RingFile))
			return func(*ledger.Config) {}
		}
	}
	for name, spoil := range map[string]func(t *testing.T, dir string) func(*ledger.Config){
		"the machine was started since": func(*testing.T, string) func(*ledger.Config) {
			return func(c *ledger.Config) { ledger.WithBoot(c, "another") }
		},
		"no boot id": func(*testing.T, string) func(*ledger.Config) {
			return func(c *ledger.Config) { ledger.WithBoot(c, "") }
		},
		"missing": change(func(t *testing.T, path string) { check(t, os.Remove(path)) }),
		"empty":   change(func(t *testing.T, path string) { check(t, os.Truncate(path, 0)) }),
		"cut":     change(func(t *testing.T, path string) { check(t, os.Truncate(path, 6000)) }),
		"zeros":   change(func(t *testing.T, path string) { check(t, os.WriteFile(path, make([]byte, 68<<10), 0o600)) }),
		"a directory": change(func(t *testing.T, path string) {
			check(t, os.Remove(path))
			check(t, os.Mkdir(path, 0o700))
			check(t, os.WriteFile(filepath.Join(path, "x"), nil, 0o600))
		}),
	} {
		t.Run(name, func(t *testing.T) {
			b, id, calls := caught(t)
			dir := t.TempDir()
			if err := b.CopyAll(dir); err != nil {
				t.Fatal(err)
			}
			b = reopen(t, dir, b.clock, spoil(t, dir))
			if c := b.Counters(id); c.Orphan < 100 || c.Held != 60 || c.Spent != 100 {
				t.Errorf("counters %+v, want the unknown part held", c)
			}
			for range 2 {
				for _, r := range calls {
					b.settle(settlement(r, 20))
				}
				b.flush()
				if c := b.Counters(id); c.Spent != 160 {
					t.Errorf("counters %+v, want 160 spent", c)
				}
			}
			b.sound()
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRingOfAnotherStartIsNotTrusted(t *testing.T) {
	b, id, _ := caught(t)
	old := t.TempDir()
	if err := b.CopyAll(old); err != nil {
		t.Fatal(err)
	}
	b = b.killed()
	first := b.reserve("a", 50)
	b.settle(settlement(first, 0))
	b.flush()
	t.Cleanup(b.gate.Stall())
	b.reserve("a", 50)
	dir := t.TempDir()
	if err := b.CopyAll(dir); err != nil {
		t.Fatal(err)
	}
	check(t, os.Rename(filepath.Join(old, ledger.RingFile), filepath.Join(dir, ledger.RingFile)))
	b = reopen(t, dir, b.clock)
	if c := b.Counters(id); c.Orphan < 50 {
		t.Errorf("counters %+v, want the unknown call held", c)
	}
}

// TestRingWithoutRoom stalls the disk until records no longer fit.
func TestRingWithoutRoom(t *testing.T) {
	b := start(t, func(c *ledger.Config) { ledger.WithRing(c, 1024) })
	id := b.budget("a", budget.Month, 1_000_000).ID
	b.settle(settlement(b.reserve("a", 100_000), 0)) // raises the mark
	b.flush()
	release := b.gate.Stall()
	var calls []budget.Reservation
	for range 20 {
		calls = append(calls, b.reserve("a", 10))
	}
	after := b.killed()
	if c := after.Counters(id); c.Orphan < 190 {
		t.Errorf("counters %+v, want what the ring has no room for held", c)
	}
	release()
	b.flush()
	for round := range 50 { // around the ring many times
		release := b.gate.Stall()
		for range 3 {
			calls = append(calls, b.reserve("a", 10))
		}
		after := b.killed()
		if c := after.Counters(id); c.Orphan != 0 || c.Used != budget.Amount(10*len(calls)) {
			t.Fatalf("round %d: counters %+v, want %d calls and nothing undecided", round, c, len(calls))
		}
		after.shut()
		release()
		b.flush()
	}
}

func TestNoRingIsAsSafe(t *testing.T) {
	for name, edit := range map[string]func(*ledger.Config){
		"off":         func(c *ledger.Config) { ledger.WithRing(c, -1<<40) },
		"no room":     func(c *ledger.Config) { ledger.WithRing(c, 1<<50) }, // more than any disk
		"no boot id":  func(c *ledger.Config) { ledger.WithBoot(c, "") },
		"another one": func(c *ledger.Config) { c.Dir = mkdirRing(t, c.Dir) },
	} {
		b, id, _ := caught(t, edit)
		if b.HasRing() {
			t.Errorf("%s: there is a ring", name)
		}
		if c := b.killed().Counters(id); c.Orphan < 100 || c.Held != 60 {
			t.Errorf("%s: counters %+v", name, c)
		}
	}
}

// mkdirRing puts a directory where the ring's file would be.
func mkdirRing(t *testing.T, dir string) string {
	check(t, os.MkdirAll(filepath.Join(dir, ledger.RingFile, "x"), 0o700))
	return dir
}

func TestRollbackIgnoresTheRing(t *testing.T) {
	b := start(t)
	id := b.budget("a", budget.Month, 1000).ID
	b.settle(settlement(b.reserve("a", 60), 30))
	b.flush()
	backup := t.TempDir()
	check(t, b.Crash(b.gate, backup))
	b.shut()
	later := reopen(t, b.dir, b.clock)
	later.reserve("a", 500)
	later.flush()
	now := t.TempDir()
	check(t, later.CopyAll(now))
	check(t, os.Rename(filepath.Join(now, ledger.RingFile), filepath.Join(backup, ledger.RingFile)))
	b = reopen(t, combine(t, backup, now), b.clock, func(c *ledger.Config) { c.AcceptRollback = true })
	if c := b.Counters(id); c.Used != 1000 {
		t.Errorf("counters %+v, want the whole cap held", c)
	}
}

// TestLongNamesInTheRing reserves with texts that no record can hold.
func TestLongNamesInTheRing(t *testing.T) {
	b := start(t)
	id := b.budget("a", budget.Month, 1000).ID
	b.settle(settlement(b.reserve("a", 60), 0))
	b.flush()
	t.Cleanup(b.gate.Stall())
	for i, n := range []int{300, 70_000} {
		r := b.request("a", 10)
		r.Model = strings.Repeat("m", n)
		if _, err := b.Reserve(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		c := b.killed().Counters(id)
		if exact := c.Orphan == 0 && c.Held == budget.Amount(10*(i+1)); exact != (n < 65_000) || c.Used < budget.Amount(10*(i+1)) {
			t.Errorf("a name of %d bytes: %+v", n, c)
		}
	}
}

func BenchmarkReserveRing(b *testing.B) {
	for _, bytes := range []int{-1 << 40, 16 << 20} {
		b.Run(fmt.Sprint("ring=", bytes > 0), func(b *testing.B) {
			config := ledger.Config{Dir: b.TempDir(), JournalWait: 5 * time.Second}
			ledger.WithRing(&config, bytes)
			l, err := ledger.Open(b.Context(), config)
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close(context.Background())
			for _, p := range []budget.TagPattern{"team/**", "team/a/b", budget.AllTags} {
				if _, err := l.SetBudget(b.Context(), budget.Budget{Target: budget.Target{Tags: p}, Period: budget.Month, Cap: budget.MaxAmount}, budget.Author{Actor: "bench"}); err != nil {
					b.Fatal(err)
				}
			}
			benchReserve(b, l, false)
		})
	}
}
