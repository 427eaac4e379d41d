package budget_test

import (
	"testing"

	"pgregory.net/rapid"

	"aigateway/budget"
	_ "aigateway/internal/rapidtest"
)

func TestParseAmount(t *testing.T) {
	for s, want := range map[string]budget.Amount{
		"500": 500 * budget.Dollar, "0.0375": 37_500_000, "-1.50": -150 * budget.Cent, "0": 0, "0.000000001": 1,
	} {
		if got, err := budget.ParseAmount("amount", s); err != nil || got != want {
			t.Errorf("%q is %d (%v), want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-", ".", "1.", ".5", "+1", "--1", "1e3", "1,5", "0.0000000001", "4611686018.427387905", "99999999999999", "1 ", "NaN", "1.-5"} {
		if got, err := budget.ParseAmount("amount", s); err == nil {
			t.Errorf("%q is read as %d", s, got)
		}
	}
}

func TestParseAmountReadsWhatStringWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := budget.Amount(rapid.Int64Range(-int64(budget.MaxAmount), int64(budget.MaxAmount)).Draw(t, "amount"))
		if got, err := budget.ParseAmount("amount", a.String()); err != nil || got != a {
			t.Fatalf("%s is %d (%v), want %d", a, got, err, a)
		}
	})
}
