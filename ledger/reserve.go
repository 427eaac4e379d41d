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
// a high-water mark that has to rise first.
//
// Errors are *budget.Error: a budget_exceeded with its numbers, r.Unbounded,
// or an unavailable, after which nothing is reserved. The same request again
// gets the same reservation.
func (l *Ledger) Reserve(ctx context.Context, r budget.Request) (budget.Reservation, error) {
	if r.Unbounded == nil && (r.Bound < 0 || r.Bound > budget.MaxAmount) {
		return budget.Reservation{}, budget.Invalid("bound_invalid", "", "the call's worst-case cost is out of range; ask for fewer tokens")
	}
	res, synced, err := l.tryReserve(&r)
	if synced == nil {
		return res, err
	}
	return l.waitReserve(ctx, &r, synced)
}

// tryReserve decides at once, or returns the channel to wait on.
func (l *Ledger) tryReserve(r *budget.Request) (budget.Reservation, <-chan struct{}, error) {
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.unavailable(); err != nil {
		return budget.Reservation{}, nil, err
	}
	if len(l.core.queue) >= maxQueue {
		l.signal(true)
		return budget.Reservation{}, l.synced, nil
	}
	out, h, tight := l.core.reserve(r, at)
	switch out {
	case admitted, repeated:
		if out == admitted {
			l.ring.add(h)
		}
		l.noteQueued(at)
		l.signal(false)
		res := h.reservation()
		if tight != nil {
			res.Tightest = l.core.status(tight.rule, l.core.wall)
		}
		return res, nil, nil
	case differs:
		l.metrics.refuse("request_id_reused")
		return budget.Reservation{}, nil, budget.Unavailable("request_id_reused", "another call with this request id is still open; retry", nil)
	case unbounded:
		l.metrics.refuse("unbounded")
		return budget.Reservation{}, nil, r.Unbounded
	case refused:
		err := refusal(tight, r.Bound)
		l.metrics.refuse(err.Reason)
		return budget.Reservation{}, nil, err
	case distrusted:
		l.metrics.refuse("books_disagree")
		return budget.Reservation{}, nil, distrustedError(tight)
	default:
		l.metrics.waits.Inc()
		l.signal(true)
		return budget.Reservation{}, l.synced, nil
	}
}

// waitReserve retries after every commit, up to JournalWait.
func (l *Ledger) waitReserve(ctx context.Context, r *budget.Request, synced <-chan struct{}) (budget.Reservation, error) {
	timer := time.NewTimer(l.config.JournalWait)
	defer timer.Stop()
	for {
		select {
		case <-synced:
		case <-timer.C:
			l.metrics.refuse("journal")
			return budget.Reservation{}, budget.Unavailable("journal_slow", "the spending journal is behind; retry shortly", nil)
		case <-ctx.Done():
			return budget.Reservation{}, budget.Unavailable("canceled", "the call was canceled before it was admitted", ctx.Err())
		}
		res, next, err := l.tryReserve(r)
		if next == nil {
			return res, err
		}
		synced = next
	}
}

// noteQueued remembers when the oldest queued event came. The caller holds mu.
func (l *Ledger) noteQueued(at instant) {
	if len(l.core.queue) == 1 {
		l.queuedAt = at.mono
	}
}

// refusal says why a's cap does not admit bound.
func refusal(a *account, bound budget.Amount) *budget.Error {
	r := a.rule
	spent := a.soon.spent
	ref := &budget.Refusal{Budget: r.Budget, Spent: spent, Reserved: a.used() - a.falling - spent, Bound: bound}
	if a.end != forever {
		ref.ResetsAt = time.Unix(0, a.end).In(r.loc)
	}
	// Whoever answers a caller words it, and adds what would fit.
	e := &budget.Error{Kind: budget.KindBudgetExceeded, Refusal: ref,
		Message: fmt.Sprintf("the %s budget of %s does not admit the call", r.Period, targetName(r.Target))}
	ref.Restored = a.restoredLeft()
	switch {
	case ref.Restored > 0 && bound <= ref.Remaining()+ref.Restored:
		e.Reason = "cap_held_since_restore"
	case spent >= a.cap:
		e.Reason = "cap_reached"
	case bound <= a.cap-spent:
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
