package postgres

import (
	"context"
	"time"

	"aigateway/budget"
)

// Import takes the books of a single machine into an empty store: rules, the audit
// log, corrections, whose amounts are in the accounts already, and what the machine has spent and reserved of its accounts, which becomes the
// lease of replica r. Its usage it pushes itself, once it has joined. A store that has
// budgets, keys or replicas is refused.
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
		for _, b := range rules.Budgets {
			if err := insertBudget(ctx, c, b); err != nil {
				return err
			}
		}
		for _, k := range rules.Keys {
			if err := insertKey(ctx, c, k); err != nil {
				return err
			}
		}
		if err := importLeases(ctx, c, r.ID, rules, accounts, now); err != nil {
			return err
		}
		for _, e := range log {
			if err := addAudit(ctx, c, e); err != nil {
				return err
			}
		}
		for i := range corrections {
			num, err := budget.AdjustmentNumber(corrections[i].ID)
			if err != nil {
				return err
			}
			if err := insertAdjustment(ctx, c, num, &corrections[i]); err != nil {
				return err
			}
		}
		return audit(ctx, c, now, by, "import", r.ID, map[string]any{"budgets": len(rules.Budgets), "keys": len(rules.Keys), "audit_entries": len(log)})
	})
}

// importLeases charges what one machine has used.
func importLeases(ctx context.Context, c *conn, holder string, rules budget.Rules, accounts []budget.Ask, now time.Time) error {
	byID := map[string]*budget.SharedBudget{}
	for i := range rules.Budgets {
		byID[rules.Budgets[i].ID] = &rules.Budgets[i]
	}
	for _, a := range accounts {
		b := byID[a.BudgetID]
		if b == nil {
			continue
		}
		if ok, err := openAccount(ctx, c, b, a.AccountName, now); err != nil || !ok {
			if err != nil {
				return err
			}
			continue // its window is over
		}
		used := a.Spent + a.Reserved
		if _, err := c.Exec(ctx, `INSERT INTO aig_lease (budget_id, start, scope, holder, lease, spent, reserved) VALUES ($1, $2, '', $3, $4, $5, $6)`,
			a.BudgetID, a.Start, holder, int64(used), int64(a.Spent), int64(a.Reserved)); err != nil {
			return err
		}
		if _, err := c.Exec(ctx, `UPDATE aig_account SET allocated = $3, spent = $4, reserved = $5 WHERE budget_id = $1 AND start = $2 AND scope = ''`,
			a.BudgetID, a.Start, int64(used), int64(a.Spent), int64(a.Reserved)); err != nil {
			return err
		}
	}
	return nil
}
