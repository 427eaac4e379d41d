package ledger_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/ledger"
)

func TestMatching(t *testing.T) {
	b := start(t)
	names := map[string]string{}
	set := func(target budget.Target, p budget.Period) {
		st, err := b.SetBudget(t.Context(), budget.Budget{Target: target, Period: p, Cap: 1_000_000}, budget.Author{Actor: "test"})
		if err != nil {
			t.Fatal(err)
		}
		names[st.ID] = fmt.Sprintf("%s%s %s", target.Tags, target.KeyID, p)
	}
	for _, p := range []budget.TagPattern{"**", "team/a", "team/**", "team/a/**", "team/a/b/**", "teams", "team/ab"} {
		set(budget.Target{Tags: p}, budget.Month)
	}
	set(budget.Target{Tags: "team/a"}, budget.Day)
	set(budget.Target{KeyID: "key_a"}, budget.Total)
	for _, tc := range []struct {
		tag  budget.Tag
		key  string
		want []string
	}{
		{"team", "k", []string{"** month", "team/** month"}},
		{"team/a", "k", []string{"** month", "team/** month", "team/a day", "team/a month", "team/a/** month"}},
		{"team/a/b", "k", []string{"** month", "team/** month", "team/a/** month", "team/a/b/** month"}},
		{"team/ab", "k", []string{"** month", "team/** month", "team/ab month"}},
		{"other", "k", []string{"** month"}},
		{"other", "key_a", []string{"** month", "key_a total"}},
		{"/", "k", []string{"** month"}},
	} {
		q := b.request(tc.tag, 1)
		q.KeyID = tc.key
		r, err := b.Reserve(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		all, err := b.ListBudgets("", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range all {
			if st.Reserved > 0 {
				got = append(got, names[st.ID])
			}
		}
		slices.Sort(got)
		if d := cmp.Diff(tc.want, got); d != "" {
			t.Errorf("tag %q, key %s (-want +got):\n%s", tc.tag, tc.key, d)
		}
		if len(r.Accounts) != len(tc.want) {
			t.Errorf("tag %q: %d accounts, want %d", tc.tag, len(r.Accounts), len(tc.want))
		}
		b.settle(budget.Settlement{Reservation: &r, Basis: budget.BasisReleased})
	}
	b.sound()
}

func TestTightestOfRefusingBudgets(t *testing.T) {
	b := start(t)
	b.budget("**", budget.Month, 1000)
	b.budget("a/**", budget.Month, 40)
	tight := b.budget("a", budget.Day, 20)
	b.budget("a", budget.Month, 90)
	e := b.refuse("a", 50, "cap_would_be_crossed")
	if e.Refusal.Budget.ID != tight.ID || e.Refusal.Remaining() != 20 || e.Kind != budget.KindBudgetExceeded {
		t.Errorf("refusal %+v, want the day's budget", e.Refusal)
	}
	if want := time.Date(2026, 4, 16, 0, 0, 0, 0, time.UTC); !e.Refusal.ResetsAt.Equal(want) {
		t.Errorf("resets at %v, want %v", e.Refusal.ResetsAt, want)
	}
	all, err := b.ListBudgets("", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range all {
		if st.Reserved != 0 {
			t.Errorf("%s holds %d of a refused call", st.Target.Tags, st.Reserved)
		}
	}
	if r := b.reserve("a", 15); r.Tightest.ID != tight.ID || r.Tightest.Remaining() != 5 {
		t.Errorf("tightest %+v", r.Tightest)
	}
}

func TestZeroCap(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 0)
	b.refuse("a", 1, "cap_reached")
	b.reserve("a", 0)
}

func TestBudgetLifecycle(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	r := b.reserve("a", 60)

	// Raised, cut below what is reserved, raised again.
	if got := b.budget("a", budget.Month, 200); got.ID != st.ID || got.Cap != 200 || got.Etag() == st.Etag() {
		t.Errorf("replaced budget is %+v", got)
	}
	b.reserve("a", 140)
	b.budget("a", budget.Month, 50)
	b.refuse("a", 1, "cap_held")
	if c := b.Counters(st.ID); c.HighWater > 200 {
		t.Errorf("mark %d after a cut, want at most what was used", c.HighWater)
	}
	b.budget("a", budget.Month, 201)
	b.reserve("a", 1)
	b.refuse("a", 1, "cap_held")

	now, up := b.updates(st)

	// Deleted under load, then set again: what was spent is not forgotten.
	b.settle(settlement(r, 30))
	if err := b.DeleteBudget(t.Context(), st.ID, now.Etag(), budget.Author{Actor: "test"}); asError(t, err).Kind != budget.KindConflict {
		t.Errorf("delete with a stale etag: %v", err)
	}
	if err := b.DeleteBudget(t.Context(), st.ID, up.Etag(), budget.Author{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.GetBudget(st.ID); asError(t, err).Kind != budget.KindNotFound {
		t.Errorf("deleted budget: %v", err)
	}
	free := b.reserve("a", 10_000)
	if free.Tightest != nil {
		t.Errorf("no budget matches, tightest is %+v", free.Tightest)
	}
	again := b.budget("a", budget.Month, 100)
	if again.ID == st.ID || again.Spent != 30 {
		t.Errorf("recreated budget is %+v, want 30 spent", again)
	}
	b.settle(settlement(free, 50)) // ran when it was set
	b.flush()
	b.want(again.ID, 80, 141)
	b.shut()
	b = reopen(t, b.dir, b.clock)
	b.want(again.ID, 80, 141)
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM audit WHERE actor = 'test'"); err != nil || n != 7 {
		t.Errorf("%d audit rows (%v), want 7", n, err)
	}
}

// updates edits a budget with an etag that is stale, one that is not, and none.
func (b *bench) updates(st budget.Status) (now, up budget.Status) {
	t := b.t
	t.Helper()
	_, err := b.UpdateBudget(t.Context(), st.ID, st.Etag(), func(*budget.Budget) error { return nil }, budget.Author{Actor: "test"})
	if e := asError(t, err); e.Kind != budget.KindConflict {
		t.Errorf("stale etag: %v", e)
	}
	if now, err = b.GetBudget(st.ID); err != nil {
		t.Fatal(err)
	}
	up, err = b.UpdateBudget(t.Context(), st.ID, now.Etag(), func(x *budget.Budget) error { x.Cap = 300; return nil }, budget.Author{Actor: "test"})
	if err != nil || up.Cap != 300 || up.CreateTime != st.CreateTime {
		t.Errorf("updated budget is %+v, %v", up, err)
	}
	_, err = b.UpdateBudget(t.Context(), st.ID, "", func(x *budget.Budget) error { x.Period = budget.Day; return nil }, budget.Author{Actor: "test"})
	if e := asError(t, err); e.Reason != "field_immutable" {
		t.Errorf("period change: %v", e)
	}
	return now, up
}

func TestDeletedBudgetsHoldsSettle(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	b.budget("**", budget.Month, 100)
	r := b.reserve("a", 60)
	if err := b.DeleteBudget(t.Context(), st.ID, "", budget.Author{Actor: "test"}); err != nil {
		t.Fatal(err)
	}
	b.flush()
	b = b.crash()
	b.settle(settlement(r, 10))
	b.flush()
	b.sound()
	if _, _, _, accounts := b.Sizes(); accounts != 1 {
		t.Errorf("%d accounts in memory, want 1", accounts)
	}
}

func TestInvalidBudgets(t *testing.T) {
	b := start(t)
	for _, bad := range []budget.Budget{
		{Period: budget.Month},
		{Period: budget.Month, Target: budget.Target{Tags: "a", KeyID: "k"}},
		{Target: budget.Target{Tags: "a"}},
		{Period: budget.Month, Target: budget.Target{Tags: "a"}, Cap: -1},
		{Period: budget.Month, Target: budget.Target{Tags: "a"}, Cap: budget.MaxAmount + 1},
		{Period: budget.Month, Target: budget.Target{Tags: "a"}, Zone: "Mars/Olympus"},
		{Period: budget.Month, Target: budget.Target{Tags: "/**"}},
	} {
		_, err := b.SetBudget(t.Context(), bad, budget.Author{Actor: "test"})
		if e := asError(t, err); e.Kind != budget.KindInvalid || e.Field == "" {
			t.Errorf("%+v: %v (%q)", bad, e, e.Field)
		}
	}
}

func TestListBudgetsPages(t *testing.T) {
	b := start(t)
	for i := range 5 {
		b.budget(budget.TagPattern(fmt.Sprint("t", i)), budget.Month, 1)
	}
	var ids []string
	for after := ""; ; {
		page, err := b.ListBudgets(after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, st := range page {
			ids = append(ids, st.ID)
		}
		after = page[len(page)-1].ID
	}
	if len(ids) != 5 || !slices.IsSorted(ids) {
		t.Errorf("listed %v", ids)
	}
}

func TestRolloverInDSTZone(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	// The day on which clocks go forward has 23 hours.
	day := time.Date(2026, 3, 29, 0, 0, 0, 0, berlin)
	b := reopen(t, t.TempDir(), &clock{t: day})
	st, err := b.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Day, Zone: "Europe/Berlin", Cap: 100}, budget.Author{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if got := st.Window.End.Sub(st.Window.Start); got != 23*time.Hour {
		t.Errorf("the day has %v", got)
	}
	b.clock.set(st.Window.End.Add(-30 * time.Second))
	flying := b.reserve("a", 80)
	b.clock.add(10 * time.Second)
	b.tick() // opens the next window ahead
	if _, _, _, accounts := b.Sizes(); accounts != 2 {
		t.Errorf("%d accounts, want the next window's too", accounts)
	}
	b.clock.set(st.Window.End.Add(-time.Millisecond))
	b.refuse("a", 30, "cap_held")
	b.clock.set(st.Window.End)
	next := b.reserve("a", 90)
	b.want(st.ID, 0, 90)
	b.clock.set(st.Window.End.Add(-time.Hour)) // the clock goes back: the window does not
	b.refuse("a", 30, "cap_held")
	b.want(st.ID, 0, 90)
	b.settle(settlement(flying, 70)) // settles where it was reserved
	b.settle(settlement(next, 40))
	b.flush()
	b.want(st.ID, 40, 0)
	spent, err := b.Count(t.Context(), `SELECT spent FROM account ORDER BY start LIMIT 1`)
	if err != nil || spent != 70 {
		t.Errorf("the ended day spent %d (%v), want 70", spent, err)
	}
	b.clock.set(st.Window.End.Add(48 * time.Hour))
	b.want(st.ID, 0, 0)
	b.reserve("a", 100)
}

func TestWindowTimeSurvivesRestart(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	b.clock.set(time.Date(2026, 5, 1, 0, 0, 1, 0, time.UTC))
	b.settle(settlement(b.reserve("a", 90), 90))
	b.flush()
	b.clock.set(april)
	b = b.crash()
	if got, err := b.GetBudget(st.ID); err != nil || got.Window.Start.Month() != time.May {
		t.Errorf("window %v (%v), want May", got.Window, err)
	}
	b.refuse("a", 11, "cap_would_be_crossed")
}

func TestCrashInEndedWindowSettles(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Day, 1000)
	r := b.reserve("a", 60)
	b.flush()
	b.clock.add(24 * time.Hour)
	b = b.crash()
	b.settle(settlement(r, 10))
	b.flush()
	b.want(st.ID, 0, 0)
	b.reserve("a", 1000)
	b.clock.add(6 * time.Minute)
	b.tick()
	b.sound()
}

func TestZoneChangeMovesTheBorder(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	b.settle(settlement(b.reserve("a", 60), 60))
	up, err := b.UpdateBudget(t.Context(), st.ID, "", func(x *budget.Budget) error { x.Zone = "America/New_York"; return nil }, budget.Author{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if up.Spent != 60 || !up.Window.End.Equal(time.Date(2026, 5, 1, 4, 0, 0, 0, time.UTC)) {
		t.Errorf("after the change: %+v", up)
	}
	b.flush()
	b = b.crash()
	got, err := b.GetBudget(st.ID)
	if err != nil || !got.Window.End.Equal(up.Window.End) {
		t.Errorf("after a crash: %+v, %v", got, err)
	}
	b.clock.set(up.Window.End)
	b.reserve("a", 100)
}

func TestPrune(t *testing.T) {
	b := start(t, func(c *ledger.Config) { c.Retention = time.Hour })
	st := b.budget("a", budget.Total, 1_000_000)
	settled := b.reserve("a", 60)
	b.settle(settlement(settled, 10))
	expiring := b.reserve("a", 60)
	b.clock.add(6 * time.Minute)
	b.tick()
	open := b.reserve("a", 60)
	b.clock.add(2 * time.Hour)
	b.Heartbeat(open.ID, "")
	if err := b.PruneNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM settle"); err != nil || n != 0 {
		t.Errorf("%d settled rows are left (%v)", n, err)
	}
	if _, expired, _, _ := b.Sizes(); expired != 0 {
		t.Errorf("%d expired holds are left", expired)
	}
	for _, r := range []budget.Reservation{settled, expiring} { // too late: as charged
		if b.IsOpen(r.ID) {
			t.Error("a pruned reservation counts as open")
		}
		b.settle(settlement(r, 1))
	}
	b.flush()
	b.want(st.ID, 70, 60)
	b = b.crash(func(c *ledger.Config) { c.Retention = time.Hour })
	b.clock.add(2 * time.Hour)
	b.Heartbeat(open.ID, "")
	if err := b.PruneNow(t.Context()); err != nil { // closes the dead epoch
		t.Fatal(err)
	}
	late := open
	late.ID += 1000
	if b.IsOpen(late.ID) {
		t.Error("a closed epoch takes late logs")
	}
	b.settle(settlement(open, 5))
	b.settle(settlement(late, 5))
	b.flush()
	if c := b.Counters(st.ID); c.Spent != 75 {
		t.Errorf("counters %+v, want 75 spent", c)
	}
	b = b.crash()
	if got := b.reserve("a", 1).ID >> 43; got != 3 {
		t.Errorf("epoch %d, want 3", got)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	b := start(t, func(c *ledger.Config) { c.Metrics, c.MetricBudgets = reg, 2 })
	for _, tag := range []budget.TagPattern{"a", "b", "c"} {
		b.budget(tag, budget.Month, budget.Dollar)
	}
	b.settle(settlement(b.reserve("a", budget.Cent), budget.Cent/2))
	b.reserve("a", budget.Cent)
	b.refuse("a", 2*budget.Dollar, "cap_would_be_crossed")
	b.flush()
	b.clock.add(time.Second)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	value := map[string]float64{}
	for _, f := range families {
		series[f.GetName()] = len(f.GetMetric())
		m := f.GetMetric()[0]
		value[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	if series["aig_budget_spent_usd"] != 2 {
		t.Errorf("%d budgets have metrics, want the limit of 2", series["aig_budget_spent_usd"])
	}
	for name, want := range map[string]float64{
		"aig_reservations_open": 1, "aig_reservation_oldest_open_seconds": 1, "aig_budgets": 3, "aig_ledger_up": 1,
		"aig_reservation_refusals_total": 1, "aig_reservations_expired_total": 0, "aig_bound_violations_total": 0,
	} {
		if value[name] != want {
			t.Errorf("%s is %v, want %v", name, value[name], want)
		}
	}
	b.shut()
	reopen(t, b.dir, b.clock, func(c *ledger.Config) { c.Metrics = reg }) // close unregistered them
}

// TestEndedWindowsAreDeleted: a budget by the day leaves a row a day, which goes
// with the rows of its calls. Books, chain, reports and restarts do without it.
func TestEndedWindowsAreDeleted(t *testing.T) {
	b := start(t)
	day := b.budget("a", budget.Day, 1000)
	idle := b.budget("b", budget.Day, 1000)
	b.settle(settlement(b.reserve("b", 10), 5))
	var late budget.Reservation
	for i := range 50 {
		b.settle(settlement(b.reserve("a", 60), 7))
		if i == 49 {
			late = b.reserve("a", 60)
		}
		b.flush()
		b.clock.add(24 * time.Hour)
		b.tick() // charges what is open
	}
	for range 3 {
		if err := b.PruneNow(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.accountRows(); got > 37 || got < 30 {
		t.Errorf("%d accounts of 51 are left, want those of 35 days", got)
	}
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM base WHERE account NOT IN (SELECT id FROM account)"); err != nil || n != 0 {
		t.Errorf("%d sums of deleted accounts are left, %v", n, err)
	}
	b.agree()
	b = b.crash()
	b.settle(settlement(late, 11)) // a late word on a window that is still there
	b.reserve("b", 1000)           // of the idle budget's new window
	b.reserve("a", 1000)
	b.flush()
	b.want(idle.ID, 0, 1000)
	b.want(day.ID, 0, 1000)
	b.clock.add(60 * 24 * time.Hour)
	b.tick()
	waitFor(t, func() bool {
		b.tick()
		if err := b.PruneNow(t.Context()); err != nil {
			t.Fatal(err)
		}
		return b.accountRows() <= 2
	})
	b.agree()
	b.want(day.ID, 0, 0)
	b.reserve("a", 1000)
	b.flush()
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM account a JOIN account b ON a.id < b.id AND a.budget = b.budget AND a.start = b.start"); err != nil || n != 0 {
		t.Errorf("%d windows have two accounts, %v", n, err)
	}
	b.agree()
	b.sound()
}

func (b *bench) accountRows() int64 {
	b.t.Helper()
	n, err := b.Count(b.t.Context(), "SELECT count(*) FROM account")
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}
