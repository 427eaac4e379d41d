package postgres_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"aigateway/budget"
	"aigateway/postgres"
)

// scoped adds an account of another scope to that of all calls, once it has done what the
// migration has to do that brings scopes.
func (w *world) scoped(n budget.AccountName, scope string) budget.AccountName {
	w.Helper()
	w.exec("ALTER TABLE aig_account DROP CONSTRAINT aig_account_pkey, ADD PRIMARY KEY (budget_id, start, scope)")
	w.exec("ALTER TABLE aig_lease DROP CONSTRAINT aig_lease_pkey, ADD PRIMARY KEY (budget_id, start, scope, holder)")
	w.exec(`INSERT INTO aig_account (budget_id, start, "end", cap, scope) SELECT budget_id, start, "end", cap, $3 FROM aig_account WHERE budget_id = $1 AND start = $2 AND scope = ''`,
		n.BudgetID, n.Start, scope)
	n.Scope = scope
	return n
}

// testScopes has an account of another scope beside that of all calls: exchanges,
// recalls, corrections, reports and a new budget's past keep them apart, and what is
// done to a budget or a replica is done to both. The sums of each are checked throughout.
func testScopes(w *world) {
	ctx := w.Context()
	all := w.budget("a", 100)
	part := w.scoped(all, "x")
	m, o := w.join("m"), w.join("o")
	grants, _, err := m.Exchange(ctx, []budget.Ask{ask(part, 90, 90, 50, 10), ask(all, 60, 60, 20, 0)})
	w.must(err)
	if len(grants) != 2 {
		w.Fatalf("%+v", grants)
	}
	for _, g := range grants {
		want := map[budget.AccountName]budget.Grant{
			all:  {AccountName: all, Lease: 60, Cap: 100, Free: 40, Spent: 20},
			part: {AccountName: part, Lease: 90, Cap: 100, Free: 10, Spent: 50, Reserved: 10},
		}[g.AccountName]
		if g != want {
			w.Errorf("%+v, want %+v", g, want)
		}
	}
	if st := w.status(all.BudgetID); st.Spent != 20 || st.Reserved != 0 {
		w.Errorf("%+v: a part of the calls was counted twice, or for all", st)
	}
	if g := w.exchange(o, ask(all, 40, 40, 0, 0)); g.Lease != 40 {
		w.Errorf("%+v: leases of a part are none of all", g)
	}
	w.exchange(o, ask(all, 0, 0, 0, 0))
	w.scopesRecalled(m, o, all, part)
	w.scopesMade(m)
	w.scopesWhole(o, all, part)
	w.scopesPast(all.BudgetID)
	if _, err := w.store.DeleteBudget(ctx, all.BudgetID, "", by); err != nil {
		w.Fatal(err)
	}
	if n := w.number("SELECT count(*) FROM aig_account") + w.number("SELECT count(*) FROM aig_lease"); n != 0 {
		w.Errorf("%d rows of a deleted budget", n)
	}
}

// scopesRecalled has o lack what m has of the part, and then m be silent.
func (w *world) scopesRecalled(m, o *postgres.Member, all, part budget.AccountName) {
	w.Helper()
	ctx := w.Context()
	// A recall, whether what is recalled is asked about in another scope or not at all.
	if g := w.exchange(o, ask(part, 30, 30, 0, 0)); g.Lease != 0 {
		w.Errorf("%+v", g)
	}
	for _, asks := range [][]budget.Ask{nil, {ask(all, 60, 60, 20, 0)}} {
		grants, _, err := m.Exchange(ctx, asks)
		w.must(err)
		recalled := 0
		for _, g := range grants {
			if g.Recall != (g.AccountName == part) {
				w.Errorf("%+v", g)
			}
			if g.Recall {
				recalled++
			}
		}
		if recalled != 1 || len(grants) != 1+len(asks) {
			w.Errorf("%+v", grants)
		}
	}
	if g := w.exchange(m, ask(part, 65, 0, 50, 10)); g.Lease != 65 {
		w.Errorf("%+v", g)
	}
	if g := w.exchange(o, ask(part, 30, 30, 0, 0)); g.Lease != 30 {
		w.Errorf("%+v", g)
	}
	// What nobody hears of any more may be reserved, in its account.
	w.exec("UPDATE aig_holder SET seen = now() - interval '1 hour' WHERE id = 'm'")
	if g := w.exchange(o, ask(all, 10, 10, 0, 0)); g.Reserved != 40 {
		w.Errorf("%+v, want the 40 that m has unused of it", g)
	}
	w.exec("UPDATE aig_holder SET seen = now() WHERE id = 'm'")
	// A refund is of all calls.
	_, err := w.store.Adjust(ctx, budget.Adjustment{RequestID: "r", BudgetID: all.BudgetID, Amount: -5, Reason: "x"}, "me")
	w.must(err)
	if a, p := w.exchange(o, ask(all, 10, 10, 0, 0)), w.exchange(o, ask(part, 30, 30, 0, 0)); a.Refunded != 5 || a.Spent != 15 || p.Refunded != 0 || p.Spent != 50 {
		w.Errorf("%+v, %+v", a, p)
	}
}

// scopesWhole does what concerns a replica or a budget, and so all its accounts.
func (w *world) scopesWhole(o *postgres.Member, all, part budget.AccountName) {
	w.Helper()
	ctx := w.Context()
	if all, err := w.store.Replicas(ctx); err != nil || len(all) != 2 || all[0].Leased != 60+65 || all[1].Leased != 10+30 {
		w.Errorf("%+v, %v", all, err)
	}
	w.must(w.store.Forget(ctx, "m", true, by))
	if a, p := w.exchange(o, ask(all, 10, 10, 0, 0)), w.exchange(o, ask(part, 30, 30, 0, 0)); a.Spent != 55 || p.Spent != 65 {
		w.Errorf("%+v, %+v: what was lent to m is spent", a, p)
	}
	if _, _, _, err := w.store.SetBudget(ctx, budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Total, Cap: 40}, by); err != nil {
		w.Fatal(err)
	}
	w.allowed[all.BudgetID] = 60
	if a, p := w.exchange(o, ask(all, 10, 10, 0, 0)), w.exchange(o, ask(part, 30, 30, 0, 0)); a.Cap != 40 || !a.Recall || p.Cap != 40 || !p.Recall {
		w.Errorf("%+v, %+v", a, p)
	}
	// Nobody opens an account of a scope that the budget does not have: a cap of its own.
	unknown := part
	unknown.Scope = "y"
	if grants, _, err := o.Exchange(ctx, []budget.Ask{ask(all, 10, 0, 0, 0), ask(part, 30, 0, 0, 0), ask(unknown, 10, 10, 0, 0)}); err != nil || len(grants) != 2 {
		w.Errorf("%+v, %v", grants, err)
	}
}

// scopesMade makes a budget of which m has told a part only: it has told nothing of all.
func (w *world) scopesMade(m *postgres.Member) {
	w.Helper()
	id, _, _, err := w.store.SetBudget(w.Context(), budget.Budget{Target: budget.Target{Tags: "b"}, Period: budget.Total, Cap: 100}, by)
	w.must(err)
	w.exec(`INSERT INTO aig_account (budget_id, start, "end", cap, scope, allocated, spent) VALUES ($1, 0, $2, 100, 'x', 9, 9)`, id, int64(math.MaxInt64))
	w.exec(`INSERT INTO aig_lease (budget_id, start, scope, holder, lease, spent, reserved) VALUES ($1, 0, 'x', 'm', 9, 9, 0)`, id)
	w.exec("UPDATE aig_holder SET has_left = true WHERE id = 'o'")
	ctx, cancel := context.WithTimeout(w.Context(), time.Second)
	defer cancel()
	if _, err := w.store.Enforce(ctx, id); err == nil {
		w.Error("a budget limits of which a replica has told a part")
	}
	w.must(w.store.Tidy(w.Context()))
	if n := w.number("SELECT count(*) FROM aig_budget WHERE id = $1 AND counting", id); n != 1 {
		w.Error("a budget limits of which a replica has told a part")
	}
	w.must(m.PushUsage(w.Context(), []budget.UsageTotal{{Quarter: time.Now().UnixNano() / int64(15*time.Minute),
		UsageRow: budget.UsageRow{Attribution: budget.Attribution{Tag: "b"}, Requests: 1, Cost: 30}}}, 0))
	_, err = w.store.Adjust(w.Context(), budget.Adjustment{RequestID: "b", Tag: "b", Amount: -25, Reason: "x"}, "me")
	w.must(err)
	w.exec("UPDATE aig_holder SET has_left = true WHERE id = 'm'")
	_, err = w.store.Enforce(w.Context(), id)
	w.must(err)
	if st := w.status(id); st.Spent != 30-25 {
		w.Errorf("%+v: m has left, and its usage is what it had told of all", st)
	}
	w.sums()
	_, err = w.store.DeleteBudget(w.Context(), id, "", by)
	w.must(err)
	w.exec("UPDATE aig_holder SET has_left = false")
	w.acknowledge(m)
}

// scopesPast tidies a window of 50 days ago with accounts of four scopes: its history is
// that of all calls.
func (w *world) scopesPast(id string) {
	w.Helper()
	at := time.Now().AddDate(0, 0, -50)
	for scope, spent := range map[string]int{"x": 4, "": 9, "y": 5, "z": 6} {
		w.exec(`INSERT INTO aig_account (budget_id, start, "end", cap, scope, allocated, spent) VALUES ($1, $2, $3, 100, $4, $5, $5)`, id, at.UnixNano(), at.Add(time.Hour).UnixNano(), scope, spent)
		w.exec(`INSERT INTO aig_lease (budget_id, start, scope, holder, lease, spent, reserved) VALUES ($1, $2, $3, 'o', $4, $4, 0)`, id, at.UnixNano(), scope, spent)
	}
	w.exec(`INSERT INTO aig_account (budget_id, start, "end", cap, scope) VALUES ($1, 1, 2, 100, 'x')`, id)
	w.exec(`UPDATE aig_account SET "end" = $2 WHERE start = $1 AND scope = 'z'`, at.UnixNano(), int64(math.MaxInt64)) // as if it went on
	w.exec(`INSERT INTO aig_account (budget_id, start, "end", cap, scope, spent) VALUES ($1, -2, -1, 100, '', 0), ($1, -2, -1, 100, 'x', 3)`, id)
	if all, err := w.store.Windows(w.Context(), id, time.Time{}, 9); err != nil || len(all) != 2 || all[1].Spent != 0 {
		w.Errorf("%+v, %v; want the one that runs, and one in which nothing was spent", all, err)
	}
	w.must(w.store.Tidy(w.Context()))
	for _, table := range []string{"aig_account", "aig_lease"} {
		if n := w.number("SELECT 10 * count(*) + count(*) FILTER (WHERE scope = 'z') FROM "+table+" WHERE start = $1", at.UnixNano()); n != 11 {
			w.Errorf("rows of %s: %d, want 11 where the window of one goes on", table, n)
		}
	}
	if n := w.number("SELECT 1000 * count(*) + sum(spent)::bigint FROM aig_past_window WHERE budget_id = $1", id); n != 2009 {
		w.Errorf("windows and what was spent in them: %d, want 2009", n)
	}
}

// testScopesBesideOld upgrades a store that has accounts, and goes on with the statements
// of a program that knows of no scopes: both have the same accounts, also those that they
// open at once.
func testScopesBesideOld(w *world) {
	ctx := w.Context()
	address, old := olderTables(w)
	script(w, old, `INSERT INTO aig_budget SELECT 'bud_' || i, 'a/' || i, '', 4, '', 100, 0, 0, 1, 1, false FROM generate_series(1, 300) i;
		INSERT INTO aig_account (budget_id, start, "end", cap, allocated, spent, reserved) VALUES ('bud_1', 0, 9223372036854775807, 100, 50, 30, 10);
		INSERT INTO aig_lease VALUES ('bud_1', 0, 'old', 50, 30, 10)`)
	w.must(upgrade(ctx, address))
	s := w.open(postgres.Config{URL: address})
	m := w.joinOn(s, "new")
	first := budget.AccountName{BudgetID: "bud_1"}
	exchange := func(lease, spent budget.Amount) budget.Grant {
		w.Helper()
		grants, _, err := m.Exchange(ctx, []budget.Ask{ask(first, lease, lease, spent, 0)})
		w.must(err)
		if len(grants) != 1 {
			w.Fatalf("%+v", grants)
		}
		return grants[0]
	}
	if g := exchange(20, 5); g.Lease != 20 || g.Free != 30 || g.Spent != 35 || g.Reserved != 10 {
		w.Errorf("%+v", g)
	}
	for range 2 {
		script(w, old, `BEGIN; SELECT 1 FROM aig_account WHERE budget_id = 'bud_1' FOR UPDATE;
			INSERT INTO aig_lease (budget_id, start, holder, lease, spent, reserved) VALUES ('bud_1', 0, 'old', 60, 40, 0)
				ON CONFLICT (budget_id, start, holder) DO UPDATE SET lease = excluded.lease, spent = excluded.spent, reserved = excluded.reserved;
			UPDATE aig_account SET allocated = 80, spent = 45, reserved = 0 WHERE budget_id = 'bud_1' AND start = 0; COMMIT`)
	}
	if g := exchange(40, 6); g.Lease != 40 || g.Free != 0 || g.Spent != 46 || g.Reserved != 0 {
		w.Errorf("%+v", g)
	}
	var opening sync.WaitGroup
	for i := range 4 {
		opening.Go(func() {
			c := connectTo(w, address)
			for n := range 300 {
				if _, err := c.Exec(ctx, `INSERT INTO aig_account (budget_id, start, "end", cap) SELECT $1, 0, 9223372036854775807, 100
					WHERE NOT EXISTS (SELECT 1 FROM aig_account WHERE budget_id = $1 AND start < 1) ON CONFLICT (budget_id, start) DO NOTHING`, fmt.Sprint("bud_", n+1)); err != nil {
					w.Errorf("older program: %v", err)
				}
			}
		})
		m := w.joinOn(s, fmt.Sprint("m", i))
		opening.Go(func() {
			for n := range 300 {
				if grants, _, err := m.Exchange(ctx, []budget.Ask{ask(budget.AccountName{BudgetID: fmt.Sprint("bud_", n+1)}, 0, 0, 0, 0)}); err != nil || len(grants) != 1 {
					w.Errorf("%+v, %v", grants, err)
				}
			}
		})
	}
	opening.Wait()
	var n int
	w.must(old.QueryRow(ctx, "SELECT count(*) FROM aig_account").Scan(&n))
	if n != 300 {
		w.Errorf("%d accounts, want 300", n)
	}
}
