package ledger

import (
	"slices"
	"time"

	"aigateway/budget"
)

// simWaitBytes lets few calls wait, so that there is no room for some.
const simWaitBytes = 12 * waiterBytes

// mayWait lets some requests wait, and some be content with less.
func (w *simWorld) mayWait(r *budget.Request) {
	if w.rng.IntN(2) == 0 || r.Unbounded != nil {
		return
	}
	r.Wait = []time.Duration{2 * time.Second, 100 * time.Second}[w.rng.IntN(2)]
	r.Size = int64(w.rng.IntN(waiterBytes))
	if r.Bound > 4 && w.rng.IntN(3) == 0 {
		r.Least = r.Bound / 4
		least, most := r.Least, r.Bound
		r.Fit = func(room budget.Amount) budget.Amount {
			if room < least {
				return -1
			}
			return min(room, most)
		}
	}
}

// wait lines a call up, and wants it to be kept out by running calls alone.
func (w *simWorld) wait(r *budget.Request, blocked []*account) {
	at := w.at()
	w.c.advance(&at)
	w.reached("waited for running calls")
	if len(blocked) > 1 {
		w.reached("waited on several budgets")
	}
	for _, a := range blocked {
		if least(r) > a.limit-a.soon.spent {
			w.broken("I12: a bound of %d waits at account %d, which has spent %d of %d", least(r), a.id, a.soon.spent, a.limit)
		}
		if a.fitsSoon(least(r)) {
			w.reached("waited behind a larger call")
			if !a.barred(w.c.waiting.last+1, at) {
				w.broken("I12: a bound of %d waits at account %d, which has room for it", least(r), a.id)
			}
		}
	}
	turn := w.c.wait(r, blocked, at)
	w.turns = append(w.turns, turn)
	w.note("%s on %s bound %d waits as number %d", r.RequestID, r.Tag, r.Bound, turn.no)
}

// checkTurn is fairness: whoever is admitted as number no took nothing that
// others, who came before and are out of patience, wait for.
func (w *simWorld) checkTurn(r *budget.Request, h *hold, no uint64) {
	if h.bound < r.Bound {
		w.reached("admitted smaller")
	}
	for _, a := range h.legs {
		for _, o := range a.line {
			if o.no >= no {
				break
			}
			w.reached("passed a larger call")
			if r.Wait > 0 && w.mono >= o.patience && w.c.waiting.hasRoom(r.KeyID, r.Size) {
				w.broken("I13: number %d passed number %d at account %d, which is out of patience", no, o.no, a.id)
			}
		}
		if r.Wait > 0 && w.c.waiting.count > 0 && !w.c.waiting.hasRoom(r.KeyID, r.Size) {
			w.reached("no room to wait")
		}
	}
}

// serve does what the Ledger does wherever room may have come.
func (w *simWorld) serve(lines []*account) {
	at := w.at()
	w.c.advance(&at)
	for _, t := range w.turns {
		for _, a := range t.at {
			if at.wall >= a.end {
				w.reached("waited for a window that ended")
			}
		}
	}
	for _, t := range w.c.serve(lines, at) {
		w.turns = slices.DeleteFunc(w.turns, func(o *waiter) bool { return o == t })
		w.note("number %d: outcome %d", t.no, t.out)
		switch t.out {
		case admitted:
			w.reached("admitted after waiting")
			w.admitted(t.hold, *t.request, w.matching(t.request))
			w.checkTurn(t.request, t.hold, t.no)
			if t.hold.bound < t.request.Bound {
				w.reached("admitted smaller after waiting")
			}
		case refused:
			w.reached("refused after waiting")
			if a := t.tight; a.fitsSoon(least(t.request)) {
				w.broken("I12: number %d was refused at account %d, which has room", t.no, a.id)
			}
		case repeated, differs:
		default:
			w.broken("I12: number %d ended with outcome %d", t.no, t.out)
		}
	}
	w.checkServed(at)
}

// checkServed wants nobody to wait for what is there.
func (w *simWorld) checkServed(at instant) {
	if w.c.pending() {
		return // what a mark has to rise for is served after the commit
	}
	for _, t := range w.turns {
		lines := t.at
		w.c.stepOut(t) // as it is when it is decided on: its own place takes no share
		legs := w.c.match(nil, t.request.Tag, t.request.KeyID, at.wall)
		bound := t.request.Bound
		if t.request.Fit != nil {
			bound = min(bound, fairShare(legs, t.request))
		}
		if out, _ := decide(legs, bound, instant{}); out == refused && t.request.Fit != nil {
			bound = t.request.Fit(max(0, leastRoom(legs)))
		}
		w.c.lineUp(t, lines)
		if out, _ := decide(legs, bound, instant{}); bound < 0 || out != admitted {
			continue
		}
		if !slices.ContainsFunc(legs, func(a *account) bool { return a.barred(t.no, at) }) {
			w.broken("I12: number %d waits for a bound of %d, and there is room", t.no, bound)
		}
	}
}

// giveUp is a client that leaves, or the end of a wait.
func (w *simWorld) giveUp() bool {
	t := pick(w, w.turns)
	if t == nil {
		return false
	}
	w.reached("gave up waiting")
	w.turns = slices.DeleteFunc(w.turns, func(o *waiter) bool { return o == t })
	lines := t.at
	w.c.leave(t)
	w.serve(lines)
	return true
}

// checkLines wants the lines and their sums to be those of who waits.
func (w *simWorld) checkLines() {
	var bytes int64
	keys, places := map[string]int64{}, 0
	for _, t := range w.turns {
		bytes += t.request.Size + waiterBytes
		keys[t.request.KeyID] += t.request.Size + waiterBytes
		places += len(t.at)
		if len(t.at) == 0 {
			w.broken("I14: number %d is in no line", t.no)
		}
	}
	x := &w.c.waiting
	if x.count != len(w.turns) || x.bytes != bytes || bytes > x.most || len(x.keys) != len(keys) {
		w.broken("I14: %d wait with %d bytes, counted %d with %d of %d", len(w.turns), bytes, x.count, x.bytes, x.most)
	}
	for k, n := range keys {
		if x.keys[k] != n {
			w.broken("I14: key %s waits with %d bytes, counted %d", k, n, x.keys[k])
		}
	}
	for _, a := range x.at {
		places -= len(a.line)
		if len(a.line) == 0 || w.c.accounts[a.id] != a {
			w.broken("I14: account %d is listed, with %d in its line", a.id, len(a.line))
		}
		patience := forever
		for i, t := range a.line {
			patience = min(patience, t.patience)
			if i > 0 && a.line[i-1].no >= t.no || !slices.Contains(t.at, a) {
				w.broken("I14: the line of account %d is out of order", a.id)
			}
		}
		if patience < a.patience {
			w.broken("I14: account %d says its patience ends at %d, and it ends at %d", a.id, a.patience, patience)
		}
	}
	if places != 0 {
		w.broken("I14: %d places in lines that are not listed", places)
	}
}
