package ledger

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"aigateway/budget"
)

// Settle takes the final word on a reservation. It counts in memory at once
// and is durable a twentieth of a second later, or at once where calls wait for
// its room; money is freed only then. It may be
// called again for the same reservation, from either log channel, in any
// order. The error is a *budget.Error of KindUnavailable: nothing was noted.
func (l *Ledger) Settle(_ context.Context, s budget.Settlement) error {
	at := l.instant()
	l.mu.Lock()
	if err := l.unavailable(); err != nil {
		l.mu.Unlock()
		return err
	}
	res := l.core.settle(&s, at)
	l.noteQueued(at)
	l.listAbsurdLocked(&s, res)
	l.signal(l.core.waiting.commit)
	l.mu.Unlock()
	l.report(&s, res)
	return nil
}

// SettleSpool settles entries of the access-log file and moves the durable
// position behind them, in one transaction: after a crash the file is read
// again from exactly where the money stands. It returns once durable. Admission
// waits while entries are counted: pass a few thousand at most.
func (l *Ledger) SettleSpool(ctx context.Context, entries []budget.Settlement, p budget.SpoolPosition) error {
	at := l.instant()
	l.mu.Lock()
	if err := l.unavailable(); err != nil {
		l.mu.Unlock()
		return err
	}
	first := len(l.core.queue)
	results := make([]settled, len(entries))
	for i := range entries {
		results[i] = l.core.settle(&entries[i], at)
	}
	l.core.enqueue(event{kind: eventSpool, spool: p})
	for i := first; i < len(l.core.queue)-1; i++ {
		l.core.queue[i].joined = true
	}
	l.noteQueued(at)
	for i := range entries {
		l.listAbsurdLocked(&entries[i], results[i])
	}
	n := l.core.queued
	l.signal(l.core.waiting.commit)
	l.mu.Unlock()
	for i := range entries {
		l.report(&entries[i], results[i])
	}
	return l.await(ctx, n, false)
}

// actionAbsurd is the audit log's word for an absurd bill.
const actionAbsurd = "absurd_bill"

// maxAbsurd is how many absurd bills a day are listed one by one: a provider that
// sends nothing else must not fill the audit log, which is never pruned.
const maxAbsurd = 1000

// listAbsurdLocked puts a bill that is no bill where people look for what was
// done to their money.
func (l *Ledger) listAbsurdLocked(s *budget.Settlement, res settled) {
	if s.Billed == 0 || s.Reservation == nil || res.effect == duplicate || res.effect == nothing {
		return
	}
	now := l.config.Now()
	if day := now.UTC().Truncate(24 * time.Hour); !day.Equal(l.absurdDay) {
		l.absurdDay, l.absurd = day, 0
	}
	if l.absurd++; l.absurd > maxAbsurd {
		return
	}
	r := s.Reservation
	l.editLocked([]query{auditRow(now.UnixNano(), "aigateway", actionAbsurd, s.RequestID, map[string]any{
		"reservation": strconv.FormatUint(uint64(r.ID), 10), "tag": r.Attribution.Tag, "key_id": r.Attribution.KeyID, "model": r.Attribution.Model, "provider": r.Attribution.Provider,
		"bound_nano_usd": int64(r.Bound), "billed_nano_usd": int64(s.Billed), "charged_nano_usd": int64(s.Cost),
	})}, nil)
}

// report counts a settlement and logs what should not happen.
func (l *Ledger) report(s *budget.Settlement, res settled) {
	l.metrics.settle(res)
	if res.effect != strayCharged && res.effect != unattributed && res.excess == 0 {
		return
	}
	id, attr := budget.ReservationID(0), budget.Attribution{}
	if s.Reservation != nil {
		id, attr = s.Reservation.ID, s.Reservation.Attribution
	}
	log := l.config.Log.With("request_id", s.RequestID, "reservation", uint64(id), "tag", string(attr.Tag), "model", attr.Model)
	switch res.effect {
	case strayCharged:
		log.Error("charged a call that this ledger never reserved", "cost", s.Cost.String())
	case unattributed:
		log.Error("a call was sent without a reservation and cannot be charged", "basis", string(s.Basis))
	default:
		log.Error("a call cost more than its bound; check the model's prices", "excess", res.excess.String())
	}
}

// IsOpen reports whether settling id could still change anything. False means
// an entry about it is a repeat and need not be read.
func (l *Ledger) IsOpen(id budget.ReservationID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.core.mayChange(id)
}

// Heartbeat extends a reservation whose call is running. id is 0 when only
// the request id is known.
func (l *Ledger) Heartbeat(id budget.ReservationID, requestID string) {
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.core.heartbeat(id, requestID, at)
}

// OpenReservations lists up to limit open reservations, oldest first.
func (l *Ledger) OpenReservations(limit int) []budget.Open {
	type item struct {
		h        *hold
		deadline int64
	}
	l.mu.Lock()
	items := make([]item, 0, len(l.core.open))
	for _, h := range l.core.open {
		items = append(items, item{h, h.deadline})
	}
	l.mu.Unlock() // sorting may take a while
	slices.SortFunc(items, func(a, b item) int { return cmp.Compare(a.h.id, b.h.id) })
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.config.Now()
	mono := l.monotonic(now)
	out := make([]budget.Open, 0, min(len(items), max(0, limit)))
	for _, i := range items[:cap(out)] {
		r := i.h.reservation()
		out = append(out, budget.Open{
			ID: r.ID, RequestID: i.h.requestID, Attribution: r.Attribution, Bound: r.Bound,
			Budgets: i.h.budgets(), ReservedAt: r.ReservedAt, Deadline: now.Add(time.Duration(i.deadline - mono)).UTC(),
		})
	}
	return out
}
