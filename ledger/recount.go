package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"aigateway/budget"
)

// Mismatch is a total that differs from what its rows add up to.
type Mismatch struct {
	Account  int64  // 0: a total over all accounts
	BudgetID string // of the account; empty when its budget is gone
	Tag      string // of the usage reports that differ
	What     string
	Stored   budget.Amount // or a plain count
	Counted  budget.Amount
}

func (m Mismatch) String() string {
	where := "all accounts"
	if m.What == whatRequests || m.What == whatCost {
		where = fmt.Sprintf("tag %q", m.Tag)
	}
	if m.Account != 0 {
		where = fmt.Sprintf("account %d of budget %s", m.Account, m.BudgetID)
	}
	return fmt.Sprintf("%s: %s is %d, its rows add up to %d", where, m.What, int64(m.Stored), int64(m.Counted))
}

// What a mismatch can be about, if Repair can accept it.
const (
	whatSpent    = "spent without what crashes left"
	whatRequests = "number of reported requests"
	whatCost     = "reported cost"
)

// Recount is the result of a check: every total computed again from rows.
type Recount struct {
	Accounts   int
	Holds      int
	Rows       int64
	Mismatches []Mismatch
}

// Check computes every total again from its rows and compares: what accounts
// spent from settled calls, strays, corrections and what was pruned, what they
// hold from open reservations, and the usage reports.
func (i *Inspector) Check(ctx context.Context) (*Recount, error) {
	var r *Recount
	err := i.snapshot(ctx, func(q querier) (err error) {
		r, err = recount(ctx, q, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("check the books: %w", err)
	}
	return r, nil
}

// accountTotals are the stored totals of an account.
type accountTotals struct {
	budget                     string
	spent, orphan, residue, hw budget.Amount
}

// inMemory is what a running ledger has of an account, as of the commit that a
// recount reads.
type inMemory struct {
	accountTotals
	held      budget.Amount // all open holds, by the counter
	holds     budget.Amount // all open holds, added up
	journaled budget.Amount // open holds that are durable
}

// recount compares the rows with the stored totals, and with memory if it is
// not nil.
func recount(ctx context.Context, q querier, memory map[int64]*inMemory) (*Recount, error) {
	rows, err := book(ctx, q)
	if err != nil {
		return nil, err
	}
	c := counting{Recount: &Recount{Rows: rows.rows}, rows: rows, memory: memory}
	err = errors.Join(c.readBase(ctx, q), c.readHolds(ctx, q), c.readAccounts(ctx, q), c.readUsage(ctx, q), c.readTwice(ctx, q))
	if err != nil {
		return nil, err
	}
	return c.Recount, nil
}

type counting struct {
	*Recount
	rows   *booked
	base   map[int64]budget.Amount
	held   map[int64]budget.Amount
	memory map[int64]*inMemory
}

func (c *counting) compare(id int64, budgetID, what string, stored, counted budget.Amount) {
	c.report(Mismatch{Account: id, BudgetID: budgetID, What: what, Stored: stored, Counted: counted})
}

func (c *counting) report(m Mismatch) {
	if m.Stored != m.Counted {
		c.Mismatches = append(c.Mismatches, m)
	}
}

func (c *counting) readBase(ctx context.Context, q querier) error {
	c.base = map[int64]budget.Amount{}
	return each(ctx, q, `SELECT account, amount FROM base`, nil, func(r *sql.Rows) error {
		var id, amount int64
		err := r.Scan(&id, &amount)
		c.base[id] = budget.Amount(amount)
		return err
	})
}

func (c *counting) readHolds(ctx context.Context, q querier) error {
	b := newBooked()
	err := each(ctx, q, `SELECT bound, accounts FROM hold`, nil, func(r *sql.Rows) error {
		var bound int64
		var accounts sql.RawBytes
		if err := r.Scan(&bound, &accounts); err != nil {
			return err
		}
		c.Holds++
		return b.charge(bound, accounts)
	})
	b.spread()
	c.held = b.accounts
	return err
}

func (c *counting) readAccounts(ctx context.Context, q querier) error {
	return each(ctx, q, `SELECT a.id, coalesce(b.id, ''), a.spent, a.orphan, a.residue, a.hw FROM account a LEFT JOIN budget b ON b.num = a.budget`, nil, func(r *sql.Rows) error {
		var id int64
		var t accountTotals
		if err := r.Scan(&id, &t.budget, (*int64)(&t.spent), (*int64)(&t.orphan), (*int64)(&t.residue), (*int64)(&t.hw)); err != nil {
			return err
		}
		c.Accounts++
		c.account(id, t)
		return nil
	})
}

// account checks one account. Residue came from a crash, not from rows, and a
// late row that takes a part of it takes the same part of spent, so the
// difference of the two is what rows explain.
func (c *counting) account(id int64, t accountTotals) {
	c.compare(id, t.budget, whatSpent, t.spent-t.residue, c.base[id]+c.rows.accounts[id])
	c.compare(id, t.budget, "negative amounts", min(t.spent, t.orphan, t.residue, 0), 0)
	covered := t.spent + t.orphan + c.held[id]
	c.compare(id, t.budget, "high-water mark", t.hw, max(t.hw, covered))
	m := c.memory[id]
	if m == nil {
		return
	}
	c.compare(id, t.budget, "spent in memory", m.spent, t.spent)
	c.compare(id, t.budget, "orphaned in memory", m.orphan, t.orphan)
	c.compare(id, t.budget, "residue in memory", m.residue, t.residue)
	c.compare(id, t.budget, "high-water mark in memory", m.hw, t.hw)
	c.compare(id, t.budget, "reserved in memory", m.held, m.holds)
	c.compare(id, t.budget, "durable reservations in memory", m.journaled, c.held[id])
}

// readUsage compares each tag's reports with its rows and what was pruned.
func (c *counting) readUsage(ctx context.Context, q querier) error {
	sums := func(query string) (map[string]tagSum, error) {
		m := map[string]tagSum{}
		err := each(ctx, q, query, nil, func(r *sql.Rows) error {
			var tag string
			var sum tagSum
			err := r.Scan(&tag, &sum.requests, (*int64)(&sum.cost))
			m[tag] = sum
			return err
		})
		return m, err
	}
	counted, err := sums(`SELECT tag, requests, cost FROM usage_tag`)
	if err != nil {
		return err
	}
	for tag, sum := range c.rows.tags {
		base := counted[tag]
		counted[tag] = tagSum{base.requests + sum.requests, base.cost + sum.cost}
	}
	stored, err := sums(`SELECT tag, sum(requests), sum(cost) FROM usage GROUP BY tag`)
	if err != nil {
		return err
	}
	for tag := range counted {
		if _, ok := stored[tag]; !ok {
			stored[tag] = tagSum{}
		}
	}
	for _, tag := range slices.Sorted(maps.Keys(stored)) {
		if s, n := stored[tag], counted[tag]; s != n {
			c.report(Mismatch{Tag: tag, What: whatRequests, Stored: budget.Amount(s.requests), Counted: budget.Amount(n.requests)})
			c.report(Mismatch{Tag: tag, What: whatCost, Stored: s.cost, Counted: n.cost})
		}
	}
	return nil
}

// readTwice looks for reservations that are open and finished.
func (c *counting) readTwice(ctx context.Context, q querier) error {
	return each(ctx, q, `SELECT count(*) FROM hold JOIN settle USING (rid)`, nil, func(r *sql.Rows) error {
		var n int64
		err := r.Scan(&n)
		c.compare(0, "", "number of reservations that are open and finished", budget.Amount(n), 0)
		return err
	})
}
