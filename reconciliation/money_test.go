package reconciliation_test

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"aigateway/budget"
	_ "aigateway/internal/rapidtest"
	"aigateway/reconciliation"
)

func TestParseDecimal(t *testing.T) {
	for s, want := range map[string]string{
		"0": "0", "0.06": "3/50", "-0.5": "-1/2", "6.25e-07": "1/1600000", "1E+2": "100", "0.8958740000000000": "447937/500000", "4611686018": "4611686018",
	} {
		if got, err := reconciliation.ParseDecimal(s); err != nil || got.RatString() != want {
			t.Errorf("%q is %v (%v), want %s", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-", ".", "1.", ".5", "+1", "--1", "1,5", "1_0", "0x1", "1/2", "NaN", "Inf", "1e", "1e999999999", "1e-61", "1e1.5", " 1", "4611686019", "1e16"} {
		if got, err := reconciliation.ParseDecimal(s); err == nil {
			t.Errorf("%q is read as %s", s, got.RatString())
		}
	}
}

func TestNearest(t *testing.T) {
	for s, want := range map[string]budget.Amount{"0.0000000004": 0, "0.0000000005": 1, "-0.0000000005": -1, "-0.0000000004": 0, "0.30000000000000004": 300_000_000, "1.2378912": 1_237_891_200} {
		r, err := reconciliation.ParseDecimal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := reconciliation.Nearest(r); !ok || got != want {
			t.Errorf("%s is %d, want %d", s, got, want)
		}
	}
}

// TestRoundedRowsAddUp: whatever a vendor's amounts are, the rows made of them
// add up to their rounded sum, and none is a nano-dollar off.
func TestRoundedRowsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		exact := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *big.Rat {
			return big.NewRat(rapid.Int64Range(-1e8, 1e8).Draw(t, "n"), rapid.Int64Range(1, 1e9).Draw(t, "d"))
		}), 0, 30).Draw(t, "exact")
		sum, total := new(big.Rat), budget.Amount(0)
		for i, a := range reconciliation.RoundAll(exact) {
			sum.Add(sum, exact[i])
			total += a
			off := new(big.Rat).Sub(big.NewRat(int64(a), 1e9), exact[i])
			if off.Abs(off).Cmp(big.NewRat(1, 1e9)) > 0 {
				t.Fatalf("row %d is %s for %s", i, a, exact[i].FloatString(15))
			}
		}
		if want, ok := reconciliation.Nearest(sum); !ok || total != want {
			t.Fatalf("rows add up to %s, the vendor's total is %s", total, want)
		}
	})
}

func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		amount := budget.Amount(rapid.Int64Range(-int64(budget.MaxAmount), int64(budget.MaxAmount)).Draw(t, "amount"))
		weights := rapid.SliceOfN(rapid.Int64Range(0, int64(budget.MaxAmount)), 1, 8).Draw(t, "weights")
		weights[0]++
		sum := budget.Amount(0)
		for i, p := range reconciliation.Split(amount, weights) {
			sum += p
			if weights[i] == 0 && p != 0 || p != 0 && (p < 0) != (amount < 0) {
				t.Fatalf("part %d of %d with weight %d is %d", i, amount, weights[i], p)
			}
		}
		if sum != amount {
			t.Fatalf("parts of %d add up to %d", amount, sum)
		}
	})
}
