package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"aigateway/budget"
)

// TestUsageSince: whoever adds up what it was told, page by page, has what the
// ledger reports, and hears of each later change once.
func TestUsageSince(t *testing.T) {
	b := start(t)
	spend(b, "alone", "k", "p/m", 3, budget.BasisUsage)
	b.flush()
	if err := b.ShareUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	type key struct {
		quarter int64
		budget.Attribution
	}
	told, place, pages := map[key]budget.UsageRow{}, uint64(0), 0
	catchUp := func(limit int) {
		t.Helper()
		for {
			rows, upTo, err := b.UsageSince(t.Context(), place, limit)
			if err != nil {
				t.Fatal(err)
			}
			if upTo == place {
				if len(rows) > 0 {
					t.Fatalf("%d rows, and no way on", len(rows))
				}
				return
			}
			pages++
			place = upTo
			for _, r := range rows {
				told[key{r.Quarter, r.Attribution}] = r.UsageRow
			}
		}
	}
	catchUp(10)
	if len(told) != 0 {
		t.Errorf("told of what was alone: %v", told)
	}
	for i := range 7 {
		spend(b, budget.Tag(fmt.Sprint("t", i)), "k", "p/m", budget.Amount(10+i), budget.BasisUsage)
		b.flush()
	}
	catchUp(2)
	if pages < 4 || len(told) != 7 {
		t.Errorf("%d pages of at most 2 rows told of %d", pages, len(told))
	}
	b.clock.add(time.Hour)
	spend(b, "t0", "k", "p/m", 5, budget.BasisUsage) // a row of its own
	spend(b, "t0", "k", "p/m", 6, budget.BasisUsage)
	spend(b, "alone", "k", "p/m", 4, budget.BasisUsage)
	pages = 0
	catchUp(100)
	sum := map[budget.Tag]budget.Amount{}
	for k, r := range told {
		sum[k.Tag] += r.Cost
	}
	if len(told) != 9 || sum["t0"] != 21 || sum["alone"] != 4 || sum["t6"] != 16 || pages != 1 {
		t.Errorf("%d rows in %d more pages, %v", len(told), pages, sum)
	}
}
