package ledger_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

func TestCrashKeepsJournaledHolds(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 1000)
	r := b.reserve("a", 60)
	b.settle(settlement(b.reserve("a", 50), 20))
	b.flush()
	hw := b.Counters(st.ID).HighWater
	b = b.crash()
	c := b.Counters(st.ID)
	if c.Spent != 20 || c.Held != 60 || c.Orphan != hw-80 || c.Used != hw {
		t.Errorf("counters %+v, want everything below the mark %d explained", c, hw)
	}
	b.settle(settlement(r, 10))
	b.flush()
	if got := b.Counters(st.ID).Spent; got != 30 {
		t.Errorf("spent %d, want 30", got)
	}
	b.sound()
}

func TestCrashErasesHoldThatIsSettledFromOrphanPool(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 1000)
	first := b.reserve("a", 60) // raises the mark
	b.settle(settlement(first, 0))
	b.flush()
	release := b.gate.Stall()
	lost := b.reserve("a", 50) // below the mark: admitted while the disk is stuck
	dir := t.TempDir()
	if err := b.CopyFiles(dir); err != nil {
		t.Fatal(err)
	}
	release()
	b = reopen(t, dir, b.clock)
	c := b.Counters(st.ID)
	if c.Orphan < 50 || c.Held != 0 {
		t.Fatalf("counters %+v, want the lost bound in the orphan pool", c)
	}
	pool := c.Orphan
	b.settle(settlement(first, 60)) // finished before the crash: a repeat
	b.flush()
	if c := b.Counters(st.ID); c.Orphan != pool || c.Spent != 0 {
		t.Errorf("a finished reservation drained the pool: %+v", c)
	}
	if !b.IsOpen(lost.ID) {
		t.Error("the log of an erased hold must be read")
	}
	b.settle(settlement(lost, 20))
	b.settle(settlement(lost, 20))
	b.flush()
	if c := b.Counters(st.ID); c.Spent != 20 || c.Orphan != pool-50 {
		t.Errorf("counters %+v, want 20 spent and the bound taken from the pool of %d", c, pool)
	}
	b.sound()
	b = b.crash()
	b.settle(settlement(lost, 20)) // a repeat past another crash
	b.flush()
	if c := b.Counters(st.ID); c.Spent != 20 {
		t.Errorf("counters %+v, want 20 spent", c)
	}
}

func TestOrphanPoolIsChargedAndStillRefunds(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 1000)
	b.settle(settlement(b.reserve("a", 60), 0))
	b.flush()
	release := b.gate.Stall()
	lost := b.reserve("a", 50)
	dir := t.TempDir()
	if err := b.CopyFiles(dir); err != nil {
		t.Fatal(err)
	}
	release()
	b = reopen(t, dir, b.clock)
	pool := b.Counters(st.ID).Orphan
	b.clock.add(6 * time.Minute)
	b.tick()
	if c := b.Counters(st.ID); c.Orphan != 0 || c.Spent != pool || c.Residue != pool {
		t.Fatalf("counters %+v, want the pool of %d charged", c, pool)
	}
	b = b.crash()
	b.settle(settlement(lost, 20))
	b.flush()
	if c := b.Counters(st.ID); c.Spent != pool-50+20 || c.Residue != pool-50 {
		t.Errorf("counters %+v, want the bound refunded from the residue of %d", c, pool)
	}
	b.sound()
}

func TestManyCrashesDoNotCompound(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100_000)
	b.reserve("a", 60)
	b.flush()
	hw := b.Counters(st.ID).HighWater
	for range 10 {
		b = b.crash()
		if c := b.Counters(st.ID); c.Used != hw {
			t.Fatalf("counters %+v, want the mark %d unchanged", c, hw)
		}
		b.sound()
	}
}

func TestCleanCloseLeavesNothingUndecided(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 1000)
	r := b.reserve("a", 60)
	b.settle(settlement(b.reserve("a", 60), 30))
	b.shut()
	b = reopen(t, b.dir, b.clock)
	if c := b.Counters(st.ID); c.Orphan != 0 || c.Held != 60 || c.Spent != 30 || c.HighWater != 90 {
		t.Errorf("counters %+v", c)
	}
	if !b.IsOpen(r.ID) {
		t.Error("an open reservation did not survive a clean close")
	}
	b.clock.add(6 * time.Minute) // a fresh deadline: charged, never released
	b.tick()
	b.want(st.ID, 90, 0)
}

// TestCleanCloseAfterTheLastCall settles a call that used its mark to the end in the last
// commit: the mark is then above what is used, and nobody charges the rest.
func TestCleanCloseAfterTheLastCall(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 60)
	r := b.reserve("a", 60)
	b.flush()
	b.settle(settlement(r, 30))
	b.shut()
	b = reopen(t, b.dir, b.clock)
	if c := b.Counters(st.ID); c.Orphan != 0 || c.Spent != 30 || c.HighWater != 30 {
		t.Errorf("counters %+v", c)
	}
	b.clock.add(6 * time.Minute)
	b.tick()
	b.want(st.ID, 30, 0)
}

func TestIdleBudgetGivesBackItsMark(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 1000)
	b.settle(settlement(b.reserve("a", 60), 30))
	b.flush()
	b.clock.add(11 * time.Second)
	b.tick()
	waitFor(t, func() bool { b.Tick(); return b.Counters(st.ID).HighWater == 30 })
	b = b.crash()
	b.want(st.ID, 30, 0)
	b.reserve("a", 970)
}

func TestSecondProcessIsRefused(t *testing.T) {
	b := start(t)
	_, err := ledger.Open(t.Context(), ledger.Config{Dir: b.dir})
	if err == nil || !strings.Contains(err.Error(), "another aigateway") {
		t.Errorf("error is %v", err)
	}
	b.shut()
	reopen(t, b.dir, b.clock)
}

func TestDiskErrorStopsForGood(t *testing.T) {
	for _, lost := range []bool{true, false} {
		b := start(t)
		st := b.budget("a", budget.Month, 1000)
		r := b.reserve("a", 60)
		b.flush()
		b.gate.Break(errors.New("input/output error"), lost)
		b.settle(settlement(r, 20))
		<-b.Stopped()
		b.gate.Break(nil, false) // the disk looks fine again: too late
		if e := asError(t, b.Ready()); e.Kind != budget.KindUnavailable {
			t.Errorf("ready: %v", e)
		}
		if err := b.Failed(); err == nil || err.Error() != "journal: input/output error; start again, which recovers or names what is damaged" {
			t.Errorf("failed with %v", err)
		}
		b.refuse("a", 1, "ledger_failed")
		if err := b.Settle(t.Context(), settlement(r, 20)); err == nil {
			t.Error("a settlement was accepted")
		}
		if err := b.DeleteBudget(t.Context(), st.ID, "", budget.Author{Actor: "test"}); err == nil {
			t.Error("an edit was accepted")
		}
		if err := b.Close(context.Background()); err == nil {
			t.Error("close hides the failure")
		}
		again := reopen(t, b.dir, b.clock)
		again.settle(settlement(r, 20))
		again.flush()
		if c := again.Counters(st.ID); c.Spent != 20 || c.Held != 0 {
			t.Errorf("lost=%v: counters %+v after recovery", lost, c)
		}
		again.sound()
	}
}

func TestWaiterSeesDiskError(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 1000)
	b.gate.Break(errors.New("no space left on device"), true)
	b.refuse("a", 60, "ledger_failed") // waited for the mark to rise
}

func TestStalledDiskIs503AndRecovers(t *testing.T) {
	b := start(t, func(c *ledger.Config) { c.JournalWait = 30 * time.Millisecond })
	st := b.budget("a", budget.Month, 1000)
	release := b.gate.Stall()
	e := b.refuse("a", 60, "journal_slow")
	if e.Kind != budget.KindUnavailable {
		t.Errorf("kind %v, want unavailable", e.Kind)
	}
	release()
	waitFor(t, func() bool { _, err := b.Reserve(t.Context(), b.request("a", 60)); return err == nil })
	if c := b.Counters(st.ID); c.Held != 60 {
		t.Errorf("counters %+v", c)
	}
}

// TestFreeCallWaitsForItsAccount wants nothing answered on an account that has no
// row, whatever it may cost: after a crash another budget's would get its id.
func TestFreeCallWaitsForItsAccount(t *testing.T) {
	b := start(t, func(c *ledger.Config) { c.JournalWait = 30 * time.Millisecond })
	b.budget("a", budget.Month, 1000)
	b.clock.set(time.Date(2026, 9, 1, 0, 0, 1, 0, time.UTC))
	release := b.gate.Stall()
	defer release()
	b.refuse("a", 0, "journal_slow")
	release()
	waitFor(t, func() bool { _, err := b.Reserve(t.Context(), b.request("a", 0)); return err == nil })
	b.sound()
}

func TestFullBudgetWaitsForQueuedSettlements(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 100)
	r := b.reserve("a", 100)
	b.flush()
	release := b.gate.Stall()
	b.settle(settlement(r, 10))
	got := make(chan error, 1)
	q := b.request("a", 90)
	go func() {
		_, err := b.Reserve(t.Context(), q)
		got <- err
	}()
	b.refuse("a", 91, "cap_would_be_crossed") // does not fit either way
	select {
	case err := <-got:
		t.Fatalf("answered before the settlement was durable: %v", err)
	default:
	}
	release()
	if err := <-got; err != nil {
		t.Errorf("a call that fits was refused: %v", err)
	}
	b.sound()
}

func TestReserveHonoursContext(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 100)
	release := b.gate.Stall()
	defer release()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := b.Reserve(ctx, b.request("a", 10))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestRollbackIsNoticed(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 1000)
	b.settle(settlement(b.reserve("a", 60), 30))
	b.flush()
	backup := t.TempDir()
	if err := b.Crash(b.gate, backup); err != nil {
		t.Fatal(err)
	}
	b.shut()
	later := reopen(t, b.dir, b.clock)
	unknown := later.reserve("a", 500)
	later.flush()
	now := t.TempDir()
	if err := later.Crash(later.gate, now); err != nil {
		t.Fatal(err)
	}
	restored := combine(t, backup, now) // the old database under the new lock file
	_, err := ledger.Open(t.Context(), ledger.Config{Dir: restored, Now: b.clock.now})
	if err == nil || !strings.Contains(err.Error(), "older than") {
		t.Fatalf("error is %v", err)
	}
	b = reopen(t, restored, b.clock, func(c *ledger.Config) { c.AcceptRollback = true })
	if c := b.Counters(st.ID); c.Used != 1000 {
		t.Errorf("counters %+v, want the whole cap held", c)
	}
	b.settle(settlement(unknown, 100))
	b.flush()
	if c := b.Counters(st.ID); c.Spent != 130 || c.Used != 600 {
		t.Errorf("counters %+v, want the forgotten call settled from the pool", c)
	}
	b.sound()
}

func TestForeignDatabaseIsRefused(t *testing.T) {
	b := start(t)
	if err := b.Exec(t.Context(), "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	b.shut()
	if _, err := ledger.Open(t.Context(), ledger.Config{Dir: b.dir}); err == nil || !strings.Contains(err.Error(), "schema 99") {
		t.Errorf("error is %v", err)
	}
}

func TestMetaSurvives(t *testing.T) {
	b := start(t)
	key, id := string(b.TokenKey()), b.InstanceID()
	if len(key) != 32 || id == "" {
		t.Fatalf("key of %d bytes, instance %q", len(key), id)
	}
	first := b.reserve("a", 1).ID
	b.flush()
	b = b.crash()
	if string(b.TokenKey()) != key || b.InstanceID() != id {
		t.Error("key or instance changed over a restart")
	}
	if second := b.reserve("a", 1).ID; second>>43 != first>>43+1 {
		t.Errorf("ids %d and %d: the epoch must grow by one", first, second)
	}
}

// combine makes a directory of one crash's database and another's lock file.
func combine(t *testing.T, database, lock string) string {
	t.Helper()
	if err := os.Rename(filepath.Join(lock, "ledger.lock"), filepath.Join(database, "ledger.lock")); err != nil {
		t.Fatal(err)
	}
	return database
}
