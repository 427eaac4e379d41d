package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"aigateway/budget"
)

// LastEnded is where the last call ended of those that had before this call.
func (l *Ledger) LastEnded(ctx context.Context) (c budget.CallCursor, err error) {
	if err := l.flush(ctx); err != nil {
		return c, err
	}
	err = l.store.each(ctx, `SELECT link FROM head`, nil, func(r *sql.Rows) error { return r.Scan(&c.Link) })
	if err != nil {
		return c, fmt.Errorf("read the last link: %w", err)
	}
	return c, nil
}

// EndedCalls are calls that q selects in the order in which they ended, from a
// cursor on, and the cursor behind them. It looks at some thousands at most: there
// may be more wherever the cursor moved. A late report of a call that had expired
// does not bring it again.
func (l *Ledger) EndedCalls(ctx context.Context, q budget.CallQuery, from budget.CallCursor) ([]budget.Call, budget.CallCursor, error) {
	last, err := l.LastEnded(ctx)
	if err != nil {
		return nil, from, err
	}
	if from.Link > last.Link { // of a history that a restore took back
		from = last
	}
	calls, next, err := l.store.endedCalls(ctx, &q, from)
	if err != nil {
		return nil, from, fmt.Errorf("read calls: %w", err)
	}
	return calls, next, nil
}

func (s *store) endedCalls(ctx context.Context, q *budget.CallQuery, from budget.CallCursor) ([]budget.Call, budget.CallCursor, error) {
	var ids []int64
	var behind []budget.CallCursor // each of ids
	next := from
	err := s.each(ctx, `SELECT no, calls FROM link WHERE no > ? ORDER BY no`, []any{from.Link}, func(r *sql.Rows) error {
		var no uint64
		var list sql.RawBytes
		if err := r.Scan(&no, &list); err != nil {
			return err
		}
		for i, id := range decodeCalls(list) {
			if no == from.Link+1 && i < from.Calls {
				continue
			}
			ids, behind = append(ids, id), append(behind, budget.CallCursor{Link: no - 1, Calls: i + 1})
		}
		next = budget.CallCursor{Link: no}
		if len(ids) >= callSlice {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) || len(ids) == 0 {
		return nil, next, err
	}
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, from, err
	}
	r := callReader{query: q}
	f := r.filter()
	f.add("rid IN (SELECT value FROM json_each(?))", string(list))
	if err := each(ctx, s.read, callColumns+strings.Join(f.terms, " AND "), f.args, r.scan); err != nil {
		return nil, from, err
	}
	if err := r.nameBudgets(ctx, s.read); err != nil {
		return nil, from, err
	}
	at := make(map[budget.ReservationID]int, len(r.calls))
	for i := range r.calls {
		at[r.calls[i].ID] = i
	}
	var out []budget.Call
	for i, id := range ids {
		if j, ok := at[budget.ReservationID(id)]; ok {
			if out = append(out, r.calls[j]); len(out) == q.Limit {
				return out, behind[i], nil
			}
		}
	}
	return out, next, nil
}
