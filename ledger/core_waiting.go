package ledger

import (
	"cmp"
	"container/heap"
	"slices"

	"aigateway/budget"
)

// waiter is a call that waits for room which calls that run now hold.
type waiter struct {
	request *budget.Request
	no      uint64 // order of arrival
	since   int64  // monotonic
	// patience is the monotonic time from which no call that came later passes it
	// where it waits.
	patience int64
	// at are the accounts that have no room for it, or for a call that came
	// before it and may not be passed any more.
	at []*account

	// What the decision was, once it was made.
	out   outcome
	hold  *hold
	tight *account

	// The Ledger's.
	done   chan struct{} // closed once what follows is the answer
	answer budget.Reservation
	err    error
}

// waiterBytes is what a call that waits costs beside its body: here, in the
// connection between Envoy and us, and in Envoy.
const waiterBytes = 16 << 10

// waiting is all calls that wait, account by account in the order they came.
type waiting struct {
	most  int64 // bytes held for those who wait; 0: nobody waits
	bytes int64
	keys  map[string]int64 // of bytes, by key
	last  uint64           // number of the last that came
	at    []*account       // those where somebody waits
	count int
	// commit: one of them needs the next commit, for money that it frees or for a mark.
	commit bool
}

// hasRoom reports whether size more bytes may be held for key. Of what others
// leave a key gets half, so there is room for another.
func (w *waiting) hasRoom(key string, size int64) bool {
	size += waiterBytes
	return w.keys[key]+size <= w.most-w.bytes
}

// mayWait reports whether r, number no of those who may, wants to wait, and does
// already or finds room for it.
func (c *core) mayWait(r *budget.Request, no uint64) bool {
	return r.Wait > 0 && r.Unbounded == nil && (no <= c.waiting.last || c.waiting.hasRoom(r.KeyID, r.Size))
}

// least is the smallest bound with which r is content.
func least(r *budget.Request) budget.Amount {
	if r.Fit != nil {
		return min(r.Least, r.Bound)
	}
	return r.Bound
}

// blocking are the accounts of legs where a call with that bound, which came as
// number no, has to wait; nil if a cap refuses it whatever the running calls
// cost. Each has no room, or is where a call that came before lost patience.
func blocking(legs []*account, bound budget.Amount, no uint64, at instant) []*account {
	var out []*account
	for _, a := range legs {
		switch {
		case a.distrusted || a.hopeless(bound) || !a.fitsSoon(bound) && bound <= a.room()+a.restoredLeft():
			return nil
		case !a.fitsSoon(bound), a.barred(no, at):
			out = append(out, a)
		}
	}
	return out
}

// hopeless reports whether spending alone leaves no room for bound, whatever the
// running calls cost.
func (a *account) hopeless(bound budget.Amount) bool {
	if a.share == nil {
		return bound > a.limit-a.soon.spent
	}
	return bound > a.rule.limit()-a.everywhere().spent
}

// barred reports whether a call that came as number no may take nothing of a,
// because one that came before has waited there for too long to be passed.
func (a *account) barred(no uint64, at instant) bool {
	if len(a.line) == 0 || at.mono < a.patience {
		return false
	}
	for _, w := range a.line {
		if w.no >= no {
			return false
		}
		if at.mono >= w.patience {
			return true
		}
	}
	a.lookAtPatience() // who had lost it has left
	return false
}

// lookAtPatience raises a's patience to the least of those who wait there.
func (a *account) lookAtPatience() {
	a.patience = forever
	for _, w := range a.line {
		a.patience = min(a.patience, w.patience)
	}
}

// wait lines r up at the accounts that block it.
func (c *core) wait(r *budget.Request, blocked []*account, at instant) *waiter {
	c.waiting.last++
	w := &waiter{request: r, no: c.waiting.last, since: at.mono, patience: at.mono + int64(r.Wait)/2, done: make(chan struct{})}
	if c.waiting.keys == nil {
		c.waiting.keys = map[string]int64{}
	}
	c.waiting.count++
	c.waiting.bytes += r.Size + waiterBytes
	c.waiting.keys[r.KeyID] += r.Size + waiterBytes
	c.lineUp(w, blocked)
	return w
}

func (c *core) lineUp(w *waiter, blocked []*account) {
	w.at = blocked
	for _, a := range blocked {
		if len(a.line) == 0 {
			c.waiting.at = append(c.waiting.at, a)
			a.patience = w.patience
		}
		a.line = slices.Insert(a.line, a.place(w.no), w)
		a.patience = min(a.patience, w.patience)
	}
}

// place is that of number no in a's line, or of the first that came later.
func (a *account) place(no uint64) int {
	i, _ := slices.BinarySearchFunc(a.line, no, func(o *waiter, no uint64) int { return cmp.Compare(o.no, no) })
	return i
}

// stepOut takes w out of every line.
func (c *core) stepOut(w *waiter) {
	for _, a := range w.at {
		i := a.place(w.no)
		a.line = slices.Delete(a.line, i, i+1)
		if len(a.line) == 0 {
			c.waiting.at = slices.DeleteFunc(c.waiting.at, func(o *account) bool { return o == a })
			a.line = nil
			c.forget(a)
		}
	}
	w.at = nil
}

// leave ends w's wait, whatever it came to.
func (c *core) leave(w *waiter) {
	c.stepOut(w)
	r := w.request
	c.waiting.count--
	c.waiting.bytes -= r.Size + waiterBytes
	if c.waiting.keys[r.KeyID] -= r.Size + waiterBytes; c.waiting.keys[r.KeyID] == 0 {
		delete(c.waiting.keys, r.KeyID)
	}
}

// stale reports whether w has to look at a again: there is room for it, there
// never will be, or a is not the account of its window any more.
func (w *waiter) stale(a *account, at instant) bool {
	need := least(w.request)
	if s := a.share; s != nil && s.lack == 0 && !s.asking && need > a.room() && a.lacks(need, at) == waitLease {
		return true // nobody asks the store for it
	}
	return need <= a.room() || a.hopeless(need) || a.rule.deleted || at.wall >= a.end || at.wall < a.start
}

// serve looks again at those who wait at the accounts in todo, in the order they
// came wherever they wait, and returns those whose wait is over. Each place in a
// line costs a comparison unless there is room for it.
func (c *core) serve(todo []*account, at instant) []*waiter {
	c.advance(&at)
	var over []*waiter
	r := round{cursors: map[*account]*cursor{}}
	for _, a := range todo {
		r.look(a, 0)
	}
	for len(r.next) > 0 {
		k := heap.Pop(&r.next).(*cursor)
		w, lines := k.w, k.w.at
		k.w = nil
		if slices.Contains(lines, k.a) && w.stale(k.a, at) {
			if c.again(w, at) {
				over = append(over, w)
			}
			for _, a := range lines {
				if !slices.Contains(w.at, a) {
					r.left(a, w) // whom it kept waiting there may go
				}
			}
		}
		if at.mono >= w.patience && slices.Contains(w.at, k.a) {
			k.barred = w // nobody passes it
		} else {
			r.look(k.a, w.no+1)
		}
	}
	return over
}

// round is one look at lines. It only goes on to those who came later.
type round struct {
	cursors map[*account]*cursor
	next    cursors
}

// cursor is where a round is in the line of an account.
type cursor struct {
	a      *account
	w      *waiter // to be looked at next; nil: nobody
	barred *waiter // whom nobody passes
}

// look goes on in a's line with whoever came as number no or later.
func (r *round) look(a *account, no uint64) {
	k := r.cursors[a]
	if k == nil {
		a.lookAtPatience()
		k = &cursor{a: a}
		r.cursors[a] = k
	}
	if i := a.place(no); k.w == nil && k.barred == nil && i < len(a.line) {
		k.w = a.line[i]
		heap.Push(&r.next, k)
	}
}

// left goes on in a's line, which w left.
func (r *round) left(a *account, w *waiter) {
	if k := r.cursors[a]; k != nil && k.barred == w {
		k.barred = nil
	}
	r.look(a, w.no+1)
}

// cursors is a heap: the one whose waiter came first is at the front.
type cursors []*cursor

func (s cursors) Len() int           { return len(s) }
func (s cursors) Less(i, j int) bool { return s[i].w.no < s[j].w.no }
func (s cursors) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *cursors) Push(k any)        { *s = append(*s, k.(*cursor)) }
func (s *cursors) Pop() any {
	k := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return k
}

// again decides on w anew and reports whether its wait is over.
func (c *core) again(w *waiter, at instant) bool {
	c.stepOut(w)
	out, h, tight, legs := c.decideOn(w.request, w.no, at)
	switch out {
	case held:
		c.lineUp(w, legs)
		return false
	case waitSettle, waitMark, waitLease, unreachable: // the next commit or exchange serves it
		c.lineUp(w, slices.Clone(c.match(nil, w.request.Tag, w.request.KeyID, at.wall)))
		c.waiting.commit = c.waiting.commit || out == waitSettle || out == waitMark
		return false
	}
	w.out, w.hold, w.tight = out, h, tight
	c.leave(w)
	return true
}
