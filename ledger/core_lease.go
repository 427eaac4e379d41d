package ledger

import (
	"slices"

	"aigateway/budget"
)

// share is an account's part of a cap that several ledgers obey: what a Lessor has
// lent of it. Amounts are as in budget.Ask and budget.Grant: absolute, in all.
//
// A lease needs no row. Admission stays below the durable mark, the mark below the
// limit and the limit below the lease, so the mark is what a restart may have used
// of it: a restart keeps that much and gives back the rest.
type share struct {
	lease   budget.Amount // what admission may use
	planned budget.Amount // the mark that is being committed

	// told is the store's last word, at toldAt (monotonic), and the numbers that this
	// ledger had told it of itself; short is the smallest bound that had no room then.
	told   budget.Grant
	own    spending
	toldAt int64
	short  budget.Amount

	// Calls that lack lease since the last exchange began: the bound of the first, and
	// of all.
	first, lack budget.Amount

	absent bool // the store had no word on it
	listed bool // in leases.listed
	asking bool // an exchange that asks for calls is under way
	recall bool // another ledger lacks what is unused here
	look   bool // somebody wants to know what all have used

	// The pace of use, in amounts a second, as of pacedAt (monotonic).
	rate, usedThen budget.Amount
	pacedAt        int64
}

type spending struct{ spent, reserved budget.Amount }

// leases is what a core needs to share caps; a core without has them alone.
type leases struct {
	maxStale int64 // how long after the sending of an exchange its answer counts, ns
	fresh    int64 // monotonic: nothing is admitted from then on
	down     int64 // monotonic: the store did not answer, nobody waits for it until then
	urgent   bool  // an exchange should begin at once
	closing  bool  // nothing is admitted any more: all that is unused is given back

	listed []*account           // have something to tell
	gone   []budget.AccountName // that the last process may have held something of

	// The exchange under way, if there is one.
	underway bool
	sent     int64
	asked    []asked
}

// asked is one Ask of the exchange under way; account is nil where nothing is known
// of it any more.
type asked struct {
	account *account
	budget.Ask
	had   budget.Amount // the lease then
	bound budget.Amount // of the call that came first of those that lack lease; 0: none does
}

const (
	// leaseAhead is for how long a lease lasts at the pace of use.
	leaseAhead = 10
	// shortFor is how long the store's word that there is no room is believed.
	shortFor = second / 5
	// downFor is how long nobody waits for a store that did not answer.
	downFor = second / 10
	// slowFor is how long calls begin to wait for a store that has not answered yet.
	slowFor = 2 * second
	// maxAsks bounds one exchange.
	maxAsks = 10_000
)

// lend makes c share its caps: what a restart finds of each lease is its mark.
// Nothing is admitted before the first exchange.
func (c *core) lend(maxStale int64) {
	c.leases = &leases{maxStale: maxStale, fresh: -forever, urgent: true}
	for _, a := range c.accounts {
		a.share = newShare(a.hw)
		a.limit = a.lent(a.limit)
		c.tell(a)
	}
	for _, id := range c.rules.ids {
		r := c.rules.byID[id]
		if r.peek(c.wall) == nil { // its account may have died with a grant
			start, _ := r.window(c.wall)
			c.leases.gone = append(c.leases.gone, budget.AccountName{BudgetID: id, Start: start})
		}
	}
}

func newShare(lease budget.Amount) *share { return &share{lease: lease, toldAt: -forever} }

// lent is the part of limit, and of what was refunded on top of it, that a's lease
// leaves; a budget that counts limits nothing.
func (a *account) lent(limit budget.Amount) budget.Amount {
	if a.share == nil || a.rule.counting {
		return limit
	}
	return min(limit.Plus(a.share.told.Refunded), a.share.lease)
}

// tell notes that the store has something to learn of a.
func (c *core) tell(a *account) {
	if s := a.share; s != nil && !s.listed {
		s.listed = true
		c.leases.listed = append(c.leases.listed, a)
	}
}

// floor is what a's lease must not be below, whatever it is to become: what is used
// and what a restart could find used.
func (a *account) floor() budget.Amount { return max(a.used(), a.hw, a.share.planned) }

// spending is what a has, once what is queued is durable.
func (a *account) spending() spending {
	return spending{a.soon.spent, a.used() - a.falling - a.soon.spent}
}

// everywhere is what all ledgers together have of a's cap: this one now, the others
// as the store last said.
func (a *account) everywhere() spending {
	all := a.spending()
	if s := a.share; s != nil {
		all.spent += s.told.Spent - s.own.spent
		all.reserved += s.told.Reserved - s.own.reserved
	}
	return all
}

// left is what a's cap leaves by everywhere; negative after a cut.
func (a *account) left() budget.Amount {
	if a.share == nil {
		return a.room()
	}
	all := a.everywhere()
	return a.rule.limit() - all.spent - all.reserved
}

// reach is what a may still admit, with all that nobody holds.
func (a *account) reach() budget.Amount {
	if a.share == nil {
		return a.room()
	}
	return a.room() + max(0, min(a.share.told.Free, budget.MaxAmount))
}

// lacks says what becomes of a call for which a has no room.
func (a *account) lacks(bound budget.Amount, at instant) outcome {
	s := a.share
	switch {
	case s == nil:
		return refused
	case bound <= s.lease-(a.used()-a.falling):
		return refused // the cap itself is in the way
	case at.mono >= s.toldAt+shortFor || bound < s.short:
		return waitLease
	case s.absent:
		return unreachable
	case bound <= a.left():
		return contended
	default:
		return refused
	}
}

// lack notes that a call of this bound waits for more lease on legs.
func (c *core) lack(legs []*account, bound budget.Amount, at instant) {
	for _, a := range legs {
		if a.fitsSoon(bound) || a.lacks(bound, at) != waitLease {
			continue
		}
		s := a.share
		if s.first == 0 {
			s.first = bound
		}
		s.lack = s.lack.Plus(bound)
		c.leases.urgent = true
		c.tell(a)
	}
}

// ask begins an exchange with the store and returns what to ask: of all accounts
// that have something to tell, or of those alone that are in a hurry, of which there
// may be none: then nothing is sent. Exchanges come one after another; told or
// unanswered ends this one.
func (c *core) ask(at instant, all bool) []budget.Ask {
	c.advance(&at)
	x := c.leases
	x.asked, x.urgent = x.asked[:0], false
	if len(x.listed) > maxAsks {
		slices.SortStableFunc(x.listed, func(a, b *account) int { return a.hurry() - b.hurry() })
	}
	kept := x.listed[:0]
	for _, a := range x.listed {
		switch {
		case a.rule.deleted || a.dropped:
			a.share.listed = false
			c.forget(a)
		case c.rules.byID[a.rule.ID] != a.rule: // it is being made: its past is not known yet
			kept = append(kept, a)
		case len(x.asked) == maxAsks || a.start > at.wall || !all && a.hurry() > 0:
			kept = append(kept, a)
		default:
			a.share.listed = false
			x.asked = append(x.asked, c.askFor(a, at))
		}
	}
	clear(x.listed[len(kept):])
	x.listed = kept
	n := min(len(x.gone), maxAsks-len(x.asked))
	for _, name := range x.gone[:n] {
		x.asked = append(x.asked, asked{Ask: budget.Ask{AccountName: name}})
	}
	x.gone = x.gone[n:]
	if all || len(x.asked) > 0 {
		x.underway, x.sent = true, at.mono
	}
	asks := make([]budget.Ask, len(x.asked))
	for i := range x.asked {
		asks[i] = x.asked[i].Ask
	}
	return asks
}

// hurry is 0 where calls wait for a's lease, others for what a gives back, or somebody
// for what all have used, else 1.
func (a *account) hurry() int {
	if s := a.share; s.lack > 0 || s.look || s.told.Lease > s.lease && a.floor() <= s.lease {
		return 0
	}
	return 1
}

// askFor decides what a's lease should be. Less than it is counts at once for
// admission, and is asked for once no restart could find more used.
func (c *core) askFor(a *account, at instant) asked {
	s, used := a.share, a.used()
	out := asked{account: a, had: s.lease, bound: s.first}
	wish, ahead := budget.Amount(0), a.ahead(at)
	switch {
	case a.rule.counting:
		wish = used
	case c.leases.closing:
		c.lower(a, used)
	case s.lack > 0 && at.wall < a.end:
		wish = used.Plus(s.lack.Plus(ahead))
		out.Least = used.Plus(s.first)
	case s.recall || at.mono-a.active >= idleAfter || at.wall >= a.end:
		c.lower(a, used)
	case s.lease-used < ahead/2:
		wish = used.Plus(ahead)
	case s.lease-used > 2*min(ahead, budget.MaxAmount/2):
		c.lower(a, used.Plus(ahead))
	}
	s.asking, s.first, s.lack, s.recall, s.look = s.lack > 0, 0, 0, false, false
	own := a.spending()
	out.AccountName = a.name()
	out.Has = max(s.lease, a.floor())
	out.Lease = max(min(wish, a.rule.Cap.Plus(s.told.Refunded)), out.Least, out.Has)
	out.Spent, out.Reserved = own.spent, own.reserved
	return out
}

// ahead is how far a's lease should run ahead of its use.
func (a *account) ahead(at instant) budget.Amount {
	s, used := a.share, a.used()
	if dt := at.mono - s.pacedAt; dt >= paceWindow {
		rate := max(0, used-s.usedThen).MulDiv(second, dt)
		s.rate = max(rate, s.rate/4*3+rate/4)
		s.usedThen, s.pacedAt = used, at.mono
	}
	largest := max(a.largest, a.previous)
	return s.rate.MulDiv(leaseAhead, 1).Plus(largest.Plus(largest))
}

// lower takes a's lease down to what is used, or to lease where that is more. The
// store hears of it once no restart could find more used.
func (c *core) lower(a *account, lease budget.Amount) {
	s := a.share
	if lease = max(lease, a.used()); lease >= s.lease {
		return
	}
	s.lease = lease
	a.limit = min(a.limit, a.lent(a.rule.limit())) // an edit may have cut it already
	if a.floor() > lease {
		c.want(a)
	}
}

// told ends the exchange under way with the store's answer: a grant for each account
// that it has.
func (c *core) told(grants []budget.Grant, at instant) {
	c.advance(&at)
	x := c.leases
	x.underway, x.fresh, x.down = false, x.sent+x.maxStale, 0
	byName := make(map[budget.AccountName]*budget.Grant, len(grants))
	for i := range grants {
		byName[grants[i].AccountName] = &grants[i]
	}
	for i := range x.asked {
		if k := &x.asked[i]; k.account != nil {
			c.grant(k, byName[k.AccountName], at)
		}
		delete(byName, x.asked[i].AccountName)
	}
	for _, g := range byName {
		c.recall(g)
	}
	clear(x.asked)
	x.asked = x.asked[:0]
}

// grant makes the store's word on k count, once: leases are absolute, exchanges come
// one after another, and what was lowered meanwhile stays so.
func (c *core) grant(k *asked, g *budget.Grant, at instant) {
	a, s := k.account, k.account.share
	s.asking, s.toldAt, s.absent = false, at.mono, g == nil
	if g == nil { // it does not know the budget, or the window has not begun by its clock
		s.short = 0
		c.forget(a)
		return
	}
	s.told, s.own = *g, spending{k.Spent, k.Reserved}
	if g.Lease < s.lease || s.lease == k.had {
		s.lease = g.Lease
	}
	a.limit = a.lent(a.rule.limit())
	if a.hw > a.limit {
		c.want(a)
	}
	denied := k.Least > 0 && g.Lease < k.Least
	s.short = max(0, a.room()).Plus(max(0, g.Free)) + 1
	if denied {
		s.short = min(s.short, k.bound)
	}
	if s.recall = g.Recall; s.recall && (k.bound == 0 || denied) {
		c.lower(a, 0)
	}
	if s.lease < g.Lease || s.recall && s.lease > a.used() {
		c.tell(a)
		c.leases.urgent = c.leases.urgent || a.hurry() == 0
	}
	c.watchIdle(a)
	c.forget(a)
}

// recall gives back what is unused of an account that the store was not asked about.
func (c *core) recall(g *budget.Grant) {
	r := c.rules.byID[g.BudgetID]
	if !g.Recall || r == nil {
		return
	}
	for _, a := range [...]*account{r.cur, r.next} {
		if a == nil || a.name() != g.AccountName || a.share.lease <= a.used() {
			continue
		}
		a.share.told.Lease = g.Lease
		c.lower(a, 0)
		c.tell(a)
		c.leases.urgent = c.leases.urgent || a.hurry() == 0
	}
}

// unanswered ends the exchange under way without an answer: nobody knows what the
// store has done, and it does nothing of it later.
func (c *core) unanswered(at instant) {
	x := c.leases
	x.underway, x.down = false, at.mono+downFor
	for i := range x.asked {
		k := &x.asked[i]
		if k.account == nil {
			x.gone = append(x.gone, k.AccountName)
			continue
		}
		k.account.share.asking = false
		c.tell(k.account)
	}
	clear(x.asked)
	x.asked = x.asked[:0]
}

// stale reports whether the store was not heard of for too long, so that its budgets
// and keys may have changed.
func (c *core) stale(at instant) bool { return c.leases != nil && at.mono >= c.leases.fresh }

// isDown reports whether it is no use to wait for the store: it did not answer a
// moment ago, or has not for too long.
func (x *leases) isDown(at instant) bool {
	return at.mono < x.down || x.underway && at.mono >= x.sent+slowFor
}

// closeLeases prepares the last exchange, which gives back all that is unused.
func (c *core) closeLeases() {
	c.leases.closing = true
	for _, a := range c.accounts {
		if s := a.share; s != nil && s.told.Lease > a.used() {
			c.tell(a)
		}
	}
}
