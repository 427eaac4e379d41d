package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"aigateway/budget"
)

// adjustment is a row of adjust.
type adjustment struct {
	budget.Adjustment
	num      int64
	at       int64
	residue  budget.Amount
	accounts []byte
}

const adjustColumns = `id, request_id, at, actor, reason, budget_id, tag, amount, residue, accounts`

// scan reads adjustColumns and what more a query selects.
func (a *adjustment) scan(r *sql.Rows, more ...any) error {
	err := r.Scan(append([]any{&a.num, &a.RequestID, &a.at, &a.Actor, &a.Reason, &a.BudgetID, (*string)(&a.Tag), (*int64)(&a.Amount), (*int64)(&a.residue), &a.accounts}, more...)...)
	a.ID, a.Time = budget.AdjustmentID(a.num), time.Unix(0, a.at).UTC()
	return err
}

func (a *adjustment) entry() entry {
	return newEntry(nil, entryAdjust).number(a.num).text(a.RequestID).number(a.at).text(a.Actor).text(a.Reason).text(a.BudgetID).
		text(string(a.Tag)).number(int64(a.Amount)).number(int64(a.residue)).bytes(a.accounts)
}

// Adjust books a correction of what was charged and is durable on return. A
// charge counts at once, even above the cap; a refund frees money once durable.
// A refund of more than what is spent is refused. RequestID makes it safe to
// repeat: the same adjustment again returns the first, another one with its
// RequestID is a KindConflict.
func (l *Ledger) Adjust(ctx context.Context, in budget.Adjustment, actor string) (budget.Adjustment, error) {
	if err := in.Check(); err != nil {
		return budget.Adjustment{}, err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	a := &adjustment{Adjustment: in, at: l.config.Now().UnixNano()}
	a.Actor = actor
	done, err := l.store.findAdjustment(ctx, a)
	if err != nil || done {
		return a.Adjustment, err
	}
	a.ID, a.Time = budget.AdjustmentID(a.num), time.Unix(0, a.at).UTC()
	l.mu.Lock()
	if err := l.unavailable(); err != nil {
		l.mu.Unlock()
		return budget.Adjustment{}, err
	}
	e, err := l.core.adjust(a, l.instant())
	if err != nil {
		l.mu.Unlock()
		return budget.Adjustment{}, err
	}
	e.change = &change{queries: l.adjustSQL(a)}
	l.core.enqueue(*e)
	l.noteQueued(l.instant())
	l.signal(true)
	n := l.core.queued
	l.mu.Unlock()
	if err := l.awaitEdit(ctx, n); err != nil {
		return budget.Adjustment{}, err
	}
	return a.Adjustment, nil
}

// findAdjustment looks for the request id of a. If it was used for the same
// adjustment, a becomes that one; else a gets the next number.
func (s *store) findAdjustment(ctx context.Context, a *adjustment) (done bool, err error) {
	err = s.each(ctx, `SELECT `+adjustColumns+` FROM adjust WHERE request_id = ?`, []any{a.RequestID}, func(r *sql.Rows) error {
		var old adjustment
		if err := old.scan(r); err != nil {
			return err
		}
		if err := old.Same(&a.Adjustment); err != nil {
			return err
		}
		*a, done = old, true
		return nil
	})
	if err != nil || done {
		return done, wrapRead(err)
	}
	err = s.read.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) + 1 FROM adjust`).Scan(&a.num)
	return false, wrapRead(err)
}

// wrapRead leaves errors for users as they are.
func wrapRead(err error) error {
	var e *budget.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("read database: %w", err)
}

func (l *Ledger) adjustSQL(a *adjustment) []query {
	booked := a.entry()
	sum := sha256.Sum256(booked)
	return []query{
		{
			sql:    `INSERT INTO adjust (` + adjustColumns + `, link) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			args:   []any{a.num, a.RequestID, a.at, a.Actor, a.Reason, a.BudgetID, string(a.Tag), int64(a.Amount), int64(a.residue), a.accounts},
			booked: booked,
		},
		// The audit chain, which is never pruned, covers the row by its hash.
		auditRow(a.at, a.Actor, actionAdjust, a.ID, adjustDetail{
			BudgetID: a.BudgetID, Tag: string(a.Tag), Amount: int64(a.Amount), Reason: a.Reason, SHA256: hex.EncodeToString(sum[:]),
		}),
	}
}

const actionAdjust = "adjust"

// adjustDetail is the detail of an adjustment's audit row.
type adjustDetail struct {
	BudgetID string `json:"budget_id,omitempty"`
	Tag      string `json:"tag,omitempty"`
	Amount   int64  `json:"amount_nano_usd"`
	Reason   string `json:"reason"`
	SHA256   string `json:"sha256"` // of the row, as the hash chain encodes it
}

// adjust is the event of a correction, on the accounts that it concerns now.
func (c *core) adjust(a *adjustment, at instant) (*event, error) {
	c.advance(&at)
	h := &hold{requestID: a.RequestID, reservedAt: at.wall}
	var legs []*account
	if a.BudgetID != "" {
		r := c.rules.byID[a.BudgetID]
		if r == nil {
			return nil, budget.NoBudget(a.BudgetID)
		}
		legs = append(legs, c.account(r, at.wall))
	} else {
		h.attr = budget.Attribution{Tag: a.Tag, Model: budget.AdjustmentModel, Provider: budget.AdjustmentModel}
		legs = c.match(nil, a.Tag, "", at.wall)
	}
	h.setLegs(legs)
	pools := make([]pool, len(legs))
	for i, leg := range legs {
		if a.Amount > 0 && a.Amount > budget.MaxAmount-leg.used() {
			return nil, budget.Invalid("field_invalid", "amount", "amount takes the budget's spending out of range")
		}
		// What a crash left and nobody explained goes first: it is the likeliest
		// to have cost nothing. A tag's refund is about explained calls.
		if a.BudgetID != "" {
			pools[i].residue = max(0, min(-a.Amount, leg.soon.residue))
			a.residue = pools[i].residue
		}
		if -a.Amount-pools[i].residue > leg.soon.spent-leg.soon.residue {
			return nil, refundTooLarge(leg)
		}
	}
	a.accounts = encodeAccounts(h.ids)
	c.addRefs(h)
	return &event{kind: eventAdjust, h: h, cost: a.Amount, at: a.at, pools: pools}, nil
}

// refundTooLarge says how much a refund may be.
func refundTooLarge(a *account) error {
	known := a.soon.spent - a.soon.residue
	text := fmt.Sprintf("a refund cannot exceed what calls are known to have cost: $%s on budget %s in this window", known, a.rule.ID)
	switch unknown := a.soon.orphan + a.soon.residue; {
	case a.restoredLeft() > 0:
		text += fmt.Sprintf("; $%s more is held since the ledger was restored, which `aigateway ledger release` gives back", a.restoredLeft())
	case unknown > 0:
		text += fmt.Sprintf("; $%s more is held since a crash, and once it is charged a refund with budget_id takes from it", unknown)
	}
	return budget.Invalid("field_invalid", "amount", text)
}

func encodeAccounts(ids []int64) []byte {
	b := []byte{} // NULL is not an empty list
	for _, id := range ids {
		b = binary.AppendUvarint(b, uint64(id))
	}
	return b
}

// Adjustments returns up to limit adjustments, oldest first, after the given
// id; the empty id starts at the front.
func (l *Ledger) Adjustments(ctx context.Context, after string, limit int) ([]budget.Adjustment, error) {
	num, err := budget.AdjustmentNumber(after)
	if err != nil {
		return nil, err
	}
	out := []budget.Adjustment{}
	err = l.store.each(ctx, `SELECT `+adjustColumns+` FROM adjust WHERE id > ? ORDER BY id LIMIT ?`, []any{num, max(0, limit)}, func(r *sql.Rows) error {
		var a adjustment
		err := a.scan(r)
		out = append(out, a.Adjustment)
		return err
	})
	return out, wrapRead(err)
}

// AuditLog returns up to limit changes by administrators, oldest first, with
// ids above after.
func (l *Ledger) AuditLog(ctx context.Context, after int64, limit int) ([]budget.AuditEntry, error) {
	return l.auditEntries(ctx, `WHERE id > ? ORDER BY id LIMIT ?`, after, max(0, limit))
}

// auditEntries reads the rows that clause selects.
func (l *Ledger) auditEntries(ctx context.Context, clause string, args ...any) ([]budget.AuditEntry, error) {
	out := []budget.AuditEntry{}
	err := l.store.each(ctx, `SELECT id, at, actor, action, subject, detail FROM audit `+clause, args, func(r *sql.Rows) error {
		var e budget.AuditEntry
		var at int64
		err := r.Scan(&e.ID, &at, &e.Actor, &e.Action, &e.Subject, &e.Detail)
		e.Time = time.Unix(0, at).UTC()
		out = append(out, e)
		return err
	})
	return out, wrapRead(err)
}
