package ledger

import (
	"slices"
	"strconv"

	"aigateway/budget"
)

// outcome is what reserve decided.
type outcome uint8

const (
	admitted    outcome = iota
	repeated            // the same request again: the same answer
	differs             // the same request id with another call
	unbounded           // no bound, and a budget watches the call
	refused             // a cap would be crossed
	waitSettle          // fits as soon as queued settlements are durable
	waitMark            // fits the cap; the high-water mark must rise first
	distrusted          // an account's totals differ from its rows
	held                // only running calls keep it out, and it may wait for them
	waitLease           // a lease has no room for it: the store has to be asked
	contended           // there is room, but other ledgers hold it
	unreachable         // the store is silent, or was for too long
)

// reserve decides on r: every matching budget or none. tight is the account
// with the least room: of all legs when admitted, of the refusing ones when
// refused; one that lacks lease when waitLease. blocked are the accounts to wait for
// when held. It does no I/O and allocates the hold only.
func (c *core) reserve(r *budget.Request, at instant) (out outcome, h *hold, tight *account, blocked []*account) {
	c.advance(&at)
	return c.decideOn(r, c.waiting.last+1, at)
}

// decideOn decides on r, which came as number no of those who may wait.
func (c *core) decideOn(r *budget.Request, no uint64, at instant) (out outcome, h *hold, tight *account, blocked []*account) {
	bound := r.Bound
	if r.Unbounded != nil {
		bound = 0
	}
	if h := c.requests[r.RequestID]; h != nil && r.RequestID != "" {
		same := h.state == holdOpen && (h.bound == bound || r.Fit != nil && h.bound < bound) && h.attr == r.Attribution && h.unpriced == (r.Unbounded != nil)
		if !same {
			return differs, h, nil, nil
		}
		return repeated, h, tightest(h.legs), nil
	}
	var buf [8]*account
	legs := c.match(buf[:0], r.Tag, r.KeyID, at.wall)
	if r.Unbounded != nil && slices.ContainsFunc(legs, func(a *account) bool { return !a.rule.counting }) {
		return unbounded, nil, nil, nil
	}
	if r.Fit != nil {
		bound = min(bound, fairShare(legs, r))
	}
	if c.stale(at) {
		return unreachable, nil, nil, nil
	}
	out, tight = decide(legs, bound, at)
	if out.isFull() && r.Fit != nil {
		// What fits next to the running calls, if that is still an answer.
		if smaller := r.Fit(max(0, leastRoom(legs))); smaller >= 0 && smaller < bound {
			bound = smaller
			out, tight = decide(legs, bound, at)
		}
	}
	if (out.isFull() || c.waiting.count > 0) && c.mayWait(r, no) {
		need := bound
		if out.isFull() {
			need = least(r)
		}
		if blocked = blocking(legs, need, no, at); len(blocked) > 0 {
			c.lack(legs, need, at)
			return held, nil, tight, blocked
		}
	}
	switch out {
	case admitted:
		return admitted, c.admit(r, legs, bound, at), tightest(legs), nil
	case waitMark:
		c.raise(legs, bound)
	case waitLease:
		if c.leases.isDown(at) {
			return unreachable, nil, nil, nil
		}
		c.lack(legs, bound, at)
	}
	return out, nil, tight, nil
}

// isFull reports whether there is no room for the call, as far as is known.
func (o outcome) isFull() bool { return o == refused || o == contended }

// fairShare is the bound of a call that is content with less, where others wait:
// what there is room for is for all of them.
func fairShare(legs []*account, r *budget.Request) budget.Amount {
	share := budget.MaxAmount
	for _, a := range legs {
		if n := len(a.line); n > 0 {
			share = min(share, max(0, a.reach())/budget.Amount(n+1))
		}
	}
	if share == budget.MaxAmount {
		return r.Bound
	}
	return max(r.Least, r.Fit(share))
}

func leastRoom(legs []*account) budget.Amount {
	room := budget.MaxAmount
	for _, a := range legs {
		room = min(room, a.reach())
	}
	return room
}

// carries reports whether no crash can hide a call of this bound that a admits: it
// is below the usable mark, and a has a row, so that no other account gets its id.
func (a *account) carries(bound budget.Amount) bool { return !a.fresh && a.covered(bound) }

// decide is the rule of admission: used + bound <= limit and <= usable on every
// leg, which has a row. A fall that is queued but not durable makes it wait, never
// refuse; so does a lease, until the store was asked.
func decide(legs []*account, bound budget.Amount, at instant) (outcome, *account) {
	var full, missing *account
	out, why := admitted, refused
	for _, a := range legs {
		switch {
		case a.distrusted:
			return distrusted, a
		case !a.fitsSoon(bound):
			switch lacks := a.lacks(bound, at); {
			case lacks == unreachable, lacks == waitLease && out != unreachable:
				out, missing = lacks, a
			case lacks == waitLease:
			case full == nil || lacks == refused && why == contended || lacks == why && a.left() < full.left():
				full, why = a, lacks
			}
		case !a.fits(bound) && missing == nil:
			out = waitSettle
		case !a.carries(bound) && out == admitted:
			out = waitMark
		}
	}
	if full != nil {
		return why, full
	}
	return out, missing
}

// raise asks the next commit for marks that leave room for bound.
func (c *core) raise(legs []*account, bound budget.Amount) {
	for _, a := range legs {
		if !a.carries(bound) {
			a.need = min(a.need+bound, budget.MaxAmount)
			c.want(a)
		}
	}
}

func (c *core) admit(r *budget.Request, legs []*account, bound budget.Amount, at instant) *hold {
	c.seq++
	h := &hold{
		id: makeID(c.epoch, c.seq), requestID: r.RequestID, attr: r.Attribution, bound: bound,
		reservedAt: at.wall, unpriced: r.Unbounded != nil, arithmetic: r.Arithmetic, deadline: at.mono + c.timeout,
	}
	h.setLegs(legs)
	for _, a := range h.legs {
		a.held += bound
		a.note(bound, at.mono)
		a.active = at.mono
		a.refs++
	}
	c.open[h.id] = h
	if h.requestID != "" {
		c.requests[h.requestID] = h
	}
	c.expiry.push(h)
	c.push(event{kind: eventHold, h: h})
	return h
}

func tightest(legs []*account) *account {
	var t *account
	for _, a := range legs {
		if !a.rule.counting && (t == nil || a.left() < t.left()) {
			t = a
		}
	}
	return t
}

// settled is what settle did.
type settled struct {
	effect effect
	basis  budget.Basis
	excess budget.Amount // of the cost over the bound: assumption A1 broke
}

type effect uint8

const (
	settledNow   effect = iota
	refunded            // corrected an expiry
	fromOrphan          // took it from what a crash left undecided
	strayCharged        // unknown reservation: charged
	duplicate           // the reservation was settled before
	nothing             // nothing was sent, and no open reservation is known
	unattributed        // billed, but no reservation is known
)

// settle takes the final word on a reservation, from any channel, in any
// order, any number of times.
func (c *core) settle(s *budget.Settlement, at instant) settled {
	c.advance(&at)
	h := c.locate(s)
	if h == nil {
		if s.Reservation == nil {
			if s.Basis == budget.BasisReleased {
				return settled{effect: nothing}
			}
			return settled{effect: unattributed}
		}
		return c.settleUnknown(s, at)
	}
	cost, basis := charge(s, h.bound, s.Reservation != nil)
	e := ended(s, h, basis, at)
	res := settled{basis: basis}
	switch h.state {
	case holdOpen:
		e.kind = eventSettle
		c.expiry.remove(h)
		h.state = holdClosing
	case holdExpiring, holdExpired:
		e.kind, res.effect = eventRefund, refunded
		h.state = holdRefunding
	default:
		return settled{effect: duplicate}
	}
	e.cost = limitCharge(h.legs, cost, h.bound)
	if !h.unpriced { // which had no bound
		res.excess = max(0, e.cost-h.bound)
	}
	c.enqueue(e)
	return res
}

// ended is an event that tells of the end of h's call.
func ended(s *budget.Settlement, h *hold, basis budget.Basis, at instant) event {
	e := event{h: h, basis: basis, tokens: s.Tokens, at: at.wall, status: s.Status, served: s.Served}
	if !s.At.IsZero() {
		e.end = s.At.UnixNano()
	}
	return e
}

// locate finds the hold a settlement is about. Without a token the request id
// decides, which Envoy makes and clients cannot choose.
func (c *core) locate(s *budget.Settlement) *hold {
	if s.Reservation == nil {
		if s.RequestID == "" {
			return nil
		}
		return c.requests[s.RequestID]
	}
	if h := c.open[s.Reservation.ID]; h != nil {
		return h
	}
	return c.expired[s.Reservation.ID]
}

// charge is the cost a settlement proves. Without a verified token there are
// no pinned prices, so anything that was sent costs the bound.
func charge(s *budget.Settlement, bound budget.Amount, token bool) (budget.Amount, budget.Basis) {
	switch {
	case s.Basis == budget.BasisReleased || s.Basis == budget.BasisProviderError:
		return 0, s.Basis
	case s.Basis == budget.BasisUnpriced:
		return bound, s.Basis // 0, unless the call did have a price
	case !token || s.Basis == budget.BasisBound || s.Cost < 0:
		return bound, budget.BasisBound
	default:
		return s.Cost, s.Basis
	}
}

// settleUnknown handles a verified token whose hold is neither open nor
// expired: finished, erased by a crash, or from another history.
func (c *core) settleUnknown(s *budget.Settlement, at instant) settled {
	r := s.Reservation
	epoch, seq := epochOf(r.ID), seqOf(r.ID)
	mark, known := c.marks[epoch]
	_, done := c.orphaned[r.ID]
	switch {
	case done || epoch <= c.closed || known && seq <= mark || epoch == c.epoch && seq <= c.seq:
		return settled{effect: duplicate}
	case known:
		return c.settleOrphan(s, at)
	default:
		return c.settleStray(s, at)
	}
}

// settleOrphan books a call that a crash erased: its bound is inside the
// orphan pool or the residue of each leg and is taken from there, once.
func (c *core) settleOrphan(s *budget.Settlement, at instant) settled {
	r := s.Reservation
	h := erased(r, s.RequestID, at)
	var legs []*account
	for _, id := range r.Accounts {
		if a := c.accounts[id]; a != nil {
			legs = append(legs, a)
		}
	}
	h.setLegs(legs)
	cost, basis := charge(s, r.Bound, true)
	cost = limitCharge(legs, cost, 0)
	pools := make([]pool, len(legs))
	for i, a := range legs {
		pools[i].orphan = min(r.Bound, a.soon.orphan)
		pools[i].residue = min(r.Bound-pools[i].orphan, a.soon.residue)
	}
	c.orphaned[r.ID] = struct{}{}
	c.addRefs(h)
	e := ended(s, h, basis, at)
	e.kind, e.cost, e.pools = eventOrphan, cost, pools
	c.enqueue(e)
	res := settled{effect: fromOrphan, basis: basis}
	if r.Bound > 0 || len(legs) > 0 { // else it may have had none
		res.excess = max(0, cost-r.Bound)
	}
	return res
}

// erased is the hold that a token describes.
func erased(r *budget.Reservation, requestID string, at instant) *hold {
	h := &hold{id: r.ID, requestID: requestID, attr: r.Attribution, bound: r.Bound, reservedAt: at.wall}
	if !r.ReservedAt.IsZero() {
		h.reservedAt = r.ReservedAt.UnixNano()
	}
	return h
}

// settleStray charges a billed call of unknown origin to the budgets that
// match it now, once per request id. It never releases anything.
func (c *core) settleStray(s *budget.Settlement, at instant) settled {
	r := s.Reservation
	cost, basis := charge(s, r.Bound, true)
	key := s.RequestID
	if key == "" {
		key = "reservation " + strconv.FormatUint(uint64(r.ID), 10)
	}
	if _, done := c.strays[key]; done {
		return settled{effect: duplicate}
	}
	if !basis.Sent() {
		return settled{effect: nothing}
	}
	h := erased(r, key, at)
	h.setLegs(c.match(nil, r.Tag, r.KeyID, at.wall))
	c.strays[key] = struct{}{}
	c.addRefs(h)
	c.enqueue(event{kind: eventStray, h: h, basis: basis, cost: limitCharge(h.legs, cost, 0), tokens: s.Tokens, at: at.wall})
	return settled{effect: strayCharged, basis: basis}
}

// mayChange reports whether a settlement of id could still have an effect.
func (c *core) mayChange(id budget.ReservationID) bool {
	if h := c.open[id]; h != nil {
		return h.state == holdOpen || h.state == holdExpiring
	}
	if h := c.expired[id]; h != nil {
		return h.state == holdExpired
	}
	epoch, seq := epochOf(id), seqOf(id)
	if _, done := c.orphaned[id]; done || epoch <= c.closed {
		return false
	}
	if mark, dead := c.marks[epoch]; dead {
		return seq > mark
	}
	return epoch != c.epoch || seq > c.seq
}

// heartbeat extends a hold whose call is known to be running.
func (c *core) heartbeat(id budget.ReservationID, requestID string, at instant) {
	h := c.open[id]
	if h == nil && id == 0 && requestID != "" {
		h = c.requests[requestID]
	}
	if h != nil && h.state == holdOpen {
		c.expiry.remove(h)
		h.deadline = max(h.deadline, at.mono+c.timeout)
		c.expiry.push(h)
	}
}

// expire charges holds that no log spoke for in time (R3), at most limit, and
// returns how many.
func (c *core) expire(at instant, limit int) int {
	n := 0
	for h := c.expiry.front; h != nil && h.deadline <= at.mono && n < limit; h = c.expiry.front {
		c.expiry.remove(h)
		h.state = holdExpiring
		c.enqueue(event{kind: eventExpire, h: h, basis: budget.BasisExpired, cost: h.bound, at: c.wall})
		n++
	}
	return n
}

// chargePools turns what a crash left undecided into spending, once nobody can
// be running any more. Late logs still get it back, from the residue.
func (c *core) chargePools(at instant) {
	if at.mono < c.poolUntil {
		return
	}
	for _, a := range c.pools {
		if o := a.soon.orphan; o > 0 {
			c.enqueue(event{kind: eventPool, pooled: a, pools: []pool{{orphan: o}}, at: c.wall})
		}
	}
	c.pools = nil
}

const (
	idleAfter = 10 * second // an account gives back its unused mark
	idleEvery = second
)

// watchIdle lets lowerIdle look at a if something of it is unused: its mark, or its lease,
// which was asked for a call that may have left.
func (c *core) watchIdle(a *account) {
	unused := a.hw > a.used() || a.share != nil && a.share.lease > a.used()
	if unused && !a.raised {
		a.raised = true
		c.raised = append(c.raised, a)
	}
}

// lowerIdle gives back the unused marks of accounts that are no longer used,
// so that a crash in a quiet hour leaves nothing undecided, and their leases.
func (c *core) lowerIdle(at instant, all bool) {
	if !all && at.mono < c.idleAt {
		return
	}
	c.idleAt = at.mono + idleEvery
	kept := c.raised[:0]
	for _, a := range c.raised {
		if !all && at.mono-a.active < idleAfter {
			kept = append(kept, a)
			continue
		}
		a.raised = false
		if a.hw > a.used() {
			a.lower = true
			c.want(a)
		} else {
			c.tell(a)
		}
	}
	clear(c.raised[len(kept):])
	c.raised = kept
}

// housekeep does what time alone causes and returns the number of expiries.
func (c *core) housekeep(at instant) int {
	c.advance(&at)
	n := c.expire(at, 1024)
	c.chargePools(at)
	c.prepare(at, 1024)
	c.lowerIdle(at, false)
	return n
}
