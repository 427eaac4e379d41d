package budget

import (
	"errors"
	"fmt"
	"strings"
)

// ParseAmount reads US dollars as String writes them, exactly: "500", "0.0375"
// or "-1.50", at most nine decimals, no exponent, no separators. field is what
// the error names.
func ParseAmount(field, s string) (Amount, error) {
	invalid := func(what string) (Amount, error) {
		return 0, Invalid("field_invalid", field, fmt.Sprintf("%s %s; write US dollars such as \"12.50\", with at most nine decimals", field, what))
	}
	text, negative := strings.CutPrefix(s, "-")
	nano, err := ParseDecimal(text, 9)
	switch {
	case s == "":
		return invalid("is missing")
	case errors.Is(err, ErrTooLarge) || Amount(nano) > MaxAmount:
		return invalid("is above the largest amount")
	case err != nil:
		return invalid("is no amount of US dollars")
	}
	if negative {
		nano = -nano
	}
	return Amount(nano), nil
}

// MaxDefaultTokens is the largest default output cap, in tokens; no call may
// ask for more either.
const MaxDefaultTokens = 10_000_000

// CheckDefaultMaxTokens checks the default output cap of a budget or a key.
func CheckDefaultMaxTokens(n int64) error {
	if n < 0 || n > MaxDefaultTokens {
		return Invalid("field_invalid", "default_max_tokens", fmt.Sprintf("default_max_tokens is %d; use a number of tokens from 1 to %d, or 0 for none", n, MaxDefaultTokens))
	}
	return nil
}

// SmallerDefault is the smaller of two default output caps, of which 0 is none.
func SmallerDefault(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
