package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"aigateway/budget"
)

// saved is all that the database has to say at a start.
type saved struct {
	snapshot
	clean        bool
	instance     string
	zone         string // IANA name; empty: none was ever named
	tokenKey     []byte
	spool        budget.SpoolPosition
	keys         []keyEntry
	lastRule     int64
	rulesVersion uint64 // of the store whose rules these are; 0: none
	// forgotten are epochs that were served and have no row: the database was
	// rolled back.
	forgotten []uint64

	ring, nextRing uint64      // salts of the last start's ring and of this one's; 0 is none
	tail           []savedHold // of open: what only the ring has
}

// load reads the database, large tables in parallel. What ended and is decided
// stays on disk: start-up does not grow with history.
func (s *store) load(ctx context.Context, wall int64) (*saved, error) {
	v := &saved{snapshot: snapshot{marks: map[uint64]uint64{}}}
	if err := s.loadMeta(ctx, v); err != nil {
		return nil, fmt.Errorf("read database: %w", err)
	}
	wall = max(wall, v.wall)
	parts := []func() error{
		func() error { return s.loadRules(ctx, v) },
		func() error { return s.loadAccounts(ctx, v, wall) },
		func() (err error) { v.open, err = s.loadHolds(ctx, "hold"); return err },
		func() error { return s.loadFinished(ctx, v) },
		func() (err error) { v.keys, err = s.loadKeys(ctx); return err },
	}
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() { errs[i] = part() })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("read database: %w", err)
	}
	return v, s.loadLeggedAccounts(ctx, v)
}

// each calls scan for every row of a query on the read pool.
func (s *store) each(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	return each(ctx, s.read, query, args, scan)
}

func (s *store) loadMeta(ctx context.Context, v *saved) error {
	err := s.each(ctx, `SELECT name, value FROM meta`, nil, func(r *sql.Rows) error {
		var name string
		var value any
		if err := r.Scan(&name, &value); err != nil {
			return err
		}
		n, _ := value.(int64)
		switch name {
		case "instance":
			v.instance, _ = value.(string)
		case "zone":
			v.zone, _ = value.(string)
		case "token_key":
			v.tokenKey, _ = value.([]byte)
		case "clean":
			v.clean = n == 1
		case "closed_epoch":
			v.closed = uint64(n)
		case "wall":
			v.wall = n
		case "rules":
			v.rulesVersion = uint64(n)
		case "last_account":
			v.lastAccount = n
		case "restored":
			text, _ := value.(string)
			if err := json.Unmarshal([]byte(text), &v.restored); err != nil {
				return fmt.Errorf("what the last restore held: %w", err)
			}
		case "ring":
			v.ring = uint64(n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = s.each(ctx, `SELECT epoch, seq FROM epoch`, nil, func(r *sql.Rows) error {
		var epoch, seq int64
		err := r.Scan(&epoch, &seq)
		v.marks[uint64(epoch)] = uint64(seq)
		v.epoch = max(v.epoch, uint64(epoch)+1)
		return err
	})
	v.epoch = max(v.epoch, v.closed+1)
	if err != nil {
		return err
	}
	return s.each(ctx, `SELECT file, offset FROM spool`, nil, func(r *sql.Rows) error {
		return r.Scan(&v.spool.File, &v.spool.Offset)
	})
}

func (s *store) loadRules(ctx context.Context, v *saved) error {
	zones := map[string]*time.Location{}
	err := s.each(ctx, `SELECT num, id, tags, key_id, period, zone, cap, create_time, update_time, default_max_tokens, default_max_tool_calls, counting FROM budget ORDER BY id`, nil, func(r *sql.Rows) error {
		b := &rule{}
		var created, updated int64
		if err := r.Scan(&b.num, &b.ID, (*string)(&b.Target.Tags), &b.Target.KeyID, (*int)(&b.Period), &b.Zone, (*int64)(&b.Cap), &created, &updated, &b.DefaultMaxTokens, &b.DefaultMaxToolCalls, &b.counting); err != nil {
			return err
		}
		if zones[b.Zone] == nil {
			loc, err := budget.ParseZone("time_zone", b.Zone)
			if err != nil {
				return fmt.Errorf("budget %s: %w", b.ID, err)
			}
			zones[b.Zone] = loc
		}
		b.loc, b.CreateTime, b.UpdateTime = zones[b.Zone], time.Unix(0, created).UTC(), time.Unix(0, updated).UTC()
		v.rules = append(v.rules, b)
		v.lastRule = max(v.lastRule, b.num)
		return nil
	})
	if err != nil {
		return err
	}
	// A number must not come back to life with an old account row.
	var last sql.NullInt64
	if err := s.read.QueryRowContext(ctx, `SELECT max(budget) FROM account`).Scan(&last); err != nil {
		return err
	}
	v.lastRule = max(v.lastRule, last.Int64)
	return nil
}

const accountColumns = `SELECT id, budget, start, "end", spent, orphan, residue, hw FROM account `

func (s *store) loadAccounts(ctx context.Context, v *saved, wall int64) error {
	var last sql.NullInt64
	if err := s.read.QueryRowContext(ctx, `SELECT max(id) FROM account`).Scan(&last); err != nil {
		return err
	}
	v.lastAccount = max(v.lastAccount, last.Int64)
	rows, err := s.accountRows(ctx, accountColumns+`WHERE "end" > ?`, wall)
	if err != nil {
		return err
	}
	undecided, err := s.accountRows(ctx, accountColumns+`WHERE (hw > spent OR residue > 0) AND +"end" <= ?`, wall)
	v.accounts = append(rows, undecided...)
	return err
}

func (s *store) accountRows(ctx context.Context, query string, args ...any) ([]accountRow, error) {
	var rows []accountRow
	err := s.each(ctx, query, args, func(r *sql.Rows) error {
		var a accountRow
		err := r.Scan(&a.id, &a.budget, &a.start, &a.end, (*int64)(&a.spent), (*int64)(&a.orphan), (*int64)(&a.residue), (*int64)(&a.hw))
		rows = append(rows, a)
		return err
	})
	return rows, err
}

// loadLeggedAccounts adds accounts of ended windows that a hold still needs.
func (s *store) loadLeggedAccounts(ctx context.Context, v *saved) error {
	have := make(map[int64]bool, len(v.accounts))
	for _, a := range v.accounts {
		have[a.id] = true
	}
	for _, list := range [][]savedHold{v.open, v.expired} {
		for i := range list {
			for _, id := range list[i].accounts {
				if have[id] {
					continue
				}
				have[id] = true
				rows, err := s.accountRows(ctx, accountColumns+`WHERE id = ?`, id)
				if err != nil {
					return fmt.Errorf("read accounts of holds: %w", err)
				}
				v.accounts = append(v.accounts, rows...)
			}
		}
	}
	return nil
}

// loadHolds reads "hold" or the expired rows of "settle", which keep the same
// columns.
func (s *store) loadHolds(ctx context.Context, table string) ([]savedHold, error) {
	where := ""
	if table == "settle" {
		where = " WHERE status = 1"
	}
	var holds []savedHold
	query := `SELECT rid, request_id, reserved_at, bound, unpriced, accounts, key_id, tag, model, provider, detail FROM ` + table + where + ` ORDER BY rid`
	err := s.each(ctx, query, nil, func(r *sql.Rows) error {
		var h savedHold
		var accounts, told sql.RawBytes
		if err := r.Scan((*uint64)(&h.id), &h.requestID, &h.reservedAt, (*int64)(&h.bound), &h.unpriced, &accounts,
			&h.attr.KeyID, (*string)(&h.attr.Tag), &h.attr.Model, &h.attr.Provider, &told); err != nil {
			return err
		}
		var err error
		if h.accounts, err = decodeAccounts(accounts); err != nil {
			return fmt.Errorf("%s %d: %w", table, h.id, err)
		}
		h.arithmetic = decodeDetail(told).arithmetic
		holds = append(holds, h)
		return nil
	})
	return holds, err
}

func (s *store) loadFinished(ctx context.Context, v *saved) error {
	var err error
	if v.expired, err = s.loadHolds(ctx, "settle"); err != nil {
		return err
	}
	err = s.each(ctx, `SELECT rid FROM settle WHERE status = 3`, nil, func(r *sql.Rows) error {
		var id uint64
		err := r.Scan(&id)
		v.orphaned = append(v.orphaned, budget.ReservationID(id))
		return err
	})
	if err != nil {
		return err
	}
	return s.each(ctx, `SELECT request_id FROM stray`, nil, func(r *sql.Rows) error {
		var k string
		err := r.Scan(&k)
		v.strays = append(v.strays, k)
		return err
	})
}

// begin makes the new epoch and what recovery held back durable, in one
// transaction, before anything is served.
func (s *store) begin(ctx context.Context, v *saved, held []accountRow, wall int64) error {
	return s.transaction(ctx, func() error {
		w := writer{ctx: ctx, s: &s.stmts}
		for i := range held {
			a := &held[i]
			w.exec(s.stmts.account, a.id, a.budget, a.start, a.end, int64(a.spent), int64(a.orphan), int64(a.residue), int64(a.hw))
		}
		for _, st := range dropUnanswered() {
			w.run(s.write, st)
		}
		for _, e := range v.forgotten {
			w.run(s.write, query{sql: `INSERT INTO epoch (epoch, seq, born) VALUES (?, 0, ?)`, args: []any{int64(e), wall}})
		}
		for i := range v.tail {
			h := &v.tail[i]
			w.exec(s.stmts.hold[0], int64(h.id), h.requestID, h.reservedAt, int64(h.bound), boolInt(h.unpriced), encodeAccounts(h.accounts),
				h.attr.KeyID, string(h.attr.Tag), h.attr.Model, h.attr.Provider, nil)
		}
		if v.exact {
			w.exec(s.stmts.mark, int64(v.marks[v.epoch-1]), int64(v.epoch-1))
		}
		w.run(s.write, query{sql: `INSERT INTO epoch (epoch, seq, born) VALUES (?, 0, ?)`, args: []any{int64(v.epoch), wall}})
		if v.restored != nil {
			note, err := noteRestored(v.restored) // recovery may have taken some out
			if err != nil {
				return err
			}
			w.run(s.write, note)
		}
		for _, m := range []struct {
			name  string
			value any
		}{{"instance", v.instance}, {"token_key", v.tokenKey}, {"zone", v.zone}, {"clean", int64(0)}, {"wall", wall}, {"ring", int64(v.nextRing)}} {
			w.run(s.write, query{sql: `INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, args: []any{m.name, m.value}})
		}
		return w.err
	})
}

// check looks for damage in the tables that money depends on, after an
// unclean end.
func (s *store) check(ctx context.Context) error {
	for _, table := range []string{"meta", "epoch", "budget", "account", "hold"} {
		var result string
		if err := s.read.QueryRowContext(ctx, "PRAGMA quick_check('"+table+"')").Scan(&result); err != nil {
			return fmt.Errorf("check table %s: %w", table, err)
		}
		if result != "ok" {
			return fmt.Errorf("table %s is damaged (%s); restore a backup of %s", table, result, databaseFile)
		}
	}
	return nil
}
