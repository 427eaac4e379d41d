package ledger

import (
	"fmt"
	"maps"
	"slices"

	"aigateway/budget"
)

// simOp is something that can happen. do returns false if it could not.
type simOp struct {
	name   string
	weight int
	rare   bool // most seeds do without
	do     func(*simWorld) bool
}

func simOps() []simOp {
	return []simOp{
		{"reserve", 30, false, (*simWorld).reserve},
		{"give up", 2, false, (*simWorld).giveUp},
		{"repeat check", 2, false, (*simWorld).repeatCheck},
		{"finish", 20, false, (*simWorld).finish},
		{"stream entry", 20, false, (*simWorld).streamEntry},
		{"flush log file", 6, false, (*simWorld).flushFile},
		{"read log file", 6, false, (*simWorld).readFile},
		{"old entry", 3, false, (*simWorld).oldEntry},
		{"stray entry", 1, true, (*simWorld).strayEntry},
		{"kill envoy", 1, true, (*simWorld).killEnvoy},
		{"begin", 14, false, (*simWorld).begin},
		{"commit", 14, false, (*simWorld).commit},
		{"apply", 14, false, (*simWorld).apply},
		{"commit fails", 1, true, (*simWorld).commitFails},
		{"crash", 1, false, (*simWorld).crash},
		{"close", 1, true, (*simWorld).closeClean},
		{"time passes", 8, false, (*simWorld).passTime},
		{"clock jumps", 1, true, (*simWorld).jumpClock},
		{"heartbeat", 3, false, (*simWorld).heartbeat},
		{"edit budget", 3, false, (*simWorld).editBudget},
		{"edit at border", 1, true, (*simWorld).editAtBorder},
		{"count budget", 2, false, (*simWorld).countBudget},
		{"enforce budget", 3, false, (*simWorld).enforceBudget},
		{"abandon budget", 1, true, (*simWorld).abandonBudget},
		{"delete budget", 1, true, (*simWorld).deleteBudget},
		{"prune", 1, true, (*simWorld).prune},
	}
}

func (w *simWorld) request() budget.Request {
	w.requestNo++
	r := budget.Request{
		RequestID: fmt.Sprintf("r%d", w.requestNo), Bound: budget.Amount(w.rng.IntN(40)),
		Attribution: budget.Attribution{KeyID: pick(w, []string{"k1", "k2"}), Tag: pick(w, []budget.Tag{"a", "a/x", "a/y", "b"}), Model: "p/m", Provider: "p"},
	}
	if w.rng.IntN(60) == 0 {
		r.RequestID = ""
	}
	if w.rng.IntN(40) == 0 {
		r.Unbounded = budget.Invalid("model_not_priced", "model", "no price")
	}
	w.mayWait(&r)
	return r
}

func (w *simWorld) reserve() bool { return w.ask(w.request()) }

func (w *simWorld) ask(r budget.Request) bool {
	before := w.matching(&r)
	out, h, tight, blocked := w.c.reserve(&r, w.at())
	bound := r.Bound
	if r.Unbounded != nil {
		bound = 0
	}
	switch out {
	case admitted:
		w.admitted(h, r, before)
		w.checkTurn(&r, h, w.c.waiting.last+1)
	case held:
		w.wait(&r, blocked)
	case repeated:
		w.reached("repeated check")
		w.note("%s again: id %d", r.RequestID, seqOf(h.id))
	case differs:
		w.reached("request id reused")
	case unbounded:
		w.reached("unbounded refused")
	case refused:
		w.reached("refused")
		w.note("%s on %s bound %d: refused", r.RequestID, r.Tag, bound)
		if tight.used()-tight.falling+bound <= tight.limit {
			w.broken("I11: refused a bound of %d, cap %d, used %d, falling %d", bound, tight.limit, tight.used(), tight.falling)
		}
	case waitSettle:
		w.reached("waited for a settlement")
	case waitMark:
		w.reached("waited for the mark")
	}
	return true
}

// admitted notes a call that runs from now on.
func (w *simWorld) admitted(h *hold, r budget.Request, watching map[int64]bool) {
	call := &simCall{r: h.reservation(), request: r, running: true}
	call.r.Accounts = slices.Clone(call.r.Accounts)
	for _, o := range w.calls { // it may have waited since its id was reused
		if r.RequestID != "" && o.request.RequestID == r.RequestID {
			o.ambiguous, call.ambiguous = true, true
		}
	}
	w.calls = append(w.calls, call)
	w.note("%s on %s bound %d of %d: id %d.%d, accounts %v", r.RequestID, r.Tag, h.bound, r.Bound, epochOf(h.id), seqOf(h.id), h.ids)
	if len(h.legs) > 1 {
		w.reached("admitted on several budgets")
	}
	w.checkLegs(h, watching)
}

// repeatCheck is Envoy asking again, or a client that reuses an id.
func (w *simWorld) repeatCheck() bool {
	call := pick(w, w.calls)
	if call == nil || call.request.RequestID == "" {
		return false
	}
	call.ambiguous = true
	r := call.request
	if w.rng.IntN(3) == 0 {
		r.Bound++
	}
	return w.ask(r)
}

// finish ends a running call: the provider bills, Envoy writes the log.
func (w *simWorld) finish() bool {
	var running []*simCall
	for _, c := range w.calls {
		if c.running {
			running = append(running, c)
		}
	}
	c := pick(w, running)
	if c == nil {
		return false
	}
	w.end(c)
	if w.rng.IntN(12) > 0 {
		w.stream = append(w.stream, c)
	}
	if w.rng.IntN(12) == 0 {
		w.stream = append(w.stream, c)
	}
	w.envoy = append(w.envoy, c)
	return true
}

func (w *simWorld) end(c *simCall) {
	c.running = false
	bound := c.r.Bound
	s := budget.Settlement{RequestID: c.request.RequestID, Reservation: &c.r, Basis: budget.BasisUsage}
	if bound > 0 {
		c.actual = budget.Amount(w.rng.Int64N(int64(bound) + 1))
	}
	switch w.rng.IntN(16) {
	case 0:
		s.Basis, c.actual = budget.BasisReleased, 0
	case 1:
		s.Basis, c.actual = budget.BasisProviderError, 0
	case 2:
		s.Basis = budget.BasisBound
	case 3:
		if c.request.Unbounded == nil {
			c.actual = bound + budget.Amount(w.rng.IntN(20)) // A1 broke
		}
	}
	s.Cost = c.actual
	if c.request.RequestID != "" && !c.ambiguous && w.rng.IntN(12) == 0 {
		s.Reservation = nil // the token is lost: only the bound is safe
		c.actual = min(c.actual, bound)
	}
	c.entry = s
	w.note("id %d.%d cost %d, basis %s, token %v", epochOf(c.r.ID), seqOf(c.r.ID), c.actual, s.Basis, s.Reservation != nil)
}

// deliver settles an entry and looks at what that did.
func (w *simWorld) deliver(c *simCall) {
	if c.entry.Reservation == nil && c.ambiguous {
		return // a check with its id came after it ended: nobody could tell them apart
	}
	c.seen = true
	s := c.entry
	id := c.r.ID
	h := w.c.open[id]
	expiring := h != nil && h.state == holdExpiring
	old := w.c.expired[id]
	may := w.c.mayChange(id)
	if s.Reservation != nil && epochOf(id) <= w.c.closed {
		w.reached("log of a closed epoch ignored")
	}
	res := w.c.settle(&s, w.at())
	w.note("id %d.%d: effect %d", epochOf(id), seqOf(id), res.effect)
	if s.Reservation != nil && !may && res.effect != duplicate {
		w.broken("IsOpen said that nothing could change, but the entry had effect %d", res.effect)
	}
	w.noteEffect(id, &s, &res, h, old, expiring)
	if res.excess > 0 {
		w.reached("settled above its bound")
		for _, ids := range [][]int64{c.r.Accounts, c.joined} {
			for _, id := range ids {
				if a := w.accounts[id]; a != nil {
					a.excess += res.excess
				}
			}
		}
	}
}

// noteEffect notes which path an entry took: h was its hold, old what was kept of
// it after it expired.
func (w *simWorld) noteEffect(id budget.ReservationID, s *budget.Settlement, res *settled, h, old *hold, expiring bool) {
	switch res.effect {
	case settledNow:
		w.reached("settled")
		if s.Reservation == nil {
			w.reached("settled without token")
		}
		for _, a := range h.legs {
			if a.end <= w.c.wall {
				w.reached("settled in an ended window")
			}
		}
	case refunded:
		w.reached("expiry refunded")
		if expiring {
			w.reached("expiry refunded in its own batch")
		} else if old != nil && epochOf(id) < w.c.epoch {
			w.reached("expiry refunded after a crash")
		}
	case fromOrphan:
		w.reached("orphan settled")
		e := &w.c.queue[len(w.c.queue)-1]
		residue := budget.Amount(0)
		for _, p := range e.pools {
			residue += p.residue
		}
		if residue > 0 {
			w.reached("orphan settled from residue")
		}
	case duplicate:
		w.reached("repeat ignored")
		if epochOf(id) < w.c.epoch {
			w.reached("repeat of a dead epoch ignored")
		}
	case unattributed:
		w.reached("unattributed")
	case strayCharged:
		w.broken("a call of this history was taken for a stray")
	}
}

// streamEntry delivers any of the entries on their way: order is not kept.
func (w *simWorld) streamEntry() bool {
	if len(w.stream) == 0 {
		return false
	}
	i := w.rng.IntN(len(w.stream))
	c := w.stream[i]
	if w.rng.IntN(20) > 0 {
		w.stream = slices.Delete(w.stream, i, i+1)
	}
	w.deliver(c)
	return true
}

func (w *simWorld) flushFile() bool {
	w.file = append(w.file, w.envoy...)
	w.envoy = nil
	return true
}

// readFile does what SettleSpool does.
func (w *simWorld) readFile() bool {
	n := min(len(w.file)-w.read, 1+w.rng.IntN(8))
	if n == 0 {
		return false
	}
	first := len(w.c.queue)
	for _, c := range w.file[w.read : w.read+n] {
		before := len(w.c.queue)
		w.deliver(c)
		if len(w.c.queue) > before {
			w.reached("settled by the file")
		}
	}
	w.read += n
	w.c.enqueue(event{kind: eventSpool, spool: budget.SpoolPosition{File: "f", Offset: int64(w.read)}})
	for i := first; i < len(w.c.queue)-1; i++ {
		w.c.queue[i].joined = true
	}
	return true
}

// oldEntry repeats the log of any call that ever ended.
func (w *simWorld) oldEntry() bool {
	c := pick(w, w.calls)
	if c == nil || c.running || c.entry.Basis == "" {
		return false
	}
	w.deliver(c)
	return true
}

// strayEntry is a verified token of another history.
func (w *simWorld) strayEntry() bool {
	r := budget.Reservation{ID: makeID(1<<19, uint64(1+w.rng.IntN(6))), Bound: 30, Attribution: w.request().Attribution}
	s := budget.Settlement{Reservation: &r, Basis: budget.BasisUsage, Cost: 10, RequestID: fmt.Sprint("foreign", seqOf(r.ID))}
	if res := w.c.settle(&s, w.at()); res.effect == strayCharged {
		w.reached("stray charged")
		w.meet()
		for _, a := range w.c.queue[len(w.c.queue)-1].h.legs {
			w.accounts[a.id].excess += s.Cost
		}
	}
	return true
}

// killEnvoy loses its buffer, and the log of every call that runs.
func (w *simWorld) killEnvoy() bool {
	w.reached("envoy killed")
	w.envoy = nil
	for _, c := range w.calls {
		if c.running {
			w.end(c)
			c.lost, c.entry = true, budget.Settlement{}
		}
	}
	return true
}

func (w *simWorld) heartbeat() bool {
	c := pick(w, w.calls)
	if c == nil || !c.running {
		return false
	}
	w.reached("heartbeat")
	w.c.heartbeat(c.r.ID, c.request.RequestID, w.at())
	return true
}

func (w *simWorld) passTime() bool {
	d := []int64{second / 1000, second / 5, 2 * second, 12 * second, 40 * second, 100 * second, 400 * second, 3600 * second}[w.rng.IntN(8)]
	w.wall += d
	w.mono += d
	return true
}

// jumpClock sets the wall clock; the monotonic one does not notice.
func (w *simWorld) jumpClock() bool {
	const day = 24 * 3600 * second
	at := w.at()
	w.c.advance(&at)
	defer w.checkLeap(w.c.clock, w.mono)
	switch w.rng.IntN(6) {
	case 0:
		w.wall -= int64(1+w.rng.IntN(48)) * 3600 * second
		w.reached("clock back")
	case 1:
		w.wall += 31 * day
		w.reached("clock a month ahead")
	case 2, 3: // just before midnight of UTC
		w.wall += day - w.wall%day - second/1000
	case 4: // within the last minute of a UTC day
		w.wall += day - w.wall%day - 30*second
	default:
		w.wall += 40 * day
		w.mono += 40 * day
	}
	w.note("wall %s", utc(w.wall))
	return true
}

// checkLeap wants window time to go on as it was, however far the clock leapt,
// if no time has passed for real.
func (w *simWorld) checkLeap(before clock, mono int64) {
	at := w.at()
	w.c.advance(&at)
	switch {
	case w.mono != mono:
		if before.leaping && w.c.offset != before.offset {
			w.reached("leap of the clock believed")
		}
	case w.c.wall < before.wall || w.c.wall > max(before.wall, mono+before.offset+clockStep):
		w.broken("the clock leapt to %s and took the windows from %s to %s", utc(w.wall), utc(before.wall), utc(w.c.wall))
	case w.c.leaping:
		w.reached("leap of the clock held back")
	}
}

// retire deletes the accounts of windows that ended long ago.
func (w *simWorld) retire(cutoff int64) {
	var ended []int64
	for _, id := range slices.Sorted(maps.Keys(w.disk.accounts)) {
		w.disk.lastID = max(w.disk.lastID, id)
		if w.disk.accounts[id].end < cutoff {
			ended = append(ended, id)
		}
	}
	for _, id := range w.c.retire(ended) {
		delete(w.disk.accounts, id)
		w.accounts[id].gone = true
		w.reached("ended window deleted")
	}
}

// prune runs where the sync goroutine does: between commits.
func (w *simWorld) prune() bool {
	if w.b != nil || w.real != nil {
		return false
	}
	at := w.at()
	w.c.advance(&at)
	cutoff := at.wall - 35*24*3600*second
	w.retire(cutoff)
	p := w.disk.prune(cutoff, w.c.epoch)
	w.c.prune(p.ids, p.strays, p.closed)
	w.closedMax = max(w.closedMax, p.closed)
	if len(p.ids) > 0 {
		w.reached("rows pruned")
	}
	if p.closed > 0 {
		w.reached("epoch closed")
	}
	return true
}
