package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"aigateway/budget"
)

// Released is a budget from which Release gave back what a restore held. Spent
// and Reserved are those of its running window.
type Released struct {
	Before, After budget.Status
	Amount        budget.Amount
}

const actionRelease = "release_restored"

// noteRestored keeps, by account, what a restore held.
func noteRestored(held map[int64]budget.Amount) (query, error) {
	text, err := json.Marshal(held)
	if err != nil {
		return query{}, fmt.Errorf("note what is held: %w", err)
	}
	return query{sql: `INSERT INTO meta (name, value) VALUES ('restored', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, args: []any{string(text)}}, nil
}

// restoredLeft is what a restore held on a and nothing has explained since:
// calls whose logs came late took their share, as did refunds.
func (a *account) restoredLeft() budget.Amount {
	return min(a.restored, a.soon.orphan+a.soon.residue)
}

// Release gives back what the last Restore held on the running windows, for an
// operator who knows that no call was sent between the backup and the restore
// but those that logs have told of since. It is durable on return, and noted in
// the audit log. The reason must not be empty. It fails while a gateway uses
// the directory, and returns nothing if nothing is held.
//
// What it frees is never more than the restore held, nor than what is still
// unexplained: a crash since then, whose share nobody can tell apart, leaves
// that budget to corrections by hand.
func Release(ctx context.Context, config Config, by budget.Author) (out []Released, err error) {
	if !budget.Printable(by.Reason, budget.MaxReasonBytes) || !budget.Printable(by.Actor, 128) {
		return nil, budget.Invalid("field_invalid", "reason", fmt.Sprintf("a release needs its author, and a reason of 1 to %d bytes of printable text", budget.MaxReasonBytes))
	}
	config.keepAll()
	l, err := Open(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close(ctx)) }()
	l.admin.Lock()
	defer l.admin.Unlock()
	l.mu.Lock()
	var sum budget.Amount
	for _, id := range l.core.rules.ids {
		if r, ok := l.core.release(id); ok {
			out = append(out, r)
			sum += r.Amount
		}
	}
	l.mu.Unlock()
	if len(out) == 0 {
		return nil, nil
	}
	audit := l.audit(by, actionRelease, databaseFile, map[string]any{"budgets": len(out), "released_nano_usd": int64(sum)})
	if err := l.edit(ctx, []query{audit, {sql: `DELETE FROM meta WHERE name = 'restored'`}}, nil); err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].After, err = l.GetBudget(out[i].Before.ID); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// release queues the release of one budget.
func (c *core) release(id string) (Released, bool) {
	r := c.rules.byID[id]
	a := r.peek(c.wall)
	if a == nil || a.restoredLeft() == 0 {
		return Released{}, false
	}
	out := Released{Before: *c.status(r, c.wall), Amount: a.restoredLeft()}
	p := pool{orphan: min(out.Amount, a.soon.orphan)}
	p.residue = out.Amount - p.orphan
	a.restored = 0
	c.enqueue(event{kind: eventRelease, pooled: a, pools: []pool{p}, at: c.wall})
	return out, true
}
