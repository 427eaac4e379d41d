package ledger

import (
	"math"

	"aigateway/budget"
)

// instant is a moment on two clocks, in nanoseconds. wall picks windows and
// report hours; mono orders deadlines. Neither decides whether money is safe.
type instant struct{ wall, mono int64 }

// account is one budget in one window, of all its calls: the empty scope of
// budget.AccountName.
type account struct {
	counters
	pace

	id         int64
	rule       *rule
	start, end int64 // wall; math.MaxInt64 for a window that never ends

	refs    int   // holds that may still change it
	active  int64 // monotonic time of the last reservation
	raised  bool  // listed in core.raised
	wanted  bool  // listed in core.wanted
	lower   bool  // give back the unused mark at the next commit
	fresh   bool  // no row yet
	moved   bool  // its row has another end
	dropped bool  // gets no row any more
	// distrusted refuses every call: the totals differ from their rows.
	distrusted bool
	// restored is what a restore from a backup held here because it could not
	// know of it; 0 once it was released. See restoredLeft.
	restored budget.Amount
	share    *share    // what is lent of a cap that several ledgers obey; nil: it is this one's alone
	line     []*waiter // those who wait here, in the order they came
	patience int64     // at most the least of theirs
	batch    delta     // of the batch that is being committed
	inNo     uint64
}

// core is the ledger as a state machine: no I/O, no clock, no goroutines, no
// locks. Ledger serialises its methods; a simulator may call them directly.
//
// Events enter queue in the order they happen; begin takes a batch of them for
// one commit and apply makes them count.
type core struct {
	epoch   uint64
	seq     uint64            // of the last reservation in this epoch
	marks   map[uint64]uint64 // per dead epoch: the highest journaled seq
	closed  uint64            // epochs up to here take no late logs
	timeout int64             // a hold without a log or heartbeat expires, ns

	clock

	waiting waiting
	leases  *leases // nil: the caps are this ledger's alone

	rules       ruleIndex
	accounts    map[int64]*account
	lastAccount int64

	open     map[budget.ReservationID]*hold
	expired  map[budget.ReservationID]*hold
	requests map[string]*hold // open and expired holds by x-request-id
	orphaned map[budget.ReservationID]struct{}
	strays   map[string]struct{}
	expiry   expiryList

	poolUntil int64 // monotonic; orphan pools are charged then
	pools     []*account

	queue   []event
	spare   []event
	queued  uint64 // events ever queued
	applied uint64 // events ever made durable
	batchNo uint64
	wanted  []*account // need a row or another mark
	raised  []*account // may hold an unused mark or lease
	idleAt  int64

	savedWall int64
}

func newCore(timeout int64) *core {
	return &core{
		marks: map[uint64]uint64{}, timeout: timeout, rules: newRuleIndex(0), accounts: map[int64]*account{},
		open: map[budget.ReservationID]*hold{}, expired: map[budget.ReservationID]*hold{}, requests: map[string]*hold{},
		orphaned: map[budget.ReservationID]struct{}{}, strays: map[string]struct{}{},
	}
}

// pending reports whether a commit has something to do.
func (c *core) pending() bool { return len(c.queue) > 0 || len(c.wanted) > 0 }

// enqueue counts e's rises now, announces its falls, and appends it.
func (c *core) enqueue(e event) {
	for i, a := range e.legs() {
		a.rise += e.rises(i)
		a.queue(e.delta(i))
		c.waiting.commit = c.waiting.commit || len(a.line) > 0
	}
	if e.pooled != nil {
		e.pooled.rise += e.rises(0)
		e.pooled.queue(e.delta(0))
	}
	c.push(e)
}

// push appends e, which changes no account: enqueue is for those that do.
func (c *core) push(e event) {
	c.queue = append(c.queue, e)
	c.queued++
}

// want asks for a's row to be written by the next commit.
func (c *core) want(a *account) {
	if !a.wanted {
		a.wanted = true
		c.wanted = append(c.wanted, a)
	}
}

// name is what a is called wherever caps are shared.
func (a *account) name() budget.AccountName {
	return budget.AccountName{BudgetID: a.rule.ID, Start: a.start}
}

// newAccount opens r's window from start to end.
func (c *core) newAccount(r *rule, start, end int64) *account {
	c.lastAccount++
	a := &account{id: c.lastAccount, rule: r, start: start, end: end, fresh: true}
	if c.leases != nil {
		a.share = newShare(0)
		c.tell(a)
	}
	a.limit = a.lent(r.limit())
	c.accounts[a.id] = a
	c.want(a)
	return a
}

// forget drops an account that nothing can change any more. An unused mark is
// given back first: what is not in memory may be deleted, and no commit may
// write it again then. What a late log would refund is of no use to a deleted
// budget.
func (c *core) forget(a *account) {
	current := !a.rule.deleted && (a.rule.cur == a || a.rule.next == a)
	settled := a.orphan == 0 && (a.residue == 0 || a.rule.deleted)
	told := a.share == nil || !a.share.listed
	if !current && a.refs == 0 && settled && told && !a.raised && !a.wanted && a.inNo == 0 && len(a.line) == 0 {
		delete(c.accounts, a.id)
	}
}

func (c *core) addRefs(h *hold) {
	for _, a := range h.legs {
		a.refs++
	}
}

// dropRefs ends h's claim on its accounts; they are no longer needed for it.
func (c *core) dropRefs(h *hold) {
	for _, a := range h.legs {
		a.refs--
		c.forget(a)
	}
}

// dropRequest removes h's request id, unless a later hold took it over.
func (c *core) dropRequest(h *hold) {
	if c.requests[h.requestID] == h {
		delete(c.requests, h.requestID)
	}
}

// limitCharge keeps every leg's use within MaxAmount, the range where sums
// cannot overflow. It never cuts below covered, which is already counted.
func limitCharge(legs []*account, cost, covered budget.Amount) budget.Amount {
	cost = min(max(cost, 0), budget.MaxAmount)
	for _, a := range legs {
		cost = min(cost, max(covered, budget.MaxAmount-a.used()))
	}
	return cost
}

const forever = int64(math.MaxInt64)
