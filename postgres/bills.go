package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// ImportBill keeps what a provider billed. The same again changes nothing.
func (s *Store) ImportBill(ctx context.Context, b budget.Bill, by budget.Author) error {
	if err := b.Check(); err != nil {
		return err
	}
	_, err := s.edit(ctx, func(c *conn, now time.Time) error {
		known, err := readBills(ctx, c, b.Subject(), b.Subject()+"\x01")
		if err != nil || len(known) == 1 && known[0].Same(&b) {
			return err
		}
		return audit(ctx, c, now, by, budget.BillAction, b.Subject(), b.Detail())
	})
	return err
}

// Bills are the last ones of each provider and month, by month and provider.
func (s *Store) Bills(ctx context.Context) (bills []budget.Bill, err error) {
	err = s.read(ctx, func(c *conn) error {
		bills, err = readBills(ctx, c, budget.BillSubjects, budget.BillSubjectsEnd)
		return err
	})
	return bills, err
}

// readBills reads those with subjects from first until before end.
func readBills(ctx context.Context, c *conn, first, end string) ([]budget.Bill, error) {
	rows, err := c.Query(ctx, `SELECT id, at, actor, action, subject, detail FROM aig_audit WHERE action = $3 AND subject >= $1 COLLATE "C" AND subject < $2 COLLATE "C" ORDER BY id`, first, end, budget.BillAction)
	if err != nil {
		return nil, err
	}
	var entries []budget.AuditEntry
	var e budget.AuditEntry
	var at int64
	_, err = pgx.ForEachRow(rows, []any{&e.ID, &at, &e.Actor, &e.Action, &e.Subject, &e.Detail}, func() error {
		e.Time = time.Unix(0, at).UTC()
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return budget.Bills(entries)
}
