package budget

import (
	"testing"
	"time"
)

// TestUsagePartsDoNotOverlap has folds of one zone behind those of another, whose months
// end within days of the other: each quarter of an hour is in one part.
func TestUsagePartsDoNotOverlap(t *testing.T) {
	var folds UsageFolds
	for i, name := range []string{"Asia/Tokyo", "America/New_York", "UTC", "Asia/Kolkata"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		border := UsageFoldDue(time.Date(2026, time.Month(4+i), 20, 0, 0, 0, 0, time.UTC), 1, zone)
		folds = append(folds, UsageFold{Upto: border, Zone: zone})
	}
	parts := 0
	for q := folds[0].Upto - 40*96; q < folds.Upto()+96; parts++ {
		first, next := folds.Part(q)
		if first > q || next <= q || next-first > 96 {
			t.Fatalf("part [%d, %d) of %d", first, next, q)
		}
		if parts > 0 && first != q {
			t.Fatalf("part [%d, %d) begins before %d, where the last one ends", first, next, q)
		}
		for in := q; in < next; in++ {
			if a, b := folds.Part(in); a != first || b != next {
				t.Fatalf("%d is in part [%d, %d), %d in [%d, %d)", q, first, next, in, a, b)
			}
		}
		q = next
	}
	if parts < 100 {
		t.Errorf("%d parts", parts)
	}
}
