package ledger

import (
	"testing"

	"aigateway/budget"
)

// modelStage is how far a budget that is made meanwhile is.
type modelStage uint8

const (
	madeWhole modelStage = iota // answered, or there from the start
	notMade
	counts
	limits // its second step is queued
)

type modelMaking struct {
	step   modelStage
	past   int8  // what calls had cost when it began to count
	queued place // of the second step
	disk   bool  // the second step is on disk
}

// modelJoin is what a budget made meanwhile changes of a call.
type modelJoin struct {
	off    bool // it is on no account
	token  bool // its token names the account
	rowOff bool // its row does not
	join   place
	usage  int8 // what the reports on disk say
	// past: the budget has nothing to say of it, or not yet.
	past bool
}

// loadMaking makes the core know as much of the budget as it has.
func (w *modelWorld) loadMaking(s *modelState) {
	c := w.c
	c.rules = newRuleIndex(0)
	w.r.counting = s.made.step == counts
	switch s.made.step {
	case notMade:
		delete(c.accounts, 1)
		w.r.cur = nil
		return
	case counts:
		w.a.limit = budget.MaxAmount
	case madeWhole:
		c.rules.list(w.r)
	}
	c.rules.watch(w.r)
}

func (w *modelWorld) saveMaking(s *modelState) {
	if s.made.step == counts || s.made.step == notMade {
		s.cap = 0
	}
	if s.made.step == limits && s.made.queued == nowhere {
		s.made.step = madeWhole
	}
	if s.made.disk && s.made.queued == nowhere { // what it took to get there does not matter any more
		s.made.past = 0
		for i := range s.calls {
			s.calls[i].making.usage = 0
		}
	}
}

// count is the first step; the account takes the place of the model's.
func (w *modelWorld) count(s *modelState) {
	w.c.lastAccount = 0
	a, queued := w.c.count(w.r, instant{})
	*w.a = *a
	w.a.pace.largest = modelBound / 2
	w.r.cur, w.c.accounts[1] = w.a, w.a
	w.c.wanted = append(w.c.wanted[:0], w.a)
	s.made = modelMaking{step: counts, past: int8(queued)}
	if w.how == forgetsQueued {
		s.made.past = 0
	}
	for i := range s.calls {
		c := &s.calls[i]
		if c.epoch == 0 {
			continue
		}
		s.made.past += c.making.usage
		h := w.c.open[w.ids[i]]
		if h != nil && h.state == holdOpen {
			h.legs[0] = w.a
			c.making.past = false
			continue
		}
		// What a power loss erased is the one thing that a new budget cannot know.
		c.making.past = h == nil && w.c.expired[w.ids[i]] == nil && c.making.usage == 0 && c.orphan == nowhere
	}
	if w.how == joinsNone {
		w.joinNone()
	}
	if w.how == joinsInMemory {
		w.c.queue = w.c.queue[:len(w.c.queue)-w.joins()]
	}
}

// joins is how many calls were joined; their events are the last.
func (w *modelWorld) joins() (n int) {
	for i := range w.c.queue {
		if w.c.queue[i].kind == eventJoin {
			n++
		}
	}
	return n
}

// joinNone undoes what count did to running calls.
func (w *modelWorld) joinNone() {
	w.c.queue = w.c.queue[:len(w.c.queue)-w.joins()]
	for _, h := range w.c.open {
		if h.state == holdOpen {
			h.setLegs(nil)
		}
	}
	w.a.held, w.a.refs = 0, 0
}

// enforce is the second step.
func (w *modelWorld) enforce(s *modelState) {
	s.made.step = limits
	if w.how == countsLate { // its past is read now, though calls ended on its account meanwhile
		s.made.past = 0
		for i := range s.calls {
			s.made.past += s.calls[i].making.usage
		}
	}
	w.c.enqueue(w.c.edit(ruleEdit{rule: w.r, next: w.r.Budget, made: w.a, past: budget.Amount(s.made.past)}, 0, nil))
	s.allowed = max(w.g.cap, int8(w.a.used()))
	if w.how == countsOn {
		w.a.limit = modelCalls * modelBound
	}
}

func (w *modelWorld) pastEvent(s *modelState) event {
	return event{kind: eventPast, pooled: w.a, cost: budget.Amount(s.made.past), change: &change{durable: func() { w.c.rules.list(w.r) }}}
}

// commitMaking is what a commit does to c's rows and reports.
func (w *modelWorld) commitMaking(c *modelCall) {
	if !w.g.makes {
		return
	}
	if c.hold == inBatch || c.end == inBatch || c.making.join == inBatch {
		c.making.rowOff = c.making.off
	}
	switch {
	case c.refund == inBatch, c.orphan == inBatch, c.end == inBatch && !c.expires:
		c.making.usage = c.bill - 1
	case c.end == inBatch:
		c.making.usage = modelBound
	}
}

// makingSteps are those of a budget that is made meanwhile.
func (s *modelState) makingSteps(do func(modelStep)) {
	switch {
	case s.made.step == notMade && s.syncing == nowhere:
		do(modelStep{op: stepCount})
	case s.made.step == counts:
		do(modelStep{op: stepEnforce})
	}
}

// forgetMade is what a start does to a budget that was not made.
func (w *modelWorld) forgetMade(s *modelState, v *snapshot) {
	if !w.g.makes || s.made.disk {
		return
	}
	v.rules = nil
	s.diskS, s.diskO, s.diskR, s.diskHW = 0, 0, 0, 0
	s.made = modelMaking{step: notMade}
	s.allowed = modelCalls * modelBound
	for i := range s.calls {
		if c := &s.calls[i]; c.epoch > 0 {
			c.making = modelJoin{off: true, rowOff: true, usage: c.making.usage, past: true}
		}
	}
}

// unmade is violation before the budget's answer.
func (s *modelState) unmade(used, open int8) string {
	switch {
	case s.held != open:
		return "I5: the new budget holds something else than its open calls"
	case s.made.step == limits && used < s.exposure():
		return "I3: the new budget uses less than the provider may bill"
	}
	return ""
}

// TestModelMaking makes a budget at any moment, in its two steps: from the answer
// on it has the calls that run, over crashes too.
func TestModelMaking(t *testing.T) {
	t.Parallel()
	for _, g := range []modelConfig{
		{name: "one power loss, the budget is made meanwhile", cap: 2, calls: 2, crashes: 1, makes: true},
		{name: "one kill, the budget is made meanwhile", cap: 2, calls: 2, crashes: 1, ends: []modelOp{stepKill}, makes: true},
		{name: "the budget is made meanwhile, calls cost more than their bound", cap: 4, calls: 2, crashes: 1, makes: true, exceeds: 1},
	} {
		g.holds(t)
	}
}

// TestModelMakingMutants breaks the making of a budget. Where calls are missing
// on it the provider bills more than its cap.
func TestModelMakingMutants(t *testing.T) {
	g := modelConfig{cap: 2, calls: 2, crashes: 1, makes: true}
	g.notices(t, "running calls are not on the new budget", joinsNone, "I4")
	kill := g
	kill.ends = []modelOp{stepKill} // after a power loss their share of the mark is held
	kill.notices(t, "running calls are on it in memory only", joinsInMemory, "I4")
	g.notices(t, "what ended a moment ago is not on it", forgetsQueued, "I4")
	g.notices(t, "what ended while it counted is on it twice", countsLate, "I7")
	g.notices(t, "its cap does not limit", countsOn, "I4")
	g.exceeds = 1
	g.notices(t, "a call costs its bound at most", boundIsCharged, "I7")
}
