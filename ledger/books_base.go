package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"aigateway/budget"
)

// baseSQL adds amount to what no row explains of an account's spending.
func baseSQL(account, amount int64) query {
	return query{
		sql:  `INSERT INTO base (account, amount) VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount`,
		args: []any{account, amount},
	}
}

// usageTagSQL adds to what no row explains of a tag's usage.
func usageTagSQL(tag string, requests, cost int64) query {
	return query{
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

// always covers every row.
func always(_, _ int64) bool { return true }

// book sums every row that is still there, and apart from that those that s
// covers.
func book(ctx context.Context, q querier, s *seal) (all, sealed *booked, err error) {
	all, sealed = newBooked(), newBooked()
	err = eachSettled(ctx, q, "", nil, func(r *settledRow) error {
		return errors.Join(all.settled(r, always), sealed.settled(r, s.covers))
	})
	for b, covers := range map[*booked]func(rid, link int64) bool{all: always, sealed: s.covers} {
		err = errors.Join(err, b.strays(ctx, q, "", nil, covers), b.adjusts(ctx, q, "", nil, covers))
		b.spread()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("sum rows: %w", err)
	}
	return all, sealed, nil
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
		rows, _, err := book(ctx, s.write, &s.seal)
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
		w.run(s.write, query{sql: `DELETE FROM meta WHERE name = 'rebase'`})
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

// carry moves the sums of deleted rows to what no row explains; sealed are those
// among them that were sealed.
func (w *writer) carry(s *store, gone, sealed *booked) {
	gone.spread()
	for id, amount := range gone.accounts {
		if amount != 0 {
			w.run(s.write, query{
				sql: `INSERT INTO base (account, amount) SELECT id, ? FROM account WHERE id = ?
					ON CONFLICT (account) DO UPDATE SET amount = amount + excluded.amount`, args: []any{int64(amount), id}})
		}
	}
	for tag, sum := range gone.tags {
		w.run(s.write, usageTagSQL(tag, sum.requests, int64(sum.cost)))
	}
	if sealed.rows == 0 {
		return
	}
	queries, err := sealed.sealedSQL(-1)
	w.err = errors.Join(w.err, err)
	for _, st := range queries {
		w.run(s.write, st)
	}
}
