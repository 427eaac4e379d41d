package budget_test

import (
	"math"
	"testing"

	"aigateway/budget"
)

// Sums and products stop at the largest amount, and never go round.
func TestAmountArithmetic(t *testing.T) {
	const most = budget.MaxAmount
	for _, tt := range []struct {
		got, want budget.Amount
	}{
		{budget.Amount(1).Plus(2), 3}, {most.Plus(0), most}, {most.Plus(1), most}, {(most - 1).Plus(1), most}, {most.Plus(most), most},
		{budget.Amount(7).MulDiv(3, 2), 10}, {budget.Amount(0).MulDiv(5, 1), 0}, {budget.Amount(5).MulDiv(0, 1), 0}, {most.MulDiv(1, 1), most},
		{most.MulDiv(2, 1), most}, {most.MulDiv(math.MaxInt64, 1), most}, {most.MulDiv(math.MaxInt64, math.MaxInt64), most},
		{most.MulDiv(math.MaxInt64-1, math.MaxInt64), most - 1}, {budget.Amount(1).MulDiv(math.MaxInt64, math.MaxInt64), 1},
		{budget.Amount(math.MaxInt64).MulDiv(1, 1), most}, {budget.Amount(3).MulDiv(math.MaxInt64, 6), budget.Amount(math.MaxInt64 / 2).Plus(0)},
	} {
		if tt.got != tt.want {
			t.Errorf("%d, want %d", tt.got, tt.want)
		}
	}
	if s, ok := most.Add(1); ok {
		t.Errorf("%d fits", s)
	}
	if s, ok := most.Add(0); !ok || s != most {
		t.Errorf("%d does not fit", s)
	}
}
