package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// watch is since when replicas were seen to be silent, by this process's clock.
type watch struct {
	last   time.Time // when they were last looked at
	silent map[string]silence
}

type silence struct {
	seen  time.Time // what the store says of its last exchange
	since time.Time // when that was first looked at
}

// gone notes how all are at now, and returns those that were silent for after. While
// nobody could look for pause, nobody could be heard either: all begin anew.
func (w *watch) gone(all []budget.ReplicaStatus, now time.Time, after, pause time.Duration) (gone []budget.ReplicaStatus) {
	silent := map[string]silence{}
	for _, r := range all {
		s, known := w.silent[r.ID]
		if !known || !s.seen.Equal(r.Seen) || now.Sub(w.last) > pause {
			s = silence{seen: r.Seen, since: now}
		}
		silent[r.ID] = s
		if now.Sub(s.since) >= after {
			gone = append(gone, r)
		}
	}
	w.last, w.silent = now, silent
	return gone
}

// forgetGone forgets replicas that were silent for Config.ForgetAfter, while this
// process heard from the store all the time. What they were lent counts as spent, so
// it is safe also for one that is only cut off: it goes on with nothing else.
func (s *Store) forgetGone(ctx context.Context) error {
	var all []budget.ReplicaStatus // by what gone looks at
	err := s.look(ctx, func(ctx context.Context, c *conn) error {
		rows, err := c.Query(ctx, `SELECT id, seen FROM aig_holder WHERE NOT forgotten`)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r budget.ReplicaStatus, err error) {
			err = row.Scan(&r.ID, &r.Seen)
			return r, err
		})
		return err
	})
	if err != nil {
		return err
	}
	s.watching.Lock()
	gone := s.watch.gone(all, time.Now(), s.config.ForgetAfter, s.config.MaxStale)
	s.watching.Unlock()
	by := budget.Author{Actor: "store.forget_after", Reason: "silent for " + s.config.ForgetAfter.String()}
	for i := range gone {
		err := s.forget(ctx, gone[i].ID, true, &gone[i].Seen, by)
		var known *budget.Error
		if errors.As(err, &known) && known.Kind == budget.KindNotFound {
			continue // it is back, or another replica forgot it
		}
		if err != nil {
			return err
		}
	}
	return nil
}
