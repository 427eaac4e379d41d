package ledger

import (
	"hash/maphash"
	"time"

	"aigateway/budget"
)

var modelSeed = maphash.MakeSeed()

func (s *modelState) hash() uint64 { return maphash.Comparable(modelSeed, *s) }

func (g modelConfig) start() modelState {
	if g.makes {
		return modelState{diskCap: g.cap, allowed: modelCalls * modelBound, epoch: 1, made: modelMaking{step: notMade}}
	}
	return modelState{cap: g.cap, diskCap: g.cap, allowed: g.cap, epoch: 1}
}

type modelFound struct {
	state  modelState
	hash   uint64
	parent int32
	step   modelStep
	broken string
}

// modelWorld turns states into a core and back.
type modelWorld struct {
	g   modelConfig
	how sabotage
	c   *core
	a   *account
	b   *batch // the one that is being committed
	r   *rule
	// later is the budget's account after the window of a.
	later account
	hold  [modelCalls]hold
	turns [modelCalls]*waiter
	ids   [modelCalls]budget.ReservationID

	found []modelFound
	fresh map[uint64]struct{}
}

func newModelWorld(g modelConfig, how sabotage) *modelWorld {
	w := &modelWorld{g: g, how: how, c: newCore(forever / 4), fresh: map[uint64]struct{}{}}
	w.r = &rule{Budget: budget.Budget{ID: "bud", Target: budget.Target{Tags: budget.AllTags}, Period: budget.Total}, num: 1, loc: time.UTC}
	w.a = &account{}
	w.r.cur = w.a
	w.r.Cap = budget.Amount(g.cap)
	w.c.rules.add(w.r)
	return w
}

// expand collects the states that one step leads to.
func (w *modelWorld) expand(from []modelState, at []int32, seen map[uint64]struct{}) {
	w.found = w.found[:0]
	clear(w.fresh)
	for i := range from {
		s := &from[i]
		w.steps(s, func(st modelStep) {
			out := *s
			broken, ok := w.take(&out, st)
			if !ok {
				return
			}
			h := out.hash()
			if _, old := seen[h]; old && broken == "" {
				return
			}
			if _, old := w.fresh[h]; old && broken == "" {
				return
			}
			w.fresh[h] = struct{}{}
			if broken == "" {
				broken = out.violation()
			}
			w.found = append(w.found, modelFound{out, h, at[i], st, broken})
		})
	}
}

// steps calls do with every step that may come after s. A finished call whose
// log is still to come bills no more than a running one, so finishing and the
// first log are one step; a log that is lost is a call that never finishes.
func (w *modelWorld) steps(s *modelState, do func(modelStep)) {
	next := 0
	for next < w.g.calls && (s.calls[next].epoch > 0 || s.calls[next].waits || s.calls[next].gone) {
		next++
	}
	if next < w.g.calls && s.end == (modelEnd{}) {
		do(modelStep{stepReserve, int8(next)})
	}
	for i := range int8(next) {
		c := &s.calls[i]
		if c.epoch == 0 {
			if c.waits {
				do(modelStep{stepLeave, i})
			}
			continue
		}
		if c.bill > 0 {
			do(modelStep{stepLog, i*modelBills + c.bill})
		} else {
			for bill := range modelBound + w.g.exceeds + 1 {
				if w.g.makes && bill == 1 {
					continue // so that there is an end to the states
				}
				do(modelStep{stepLog, i*modelBills + bill + 1})
			}
		}
		if c.known && c.state == holdOpen {
			do(modelStep{stepExpire, i})
		}
	}
	if s.pools {
		do(modelStep{op: stepPools})
	}
	if !s.edited {
		for _, limit := range w.g.edits {
			do(modelStep{stepEdit, limit})
		}
	}
	w.endSteps(s, do)
	s.makingSteps(do)
	switch {
	case s.end.retiring: // the sync goroutine is at it
	case s.syncing == nowhere:
		do(modelStep{stepBegin, 0})
		do(modelStep{stepBegin, 1})
	case s.syncing == inQueue:
		do(modelStep{op: stepCommit})
	default:
		do(modelStep{op: stepApply})
	}
	if s.crashes < w.g.crashes {
		for _, op := range w.g.ends {
			do(modelStep{op: op})
		}
		if len(w.g.ends) == 0 {
			do(modelStep{op: stepCrash})
		}
	}
}

// take does one step. It returns what that broke beyond the state, and false
// if the step was impossible.
func (w *modelWorld) take(s *modelState, st modelStep) (broken string, ok bool) {
	switch st.op {
	case stepCommit:
		w.commit(s)
		return "", true
	case stepCrash, stepKill:
		w.crash(s, st.op == stepKill)
		return "", true
	case stepEnd:
		s.end.ended = true
		return "", true
	case stepDelete:
		w.deleteRow(s)
		return "", true
	}
	w.load(s)
	switch st.op {
	case stepReserve:
		broken, ok = w.reserve(s, int(st.arg))
	case stepLog:
		ok = w.log(s, int(st.arg/modelBills), st.arg%modelBills)
	case stepExpire:
		ok = true
		w.expire(s, int(st.arg))
	case stepPools:
		ok = true
		if w.how == poolReleased {
			w.a.orphan, w.a.soon.orphan, w.c.pools = 0, 0, nil
			w.c.want(w.a)
		} else {
			w.c.chargePools(instant{})
		}
	case stepEdit:
		ok = true
		w.edit(s, st.arg)
	case stepCount:
		ok = true
		w.count(s)
	case stepEnforce:
		ok = true
		w.enforce(s)
	case stepNext:
		ok = true
		w.r.cur = &w.later
		w.c.forget(w.a)
	case stepPrune:
		ok = true
		s.calls[st.arg].row = noRow
		w.c.prune(w.ids[st.arg:st.arg+1], nil, 0)
	case stepRetire:
		ok = w.retire(s)
	case stepLeave:
		ok = true
		broken = w.giveUp(s, int(st.arg))
	case stepBegin:
		if broken = w.serve(s); broken != "" {
			return broken, true
		}
		if ok = w.begin(s, st.arg == 1); ok && s.end.deleted && s.touched && w.b.accounts[0].changed {
			broken = "I5: the deleted account gets a row again, without its base"
		}
	case stepApply:
		ok = true
		w.c.apply(w.b)
		s.syncing, w.b = nowhere, nil
		broken = w.serve(s)
	}
	if ok {
		w.save(s)
	}
	return broken, ok
}

func (w *modelWorld) reserve(s *modelState, i int) (broken string, ok bool) {
	if w.a.need > 0 && !w.a.covered(modelBound) && w.a.fits(modelBound) {
		return "", false // somebody waits already
	}
	if w.how == freesEarly {
		w.a.limit += w.a.falling
		w.a.usable += w.a.falling
	}
	fits := w.a.used()-w.a.falling+modelBound <= w.a.limit
	out, h, _, blocked := w.c.reserve(w.request(), instant{})
	if w.how == freesEarly {
		w.a.limit -= w.a.falling
		w.a.usable -= w.a.falling
	}
	switch out {
	case held:
		s.calls[i].waits = true
		w.c.wait(w.request(), blocked, instant{})
		return "", true
	case admitted:
		if broken := s.passed(i); broken != "" {
			return broken, true
		}
		s.calls[i].epoch = s.epoch
		s.calls[i].making = modelJoin{off: len(h.legs) == 0, token: len(h.legs) > 0, past: s.made.step == notMade}
		w.ids[i] = h.id
		return "", true
	case refused:
		if fits {
			return "I11: refused although it fits", true
		}
		return "", false
	default:
		return "", out == waitMark
	}
}

func (w *modelWorld) settlement(s *modelState, i int, bill int8) *budget.Settlement {
	accounts := []int64{1}
	if w.g.makes && !s.calls[i].making.token {
		accounts = nil
	}
	return &budget.Settlement{Basis: budget.BasisUsage, Cost: w.charged(bill),
		Reservation: &budget.Reservation{ID: w.ids[i], Bound: modelBound, Accounts: accounts}}
}

// charged is what a log says that a call cost.
func (w *modelWorld) charged(bill int8) budget.Amount {
	if w.how == boundIsCharged {
		bill = min(bill, modelBound+1)
	}
	return budget.Amount(bill - 1)
}

func (w *modelWorld) log(s *modelState, i int, bill int8) bool {
	c := &s.calls[i]
	first := c.bill == 0
	c.bill = bill
	entry := w.settlement(s, i, bill)
	res := w.c.settle(entry, instant{})
	if res.effect == fromOrphan {
		s.unclean = true
	}
	changed := first || res.effect != duplicate
	switch {
	case res.effect != duplicate:
	case w.how == finishedIsOrphan && c.epoch < s.epoch && !c.known && !c.orphaned:
		w.c.settleOrphan(entry, instant{})
		changed = true
	case w.how == refundsTwice && c.known && c.state == holdRefunding && c.refund == inBatch && bill < modelBound+1:
		w.a.spent -= modelBound - budget.Amount(bill-1)
		w.a.soon.spent = w.a.spent
		changed = w.a.spent >= 0
	}
	return changed
}

func (w *modelWorld) expire(s *modelState, i int) {
	s.unclean = true
	h := w.c.open[w.ids[i]]
	if w.how == expiryReleases {
		entry := w.settlement(s, i, 1)
		entry.Basis = budget.BasisReleased
		w.c.settle(entry, instant{})
		return
	}
	w.c.expiry = expiryList{}
	w.c.expiry.push(h)
	h.deadline = 0
	w.c.expire(instant{}, 1)
}

// edit does in memory what replaceBudget does.
func (w *modelWorld) edit(s *modelState, limit int8) {
	s.edited, s.editCap = true, limit
	if limit < s.cap {
		used := w.a.used()
		s.allowed = max(limit, min(s.allowed, int8(used)))
	}
	w.c.enqueue(w.editEvent(limit))
}

// editEvent is what applyRule queues. A lower cap holds from now on; to say so
// again does nothing.
func (w *modelWorld) editEvent(limit int8) event {
	next := w.r.Budget
	next.Cap = budget.Amount(limit)
	return w.c.edit(ruleEdit{rule: w.r, next: next}, 0, nil)
}

func (w *modelWorld) begin(s *modelState, lower bool) bool {
	if lower {
		if w.a.hw == w.a.used() {
			return false
		}
		w.c.lowerIdle(instant{mono: idleEvery}, true)
	}
	if !w.c.pending() {
		return false
	}
	limit := w.a.usable
	w.b = w.c.begin(instant{}, 0)
	s.syncing, s.touched = inQueue, len(w.b.touched) > 0
	if s.touched {
		row := &w.b.accounts[0]
		s.rowS, s.rowO, s.rowR, s.rowHW = int8(row.spent), int8(row.orphan), int8(row.residue), int8(row.hw)
		switch w.how {
		case raisesEarly:
			w.a.usable = row.hw
		case neverClamps, clampsLate:
			w.a.usable = limit
		}
	}
	return true
}

// commit writes the batch as store.commit does.
func (w *modelWorld) commit(s *modelState) {
	s.syncing = inBatch
	if s.touched && !s.end.deleted {
		s.diskS, s.diskO, s.diskR, s.diskHW = s.rowS, s.rowO, s.rowR, s.rowHW
		if w.how == clampsLate {
			s.limit = min(s.limit, s.rowHW)
		}
	}
	if s.edit == inBatch && w.how != cutForgotten {
		if s.editCap > s.diskCap {
			s.allowed = s.editCap
		}
		s.diskCap = s.editCap
	}
	s.made.disk = s.made.disk || s.made.queued == inBatch
	for i := range s.calls {
		c := &s.calls[i]
		w.commitMaking(c)
		if c.hold == inBatch {
			c.row, c.journaled = holdRow, true
		}
		if c.end == inBatch {
			c.row = noRow
			if c.expires {
				c.row = expiredRow
			}
		}
		if c.refund == inBatch {
			c.row = noRow
		}
		if c.orphan == inBatch {
			c.row = orphanRow
		}
	}
}
