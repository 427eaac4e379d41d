package postgres

import (
	"testing"
	"time"

	"aigateway/budget"
)

// TestWatch: only a silence that this process has heard counts, by its own clock.
func TestWatch(t *testing.T) {
	begin := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	old := begin.Add(-24 * time.Hour) // the store's clock says nothing here
	for name, tc := range map[string]struct {
		looks []int // minutes after begin
		back  int   // the look at which it was heard of again; 0: never
		want  bool  // gone at the last look
	}{
		"silent for so long":    {looks: []int{0, 5, 10}, want: true},
		"not yet":               {looks: []int{0, 5, 9}},
		"heard of meanwhile":    {looks: []int{0, 5, 10}, back: 1},
		"silent again":          {looks: []int{0, 5, 10, 15}, back: 1, want: true},
		"nobody looked":         {looks: []int{0, 15}},
		"nobody looked, so new": {looks: []int{0, 15, 20, 24}},
		"and then for so long":  {looks: []int{0, 15, 20, 25}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			w, seen, gone := watch{}, old, []budget.ReplicaStatus(nil)
			for i, minutes := range tc.looks {
				if i > 0 && i == tc.back {
					seen = seen.Add(time.Second)
				}
				now := begin.Add(time.Duration(minutes) * time.Minute)
				gone = w.gone([]budget.ReplicaStatus{{Replica: budget.Replica{ID: "live"}, Seen: now}, {Replica: budget.Replica{ID: "quiet"}, Seen: seen}}, now, 10*time.Minute, 6*time.Minute)
			}
			if got := len(gone) == 1 && gone[0].ID == "quiet"; got != tc.want || len(gone) > 1 {
				t.Errorf("gone: %+v, want %t", gone, tc.want)
			}
		})
	}
}

// TestPrune: what was acknowledged of a window is known until two days behind its end by
// the store's clock, whatever this machine's shows.
func TestPrune(t *testing.T) {
	end := time.Date(2020, 5, 1, 0, 0, 0, 0, time.UTC) // long ago here
	m := Member{told: map[budget.AccountName]told{{BudgetID: "a"}: {end: end.UnixNano()}}}
	for _, tc := range []struct {
		now  time.Time
		want int
	}{
		{end.Add(-time.Hour), 1}, {end.AddDate(0, 0, 2), 1}, {end.AddDate(0, 0, 2).Add(2 * time.Hour), 0},
	} {
		if m.prune(tc.now); len(m.told) != tc.want {
			t.Errorf("%d accounts at %s, want %d", len(m.told), tc.now, tc.want)
		}
	}
}
