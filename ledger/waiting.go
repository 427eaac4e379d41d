package ledger

import (
	"context"
	"errors"
	"time"

	"aigateway/budget"
)

// answerTime is how long before its deadline a call that waits is answered, so
// that the answer arrives and says why.
const answerTime = 250 * time.Millisecond

// awaitTurn waits until the calls that hold the room which w needs have ended.
func (l *Ledger) awaitTurn(ctx context.Context, w *waiter) (budget.Reservation, error) {
	wait := w.request.Wait
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(deadline)-answerTime)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	case <-ctx.Done():
	case <-l.failure:
	case <-l.done:
	}
	waited := l.endTurn(w)
	l.metrics.waited.Observe(waited.Seconds())
	select {
	case <-w.done:
		return after(waited, w.answer, w.err)
	default:
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return budget.Reservation{}, canceled(ctx)
	}
	last := *w.request
	last.Wait = 0
	res, later, err := l.tryReserve(&last)
	if later.next != nil {
		res, err = l.waitReserve(ctx, &last, later, w.since)
	}
	return after(waited, res, err)
}

// endTurn takes w out of the lines if its turn has not come, which may be the
// turn of those it kept waiting. It returns for how long w waited.
func (l *Ledger) endTurn(w *waiter) time.Duration {
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.done:
	default:
		lines := w.at
		l.core.leave(w)
		if at.mono >= w.patience { // else everybody passed it who could
			l.serve(lines, at)
		}
	}
	return time.Duration(at.mono - w.since)
}

// serve gives their turns to those who wait at the accounts. The caller holds mu.
func (l *Ledger) serve(lines []*account, at instant) {
	if len(lines) == 0 || l.unavailable() != nil || len(l.core.queue) >= maxQueue {
		return
	}
	for _, w := range l.core.serve(lines, at) {
		w.answer, w.err = l.decided(w.request, w.out, w.hold, w.tight, at)
		close(w.done)
	}
	if l.core.waiting.commit {
		l.signal(true)
	}
	l.exchangeSoon()
}

// after says how long an answer took to be given.
func after(waited time.Duration, res budget.Reservation, err error) (budget.Reservation, error) {
	res.Waited = waited
	var e *budget.Error
	if errors.As(err, &e) && e.Refusal != nil {
		e.Refusal.Waited = waited
	}
	return res, err
}
