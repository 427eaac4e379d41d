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
