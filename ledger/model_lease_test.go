package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The model of leases searches every interleaving of two ledgers that share one cap:
// calls of bound 1 on either, commits, exchanges whose requests and answers may be
// late or lost, accounts that idle, and power losses. Ledgers and the steps are the
// real core; the disks, the store and the sabotage of the mutants are the model's
// (model_lease_world_test.go). Unlike the model of one ledger, which has the parts of
// a commit, it copies worlds instead of packing them.

type leaseOp uint8

const (
	leaseReserve leaseOp = iota // or tries again
	leaseLog
	leaseCommit
	leaseAsk  // and the store does it
	leaseTold // its answer comes
	leaseLost // it does not; with 1 the store did not do it either
	leaseCrash
	leaseIdle
	leaseForget   // only mutants: the store forgets, or takes a lease back by itself
	leaseAgain    // only mutants: the last answer comes once more
	leaseDelayed  // only mutants: an exchange that got no answer is done late
	leaseFailover // another server is the store: it has what was acknowledged, and what was before that
	leaseReadBack // only mutants: what the store shows is believed
)

var leaseOpNames = [...]string{"reserve", "log", "commit", "ask", "told", "lost", "crash", "idle", "the store forgets", "the answer again", "the lost exchange is done", "failover", "read back"}

type leaseStep struct {
	op       leaseOp
	who, arg int8
}

func (s leaseStep) String() string {
	return fmt.Sprintf("%s by %c (%d)", leaseOpNames[s.op], 'A'+s.who, s.arg)
}

// leaseSabotage is one way to break leases.
type leaseSabotage uint8

const (
	honest leaseSabotage = iota
	takesBack
	returnsEarly
	appliesTwice
	losesGrant
	believesLost
	doneLate
	ignoresMark
	limitIsCap
	readsBack
	ignoresNotice
)

// leaseConfig is the size of a search.
type leaseConfig struct {
	name                   string
	cap                    int8
	calls, crashes, losses int8
	idles, failovers       int8
	how                    leaseSabotage
}

type leaseNode struct {
	parent int32
	step   leaseStep
}

// search explores breadth-first: the first violation has the shortest way to it. Only
// those that begin with only count.
func (g leaseConfig) search(only string) (states int, trace []string) {
	first := newLeaseWorld(g)
	seen := map[uint64]struct{}{first.hash(): {}}
	nodes := []leaseNode{{}}
	frontier, at := []*leaseWorld{first}, []int32{0}
	for len(frontier) > 0 {
		var next []*leaseWorld
		var nextAt []int32
		for i, w := range frontier {
			for _, st := range w.steps() {
				out := w.clone()
				if !out.take(st) {
					continue
				}
				if broken := out.violation(); broken != "" && strings.HasPrefix(broken, only) {
					return len(seen), g.trail(nodes, at[i], st, broken)
				}
				h := out.hash()
				if _, dup := seen[h]; dup {
					continue
				}
				if len(seen) > 1<<22 {
					return len(seen), []string{"there is no end to the states"}
				}
				seen[h] = struct{}{}
				nodes = append(nodes, leaseNode{at[i], st})
				next, nextAt = append(next, out), append(nextAt, int32(len(nodes)-1))
			}
			frontier[i] = nil
		}
		frontier, at = next, nextAt
	}
	return len(seen), nil
}

func (g leaseConfig) trail(nodes []leaseNode, parent int32, last leaseStep, broken string) []string {
	steps := []string{last.String() + "  => " + broken}
	for n := parent; n != 0; n = nodes[n].parent {
		steps = append([]string{nodes[n].step.String()}, steps...)
	}
	return steps
}

func TestModelLeases(t *testing.T) {
	t.Parallel()
	for _, g := range []leaseConfig{
		{name: "exchanges alone", cap: 1, calls: 2},
		{name: "an account idles", cap: 1, calls: 2, idles: 1},
		{name: "an answer gets lost", cap: 1, calls: 2, losses: 1},
		{name: "one power loss", cap: 1, calls: 2, crashes: 1},
		{name: "a failover", cap: 1, calls: 2, failovers: 1},
		{name: "an answer gets lost, then a failover", cap: 1, calls: 2, losses: 1, failovers: 1},
	} {
		if testing.Short() && g.crashes+g.losses+g.idles+g.failovers > 0 {
			continue
		}
		if g.losses+g.failovers > 1 && *simSeconds < 60 {
			continue // make soak
		}
		began := time.Now()
		states, trace := g.search("")
		if trace != nil {
			t.Errorf("%s: broken in %d steps:%s", g.name, len(trace), lines(trace))
		}
		t.Logf("%s: %d states in %s", g.name, states, time.Since(began).Round(time.Millisecond))
	}
}

// TestModelLeasesMutants breaks one rule at a time: the search must find an overspend,
// and tells the shortest way to it.
func TestModelLeasesMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("long searches")
	}
	t.Parallel()
	for _, m := range []struct {
		name, broken string
		g            leaseConfig
	}{
		{"a silent replica's lease is released", "I4", leaseConfig{cap: 1, calls: 2, how: takesBack}},
		{"what admission still obeys is returned to the store first", "I4", leaseConfig{cap: 1, calls: 2, idles: 1, how: returnsEarly}},
		{"a reply is applied twice", "I4", leaseConfig{cap: 1, calls: 2, idles: 1, how: appliesTwice}},
		{"a failover loses a grant", "I4", leaseConfig{cap: 1, calls: 2, how: losesGrant}},
		{"a read-back does not write", "I4", leaseConfig{cap: 1, calls: 2, losses: 1, failovers: 1, how: readsBack}},
		{"a notice is ignored", "I4", leaseConfig{cap: 1, calls: 2, losses: 1, failovers: 1, how: ignoresNotice}},
		{"an exchange without an answer counts as done", "I4", leaseConfig{cap: 1, calls: 2, losses: 1, how: believesLost}},
		{"an exchange without an answer is done later", "I4", leaseConfig{cap: 1, calls: 2, losses: 1, idles: 1, how: doneLate}},
		{"the limit is the cap", "I4", leaseConfig{cap: 1, calls: 2, how: limitIsCap}},
		{"a return does not wait for the mark", "I10", leaseConfig{cap: 2, calls: 2, crashes: 1, idles: 1, how: ignoresMark}},
	} {
		states, trace := m.g.search(m.broken)
		if trace == nil {
			t.Errorf("%s: not noticed in %d states", m.name, states)
			continue
		}
		t.Logf("%s: noticed in %d steps, %d states%s", m.name, len(trace), states, lines(trace))
	}
}
