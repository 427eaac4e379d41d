package ledger

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"aigateway/budget"
)

// bucketNanos is the width of a usage bucket: 15 minutes, so that days and
// hours of every time zone are whole buckets.
const bucketNanos = 15 * 60 * second

// Values of settle.status.
const (
	statusSettled = 0
	statusExpired = 1
	statusLate    = 2
	statusOrphan  = 3
)

// queries are the journal's hot queries, prepared once. Those with two
// write one row and many rows.
type queries struct {
	hold, unhold, settle                            [2]*sql.Stmt
	join                                            *sql.Stmt
	expire, late, stray, account, mark, wall, spool *sql.Stmt
	usage, link, head                               *sql.Stmt
}

// many is the number of rows of a query for many rows: a call of the
// driver costs more than a row does.
const many = 32

func prepareQueries(ctx context.Context, conn *sql.Conn) (queries, error) {
	var s queries
	for _, p := range []struct {
		to  **sql.Stmt
		sql string
	}{
		{&s.hold[0], holdSQL(1)}, {&s.hold[1], holdSQL(many)},
		{&s.unhold[0], unholdSQL(1)}, {&s.unhold[1], unholdSQL(many)},
		{&s.settle[0], settleSQL(1)}, {&s.settle[1], settleSQL(many)},
		{&s.join, `UPDATE hold SET accounts = ? WHERE rid = ?`},
		{&s.expire, `INSERT INTO settle (rid, at, status, basis, bound, actual, accounts,
			request_id, reserved_at, unpriced, key_id, tag, model, provider, detail, link)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.late, `UPDATE settle SET at = ?, status = 2, basis = ?, actual = ?, late_link = ?, detail = ? WHERE rid = ? AND status = 1`},
		{&s.stray, `INSERT INTO stray (request_id, at, basis, actual, accounts, tag, link) VALUES (?, ?, ?, ?, ?, ?, ?)`},
		{&s.link, `INSERT INTO link (no, at, rows, hash, calls) VALUES (?, ?, ?, ?, ?)`},
		{&s.head, `UPDATE head SET commits = ?, link = ?, hash = ?`},
		{&s.account, `INSERT INTO account (id, budget, start, "end", spent, orphan, residue, hw)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET spent = excluded.spent, orphan = excluded.orphan,
			residue = excluded.residue, hw = excluded.hw, "end" = excluded."end"`},
		{&s.mark, `UPDATE epoch SET seq = ? WHERE epoch = ?`},
		{&s.wall, `INSERT INTO meta (name, value) VALUES ('wall', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`},
		{&s.spool, `INSERT INTO spool (one, file, offset) VALUES (1, ?, ?)
			ON CONFLICT (one) DO UPDATE SET file = excluded.file, offset = excluded.offset`},
		{&s.usage, `INSERT INTO usage (bucket, tag, model, provider, key_id, requests, unpriced, cost, input, cache_read, cache_write, output, estimated, estimated_cost, changed)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)` + usageConflictSQL + `, changed = max(changed, excluded.changed)`},
	} {
		st, err := conn.PrepareContext(ctx, p.sql)
		if err != nil {
			return s, errors.Join(fmt.Errorf("prepare journal query: %w", err), s.close())
		}
		*p.to = st
	}
	return s, nil
}

// usageConflictSQL adds a row of usage to the one that is there.
const usageConflictSQL = `
	ON CONFLICT (bucket, tag, model, provider, key_id) DO UPDATE SET requests = requests + excluded.requests,
	unpriced = unpriced + excluded.unpriced, cost = cost + excluded.cost, input = input + excluded.input,
	cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write,
	output = output + excluded.output, estimated = estimated + excluded.estimated,
	estimated_cost = estimated_cost + excluded.estimated_cost`

func holdSQL(rows int) string {
	return `INSERT INTO hold (rid, request_id, reserved_at, bound, unpriced, accounts, key_id, tag, model, provider, detail) VALUES ` +
		repeat(rows, `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
}

func unholdSQL(rows int) string { return `DELETE FROM hold WHERE rid IN (` + repeat(rows, "?") + `)` }

func settleSQL(rows int) string {
	return `INSERT INTO settle (rid, at, status, basis, bound, actual, accounts, request_id, reserved_at, unpriced, key_id, tag, model, provider, detail, link) VALUES ` +
		repeat(rows, `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`)
}

func repeat(n int, s string) string { return strings.Repeat(s+", ", n-1) + s }

func (s *queries) close() error {
	var errs []error
	for _, st := range []*sql.Stmt{s.hold[0], s.hold[1], s.unhold[0], s.unhold[1], s.settle[0], s.settle[1], s.join, s.expire, s.late, s.stray, s.account, s.mark, s.wall, s.spool, s.usage, s.link, s.head} {
		if st != nil {
			errs = append(errs, st.Close())
		}
	}
	return errors.Join(errs...)
}

// journal is what the sync goroutine needs of a database. commit returns nil
// only if the whole batch is durable, power loss included. After an error the
// outcome is unknown and nobody may retry: the process has to restart.
type journal interface {
	commit(ctx context.Context, b *batch) error
}

func (s *store) commit(ctx context.Context, b *batch) error {
	w := s.writer(ctx)
	err := s.transaction(ctx, func() error {
		for i := range b.accounts {
			if a := &b.accounts[i]; a.changed {
				w.exec(s.stmts.account, a.id, a.budget, a.start, a.end, int64(a.spent), int64(a.orphan), int64(a.residue), int64(a.hw))
			}
		}
		for i := range b.events {
			w.event(&b.events[i], b.no)
			if e := &b.events[i]; e.change != nil {
				for _, st := range e.change.queries {
					w.run(s.write, w.book(st))
				}
			}
		}
		w.hold.flush(&w)
		w.unholds.flush(&w)
		w.settles.flush(&w)
		w.flushUsage(s)
		if b.mark > 0 {
			w.exec(s.stmts.mark, int64(b.mark), int64(b.epoch))
		}
		if b.saveWall {
			w.exec(s.stmts.wall, b.wall)
		}
		w.seal(b.wall)
		return w.err
	})
	return s.committed(&w, err)
}

// writer starts a transaction's writer, which continues the chain.
func (s *store) writer(ctx context.Context) writer {
	s.page.reset()
	return writer{ctx: ctx, s: &s.stmts, usage: map[usageKey]tally{}, page: &s.page, next: s.chain, no: int64(s.chain.link) + 1,
		hold: bulk{stmts: &s.stmts.hold, width: 11}, unholds: bulk{stmts: &s.stmts.unhold, width: 1}, settles: bulk{stmts: &s.stmts.settle, width: 16}}
}

// committed notes that w's transaction ended, with err.
func (s *store) committed(w *writer, err error) error {
	if err != nil {
		return err
	}
	s.chain = w.next
	if s.witness == nil {
		return nil
	}
	return s.witness(s.chain.commits)
}

// writer writes one batch; after the first error it does nothing.
type writer struct {
	ctx   context.Context
	s     *queries
	err   error
	usage map[usageKey]tally
	ids   []byte // lists of accounts and details, one behind the other

	page *linkPage // what this transaction books
	next chain     // where the chain stands after it
	no   int64     // of its link

	// Rows of different tables; their order within the batch does not matter.
	hold, unholds, settles bulk
}

// bulk collects the arguments of rows and writes them many at a time.
type bulk struct {
	stmts *[2]*sql.Stmt
	width int
	args  []any
}

func (b *bulk) add(w *writer, args ...any) {
	b.args = append(b.args, args...)
	if len(b.args) == many*b.width {
		w.exec(b.stmts[1], b.args...)
		b.args = b.args[:0]
	}
}

// flush writes the rows that are left.
func (b *bulk) flush(w *writer) {
	for i := 0; i < len(b.args); i += b.width {
		w.exec(b.stmts[0], b.args[i:i+b.width]...)
	}
	b.args = b.args[:0]
}

type usageKey struct {
	bucket int64
	attr   budget.Attribution
}

func (w *writer) exec(st *sql.Stmt, args ...any) {
	if w.err == nil {
		if _, err := st.ExecContext(w.ctx, args...); err != nil {
			w.err = fmt.Errorf("append journal: %w", err)
		}
	}
}

func (w *writer) run(conn *sql.Conn, st query) {
	if w.err == nil {
		if _, err := conn.ExecContext(w.ctx, st.sql, st.args...); err != nil {
			w.err = fmt.Errorf("append journal: %w", err)
		}
	}
}

func (w *writer) event(e *event, no uint64) {
	h := e.h
	switch e.kind {
	case eventHold:
		// A hold that ends in the same transaction never needs its row.
		if h.closedIn != no {
			w.hold.add(w, int64(h.id), h.requestID, h.reservedAt, int64(h.bound), boolInt(h.unpriced), w.accounts(h),
				h.attr.KeyID, string(h.attr.Tag), h.attr.Model, h.attr.Provider, w.detail(e))
		}
	case eventJoin:
		if h.journaledBefore(no) { // else its row will have all its accounts
			w.exec(w.s.join, w.accounts(h), int64(h.id))
		}
	case eventSettle:
		w.unhold(e, no)
		w.settle(e, statusSettled)
	case eventExpire:
		w.unhold(e, no)
		ids := w.accounts(h)
		w.page.add(func(b []byte) entry {
			return expiredEntry(b, int64(h.id), int64(h.bound), ids).text(string(h.attr.Tag))
		})
		w.exec(w.s.expire, int64(h.id), e.at, statusExpired, string(e.basis), int64(h.bound), int64(h.bound), ids,
			h.requestID, h.reservedAt, boolInt(h.unpriced), h.attr.KeyID, string(h.attr.Tag), h.attr.Model, h.attr.Provider, w.detail(e), w.no)
	case eventRefund:
		ids := w.accounts(h)
		w.page.add(func(b []byte) entry {
			return settleEntry(b, entryLate, int64(h.id), e.at, statusLate, string(e.basis), int64(h.bound), int64(e.cost), ids).text(string(h.attr.Tag))
		})
		w.exec(w.s.late, e.at, string(e.basis), int64(e.cost), w.no, w.detail(e), int64(h.id))
	case eventOrphan:
		w.settle(e, statusOrphan)
	case eventStray:
		ids := w.accounts(h)
		w.page.add(func(b []byte) entry {
			return strayEntry(b, h.requestID, e.at, string(e.basis), int64(e.cost), ids).text(string(h.attr.Tag))
		})
		w.exec(w.s.stray, h.requestID, e.at, string(e.basis), int64(e.cost), ids, string(h.attr.Tag), w.no)
	case eventSpool:
		w.exec(w.s.spool, e.spool.File, e.spool.Offset)
	}
	e.usage(func(h *hold, u tally) {
		k := usageKey{h.reservedAt / bucketNanos, h.attr}
		sum := w.usage[k]
		sum.add(u)
		w.usage[k] = sum
	})
}

func (w *writer) unhold(e *event, no uint64) {
	if e.h.journaledBefore(no) {
		w.unholds.add(w, int64(e.h.id))
	}
}

func (w *writer) settle(e *event, status int) {
	h, ids := e.h, w.accounts(e.h)
	w.page.add(func(b []byte) entry {
		return settleEntry(b, entrySettle, int64(e.h.id), e.at, status, string(e.basis), int64(e.h.bound), int64(e.cost), ids).text(string(e.h.attr.Tag))
	})
	w.settles.add(w, int64(h.id), e.at, status, string(e.basis), int64(h.bound), int64(e.cost), ids,
		h.requestID, h.reservedAt, boolInt(h.unpriced), h.attr.KeyID, string(h.attr.Tag), h.attr.Model, providerBeside(h), w.detail(e), w.no)
}

func (w *writer) flushUsage(s *store) {
	for k, u := range w.usage {
		if u == (tally{}) {
			continue // a call that never reached its provider
		}
		changed := int64(0)
		if s.shared {
			changed = int64(s.chain.commits) + 1
		}
		k.bucket, _ = s.folds.Part(k.bucket)
		w.exec(w.s.usage, k.bucket, string(k.attr.Tag), k.attr.Model, k.attr.Provider, k.attr.KeyID, u.requests, u.unpriced,
			int64(u.cost), u.tokens.Input, u.tokens.CacheRead, u.tokens.CacheWrite, u.tokens.Output,
			u.estimated, int64(u.estimatedCost), changed)
		w.addSealed(s, k.bucket, string(k.attr.Tag), u.requests, int64(u.cost))
	}
}

// accounts encodes the ids of h's accounts.
func (w *writer) accounts(h *hold) []byte {
	if w.ids == nil {
		w.ids = []byte{} // NULL is not an empty list
	}
	start := len(w.ids)
	for _, id := range h.ids {
		w.ids = binary.AppendUvarint(w.ids, uint64(id))
	}
	return w.ids[start:len(w.ids):len(w.ids)]
}

// providerBeside is h's provider where its model does not begin with it, which it
// does: a slug is provider/model.
func providerBeside(h *hold) any {
	if strings.HasPrefix(h.attr.Model, h.attr.Provider+"/") {
		return nil
	}
	return h.attr.Provider
}

// detail encodes what e's row tells of its call.
func (w *writer) detail(e *event) []byte {
	start := len(w.ids)
	w.ids = e.detail(w.ids)
	return w.ids[start:len(w.ids):len(w.ids)]
}

func decodeAccounts(b []byte) ([]int64, error) {
	var ids []int64
	for len(b) > 0 {
		id, n := binary.Uvarint(b)
		if n <= 0 {
			return nil, errors.New("list of accounts is damaged")
		}
		ids, b = append(ids, int64(id)), b[n:]
	}
	return ids, nil
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
