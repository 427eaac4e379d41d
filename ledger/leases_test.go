package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"aigateway/budget"
)

// fleet is some ledgers that share a lender.
type fleet struct {
	t       *testing.T
	store   *lender
	ledgers []*Ledger
	dirs    []string
	rules   budget.Rules
	configs []Config
}

func newFleet(t *testing.T, replicas int, caps ...budget.Amount) *fleet {
	t.Helper()
	f := &fleet{t: t, store: newLender(budget.Amount(2 * replicas))}
	f.rules.Version = 1
	for i, limit := range caps {
		id := fmt.Sprintf("bud_%d", i)
		f.store.budgets[id] = limit
		f.rules.Budgets = append(f.rules.Budgets, budget.SharedBudget{Budget: budget.Budget{ID: id, Target: budget.Target{Tags: budget.TagPattern(fmt.Sprintf("tag%d/**", i))}, Period: budget.Total, Cap: limit,
			CreateTime: time.Unix(1, 0), UpdateTime: time.Unix(1, 0)}})
	}
	for i := range replicas {
		f.dirs = append(f.dirs, t.TempDir())
		f.configs = append(f.configs, Config{Dir: f.dirs[i], JournalWait: 20 * time.Second, Lessor: replica{f.store, i}, MaxStale: time.Hour})
		f.ledgers = append(f.ledgers, nil)
		f.open(i)
	}
	return f
}

func (f *fleet) open(i int) {
	f.t.Helper()
	WithoutWatch(&f.configs[i])
	l, err := Open(f.t.Context(), f.configs[i])
	if err != nil {
		f.t.Fatal(err)
	}
	f.ledgers[i] = l
	f.t.Cleanup(func() { l.Close(context.Background()) })
	l.FollowClock(f.store.clock())
	if err := l.ApplyRules(f.t.Context(), f.rules); err != nil {
		f.t.Fatal(err)
	}
	f.await("the first exchange", func() bool { return l.Ready() == nil })
}

// await waits until a condition holds; no clock decides whether a test passes.
func (f *fleet) await(what string, ok func() bool) {
	f.t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.t.Fatalf("waited in vain for %s", what)
}

var fleetCalls atomic.Int64

func (f *fleet) reserve(i int, bound budget.Amount, wait time.Duration) (budget.Reservation, error) {
	return f.ledgers[i].Reserve(f.t.Context(), budget.Request{RequestID: fmt.Sprint("req-", fleetCalls.Add(1)), Bound: bound, Wait: wait,
		Attribution: budget.Attribution{KeyID: "key", Tag: "tag0/a", Model: "p/m", Provider: "p"}})
}

// must is reserve where the cap has room, though others may hold it for a moment, or
// have not told yet what came free.
func (f *fleet) must(i int, bound budget.Amount) (r budget.Reservation) {
	f.t.Helper()
	f.await("room that others give back", func() bool {
		var err error
		r, err = f.reserve(i, bound, 0)
		if why := reasonOf(err); err != nil && why != "budget_contended" && why != "cap_held" {
			f.t.Fatal(err)
		}
		return err == nil
	})
	return r
}

func (f *fleet) settle(i int, r budget.Reservation, cost budget.Amount) {
	f.t.Helper()
	if err := f.ledgers[i].Settle(f.t.Context(), budget.Settlement{RequestID: "", Reservation: &r, Basis: budget.BasisUsage, Cost: cost}); err != nil {
		f.t.Fatal(err)
	}
}

func reasonOf(err error) string {
	var e *budget.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// refuses wants the cap's word, once what others hold of it has come back.
func (f *fleet) refuses(i int, bound budget.Amount, reason string) *budget.Error {
	f.t.Helper()
	var e *budget.Error
	f.await("a refusal", func() bool {
		_, err := f.reserve(i, bound, 0)
		if err == nil || !errors.As(err, &e) {
			f.t.Fatalf("admitted, or %v", err)
		}
		return e.Reason != "budget_contended"
	})
	if e.Reason != reason {
		f.t.Fatalf("refused for %s (%v), want %s", e.Reason, e.Refusal, reason)
	}
	return e
}

// TestFleetSharesOneCap spends a cap from two replicas to the last cent: what one
// does not use is the other's, and a refusal tells the numbers of both.
func TestFleetSharesOneCap(t *testing.T) {
	f := newFleet(t, 2, 100)
	a, b := f.must(0, 30), f.must(1, 30)
	f.must(0, 30)
	e := f.refuses(1, 20, "cap_held")
	if r := e.Refusal; r.Spent != 0 || r.Reserved != 90 || r.Budget.Cap != 100 {
		t.Errorf("refused with %+v", r)
	}
	f.must(1, 10)
	f.settle(0, a, 5)
	f.settle(1, b, 25)
	f.must(0, 30) // of the 30 that came free, 25 were replica 0's and 5 the other's
	f.refuses(0, 1, "cap_held")
	f.await("the numbers of both", func() bool {
		st, err := f.ledgers[1].GetBudget("bud_0")
		if err != nil {
			t.Fatal(err)
		}
		f.reserve(1, 50, 0) // its numbers are as of the last time it asked
		return st.Spent == 30 && st.Reserved == 70
	})
}

// TestFleetSpendsARefund at the replica that had spent the money, to the last cent of
// the cap and the refund, and what is charged again is not there any more.
func TestFleetSpendsARefund(t *testing.T) {
	f := newFleet(t, 2, 100)
	correct := func(amount budget.Amount) {
		f.await("what was spent is told", func() bool {
			f.store.mu.Lock()
			defer f.store.mu.Unlock()
			name := budget.AccountName{BudgetID: "bud_0"}
			if f.store.lent[name][0].spent != 80 {
				return false
			}
			f.store.correct(name, amount)
			return true
		})
	}
	f.settle(0, f.must(0, 80), 80)
	correct(-80)
	f.await("the refund is there", func() bool {
		_, err := f.reserve(0, 30, 0)
		return err == nil
	})
	correct(10)
	f.must(0, 40)
	f.must(1, 20)
	for i := range 2 {
		if r := f.refuses(i, 1, "cap_held").Refusal; r.Spent != 10 || r.Reserved != 90 {
			t.Errorf("replica %d refused with %+v", i, r)
		}
	}
}

// TestFleetNeverOverspends is the measurement of the README: one cap, many callers,
// spread unevenly. As many are admitted as on one machine.
func TestFleetNeverOverspends(t *testing.T) {
	for _, callers := range []int{1, 10, 50} {
		t.Run(fmt.Sprint(callers), func(t *testing.T) {
			f := newFleet(t, 3, 10*budget.Cent)
			var admitted atomic.Int64
			var wg sync.WaitGroup
			next := make(chan int)
			for range callers {
				wg.Go(func() {
					for n := range next {
						at := max(0, n%7-4) // 5 of 7 at the first
						for {
							_, err := f.reserve(at, 3*budget.Cent, 0)
							if err == nil {
								admitted.Add(1)
							} else if reasonOf(err) == "budget_contended" {
								continue
							} else if e := reasonOf(err); e != "cap_held" {
								t.Errorf("%v", err)
							}
							break
						}
					}
				})
			}
			for n := range 200 {
				next <- n
			}
			close(next)
			wg.Wait()
			if admitted.Load() != 3 {
				t.Errorf("%d of 3 admitted", admitted.Load())
			}
		})
	}
}

// TestFleetWaits lets a call wait for one that runs on another replica.
func TestFleetWaits(t *testing.T) {
	f := newFleet(t, 2, 100)
	r := f.must(0, 80)
	done := make(chan error, 1)
	go func() {
		_, err := f.reserve(1, 50, time.Minute)
		done <- err
	}()
	f.await("the call to wait", func() bool { return f.ledgers[1].Waiting() == 1 })
	f.settle(0, r, 10)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFleetWithoutItsStore goes on with what it has, and then answers 503; with a
// store that never answered, or too long ago, nothing is admitted.
func TestFleetWithoutItsStore(t *testing.T) {
	f := newFleet(t, 2, 1000)
	f.must(0, 10)
	f.await("a lease ahead", func() bool {
		f.ledgers[0].mu.Lock()
		defer f.ledgers[0].mu.Unlock()
		for _, a := range f.ledgers[0].core.accounts {
			return a.room() >= 20
		}
		return false
	})
	f.store.mu.Lock()
	f.store.down = true
	f.store.mu.Unlock()
	admitted := 0
	for ; ; admitted++ {
		if _, err := f.reserve(0, 10, 0); err != nil {
			if reasonOf(err) != "store_unreachable" {
				t.Fatal(err)
			}
			break
		}
	}
	if admitted < 2 {
		t.Errorf("%d calls admitted by the lease", admitted)
	}
	f.store.mu.Lock()
	f.store.down = false
	f.store.mu.Unlock()
	f.await("the store again", func() bool { _, err := f.reserve(0, 10, 0); return err == nil })
}

// TestFleetSlowStore: calls that lack lease wait for a store that takes its time, as
// long as their callers do, and no call begins to wait for one that is silent.
func TestFleetSlowStore(t *testing.T) {
	f := newFleet(t, 1, 100*budget.Dollar)
	l := f.ledgers[0]
	l.config.JournalWait = 50 * time.Millisecond
	slow := func(delay time.Duration) {
		f.store.mu.Lock()
		defer f.store.mu.Unlock()
		f.store.delay = delay
	}
	reserve := func(bound budget.Amount, patience time.Duration) (took time.Duration, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		begun := time.Now()
		_, err = l.Reserve(ctx, budget.Request{RequestID: fmt.Sprint("req-", fleetCalls.Add(1)), Bound: bound, Attribution: budget.Attribution{KeyID: "key", Tag: "tag0/a", Model: "p/m", Provider: "p"}})
		return time.Since(begun), err
	}
	defer slow(0) // it takes back what is lent
	slow(700 * time.Millisecond)
	for bound := budget.Dollar; bound < 16*budget.Dollar; bound *= 2 { // each has to ask
		if _, err := reserve(bound, time.Minute); err != nil {
			t.Errorf("a call of %s: %v", bound, err)
		}
	}
	if _, err := reserve(90*budget.Dollar, time.Minute); reasonOf(err) != "cap_held" {
		t.Errorf("what the cap does not leave: %v", err)
	}
	slow(time.Hour)
	if took, err := reserve(50*budget.Dollar, time.Second); reasonOf(err) != "store_unreachable" || took > time.Second {
		t.Errorf("after %v: %v; want to hear in time that the store is silent", took, err)
	}
	l.mu.Lock()
	l.core.leases.sent -= slowFor
	l.mu.Unlock()
	if took, err := reserve(50*budget.Dollar, time.Minute); reasonOf(err) != "store_unreachable" || took > 10*time.Second {
		t.Errorf("after %v: %v; want to hear at once that the store is silent", took, err)
	}
}

func TestFleetTrustsNoOldStore(t *testing.T) {
	f := newFleet(t, 1, 1000)
	f.must(0, 10)
	l := f.ledgers[0]
	f.store.mu.Lock()
	f.store.down = true
	f.store.mu.Unlock()
	l.mu.Lock()
	l.core.leases.fresh = l.instant().mono
	l.mu.Unlock()
	if _, err := f.reserve(0, 1, 0); reasonOf(err) != "store_unreachable" {
		t.Errorf("%v", err)
	}
	if err := l.Ready(); reasonOf(err) != "store_unreachable" {
		t.Errorf("ready: %v", err)
	}
	if n := len(l.OpenReservations(10)); n != 1 {
		t.Errorf("%d reservations are open", n)
	}
}

// TestFleetAdmitsNothingTooLate: a call that was decided on while the store's word
// still counted is not let through when it no longer does; the answer to one that
// was admitted before stays what it was.
func TestFleetAdmitsNothingTooLate(t *testing.T) {
	f := newFleet(t, 1, 1000)
	f.must(0, 10)
	l := f.ledgers[0]
	r := budget.Request{RequestID: "late", Attribution: budget.Attribution{KeyID: "key", Tag: "tag0/a"}}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.instant()
	out, h, tight, _ := l.core.reserve(&r, at)
	if out != admitted {
		t.Fatalf("outcome %d", out)
	}
	l.core.leases.fresh = at.mono
	if _, err := l.decided(&r, repeated, h, tight, at); err != nil || h.state != holdOpen {
		t.Errorf("asked again: %v, in state %d", err, h.state)
	}
	if _, err := l.decided(&r, admitted, h, tight, at); reasonOf(err) != "store_unreachable" || h.state == holdOpen {
		t.Errorf("%v, in state %d", err, h.state)
	}
}

// TestFleetWaitsAnewForItsStore: what a call waited for a commit is no part of how
// long it may wait for the store.
func TestFleetWaitsAnewForItsStore(t *testing.T) {
	f := newFleet(t, 1, 100*budget.Dollar)
	l := f.ledgers[0]
	l.config.JournalWait = 50 * time.Millisecond
	f.store.mu.Lock()
	f.store.delay = 300 * time.Millisecond
	f.store.mu.Unlock()
	committed := make(chan struct{})
	close(committed)
	r := budget.Request{RequestID: "anew", Bound: 16 * budget.Dollar, Attribution: budget.Attribution{KeyID: "key", Tag: "tag0/a"}}
	if _, err := l.waitReserve(t.Context(), &r, later{next: committed}, l.instant().mono); reasonOf(err) == "store_unreachable" || reasonOf(err) == "budget_contended" {
		t.Errorf("%v", err)
	}
}

// TestFleetIsNotWaitedFor by a caller that has left.
func TestFleetIsNotWaitedFor(t *testing.T) {
	f := newFleet(t, 1, 1000)
	f.store.mu.Lock()
	f.store.delay = time.Second
	f.store.mu.Unlock()
	ctx, leave := context.WithCancel(t.Context())
	leave()
	res, err := f.ledgers[0].Reserve(ctx, budget.Request{RequestID: "left", Bound: 500, Attribution: budget.Attribution{KeyID: "key", Tag: "tag0/a"}})
	if reasonOf(err) != "canceled" || res.ID != 0 {
		t.Errorf("%+v, %v", res, err)
	}
}

// TestFleetRestarts ends a replica in order, after which nothing of it is stranded,
// and as by a power loss, after which it stands for what its mark allowed.
func TestFleetRestarts(t *testing.T) {
	f := newFleet(t, 2, 1000)
	name := budget.AccountName{BudgetID: "bud_0"}
	r := f.must(0, 100)
	if err := f.ledgers[0].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := f.store.lent[name][0]; got.lease != 100 || got.reserved != 100 {
		t.Errorf("after Close the store has %+v", got)
	}
	f.open(0)
	f.settle(0, r, 40)
	f.must(1, 960)
	f.refuses(0, 1, "cap_held")
	dir := t.TempDir()
	if err := f.ledgers[0].CopyFiles(dir); err != nil {
		t.Fatal(err)
	}
	if err := f.ledgers[0].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.configs[0].Dir = dir
	f.open(0)
	f.refuses(0, 1, "cap_held")
}

// TestFleetRefusesRollback: a ledger that is older than what it last served does not
// know what its leases were used for.
func TestFleetRefusesRollback(t *testing.T) {
	f := newFleet(t, 1, 1000)
	old := t.TempDir()
	if err := f.ledgers[0].CopyFiles(old); err != nil {
		t.Fatal(err)
	}
	f.must(0, 100)
	if err := f.ledgers[0].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.open(0)
	if err := f.ledgers[0].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := f.configs[0]
	c.Dir, c.AcceptRollback, c.rollBack = old, true, true
	if l, err := Open(t.Context(), c); err == nil {
		l.Close(t.Context())
		t.Error("it opened")
	}
}

// TestTightestOfAll: what is left is what all ledgers leave, also where this one had no
// call to ask the store for.
func TestTightestOfAll(t *testing.T) {
	f := newFleet(t, 2, 1000)
	for spent := budget.Amount(100); spent <= 300; spent += 100 {
		f.must(0, 100)
		f.await("the other has told the store", func() bool {
			f.store.mu.Lock()
			defer f.store.mu.Unlock()
			return f.store.lent[budget.AccountName{BudgetID: "bud_0"}][0].reserved == spent
		})
		time.Sleep(time.Duration(shortFor))
		st, ok := f.ledgers[1].Tightest(t.Context(), "tag0/a", "key")
		if !ok || st.Spent+st.Reserved != spent {
			t.Errorf("spent and reserved are told as %d, want %d", st.Spent+st.Reserved, spent)
		}
	}
	f.store.mu.Lock()
	before := f.store.calls
	f.store.mu.Unlock()
	for range 1000 {
		f.ledgers[1].Tightest(t.Context(), "tag0/a", "key")
	}
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	if n := f.store.calls - before; n > 100 {
		t.Errorf("1000 questions cost %d exchanges", n)
	}
}

// TestTightestOfClosed: nobody waits for an exchange that will not come.
func TestTightestOfClosed(t *testing.T) {
	f := newFleet(t, 1, 1000)
	if err := f.ledgers[0].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Duration(shortFor))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	f.ledgers[0].Tightest(ctx, "tag0/a", "key")
	if ctx.Err() != nil {
		t.Error("it waits as long as its caller does")
	}
}
