package ledger

import (
	"context"
	"database/sql"
	"time"

	"aigateway/budget"
)

// ImportBill keeps what a provider billed; it is durable on return. The same again
// changes nothing.
func (l *Ledger) ImportBill(ctx context.Context, b budget.Bill, by budget.Author) error {
	if err := b.Check(); err != nil {
		return err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	known, err := l.bills(ctx, b.Subject(), b.Subject()+"\x00")
	if err != nil || len(known) == 1 && known[0].Same(&b) {
		return err
	}
	return l.edit(ctx, []query{l.audit(by, budget.BillAction, b.Subject(), b.Detail())}, func() {})
}

// Bills are the last ones of each provider and month, by month and provider.
func (l *Ledger) Bills(ctx context.Context) ([]budget.Bill, error) {
	return l.bills(ctx, budget.BillSubjects, budget.BillSubjectsEnd)
}

// bills reads those with subjects from first until before end.
func (l *Ledger) bills(ctx context.Context, first, end string) ([]budget.Bill, error) {
	var entries []budget.AuditEntry
	err := l.store.each(ctx, `SELECT id, at, actor, action, subject, detail FROM audit WHERE subject >= ? AND subject < ? ORDER BY id`, []any{first, end}, func(r *sql.Rows) error {
		var e budget.AuditEntry
		var at int64
		err := r.Scan(&e.ID, &at, &e.Actor, &e.Action, &e.Subject, &e.Detail)
		e.Time = time.Unix(0, at).UTC()
		entries = append(entries, e)
		return err
	})
	if err != nil {
		return nil, wrapRead(err)
	}
	return budget.Bills(entries)
}
