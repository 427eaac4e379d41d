package ledger

import "aigateway/budget"

type eventKind uint8

const (
	eventHold    eventKind = iota // a new hold
	eventSettle                   // an open hold gets its cost
	eventExpire                   // an open hold is charged its bound
	eventRefund                   // a late log corrects an expired hold
	eventOrphan                   // a log of a hold that a crash erased
	eventStray                    // a log of a hold this ledger never made
	eventPool                     // an orphan pool's time is over: charged
	eventAdmin                    // budgets, keys
	eventSpool                    // the log file is read up to here
	eventAdjust                   // a person's correction
	eventRelease                  // a person gives back what a restore held
	eventJoin                     // a hold is on one more account
	eventPast                     // a new budget has what its target had cost
)

// event is one entry of the journal queue. The writer reads it without the
// lock, so it never changes once queued.
type event struct {
	kind   eventKind
	joined bool // must commit in the same transaction as the next event
	h      *hold
	basis  budget.Basis
	cost   budget.Amount
	tokens budget.Tokens
	at     int64
	end    int64    // of the call, wall; 0: nobody told
	status int      // of the provider
	served string   // the model that answered, where it is another
	pools  []pool   // eventOrphan: per leg, what the pools gave; eventPool, eventRelease: one
	pooled *account // the one account of an event without a hold
	change *change
	spool  budget.SpoolPosition
}

// pool is what a leg's bound was taken from: the orphan pool, then the residue.
type pool struct{ orphan, residue budget.Amount }

// change is an administrator's edit: queries for the journal, and what
// becomes true in memory once they are durable.
type change struct {
	queries []query
	durable func()
}

type query struct {
	sql  string
	args []any
	// booked is what the hash chain says about the row, nil for nothing. Its
	// link, and for an audit row its hash, follow args.
	booked entry
}

// rises is what the event adds to leg i the moment it is queued (R1).
func (e *event) rises(i int) budget.Amount {
	switch e.kind {
	case eventSettle, eventRefund:
		return max(0, e.cost-e.h.bound)
	case eventOrphan:
		return max(0, e.cost-e.pools[i].orphan-e.pools[i].residue)
	case eventStray:
		return e.cost
	case eventAdjust:
		return max(0, e.cost)
	case eventPast:
		return e.cost
	default:
		return 0
	}
}

// delta is what the event does to leg i once durable.
func (e *event) delta(i int) delta {
	rise := -e.rises(i)
	switch e.kind {
	case eventSettle:
		return delta{spent: e.cost, held: -e.h.bound, rise: rise}
	case eventExpire:
		return delta{spent: e.h.bound, held: -e.h.bound}
	case eventRefund:
		return delta{spent: e.cost - e.h.bound, rise: rise}
	case eventOrphan:
		p := e.pools[i]
		return delta{spent: e.cost - p.residue, orphan: -p.orphan, residue: -p.residue, rise: rise}
	case eventStray:
		return delta{spent: e.cost, rise: rise}
	case eventAdjust:
		return delta{spent: e.cost, residue: -e.pools[i].residue, rise: rise}
	case eventPool:
		p := e.pools[0]
		return delta{spent: p.orphan, orphan: -p.orphan, residue: p.orphan}
	case eventRelease:
		p := e.pools[0]
		return delta{spent: -p.residue, orphan: -p.orphan, residue: -p.residue}
	case eventPast:
		return delta{spent: e.cost, rise: rise}
	default:
		return delta{}
	}
}

// legs are the accounts the event touches.
func (e *event) legs() []*account {
	if e.h != nil {
		return e.h.legs
	}
	return nil
}

// usage calls add with what the event contributes to the reports: the call,
// and for a refund first the expired charge with the opposite sign.
func (e *event) usage(add func(h *hold, u tally)) {
	switch e.kind {
	case eventSettle, eventOrphan, eventStray:
		add(e.h, tallyOf(e.h, e.basis, e.cost, e.tokens))
	case eventExpire:
		add(e.h, tallyOf(e.h, budget.BasisExpired, e.h.bound, budget.Tokens{}))
	case eventRefund:
		add(e.h, tallyOf(e.h, budget.BasisExpired, e.h.bound, budget.Tokens{}).negated())
		add(e.h, tallyOf(e.h, e.basis, e.cost, e.tokens))
	case eventAdjust:
		if e.h.attr.Tag != "" {
			add(e.h, tally{cost: e.cost})
		}
	}
}

// tally is one call's, or a sum of calls', share of a usage report.
type tally struct {
	requests, unpriced, estimated int64
	cost, estimatedCost           budget.Amount
	tokens                        budget.Tokens
}

func tallyOf(h *hold, b budget.Basis, cost budget.Amount, t budget.Tokens) tally {
	u := tally{cost: cost, tokens: t}
	if b.Sent() {
		u.requests = 1
	}
	// A call without a price has an unknown cost unless nothing was billed.
	if b == budget.BasisUnpriced || h.unpriced && (b == budget.BasisExpired || b == budget.BasisBound) {
		u.unpriced = 1
	} else if b.Estimated() {
		u.estimated, u.estimatedCost = 1, cost
	}
	return u
}

func (u tally) negated() tally {
	return tally{
		requests: -u.requests, unpriced: -u.unpriced, estimated: -u.estimated,
		cost: -u.cost, estimatedCost: -u.estimatedCost,
		tokens: budget.Tokens{Input: -u.tokens.Input, CacheRead: -u.tokens.CacheRead, CacheWrite: -u.tokens.CacheWrite, Output: -u.tokens.Output},
	}
}

func (u *tally) add(v tally) {
	u.requests += v.requests
	u.unpriced += v.unpriced
	u.estimated += v.estimated
	u.cost += v.cost
	u.estimatedCost += v.estimatedCost
	u.tokens.Input += v.tokens.Input
	u.tokens.CacheRead += v.tokens.CacheRead
	u.tokens.CacheWrite += v.tokens.CacheWrite
	u.tokens.Output += v.tokens.Output
}
