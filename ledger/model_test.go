package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The model searches every interleaving of a small ledger: one account, up to
// four calls of bound 2 that cost 0 to 2, or more, a sync in three parts, crashes, cap
// edits, access logs that come late, again or never, and the deletion of what
// ended long ago. It does not copy the
// rules it checks: every step unpacks a state into a real core, calls what the
// server calls, and packs the result. Only the disk, the provider and the
// sabotage of the mutants are the model's own (model_world_test.go).
//
// States are told apart by a 64-bit hash, so a search of n states overlooks
// one with a chance of n*n/2^65: 3e-8 for a million.

// modelCalls is the most calls of a search, modelBound what each reserves.
const (
	modelCalls = 4
	modelBound = 2
	modelBills = 8 // more than there are bills, which are costs plus 1
)

// modelConfig is the size of a search.
type modelConfig struct {
	name    string
	cap     int8
	calls   int
	crashes int8
	edits   []int8        // caps that an administrator may set, once
	ends    []modelOp     // what a crash may be; empty: a power loss
	retires bool          // the window ends, and after the retention goes
	waits   time.Duration // how long calls may wait for running ones; 0: not at all
	makes   bool          // the budget is made meanwhile
	exceeds int8          // calls may cost this much more than their bound
}

// sabotage is one way to break the ledger.
type sabotage uint8

const (
	faithful sabotage = iota
	freesEarly
	raisesEarly
	neverClamps
	clampsLate
	expiryReleases
	gapIgnored
	poolReleased
	finishedIsOrphan
	refundsTwice
	cutForgotten
	ringAfterPowerLoss
	publishedEarly
	deletesHeld
	deletesUndecided
	deletesRunning
	forgetsMark
	servesEarly
	servesNobody
	servesLast
	joinsNone
	joinsInMemory
	forgetsQueued
	countsLate
	countsOn
	boundIsCharged
)

// place is where an event is: nowhere, in the queue or in the batch.
type place uint8

const (
	nowhere place = iota
	inQueue
	inBatch
)

// What the disk has of a call.
const (
	noRow uint8 = iota
	holdRow
	expiredRow
	orphanRow
)

// modelCall is one call as memory, disk and provider see it.
type modelCall struct {
	epoch    int8 // 0: not sent yet
	bill     int8 // what it cost, plus 1; 0 while it runs
	state    holdState
	known    bool // open or expired in memory
	orphaned bool

	hold, end, refund, orphan place
	expires                   bool // end is an expiry
	fromOrphan, fromResidue   int8

	row       uint8
	journaled bool // its hold was in a commit

	waits, gone bool // for running calls; it left, or the process did
	making      modelJoin
}

// modelState is everything that can matter later. It has no padding and no
// pointers, so it hashes as bytes.
type modelState struct {
	cap, spent, orphan, residue, hw, held, rise, falling, limit, need int8
	soonSpent, soonOrphan, soonResidue                                int8
	wanted, pools                                                     bool
	pool                                                              place
	poolAmount                                                        int8
	epoch                                                             int8

	edit    place // of the cap edit
	editCap int8
	edited  bool

	syncing          place // inQueue: a batch has begun; inBatch: it is on disk
	touched          bool
	rowS, rowO, rowR int8
	rowHW            int8
	diskCap, diskS   int8
	diskO, diskR     int8
	diskHW           int8
	allowed          int8 // the most that the provider may bill
	crashes          int8
	unclean          bool // something was expired or erased: spending need not be exact
	end              modelEnd
	made             modelMaking

	calls [modelCalls]modelCall
}

// exposure is what calls cost, or may cost while they run. What they cost beyond
// their bounds is left out: no cap can stop it, and only their logs tell.
func (s *modelState) exposure() (t int8) {
	for i := range s.calls {
		if c := &s.calls[i]; c.making.past {
			continue
		} else if c.epoch > 0 && c.bill == 0 {
			t += modelBound
		} else if c.epoch > 0 {
			t += min(c.bill-1, modelBound)
		}
	}
	return t
}

// excess is what exposure leaves out.
func (s *modelState) excess() (t int8) {
	for i := range s.calls {
		if c := &s.calls[i]; !c.making.past {
			t += max(0, c.bill-1-modelBound)
		}
	}
	return t
}

// violation names the first broken invariant, "" if none.
func (s *modelState) violation() string {
	onDisk, dispatched, open, actual := int8(0), int8(0), int8(0), int8(0)
	quiet := s.syncing == nowhere && s.pool == nowhere && s.made.queued == nowhere
	for i := range s.calls {
		c := &s.calls[i]
		if c.row == holdRow && !c.making.rowOff {
			onDisk += modelBound
		}
		if !c.making.off && (c.hold == inQueue || c.hold == inBatch && s.syncing == inQueue) {
			dispatched += modelBound
		}
		if !c.making.off && c.known && c.state != holdExpired && !(c.state == holdRefunding && c.end == nowhere) {
			open += modelBound
		}
		if c.known && c.orphaned {
			return "I6: a call is resolved in two ways"
		}
		if c.bill > 0 && !c.making.past {
			actual += c.bill - 1
		}
		quiet = quiet && c.hold == nowhere && c.end == nowhere && c.refund == nowhere && c.orphan == nowhere && c.making.join == nowhere && (c.epoch == 0 || c.bill > 0) && !c.known
	}
	used := s.spent + s.held + s.orphan + s.rise
	if s.made.step != madeWhole {
		return s.unmade(used, open)
	}
	switch exposure, excess := s.exposure(), s.excess(); {
	case exposure > s.allowed:
		return fmt.Sprintf("I4: overspend, the provider may bill %d of a cap of %d", exposure, s.allowed)
	case used < exposure:
		return fmt.Sprintf("I3: %d is used, the provider may bill %d", used, exposure)
	case s.diskS+s.diskO+onDisk+dispatched > s.diskHW:
		return fmt.Sprintf("I1: spent %d + orphan %d + journaled %d + dispatched %d, but a mark of %d", s.diskS, s.diskO, onDisk, dispatched, s.diskHW)
	case s.diskHW > s.allowed+excess && s.edit == nowhere:
		return fmt.Sprintf("I2: mark %d above %d and what cost %d more than its bound", s.diskHW, s.allowed, excess)
	case s.held != open:
		return fmt.Sprintf("I5: %d held, open holds sum to %d", s.held, open)
	case s.spent < 0 || s.orphan < 0 || s.residue < 0 || s.rise < 0 || s.falling < 0 || s.residue > s.spent:
		return "I5: a counter is out of range"
	case quiet && !s.unclean && s.spent != actual:
		return fmt.Sprintf("I7: nothing was lost, %d is spent, %d was billed", s.spent, actual)
	case quiet && s.spent+s.orphan < exposure:
		return fmt.Sprintf("I8: %d is charged, %d was billed", s.spent+s.orphan, exposure)
	}
	return ""
}

// search explores breadth-first and returns the number of states and the
// shortest way to a violation, if there is one.
// only, if not empty, is the start of the violations that count.
func (g modelConfig) search(how sabotage, only string) (states int, trace []string) {
	first := g.start()
	seen := map[uint64]struct{}{first.hash(): {}}
	nodes := []modelNode{{}}
	frontier, at := []modelState{first}, []int32{0}
	worlds := [2]*modelWorld{newModelWorld(g, how), newModelWorld(g, how)}
	const chunk = 4096
	for len(frontier) > 0 {
		if len(seen) > 1<<24 { // a faithful search ends long before
			return len(seen), []string{"there is no end to the states"}
		}
		var next []modelState
		var nextAt []int32
		for lo := 0; lo < len(frontier); lo += chunk {
			part := frontier[lo:min(lo+chunk, len(frontier))]
			half := len(part) / 2
			done := make(chan struct{})
			go func() {
				defer close(done)
				worlds[1].expand(part[half:], at[lo+half:], seen)
			}()
			worlds[0].expand(part[:half], at[lo:], seen)
			<-done
			for _, w := range worlds {
				for i := range w.found {
					f := &w.found[i]
					if f.broken != "" && strings.HasPrefix(f.broken, only) {
						return len(seen), trail(nodes, f.parent, f.step, f.broken)
					}
					if _, dup := seen[f.hash]; dup {
						continue
					}
					seen[f.hash] = struct{}{}
					nodes = append(nodes, modelNode{f.parent, f.step})
					next = append(next, f.state)
					nextAt = append(nextAt, int32(len(nodes)-1))
				}
			}
		}
		frontier, at = next, nextAt
	}
	return len(seen), nil
}

// modelNode is how a state was first reached.
type modelNode struct {
	parent int32
	step   modelStep
}

func trail(nodes []modelNode, parent int32, last modelStep, broken string) []string {
	steps := []string{last.String() + "  => " + broken}
	for n := parent; n != 0; n = nodes[n].parent {
		steps = append([]string{nodes[n].step.String()}, steps...)
	}
	return steps
}

// skipSearch skips a search in a binary that looks for races: it has one goroutine,
// is ten times slower there, and runs in full without.
func skipSearch(t *testing.T) {
	t.Helper()
	if RaceDetector {
		t.Skip("a search of one goroutine, which runs without the race detector")
	}
}

// holds reports a state that faithful code reaches and no invariant allows.
func (g modelConfig) holds(t *testing.T) {
	t.Helper()
	skipSearch(t)
	if testing.Short() { // each call and each crash makes some ten times more states
		g.calls = max(1, g.calls-max(1, int(g.crashes)))
	}
	began := time.Now()
	states, trace := g.search(faithful, "")
	if trace != nil {
		t.Errorf("%s: broken in %d steps:%s", g, len(trace), lines(trace))
	}
	t.Logf("%s: %d states in %s", g, states, time.Since(began).Round(time.Millisecond))
}

// notices reports a mutant that breaks no invariant, or not the one it harms.
func (g modelConfig) notices(t *testing.T, mutant string, how sabotage, harm string) {
	t.Helper()
	if testing.Short() {
		t.Skip("long searches")
	}
	for _, only := range []string{"", harm} {
		states, trace := g.search(how, only)
		if trace == nil {
			t.Errorf("%s: not noticed (%q) in %d states", mutant, only, states)
			continue
		}
		t.Logf("%s: noticed (%q) in %d steps, %d states%s", mutant, only, len(trace), states, lines(trace))
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	for _, g := range []modelConfig{
		{name: "one crash", cap: 4, calls: modelCalls, crashes: 1},
		{name: "two crashes", cap: 4, calls: modelCalls, crashes: 2},
		{name: "one crash, the cap cut to 3", cap: 5, calls: 3, crashes: 1, edits: []int8{3}},
		{name: "one crash, the cap raised to 5", cap: 3, calls: 3, crashes: 1, edits: []int8{5}},
		{name: "one crash, calls cost more than their bound", cap: 4, calls: 3, crashes: 1, exceeds: 1},
	} {
		g.holds(t)
	}
}

func (g modelConfig) String() string {
	return fmt.Sprintf("cap %d, %d calls, %s", g.cap, g.calls, g.name)
}

func lines(trace []string) string { return "\n  " + strings.Join(trace, "\n  ") }

// TestModelMutants breaks one rule at a time. The search must notice, and,
// where money is lost, find the way to an overspend too.
func TestModelMutants(t *testing.T) {
	small := modelConfig{cap: 4, calls: modelCalls, crashes: 1}
	cut := modelConfig{cap: 4, calls: 3, crashes: 1, edits: []int8{2}}
	for _, m := range []struct {
		name string
		how  sabotage
		g    modelConfig
	}{
		{"R1: a settled call is free before that is durable", freesEarly, small},
		{"R2: the limit rises before the commit", raisesEarly, small},
		{"R2: the limit is not clamped when the mark falls", neverClamps, small},
		{"R2: the mark is from a snapshot, the clamp comes later", clampsLate, small},
		{"R3: expiry releases", expiryReleases, small},
		{"R4: recovery ignores the gap", gapIgnored, small},
		{"R4: the orphan pool is released", poolReleased, small},
		{"the log of a finished call is taken for an orphan's", finishedIsOrphan, small},
		{"an expired call is refunded by every log", refundsTwice, small},
		{"a crash forgets a cut that was acknowledged", cutForgotten, cut},
	} {
		m.g.notices(t, m.name, m.how, "I4")
	}
}
