package ledger

import "slices"

// begin does what the sync goroutine does before it writes.
func (w *simWorld) begin() bool {
	if w.b != nil {
		return false
	}
	w.meet()
	for _, h := range w.c.open {
		if h.state == holdOpen && h.deadline <= w.mono {
			w.reached("expired")
		}
	}
	pools := len(w.c.pools) > 0
	w.c.housekeep(w.at())
	w.serve(w.c.waiting.at)
	if pools && len(w.c.pools) == 0 {
		w.reached("orphan pool charged")
	}
	for _, h := range w.c.open {
		if h.state == holdOpen && h.deadline <= w.mono {
			w.broken("I6: id %d is past its deadline", h.id)
		}
	}
	if !w.c.pending() {
		return true
	}
	w.start(5 * second / 1000)
	return true
}

func (w *simWorld) start(latency int64) {
	idle := false
	for _, a := range w.c.wanted {
		idle = idle || a.lower
	}
	w.b, w.onB = w.c.begin(w.at(), latency), false
	for i, a := range w.b.touched {
		row := &w.b.accounts[i]
		if row.hw < a.hw {
			w.reached("mark lowered")
			if idle {
				w.reached("idle mark given back")
			}
		}
		if known := a.used() + a.batch.net(); row.hw > max(a.limit, known) {
			w.broken("I2: mark %d of account %d is above cap %d and use %d", row.hw, a.id, a.limit, known)
		}
		w.note("account %d: mark %d, limit %d, used %d, cap %d", a.id, row.hw, a.usable, a.used(), a.limit)
	}
	for i := range w.b.events {
		if e := &w.b.events[i]; e.kind == eventHold && e.h.closedIn == w.b.no {
			w.reached("hold never journaled")
		}
	}
}

// write puts the batch on disk.
func (w *simWorld) write() {
	if err := w.disk.commit(w.b, w.edits); err != nil {
		w.broken("commit: %v", err)
	}
	w.onB = true
	for i := range w.b.events {
		e := &w.b.events[i]
		switch e.kind {
		case eventStray:
			w.strayed = append(w.strayed, w.disk.strays[e.h.requestID])
		case eventSettle, eventExpire, eventRefund, eventOrphan:
			if row, ok := w.disk.settled[e.h.id]; ok {
				w.archive[e.h.id] = row
			} else {
				row = w.archive[e.h.id] // pruned while its refund was queued
				row.actual, row.status = e.cost, statusLate
				w.archive[e.h.id] = row
			}
		}
	}
}

func (w *simWorld) commit() bool {
	if w.b == nil || w.onB {
		return false
	}
	if w.real != nil {
		w.real.commit(w.b)
	}
	w.write()
	return true
}

func (w *simWorld) apply() bool {
	if w.b == nil || !w.onB {
		return false
	}
	var done *simEdit
	for i := range w.b.events {
		if e := &w.b.events[i]; e.change != nil && w.edit != nil && e.change == w.edit.change {
			done = w.edit
		}
	}
	w.c.apply(w.b)
	w.b = nil
	if done != nil {
		w.edit = nil
		done.applied(w)
	}
	w.serve(w.c.waiting.at)
	return true
}

// drain commits until nothing is pending.
func (w *simWorld) drain() {
	for range 1000 {
		switch {
		case w.b != nil:
			w.commit()
			w.apply()
		case w.c.pending():
			w.start(0)
		default:
			return
		}
	}
	w.broken("the journal does not drain")
}

// commitFails is an I/O error: the outcome is unknown and the process ends.
func (w *simWorld) commitFails() bool {
	if w.b == nil || w.onB {
		return false
	}
	w.reached("commit failed, " + w.die(w.rng.IntN(2) == 0))
	w.recover(w.rng.IntN(4) == 0)
	return true
}

// die ends the process; a batch that is being committed may reach the disk.
func (w *simWorld) die(written bool) string {
	how := "lost"
	if written {
		how = "written"
	}
	switch {
	case w.real != nil:
		w.real.die(w, written)
	case written && w.b != nil && !w.onB:
		w.write()
	}
	w.note("crash, the batch is %s", how)
	return how
}

// crash is kill -9 or a power loss; the disk keeps what it confirmed.
func (w *simWorld) crash() bool {
	written := w.rng.IntN(2) == 0
	if len(w.c.open) > 0 && w.c.epoch > 1 {
		for id := range w.c.open {
			if epochOf(id) < w.c.epoch {
				w.reached("crash while crashed calls are open")
				break
			}
		}
	}
	switch {
	case w.b == nil:
		w.reached("crash between commits")
		w.die(false)
	case w.onB:
		w.reached("crash before apply")
		w.die(false)
	default:
		w.reached("crash in a commit, " + w.die(written))
	}
	again := w.rng.IntN(4) == 0
	if again {
		w.reached("crash in recovery")
	}
	if w.real == nil && w.epochs%2 == 1 {
		w.keepRing()
	}
	w.recover(again)
	return true
}

// closeClean does what Close does, and starts again.
func (w *simWorld) closeClean() bool {
	w.drain()
	for range 3 {
		w.c.housekeep(w.at())
		w.c.lowerIdle(w.at(), true)
		w.drain()
	}
	orphan := map[int64]bool{}
	for id, a := range w.c.accounts {
		orphan[id] = a.orphan > 0
	}
	w.reached("clean close")
	w.die(false)
	w.recover(false)
	for id, a := range w.c.accounts {
		if had, known := orphan[id]; known && !had && a.orphan > 0 {
			w.broken("account %d has %d undecided after a clean close", id, a.orphan)
		}
	}
	return true
}

// recover starts a process on what the disk has. twice: the first one dies
// before its epoch is durable.
func (w *simWorld) recover(twice bool) {
	if w.epochs++; w.epochs > 3 {
		w.reached("several crashes")
	}
	w.mono = w.wall // of a new process
	w.b, w.onB, w.turns = nil, false, nil
	w.loseEdits()
	for range 2 {
		v, err := w.disk.load(w.wall)
		if err != nil {
			w.broken("load: %v", err)
			return
		}
		v.exact = w.exact
		c, held := restore(v, simTimeout, w.at())
		if twice {
			twice = false
			continue
		}
		w.disk.begin(v, held, c.wall)
		w.c, w.exact = c, false
		w.c.waiting.most = simWaitBytes
		break
	}
	if w.real != nil {
		w.real.recover(w)
	}
	// Everything the file holds beyond the durable position is read again.
	if at := int(w.disk.spool.Offset); at < w.read {
		w.read = at
		w.reached("log file read again")
	}
	w.note("epoch %d, wall %s", w.c.epoch, utc(w.c.wall))
	w.loseJoined()
	for _, o := range w.accounts {
		o.allowed = max(o.allowed, w.disk.rules[o.budget].Cap)
	}
	for id, o := range w.accounts {
		if _, ok := w.disk.accounts[id]; !ok {
			o.gone = true // its id is free again
			delete(w.accounts, id)
			if w.current[o.budget] == id {
				delete(w.current, o.budget)
			}
		}
		if _, ok := w.disk.rules[o.budget]; !ok {
			o.gone = true
			if w.current[o.budget] == id {
				delete(w.current, o.budget)
			}
		}
		if row, ok := w.disk.accounts[id]; ok {
			o.gone = o.gone && w.disk.rules[o.budget].ID == ""
			o.end = row.end
		}
	}
}

// loseEdits ends with the process what an administrator was at.
func (w *simWorld) loseEdits() {
	if w.edit != nil {
		w.reached("crash in an edit")
		w.edit = nil
	}
	if w.making != nil {
		w.reached("crash while a budget counts")
		w.making = nil
	}
	w.made = nil
}

// loseJoined forgets accounts that are gone: their ids may be given again.
func (w *simWorld) loseJoined() {
	for _, c := range w.calls {
		c.joined = slices.DeleteFunc(c.joined, func(id int64) bool { _, alive := w.disk.accounts[id]; return !alive })
	}
}

// sortedIDs is for deterministic choices.
func sortedIDs[V any](m map[int64]V) []int64 {
	var ids []int64
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
