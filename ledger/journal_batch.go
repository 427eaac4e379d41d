package ledger

import (
	"slices"

	"aigateway/budget"
)

// maxBatch bounds one transaction, and so how long anybody waits for it.
const maxBatch = 2048

// batch is what one commit makes durable. The writer only reads it.
type batch struct {
	no       uint64
	events   []event
	accounts []accountRow
	touched  []*account
	epoch    uint64
	mark     uint64 // highest seq journaled after this batch; 0 leaves it
	wall     int64
	saveWall bool
	queued   uint64 // value of core.applied after apply
}

// accountRow is an account as it is after the batch.
type accountRow struct {
	id, budget, start, end     int64
	spent, orphan, residue, hw budget.Amount
	changed                    bool
}

// begin takes the front of the queue and plans each touched account's mark,
// as one step (R2). The caller commits the batch and then calls apply, or
// stops for good.
func (c *core) begin(at instant, latency int64) *batch {
	c.advance(&at)
	c.batchNo++
	c.waiting.commit = false
	n := min(len(c.queue), maxBatch)
	for n > 0 && n < len(c.queue) && c.queue[n-1].joined {
		n++
	}
	b := &batch{no: c.batchNo, events: c.queue[:n:n], epoch: c.epoch, wall: at.wall, queued: c.applied + uint64(n)}
	if n == len(c.queue) {
		c.queue, c.spare = c.spare[:0], nil
	} else {
		c.queue = c.queue[n:]
	}
	for i := range b.events {
		e := &b.events[i]
		switch e.kind {
		case eventHold:
			b.mark = seqOf(e.h.id)
			e.h.openedIn = b.no
		case eventSettle, eventExpire:
			e.h.closedIn = b.no
		case eventStray: // it waited for no row; another account may get an id that has none
			e.h.ids = e.h.ids[:0]
			for _, a := range e.h.legs {
				if !a.fresh || !a.rule.deleted {
					e.h.ids = append(e.h.ids, a.id)
				}
			}
		}
		for j, a := range e.legs() {
			c.touch(b, a)
			a.batch.add(e.delta(j))
		}
		if e.pooled != nil {
			c.touch(b, e.pooled)
			e.pooled.batch.add(e.delta(0))
		}
	}
	for _, a := range c.wanted[:min(len(c.wanted), maxBatch)] {
		a.wanted = false
		c.touch(b, a)
	}
	c.wanted = slices.Delete(c.wanted, 0, min(len(c.wanted), maxBatch))
	if b.wall-c.savedWall >= second {
		c.savedWall, b.saveWall = b.wall, true
	}
	for _, a := range b.touched {
		b.accounts = append(b.accounts, a.plan(at, latency))
		if a.share != nil {
			a.share.planned = b.accounts[len(b.accounts)-1].hw
			c.tell(a)
		}
	}
	return b
}

func (c *core) touch(b *batch, a *account) {
	if a.inNo != b.no {
		a.inNo = b.no
		b.touched = append(b.touched, a)
	}
}

// plan is the account's row after the batch.
func (a *account) plan(at instant, latency int64) accountRow {
	hw := a.counters.plan(a.batch, a.size(at.mono, latency), a.lower)
	row := accountRow{
		id: a.id, budget: a.rule.num, start: a.start, end: a.end,
		spent: a.spent + a.batch.spent, orphan: a.orphan + a.batch.orphan, residue: a.residue + a.batch.residue, hw: hw,
	}
	booked := a.batch.spent != 0 || a.batch.orphan != 0 || a.batch.residue != 0
	row.changed = !a.rule.deleted && !a.dropped && (a.fresh || a.moved || booked || hw != a.hw)
	a.lower, a.moved = false, false
	return row
}

// apply makes a committed batch count: marks rise, money is freed, waiters may
// look again.
func (c *core) apply(b *batch) {
	for i, a := range b.touched {
		a.counters.apply(a.batch, b.accounts[i].hw)
		a.batch, a.fresh = delta{}, a.fresh && !b.accounts[i].changed
		c.watchIdle(a)
	}
	for i := range b.events {
		c.finish(&b.events[i])
	}
	for _, a := range b.touched {
		a.inNo = 0
		if s := a.share; s != nil {
			s.planned = 0
			c.leases.urgent = c.leases.urgent || s.listed && a.hurry() == 0
		}
		c.forget(a)
	}
	c.applied = b.queued
	if c.spare == nil {
		clear(b.events)
		c.spare = b.events[:0]
	}
}

// finish does what an event means beyond its amounts.
func (c *core) finish(e *event) {
	switch e.kind {
	case eventSettle:
		delete(c.open, e.h.id)
		c.dropRequest(e.h)
		c.dropRefs(e.h)
	case eventExpire:
		delete(c.open, e.h.id)
		c.expired[e.h.id] = e.h
		if e.h.state == holdExpiring {
			e.h.state = holdExpired
		}
	case eventRefund:
		delete(c.expired, e.h.id)
		c.dropRequest(e.h)
		c.dropRefs(e.h)
	case eventOrphan, eventStray, eventAdjust:
		c.dropRefs(e.h)
	case eventAdmin, eventPast:
		if e.change.durable != nil {
			e.change.durable()
		}
	}
}

// prune forgets what the journal has deleted for good.
func (c *core) prune(ids []budget.ReservationID, strays []string, closed uint64) {
	for _, id := range ids {
		delete(c.orphaned, id)
		if h := c.expired[id]; h != nil && h.state == holdExpired {
			delete(c.expired, id)
			c.dropRequest(h)
			c.dropRefs(h)
		}
	}
	for _, k := range strays {
		delete(c.strays, k)
	}
	for e := range c.marks {
		if e <= closed {
			delete(c.marks, e)
		}
	}
	c.closed = max(c.closed, closed)
}
