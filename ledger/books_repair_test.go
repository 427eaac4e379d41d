package ledger_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/ledger"
)

// TestRepair damages totals one way at a time, and accepts what a check finds.
func TestRepair(t *testing.T) {
	b, st := eventful(t)
	before := b.Counters(st.ID)
	b.shut()
	why := budget.Author{Actor: "ann", Reason: "looked at it"}
	for _, c := range []struct {
		sql   string
		spent budget.Amount // more than before
		fails string
	}{
		{sql: `UPDATE account SET spent = spent - 1, hw = hw - 1 WHERE id = 1`},
		{sql: `UPDATE account SET spent = spent + 3, hw = hw + 3 WHERE id = 1`, spent: 3},
		{sql: `UPDATE base SET amount = amount + 5 WHERE account = 1`, spent: 5},
		{sql: `UPDATE base SET amount = amount - 5 WHERE account = 1`},
		{sql: `UPDATE account SET residue = -1, spent = -7 WHERE id = 1`, spent: -before.Residue},
		{sql: `UPDATE account SET hw = 0 WHERE id = 1`},
		{sql: `DELETE FROM settle WHERE status = 0`},
		{sql: `UPDATE usage SET cost = cost - 1`},
		{sql: `UPDATE usage SET tag = tag || 'x'`},
		{sql: `UPDATE settle SET actual = actual + 2 WHERE status = 3`, spent: 2},
		{sql: `INSERT INTO hold SELECT rid, 'r', 1, 0, 0, x'', '', '', '', '', NULL FROM settle LIMIT 1`, fails: "open and finished"},
	} {
		dir := damaged(t, b.dir, c.sql)
		accepted, err := ledger.Repair(t.Context(), ledger.Config{Dir: dir, Now: b.clock.now}, why)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%s: %v, want %q", c.sql, err, c.fails)
			}
			continue
		}
		if err != nil || len(accepted) == 0 {
			t.Errorf("%s: accepted %v, %v", c.sql, accepted, err)
			continue
		}
		if again, err := ledger.Repair(t.Context(), ledger.Config{Dir: dir, Now: b.clock.now}, why); err != nil || len(again) != 0 {
			t.Errorf("%s: a second repair accepted %v, %v", c.sql, again, err)
		}
		after := reopen(t, dir, b.clock)
		if got, want := after.Counters(st.ID).Spent, before.Spent+c.spent; got != want {
			t.Errorf("%s: %d spent, want %d", c.sql, got, want)
		}
		if r, err := after.Check(t.Context()); err != nil || len(r.Mismatches) > 0 {
			t.Errorf("%s: the books still differ: %v, %v", c.sql, r, err)
		}
		after.reserve("a", 1)
		if noted := after.repairs(why); noted != len(accepted) {
			t.Errorf("%s: %d audit rows for %d repairs", c.sql, noted, len(accepted))
		}
		after.sound()
		after.shut()
	}
}

// damaged copies a data directory and runs a statement on the copy.
func damaged(t *testing.T, from, statement string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// repairs counts the repairs in the audit log.
func (b *bench) repairs(why budget.Author) (noted int) {
	b.t.Helper()
	log, err := b.AuditLog(b.t.Context(), 0, 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range log {
		if e.Action == "repair" && e.Actor == why.Actor && strings.Contains(e.Detail, why.Reason) {
			noted++
		}
	}
	return noted
}

func TestRepairIsRefused(t *testing.T) {
	b := start(t)
	if _, err := ledger.Repair(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, budget.Author{Actor: "ann", Reason: "why"}); err == nil || !strings.Contains(err.Error(), "another aigateway") {
		t.Errorf("while it is served: %v", err)
	}
	b.shut()
	_, err := ledger.Repair(t.Context(), ledger.Config{Dir: b.dir, Now: b.clock.now}, budget.Author{Actor: "ann"})
	if asError(t, err).Field != "reason" {
		t.Errorf("without a reason: %v", err)
	}
}
