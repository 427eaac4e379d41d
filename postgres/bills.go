package postgres

import (
	"context"
	"time"

	"aigateway/budget"
)

// ImportBill keeps what a provider billed. The same again changes nothing.
func (s *Store) ImportBill(ctx context.Context, b budget.Bill, by budget.Author) error {
	if err := b.Check(); err != nil {
		return err
	}
	_, err := s.edit(ctx, func(ctx context.Context, c *conn, now time.Time) error {
		known, err := readBills(ctx, c, `WHERE action = $1 AND subject = $2 ORDER BY id`, budget.BillAction, b.Subject())
		if err != nil || len(known) == 1 && known[0].Same(&b) {
			return err
		}
		return audit(ctx, c, now, by, budget.BillAction, b.Subject(), b.Detail())
	})
	return err
}

// Bills are the last ones of each provider and month, by month and provider.
func (s *Store) Bills(ctx context.Context) (bills []budget.Bill, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		bills, err = readBills(ctx, c, `WHERE action = $1 AND subject >= $2 COLLATE "C" AND subject < $3 COLLATE "C" ORDER BY id`, budget.BillAction, budget.BillSubjects, budget.BillSubjectsEnd)
		return err
	})
	return bills, err
}

// readBills reads those that clause selects.
func readBills(ctx context.Context, c *conn, clause string, args ...any) ([]budget.Bill, error) {
	entries, err := readAudit(ctx, c, clause, args...)
	if err != nil {
		return nil, err
	}
	return budget.Bills(entries)
}
