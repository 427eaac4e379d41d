package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"aigateway/budget"
)

const actionRepair = "repair"

// Repair accepts, after a person looked at them, the totals that Check finds to
// differ from their rows, so that their budgets take calls again at the next
// start; the ledger of config.Dir must not be served. It returns what it
// accepted. What an account has spent is never lowered: what its rows do not
// explain is kept as it is, and what they have more is added. Usage reports stay
// as they are. Each acceptance is an audit row with its author and reason, which
// must not be empty.
func Repair(ctx context.Context, config Config, by budget.Author) (accepted []Mismatch, err error) {
	config.setDefaults()
	if !budget.Printable(by.Reason, budget.MaxReasonBytes) || !budget.Printable(by.Actor, 128) {
		return nil, budget.Invalid("field_invalid", "reason", fmt.Sprintf("a repair needs its author, and a reason of 1 to %d bytes of printable text", budget.MaxReasonBytes))
	}
	lock, err := takeLock(config.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	wall := config.Now().UnixNano()
	s, err := openStore(ctx, config.Dir, wall)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	commits, err := lock.commits()
	if err != nil {
		return nil, err
	}
	if commits > s.chain.commits {
		return nil, fmt.Errorf("%s lost its end (commit %d of %d); that is a rollback, which a repair cannot mend: put the newer file back, or use `aigateway ledger restore`", databaseFile, s.chain.commits, commits)
	}
	accepted, err = s.repair(ctx, by, wall)
	if err != nil {
		return nil, fmt.Errorf("repair the books: %w", err)
	}
	return accepted, lock.setCommits(s.chain.commits)
}

func (s *store) repair(ctx context.Context, by budget.Author, wall int64) ([]Mismatch, error) {
	var found *Recount
	w := s.writer(ctx)
	err := s.transaction(ctx, func() (err error) {
		if found, err = recount(ctx, s.write); err != nil {
			return err
		}
		if len(found.Mismatches) == 0 {
			return nil
		}
		for _, m := range found.Mismatches {
			w.run(s.write, w.book(auditRow(wall, by.Actor, actionRepair, m.subject(), map[string]any{
				"what": m.What, "stored": int64(m.Stored), "counted": int64(m.Counted), "reason": by.Reason,
			})))
		}
		if err := errors.Join(w.err, s.accept(ctx, found)); err != nil {
			return err
		}
		left, err := recount(ctx, s.write)
		if err == nil && len(left.Mismatches) > 0 {
			err = fmt.Errorf("%s: this cannot be accepted; restore a backup", left.Mismatches[0])
		}
		w.seal(wall)
		return errors.Join(err, w.err)
	})
	if err := s.committed(&w, err); err != nil {
		return nil, err
	}
	return found.Mismatches, nil
}

func (m *Mismatch) subject() string {
	switch {
	case m.BudgetID != "":
		return m.BudgetID
	case m.Account != 0:
		return fmt.Sprintf("account %d", m.Account)
	default:
		return "tag " + m.Tag
	}
}

// accept makes the totals agree with the rows. Amounts below zero go first, for
// the others are computed from them; the mark goes last.
func (s *store) accept(ctx context.Context, found *Recount) error {
	_, err := s.write.ExecContext(ctx, `UPDATE account SET spent = max(spent, 0), orphan = max(orphan, 0), residue = max(residue, 0)
		WHERE min(spent, orphan, residue) < 0`)
	if err != nil {
		return err
	}
	r, err := recount(ctx, s.write)
	if err != nil {
		return err
	}
	for _, m := range r.Mismatches {
		for _, st := range m.acceptance() {
			if _, err := s.write.ExecContext(ctx, st.sql, st.args...); err != nil {
				return err
			}
		}
	}
	if err := s.unseal(ctx); err != nil {
		return err
	}
	return s.raiseMarks(ctx)
}

// unseal makes the next check begin at the front.
func (s *store) unseal(ctx context.Context) error {
	_, err := s.write.ExecContext(ctx, `DELETE FROM sealed_account; DELETE FROM sealed_tag; DELETE FROM sealed_usage;
		UPDATE seal SET old = -1, link = listed, bucket = 0, tag = ''`)
	return err
}

// acceptance are the queries that accept m.
func (m *Mismatch) acceptance() []query {
	more := int64(m.Stored - m.Counted)
	switch {
	case m.What == whatSpent && more > 0:
		return []query{baseSQL(m.Account, more)}
	case m.What == whatSpent: // the mark, too: what it left undecided stays so
		return []query{{sql: `UPDATE account SET spent = spent + ?, hw = hw + ? WHERE id = ?`, args: []any{-more, -more, m.Account}}}
	case m.What == whatRequests:
		return []query{usageTagSQL(m.Tag, more, 0)}
	case m.What == whatCost:
		return []query{usageTagSQL(m.Tag, 0, more)}
	default:
		return nil
	}
}

// raiseMarks makes every mark cover what its account has used.
func (s *store) raiseMarks(ctx context.Context) error {
	held := newBooked()
	err := each(ctx, s.write, `SELECT bound, accounts FROM hold`, nil, func(r *sql.Rows) error {
		var bound int64
		var accounts sql.RawBytes
		if err := r.Scan(&bound, &accounts); err != nil {
			return err
		}
		return held.charge(bound, accounts)
	})
	if err != nil {
		return err
	}
	held.spread()
	if _, err := s.write.ExecContext(ctx, `UPDATE account SET hw = spent + orphan WHERE hw < spent + orphan`); err != nil {
		return err
	}
	for id, bound := range held.accounts {
		if _, err := s.write.ExecContext(ctx, `UPDATE account SET hw = spent + orphan + ?1 WHERE id = ?2 AND hw < spent + orphan + ?1`, int64(bound), id); err != nil {
			return err
		}
	}
	return nil
}
