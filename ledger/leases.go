package ledger

import (
	"context"
	"time"

	"aigateway/budget"
)

// Lessor is the store that lends shares of the caps of budgets to several ledgers.
type Lessor interface {
	// Exchange tells the store what this ledger asks for and returns what it has of
	// each of these accounts; of one that the store does not have, or whose window has
	// not begun by its clock, nothing. clock is what that clock showed meanwhile. One
	// call runs at a time, at least one a second, also with nothing to ask. After an
	// error nobody knows whether the store did it; it must never do it later than what
	// a following call asks. ctx ends with Close.
	Exchange(ctx context.Context, asks []budget.Ask) (grants []budget.Grant, clock time.Time, err error)
}

// FollowClock tells what the Lessor's clock showed a moment ago. Windows go by it, as
// each Exchange tells it, so that all who share budgets open and close them together,
// whatever their own clocks show. Until the first word windows stand still: rules are
// applied after it.
func (l *Ledger) FollowClock(clock time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.followClock(clock)
}

// followClock is FollowClock. What the clock shows is old by as long as it was on its
// way, so windows never run ahead of it. The caller holds mu.
func (l *Ledger) followClock(clock time.Time) {
	l.apart.Store(clock.UnixNano() - l.config.Now().UnixNano())
	l.core.stopped = false
}

// exchangeEvery is how often the store hears of what changed, and that this ledger
// lives.
const exchangeEvery = time.Second

// exchangeLoop is the goroutine of the exchanges.
func (l *Ledger) exchangeLoop() {
	defer close(l.lent)
	if l.config.Lessor == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-l.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	tick := time.NewTicker(exchangeEvery)
	defer tick.Stop()
	for all := true; ; {
		for l.exchange(ctx, all) {
		}
		select {
		case <-l.lacking:
			all = false
		case <-tick.C:
			all = true
		case <-l.stop:
			return
		case <-l.failure:
			return
		}
	}
}

// exchange asks the store for all that there is to ask, or for what is in a hurry,
// and reports whether there is more.
func (l *Ledger) exchange(ctx context.Context, all bool) (more bool) {
	at := l.instant()
	l.mu.Lock()
	asks := l.core.ask(at, all)
	l.commitSoon() // marks may have to come down
	l.mu.Unlock()
	if !all && len(asks) == 0 {
		return false
	}
	grants, clock, err := l.config.Lessor.Exchange(ctx, asks)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.followClock(clock)
	}
	at = l.instant()
	if err != nil {
		l.core.unanswered(at)
	} else {
		l.core.told(grants, at)
	}
	l.tellStore(err)
	close(l.exchanged)
	l.exchanged = make(chan struct{})
	l.commitSoon()
	l.serve(l.core.waiting.at, at)
	l.exchangeSoon()
	return err == nil && len(asks) >= maxAsks
}

// tellStore logs when the store stops answering, and when it answers again. The
// caller holds mu.
func (l *Ledger) tellStore(err error) {
	if (err != nil) == l.storeDown || l.closed {
		return
	}
	l.storeDown = err != nil
	if err != nil {
		l.config.Log.Error("the store of the shared budgets does not answer; calls go on with what it has lent", "error", err)
	} else {
		l.config.Log.Info("the store of the shared budgets answers")
	}
}

// exchangeSoon begins an exchange if something is in a hurry. The caller holds mu.
func (l *Ledger) exchangeSoon() {
	if x := l.core.leases; x != nil && x.urgent {
		notify(l.lacking)
	}
}

// commitSoon begins a commit if there is something to commit. The caller holds mu.
func (l *Ledger) commitSoon() {
	if l.core.pending() {
		l.signal(true)
	}
}

// stillFresh reports whether h, which was admitted a moment ago, may be answered. If
// the store was not heard of for too long by now, the budgets and keys that h rests
// on may have changed: it is given back. The caller holds mu.
func (l *Ledger) stillFresh(h *hold) bool {
	at := l.instant()
	if !l.core.stale(at) {
		return true
	}
	r := h.reservation()
	l.core.settle(&budget.Settlement{Reservation: &r, Basis: budget.BasisReleased}, at)
	return false
}

func storeUnreachable() *budget.Error {
	return budget.Unavailable("store_unreachable", "the store of the shared budgets does not answer right now; retry shortly", nil)
}

// lackedTooLong is the answer to a call that waited since the given time for more of
// a's lease: by the store's word, if it was asked meanwhile.
func (l *Ledger) lackedTooLong(r *budget.Request, a *account, since int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch x := l.core.leases; {
	case x.fresh-x.maxStale < since:
		l.metrics.refuse("store_unreachable")
		return storeUnreachable()
	case a.left() < least(r):
		err := refusal(a, r.Bound)
		l.metrics.refuse(err.Reason)
		return err
	default:
		l.metrics.refuse("budget_contended")
		return budget.Contended(numbers(a, r.Bound))
	}
}

// giveBack returns all that is unused to the store, once nothing is admitted and the
// marks are down. What it cannot return stays lent until the next start.
func (l *Ledger) giveBack(ctx context.Context) {
	if l.config.Lessor == nil {
		return
	}
	l.mu.Lock()
	l.core.closeLeases()
	l.mu.Unlock()
	for l.exchange(ctx, true) {
	}
	if l.core.leases.down != 0 {
		l.config.Log.Warn("the store did not take back what it had lent; it stays lent until the next start")
	}
}
