package ledger

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
)

// The simulation drives the real core through random lives: calls, access logs
// on two channels that lose, repeat, delay and reorder them, commits that take
// long or fail, crashes and power loss at every point of a commit, clocks that
// jump, windows that end, and an administrator. The disk is simDisk, for every
// sixteenth seed SQLite as well. An oracle knows what the provider bills, and
// every invariant of DESIGN.md is checked after every step.
//
// A seed decides everything. Its steps are drawn first, each with a random
// number of its own, so that a failure can be shrunk by leaving steps out.

var (
	simSeconds = flag.Float64("sim.seconds", envFloat("SIM_SECONDS", 10), "how long TestSimulation and TestLeaseSimulation run at least; SIM_SECONDS sets the default")
	simSeed    = flag.Uint64("sim.seed", 0, "the one seed that TestSimulation runs, with a trace")
)

func envFloat(name string, otherwise float64) float64 {
	if v, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil {
		return v
	}
	return otherwise
}

const (
	simSteps = 350
	// simFixed is how many seeds every run starts with; they reach every path
	// of simPaths.
	simFixed = 300
)

// simPaths are the rare paths that the fixed seeds must reach.
func simPaths() []string {
	return []string{
		"admitted on several budgets", "repeated check", "request id reused", "unbounded refused", "refused", "waited for the mark", "waited for a settlement",
		"waited for running calls", "waited on several budgets", "admitted after waiting", "refused after waiting", "admitted smaller", "admitted smaller after waiting", "passed a larger call", "waited behind a larger call", "gave up waiting", "no room to wait", "waited for a window that ended",
		"settled", "settled above its bound", "settled without token", "settled by the file", "hold never journaled", "repeat ignored", "repeat of a dead epoch ignored",
		"expired", "expiry refunded", "expiry refunded in its own batch", "expiry refunded after a crash", "heartbeat",
		"orphan settled", "orphan settled from residue", "orphan pool charged", "stray charged", "unattributed",
		"crash between commits", "crash in a commit, lost", "crash in a commit, written", "crash before apply", "crash in recovery", "ring read back", "crash while crashed calls are open",
		"commit failed, lost", "commit failed, written", "clean close", "several crashes", "log file read again",
		"mark lowered", "idle mark given back", "cap cut", "cap cut below use", "cap raised", "crash in an edit", "budget created", "budget created with a past", "budget created above its cap", "running call joined", "budget abandoned", "crash while a budget counts", "budget deleted with open calls",
		"zone changed", "zone changed with a prepared window", "window ended with open calls", "settled in an ended window", "next window prepared", "clock back", "clock a month ahead", "leap of the clock held back", "leap of the clock believed", "ended window deleted", "rows pruned", "epoch closed", "log of a closed epoch ignored",
		"envoy killed", "sqlite recovered", "sqlite with a torn tail",
	}
}

// simStep is one drawn step.
type simStep struct {
	op int
	r  uint64
}

func TestSimulation(t *testing.T) {
	t.Parallel() // it is one goroutine's computation; TestKillAtEveryStep mostly waits for disks
	skipSearch(t)
	paths := map[string]int{}
	if *simSeed != 0 {
		if f := runSeed(t, *simSeed, paths, true); f != nil {
			reportSeed(t, f)
		}
		return
	}
	began, seeds := time.Now(), uint64(0)
	run := func(seed uint64) bool {
		seeds++
		f := runSeed(t, seed, paths, false)
		if f != nil {
			reportSeed(t, f)
		}
		return f == nil
	}
	fixed := uint64(simFixed)
	if testing.Short() {
		fixed /= 4
	}
	for seed := uint64(1); seed <= fixed; seed++ {
		if !run(seed) {
			return
		}
	}
	for _, p := range simPaths() {
		if paths[p] == 0 && !testing.Short() {
			t.Errorf("the fixed seeds never reached: %s", p)
		}
	}
	base := uint64(began.UnixNano())
	for time.Since(began).Seconds() < *simSeconds && !testing.Short() {
		if !run(base + seeds) {
			return
		}
	}
	t.Logf("%d seeds of %d steps in %s, random ones from %d", seeds, simSteps, time.Since(began).Round(time.Millisecond), base)
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		t.Logf("%9d  %s", paths[p], p)
	}
}

// simFailure is a broken invariant and the steps that lead there.
type simFailure struct {
	seed  uint64
	steps []simStep
	what  string
	trace []string
}

func reportSeed(t *testing.T, f *simFailure) {
	t.Errorf("seed %d: %s\nreplay: go test ./ledger -run 'TestSimulation$' -sim.seed=%d\nshrunk to %d steps:\n  %s",
		f.seed, f.what, f.seed, len(f.steps), strings.Join(f.trace, "\n  "))
}

// runSeed runs a seed and, if it fails, shrinks it.
func runSeed(t *testing.T, seed uint64, paths map[string]int, verbose bool) *simFailure {
	steps := drawSteps(seed)
	f := runSteps(t, seed, steps, paths)
	if f == nil {
		return nil
	}
	for size := len(f.steps) / 2; size > 0; {
		smaller := false
		for at := 0; at+size <= len(f.steps); {
			rest := slices.Concat(f.steps[:at], f.steps[at+size:])
			if g := runSteps(t, seed, rest, map[string]int{}); g != nil {
				f, smaller = g, true
			} else {
				at += size
			}
		}
		if !smaller || size > len(f.steps) {
			size = min(size, len(f.steps)) / 2
		}
	}
	if verbose {
		t.Logf("seed %d fails after %d of %d steps", seed, len(f.steps), len(steps))
	}
	return f
}

// drawSteps draws a seed's steps. Each seed likes other operations.
func drawSteps(seed uint64) []simStep {
	rng := rand.New(rand.NewPCG(seed, 1))
	ops := simOps()
	total := 0
	weights := make([]int, len(ops))
	for i, op := range ops {
		weights[i] = op.weight * []int{1, 1, 2, 4}[rng.IntN(4)]
		if op.rare && rng.IntN(3) > 0 {
			weights[i] = 0
		}
		total += weights[i]
	}
	steps := make([]simStep, simSteps)
	for i := range steps {
		n := rng.IntN(total)
		for op, w := range weights {
			if n -= w; n < 0 {
				steps[i] = simStep{op, rng.Uint64()}
				break
			}
		}
	}
	return steps
}

// runSteps runs steps and then settles everything.
func runSteps(t *testing.T, seed uint64, steps []simStep, paths map[string]int) (f *simFailure) {
	w := newSimWorld(t, seed, paths)
	done := 0
	defer func() {
		if p := recover(); p != nil {
			w.broken("panic: %v", p)
		}
		w.close()
		if w.failure != "" {
			f = &simFailure{seed, steps[:min(done, len(steps))], w.failure, w.trace}
		}
	}()
	ops := simOps()
	for _, s := range steps {
		done++
		w.rng = rand.New(rand.NewPCG(s.r, 2))
		if w.after = ops[s.op].name; !ops[s.op].do(w) {
			continue
		}
		if w.check(); w.failure != "" {
			return nil
		}
	}
	done = len(steps)
	w.rng = rand.New(rand.NewPCG(seed, 3))
	w.settleEverything()
	return nil
}

// simCall is a call as the provider and the access log know it.
type simCall struct {
	r         budget.Reservation
	request   budget.Request
	running   bool
	actual    budget.Amount     // what the provider bills
	entry     budget.Settlement // what the log says
	lost      bool              // no channel will carry it
	seen      bool              // an entry reached the ledger, once at least
	ambiguous bool              // another call has the same request id
	joined    []int64           // accounts of budgets that were made while it ran
}

// simAccount is what an account owes to the truth.
type simAccount struct {
	budget     int64
	start, end int64
	seed       budget.Amount // spent before the budget existed
	allowed    budget.Amount // the most that calls may cost
	excess     budget.Amount // at most, of what was charged that no cap could stop
	loose      bool          // opened with another cap than it has
	gone       bool
}

// simEdit is an administrator's edit that is not applied yet.
type simEdit struct {
	num     int64
	applied func(*simWorld)
	change  *change
}

// simWorld is one run.
type simWorld struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand
	paths map[string]int

	c     *core
	disk  *simDisk
	real  *simSQLite // nil: the disk is only simulated
	b     *batch
	onB   bool // b is on disk
	exact bool // recovery has the ring

	wall, mono int64
	epochs     int
	calls      []*simCall
	turns      []*waiter  // of calls that wait
	stream     []*simCall // entries on their way
	envoy      []*simCall // entries in Envoy's buffer
	file       []*simCall // the access-log file
	read       int        // entries of file that were settled
	accounts   map[int64]*simAccount
	current    map[int64]int64 // budget -> account of its running window
	edit       *simEdit
	making     *simMaking
	made       *rule // the last that was made, or begun to be
	edits      map[*change]func(*simDisk)
	archive    map[budget.ReservationID]simRow
	strayed    []simRow
	closedMax  uint64
	requestNo  int

	after   string
	failure string
	trace   []string
}

const simTimeout = 300 * second

func newSimWorld(t *testing.T, seed uint64, paths map[string]int) *simWorld {
	w := &simWorld{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 4)), paths: paths, disk: newSimDisk(),
		wall:     time.Date(2026, 3, 28, 20, 0, 0, 0, time.UTC).UnixNano(),
		accounts: map[int64]*simAccount{}, current: map[int64]int64{}, edits: map[*change]func(*simDisk){},
		archive: map[budget.ReservationID]simRow{},
	}
	w.mono = w.wall
	if seed%16 == 0 {
		w.real = newSimSQLite(t, w)
	}
	w.recover(false)
	for range 2 + w.rng.IntN(3) {
		w.countBudget()
		w.enforceBudget()
		w.drain()
	}
	w.after = "start"
	return w
}

func (w *simWorld) close() {
	if w.real != nil {
		w.real.stop()
	}
}

func (w *simWorld) at() instant { return instant{wall: w.wall, mono: w.mono} }

func (w *simWorld) reached(path string) { w.paths[path]++ }

func (w *simWorld) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf("%-14s ", w.after)+fmt.Sprintf(format, args...))
}

func (w *simWorld) broken(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
		w.note("=> %s", w.failure)
	}
}

// pick is a random element, the zero value of none.
func pick[T any](w *simWorld, from []T) (v T) {
	if len(from) > 0 {
		v = from[w.rng.IntN(len(from))]
	}
	return v
}

func (w *simWorld) rules() []*rule {
	return slices.SortedFunc(maps.Values(w.c.rules.byID), func(a, b *rule) int { return cmp.Compare(a.num, b.num) })
}
