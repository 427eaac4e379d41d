package ledger_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

// turn is a call that may wait, and its answer once it has one.
type turn struct {
	done chan struct{}
	res  budget.Reservation
	err  error
}

// ask reserves in the background and returns once the call waits or is answered.
func (b *bench) ask(ctx context.Context, r budget.Request) *turn {
	b.t.Helper()
	t, waiting := &turn{done: make(chan struct{})}, b.Waiting()
	go func() {
		defer close(t.done)
		t.res, t.err = b.Reserve(ctx, r)
	}()
	for b.Waiting() == waiting && !t.over() {
		runtime.Gosched()
	}
	return t
}

func (t *turn) over() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// wait is a request that may wait for long.
func (b *bench) wait(tag budget.Tag, bound budget.Amount) budget.Request {
	r := b.request(tag, bound)
	r.Wait = time.Minute
	return r
}

func TestWaitForRunningCalls(t *testing.T) {
	b := start(t)
	team := b.budget("team/**", budget.Month, 100)
	b.budget("other", budget.Month, 100)
	running := b.reserve("team/a", 80)

	first := b.ask(t.Context(), b.wait("team/a", 50))
	second := b.ask(t.Context(), b.wait("team/b", 50))
	if first.over() || second.over() || b.Waiting() != 2 {
		t.Fatalf("%d wait, want two", b.Waiting())
	}
	b.reserve("other", 90)    // it touches no budget that anybody waits for
	b.reserve("team/a/x", 20) // it fits, and nobody has waited for long
	b.want(team.ID, 0, 100)
	b.settle(settlement(running, 10))
	<-first.done
	if first.err != nil || first.res.Bound != 50 {
		t.Fatal(first.res, first.err)
	}
	if second.over() {
		t.Fatalf("the second was answered with %v, %v; there is no room", second.res, second.err)
	}
	b.settle(settlement(first.res, 10))
	<-second.done
	if second.err != nil {
		t.Fatal(second.err)
	}
	b.want(team.ID, 20, 70)
}

// A call that can never fit is refused at once, and so is one that fits no more.
func TestWaitOnlyForRunningCalls(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	b.settle(settlement(b.reserve("a", 60), 60))
	b.flush()
	running := b.reserve("a", 30)
	if tr := b.ask(t.Context(), b.wait("a", 41)); !tr.over() || asError(t, tr.err).Reason != "cap_would_be_crossed" {
		t.Fatal(tr.res, tr.err)
	}
	tr := b.ask(t.Context(), b.wait("a", 40))
	if tr.over() {
		t.Fatal(tr.res, tr.err)
	}
	b.settle(settlement(running, 30)) // it costs its bound: 90 are spent
	<-tr.done
	if e := asError(t, tr.err); e.Reason != "cap_would_be_crossed" || e.Refusal.Spent != 90 {
		t.Fatal(e)
	}
	b.want(st.ID, 90, 0)
}

func TestWaitEnds(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 100)
	b.reserve("a", 80)
	r := b.wait("a", 50)
	r.Wait = time.Millisecond
	if _, err := b.Reserve(t.Context(), r); asError(t, err).Reason != "cap_held" || asError(t, err).Refusal.Reserved != 80 {
		t.Error(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	tr := b.ask(ctx, b.wait("a", 50))
	leave()
	<-tr.done
	if asError(t, tr.err).Reason != "canceled" || !errors.Is(tr.err, context.Canceled) {
		t.Error(tr.err)
	}
	// Whoever sets a deadline is answered before it.
	ctx, leave = context.WithTimeout(t.Context(), time.Second)
	defer leave()
	if _, err := b.Reserve(ctx, b.wait("a", 50)); ctx.Err() != nil || asError(t, err).Reason != "cap_held" {
		t.Error(ctx.Err(), err)
	}
	if b.Waiting() != 0 {
		t.Errorf("%d still wait", b.Waiting())
	}
	b.sound()
}

// A small call may pass a large one for half of its time, and not longer; when
// the large one leaves, whoever it kept waiting goes on.
func TestWaitingIsFair(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 100)
	b.reserve("a", 60)
	large := b.wait("a", 90)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	tr := b.ask(ctx, large)
	b.clock.add(large.Wait/2 - time.Nanosecond)
	b.reserve("a", 1)
	if s := b.ask(t.Context(), b.wait("a", 1)); !s.over() || s.err != nil {
		t.Fatal("a call that fits did not pass", s.err)
	}
	b.clock.add(time.Nanosecond)
	small := b.ask(t.Context(), b.wait("a", 1))
	if small.over() {
		t.Fatal("a call passed a larger one that has waited for half of its time")
	}
	b.reserve("a", 1) // it cannot wait, and it fits: refusing it would help nobody
	leave()
	<-tr.done
	<-small.done
	if small.err != nil {
		t.Error(small.err)
	}
}

func TestWaitForAnEdit(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 100)
	b.reserve("a", 80)
	raised, deleted := b.ask(t.Context(), b.wait("a", 50)), b.ask(t.Context(), b.wait("a", 90))
	st := b.budget("a", budget.Month, 130)
	<-raised.done
	if raised.err != nil {
		t.Fatal(raised.err)
	}
	b.want(st.ID, 0, 130)
	if err := b.DeleteBudget(t.Context(), st.ID, "", budget.Author{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	<-deleted.done
	if deleted.err != nil || len(deleted.res.Accounts) != 0 {
		t.Fatal(deleted.res, deleted.err)
	}
}

// A window that ends frees those who wait for it.
func TestWaitForAWindow(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Day, 100)
	b.reserve("a", 80)
	tr := b.ask(t.Context(), b.wait("a", 50))
	b.clock.add(24 * time.Hour)
	b.Tick()
	<-tr.done
	if tr.err != nil {
		t.Fatal(tr.err)
	}
	b.want(st.ID, 0, 50)
}

// A call that is content with less gets the most that fits.
func TestWaitForLess(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 100)
	less := func(least budget.Amount) budget.Request {
		r := b.wait("a", 90)
		r.Least, r.Fit = least, func(room budget.Amount) budget.Amount {
			if room < least {
				return -1
			}
			return room / 10 * 10
		}
		return r
	}
	running := b.reserve("a", 55)
	r := less(20)
	res, err := b.Reserve(t.Context(), r)
	if err != nil || res.Bound != 40 {
		t.Fatal(res.Bound, err)
	}
	if again, err := b.Reserve(t.Context(), r); err != nil || again.ID != res.ID || again.Bound != 40 {
		t.Fatal(again, err)
	}
	tr := b.ask(t.Context(), less(20))
	if tr.over() {
		t.Fatal(tr.res, tr.err)
	}
	b.settle(settlement(running, 25))
	<-tr.done
	if tr.err != nil || tr.res.Bound != 30 { // 100 less 25 and 40
		t.Fatal(tr.res.Bound, tr.err)
	}
}

// What is held for those who wait is bounded, a key's share of it too; beyond it
// calls are refused as if nobody could wait.
func TestWaitingIsBounded(t *testing.T) {
	const each = 48 << 10 // with what the ledger adds
	b := start(t, func(c *ledger.Config) { c.WaitBytes = 8 * 64 << 10 })
	b.budget("**", budget.Month, 100)
	b.reserve("a", 80)
	ctx, leave := context.WithCancel(t.Context())
	var waiting []*turn
	ask := func(key string) bool {
		r := b.wait("a", 50)
		r.KeyID, r.Size = key, each
		tr := b.ask(ctx, r)
		waiting = append(waiting, tr)
		return !tr.over()
	}
	for range 4 {
		if !ask("greedy") {
			t.Fatal("a key may have half")
		}
	}
	if ask("greedy") {
		t.Error("a key has more than half")
	}
	if e := asError(t, waiting[4].err); e.Reason != "cap_held" {
		t.Error(e)
	}
	if !ask("other") {
		t.Error("one key left no room for another")
	}
	leave()
	for _, tr := range waiting {
		<-tr.done
	}
	if b.Waiting() != 0 {
		t.Errorf("%d still wait", b.Waiting())
	}
}

// Who leaves gives back its part of what a key may have, and no more.
func TestWaitingGivesBackItsShare(t *testing.T) {
	const each = 48 << 10 // with what the ledger adds
	b := start(t, func(c *ledger.Config) { c.WaitBytes = 8 * 64 << 10 })
	b.budget("**", budget.Month, 100)
	b.reserve("a", 80)
	all, leave := context.WithCancel(t.Context())
	ask := func(ctx context.Context) *turn {
		r := b.wait("a", 50)
		r.KeyID, r.Size = "greedy", each
		return b.ask(ctx, r)
	}
	one, leaveOne := context.WithCancel(t.Context())
	turns := []*turn{ask(one), ask(all), ask(all)}
	leaveOne()
	<-turns[0].done
	turns = append(turns, ask(all), ask(all))
	if last := ask(all); turns[3].over() || turns[4].over() || !last.over() {
		t.Errorf("%d wait, want four", b.Waiting())
	}
	leave()
	for _, tr := range turns {
		<-tr.done
	}
}

// A call that waited at one budget goes on to wait at another, where others took
// the room meanwhile.
func TestWaitGoesOnElsewhere(t *testing.T) {
	b := start(t)
	b.budget("**", budget.Month, 100)
	b.budget("a", budget.Month, 60)
	running := b.reserve("x", 80)
	tr := b.ask(t.Context(), b.wait("a", 50))
	other := b.reserve("a", 20)
	b.settle(settlement(running, 0))
	if b.Waiting() != 1 || tr.over() {
		t.Fatal(tr.res, tr.err)
	}
	b.settle(settlement(other, 0))
	<-tr.done
	if tr.err != nil {
		t.Fatal(tr.err)
	}
	b.sound()
}

// Those who wait for the same budget are served in the order they came.
func TestWaitingKeepsOrder(t *testing.T) {
	b := start(t)
	b.budget("**", budget.Month, 100)
	next := b.reserve("a", 100)
	var turns []*turn
	for range 20 {
		turns = append(turns, b.ask(t.Context(), b.wait("a", 100)))
	}
	for i, tr := range turns {
		b.settle(settlement(next, 0))
		<-tr.done
		if tr.err != nil {
			t.Fatal(i, tr.err)
		}
		next = tr.res
	}
}

// Ten thousand callers wait, and leave nothing.
func TestManyWait(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	b := start(t, func(c *ledger.Config) { c.WaitBytes = 1 << 30 })
	b.budget("**", budget.Month, 100)
	running := b.reserve("a", 51)
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var yes atomic.Int64
	for range n {
		r := b.wait("a", 50)
		all.Go(func() {
			if _, err := b.Reserve(ctx, r); err == nil {
				yes.Add(1)
			}
		})
	}
	for b.Waiting() < n {
		time.Sleep(time.Millisecond)
	}
	b.settle(settlement(running, 0))
	for b.Waiting() > n-2 {
		time.Sleep(time.Millisecond)
	}
	leave()
	all.Wait()
	if b.Waiting() != 0 || yes.Load() != 2 {
		t.Errorf("%d still wait, %d were admitted", b.Waiting(), yes.Load())
	}
	b.sound()
}

// While somebody waits the ledger does no more than at any other time.
func TestWaitingIsIdle(t *testing.T) {
	var looks atomic.Int64
	b := start(t, func(c *ledger.Config) {
		now := c.Now
		c.Now = func() time.Time { looks.Add(1); return now() }
	})
	b.budget("a", budget.Month, 100)
	b.reserve("a", 80)
	b.flush()
	tr := b.ask(t.Context(), b.wait("a", 50))
	before := looks.Load()
	select {
	case <-tr.done:
		t.Fatal(tr.res, tr.err)
	case <-time.After(500 * time.Millisecond):
	}
	if n := looks.Load() - before; n > 100 {
		t.Errorf("the clock was read %d times while one call waited for half a second", n)
	}
}

// A process that dies takes those who wait with it: nothing is held for them.
func TestWaitersDie(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	b.reserve("a", 80)
	b.flush()
	ctx, leave := context.WithCancel(t.Context())
	tr := b.ask(ctx, b.wait("a", 50))
	after := b.killed()
	after.want(st.ID, 0, 80)
	leave()
	<-tr.done
}
