package ledger

import (
	"testing"

	"aigateway/budget"
)

// modelEnd is how far the end of the account's window got.
type modelEnd struct {
	ended    bool // its window, longer ago than rows are kept
	next     bool // its budget does not point to it any more
	gone     bool // it is not in memory
	retiring bool // memory let it go, its row is about to be deleted
	deleted  bool
	rowless  bool // at the last start: holds have no account
}

// noAccount instead of an amount marks a log that came when the account was gone.
const noAccount int8 = -1

// endSteps are the steps of the account's end. The sync goroutine deletes, so
// no commit is under way then. An expired call's row may go once its time is
// over; the account's, once nothing can change it.
func (w *modelWorld) endSteps(s *modelState, do func(modelStep)) {
	if !w.g.retires {
		return
	}
	e := &s.end
	if !e.ended {
		do(modelStep{op: stepEnd})
	} else if !e.next {
		do(modelStep{op: stepNext})
	}
	if e.retiring {
		do(modelStep{op: stepDelete})
		return
	}
	if s.syncing != nowhere || !e.ended && w.how != deletesRunning {
		return
	}
	for i := range s.calls {
		if s.calls[i].row == expiredRow {
			do(modelStep{stepPrune, int8(i)})
		}
	}
	if !e.deleted {
		do(modelStep{op: stepRetire})
	}
}

// retire asks the core, which a mutant deceives.
func (w *modelWorld) retire(s *modelState) bool {
	refs, orphan := w.a.refs, w.a.orphan
	switch w.how {
	case deletesHeld:
		w.a.refs = 0
	case deletesUndecided:
		w.a.orphan = 0
	}
	s.end.retiring = len(w.c.retire([]int64{1})) == 1
	w.a.refs, w.a.orphan = refs, orphan
	return s.end.retiring
}

// deleteRow is the disk's part of it. What was spent stays in the state, for
// the invariants: it can never change again.
func (w *modelWorld) deleteRow(s *modelState) {
	s.end.retiring, s.end.deleted = false, true
	s.orphan, s.soonOrphan = 0, 0
	s.diskO, s.diskR, s.diskHW = 0, 0, s.diskS
	if w.how == deletesRunning { // the next call opens the window anew
		s.end = modelEnd{}
		s.diskS, s.diskHW = 0, 0
		s.spent, s.residue, s.hw, s.limit, s.wanted = 0, 0, 0, 0, true
		s.soonSpent, s.soonResidue = 0, 0
	}
}

func (w *modelWorld) loadEnd(s *modelState) {
	w.later = account{id: 2, rule: w.r, end: forever}
	w.r.cur = w.a
	if s.end.next {
		w.r.cur = &w.later
	}
	if !s.end.gone {
		w.c.accounts[1] = w.a
	}
}

func (w *modelWorld) saveEnd(s *modelState) {
	s.end.next, s.end.gone = w.r.cur != w.a, w.c.accounts[1] == nil
}

// endRows are the rows that a start finds.
func (w *modelWorld) endRows(s *modelState, row accountRow) []accountRow {
	s.end.retiring, s.end.rowless = false, s.end.deleted
	if s.end.deleted {
		return nil
	}
	if s.end.ended {
		row.end = 0
	}
	return []accountRow{row}
}

// finalAccount is an account that a start has no use for.
func finalAccount(s *modelState) *account {
	a := &account{}
	a.limit, a.spent, a.hw, a.usable = budget.Amount(s.diskCap), budget.Amount(s.diskS), budget.Amount(s.diskS), budget.Amount(s.diskS)
	a.soon.spent = a.spent
	return a
}

// TestModelEnd is TestModel for a window that ends and goes: what is deleted
// must be final, however late the logs, and stay deleted.
func TestModelEnd(t *testing.T) {
	t.Parallel()
	for _, g := range []modelConfig{
		{name: "no crash, the window ends", cap: 4, calls: 3, retires: true},
		{name: "one power loss, the window ends", cap: 4, calls: 2, crashes: 1, retires: true},
		{name: "a kill and a power loss, the window ends", cap: 4, calls: 2, crashes: 2, ends: []modelOp{stepKill, stepCrash}, retires: true},
	} {
		g.holds(t)
	}
}

// TestModelEndMutants breaks one condition of a deletion at a time. An ended
// window admits nothing, so only its running calls can be lost (I3); one that
// still runs overspends.
func TestModelEndMutants(t *testing.T) {
	for _, m := range []struct {
		name, harm string
		how        sabotage
	}{
		{"the account of an open reservation is deleted", "I3", deletesHeld},
		{"an account is deleted with what a crash left undecided", "I3", deletesUndecided},
		{"the account of a running window is deleted", "I4", deletesRunning},
		{"memory forgets an account whose mark is still to fall", "I5", forgetsMark},
	} {
		g := modelConfig{cap: 4, calls: 3, crashes: 1, retires: true}
		g.notices(t, m.name, m.how, m.harm)
	}
}
