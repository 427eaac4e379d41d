package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// Budget returns a budget with what all replicas spent and reserved in the window
// that is open by the store's clock, as they had told by its AsOf. The error is
// KindNotFound.
func (s *Store) Budget(ctx context.Context, id string) (st budget.Status, err error) {
	all, err := s.statuses(ctx, `WHERE NOT counting AND id = $1`, id)
	if err == nil && len(all) == 0 {
		err = budget.NoBudget(id)
	}
	if err != nil {
		return budget.Status{}, err
	}
	return all[0], nil
}

// Budgets returns up to limit budgets in order of id, after the given one.
func (s *Store) Budgets(ctx context.Context, after string, limit int) ([]budget.Status, error) {
	return s.statuses(ctx, `WHERE NOT counting AND id > $1 ORDER BY id LIMIT $2`, after, max(0, limit))
}

func (s *Store) statuses(ctx context.Context, clause string, args ...any) (out []budget.Status, err error) {
	out = []budget.Status{}
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		now, err := clock(ctx, c)
		if err != nil {
			return err
		}
		asOf, err := oldest(ctx, c, "seen")
		if err != nil {
			return err
		}
		budgets, err := readBudgets(ctx, c, clause, args...)
		if err != nil {
			return err
		}
		var ids []string
		var starts []int64
		at := map[budget.AccountName]int{}
		for i := range budgets {
			b := &budgets[i]
			loc, err := budget.ParseZone("time_zone", b.Zone)
			if err != nil {
				return err
			}
			w := b.WindowAt(now, loc)
			ids, starts = append(ids, b.ID), append(starts, w.Start.UnixNano())
			at[budget.AccountName{BudgetID: b.ID, Start: w.Start.UnixNano()}] = i
			out = append(out, budget.Status{Budget: b.Budget, Window: w, AsOf: asOf})
		}
		rows, err := c.Query(ctx, `SELECT a.budget_id, a.start, a.spent, a.reserved FROM aig_account a JOIN unnest($1::text[], $2::bigint[]) AS r(budget_id, start) USING (budget_id, start) WHERE a.scope = ''`, ids, starts)
		if err != nil {
			return err
		}
		var n budget.AccountName
		var spent, reserved budget.Amount
		_, err = pgx.ForEachRow(rows, []any{&n.BudgetID, &n.Start, &spent, &reserved}, func() error {
			out[at[n]].Spent, out[at[n]].Reserved = spent, reserved
			return nil
		})
		return err
	})
	return out, err
}
