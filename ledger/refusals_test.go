package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
	"aigateway/internal/pgtest"
	"aigateway/postgres"
)

// told is for how long after a call a ledger may still count it, where that runs at
// another: they tell each other once a second, a busy machine less often.
const told = 10 * time.Second

// oracle knows what calls on one budget may use at most, at any time.
type oracle struct {
	cap budget.Amount

	mu    sync.Mutex
	most  budget.Amount // the bounds of calls that are asked for or run, the costs of those that ended
	spent budget.Amount
	past  []moment
}

type moment struct {
	at   time.Time // since when
	most budget.Amount
}

func (o *oracle) change(d budget.Amount) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.most += d
	o.past = append(o.past, moment{time.Now(), o.most})
}

func (o *oracle) charge(cost budget.Amount) {
	o.change(cost)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.spent += cost
}

// fitted reports whether a call of this bound, which is counted, would have fitted at
// every moment since then.
func (o *oracle) fitted(since time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := len(o.past) - 1; i >= 0; i-- {
		if o.past[i].most > o.cap {
			return false
		}
		if o.past[i].at.Before(since) {
			break
		}
	}
	return true
}

// TestFleetRefusesTruly has ten ledgers on a real store spend caps to 99.9 %, some with
// many more calls than others. A call is refused for the cap only if the cap was in its
// way, at some moment while it waited, or, if it does not wait, as others told last. One
// that is told to come again, because others hold what is free, gets it a second later
// where the store is as quick as that: how long it took is logged, and fails only where
// no busy machine explains it.
func TestFleetRefusesTruly(t *testing.T) {
	t.Parallel()
	for _, wait := range []time.Duration{3 * time.Second, 0} {
		t.Run(fmt.Sprint("wait ", wait), func(t *testing.T) {
			t.Parallel()
			refuseTruly(t, wait)
		})
	}
}

func refuseTruly(t *testing.T, wait time.Duration) {
	const replicas, callers = 10, 60
	limit := budget.Amount(4000)
	if testing.Short() {
		limit = 1000
	}
	caps := []*oracle{{cap: limit}, {cap: limit}, {cap: 2 * limit}}
	ledgers := onOneStore(t, replicas, caps)
	seen := &refusalTally{count: map[string]int{}}
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 14))
			for n := 0; t.Context().Err() == nil; n++ {
				open := slices.DeleteFunc([]int{0, 1, 2, 2}, func(b int) bool { return caps[b].full() })
				if len(open) == 0 {
					return
				}
				b := open[r.IntN(len(open))]
				l := ledgers[min(r.IntN(replicas), r.IntN(replicas), r.IntN(replicas))]
				seen.add(callTruly(t, l, caps[b], r, b, wait, fmt.Sprint("c", i, "-", n)))
			}
		})
	}
	all.Wait()
	t.Logf("%v; longest told to come again: %s", seen.count, seen.longest)
	for i, o := range caps {
		if o.spent > o.cap || !o.full() {
			t.Errorf("budget %d: %d of %d were spent", i, o.spent, o.cap)
		}
	}
	if seen.longest > 30*time.Second {
		t.Errorf("a call was told to come again for %s, though there was room", seen.longest)
	}
}

// refusalTally is what became of calls.
type refusalTally struct {
	sync.Mutex
	count   map[string]int
	longest time.Duration // from the first 429 to the last, where there was room all the time
}

func (s *refusalTally) add(what string, contended time.Duration) {
	s.Lock()
	defer s.Unlock()
	s.count[what]++
	s.longest = max(s.longest, contended)
}

// full reports whether 99.9 % are spent.
func (o *oracle) full() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.spent+o.cap/1000 > o.cap
}

// callTruly is one call, which comes again while it is told to, and says what became of
// it, and how long after the first time it was told so again while there was room.
func callTruly(t *testing.T, l *Ledger, o *oracle, r *rand.Rand, b int, wait time.Duration, name string) (what string, contended time.Duration) {
	bound := budget.Amount(15 + r.IntN(30))
	o.mu.Lock()
	bound = min(bound, max(1, o.cap-o.spent))
	o.mu.Unlock()
	o.change(bound)
	defer o.change(-bound)
	for first := (time.Time{}); ; time.Sleep(time.Second) {
		began := time.Now()
		res, err := l.Reserve(t.Context(), budget.Request{RequestID: name, Bound: bound, Wait: wait,
			Attribution: budget.Attribution{KeyID: "key", Tag: budget.Tag(fmt.Sprint("t", b)), Model: "p/m", Provider: "p"}})
		var e *budget.Error
		switch {
		case err == nil:
			time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
			cost := min(bound, 1+bound*budget.Amount(r.IntN(6))/10)
			if err := l.Settle(context.Background(), budget.Settlement{Reservation: &res, Basis: budget.BasisUsage, Cost: cost}); err != nil {
				t.Error(err)
			}
			o.charge(cost)
			return "admitted", contended
		case !errors.As(err, &e):
			t.Error(err)
			return "error", 0
		case e.Reason == "store_unreachable": // a machine so busy that an exchange takes seconds; no word on the cap
			first = time.Time{}
			continue
		case e.Reason != "budget_contended":
			if wait == 0 && e.Reason == "cap_held" {
				began = began.Add(-told)
			}
			if o.fitted(began) {
				t.Errorf("refused for %s after %s though there was room: %+v", e.Reason, time.Since(began), e.Refusal)
			}
			return e.Reason, contended
		}
		if first.IsZero() {
			first = time.Now()
		} else if o.fitted(first) {
			contended = time.Since(first)
		}
	}
}

// onOneStore are ledgers that share caps through a PostgreSQL.
func onOneStore(t *testing.T, replicas int, caps []*oracle) (ledgers []*Ledger) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	url := pgtest.Start(t, "max_connections = 100").URL("admin")
	store, err := postgres.Open(ctx, postgres.Config{URL: url, Durability: postgres.SingleNode, MaxStale: time.Hour})
	must(err)
	t.Cleanup(store.Close)
	db, err := pgx.Connect(ctx, url)
	must(err)
	for i, o := range caps {
		_, err = db.Exec(ctx, `INSERT INTO aig_budget VALUES ($1, $2, '', 4, '', $3, 0, 0, 1, 1, false)`, fmt.Sprint("bud_", i), fmt.Sprint("t", i), int64(o.cap))
		must(err)
	}
	must(db.Close(ctx))
	rules, _, err := store.Rules(ctx, 0)
	must(err)
	for i := range replicas {
		m, err := store.Join(ctx, budget.Replica{ID: fmt.Sprint("r", i)})
		must(err)
		t.Cleanup(m.Close)
		must(m.Acknowledge(ctx, rules.Version))
		c := Config{Dir: t.TempDir(), JournalWait: 20 * time.Second, Lessor: m, MaxStale: time.Hour}
		WithoutWatch(&c)
		l, err := Open(ctx, c)
		must(err)
		t.Cleanup(func() { l.Close(context.Background()) })
		l.FollowClock(time.Now())
		must(l.ApplyRules(ctx, rules))
		ledgers = append(ledgers, l)
	}
	for _, l := range ledgers {
		for l.Ready() != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
	return ledgers
}
