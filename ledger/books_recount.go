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
	if m.What == whatRequests || m.What == whatCost || m.What == whatSealed || m.What == whatSealedRequests {
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
	whatSealed   = "sum of what was sealed"

	whatSealedRequests = "number of requests that were sealed"
)

// Recount is the result of a check: totals computed again from rows.
type Recount struct {
	Accounts   int
	Holds      int
	Rows       int64 // finished calls, strays and corrections that were read
	Mismatches []Mismatch
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

// recount compares all rows, in one state, with the stored totals.
func recount(ctx context.Context, q querier) (*Recount, error) {
	s, err := readSealedRows(ctx, q)
	if err != nil {
		return nil, err
	}
	rows, sealed, err := book(ctx, q, &s.seal)
	if err != nil {
		return nil, err
	}
	s.rows = sealed
	err = each(ctx, q, `SELECT bucket, tag, sum(requests), sum(cost) FROM usage GROUP BY bucket, tag ORDER BY bucket, tag`, nil, func(r *sql.Rows) error {
		var bucket int64
		var tag string
		var sum tagSum
		err := r.Scan(&bucket, &tag, &sum.requests, (*int64)(&sum.cost))
		s.addUsage(bucket, tag, &sum)
		return err
	})
	if err != nil {
		return nil, err
	}
	stored, err := tagSums(ctx, q, `SELECT tag, sum(requests), sum(cost) FROM usage GROUP BY tag`)
	if err != nil {
		return nil, err
	}
	c := counting{Recount: &Recount{Rows: rows.rows}, q: q, rows: rows}
	err = errors.Join(c.readBase(ctx), c.readHolds(ctx), c.readAccounts(ctx, ""), c.readTags(ctx, "", stored), c.compareSealed(ctx, s), c.readTwice(ctx))
	return c.Recount, err
}

// counting compares totals with what rows explains; memory may be nil.
type counting struct {
	*Recount
	q      querier
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

func (c *counting) readBase(ctx context.Context) (err error) {
	c.base, err = amounts(ctx, c.q, `SELECT account, amount FROM base`)
	return err
}

// amounts reads pairs of an account and an amount.
func amounts(ctx context.Context, q querier, query string, args ...any) (map[int64]budget.Amount, error) {
	m := map[int64]budget.Amount{}
	err := each(ctx, q, query, args, func(r *sql.Rows) error {
		var id, amount int64
		err := r.Scan(&id, &amount)
		m[id] = budget.Amount(amount)
		return err
	})
	return m, err
}

func (c *counting) readHolds(ctx context.Context) error {
	b := newBooked()
	err := each(ctx, c.q, `SELECT bound, accounts FROM hold`, nil, func(r *sql.Rows) error {
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

func (c *counting) readAccounts(ctx context.Context, where string, args ...any) error {
	return each(ctx, c.q, `SELECT a.id, coalesce(b.id, ''), a.spent, a.orphan, a.residue, a.hw FROM account a LEFT JOIN budget b ON b.num = a.budget `+where, args, func(r *sql.Rows) error {
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

// tagSums reads rows of a tag, its requests and its cost.
func tagSums(ctx context.Context, q querier, query string, args ...any) (map[string]*tagSum, error) {
	m := map[string]*tagSum{}
	return m, each(ctx, q, query, args, func(r *sql.Rows) error { return addTag(m, r) })
}

// readTags compares each tag's reports, which are stored, with its rows and what
// was pruned; where selects from usage_tag.
func (c *counting) readTags(ctx context.Context, where string, stored map[string]*tagSum, args ...any) error {
	counted, err := tagSums(ctx, c.q, `SELECT tag, requests, cost FROM usage_tag `+where, args...)
	if err != nil {
		return err
	}
	for tag, sum := range c.rows.tags {
		counted[tag] = counted[tag].plus(sum)
	}
	for tag := range counted {
		stored[tag] = stored[tag].plus(nil)
	}
	for _, tag := range slices.Sorted(maps.Keys(stored)) {
		if s, n := stored[tag], counted[tag].plus(nil); *s != *n {
			c.report(Mismatch{Tag: tag, What: whatRequests, Stored: budget.Amount(s.requests), Counted: budget.Amount(n.requests)})
			c.report(Mismatch{Tag: tag, What: whatCost, Stored: s.cost, Counted: n.cost})
		}
	}
	return nil
}

// plus is the sum of two that may be nil.
func (t *tagSum) plus(u *tagSum) *tagSum {
	var sum tagSum
	for _, s := range []*tagSum{t, u} {
		if s != nil {
			sum.requests += s.requests
			sum.cost += s.cost
		}
	}
	return &sum
}

// readSealed compares the sealed sums with the rows they are of.
func (c *counting) readSealed(ctx context.Context, sealed *booked) error {
	accounts, err := amounts(ctx, c.q, `SELECT a.id, coalesce(s.amount, 0) FROM account a LEFT JOIN sealed_account s ON s.account = a.id`)
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(accounts)) {
		c.compare(id, "", whatSealed, accounts[id], sealed.accounts[id])
	}
	tags, err := tagSums(ctx, c.q, `SELECT tag, requests, cost FROM sealed_tag`)
	if err != nil {
		return err
	}
	for tag := range sealed.tags {
		tags[tag] = tags[tag].plus(nil)
	}
	for _, tag := range slices.Sorted(maps.Keys(tags)) {
		if s, n := tags[tag], sealed.tags[tag].plus(nil); *s != *n {
			c.report(Mismatch{Tag: tag, What: whatSealed, Stored: s.cost, Counted: n.cost})
			c.report(Mismatch{Tag: tag, What: whatSealedRequests, Stored: budget.Amount(s.requests), Counted: budget.Amount(n.requests)})
		}
	}
	return nil
}

// readTwice looks for reservations that are open and finished.
func (c *counting) readTwice(ctx context.Context) error {
	return each(ctx, c.q, `SELECT count(*) FROM hold JOIN settle USING (rid)`, nil, func(r *sql.Rows) error {
		var n int64
		err := r.Scan(&n)
		c.compare(0, "", "number of reservations that are open and finished", budget.Amount(n), 0)
		return err
	})
}
