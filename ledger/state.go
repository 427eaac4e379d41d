package ledger

import (
	"context"
	"database/sql"

	"aigateway/budget"
)

// State tells how the ledger, its disk and its books are.
func (l *Ledger) State(ctx context.Context) (s budget.LedgerState, err error) {
	at := l.instant()
	l.mu.Lock()
	l.core.advance(&at)
	s.CheckedAt, s.Mismatches = l.checked.at, l.checked.mismatches
	s.ClockAhead = l.clockAhead(at)
	l.mu.Unlock()
	if s.DatabaseBytes, s.FreeBytes, err = diskUse(l.config.Dir); err != nil {
		return s, err
	}
	s.FullDays = int64(l.metrics.growth.daysLeft(l.config.Now(), s.DatabaseBytes, s.FreeBytes))
	err = l.store.each(ctx, `SELECT link, hash FROM head`, nil, func(r *sql.Rows) error {
		var h Head
		var hash []byte
		err := r.Scan(&h.Link, &hash)
		copy(h.Hash[:], hash)
		s.Head = h.String()
		return err
	})
	return s, wrapRead(err)
}

// LastAdjustments are the corrections that were booked last, the last one first.
func (l *Ledger) LastAdjustments(ctx context.Context, limit int) ([]budget.Adjustment, error) {
	out := []budget.Adjustment{}
	err := l.store.each(ctx, `SELECT `+adjustColumns+` FROM adjust ORDER BY id DESC LIMIT ?`, []any{limit}, func(r *sql.Rows) error {
		var a adjustment
		err := a.scan(r)
		out = append(out, a.Adjustment)
		return err
	})
	return out, wrapRead(err)
}
