package ledger

import (
	"context"
	"database/sql"
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

// prune deletes up to limit finished reservations from before cutoff, oldest
// first. A reservation at or below its epoch's mark that is not open counts as
// finished without its row, so nothing can be charged twice. Rows of orphans
// stay until their epoch is closed: only they tell a repeated log from a first.
func (s *store) prune(ctx context.Context, cutoff int64, current uint64, limit int) (pruned, error) {
	var p pruned
	err := s.transaction(ctx, func() error {
		if err := s.closeEpochs(ctx, &p, cutoff, current); err != nil {
			return err
		}
		if err := s.pruneSettled(ctx, &p, cutoff, limit); err != nil {
			return err
		}
		strays, err := collect[string](ctx, s.write, `DELETE FROM stray WHERE request_id IN
			(SELECT request_id FROM stray WHERE at < ? LIMIT ?) RETURNING request_id`, cutoff, limit)
		p.strays = strays
		return err
	})
	if err != nil {
		return p, fmt.Errorf("prune journal: %w", err)
	}
	return p, nil
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

func (s *store) pruneSettled(ctx context.Context, p *pruned, cutoff int64, limit int) error {
	var closed sql.NullInt64
	if err := s.write.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'closed_epoch'`).Scan(&closed); err != nil && err != sql.ErrNoRows {
		return err
	}
	// Ids grow with time, so the oldest rows are the first ones.
	ids, err := collect[int64](ctx, s.write, `DELETE FROM settle WHERE rid IN (SELECT rid FROM settle ORDER BY rid LIMIT ?)
		AND at < ? AND (status <> 3 OR rid >> 43 <= ?) RETURNING rid`, limit, cutoff, closed.Int64)
	for _, id := range ids {
		p.ids = append(p.ids, budget.ReservationID(id))
	}
	p.more = len(ids) == limit
	return err
}

// collect returns the first column of every row.
func collect[T any](ctx context.Context, conn *sql.Conn, query string, args ...any) ([]T, error) {
	rows, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// markClean records that the process ended with everything decided.
func (s *store) markClean(ctx context.Context) error {
	if _, err := s.write.ExecContext(ctx, `UPDATE meta SET value = 1 WHERE name = 'clean'`); err != nil {
		return fmt.Errorf("mark ledger clean: %w", err)
	}
	return nil
}
