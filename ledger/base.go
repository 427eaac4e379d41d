package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"aigateway/budget"
)

// baseSQL adds amount to what no row explains of an account's spending.
func baseSQL(account, amount int64) statement {
	return statement{
		sql:  `INSERT INTO base (account, amount) VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount`,
		args: []any{account, amount},
	}
}

// usageTagSQL adds to what no row explains of a tag's usage.
func usageTagSQL(tag string, requests, cost int64) statement {
	return statement{
		sql: `INSERT INTO usage_tag (tag, requests, cost) VALUES (?, ?, ?)
			ON CONFLICT (tag) DO UPDATE SET requests = requests + excluded.requests, cost = cost + excluded.cost`,
		args: []any{tag, requests, cost},
	}
}

// booked is what a set of rows adds up to.
type booked struct {
	rows     int64
	accounts map[int64]budget.Amount
	tags     map[string]*tagSum // of the rows that have a tag
	lists    map[string]*listSum
}

// tagSum is what a tag's rows add up to.
type tagSum struct {
	requests int64 // that reached a provider
	cost     budget.Amount
}

// listSum is the sum of the rows that share one list of accounts: decoding a
// list once, instead of once a row, halves the time of a recount.
type listSum struct {
	ids []int64
	sum budget.Amount
}

func newBooked() *booked {
	return &booked{accounts: map[int64]budget.Amount{}, tags: map[string]*tagSum{}, lists: map[string]*listSum{}}
}

// add counts a row of settle or stray; an old one has no tag.
func (b *booked) add(basis []byte, actual int64, accounts, tag []byte) error {
	b.rows++
	if tag != nil {
		requests := int64(0)
		if budget.Basis(basis).Sent() {
			requests = 1
		}
		b.report(tag, requests, actual)
	}
	return b.charge(actual, accounts)
}

func (b *booked) report(tag []byte, requests, cost int64) {
	t := b.tags[string(tag)]
	if t == nil {
		t = &tagSum{}
		b.tags[string(tag)] = t
	}
	t.requests += requests
	t.cost += budget.Amount(cost)
}

func (b *booked) charge(amount int64, accounts []byte) error {
	l := b.lists[string(accounts)]
	if l == nil {
		ids, err := decodeAccounts(accounts)
		if err != nil {
			return err
		}
		l = &listSum{ids: ids}
		b.lists[string(accounts)] = l
	}
	l.sum += budget.Amount(amount)
	return nil
}

// spread moves the sums of the lists to their accounts.
func (b *booked) spread() {
	for _, l := range b.lists {
		for _, id := range l.ids {
			b.accounts[id] += l.sum
		}
		l.sum = 0
	}
}

// querier is a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each calls scan for every row of a query.
func each(ctx context.Context, q querier, query string, args []any, scan func(*sql.Rows) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// book sums every row that is still there.
func book(ctx context.Context, q querier) (*booked, error) {
	b := newBooked()
	add := func(r *sql.Rows) error {
		var basis, accounts, tag sql.RawBytes
		var actual int64
		if err := r.Scan(&basis, &actual, &accounts, &tag); err != nil {
			return err
		}
		return b.add(basis, actual, accounts, tag)
	}
	err := errors.Join(
		each(ctx, q, `SELECT basis, actual, accounts, tag FROM settle`, nil, add),
		each(ctx, q, `SELECT basis, actual, accounts, tag FROM stray`, nil, add),
		each(ctx, q, `SELECT tag, amount, amount + residue, accounts FROM adjust`, nil, func(r *sql.Rows) error {
			var amount, net int64
			var tag, accounts sql.RawBytes
			if err := r.Scan(&tag, &amount, &net, &accounts); err != nil {
				return err
			}
			b.rows++
			if len(tag) > 0 {
				b.report(tag, 0, amount)
			}
			return b.charge(net, accounts)
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("sum rows: %w", err)
	}
	b.spread()
	return b, nil
}

// rebase fills base once, when a database from before them is
// opened: what they do not explain then is taken as it is. The first row of the
// audit chain says which rows are older than the hash chain.
func (s *store) rebase(ctx context.Context, wall int64) error {
	var due int
	if err := s.write.QueryRowContext(ctx, `SELECT count(*) FROM meta WHERE name = 'rebase'`).Scan(&due); err != nil || due == 0 {
		return err
	}
	w := s.writer(ctx)
	err := s.transaction(ctx, func() error {
		rows, err := book(ctx, s.write)
		if err != nil {
			return err
		}
		bases := map[int64]int64{}
		err = each(ctx, s.write, `SELECT id, spent - residue FROM account`, nil, func(r *sql.Rows) error {
			var id, spent int64
			err := r.Scan(&id, &spent)
			bases[id] = spent - int64(rows.accounts[id])
			return err
		})
		if err != nil {
			return err
		}
		for id, amount := range bases {
			w.run(s.write, baseSQL(id, amount))
		}
		w.run(s.write, statement{sql: `DELETE FROM meta WHERE name = 'rebase'`})
		var g genesis
		err = s.write.QueryRowContext(ctx, `SELECT (SELECT coalesce(max(rid), 0) FROM settle), (SELECT coalesce(max(rowid), 0) FROM stray),
			(SELECT coalesce(max(id), 0) FROM audit)`).Scan(&g.Settle, &g.Stray, &g.Audit)
		if err != nil {
			return err
		}
		w.run(s.write, w.book(auditRow(wall, "aigateway", actionGenesis, databaseFile, g)))
		w.seal(wall)
		return w.err
	})
	if err := s.committed(&w, err); err != nil {
		return fmt.Errorf("take stock of the database: %w", err)
	}
	return nil
}

// genesis is the detail of the first audit row of the chain: rows up to these
// numbers are older than it.
type genesis struct {
	Settle int64 `json:"settle"`
	Stray  int64 `json:"stray"`
	Audit  int64 `json:"audit"`
}

const actionGenesis = "begin_hash_chain"

// carry moves the sums of deleted rows to what no row explains.
func (w *writer) carry(s *store, b *booked) {
	b.spread()
	for id, amount := range b.accounts {
		if amount != 0 {
			w.run(s.write, statement{
				sql: `INSERT INTO base (account, amount) SELECT id, ? FROM account WHERE id = ?
					ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount`, args: []any{int64(amount), id}})
		}
	}
	for tag, sum := range b.tags {
		w.run(s.write, usageTagSQL(tag, sum.requests, int64(sum.cost)))
	}
}
