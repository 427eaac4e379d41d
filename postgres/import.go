package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"aigateway/budget"
)

// Import takes the books of a single machine into an empty store: rules, the audit
// log, corrections, whose amounts are in the accounts already, and what the machine has
// spent and reserved of its accounts, which becomes the lease of replica r. Its usage it
// pushes itself, once it has joined. A store that has budgets, keys or replicas is
// refused.
func (s *Store) Import(ctx context.Context, r budget.Replica, rules budget.Rules, accounts []budget.Ask, log []budget.AuditEntry, corrections []budget.Adjustment, by budget.Author) (version uint64, err error) {
	if err := checkAsks(accounts); err != nil {
		return 0, err
	}
	return s.editWithin(ctx, slowWithin, func(ctx context.Context, c *conn, now time.Time) error {
		var taken bool
		err := c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM aig_budget) OR EXISTS (SELECT 1 FROM aig_key) OR EXISTS (SELECT 1 FROM aig_holder)`).Scan(&taken)
		if err == nil && taken {
			err = &budget.Error{Kind: budget.KindConflict, Reason: "store_not_empty", Message: "the store has budgets, keys or replicas already; import into an empty schema"}
		}
		if err != nil {
			return err
		}
		if _, err := c.Exec(ctx, `INSERT INTO aig_holder (id, name, program, config_hash, epoch, seq, seen, applied, asserted, has_left)
			SELECT $1, $2, $3, $4, 1, 0, now(), 0, generation, true FROM aig_state`, r.ID, r.Name, r.Program, r.ConfigHash); err != nil {
			return err
		}
		to := &bulk{c: c}
		for _, b := range rules.Budgets {
			if err := insertBudget(ctx, to, b); err != nil {
				return err
			}
		}
		for _, k := range rules.Keys {
			if err := insertKey(ctx, to, k); err != nil {
				return err
			}
		}
		if err := importLeases(ctx, to, r.ID, rules, accounts, now); err != nil {
			return err
		}
		if err := addAudits(ctx, c, to, log...); err != nil {
			return err
		}
		for i := range corrections {
			num, err := budget.AdjustmentNumber(corrections[i].ID)
			if err != nil {
				return err
			}
			if err := insertAdjustment(ctx, to, num, &corrections[i]); err != nil {
				return err
			}
		}
		if err := to.flush(ctx); err != nil {
			return err
		}
		return audit(ctx, c, now, by, "import", r.ID, map[string]any{"budgets": len(rules.Budgets), "keys": len(rules.Keys), "audit_entries": len(log)})
	})
}

// importLeases charges what one machine has used.
func importLeases(ctx context.Context, to sender, holder string, rules budget.Rules, accounts []budget.Ask, now time.Time) error {
	byID := map[string]*budget.SharedBudget{}
	for i := range rules.Budgets {
		byID[rules.Budgets[i].ID] = &rules.Budgets[i]
	}
	for _, a := range accounts {
		b := byID[a.BudgetID]
		if b == nil {
			continue
		}
		end, ok, err := opens(b, a.AccountName, now)
		if err != nil {
			return err
		}
		if !ok {
			continue // its window is over
		}
		used := int64(a.Spent + a.Reserved)
		if _, err := to.Exec(ctx, openSQL, b.ID, a.Start, end, int64(b.Cap)); err != nil {
			return err
		}
		if _, err := to.Exec(ctx, `INSERT INTO aig_lease (budget_id, start, scope, holder, lease, spent, reserved) SELECT budget_id, start, scope, $3, $4, $5, $6
			FROM aig_account WHERE budget_id = $1 AND start = $2 AND scope = ''`, a.BudgetID, a.Start, holder, used, int64(a.Spent), int64(a.Reserved)); err != nil {
			return err
		}
		if _, err := to.Exec(ctx, `UPDATE aig_account SET allocated = $3, spent = $4, reserved = $5 WHERE budget_id = $1 AND start = $2 AND scope = ''`,
			a.BudgetID, a.Start, used, int64(a.Spent), int64(a.Reserved)); err != nil {
			return err
		}
	}
	return nil
}

// sender takes a statement: a connection, or a bulk.
type sender interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// bulk sends statements many at a time, as each waits for an answer of the server by
// itself. What a statement did nobody learns, and its error comes later.
type bulk struct {
	c    *conn
	next pgx.Batch
}

// mostInBulk are statements that are sent together.
const mostInBulk = 500

func (b *bulk) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	b.next.Queue(sql, args...)
	if b.next.Len() < mostInBulk {
		return pgconn.CommandTag{}, nil
	}
	return pgconn.CommandTag{}, b.flush(ctx)
}

// flush sends what was not sent yet.
func (b *bulk) flush(ctx context.Context) error {
	err := b.c.SendBatch(ctx, &b.next).Close()
	b.next = pgx.Batch{}
	return err
}
