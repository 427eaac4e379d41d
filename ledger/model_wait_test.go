package ledger

import (
	"testing"

	"aigateway/budget"
)

// TestModelWaiting searches what calls that wait for running ones add: they are
// served where the sync goroutine serves them, leave, and end with the process.
// With a wait of 1 ns nobody has patience, with 2 ns all have.
func TestModelWaiting(t *testing.T) {
	t.Parallel()
	for _, g := range []modelConfig{
		{name: "one crash, calls wait", cap: 3, calls: modelCalls, crashes: 1, waits: 2},
		{name: "one crash, calls wait without patience", cap: 3, calls: modelCalls, crashes: 1, waits: 1},
		{name: "calls wait, the cap is cut to 1", cap: 3, calls: modelCalls, edits: []int8{1}, waits: 2},
		{name: "calls wait, the cap is raised to 5", cap: 3, calls: 3, edits: []int8{5}, waits: 1},
	} {
		g.holds(t)
	}
}

func TestModelWaitingMutants(t *testing.T) {
	g := modelConfig{cap: 3, calls: 3, crashes: 1, waits: 2}
	g.notices(t, "a call that waits is served with money that is not free yet", servesEarly, "I4")
	g.notices(t, "nobody is served", servesNobody, "I12")
	g.notices(t, "whoever came last is served first", servesLast, "I13")
}

func (w *modelWorld) request() *budget.Request {
	return &budget.Request{Bound: modelBound, Wait: w.g.waits}
}

// loadWaiting lines those up who wait.
func (w *modelWorld) loadWaiting(s *modelState) {
	w.c.waiting = waiting{most: 1 << 30}
	for i := range s.calls {
		if w.turns[i] = nil; s.calls[i].waits {
			w.turns[i] = w.c.wait(w.request(), []*account{w.a}, instant{})
		}
	}
}

// serve does what the sync goroutine does for those who wait, and wants nobody
// to wait for what is there.
func (w *modelWorld) serve(s *modelState) (broken string) {
	if w.g.waits == 0 {
		return ""
	}
	switch w.how {
	case servesEarly:
		w.a.limit += w.a.falling
		w.a.usable += w.a.falling
	case servesLast:
		for i := range w.a.line {
			w.a.line[i].no = uint64(len(w.a.line) - i)
		}
		for i, j := 0, len(w.a.line)-1; i < j; i, j = i+1, j-1 {
			w.a.line[i], w.a.line[j] = w.a.line[j], w.a.line[i]
		}
	}
	var over []*waiter
	if w.how != servesNobody {
		over = w.c.serve(w.c.waiting.at, instant{})
	}
	if w.how == servesEarly {
		w.a.limit -= w.a.falling
		w.a.usable -= w.a.falling
	}
	for _, t := range over {
		i := 0
		for w.turns[i] != t {
			i++
		}
		m := &s.calls[i]
		m.waits = false
		if t.out != admitted {
			m.gone = true
			continue
		}
		if m.epoch, w.ids[i] = s.epoch, t.hold.id; broken == "" {
			broken = s.passed(i)
		}
	}
	if broken != "" {
		return broken
	}
	if out, _ := decide([]*account{w.a}, modelBound, instant{}); out == admitted && w.c.waiting.count > 0 {
		return "I12: a call waits, and there is room for it"
	}
	return ""
}

// passed reports whether call i, which is admitted, passes one that came before:
// all need the same.
func (s *modelState) passed(i int) string {
	for j := range i {
		if s.calls[j].waits {
			return "I13: a call passed one that came before it"
		}
	}
	return ""
}

// giveUp is a client that leaves.
func (w *modelWorld) giveUp(s *modelState, i int) (broken string) {
	s.calls[i].waits, s.calls[i].gone = false, true
	w.c.leave(w.turns[i])
	w.turns[i] = nil
	if w.g.waits/2 == 0 { // whom it kept waiting
		return w.serve(s)
	}
	return ""
}
