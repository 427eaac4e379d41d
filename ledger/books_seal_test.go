package ledger_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/budget"
	"aigateway/ledger"
)

// calls settles n calls of a tag.
func (b *bench) calls(tag budget.Tag, n int) {
	b.t.Helper()
	for range n {
		b.n++
		r, err := b.Reserve(b.t.Context(), budget.Request{RequestID: fmt.Sprintf("call-%d", b.n), Bound: 5, Attribution: budget.Attribution{Tag: tag, Model: "p/m", Provider: "p"}})
		if err != nil {
			b.t.Fatal(err)
		}
		b.settle(settlement(r, 3))
	}
	b.flush()
}

func (b *bench) checked() *ledger.Recount {
	b.t.Helper()
	b.flush()
	r, err := b.Check(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, m := range r.Mismatches {
		b.t.Error(m)
	}
	return r
}

// TestCheckReadsWhatIsNew counts the rows that checks read: each row once, over a
// restart too, and the corrections of rows that were read before.
func TestCheckReadsWhatIsNew(t *testing.T) {
	b := start(t, ledger.WithoutWatch)
	b.budget("a", budget.Month, 1_000_000)
	audits := b.checked().Rows
	calls := int64(5000)
	if testing.Short() {
		calls = 500
	}
	b.calls("a", int(calls))
	if n := b.checked().Rows; n != calls {
		t.Errorf("the first check after %d calls read %d rows (%d before)", calls, n, audits)
	}
	b.calls("a", 7)
	if n := b.checked().Rows; n != 7 {
		t.Errorf("7 calls later a check read %d rows", n)
	}
	if n := b.checked().Rows; n != 0 {
		t.Errorf("with nothing new a check read %d rows", n)
	}
	late := b.reserve("a", 60)
	b.clock.add(6 * time.Minute)
	b.tick()
	if n := b.checked().Rows; n != 1 {
		t.Errorf("after an expiry a check read %d rows", n)
	}
	b.settle(settlement(late, 30))
	if n := b.checked().Rows; n != 1 {
		t.Errorf("after its correction a check read %d rows", n)
	}
	b = b.crash(ledger.WithoutWatch)
	b.calls("a", 3)
	if n := b.checked().Rows; n != 3 {
		t.Errorf("after a restart and 3 calls a check read %d rows", n)
	}
	if r, err := inspect(t, b.dir).Check(t.Context()); err != nil || r.Rows != calls+11 {
		t.Errorf("a full check read %+v, %v", r, err)
	}
	b.agree()
}

// TestSealedUsageChanges settles calls of long ago: their usage is sealed.
func TestSealedUsageChanges(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 1_000_000)
	b.calls("a", 10)
	b.calls("c", 10)
	late := b.reserve("a", 60)
	b.clock.add(5 * time.Hour)
	b.tick()
	b.agree() // seals what is older than two hours
	b.settle(settlement(late, 30))
	b.agree()
	b.clock.add(5 * time.Hour)
	b.agree()
	b = b.crash()
	b.agree()
	b.shut()
	b = reopen(t, b.dir, b.clock, func(c *ledger.Config) { c.Zone = zone(t, "Asia/Tokyo") })
	b.agree()
}

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// TestReadersLetTheJournalGo checkpoints the journal again and again while its
// rows are checked, verified and reported: no reader may keep it for the whole
// time.
func TestReadersLetTheJournalGo(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 1_000_000)
	each := 750
	if testing.Short() {
		each = 150
	}
	for i := range 40 {
		b.clock.add(7 * time.Hour)
		b.calls(budget.Tag(fmt.Sprint("t", i%3)), each)
	}
	head := b.agree()
	b.shut()
	i := inspect(t, b.dir)
	db, err := sql.Open("sqlite", filepath.Join(b.dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	slices := 0
	i.Between(func() {
		slices++
		var busy, log, moved int
		if _, err := db.ExecContext(t.Context(), `INSERT INTO meta (name, value) VALUES ('test', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1`); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRowContext(t.Context(), `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &log, &moved); err != nil || busy != 0 {
			t.Errorf("slice %d: somebody reads the journal (%v)", slices, err)
		}
	})
	want := 40 * each / ledger.SliceRows
	if r, err := i.Check(t.Context()); err != nil || len(r.Mismatches) > 0 || slices < want {
		t.Errorf("check in %d slices: %+v, %v", slices, r, err)
	}
	slices = 0
	if v, err := i.Verify(t.Context(), head); err != nil || len(v.Problems) > 0 || slices < want {
		t.Errorf("verify in %d slices: %+v, %v", slices, v, err)
	}
}

// TestBackupWhileCallsRun copies a ledger slice by slice while it changes: the
// copy is of one moment, and the journal was let go between the slices.
func TestBackupWhileCallsRun(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, budget.MaxAmount)
	b.budget("**", budget.Day, budget.MaxAmount)
	var late []budget.Reservation
	for i := range 4 {
		b.calls(budget.Tag(fmt.Sprint("t", i)), 200)
		late = append(late, b.reserve("a", 60), b.reserve("b", 60))
		b.clock.add(time.Hour)
		b.tick() // those expire
	}
	b.agree() // seals the first hours
	i := inspect(t, b.dir)
	i.Between(func() { // between two slices: late corrections of sealed usage, new calls, edits
		if len(late) > 0 {
			b.settle(settlement(late[0], 30))
			late = late[1:]
		}
		b.calls("a", 20)
		b.adjust(budget.Adjustment{Tag: "a", Amount: 15})
		b.budget(budget.TagPattern(fmt.Sprint("new", b.n)), budget.Month, 100)
	})
	dir := t.TempDir()
	if err := i.Backup(t.Context(), filepath.Join(dir, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	proven(t, dir)
	var result string
	db, err := sql.Open("sqlite", filepath.Join(dir, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), `PRAGMA integrity_check`).Scan(&result); err != nil || result != "ok" {
		t.Errorf("integrity: %s, %v", result, err)
	}
	if len(late) > 2 {
		t.Errorf("%d calls are left: too few slices to show anything", len(late))
	}
	b.agree()
}

// sameByTag compares the by-tag report with the one that adds up all usage.
func (b *bench) sameByTag(w budget.Window) {
	b.t.Helper()
	rows, err := b.UsageByTag(b.t.Context(), w, "")
	if err != nil {
		b.t.Fatal(err)
	}
	want := map[budget.Tag]budget.TagCost{}
	for _, r := range rows {
		want[r.Tag] = budget.TagCost{Tag: r.Tag, Requests: r.Requests, Cost: r.Cost}
	}
	got, err := b.TagCosts(b.t.Context(), w, "")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range got {
		if want[r.Tag] != r {
			b.t.Errorf("by tag: %+v, want %+v", r, want[r.Tag])
		}
	}
	if len(got) != len(want) {
		b.t.Errorf("by tag: %d rows, want %d", len(got), len(want))
	}
}

// TestSealedReports compares reports before, while and after their usage is
// sealed, over the end of a month.
func TestSealedReports(t *testing.T) {
	b := start(t)
	b.clock.set(time.Date(2026, 4, 30, 12, 0, 0, 0, time.UTC))
	april, may := april4(t), budget.Month.WindowAt(time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC), time.UTC)
	for i := range 24 {
		b.calls(budget.Tag(fmt.Sprint("t", i%5)), 3)
		if i%3 == 0 {
			b.checked()
		}
		b.sameByTag(april)
		b.sameByTag(may)
		b.sameByTag(budget.Window{Start: april.Start, End: may.End})
		b.clock.add(50 * time.Minute)
	}
	if got, err := b.TagCosts(t.Context(), april, "t1"); err != nil || len(got) != 1 || got[0].Tag != "t1" {
		t.Errorf("one tag: %v, %v", got, err)
	}
}

// leap sets the clock ahead, and lets it stay until it is believed.
func (b *bench) leap(to time.Time) {
	b.t.Helper()
	b.clock.set(to)
	b.tick()
	b.clock.add(6 * time.Minute)
	b.tick()
}

// TestUsageIsFolded keeps old usage by the day: days and months of UTC and of the
// gateway's zone stay exact, and what cannot be is refused.
func TestUsageIsFolded(t *testing.T) {
	tokyo := zone(t, "Asia/Tokyo")
	b := start(t, func(c *ledger.Config) { c.Zone, c.UsageMonths = tokyo, 2 })
	b.budget("**", budget.Total, budget.MaxAmount)
	first := time.Date(2026, 5, 1, 0, 0, 0, 0, tokyo)
	b.leap(first)
	for i := range 100 {
		b.calls(budget.Tag(fmt.Sprint("t", i%2)), 2)
		b.clock.add(time.Hour)
	}
	may := budget.Window{Start: first, End: time.Date(2026, 6, 1, 0, 0, 0, 0, tokyo)}
	query := func(w budget.Window, by budget.Dimension, z *time.Location) ([]budget.UsageRow, error) {
		return b.Usage(t.Context(), budget.UsageQuery{Window: w, Zone: z, GroupBy: []budget.Dimension{budget.ByTag, by}})
	}
	var before [][]budget.UsageRow
	day := budget.Window{Start: time.Date(2026, 5, 3, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 5, 6, 0, 0, 0, 0, time.UTC)}
	exact := func() (out [][]budget.UsageRow) {
		t.Helper()
		for _, c := range []struct {
			w budget.Window
			z *time.Location
		}{{may, tokyo}, {budget.Window{Start: first.Add(-15 * time.Hour), End: may.End.Add(9 * time.Hour)}, time.UTC}, {day, time.UTC}} {
			for _, by := range []budget.Dimension{budget.ByDay, budget.ByModel} {
				rows, err := query(c.w, by, c.z)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, rows)
			}
		}
		return out
	}
	before = exact()
	rows := func() int64 {
		n, err := b.Count(t.Context(), `SELECT count(*) FROM usage`)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	were := rows()
	b.leap(time.Date(2026, 8, 20, 0, 0, 0, 0, time.UTC)) // June is the oldest month that stays
	b.agree()                                            // only what is sealed is folded
	for range 20 {
		if err := b.PruneNow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if now := rows(); now > were/3 {
		t.Errorf("%d rows of %d are left", now, were)
	}
	if d := cmp.Diff(before, exact(), cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); d != "" {
		t.Errorf("reports changed (-before +after):\n%s", d)
	}
	b.sameByTag(may)
	b.agree()
	b.refusesFolded(query, may, tokyo)
	b = b.crash()
	b.agree()
}

// refusesFolded asks for what days of two zones cannot answer.
func (b *bench) refusesFolded(query func(budget.Window, budget.Dimension, *time.Location) ([]budget.UsageRow, error), may budget.Window, tokyo *time.Location) {
	t, first := b.t, may.Start
	t.Helper()
	berlin := zone(t, "Europe/Berlin")
	for name, c := range map[string]struct {
		w  budget.Window
		by budget.Dimension
		z  *time.Location
	}{
		"hours":               {may, budget.ByHour, tokyo},
		"another zone's days": {may, budget.ByDay, berlin},
		"a part of a day":     {budget.Window{Start: first, End: first.Add(30 * time.Hour)}, budget.ByModel, tokyo},
		"another zone's day":  {budget.Window{Start: time.Date(2026, 5, 3, 0, 0, 0, 0, berlin), End: may.End}, budget.ByModel, berlin},
	} {
		if _, err := query(c.w, c.by, c.z); err == nil || asError(t, err).Reason != "usage_folded" {
			t.Errorf("%s: %v, want usage_folded", name, err)
		}
	}
	later := budget.Window{Start: time.Date(2026, 7, 1, 0, 15, 0, 0, berlin), End: time.Date(2026, 8, 20, 0, 0, 0, 0, berlin)}
	if _, err := query(later, budget.ByHour, berlin); err != nil {
		t.Errorf("what is not folded: %v", err)
	}
}
