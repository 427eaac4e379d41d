package ledger_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/budget"
)

func spend(b *bench, tag budget.Tag, key, model string, cost budget.Amount, basis budget.Basis) {
	b.t.Helper()
	q := b.request(tag, 1000)
	q.KeyID, q.Model, q.Provider = key, model, model[:1]
	r, err := b.Reserve(b.t.Context(), q)
	if err != nil {
		b.t.Fatal(err)
	}
	b.settle(budget.Settlement{Reservation: &r, Basis: basis, Cost: cost, Tokens: budget.Tokens{Input: 1, CacheRead: 2, CacheWrite: 3, Output: 4}})
}

func TestUsage(t *testing.T) {
	b := start(t)
	spend(b, "a", "k1", "p/m", 5, budget.BasisUsage)
	spend(b, "a/x", "k1", "p/n", 7, budget.BasisUsage)
	b.clock.set(time.Date(2026, 4, 15, 22, 50, 0, 0, time.UTC)) // the 16th in Berlin
	spend(b, "a", "k2", "q/m", 9, budget.BasisUsage)
	spend(b, "b", "k2", "q/m", 0, budget.BasisProviderError)
	spend(b, "b", "k2", "q/m", 0, budget.BasisReleased)
	b.clock.set(time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)) // another month
	spend(b, "a", "k1", "p/m", 100, budget.BasisUsage)

	tokens := func(calls int64) budget.Tokens {
		return budget.Tokens{Input: calls, CacheRead: 2 * calls, CacheWrite: 3 * calls, Output: 4 * calls}
	}
	row := func(a budget.Attribution, requests, calls int64, cost budget.Amount) budget.UsageRow {
		return budget.UsageRow{Attribution: a, Requests: requests, Cost: cost, Tokens: tokens(calls)}
	}
	byTag, err := b.UsageByTag(t.Context(), april4(t), "")
	want := []budget.UsageRow{
		row(budget.Attribution{Tag: "a"}, 2, 2, 14), row(budget.Attribution{Tag: "a/x"}, 1, 1, 7), row(budget.Attribution{Tag: "b"}, 1, 2, 0),
	}
	if d := cmp.Diff(want, byTag); err != nil || d != "" {
		t.Errorf("by tag (%v, -want +got):\n%s", err, d)
	}
	byTag, err = b.UsageByTag(t.Context(), april4(t), "a/x")
	if d := cmp.Diff(want[1:2], byTag); err != nil || d != "" {
		t.Errorf("one tag (%v, -want +got):\n%s", err, d)
	}
	if byTag, err = b.UsageByTag(t.Context(), april4(t), "none"); err != nil || byTag == nil || len(byTag) != 0 {
		t.Errorf("unused tag: %v, %v; want an empty list", byTag, err)
	}

	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(h int) time.Time { return time.Date(2026, 4, 15, h, 0, 0, 0, berlin) }
	for _, tc := range []struct {
		name string
		q    budget.UsageQuery
		want []budget.UsageRow
	}{
		{"total", budget.UsageQuery{}, []budget.UsageRow{row(budget.Attribution{}, 4, 5, 21)}},
		{"subtree", budget.UsageQuery{Tags: "a/**"}, []budget.UsageRow{row(budget.Attribution{}, 3, 3, 21)}},
		{"model of a key", budget.UsageQuery{KeyID: "k1", GroupBy: []budget.Dimension{budget.ByModel}}, []budget.UsageRow{
			row(budget.Attribution{Model: "p/n"}, 1, 1, 7), row(budget.Attribution{Model: "p/m"}, 1, 1, 5)}},
		{"provider and key", budget.UsageQuery{Provider: "q", GroupBy: []budget.Dimension{budget.ByProvider, budget.ByKey}}, []budget.UsageRow{
			row(budget.Attribution{Provider: "q", KeyID: "k2"}, 2, 3, 9)}},
		{"days in a zone", budget.UsageQuery{Tags: "a", Zone: berlin, GroupBy: []budget.Dimension{budget.ByDay}}, []budget.UsageRow{
			{Time: at(0), Requests: 1, Cost: 5, Tokens: tokens(1)}, {Time: at(24), Requests: 1, Cost: 9, Tokens: tokens(1)}}},
		{"hours in a zone", budget.UsageQuery{Model: "p/m", Zone: berlin, GroupBy: []budget.Dimension{budget.ByHour}}, []budget.UsageRow{
			{Time: at(14), Requests: 1, Cost: 5, Tokens: tokens(1)}}},
	} {
		tc.q.Window = april4(t)
		got, err := b.Usage(t.Context(), tc.q)
		if d := cmp.Diff(tc.want, got); err != nil || d != "" {
			t.Errorf("%s (%v, -want +got):\n%s", tc.name, err, d)
		}
	}
	b.flush()
	b = b.crash()
	if again, err := b.UsageByTag(t.Context(), april4(t), ""); err != nil || cmp.Diff(want, again) != "" {
		t.Errorf("after a crash: %v, %v", again, err)
	}
}

func TestInvalidUsageQueries(t *testing.T) {
	b := start(t)
	for name, q := range map[string]budget.UsageQuery{
		"no end":     {Window: budget.Window{Start: april}},
		"reversed":   {Window: budget.Window{Start: april, End: april.Add(-time.Hour)}},
		"off a step": {Window: budget.Window{Start: april, End: april.Add(time.Hour)}},
		"dimension":  {Window: april4(t), GroupBy: []budget.Dimension{"colour"}},
	} {
		if _, err := b.Usage(t.Context(), q); asError(t, err).Kind != budget.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUsageTellsEstimates counts what was charged without the provider's word,
// and forgets it when the word comes late.
func TestUsageTellsEstimates(t *testing.T) {
	b := start(t)
	spend(b, "a", "k", "p/m", 5, budget.BasisUsage)
	spend(b, "a", "k", "p/m", 7, budget.BasisElapsed)
	spend(b, "a", "k", "p/m", 0, budget.BasisBound) // 1000
	spend(b, "a", "k", "p/m", 0, budget.BasisProviderError)
	expired := b.reserve("b", 300)
	b.clock.add(6 * time.Minute)
	b.tick()
	b.flush()
	estimates := func() map[budget.Tag][2]int64 {
		t.Helper()
		rows, err := b.UsageByTag(t.Context(), april4(t), "")
		if err != nil {
			t.Fatal(err)
		}
		got := map[budget.Tag][2]int64{}
		for _, r := range rows {
			got[r.Tag] = [2]int64{r.Estimated, int64(r.EstimatedCost)}
		}
		return got
	}
	if d := cmp.Diff(map[budget.Tag][2]int64{"a": {2, 1007}, "b": {1, 300}}, estimates()); d != "" {
		t.Errorf("estimates (-want +got):\n%s", d)
	}
	b.settle(settlement(expired, 40))
	b.flush()
	if d := cmp.Diff(map[budget.Tag][2]int64{"a": {2, 1007}, "b": {0, 0}}, estimates()); d != "" {
		t.Errorf("after the late log (-want +got):\n%s", d)
	}
	by, err := b.Usage(t.Context(), budget.UsageQuery{Window: april4(t), GroupBy: []budget.Dimension{budget.ByDay}, Zone: time.UTC})
	if err != nil || len(by) != 1 || by[0].Estimated != 2 || by[0].EstimatedCost != 1007 {
		t.Errorf("by day %+v, %v", by, err)
	}
}
