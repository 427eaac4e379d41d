package ledger

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"aigateway/budget"
)

// TestFleetClocks has ledgers whose clocks are days apart share a cap by the day. They
// go by the store's clock, before and after it begins the next day, also one that
// starts anew with its clock set: each day's cap is had once, and no window is asked for
// that the store has not begun.
func TestFleetClocks(t *testing.T) {
	noon := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	var late atomic.Int64 // how much later than noon it is by the store's clock
	begun := time.Now()
	store := func() time.Time { return noon.Add(time.Duration(late.Load()) + time.Since(begun)) }
	f := &fleet{t: t, store: newLender(6)}
	f.store.now = store
	f.store.budgets["bud_0"] = 100
	f.rules = budget.Rules{Version: 1, Budgets: []budget.SharedBudget{{Budget: budget.Budget{ID: "bud_0", Target: budget.Target{Tags: "tag0/**"}, Period: budget.Day, Cap: 100,
		CreateTime: time.Unix(1, 0), UpdateTime: time.Unix(1, 0)}}}}
	for i, apart := range []time.Duration{0, 36 * time.Hour, -36 * time.Hour} {
		f.dirs = append(f.dirs, t.TempDir())
		f.configs = append(f.configs, Config{Dir: f.dirs[i], JournalWait: 20 * time.Second, Lessor: replica{f.store, i}, MaxStale: time.Hour,
			Now: func() time.Time { return time.Now().Add(noon.Sub(begun) + apart) }})
		f.ledgers = append(f.ledgers, nil)
		f.open(i)
	}
	spend := func() {
		t.Helper()
		for i := range f.ledgers {
			f.must(i, 30)
		}
		for i := range f.ledgers {
			f.refuses(i, 30, "cap_held")
		}
	}
	spend()
	if err := f.ledgers[1].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	now := f.configs[1].Now
	f.configs[1].Now = func() time.Time { return now().Add(365 * 24 * time.Hour) }
	f.open(1)
	f.refuses(1, 30, "cap_held")
	late.Add(int64(12 * time.Hour))
	f.await("the next day", func() bool {
		return !slices.ContainsFunc(f.ledgers, func(l *Ledger) bool {
			l.mu.Lock()
			l.core.clock.started = false // a leap is doubted for five minutes: let them pass
			l.mu.Unlock()
			return l.windowTime() < noon.Add(12*time.Hour).UnixNano()
		})
	})
	spend()
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	if len(f.store.lent) != 2 {
		t.Errorf("windows of %d days were opened", len(f.store.lent))
	}
	for name := range f.store.lent {
		if start := time.Unix(0, name.Start); start.After(store()) {
			t.Errorf("the window of %s was asked for at %s", start.UTC(), store())
		}
	}
	for i, l := range f.ledgers {
		if s, err := l.State(t.Context()); err != nil || i == 0 && s.ClockAhead.Abs() > 12*time.Hour+time.Minute || i > 0 && s.ClockAhead.Abs() < 24*time.Hour-time.Minute {
			t.Errorf("ledger %d is %s ahead, %v", i, s.ClockAhead, err)
		}
	}
}
