package ledger_test

import (
	"testing"
	"time"

	"aigateway/budget"
)

// TestDayWithoutMidnight: Havana's clocks went from 23:59 to 01:00 that night.
// Calls are admitted all the time, on one account a day.
func TestDayWithoutMidnight(t *testing.T) {
	b := reopen(t, t.TempDir(), &clock{t: time.Date(2026, 3, 8, 3, 30, 0, 0, time.UTC)})
	st, err := b.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Day, Zone: "America/Havana", Cap: 1000}, budget.Author{Actor: "test"})
	if err != nil {
		t.Fatal(err)
	}
	midnight := time.Date(2026, 3, 8, 5, 0, 0, 0, time.UTC)
	spent := budget.Amount(0)
	for b.clock.now().Before(midnight.Add(2 * time.Hour)) {
		if b.clock.now().Equal(midnight) {
			spent = 0
		}
		b.settle(settlement(b.reserve("a", 2), 1))
		b.flush()
		spent++
		b.want(st.ID, spent, 0)
		b.clock.add(time.Minute)
		b.tick()
	}
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM account"); err != nil || n != 2 {
		t.Errorf("%d accounts (%v), want one for each of two days", n, err)
	}
}

// TestHoursTileTime: Lord Howe's clocks change by half an hour.
func TestHoursTileTime(t *testing.T) {
	zone, err := time.LoadLocation("Australia/Lord_Howe")
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []time.Time{ // 02:00 is 02:30; 02:00 is 01:30
		time.Date(2026, 10, 3, 15, 30, 0, 0, time.UTC), time.Date(2026, 4, 4, 15, 0, 0, 0, time.UTC),
	} {
		b := reopen(t, t.TempDir(), &clock{t: change.Add(-2 * time.Hour)})
		for b.clock.now().Before(change.Add(2 * time.Hour)) {
			b.settle(settlement(b.reserve("a", 2), 1))
			b.clock.add(15 * time.Minute)
		}
		rows, err := b.Usage(t.Context(), budget.UsageQuery{Zone: zone, GroupBy: []budget.Dimension{budget.ByHour},
			Window: budget.Window{Start: change.Add(-3 * time.Hour), End: change.Add(3 * time.Hour)}})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rows[:len(rows)-1] {
			if r.Requests != int64(rows[i+1].Time.Sub(r.Time)/(15*time.Minute)) {
				t.Errorf("%d calls from %s to %s, one each quarter of an hour", r.Requests, r.Time, rows[i+1].Time)
			}
		}
	}
}
