package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/ledger"
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
			rows, upTo, err := b.UsageSince(t.Context(), place, limit, nil)
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

// usageStore is what a store has that is told of a ledger's usage.
type usageStore struct {
	*bench
	rows map[usageOf]budget.UsageRow
}

type usageOf struct {
	quarter int64
	budget.Attribution
}

// tell tells what changed since a place, with what the store keeps by the day, and
// returns the place behind it.
func (s *usageStore) tell(place uint64, folds budget.UsageFolds) uint64 {
	s.t.Helper()
	for {
		rows, upTo, err := s.UsageSince(s.t.Context(), place, 7, folds)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, r := range rows {
			if first, next := folds.Part(r.Quarter); r.Quarter != first || r.Next != 0 && r.Next != next || r.Next == 0 && r.Quarter < folds.Upto() {
				s.t.Fatalf("told of %d to %d, a part of %d to %d", r.Quarter, r.Next, first, next)
			}
			for q := r.Quarter + 1; q < r.Next; q++ {
				delete(s.rows, usageOf{q, r.Attribution})
			}
			s.rows[usageOf{r.Quarter, r.Attribution}] = r.UsageRow
		}
		if upTo == place {
			return place
		}
		place = upTo
	}
}

// same wants that the store has what the ledger reports.
func (s *usageStore) same(when string) {
	s.t.Helper()
	w := budget.Window{Start: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)}
	costs, err := s.TagCosts(s.t.Context(), w, "")
	if err != nil {
		s.t.Fatal(err)
	}
	sums := map[budget.Tag]budget.Amount{}
	for k, r := range s.rows {
		sums[k.Tag] += r.Cost
	}
	for _, c := range costs {
		if sums[c.Tag] != c.Cost {
			s.t.Errorf("%s: told that %s cost %d, not %d", when, c.Tag, sums[c.Tag], c.Cost)
		}
	}
	if len(costs) != 3 {
		s.t.Errorf("%v", costs)
	}
}

// hours spends once in each of so many, for one of three tags.
func (s *usageStore) hours(n int) {
	for i := range n {
		spend(s.bench, budget.Tag(fmt.Sprint("t", i%3)), "k", "p/m", budget.Amount(10+i), budget.BasisUsage)
		s.clock.add(time.Hour)
	}
}

// pruned is how many rows of usage the ledger has after it pruned and folded.
func (s *usageStore) pruned() int64 {
	s.t.Helper()
	for range 20 {
		if err := s.PruneNow(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
	n, err := s.Count(s.t.Context(), `SELECT count(*) FROM usage`)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// TestSharedUsageIsFoldedLikeTheStores: with a store, usage is folded where the store
// has folded it and nowhere else, and whatever is told again, from wherever on, before
// or after that, is what was booked: parts of days in all, where the store keeps those.
func TestSharedUsageIsFoldedLikeTheStores(t *testing.T) {
	tokyo := zone(t, "Asia/Tokyo")
	s := &usageStore{start(t, func(c *ledger.Config) { c.Zone, c.UsageMonths = tokyo, 2 }), map[usageOf]budget.UsageRow{}}
	if err := s.ShareUsage(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.leap(time.Date(2026, 5, 1, 0, 0, 0, 0, tokyo))
	s.hours(60)
	place := s.tell(0, nil)
	s.same("by the quarter of an hour")
	s.hours(41) // which nobody is told before it is folded
	s.leap(time.Date(2026, 8, 20, 0, 0, 0, 0, time.UTC))
	s.agree() // only what is sealed is folded
	if n := s.pruned(); n != 101 {
		t.Fatalf("%d rows: folded before the store", n)
	}
	july := time.Date(2026, 7, 1, 0, 0, 0, 0, tokyo).UnixNano() / int64(15*time.Minute)
	folds := budget.UsageFolds{{Upto: july, Zone: tokyo}}
	s.tell(0, folds) // the place was lost
	s.same("the store has folded")
	s.FollowFolds(budget.UsageFolds{{Upto: july, Zone: zone(t, "Europe/Berlin")}})
	if n := s.pruned(); n != 101 {
		t.Fatalf("%d rows: folded by days of another zone than that of the sealed months", n)
	}
	s.FollowFolds(folds)
	if n := s.pruned(); n > 40 {
		t.Errorf("%d rows of 101 are left", n)
	}
	s.tell(place, folds)
	s.same("folded here before it was told")
	s.hours(5)
	s.tell(0, folds)
	s.same("all again")
	if got, err := s.UsageFolds(t.Context()); err != nil || len(got) != 1 || got[0].Upto > july || got[0].Zone.String() != tokyo.String() {
		t.Errorf("%v, %v", got, err)
	}
	if _, _, err := s.UsageSince(t.Context(), 0, 7, nil); err == nil {
		t.Error("a store that has not folded yet is told of parts of days")
	}
	s.agree()
}
