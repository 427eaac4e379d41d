package budget

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
)

// What ParseDecimal and ParseNumber refuse.
var (
	ErrNotDecimal      = errors.New("is no decimal number")
	ErrTooManyDecimals = errors.New("has too many decimals")
	ErrTooLarge        = errors.New("is too large")
)

// ParseDecimal reads a number as people write prices, "500" or "0.0375", exactly
// and in units of 10 to the power of -places, of which there are at most 18. It
// takes no sign, exponent or separator.
func ParseDecimal(s string, places int) (int64, error) {
	whole, frac, point := strings.Cut(s, ".")
	switch {
	case whole == "" || point && frac == "" || !digits(whole) || !digits(frac):
		return 0, ErrNotDecimal
	case len(frac) > places:
		return 0, ErrTooManyDecimals
	}
	n, err := strconv.ParseInt(whole+(frac + "000000000000000000")[:places], 10, 64)
	if err != nil {
		return 0, ErrTooLarge
	}
	return n, nil
}

// maxNumberDigits bounds a number before it is computed with.
const maxNumberDigits = 100

// ParseNumber reads a number as machines write it, "6.5e-05" or "-0.0375",
// exactly: at most 100 digits and an exponent of at most exponents either way, for
// a short one can mean megabytes of digits.
func ParseNumber(s string, exponents int) (*big.Rat, error) {
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(s), "e")
	whole, frac, point := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	if whole == "" || point && frac == "" || !digits(whole) || !digits(frac) || len(whole)+len(frac) > maxNumberDigits {
		return nil, ErrNotDecimal
	}
	if scientific {
		if n, err := strconv.Atoi(exponent); err != nil || n < -exponents || n > exponents {
			return nil, ErrNotDecimal
		}
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, ErrNotDecimal
	}
	return r, nil
}

// RoundUp is r × scale, rounded up to a whole number; false when it does not fit.
func RoundUp(r *big.Rat, scale int64) (int64, bool) {
	n := new(big.Rat).Mul(r, big.NewRat(scale, 1))
	up, rest := new(big.Int).QuoRem(n.Num(), n.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		up.Add(up, big.NewInt(1))
	}
	return up.Int64(), up.IsInt64()
}

func digits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}
