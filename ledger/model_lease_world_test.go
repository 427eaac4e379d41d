package ledger

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"aigateway/budget"
)

// leaseNow is the one moment of the model; what time does is a step.
var leaseNow = instant{wall: 1000 * second, mono: 1000 * second}

var leaseName = budget.AccountName{BudgetID: "bud"}

type leaseCall struct {
	who   int8 // of the ledger it is on, plus 1; 0: not sent yet
	waits int8 // … where it waits
	bill  int8 // what it cost, plus 1; 0 while it runs
	id    budget.ReservationID
}

// leaseDisk is what a power loss leaves of a ledger.
type leaseDisk struct {
	row   accountRow
	holds map[budget.ReservationID]budget.Amount
	marks map[uint64]uint64
	// orphaned are those whose log a crash did not keep from counting.
	orphaned []budget.ReservationID
}

type leaseLedger struct {
	c      *core
	a      *account
	disk   leaseDisk
	asking bool // an exchange is under way
	asks   []budget.Ask
	grants []budget.Grant
	kept   []budget.Grant // mutants: the last answer
	lost   []budget.Ask   // mutants: the last exchange without an answer
	at     int            // in the world's log: what the exchange under way has made
}

type leaseWorld struct {
	g       leaseConfig
	store   *lender
	ledgers [2]leaseLedger
	calls   [4]leaseCall
	crashes int8
	losses  int8
	idles   int8
	forgot  bool

	// log is the store behind each exchange since the last that was acknowledged, that one
	// first: what a failover loses is what its server had not been told of. Nil: there is none.
	log       []*lender
	failovers int8
}

func newLeaseWorld(g leaseConfig) *leaseWorld {
	w := &leaseWorld{g: g, store: newLender(1)}
	w.store.budgets["bud"] = budget.Amount(g.cap)
	if g.failovers > 0 {
		w.log = []*lender{w.store.clone()}
	}
	for i := range w.ledgers {
		l := &w.ledgers[i]
		l.disk = newLeaseDisk()
		w.start(i, 1)
		w.take(leaseStep{leaseAsk, int8(i), 0})
		w.take(leaseStep{leaseTold, int8(i), 0})
	}
	return w
}

func newLeaseDisk() leaseDisk {
	return leaseDisk{row: accountRow{id: 1, budget: 1, end: forever}, holds: map[budget.ReservationID]budget.Amount{}, marks: map[uint64]uint64{}}
}

func (w *leaseWorld) start(who int, epoch uint64) {
	l := &w.ledgers[who]
	l.start(budget.Amount(w.g.cap), epoch, leaseNow)
	l.a.active = leaseNow.mono
}

// start is a start of the process on what is on its disk.
func (l *leaseLedger) start(limit budget.Amount, epoch uint64, at instant) {
	r := &rule{Budget: budget.Budget{ID: "bud", Target: budget.Target{Tags: budget.AllTags}, Period: budget.Total, Cap: limit}, num: 1, loc: time.UTC}
	v := &snapshot{epoch: epoch, marks: maps.Clone(l.disk.marks), lastAccount: 1, rules: []*rule{r}, accounts: []accountRow{l.disk.row}, orphaned: l.disk.orphaned}
	for _, id := range slices.Sorted(maps.Keys(l.disk.holds)) {
		v.open = append(v.open, savedHold{hold: hold{id: id, bound: l.disk.holds[id]}, accounts: []int64{1}})
	}
	c, held := restore(v, forever/4, at)
	for _, row := range held {
		l.disk.row = row
	}
	c.lend(forever / 4)
	l.disk.marks[epoch] = 0
	l.c, l.a, l.asking, l.asks, l.grants = c, c.accounts[1], false, nil, nil
}

// steps are those that may come next.
func (w *leaseWorld) steps() (out []leaseStep) {
	next := int8(0)
	for next < w.g.calls && w.calls[next] != (leaseCall{}) {
		next++
	}
	for i := range int8(2) {
		l := &w.ledgers[i]
		for n := range min(next+1, w.g.calls) {
			if c := w.calls[n]; n == next && (n > 0 || i == 0) || c.waits == i+1 { // the first is A's: the two are alike
				out = append(out, leaseStep{leaseReserve, i, n})
			} else if c.who == i+1 && c.bill == 0 {
				out = append(out, leaseStep{leaseLog, i, n*2 + 0}, leaseStep{leaseLog, i, n*2 + 1})
			}
		}
		if l.c.pending() {
			out = append(out, leaseStep{leaseCommit, i, 0})
		}
		if !l.asking {
			out = append(out, leaseStep{leaseAsk, i, 0})
		} else {
			out = append(out, leaseStep{leaseTold, i, 0})
		}
		if w.losses < w.g.losses && l.asking {
			out = append(out, leaseStep{leaseLost, i, 0})
		}
		if w.losses < w.g.losses && !l.asking {
			out = append(out, leaseStep{leaseLost, i, 1})
		}
		if w.crashes < w.g.crashes {
			out = append(out, leaseStep{leaseCrash, i, 0})
		}
		if w.idles < w.g.idles && l.a.active != 0 {
			out = append(out, leaseStep{leaseIdle, i, 0})
		}
		if w.failovers < w.g.failovers && i == 0 {
			out = append(out, leaseStep{leaseFailover, 0, 0})
		}
		if w.g.how == readsBack && w.losses > 0 && !l.asking {
			out = append(out, leaseStep{leaseReadBack, i, 0})
		}
		if w.g.how != honest {
			out = append(out, leaseStep{leaseForget, i, 0}, leaseStep{leaseAgain, i, 0}, leaseStep{leaseDelayed, i, 0})
		}
	}
	return out
}

// take does one step; false if it was impossible or nothing.
func (w *leaseWorld) take(st leaseStep) bool {
	l := &w.ledgers[st.who]
	s := l.a.share
	switch st.op {
	case leaseReserve:
		return w.reserve(l, st)
	case leaseLog:
		c := &w.calls[st.arg/2]
		c.bill = st.arg%2 + 1
		l.c.settle(&budget.Settlement{Basis: budget.BasisUsage, Cost: budget.Amount(c.bill - 1),
			Reservation: &budget.Reservation{ID: c.id, Bound: 1, Accounts: []int64{1}}}, leaseNow)
	case leaseCommit:
		b := l.c.begin(leaseNow, 0)
		l.write(b)
		l.c.apply(b)
	case leaseAsk:
		l.asks = l.c.ask(leaseNow, true)
		if len(l.asks) == 0 { // it hears of what others lack
			l.grants = w.exchange(int(st.who), nil)
			l.asking = len(l.grants) > 0
			return l.asking
		}
		switch k := &l.asks[0]; {
		case w.g.how == returnsEarly && l.a.active == 0: // the store hears before admission does
			k.Has, k.Lease = l.a.used(), l.a.used()
			s.lease = l.c.leases.asked[0].had
			l.a.limit = l.a.lent(l.a.rule.Cap)
		case w.g.how == ignoresMark && k.Least == 0 && l.a.active == 0:
			k.Has, k.Lease = s.lease, s.lease
		}
		l.asking, l.grants = true, w.exchange(int(st.who), l.asks)
	case leaseTold:
		w.acknowledge(l.at)
		l.c.told(l.grants, leaseNow)
		if w.g.how == appliesTwice {
			l.kept = l.grants
		}
		l.asking, l.asks, l.grants = false, nil, nil
		if w.g.how == limitIsCap {
			l.a.limit = l.a.rule.Cap
		}
	case leaseLost:
		w.losses++
		asks := l.asks
		if st.arg == 1 {
			if asks = l.c.ask(leaseNow, true); len(asks) == 0 {
				return false
			}
			if w.g.how == doneLate {
				l.lost = asks
			}
		}
		if w.g.how == believesLost && st.arg == 1 {
			l.c.told([]budget.Grant{{AccountName: leaseName, Lease: asks[0].Lease}}, leaseNow)
		} else if w.g.how == ignoresNotice && st.arg == 0 { // the wait for a standby was cancelled
			l.c.told(l.grants, leaseNow)
		} else {
			l.c.unanswered(leaseNow)
		}
		l.asking, l.asks, l.grants = false, nil, nil
	case leaseFailover:
		w.failovers++
		w.store, w.log = w.log[0].clone(), w.log[:1]
		for i := range w.ledgers {
			if l := &w.ledgers[i]; l.asking {
				l.c.unanswered(leaseNow)
				l.asking, l.asks, l.grants = false, nil, nil
			}
		}
	case leaseReadBack:
		if l.c.ask(leaseNow, true) == nil {
			return false
		}
		l.c.told([]budget.Grant{w.store.grant(leaseName, int(st.who))}, leaseNow)
	case leaseCrash:
		w.crashes++
		w.start(int(st.who), l.c.epoch+1)
		for i := range w.calls {
			if c := &w.calls[i]; c.waits == st.who+1 {
				*c = leaseCall{who: 3, bill: 1} // never sent
			}
		}
	case leaseIdle:
		w.idles++
		l.a.active = 0
		l.c.tell(l.a)
	default:
		return w.breakStore(l, st)
	}
	return true
}

// exchange is one that the store does, and may not have told another server yet.
func (w *leaseWorld) exchange(who int, asks []budget.Ask) []budget.Grant {
	grants := w.store.exchange(who, asks)
	if w.log != nil {
		w.log = append(slices.Clone(w.log), w.store.clone())
		w.ledgers[who].at = len(w.log) - 1
	}
	return grants
}

// acknowledge says that nothing of the log up to i can be lost any more.
func (w *leaseWorld) acknowledge(i int) {
	if w.log == nil {
		return
	}
	w.log = w.log[i:]
	for n := range w.ledgers {
		w.ledgers[n].at = max(0, w.ledgers[n].at-i)
	}
}

// breakStore are the mutants' own steps.
func (w *leaseWorld) breakStore(l *leaseLedger, st leaseStep) bool {
	h, ok := w.store.lent[leaseName][int(st.who)]
	switch {
	case st.op == leaseForget && w.g.how == takesBack, st.op == leaseForget && w.g.how == losesGrant:
		if w.forgot || !ok || h.lease == 0 || w.g.how == losesGrant && h.spent+h.reserved == h.lease {
			return false
		}
		h.lease, w.forgot = h.spent+h.reserved, true
		if w.g.how == takesBack {
			h.lease = 0
		}
		w.store.lent[leaseName][int(st.who)] = h
	case st.op == leaseAgain && w.g.how == appliesTwice && len(l.kept) > 0:
		s := l.a.share
		s.lease = l.kept[0].Lease
		l.a.limit = l.a.lent(l.a.rule.Cap)
		l.kept = nil
	case st.op == leaseDelayed && w.g.how == doneLate && len(l.lost) > 0:
		w.store.exchange(int(st.who), l.lost)
		l.lost = nil
	default:
		return false
	}
	return true
}

func (w *leaseWorld) reserve(l *leaseLedger, st leaseStep) bool {
	c := &w.calls[st.arg]
	s := l.a.share
	if c.waits != 0 && (s.lack > 0 || s.asking || l.a.need > 0) {
		return false // it waits for what is on its way
	}
	if c.waits == 0 {
		s.toldAt = -forever // the store's last word is too old to refuse by
	}
	out, h, _, _ := l.c.reserve(&budget.Request{Bound: 1}, leaseNow)
	switch out {
	case admitted:
		*c = leaseCall{who: st.who + 1, id: h.id}
		l.a.active = leaseNow.mono
	case waitLease, waitMark, waitSettle:
		c.waits = st.who + 1
	case refused, contended:
		*c = leaseCall{who: 3, bill: 1}
	default:
		return false
	}
	return true
}

// write makes the batch durable as store.commit does.
func (l *leaseLedger) write(b *batch) {
	if len(b.accounts) > 0 && b.accounts[0].changed {
		l.disk.row = b.accounts[0]
	}
	if b.mark > 0 {
		l.disk.marks[b.epoch] = b.mark
	}
	for i := range b.events {
		switch e := &b.events[i]; e.kind {
		case eventHold:
			if e.h.closedIn != b.no {
				l.disk.holds[e.h.id] = e.h.bound
			}
		case eventSettle:
			delete(l.disk.holds, e.h.id)
		case eventOrphan:
			l.disk.orphaned = append(slices.Clone(l.disk.orphaned), e.h.id)
		}
	}
}

// violation names the first broken invariant, "" if none.
func (w *leaseWorld) violation() string {
	exposure := budget.Amount(0)
	for _, c := range w.calls {
		switch {
		case c.who == 0 || c.who == 3:
		case c.bill == 0:
			exposure++
		default:
			exposure += budget.Amount(c.bill - 1)
		}
	}
	limit := budget.Amount(w.g.cap)
	if exposure > limit {
		return fmt.Sprintf("I4: overspend, the provider may bill %d of a cap of %d", exposure, limit)
	}
	all := budget.Amount(0)
	for i := range w.ledgers {
		l := &w.ledgers[i]
		all += l.a.used()
		lent := w.store.lent[leaseName][i].lease
		if l.a.limit > lent || max(l.disk.row.hw, l.a.hw) > lent {
			return fmt.Sprintf("I10: %c may use %d, its mark is %d, the store has lent %d", 'A'+i, l.a.limit, l.disk.row.hw, lent)
		}
	}
	if all > limit {
		return fmt.Sprintf("I10: spent and reserved are %d of a cap of %d", all, limit)
	}
	if lent := w.store.allocated(leaseName); lent > limit {
		return fmt.Sprintf("I10: %d is lent of a cap of %d", lent, limit)
	}
	return ""
}

var leaseSeed = maphash.MakeSeed()

// hash is of all that can matter later.
func (w *leaseWorld) hash() uint64 {
	b := make([]byte, 0, 512)
	put := func(vs ...int64) {
		for _, v := range vs {
			b = binary.AppendVarint(b, v)
		}
	}
	flag := func(v bool) { put(boolInt(v)) }
	for i := range w.ledgers {
		l := &w.ledgers[i]
		a, s := l.a, l.a.share
		for _, v := range []budget.Amount{a.limit, a.spent, a.orphan, a.residue, a.hw, a.held, a.rise, a.falling, a.usable, a.need, a.soon.spent, a.soon.orphan, a.soon.residue, a.largest,
			s.lease, s.told.Lease, s.told.Free, s.told.Spent, s.told.Reserved, s.own.spent, s.own.reserved, s.short, s.first, s.lack, s.rate,
			l.disk.row.spent, l.disk.row.orphan, l.disk.row.residue, l.disk.row.hw, w.store.lent[leaseName][i].lease, w.store.lent[leaseName][i].spent, w.store.lent[leaseName][i].reserved} {
			put(int64(v))
		}
		sent := int64(0)
		if l.asking {
			sent = l.c.leases.sent
		}
		put(a.active, s.toldAt, boolInt(l.asking), sent, l.c.leases.fresh, l.c.leases.down, int64(len(l.c.queue)), int64(l.c.epoch), int64(l.c.seq))
		for _, v := range []bool{a.wanted, a.raised, a.lower, s.listed, s.asking, s.recall, s.absent, s.told.Recall} {
			flag(v)
		}
		events := l.c.queue
		for i := range events {
			put(int64(events[i].kind), int64(events[i].cost), int64(seqOf(events[i].h.id)))
		}
		for _, ks := range [][]budget.Ask{l.asks, l.lost} {
			for _, k := range ks {
				put(int64(k.Has), int64(k.Lease), int64(k.Least), int64(k.Spent), int64(k.Reserved))
			}
		}
		for _, gs := range [][]budget.Grant{l.grants, l.kept} {
			put(int64(len(gs)))
			for _, g := range gs {
				put(int64(g.Lease), int64(g.Free), int64(g.Spent), int64(g.Reserved), boolInt(g.Recall))
			}
		}
		for _, id := range slices.Sorted(maps.Keys(l.disk.holds)) {
			put(int64(id))
		}
		for e := uint64(1); e <= l.c.epoch; e++ {
			put(int64(l.disk.marks[e]))
		}
		for _, k := range l.c.leases.asked {
			put(int64(k.had), int64(k.bound))
		}
	}
	for _, c := range w.calls {
		put(int64(c.who), int64(c.waits), int64(c.bill), int64(c.id))
	}
	put(int64(w.store.lacker[leaseName]), int64(w.crashes), int64(w.losses), int64(w.idles), int64(w.failovers))
	put(w.loseable()...)
	flag(w.forgot)
	return maphash.Bytes(leaseSeed, b)
}

// loseable is what a failover that may still come can lose.
func (w *leaseWorld) loseable() (out []int64) {
	if w.failovers == w.g.failovers {
		return nil
	}
	for _, s := range w.log {
		for i := range w.ledgers {
			h := s.lent[leaseName][i]
			out = append(out, int64(h.lease), int64(h.spent), int64(h.reserved))
		}
		out = append(out, int64(s.lacker[leaseName]))
	}
	return append(out, int64(w.ledgers[0].at), int64(w.ledgers[1].at))
}

// clone copies w, so that steps of the copy do not touch it.
func (w *leaseWorld) clone() *leaseWorld {
	out := *w
	out.store = w.store.clone()
	for i := range out.ledgers {
		out.ledgers[i].clone()
	}
	return &out
}

// clone replaces all that l points to by copies.
func (l *leaseLedger) clone() {
	l.disk.holds, l.disk.marks = maps.Clone(l.disk.holds), maps.Clone(l.disk.marks)
	old, a := l.a, *l.a
	r, s := *old.rule, *old.share
	a.rule, a.share, l.a = &r, &s, &a
	if r.cur != nil {
		r.cur = &a
	}
	holds := map[*hold]*hold{}
	copied := func(h *hold) *hold {
		if h == nil || holds[h] != nil {
			return holds[h]
		}
		n := *h
		n.prev, n.next, n.legs = nil, nil, nil
		if len(h.legs) > 0 {
			n.legs = []*account{&a}
		}
		holds[h] = &n
		return &n
	}
	events := func(from []event) []event {
		to := slices.Clone(from)
		for i := range to {
			to[i].h = copied(to[i].h)
		}
		return to
	}
	accounts := func(from []*account) []*account {
		if len(from) == 0 {
			return nil
		}
		return []*account{&a}
	}
	c := *l.c
	c.rules = newRuleIndex(1)
	r.group = nil
	c.rules.add(&r)
	c.accounts = map[int64]*account{1: &a}
	c.open, c.requests = map[budget.ReservationID]*hold{}, map[string]*hold{}
	for id, h := range l.c.open {
		c.open[id] = copied(h)
	}
	c.orphaned, c.marks, c.spare = maps.Clone(c.orphaned), maps.Clone(c.marks), nil
	c.expiry = expiryList{}
	for h := l.c.expiry.front; h != nil; h = h.next {
		c.expiry.push(copied(h))
	}
	c.queue = events(c.queue)
	c.wanted, c.raised, c.pools = accounts(c.wanted), accounts(c.raised), accounts(c.pools)
	x := *c.leases
	x.listed, x.gone, x.asked = accounts(x.listed), slices.Clone(x.gone), slices.Clone(x.asked)
	for i := range x.asked {
		if x.asked[i].account != nil {
			x.asked[i].account = &a
		}
	}
	c.leases = &x
	l.c = &c
}

func (s *lender) clone() *lender {
	out := newLender(s.share)
	for k, v := range s.budgets {
		out.budgets[k] = v
	}
	for name, m := range s.lent {
		out.lent[name] = map[int]holding{}
		for who, h := range m {
			out.lent[name][who] = h
		}
	}
	for k, v := range s.lacker {
		out.lacker[k] = v
	}
	return out
}
