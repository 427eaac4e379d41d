package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// maxSessions are kept; of more, those that end first go.
const maxSessions = 10_000

// KeepSession keeps what somebody is signed in with, sealed, under a hash, for every
// gateway, until ends. now ends those before it.
func (s *Store) KeepSession(ctx context.Context, hash string, sealed []byte, now, ends time.Time) error {
	return s.write(ctx, func(ctx context.Context, c *conn) error {
		if _, err := c.Exec(ctx, `DELETE FROM aig_session WHERE ends_at <= $1 OR hash IN (SELECT hash FROM aig_session ORDER BY ends_at DESC OFFSET $2)`, now.UnixNano(), maxSessions-1); err != nil {
			return err
		}
		_, err := c.Exec(ctx, `INSERT INTO aig_session (hash, ends_at, sealed) VALUES ($1, $2, $3)`, hash, ends.UnixNano(), sealed)
		return err
	})
}

// Session is what is kept under a hash, and until when. It is nil where nothing is.
func (s *Store) Session(ctx context.Context, hash string) (sealed []byte, ends time.Time, err error) {
	var at int64
	err = s.look(ctx, func(ctx context.Context, c *conn) error {
		err := c.QueryRow(ctx, `SELECT sealed, ends_at FROM aig_session WHERE hash = $1`, hash).Scan(&sealed, &at)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return sealed, time.Unix(0, at), err
}

// EndSession drops what is kept under a hash, and reports whether it was there: of two
// that drop the same, one is told so.
func (s *Store) EndSession(ctx context.Context, hash string) (was bool, err error) {
	err = s.write(ctx, func(ctx context.Context, c *conn) error {
		done, err := c.Exec(ctx, `DELETE FROM aig_session WHERE hash = $1`, hash)
		was = done.RowsAffected() == 1
		return err
	})
	return was, err
}
