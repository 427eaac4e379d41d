package ledger

import (
	"context"
	"fmt"
	"time"

	"aigateway/budget"
)

// Reserve sets aside the bound on every budget that matches, all or none, and
// answers from memory. It waits for the disk, at most Config.JournalWait, only
// where the alternative is a wrong answer: money that is about to be freed, or
// a high-water mark that has to rise first; and for the store that lends a share of
// the caps, where its share has no room, as long as ctx allows and the store is not
// known to be away. It waits for running calls to end as long as r.Wait and ctx
// allow, in the order of those who wait for the same budget.
//
// Errors are *budget.Error: a budget_exceeded with its numbers, r.Unbounded, a
// budget_contended while other ledgers hold what is left, or an unavailable, after
// which nothing is reserved. The same request again gets the same reservation.
func (l *Ledger) Reserve(ctx context.Context, r budget.Request) (budget.Reservation, error) {
	if r.Bound < 0 || r.Bound > budget.MaxAmount { // 0 for one without a bound
		return budget.Reservation{}, budget.Invalid("bound_invalid", "", "the call's worst-case cost is out of range; ask for fewer tokens")
	}
	res, later, err := l.tryReserve(&r)
	switch {
	case later.turn != nil:
		return l.awaitTurn(ctx, later.turn)
	case later.next != nil:
		return l.waitReserve(ctx, &r, later, later.since)
	}
	return res, err
}

// later is what a decision waits for; the zero value: for nothing.
type later struct {
	next  <-chan struct{} // the next commit or, if lacks is set, exchange
	lacks *account        // whose lease has no room
	turn  *waiter         // running calls
	since int64           // monotonic
}

// tryReserve decides at once, or says what to wait for.
func (l *Ledger) tryReserve(r *budget.Request) (budget.Reservation, later, error) {
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.unavailable(); err != nil {
		return budget.Reservation{}, later{}, err
	}
	if len(l.core.queue) >= maxQueue {
		l.signal(true)
		return budget.Reservation{}, later{next: l.synced, since: at.mono}, nil
	}
	out, h, tight, blocked := l.core.reserve(r, at)
	switch out {
	case held:
		l.exchangeSoon()
		return budget.Reservation{}, later{turn: l.core.wait(copied(r), blocked, at)}, nil
	case waitSettle, waitMark:
		l.metrics.waits.Inc()
		l.signal(true)
		return budget.Reservation{}, later{next: l.synced, since: at.mono}, nil
	case waitLease:
		l.exchangeSoon()
		return budget.Reservation{}, later{next: l.exchanged, lacks: tight, since: at.mono}, nil
	}
	res, err := l.decided(r, out, h, tight, at)
	return res, later{}, err
}

// copied keeps r from being allocated for calls that need not wait.
func copied(r *budget.Request) *budget.Request {
	c := *r
	return &c
}

// decided is the answer to r after a final outcome. The caller holds mu.
func (l *Ledger) decided(r *budget.Request, out outcome, h *hold, tight *account, at instant) (budget.Reservation, error) {
	switch out {
	case admitted, repeated:
		if out == admitted {
			l.ring.add(h)
		}
		l.noteQueued(at)
		l.signal(false)
		if l.config.Lessor != nil && out == admitted && !l.stillFresh(h) {
			l.metrics.refuse("store_unreachable")
			return budget.Reservation{}, storeUnreachable()
		}
		res := h.reservation()
		if tight != nil {
			res.Tightest = l.core.status(tight.rule, l.core.wall)
		}
		return res, nil
	case differs:
		l.metrics.refuse("request_id_reused")
		return budget.Reservation{}, budget.Unavailable("request_id_reused", "another call with this request id is still open; retry", nil)
	case unbounded:
		l.metrics.refuse("unbounded")
		return budget.Reservation{}, r.Unbounded
	case distrusted:
		l.metrics.refuse("books_disagree")
		return budget.Reservation{}, distrustedError(tight)
	case unreachable:
		l.metrics.refuse("store_unreachable")
		return budget.Reservation{}, storeUnreachable()
	case contended:
		l.metrics.refuse("budget_contended")
		return budget.Reservation{}, budget.Contended(numbers(tight, r.Bound))
	default:
		err := refusal(tight, r.Bound)
		l.metrics.refuse(err.Reason)
		return budget.Reservation{}, err
	}
}

// waitReserve retries after every commit, up to JournalWait, or after every exchange
// where that is what lacks: as long as the caller waits, who has since the given
// (monotonic) time.
func (l *Ledger) waitReserve(ctx context.Context, r *budget.Request, later later, since int64) (budget.Reservation, error) {
	timer := time.NewTimer(l.patience(ctx, later))
	defer timer.Stop()
	for {
		select {
		case <-later.next:
		case <-timer.C:
			if later.lacks != nil {
				return budget.Reservation{}, l.lackedTooLong(r, later.lacks, since)
			}
			l.metrics.refuse("journal")
			return budget.Reservation{}, budget.Unavailable("journal_slow", "the spending journal is behind; retry shortly", nil)
		case <-ctx.Done():
			return budget.Reservation{}, canceled(ctx)
		}
		res, again, err := l.tryReserve(r)
		switch {
		case again.turn != nil:
			return l.awaitTurn(ctx, again.turn)
		case again.next == nil:
			return res, err
		case (again.lacks == nil) != (later.lacks == nil):
			timer.Reset(l.patience(ctx, again))
		}
		later = again
	}
}

// patience is how long a call waits for what later says. An exchange takes as long as
// the store does; a call that waited for one is answered just before its caller leaves.
func (l *Ledger) patience(ctx context.Context, later later) time.Duration {
	if later.lacks == nil {
		return l.config.JournalWait
	}
	wait := l.config.MaxStale // then nothing is admitted any more
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)-answerTime/5)
	}
	return wait
}

func canceled(ctx context.Context) error {
	return budget.Unavailable("canceled", "the call was canceled before it was admitted", ctx.Err())
}

// noteQueued remembers when the oldest queued event came. The caller holds mu.
func (l *Ledger) noteQueued(at instant) {
	if len(l.core.queue) == 1 {
		l.queuedAt = at.mono
	}
}

// numbers are those by which a does not admit bound.
func numbers(a *account, bound budget.Amount) *budget.Refusal {
	all := a.everywhere()
	ref := &budget.Refusal{Budget: a.rule.Budget, Spent: all.spent, Reserved: all.reserved, Bound: bound, Restored: a.restoredLeft()}
	if a.end != forever {
		ref.ResetsAt = time.Unix(0, a.end).In(a.rule.loc)
	}
	return ref
}

// refusal says why a's cap does not admit bound.
func refusal(a *account, bound budget.Amount) *budget.Error {
	r, ref := a.rule, numbers(a, bound)
	// Whoever answers a caller words it, and adds what would fit.
	e := &budget.Error{Kind: budget.KindBudgetExceeded, Refusal: ref,
		Message: fmt.Sprintf("the %s budget of %s does not admit the call", r.Period, targetName(r.Target))}
	limit := a.limit
	if a.share != nil {
		limit = r.limit()
	}
	switch {
	case ref.Restored > 0 && bound <= ref.Remaining()+ref.Restored:
		e.Reason = "cap_held_since_restore"
	case ref.Spent >= limit:
		e.Reason = "cap_reached"
	case bound <= limit-ref.Spent:
		e.Reason = "cap_held"
	default:
		e.Reason = "cap_would_be_crossed"
	}
	return e
}

func targetName(t budget.Target) string {
	switch {
	case t.KeyID != "":
		return "key " + t.KeyID
	case t.Tags == budget.AllTags:
		return "all tags"
	default:
		return fmt.Sprintf("tag %q", string(t.Tags))
	}
}
