package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// adjustments is the holder of what corrections charge and refund: of no replica, so
// that none has to live. Its lease is what it has charged, below 0 where it has
// refunded more.
const adjustments = "adjustments"

// Adjust books a correction of what was charged, on the budget that it names or on all
// that watch its tag, and returns it. A charge counts at once, even above the cap,
// which calls back what replicas have unused, as a cut of the cap does; a refund of
// more than what is spent is refused. The same RequestID again returns the first one,
// KindConflict for another: whichever replica is asked.
func (s *Store) Adjust(ctx context.Context, a budget.Adjustment, actor string) (budget.Adjustment, error) {
	if err := a.Check(); err != nil {
		return budget.Adjustment{}, err
	}
	a.Actor = actor
	err := s.write(ctx, func(ctx context.Context, c *conn) error {
		var now time.Time
		// One at a time, and none beside an edit: rows of the audit log are one chain, and a
		// budget that begins to limit has what was booked before.
		if err := c.QueryRow(ctx, `SELECT clock_timestamp() FROM aig_state FOR UPDATE`).Scan(&now); err != nil {
			return err
		}
		done, err := findAdjustment(ctx, c, &a)
		if err != nil || done {
			return err
		}
		a.Time = now.UTC()
		var num int64
		if err := c.QueryRow(ctx, `SELECT coalesce(max(id), 0) + 1 FROM aig_adjustment`).Scan(&num); err != nil {
			return err
		}
		if err := insertAdjustment(ctx, c, num, &a); err != nil {
			return err
		}
		a.ID = budget.AdjustmentID(num)
		if err := s.book(ctx, c, &a, now); err != nil {
			return err
		}
		return audit(ctx, c, a.Time, budget.Author{Actor: a.Actor, Reason: a.Reason}, "adjust", a.ID, map[string]any{"budget_id": a.BudgetID, "tag": string(a.Tag), "amount_nano_usd": int64(a.Amount)})
	})
	return a, err
}

func insertAdjustment(ctx context.Context, c sender, num int64, a *budget.Adjustment) error {
	_, err := c.Exec(ctx, `INSERT INTO aig_adjustment (id, request_id, at, actor, reason, budget_id, tag, amount) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		num, a.RequestID, a.Time.UnixNano(), a.Actor, a.Reason, a.BudgetID, string(a.Tag), int64(a.Amount))
	return err
}

// findAdjustment looks for the request id of a. If it was used for the same one, a
// becomes that.
func findAdjustment(ctx context.Context, c *conn, a *budget.Adjustment) (done bool, err error) {
	found, err := readAdjustments(ctx, c, `WHERE request_id = $1`, a.RequestID)
	if err != nil || len(found) == 0 {
		return false, err
	}
	if err := found[0].Same(a); err != nil {
		return false, err
	}
	*a = found[0]
	return true, nil
}

func readAdjustments(ctx context.Context, c *conn, clause string, args ...any) (out []budget.Adjustment, err error) {
	rows, err := c.Query(ctx, `SELECT id, request_id, at, actor, reason, budget_id, tag, amount FROM aig_adjustment `+clause, args...)
	if err != nil {
		return nil, err
	}
	var num, at int64
	var a budget.Adjustment
	_, err = pgx.ForEachRow(rows, []any{&num, &a.RequestID, &at, &a.Actor, &a.Reason, &a.BudgetID, &a.Tag, &a.Amount}, func() error {
		a.ID, a.Time = budget.AdjustmentID(num), time.Unix(0, at).UTC()
		out = append(out, a)
		return nil
	})
	return out, err
}

// book puts a on the accounts that it concerns now, and on the usage of its tag.
func (s *Store) book(ctx context.Context, c *conn, a *budget.Adjustment, now time.Time) error {
	budgets, err := s.adjusted(ctx, c, a)
	if err != nil {
		return err
	}
	for i := range budgets {
		if err := bookOn(ctx, c, &budgets[i], a.Amount, now); err != nil {
			return err
		}
	}
	if a.Tag == "" {
		return nil
	}
	_, err = c.Exec(ctx, `INSERT INTO aig_usage (holder, bucket, tag, model, provider, key_id, seq, requests, unpriced, cost, input, cache_read, cache_write, output, estimated, estimated_cost)
		VALUES ($1, $2, $3, $4, $4, '', 0, 0, 0, $5, 0, 0, 0, 0, 0, 0)
		ON CONFLICT (bucket, tag, model, provider, key_id, holder) DO UPDATE SET cost = least(greatest(aig_usage.cost::numeric + excluded.cost, -$6::numeric), $6::numeric)::bigint`,
		adjustments, now.UnixNano()/quarter, string(a.Tag), budget.AdjustmentModel, int64(a.Amount), int64(budget.MaxAmount))
	return err
}

// adjusted are the budgets that a concerns, in the order of their ids. One that counts
// gets what was booked from the usage once it limits.
func (s *Store) adjusted(ctx context.Context, c *conn, a *budget.Adjustment) (out []budget.SharedBudget, err error) {
	if a.BudgetID != "" {
		out, err = readBudgets(ctx, c, `WHERE id = $1 AND NOT counting FOR SHARE`, a.BudgetID)
		if err == nil && len(out) == 0 {
			err = budget.NoBudget(a.BudgetID)
		}
		return out, err
	}
	var patterns []string
	for _, p := range budget.PatternsOf(a.Tag) {
		patterns = append(patterns, string(p))
	}
	return readBudgets(ctx, c, `WHERE tags = ANY($1) AND NOT counting ORDER BY id FOR SHARE`, patterns)
}

// bookOn charges or refunds amount in b's window of now.
func bookOn(ctx context.Context, c *conn, b *budget.SharedBudget, amount budget.Amount, now time.Time) error {
	loc, err := budget.ParseZone("time_zone", b.Zone)
	if err != nil {
		return err
	}
	start := b.WindowAt(now, loc).Start.UnixNano()
	if err := mustOpen(ctx, c, b, start, now); err != nil {
		return err
	}
	var spent, allocated budget.Amount
	if err := c.QueryRow(ctx, `SELECT spent, allocated FROM aig_account WHERE budget_id = $1 AND start = $2 AND scope = '' FOR UPDATE`, b.ID, start).Scan(&spent, &allocated); err != nil {
		return err
	}
	switch {
	case amount > 0 && amount > budget.MaxAmount-max(allocated, spent):
		return budget.Invalid("field_invalid", "amount", "amount takes the budget's spending out of range")
	case -amount > spent:
		return budget.Invalid("field_invalid", "amount", fmt.Sprintf("a refund cannot exceed what gateways told that calls have cost: $%s on budget %s in this window", spent, b.ID))
	}
	return lend(ctx, c, b.ID, start, amount)
}

// lend charges or refunds amount on an account of all calls, which is locked.
func lend(ctx context.Context, c *conn, id string, start int64, amount budget.Amount) error {
	if _, err := c.Exec(ctx, `INSERT INTO aig_lease (budget_id, start, scope, holder, lease, spent, reserved) VALUES ($1, $2, '', $3, $4, $4, 0)
		ON CONFLICT ON CONSTRAINT aig_lease_pkey DO UPDATE SET lease = aig_lease.lease + excluded.lease, spent = aig_lease.spent + excluded.spent`,
		id, start, adjustments, int64(amount)); err != nil {
		return err
	}
	_, err := c.Exec(ctx, `UPDATE aig_account SET allocated = allocated + $3, spent = spent + $3,
		recall_until = CASE WHEN allocated + $3 > cap THEN 'infinity'::timestamptz WHEN recall_until = 'infinity' THEN '-infinity' ELSE recall_until END
		WHERE budget_id = $1 AND start = $2 AND scope = ''`, id, start, int64(amount))
	return err
}

// Adjustments returns up to limit corrections, oldest first, after the given id; the
// empty id starts at the front.
func (s *Store) Adjustments(ctx context.Context, after string, limit int) (out []budget.Adjustment, err error) {
	num, err := budget.AdjustmentNumber(after)
	if err != nil {
		return nil, err
	}
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		out, err = readAdjustments(ctx, c, `WHERE id > $1 ORDER BY id LIMIT $2`, num, max(0, limit))
		return err
	})
	return out, err
}

// LastAdjustments are the latest, the last one first.
func (s *Store) LastAdjustments(ctx context.Context, limit int) (out []budget.Adjustment, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		out, err = readAdjustments(ctx, c, `ORDER BY id DESC LIMIT $1`, max(0, limit))
		return err
	})
	return out, err
}
