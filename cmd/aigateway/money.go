package main

import (
	"fmt"
	"strconv"
	"strings"

	"aigateway/budget"
)

// parseDollars reads US dollars as a person types them, "500", "500.00" or
// "0.0375", exactly: at most nine decimals, no sign, no exponent, no
// separators. The error says what to write instead.
func parseDollars(s string) (budget.Amount, error) {
	whole, frac, point := strings.Cut(s, ".")
	if whole == "" || !digits(whole) || point && frac == "" || !digits(frac) {
		return 0, fmt.Errorf("%q is no amount of US dollars; write one such as 500.00", s)
	}
	if len(frac) > 9 {
		return 0, fmt.Errorf("%q has more than nine decimals", s)
	}
	nano, _ := strconv.ParseInt(frac+strings.Repeat("0", 9-len(frac)), 10, 64)
	dollars, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || dollars > int64(budget.MaxAmount/budget.Dollar) {
		return 0, fmt.Errorf("%q is above the largest amount, %s", s, budget.MaxAmount)
	}
	sum, ok := (budget.Amount(dollars) * budget.Dollar).Add(budget.Amount(nano))
	if !ok {
		return 0, fmt.Errorf("%q is above the largest amount, %s", s, budget.MaxAmount)
	}
	return sum, nil
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

func digits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
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
