package ledger_test

import (
	"testing"
	"time"

	"aigateway/ledger"
)

func TestDaysLeft(t *testing.T) {
	long := make([]int64, 100) // grows by 10 an hour in the last day only
	for i := range long {
		long[i] = int64(max(0, i-70) * 10)
	}
	for name, c := range map[string]struct {
		free  int64
		every time.Duration
		sizes []int64
		want  float64
	}{
		"at the start":     {100, time.Hour, []int64{50}, 3651},
		"no growth":        {100, time.Hour, []int64{50, 50, 40}, 3651},
		"a day of growth":  {100, 24 * time.Hour, []int64{50, 60}, 10},
		"hours of growth":  {2400, time.Hour, []int64{0, 10, 20}, 10},
		"of the last day":  {2400, time.Hour, long, 10},
		"no space":         {0, time.Hour, []int64{0, 10}, 0},
		"asked every tick": {2400, time.Minute, []int64{0, 1, 2, 3}, 2400 / (3.0 * 24 * 20)},
	} {
		if got := ledger.DaysLeft(c.free, c.every, c.sizes...); got < c.want*0.999 || got > c.want*1.001 {
			t.Errorf("%s: %v days, want %v", name, got, c.want)
		}
	}
}

func TestDiskEstimate(t *testing.T) {
	day := 24 * time.Hour
	few, many := ledger.DiskEstimate(10, 35*day, 13), ledger.DiskEstimate(1000, 35*day, 13)
	if few < 7e9 || few > 11e9 || many < 500e9 || many > 750e9 {
		t.Errorf("%d bytes at 10 calls/s, %d at 1,000", few, many)
	}
	if twice := ledger.DiskEstimate(1000, 70*day, 13); twice < many*19/10 {
		t.Errorf("%d bytes for twice the days, %d for once", twice, many)
	}
	if ledger.DiskEstimate(10, 35*day, 26) <= few {
		t.Error("more months take no more")
	}
}
