package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// clock is a hand-driven clock.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = t
}

func (c *clock) add(d time.Duration) { c.set(c.now().Add(d)) }

var april = time.Date(2026, 4, 15, 12, 7, 0, 0, time.UTC)

// bench is a ledger under test.
type bench struct {
	*ledger.Ledger
	t     testing.TB
	dir   string
	clock *clock
	gate  *ledger.Gate
	n     int
}

func start(t testing.TB, edits ...func(*ledger.Config)) *bench {
	t.Helper()
	return reopen(t, t.TempDir(), &clock{t: april}, edits...)
}

func reopen(t testing.TB, dir string, c *clock, edits ...func(*ledger.Config)) *bench {
	t.Helper()
	gate := &ledger.Gate{}
	config := ledger.Config{Dir: dir, Now: c.now, JournalWait: time.Minute}
	for _, e := range edits {
		e(&config)
	}
	l, err := ledger.Open(t.Context(), ledger.WithGate(config, gate))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Ledger: l, t: t, dir: dir, clock: c, gate: gate}
	t.Cleanup(func() { b.Close(context.Background()) }) // an error when the test closed it
	return b
}

// crash reopens a copy of the files, as after kill -9.
func (b *bench) crash(edits ...func(*ledger.Config)) *bench {
	b.t.Helper()
	dir := b.t.TempDir()
	if err := b.Crash(b.gate, dir); err != nil {
		b.t.Fatal(err)
	}
	after := reopen(b.t, dir, b.clock, edits...)
	after.n = b.n
	return after
}

func (b *bench) budget(tags budget.TagPattern, period budget.Period, limit budget.Amount) budget.Status {
	b.t.Helper()
	st, err := b.SetBudget(b.t.Context(), budget.Budget{Target: budget.Target{Tags: tags}, Period: period, Cap: limit}, budget.Author{Actor: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

func (b *bench) request(tag budget.Tag, bound budget.Amount) budget.Request {
	b.n++
	return budget.Request{RequestID: fmt.Sprintf("req-%d", b.n), Bound: bound,
		Attribution: budget.Attribution{KeyID: "key_a", Tag: tag, Model: "p/m", Provider: "p"}}
}

func (b *bench) reserve(tag budget.Tag, bound budget.Amount) budget.Reservation {
	b.t.Helper()
	r, err := b.Reserve(b.t.Context(), b.request(tag, bound))
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *bench) refuse(tag budget.Tag, bound budget.Amount, reason string) *budget.Error {
	b.t.Helper()
	_, err := b.Reserve(b.t.Context(), b.request(tag, bound))
	e := asError(b.t, err)
	if e.Reason != reason {
		b.t.Fatalf("refused with %q (%s), want %q", e.Reason, e.Message, reason)
	}
	return e
}

func asError(t testing.TB, err error) *budget.Error {
	t.Helper()
	var e *budget.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a *budget.Error", err)
	}
	return e
}

func settlement(r budget.Reservation, cost budget.Amount) budget.Settlement {
	return budget.Settlement{Reservation: &r, Basis: budget.BasisUsage, Cost: cost, Tokens: budget.Tokens{Input: 10, Output: 5}}
}

func (b *bench) settle(s budget.Settlement) {
	b.t.Helper()
	if err := b.Settle(b.t.Context(), s); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) flush() {
	b.t.Helper()
	if err := b.Flush(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// tick runs timers and makes what they cause durable.
func (b *bench) tick() {
	b.t.Helper()
	b.Tick()
	b.flush()
}

func (b *bench) want(id string, spent, reserved budget.Amount) {
	b.t.Helper()
	st, err := b.GetBudget(id)
	if err != nil {
		b.t.Fatal(err)
	}
	if st.Spent != spent || st.Reserved != reserved {
		b.t.Errorf("spent %d, reserved %d; want %d, %d", st.Spent, st.Reserved, spent, reserved)
	}
	b.sound()
}

func (b *bench) sound() {
	b.t.Helper()
	if err := b.Invariants(); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) shut() {
	b.t.Helper()
	if err := b.Close(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

func TestReserveSettle(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	r := b.reserve("a", 60)
	if r.Tightest == nil || r.Tightest.Reserved != 60 || r.Tightest.ID != st.ID {
		t.Errorf("tightest is %+v, want the budget with 60 reserved", r.Tightest)
	}
	b.want(st.ID, 0, 60)
	b.refuse("a", 41, "cap_held")
	b.settle(settlement(r, 25))
	b.want(st.ID, 25, 0)
	b.refuse("a", 76, "cap_would_be_crossed")
	r = b.reserve("a", 75)
	b.settle(settlement(r, 75))
	e := b.refuse("a", 1, "cap_reached")
	if e.Refusal.Spent != 100 || e.Refusal.Bound != 1 || !e.Refusal.ResetsAt.Equal(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("refusal is %+v", e.Refusal)
	}
	b.flush()
	b.want(st.ID, 100, 0)
	if open, _, requests, _ := b.Sizes(); open != 0 || requests != 0 {
		t.Errorf("%d open holds and %d request ids are left", open, requests)
	}
}
