package ledger_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"aigateway/budget"
	_ "aigateway/internal/rapidtest"
	"aigateway/ledger"
)

// TestTenThousandCallers is the promise in one sentence: of any number of
// simultaneous calls exactly those are admitted that fit.
func TestTenThousandCallers(t *testing.T) {
	const bound, limit = 7, 20_000
	b := start(t, func(c *ledger.Config) { c.Now = time.Now; c.JournalWait = 30 * time.Second })
	st := b.budget("a", budget.Total, limit)
	var admitted, denied atomic.Int64
	var wg sync.WaitGroup
	for i := range 10_000 {
		wg.Go(func() {
			_, err := b.Reserve(t.Context(), budget.Request{RequestID: fmt.Sprint("r", i), Bound: bound, Attribution: budget.Attribution{Tag: "a"}})
			var e *budget.Error
			switch {
			case err == nil:
				admitted.Add(1)
			case errors.As(err, &e) && e.Kind == budget.KindBudgetExceeded:
				denied.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := admitted.Load(); got != limit/bound || got+denied.Load() != 10_000 {
		t.Errorf("admitted %d of %d that fit, denied %d", got, limit/bound, denied.Load())
	}
	b.want(st.ID, 0, limit/bound*bound)
}

// TestManyTagsConcurrently moves money on overlapping budgets and then counts
// every nano.
func TestManyTagsConcurrently(t *testing.T) {
	b := start(t, func(c *ledger.Config) { c.Now = time.Now; c.JournalWait = 30 * time.Second })
	var ids []string
	for _, p := range []budget.TagPattern{"**", "x/**", "x/1", "x/2", "x/3", "y"} {
		ids = append(ids, b.budget(p, budget.Total, 3000).ID)
	}
	var spent [4]atomic.Int64
	var wg sync.WaitGroup
	for w := range 200 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range 50 {
				n := rng.IntN(4)
				tag := budget.Tag([]string{"x/1", "x/2", "x/3", "y"}[n])
				bound := budget.Amount(rng.IntN(50))
				r, err := b.Reserve(t.Context(), budget.Request{RequestID: fmt.Sprint(w, "-", i), Bound: bound, Attribution: budget.Attribution{Tag: tag}})
				if err != nil {
					continue
				}
				cost := budget.Amount(rng.Int64N(int64(bound)/10 + 1))
				for range 1 + rng.IntN(2) {
					if err := b.Settle(t.Context(), budget.Settlement{Reservation: &r, Basis: budget.BasisUsage, Cost: cost}); err != nil {
						t.Error(err)
					}
				}
				spent[n].Add(int64(cost))
			}
		})
	}
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		wg.Wait()
	}()
	for running := true; running; {
		select {
		case <-stop:
			running = false
		case <-time.After(time.Millisecond):
		}
		b.sound()
		if err := b.CheckMarks(); err != nil {
			t.Error(err)
		}
	}
	b.flush()
	x := spent[0].Load() + spent[1].Load() + spent[2].Load()
	for i, want := range []int64{x + spent[3].Load(), x, spent[0].Load(), spent[1].Load(), spent[2].Load(), spent[3].Load()} {
		b.want(ids[i], budget.Amount(want), 0)
	}
}

// TestCapEditsUnderLoad cuts, raises, deletes and recreates a budget while
// callers run: after a cut is acknowledged, use only grows within the new cap.
func TestCapEditsUnderLoad(t *testing.T) {
	b := start(t, func(c *ledger.Config) { c.Now = time.Now; c.JournalWait = 30 * time.Second })
	st := b.budget("a", budget.Total, 1000)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r, err := b.Reserve(t.Context(), budget.Request{RequestID: fmt.Sprint(w, "-", i), Bound: 10, Attribution: budget.Attribution{Tag: "a"}})
				if err == nil && i%20 != 0 { // every twentieth stays open
					err = b.Settle(t.Context(), budget.Settlement{Reservation: &r, Basis: budget.BasisReleased})
				}
				var e *budget.Error
				if err != nil && (!errors.As(err, &e) || e.Kind != budget.KindBudgetExceeded) {
					t.Error(err)
				}
			}
		})
	}
	for i, limit := range []budget.Amount{500, 2000, 100, 3000, 1000, 0, 400} {
		if i == 4 {
			if err := b.DeleteBudget(t.Context(), st.ID, "", budget.Author{Actor: "test"}); err != nil {
				t.Fatal(err)
			}
		}
		st = b.budget("a", budget.Total, limit)
		before := b.Counters(st.ID).Used
		for range 20 {
			if used := b.Counters(st.ID).Used; used > max(before, limit) {
				t.Errorf("cap %d: used grew from %d to %d", limit, before, used)
			}
			b.sound()
			b.flush()
		}
	}
	close(stop)
	wg.Wait()
}

// world is a ledger under random operations, and an oracle that knows what the
// provider really billed.
type world struct {
	*bench
	t       *rapid.T
	ids     map[string][]budget.Tag // budget -> tags it watches
	limits  map[string]budget.Amount
	calls   []*call
	crashes int // that lost something
	expired bool
}

type call struct {
	r       budget.Reservation
	actual  budget.Amount
	running bool
}

// exposure is what a budget's calls cost or may still cost.
func (w *world) exposure(id string) (sum budget.Amount) {
	for _, c := range w.calls {
		for _, tag := range w.ids[id] {
			if c.r.Tag == tag && c.running {
				sum += c.r.Bound
			} else if c.r.Tag == tag {
				sum += c.actual
			}
		}
	}
	return sum
}

func (w *world) check(*rapid.T) {
	if err := w.Invariants(); err != nil {
		w.t.Fatal(err)
	}
	if err := w.CheckMarks(); err != nil {
		w.t.Fatal(err)
	}
	for id := range w.ids {
		c, exposure := w.Counters(id), w.exposure(id)
		if c.Used < exposure || exposure > w.limits[id] {
			w.t.Fatalf("budget %s: exposure %d, used %d, cap %d", id, exposure, c.Used, w.limits[id])
		}
	}
}

func (w *world) reserve(t *rapid.T) {
	tag := rapid.SampledFrom([]budget.Tag{"x/1", "x/2", "y"}).Draw(t, "tag")
	r, err := w.Reserve(context.Background(), w.request(tag, budget.Amount(rapid.IntRange(0, 40).Draw(t, "bound"))))
	if err == nil {
		w.calls = append(w.calls, &call{r: r, running: true})
	}
}

// pick is any call; nil before the first.
func (w *world) pick(t *rapid.T) *call {
	if len(w.calls) == 0 {
		return nil
	}
	return w.calls[rapid.IntRange(0, len(w.calls)-1).Draw(t, "call")]
}

// finish ends a call at the provider; its log may never arrive.
func (w *world) finish(t *rapid.T) {
	if c := w.pick(t); c != nil && c.running {
		c.running, c.actual = false, budget.Amount(rapid.Int64Range(0, int64(c.r.Bound)).Draw(t, "actual"))
	}
}

// log delivers a finished call's entry: first, again or late.
func (w *world) log(t *rapid.T) {
	if c := w.pick(t); c != nil && !c.running {
		w.settle(settlement(c.r, c.actual))
	}
}

func (w *world) sync(*rapid.T) { w.flush() }

func (w *world) time(t *rapid.T) {
	w.clock.add(time.Duration(rapid.IntRange(1, 400).Draw(t, "seconds")) * time.Second)
	w.tick()
	w.expired = true
}

// stall runs a few operations while the disk is stuck, and may crash there:
// before the commit, or between the commit and memory learning of it.
func (w *world) stall(t *rapid.T) {
	release := w.gate.Stall
	if rapid.Bool().Draw(t, "after") {
		release = w.gate.StallAfter
	}
	free := release()
	defer free()
	for range rapid.IntRange(1, 6).Draw(t, "steps") {
		w.reserve(t)
		if len(w.calls) > 0 {
			w.finish(t)
			w.log(t)
		}
		w.check(t)
	}
	if rapid.Bool().Draw(t, "crash") {
		w.reopen(free, rapid.Bool().Draw(t, "power loss"))
	}
}

func (w *world) crashNow(t *rapid.T) {
	w.reopen(func() {}, rapid.Bool().Draw(t, "power loss"))
}

// reopen ends the process. Without a power loss nothing may be lost.
func (w *world) reopen(release func(), power bool) {
	dir := w.bench.t.(*testing.T).TempDir()
	leave := w.CopyAll
	if power {
		leave = w.CopyFiles
		w.crashes++
	}
	if err := leave(dir); err != nil {
		w.t.Fatal(err)
	}
	release()
	if err := w.Close(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	n := w.n
	w.bench = reopen(w.bench.t, dir, w.clock, quick)
	w.n = n
}

func quick(c *ledger.Config) { c.JournalWait = 3 * time.Millisecond }

func TestRandomOperations(t *testing.T) {
	// A quick look by default; -rapid.checks=5000 is for a night.
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("25"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{bench: start(t, quick), t: rt, ids: map[string][]budget.Tag{}, limits: map[string]budget.Amount{}}
		defer func() { w.Close(context.Background()) }()
		for p, tags := range map[budget.TagPattern][]budget.Tag{"**": {"x/1", "x/2", "y"}, "x/**": {"x/1", "x/2"}, "x/1": {"x/1"}} {
			limit := budget.Amount(rapid.IntRange(50, 400).Draw(rt, "cap"))
			st := w.budget(p, budget.Total, limit)
			w.ids[st.ID], w.limits[st.ID] = tags, limit
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": w.check, "reserve": w.reserve, "reserve more": w.reserve, "finish": w.finish, "log": w.log, "log more": w.log,
			"sync": w.sync, "time": w.time, "stall": w.stall, "crash": w.crashNow,
		})
		w.settleEverything()
	})
}

// settleEverything delivers every log twice; then nothing may be lost (I8),
// and without a crash nothing may be left over (I7).
func (w *world) settleEverything() {
	for range 2 {
		for _, c := range w.calls {
			c.running = false
			w.settle(settlement(c.r, c.actual))
		}
	}
	w.flush()
	w.check(w.t)
	for id := range w.ids {
		c, actual := w.Counters(id), w.exposure(id)
		if c.Held != 0 || c.Spent+c.Orphan < actual || w.crashes == 0 && (c.Spent != actual || c.Orphan != 0) {
			w.t.Fatalf("budget %s after %d crashes: %+v, billed %d", id, w.crashes, c, actual)
		}
	}
}
