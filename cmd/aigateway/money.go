package main

import (
	"errors"
	"fmt"

	"aigateway/budget"
)

// parseDollars reads US dollars as a person types them, "500", "500.00" or
// "0.0375", exactly: at most nine decimals, no sign, no exponent, no
// separators. The error says what to write instead.
func parseDollars(s string) (budget.Amount, error) {
	nano, err := budget.ParseDecimal(s, 9)
	switch {
	case errors.Is(err, budget.ErrTooManyDecimals):
		return 0, fmt.Errorf("%q has more than nine decimals", s)
	case errors.Is(err, budget.ErrTooLarge) || budget.Amount(nano) > budget.MaxAmount:
		return 0, fmt.Errorf("%q is above the largest amount, %s", s, budget.MaxAmount)
	case err != nil:
		return 0, fmt.Errorf("%q is no amount of US dollars; write one such as 500.00", s)
	}
	return budget.Amount(nano), nil
}

// parseCap is parseDollars for a budget, which is kept in whole cents.
func parseCap(s string) (cents int64, err error) {
	a, err := parseDollars(s)
	if err != nil {
		return 0, err
	}
	if a%budget.Cent != 0 {
		return 0, fmt.Errorf("%q is no whole number of cents; write at most two decimals", s)
	}
	cents = int64(a / budget.Cent)
	if cents > budget.MaxCents {
		return 0, fmt.Errorf("%q is above the largest cap", s)
	}
	return cents, nil
}

// dollars shows cents as exact dollars, "500.00". It trusts no range: the
// number may come from any server.
func dollars(cents int64) string {
	sign, u := "", uint64(cents)
	if cents < 0 {
		sign, u = "-", -u
	}
	return fmt.Sprintf("%s%d.%02d", sign, u/100, u%100)
}
