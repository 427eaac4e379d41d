package ledger

import "aigateway/budget"

// marks are the highest journaled sequence numbers by epoch, and ids the
// calls' reservation ids.
func (w *modelWorld) marks(s *modelState, into map[uint64]uint64) (seq uint64) {
	var n [8]uint64
	for i := range s.calls {
		c := &s.calls[i]
		if c.epoch == 0 {
			w.ids[i] = 0
			continue
		}
		n[c.epoch]++
		w.ids[i] = makeID(uint64(c.epoch), n[c.epoch])
		if c.journaled && c.epoch < s.epoch {
			into[uint64(c.epoch)] = n[c.epoch]
		}
	}
	for e := int8(1); e < s.epoch; e++ {
		into[uint64(e)] += 0
	}
	return n[s.epoch]
}

// load unpacks s into the core.
func (w *modelWorld) load(s *modelState) {
	c, a := w.c, w.a
	clear(c.open)
	clear(c.expired)
	clear(c.orphaned)
	clear(c.marks)
	clear(c.accounts)
	c.queue, c.spare, c.wanted, c.pools = c.queue[:0], nil, c.wanted[:0], nil
	c.expiry, c.queued, c.applied, c.batchNo, c.idleAt, c.savedWall, c.wall = expiryList{}, 0, 0, 1, 0, 0, 0
	*a = account{id: 1, rule: w.r, end: forever}
	a.limit, a.spent, a.orphan, a.residue = budget.Amount(s.cap), budget.Amount(s.spent), budget.Amount(s.orphan), budget.Amount(s.residue)
	a.hw, a.held, a.rise, a.falling = budget.Amount(s.hw), budget.Amount(s.held), budget.Amount(s.rise), budget.Amount(s.falling)
	a.usable, a.need = budget.Amount(s.limit), budget.Amount(s.need)
	a.soon.spent, a.soon.orphan, a.soon.residue = budget.Amount(s.soonSpent), budget.Amount(s.soonOrphan), budget.Amount(s.soonResidue)
	a.pace.largest = modelBound / 2 // so that the mark runs one bound ahead
	w.loadEnd(s)
	if w.g.makes {
		w.loadMaking(s)
	}
	c.raised = c.raised[:0]
	if a.raised = a.hw > a.used(); a.raised {
		c.raised = append(c.raised, a)
		a.raised = w.how != forgetsMark
	}
	if s.wanted {
		c.want(a)
	}
	if s.pools {
		c.pools = append(c.pools, a)
	}
	w.loadWaiting(s)
	c.epoch = uint64(s.epoch)
	c.seq = w.marks(s, c.marks)
	w.b = nil
	if s.syncing != nowhere {
		w.b = &batch{no: 1, epoch: c.epoch}
		if s.touched {
			c.touch(w.b, a)
			w.b.accounts = append(w.b.accounts, accountRow{id: 1, hw: budget.Amount(s.rowHW), changed: true})
		}
	}
	for i := range s.calls {
		if s.calls[i].epoch > 0 {
			w.loadCall(s, i)
		}
	}
	if s.pool != nowhere {
		w.put(s.pool, event{kind: eventPool, pooled: a, pools: []pool{{orphan: budget.Amount(s.poolAmount)}}})
	}
	if s.edit != nowhere {
		w.put(s.edit, w.editEvent(s.editCap))
	}
	if s.made.queued != nowhere {
		w.put(s.made.queued, w.pastEvent(s))
	}
}

func (w *modelWorld) loadCall(s *modelState, i int) {
	m, h := &s.calls[i], &w.hold[i]
	*h = hold{id: w.ids[i], bound: modelBound, state: m.state}
	if !s.end.rowless && m.fromOrphan != noAccount && !m.making.off {
		h.setLegs([]*account{w.a})
	}
	if m.known || m.orphan != nowhere {
		w.c.addRefs(h)
	}
	if m.orphaned {
		w.c.orphaned[h.id] = struct{}{}
	}
	if m.known {
		if m.state == holdExpired || m.state == holdRefunding && m.end == nowhere {
			w.c.expired[h.id] = h
		} else {
			w.c.open[h.id] = h
		}
		if m.state == holdOpen {
			h.deadline = forever
			w.c.expiry.push(h)
		}
	}
	cost := w.charged(m.bill)
	if m.hold != nowhere {
		w.put(m.hold, event{kind: eventHold, h: h})
	}
	switch {
	case m.end != nowhere && m.expires:
		w.put(m.end, event{kind: eventExpire, h: h, cost: modelBound})
	case m.end != nowhere && w.how == expiryReleases && m.bill == 0:
		w.put(m.end, event{kind: eventSettle, h: h})
	case m.end != nowhere:
		w.put(m.end, event{kind: eventSettle, h: h, cost: cost})
	}
	if m.making.join != nowhere {
		w.put(m.making.join, event{kind: eventJoin, h: h})
	}
	if m.refund != nowhere {
		w.put(m.refund, event{kind: eventRefund, h: h, cost: cost})
	}
	if m.orphan != nowhere {
		e := event{kind: eventOrphan, h: h, cost: cost}
		if m.fromOrphan != noAccount {
			e.pools = []pool{{budget.Amount(m.fromOrphan), budget.Amount(m.fromResidue)}}
		}
		w.put(m.orphan, e)
	}
}

// put adds an event to the queue or the batch without counting it again.
func (w *modelWorld) put(p place, e event) {
	if p == inQueue {
		w.c.queue = append(w.c.queue, e)
		return
	}
	w.b.events = append(w.b.events, e)
	for i := range e.legs() {
		w.a.batch.add(e.delta(i))
	}
	if e.pooled != nil {
		w.a.batch.add(e.delta(0))
	}
	if e.h != nil && e.kind == eventHold {
		e.h.openedIn = w.b.no
	}
}

// save packs the core into s.
func (w *modelWorld) save(s *modelState) {
	c, a := w.c, w.a
	s.cap, s.spent, s.orphan, s.residue = int8(a.limit), int8(a.spent), int8(a.orphan), int8(a.residue)
	s.hw, s.held, s.rise, s.falling = int8(a.hw), int8(a.held), int8(a.rise), int8(a.falling)
	s.limit, s.need = int8(a.usable), int8(a.need)
	s.soonSpent, s.soonOrphan, s.soonResidue = int8(a.soon.spent), int8(a.soon.orphan), int8(a.soon.residue)
	s.wanted, s.pools = a.wanted, len(c.pools) > 0
	s.pool, s.poolAmount, s.edit, s.made.queued = nowhere, 0, nowhere, nowhere
	for i := range s.calls {
		m := &s.calls[i]
		m.hold, m.end, m.refund, m.orphan = nowhere, nowhere, nowhere, nowhere
		m.expires, m.fromOrphan, m.fromResidue, m.making.join = false, 0, 0, nowhere
		m.known, m.state, m.orphaned = false, 0, false
		if m.epoch == 0 {
			continue
		}
		h := c.open[w.ids[i]]
		if h == nil {
			h = c.expired[w.ids[i]]
		}
		if h != nil {
			m.known, m.state, m.making.off = true, h.state, len(h.legs) == 0
		}
		_, m.orphaned = c.orphaned[w.ids[i]]
	}
	for i := range c.queue {
		w.saveEvent(s, &c.queue[i], inQueue)
	}
	if w.b != nil && s.syncing != nowhere {
		for i := range w.b.events {
			w.saveEvent(s, &w.b.events[i], inBatch)
		}
	}
	if s.syncing == nowhere {
		s.touched, s.rowS, s.rowO, s.rowR, s.rowHW = false, 0, 0, 0, 0
	}
	if w.g.makes {
		w.saveMaking(s)
		return
	}
	w.saveEnd(s)
}

func (w *modelWorld) saveEvent(s *modelState, e *event, p place) {
	switch e.kind {
	case eventPool:
		s.pool, s.poolAmount = p, int8(e.pools[0].orphan)
		return
	case eventAdmin:
		s.edit = p
		return
	case eventPast:
		s.made.queued = p
		return
	}
	i := 0
	for w.ids[i] != e.h.id {
		i++
	}
	m := &s.calls[i]
	switch e.kind {
	case eventHold:
		m.hold = p
	case eventJoin:
		m.making.join = p
	case eventSettle, eventExpire:
		m.end, m.expires = p, e.kind == eventExpire
	case eventRefund:
		m.refund = p
	case eventOrphan:
		m.orphan, m.fromOrphan = p, noAccount
		if len(e.pools) > 0 {
			m.fromOrphan, m.fromResidue = int8(e.pools[0].orphan), int8(e.pools[0].residue)
		}
	}
}

// crash forgets memory and recovers from the disk, with the server's restore,
// and if only the process ended from the ring as well.
func (w *modelWorld) crash(s *modelState, kill bool) {
	v := &snapshot{epoch: uint64(s.epoch) + 1, marks: map[uint64]uint64{}, lastAccount: 1}
	v.exact = kill || w.how == ringAfterPowerLoss
	if kill {
		w.readRing(s)
	}
	s.epoch++
	s.crashes++
	s.unclean = s.unclean || !kill
	w.marks(s, v.marks)
	r := &rule{Budget: w.r.Budget, num: 1}
	r.Cap = budget.Amount(s.diskCap)
	v.rules = []*rule{r}
	w.forgetMade(s, v)
	row := accountRow{id: 1, budget: 1, end: forever, spent: budget.Amount(s.diskS), orphan: budget.Amount(s.diskO),
		residue: budget.Amount(s.diskR), hw: budget.Amount(s.diskHW)}
	v.accounts = w.endRows(s, row)
	for i := range s.calls {
		h := savedHold{hold: hold{id: w.ids[i], bound: modelBound}, accounts: []int64{1}}
		if s.calls[i].making.rowOff {
			h.accounts = nil
		}
		switch s.calls[i].row {
		case holdRow:
			v.open = append(v.open, h)
		case expiredRow:
			v.expired = append(v.expired, h)
		case orphanRow:
			v.orphaned = append(v.orphaned, h.id)
		}
	}
	c, held := restore(v, forever/4, instant{})
	a := c.accounts[1]
	if a == nil {
		a = finalAccount(s)
	}
	if w.how == gapIgnored {
		a.orphan, a.soon.orphan = row.orphan, row.orphan
		a.hw = a.used()
		a.usable, held = a.hw, nil
		s.diskHW = int8(a.hw)
	}
	for i := range held {
		s.diskS, s.diskO, s.diskR, s.diskHW = int8(held[i].spent), int8(held[i].orphan), int8(held[i].residue), int8(held[i].hw)
	}
	if s.edited && s.diskCap != s.editCap {
		// The edit was never acknowledged and may be tried again.
		s.edited, s.editCap = false, 0
		s.allowed = max(s.allowed, s.diskCap)
	}
	if w.how == cutForgotten && s.edit == nowhere {
		s.allowed = min(s.allowed, s.cap)
	}
	s.forgetWaiting()
	s.syncing = nowhere
	kept, keptAccount, keptRule := w.c, w.a, w.r
	w.c, w.a, w.r, w.b = c, a, r, nil
	w.save(s)
	w.c, w.a, w.r = kept, keptAccount, keptRule
}

// forgetWaiting ends with the process all that wait.
func (s *modelState) forgetWaiting() {
	for i := range s.calls {
		if m := &s.calls[i]; m.waits {
			m.waits, m.gone = false, true
		}
	}
}
