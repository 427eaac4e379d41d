package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"aigateway/budget"
)

// pruned is what a round of deletions removed from the journal.
type pruned struct {
	ids    []budget.ReservationID // expired and orphaned ones among the deleted rows
	strays []string
	closed uint64 // epochs up to here take no late logs any more
	more   bool
}

// pruneLinks is how many links of the hash chain go in one round at most.
const pruneLinks = 5000

// prune deletes up to limit finished reservations from before cutoff, oldest
// first. A reservation at or below its epoch's mark that is not open counts as
// finished without its row, so nothing can be charged twice. Rows of orphans
// stay until their epoch is closed: only they tell a repeated log from a first.
// What the rows add up to is carried, and their links end in a checkpoint.
// retired are accounts of windows that ended before cutoff and that nothing in
// memory can change any more.
func (s *store) prune(ctx context.Context, cutoff, wall int64, current uint64, limit int, retired []int64) (pruned, error) {
	var p pruned
	w := s.writer(ctx)
	err := s.transaction(ctx, func() error {
		if err := s.closeEpochs(ctx, &p, cutoff, current); err != nil {
			return err
		}
		base, err := s.pruneChain(ctx, &w, &p, cutoff, wall)
		if err != nil {
			return err
		}
		if err := s.dropAccounts(ctx, retired); err != nil {
			return err
		}
		if _, err := s.write.ExecContext(ctx, `DELETE FROM refused WHERE bucket < ?`, cutoff/bucketNanos); err != nil {
			return err
		}
		if _, err := s.write.ExecContext(ctx, `DELETE FROM usage_late`); err != nil { // nobody reads
			return err
		}
		gone, sealed := newBooked(), newBooked()
		if err := s.pruneSettled(ctx, &p, gone, sealed, cutoff, base, limit); err != nil {
			return err
		}
		err = each(ctx, s.write, `DELETE FROM stray WHERE request_id IN
			(SELECT request_id FROM stray WHERE at < ? AND link <= ? LIMIT ?) RETURNING request_id, basis, actual, accounts, tag, link`, []any{cutoff, base, limit}, func(r *sql.Rows) error {
			var id string
			var actual, link int64
			var basis, accounts, tag sql.RawBytes
			if err := r.Scan(&id, &basis, &actual, &accounts, &tag, &link); err != nil {
				return err
			}
			p.strays = append(p.strays, id)
			if s.seal.covers(0, link) {
				err = sealed.add(basis, actual, accounts, tag)
			}
			return errors.Join(err, gone.add(basis, actual, accounts, tag))
		})
		if err != nil {
			return err
		}
		if w.carry(s, gone, sealed); gone.rows > 0 || len(w.page.ends) > 0 {
			s.prunes.Add(1)
			w.seal(wall)
		}
		return w.err
	})
	if err := s.committed(&w, err); err != nil {
		return p, fmt.Errorf("prune journal: %w", err)
	}
	return p, nil
}

// pruneChain deletes the oldest links from before cutoff, books a checkpoint
// that says where the rest begins, and returns the last link that is gone:
// only rows up to it may go, for a link without its rows proves nothing.
func (s *store) pruneChain(ctx context.Context, w *writer, p *pruned, cutoff, wall int64) (base int64, err error) {
	var no sql.NullInt64
	var hash []byte
	err = s.write.QueryRowContext(ctx, `SELECT no, hash FROM link WHERE no < (SELECT min(no) FROM link) + ? AND at < ? ORDER BY no DESC LIMIT 1`,
		pruneLinks, cutoff).Scan(&no, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		err = s.write.QueryRowContext(ctx, `SELECT coalesce(max(no), 0) FROM checkpoint`).Scan(&base)
		return base, err
	}
	if err != nil {
		return 0, err
	}
	result, err := s.write.ExecContext(ctx, `DELETE FROM link WHERE no <= ?`, no.Int64)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, err
	}
	p.more = n == pruneLinks
	w.run(s.write, query{sql: `DELETE FROM checkpoint WHERE link <= ?`, args: []any{no.Int64}})
	w.run(s.write, w.book(query{
		sql: `INSERT INTO checkpoint (no, hash, at, link) VALUES (?, ?, ?, ?)`, args: []any{no.Int64, hash, wall},
		booked: checkpointEntry(uint64(no.Int64), hash, wall),
	}))
	return no.Int64, w.err
}

// endedAccounts are up to limit accounts of windows that ended before cutoff,
// the oldest first.
func (s *store) endedAccounts(ctx context.Context, cutoff int64, limit int) (ids []int64, err error) {
	err = each(ctx, s.write, `SELECT id FROM account WHERE "end" < ? ORDER BY "end" LIMIT ?`, []any{cutoff, limit}, func(r *sql.Rows) error {
		var id int64
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read ended windows: %w", err)
	}
	return ids, nil
}

// dropAccounts deletes the rows of ended windows: they decide nothing any more.
// What they spent stays for people, as long as the budget, and what their calls cost
// in the usage reports.
func (s *store) dropAccounts(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	for _, st := range []query{
		{sql: lastAccountSQL},
		{sql: `INSERT OR REPLACE INTO past_window (budget, start, "end", spent) SELECT b.id, a.start, a."end", a.spent
			FROM account a JOIN budget b ON b.num = a.budget WHERE a.id IN (SELECT value FROM json_each(?))`, args: []any{string(list)}},
		{sql: `DELETE FROM base WHERE account IN (SELECT value FROM json_each(?))`, args: []any{string(list)}},
		{sql: `DELETE FROM sealed_account WHERE account IN (SELECT value FROM json_each(?))`, args: []any{string(list)}},
		{sql: `DELETE FROM account WHERE id IN (SELECT value FROM json_each(?))`, args: []any{string(list)}},
	} {
		if _, err := s.write.ExecContext(ctx, st.sql, st.args...); err != nil {
			return err
		}
	}
	return nil
}

// retire forgets those of the accounts, whose windows ended long ago, that no
// reservation, crash or commit can change any more, and returns them.
func (c *core) retire(ids []int64) (retired []int64) {
	for _, id := range ids {
		a := c.accounts[id]
		switch {
		case a == nil:
			retired = append(retired, id)
		case a.refs == 0 && a.orphan == 0 && !a.raised && !a.wanted && a.inNo == 0 && a.rule.next != a && !a.rule.moving:
			if a.rule.cur == a {
				a.rule.cur = nil // an idle budget
			}
			delete(c.accounts, id)
			retired = append(retired, id)
		}
	}
	return retired
}

// closeEpochs closes the epochs that ended before cutoff: an epoch ends when
// the next is born.
func (s *store) closeEpochs(ctx context.Context, p *pruned, cutoff int64, current uint64) error {
	var next sql.NullInt64
	err := s.write.QueryRowContext(ctx, `SELECT max(epoch) FROM epoch WHERE born < ? AND epoch <= ?`, cutoff, int64(current)).Scan(&next)
	if err != nil || next.Int64 <= 1 {
		return err
	}
	closing := next.Int64 - 1
	result, err := s.write.ExecContext(ctx, `DELETE FROM epoch WHERE epoch <= ?`, closing)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	p.closed = uint64(closing)
	_, err = s.write.ExecContext(ctx, `INSERT INTO meta (name, value) VALUES ('closed_epoch', ?)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, closing)
	return err
}

func (s *store) pruneSettled(ctx context.Context, p *pruned, gone, sealed *booked, cutoff, base int64, limit int) error {
	var closed sql.NullInt64
	if err := s.write.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'closed_epoch'`).Scan(&closed); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	// Ids grow with time, so the oldest rows are the first ones.
	n := 0
	err := each(ctx, s.write, `DELETE FROM settle WHERE rid IN (SELECT rid FROM settle ORDER BY rid LIMIT ?)
		AND at < ? AND (status <> 3 OR rid >> 43 <= ?) AND link <= ? AND late_link <= ?
		RETURNING `+settledColumns, []any{limit, cutoff, closed.Int64, base, base}, func(r *sql.Rows) error {
		var row settledRow
		if err := row.scan(r); err != nil {
			return err
		}
		n++
		p.ids = append(p.ids, budget.ReservationID(row.rid))
		return errors.Join(gone.settled(&row, always), sealed.settled(&row, s.seal.covers))
	})
	p.more = p.more || n == limit
	return err
}

// markClean records that the process ended with everything decided.
func (s *store) markClean(ctx context.Context) error {
	if _, err := s.write.ExecContext(ctx, `UPDATE meta SET value = 1 WHERE name = 'clean'`); err != nil {
		return fmt.Errorf("mark ledger clean: %w", err)
	}
	return nil
}
