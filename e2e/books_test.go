package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// wantBooksEqual compares the ledger with the providers' bills, to the
// nano-dollar, for every tag.
func (g *gateway) wantBooksEqual(t *testing.T) {
	t.Helper()
	usage, bills := g.usage(), g.bills()
	for _, tag := range slices.Sorted(maps.Keys(bills)) {
		if bill := bills[tag]; bill.NanoUSD != usage[tag].nano {
			t.Errorf("tag %s: the provider bills %d nano-USD for %d calls, the ledger has %d for %d requests",
				tag, bill.NanoUSD, bill.Calls, usage[tag].nano, usage[tag].requests)
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(usage)) {
		if _, billed := bills[tag]; !billed && usage[tag].nano != 0 {
			t.Errorf("tag %s: the ledger has %d nano-USD that nobody billed", tag, usage[tag].nano)
		}
	}
}

// wantBooksCover checks that the ledger never has less than the bill, for
// tests that destroy logs: what is unknown is charged at its bound.
func (g *gateway) wantBooksCover(t *testing.T) {
	t.Helper()
	usage, bills, budgets := g.usage(), g.bills(), g.mustBudgets()
	for _, tag := range slices.Sorted(maps.Keys(bills)) {
		bill := bills[tag].NanoUSD
		if usage[tag].nano < bill {
			t.Errorf("tag %s: the provider bills %d nano-USD, the report has only %d", tag, bill, usage[tag].nano)
		}
		a, ok := budgets[tag]
		if ok && (a.spent < bill || a.spent > a.cap) {
			t.Errorf("tag %s: bill %d, spent %d, cap %d nano-USD: want bill <= spent <= cap", tag, bill, a.spent, a.cap)
		}
		t.Logf("tag %s: bill %d, report %d, spent %d, cap %d nano-USD", tag, bill, usage[tag].nano, a.spent, a.cap)
	}
}

// wantBudgetsEqual checks that every budget of a tag has spent what its calls
// were billed, to the nano-dollar.
func (g *gateway) wantBudgetsEqual(t *testing.T) {
	t.Helper()
	bills, budgets := g.bills(), g.mustBudgets()
	for _, tag := range slices.Sorted(maps.Keys(bills)) {
		if a, ok := budgets[tag]; ok && a.spent != bills[tag].NanoUSD {
			t.Errorf("tag %s: the provider bills %d nano-USD, its budget has spent %d", tag, bills[tag].NanoUSD, a.spent)
		}
	}
}

// wantNothingHeld waits until no budget has anything reserved: after a crash,
// what may have been admitted without a trace is held until the deadline, too.
func (g *gateway) wantNothingHeld(t *testing.T) {
	t.Helper()
	eventually(t, afterDeadline, "no budget holds anything", func() bool {
		for _, a := range g.mustBudgets() {
			if a.reserved != 0 {
				return false
			}
		}
		return true
	})
}

// sampler reads the budgets again and again while a test runs, and fails it
// when one is over its cap.
type sampler struct {
	stop    chan struct{}
	done    sync.WaitGroup
	samples atomic.Int64
	missed  atomic.Int64 // samples that got no answer
}

// sample starts a sampler. While processes are killed, unanswered samples are
// expected: the caller checks missed where they are not.
func (g *gateway) sample(t *testing.T, every time.Duration) *sampler {
	s := &sampler{stop: make(chan struct{})}
	s.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-s.stop:
				return
			case <-tick.C:
			}
			all, err := g.budgets()
			if err != nil {
				s.missed.Add(1)
				continue
			}
			s.samples.Add(1)
			for tag, a := range all {
				if a.spent+a.reserved > a.cap {
					t.Errorf("budget %s: spent %d + reserved %d > cap %d nano-USD", tag, a.spent, a.reserved, a.cap)
				}
			}
		}
	})
	return s
}

// end stops the sampler; there must have been samples.
func (s *sampler) end(t *testing.T) {
	t.Helper()
	close(s.stop)
	s.done.Wait()
	if s.samples.Load() == 0 {
		t.Error("the budgets were never read while the test ran")
	}
	t.Logf("%d samples of the budgets, %d without an answer", s.samples.Load(), s.missed.Load())
}

// load is clients that call until they are told to stop.
type load struct {
	stop chan struct{}
	done sync.WaitGroup

	mu     sync.Mutex
	counts map[string]int // "200", "402", …, "cut" or "truncated"
}

// startLoad runs workers that make calls, numbered from 0.
func startLoad(workers int, call func(worker, i int) reply) *load {
	l := &load{stop: make(chan struct{}), counts: map[string]int{}}
	for w := range workers {
		l.done.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				default:
				}
				r := call(w, i)
				l.count(r)
				if r.err != nil || r.status >= 500 {
					pause(20 * time.Millisecond) // nobody is there: do not spin
				}
			}
		})
	}
	return l
}

func (l *load) count(r reply) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case r.err != nil && r.status == 0:
		l.counts["cut"]++ // no answer at all
	case r.err != nil:
		l.counts["truncated"]++
	default:
		l.counts[fmt.Sprint(r.status)]++
	}
}

// answered is how many calls have ended with 200 so far.
func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts["200"]
}

// end stops the load and returns how many calls ended how.
func (l *load) end(t *testing.T) map[string]int {
	t.Helper()
	close(l.stop)
	l.done.Wait()
	t.Logf("calls by outcome: %v", l.counts)
	return l.counts
}

// wantOnly fails on outcomes other than the expected ones.
func wantOnly(t *testing.T, counts map[string]int, expected ...string) {
	t.Helper()
	for outcome, n := range counts {
		if !slices.Contains(expected, outcome) {
			t.Errorf("%d calls ended with %s; expected are %v", n, outcome, expected)
		}
	}
}
