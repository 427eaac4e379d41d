package ledger

import (
	"context"
	"fmt"

	"aigateway/budget"
)

// Own returns the budgets and keys of a ledger that is alone, and what is used of
// each budget's open window, for a store that is to have them from now on. The store
// is then told all usage that is kept by the quarter of an hour.
func (l *Ledger) Own(ctx context.Context) (rules budget.Rules, accounts []budget.Ask, err error) {
	err = l.onSync(ctx, func() error {
		_, err := l.store.write.ExecContext(ctx, `UPDATE usage SET changed = 1 WHERE changed = 0`)
		return err
	})
	if err != nil {
		return rules, nil, fmt.Errorf("mark usage for the store: %w", err)
	}
	at := l.instant()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.core.advance(&at)
	for _, id := range l.core.rules.ids {
		r := l.core.rules.byID[id]
		st := l.core.status(r, at.wall)
		b := budget.SharedBudget{Budget: r.Budget}
		if start, end := windowAt(r.Period, r.loc, at.wall); start != st.Window.Start.UnixNano() || !st.Window.End.IsZero() && end != st.Window.End.UnixNano() {
			b.Running = st.Window // its zone was edited in it
		}
		rules.Budgets = append(rules.Budgets, b)
		accounts = append(accounts, budget.Ask{
			AccountName: budget.AccountName{BudgetID: id, Start: st.Window.Start.UnixNano()},
			Lease:       st.Spent + st.Reserved, Spent: st.Spent, Reserved: st.Reserved,
		})
	}
	for _, id := range l.keys.list() {
		if e := l.keys.get(id); e != nil {
			rules.Keys = append(rules.Keys, budget.SharedKey{Key: e.Key, Hash: e.hash})
		}
	}
	return rules, accounts, nil
}
