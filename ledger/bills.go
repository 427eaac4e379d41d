package ledger

import (
	"context"

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
	known, err := l.bills(ctx, `WHERE action = ? AND subject = ? ORDER BY id`, budget.BillAction, b.Subject())
	if err != nil || len(known) == 1 && known[0].Same(&b) {
		return err
	}
	return l.edit(ctx, []query{l.audit(by, budget.BillAction, b.Subject(), b.Detail())}, func() {})
}

// Bills are the last ones of each provider and month, by month and provider.
func (l *Ledger) Bills(ctx context.Context) ([]budget.Bill, error) {
	return l.bills(ctx, `WHERE action = ? AND subject >= ? AND subject < ? ORDER BY id`, budget.BillAction, budget.BillSubjects, budget.BillSubjectsEnd)
}

// bills reads those that clause selects.
func (l *Ledger) bills(ctx context.Context, clause string, args ...any) ([]budget.Bill, error) {
	entries, err := l.auditEntries(ctx, clause, args...)
	if err != nil {
		return nil, err
	}
	return budget.Bills(entries)
}
