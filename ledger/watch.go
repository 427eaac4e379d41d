package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"aigateway/budget"
)

// snapshotRequest asks the sync goroutine for one state of disk and memory:
// between two commits, when they are the same.
type snapshotRequest struct {
	conn   *sql.Conn // of the read pool
	memory map[int64]*inMemory
	taken  chan error
}

// Check recounts the books of the running ledger, its memory included, and
// refuses calls on every account whose totals its rows do not explain, until
// a later check finds them right. It reads on the side; calls go on meanwhile.
func (l *Ledger) Check(ctx context.Context) (*Recount, error) {
	l.checking.Lock()
	defer l.checking.Unlock()
	r, err := l.recountOnce(ctx)
	if err == nil && len(r.Mismatches) > 0 {
		// Once more, on another state: what is wrong stays wrong.
		first := r.Mismatches
		if r, err = l.recountOnce(ctx); err == nil {
			r.Mismatches = confirmed(first, r.Mismatches)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("check the books: %w", err)
	}
	l.distrust(r)
	return r, nil
}

// confirmed is what of b is about an account that a is also about.
func confirmed(a, b []Mismatch) []Mismatch {
	before := map[int64]bool{}
	for _, m := range a {
		before[m.Account] = true
	}
	var out []Mismatch
	for _, m := range b {
		if before[m.Account] {
			out = append(out, m)
		}
	}
	return out
}

func (l *Ledger) recountOnce(ctx context.Context) (*Recount, error) {
	conn, err := l.store.read.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	s := &snapshotRequest{conn: conn, taken: make(chan error, 1)}
	select {
	case l.snapshots <- s:
	case <-l.done:
		return nil, errors.New("the ledger has stopped")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := <-s.taken; err != nil {
		return nil, err
	}
	r, err := recount(ctx, conn, s.memory)
	_, undo := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	return r, errors.Join(err, undo)
}

// snapshot runs on the sync goroutine, so no commit is under way.
func (l *Ledger) snapshot(s *snapshotRequest) {
	var n int
	_, err := s.conn.ExecContext(context.Background(), "BEGIN")
	if err == nil { // the first read picks the state
		err = s.conn.QueryRowContext(context.Background(), "SELECT count(*) FROM head").Scan(&n)
	}
	if err == nil {
		s.memory = l.totals()
	}
	s.taken <- err
}

// totals copies every account's counters, and what its open holds add up to.
func (l *Ledger) totals() map[int64]*inMemory {
	type item struct {
		h         *hold
		journaled bool
	}
	l.mu.Lock()
	c := l.core
	memory := make(map[int64]*inMemory, len(c.accounts))
	for id, a := range c.accounts {
		memory[id] = &inMemory{accountTotals: accountTotals{spent: a.spent, orphan: a.orphan, residue: a.residue, hw: a.hw}, held: a.held}
	}
	items := make([]item, 0, len(c.open))
	for _, h := range c.open {
		items = append(items, item{h, h.openedIn != 0 || epochOf(h.id) != c.epoch})
	}
	l.mu.Unlock()
	for _, i := range items {
		for _, a := range i.h.legs {
			m := memory[a.id]
			if m == nil {
				continue
			}
			m.holds += i.h.bound
			if i.journaled {
				m.journaled += i.h.bound
			}
		}
	}
	return memory
}

// distrust makes accounts with mismatches refuse calls, and others not.
func (l *Ledger) distrust(r *Recount) {
	bad := map[int64]bool{}
	for _, m := range r.Mismatches {
		bad[m.Account] = true
		l.config.Log.Error("the books do not agree; calls on this budget are refused until they do", "mismatch", m.String())
	}
	l.mu.Lock()
	for id, a := range l.core.accounts {
		a.distrusted = bad[id]
	}
	l.mu.Unlock()
	l.metrics.mismatches.Set(float64(len(r.Mismatches)))
	l.metrics.checked.Set(float64(l.config.Now().Unix()))
	if len(r.Mismatches) == 0 {
		l.config.Log.Debug("the books agree", "accounts", r.Accounts, "reservations", r.Holds, "rows", r.Rows)
	}
}

// watch checks the books now and then, until the ledger stops.
func (l *Ledger) watch() {
	defer close(l.watched)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-l.stop:
		case <-l.done:
		}
		cancel()
	}()
	next := time.NewTimer(min(checkFirst, l.config.CheckEvery))
	defer next.Stop()
	for {
		select {
		case <-next.C:
		case <-ctx.Done():
			return
		}
		if _, err := l.Check(ctx); err != nil && ctx.Err() == nil {
			l.config.Log.Error("the books could not be checked", "error", err)
		}
		next.Reset(l.config.CheckEvery)
	}
}

// checkFirst is how long after a start the books are first checked: soon, but
// not while a recovery still reads its log files.
const checkFirst = time.Minute

// distrustedError is the answer on an account whose books do not agree.
func distrustedError(a *account) *budget.Error {
	return budget.Unavailable("books_disagree", fmt.Sprintf("spending on budget %s cannot be trusted right now: its totals differ from its records; an operator has to run `aigateway ledger check`", a.rule.ID), nil)
}
