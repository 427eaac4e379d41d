package ledger_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
)

var byTest = budget.Author{Actor: "test"}

// TestNewBudgetHasRunningCalls makes a budget while calls run and logs are on their
// way: from the answer on it has them all, over a power loss, deleted and made again.
func TestNewBudgetHasRunningCalls(t *testing.T) {
	b := start(t)
	b.settle(settlement(b.reserve("a", 30), 10))
	b.flush()
	running, other := b.reserve("a", 60), b.reserve("b", 1000)
	b.settle(settlement(b.reserve("a", 30), 7)) // not durable yet, perhaps
	st := b.budget("a", budget.Month, 100)
	if st.Spent != 17 || st.Reserved != 60 {
		t.Errorf("the answer says spent %d, reserved %d; want 17, 60", st.Spent, st.Reserved)
	}
	b.refuse("a", 30, "cap_held")
	b.reserve("a", 23)
	b.flush()
	b = b.crash()
	b.want(st.ID, 17, 83)
	if err := b.DeleteBudget(t.Context(), st.ID, "", byTest); err != nil {
		t.Fatal(err)
	}
	st = b.budget("a", budget.Month, 50)
	b.want(st.ID, 17, 83) // above its cap: what runs may finish
	b.refuse("a", 1, "cap_held")
	b.settle(settlement(running, 20))
	b.settle(settlement(other, 900))
	b.flush()
	b.want(st.ID, 37, 23)
	b.agree()
	b = b.crash()
	b.want(st.ID, 37, 23)
	b.agree()
	wide := b.budget("**", budget.Total, 5000)
	b.want(wide.ID, 937, 23)
}

// TestNewBudgetLeavesOtherWindows makes a budget right after midnight: a call of
// yesterday is on yesterday's books.
func TestNewBudgetLeavesOtherWindows(t *testing.T) {
	b := start(t)
	b.clock.set(time.Date(2026, 4, 15, 23, 59, 59, 0, time.UTC))
	late := b.reserve("a", 60)
	b.clock.add(2 * time.Second)
	day, month := b.budget("a", budget.Day, 100), b.budget("a", budget.Month, 100)
	b.want(day.ID, 0, 0)
	b.want(month.ID, 0, 60)
	b.settle(settlement(late, 5))
	b.flush()
	b.want(day.ID, 0, 0)
	b.want(month.ID, 5, 0)
	b.agree()
}

// TestMakingIsCanceled gives up while a budget counts: it is as if it had never
// been, for calls that began meanwhile too.
func TestMakingIsCanceled(t *testing.T) {
	b := start(t)
	running := b.reserve("a", 60)
	ctx, cancel := context.WithCancel(t.Context())
	release := b.gate.Stall() // the commit of the first step waits
	failed := make(chan error, 1)
	go func() {
		_, err := b.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Month, Cap: 10}, byTest)
		failed <- err
	}()
	cancel()
	release()
	if err := <-failed; err == nil {
		return // it was made before
	}
	b.reserve("a", 50)
	b.settle(settlement(running, 20))
	b.flush()
	if n := b.accountRows(); n != 0 {
		t.Errorf("%d accounts are left", n)
	}
	st := b.budget("a", budget.Month, 100)
	b.want(st.ID, 20, 50)
	b.agree()
}

// TestMakingDies ends the process, and the machine, at each step of each commit
// while a budget is made: at the restart it is there with what runs, or it never
// was.
func TestMakingDies(t *testing.T) {
	var b *bench
	var at sync.Mutex
	var kills, losses []string
	armed := false
	b = start(t, func(c *ledger.Config) {
		*c = ledger.WithSteps(*c, func(int) {
			at.Lock()
			defer at.Unlock()
			if !armed {
				return
			}
			kill, loss := t.TempDir(), t.TempDir()
			if err := b.CopyAll(kill); err != nil {
				t.Error(err)
			}
			if err := b.CopyFiles(loss); err != nil {
				t.Error(err)
			}
			kills, losses = append(kills, kill), append(losses, loss)
		})
	})
	b.settle(settlement(b.reserve("a", 30), 10))
	b.flush()
	running := b.reserve("a", 60)
	b.flush()
	at.Lock()
	armed = true
	at.Unlock()
	b.settle(settlement(b.reserve("a", 30), 7))
	b.budget("a", budget.Month, 100)
	at.Lock()
	armed = false
	at.Unlock()
	made := 0
	for _, dir := range append(kills, losses...) {
		after := reopen(t, dir, b.clock)
		after.n = b.n
		if after.hasMade(running) {
			made++
		}
	}
	if made == 0 || made == len(kills)+len(losses) {
		t.Errorf("%d of %d ends were after the budget was made", made, len(kills)+len(losses))
	}
}

// hasMade reports whether b has the budget of TestMakingDies, and wants its numbers.
func (b *bench) hasMade(running budget.Reservation) bool {
	b.t.Helper()
	list, err := b.ListBudgets("", 10)
	if err != nil {
		b.t.Fatal(err)
	}
	if len(list) == 0 {
		if n := b.accountRows(); n != 0 {
			b.t.Errorf("no budget, but %d accounts", n)
		}
		b.settle(settlement(running, 20))
		b.agree()
		return false
	}
	if list[0].Reserved < 60 || list[0].Spent+list[0].Reserved < 77 {
		b.t.Errorf("after the end: %d spent, %d reserved", list[0].Spent, list[0].Reserved)
	}
	b.settle(settlement(running, 20))
	b.flush()
	if st, err := b.GetBudget(list[0].ID); err != nil || st.Spent+st.Reserved < 37 {
		b.t.Errorf("%+v, %v: the running call is not on it", st, err)
	}
	b.agree()
	return true
}

// TestBudgetsMadeUnderLoad makes budgets one after another while calls come and
// end: each has all of them at the end, the first as the last.
func TestBudgetsMadeUnderLoad(t *testing.T) {
	b := start(t)
	var total struct {
		sync.Mutex
		budget.Amount
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var callers sync.WaitGroup
	for n := range 4 {
		callers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(n), 0))
			var open []budget.Reservation
			for i := 0; ctx.Err() == nil || len(open) > 0; i++ {
				if i%50 == 0 { // else the disk is behind all the time
					if err := b.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if ctx.Err() == nil {
					r, err := b.Reserve(t.Context(), budget.Request{RequestID: fmt.Sprintf("%d-%d", n, i), Bound: 100, Attribution: budget.Attribution{KeyID: "key_a", Tag: "a/b"}})
					if err != nil {
						t.Error(err)
						return
					}
					open = append(open, r)
				}
				if ctx.Err() == nil && len(open) < 8 && rng.IntN(2) == 0 {
					continue
				}
				cost := budget.Amount(rng.IntN(101))
				total.Lock()
				total.Amount += cost
				total.Unlock()
				if err := b.Settle(t.Context(), settlement(open[0], cost)); err != nil {
					t.Error(err)
					return
				}
				open = open[1:]
			}
		})
	}
	made := []budget.Status{}
	for _, target := range []budget.Target{{Tags: "**"}, {Tags: "a/**"}, {Tags: "a/b"}, {KeyID: "key_a"}} {
		for _, p := range []budget.Period{budget.Month, budget.Day, budget.Week, budget.Total} {
			st, err := b.SetBudget(t.Context(), budget.Budget{Target: target, Period: p, Cap: 1 << 40}, byTest)
			if err != nil {
				t.Fatal(err)
			}
			made = append(made, st)
		}
	}
	cancel()
	callers.Wait()
	b.flush()
	for _, st := range made {
		b.want(st.ID, total.Amount, 0)
	}
	b.agree()
}

// A budget cannot be made by a ledger that has ended, and the answer says that it
// is not the caller's fault: it may be made again.
func TestABudgetIsNotMadeOnceTheLedgerEnded(t *testing.T) {
	b := start(t)
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := b.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "late"}, Period: budget.Month, Cap: 100}, budget.Author{Actor: "test"})
	if e := asError(t, err); e.Kind != budget.KindUnavailable || e.Reason != "ledger_closed" {
		t.Errorf("%v", e)
	}
}
