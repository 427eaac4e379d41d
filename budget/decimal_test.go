package budget_test

import (
	"errors"
	"strings"
	"testing"

	"aigateway/budget"
)

func TestParseDecimal(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "500": 500_000_000, "0.25": 250_000, "1.000001": 1_000_001, "007.5": 7_500_000, "9223372036854.775807": 1<<63 - 1} {
		if got, err := budget.ParseDecimal(s, 6); got != want || err != nil {
			t.Errorf("%s: %d, %v; want %d", s, got, err, want)
		}
	}
	for s, want := range map[string]error{
		"": budget.ErrNotDecimal, ".5": budget.ErrNotDecimal, "5.": budget.ErrNotDecimal, "-1": budget.ErrNotDecimal, "+1": budget.ErrNotDecimal, "1e3": budget.ErrNotDecimal,
		"1.2.3": budget.ErrNotDecimal, "1,5": budget.ErrNotDecimal, " 1": budget.ErrNotDecimal, "٣": budget.ErrNotDecimal,
		"1.0000000": budget.ErrTooManyDecimals, "9223372036854.775808": budget.ErrTooLarge, strings.Repeat("9", 100_000): budget.ErrTooLarge,
	} {
		if got, err := budget.ParseDecimal(s, 6); !errors.Is(err, want) {
			t.Errorf("%.20s: %d, %v; want %v", s, got, err, want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "1": 1e9, "6.5e-05": 65_000, "-0.0375": -37_500_000, "1E2": 1e11, "1e-10": 1, "0.0000000011": 2, "0e60": 0, "1e-60": 1,
		"007": 7e9, "1." + strings.Repeat("0", 99): 1e9} {
		r, err := budget.ParseNumber(s, 60)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if got, ok := budget.RoundUp(r, int64(budget.Dollar)); got != want || !ok {
			t.Errorf("%s: %d nano-USD, %v; want %d", s, got, ok, want)
		}
	}
	for _, s := range []string{"", ".", "1.", ".5", "1e", "1e61", "1e-61", "1e9999999999", "0x1p4", "1/2", "1_0", "inf", "--1", "+1", "1e1.5", "1e0x1", "1e1_0",
		"1.0_1", "1.5p3", strings.Repeat("1", 101), "1." + strings.Repeat("0", 100)} {
		if r, err := budget.ParseNumber(s, 60); err == nil {
			t.Errorf("%.20s is %v", s, r)
		}
	}
	r, err := budget.ParseNumber("1e60", 60)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := budget.RoundUp(r, 1); ok {
		t.Errorf("1e60 fits: %d", got)
	}
}
