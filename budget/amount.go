package budget

import (
	"fmt"
	"math/bits"
	"strconv"
)

// Amount is money in nano-USD (1e-9 US dollars). It is never a float: sums of
// floats lose cents, and a cap that is almost kept is not kept.
type Amount int64

const (
	// Cent is one US cent.
	Cent Amount = 10_000_000
	// Dollar is one US dollar.
	Dollar = 100 * Cent
	// MaxAmount is the largest cap and the largest bound, 2^62 nano-USD
	// (about 4.6 billion dollars): the sum of any two fits an int64.
	MaxAmount Amount = 1 << 62
	// MaxCents is MaxAmount in whole cents.
	MaxCents = int64(MaxAmount / Cent)
)

// FromCents returns cents as an Amount. The error names field when cents is
// negative or above MaxCents.
func FromCents(field string, cents int64) (Amount, error) {
	if cents < 0 || cents > MaxCents {
		return 0, Invalid("field_invalid", field, fmt.Sprintf("%s is %d; use a whole number of cents from 0 to %d", field, cents, MaxCents))
	}
	return Amount(cents) * Cent, nil
}

// CeilCents is a in cents, rounded up once: what a row of a report shows.
func (a Amount) CeilCents() int64 {
	c := int64(a / Cent)
	if a%Cent > 0 {
		c++
	}
	return c
}

// Add returns a+b, and false when the sum passes MaxAmount.
func (a Amount) Add(b Amount) (Amount, bool) {
	s := a + b
	return s, s <= MaxAmount && s >= a == (b >= 0)
}

// Plus is a+b, at most MaxAmount and at least -MaxAmount.
func (a Amount) Plus(b Amount) Amount {
	switch s, fits := a.Add(b); {
	case fits:
		return max(s, -MaxAmount)
	case b < 0:
		return -MaxAmount
	}
	return MaxAmount
}

// MulDiv is a*b/c in 128 bits, at most MaxAmount; none is negative, and c is not 0.
func (a Amount) MulDiv(b, c int64) Amount {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(c) {
		return MaxAmount
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	return Amount(min(q, uint64(MaxAmount)))
}

// String is a in US dollars as an exact decimal with at least two decimals,
// without a currency sign: "500.00", "0.3225".
func (a Amount) String() string { return string(a.Append(make([]byte, 0, 24))) }

// Append appends a's String to dst: every answer to a client has three amounts.
func (a Amount) Append(dst []byte) []byte {
	u := uint64(a)
	if a < 0 {
		dst, u = append(dst, '-'), -u
	}
	dst = append(strconv.AppendUint(dst, u/uint64(Dollar), 10), '.')
	u %= uint64(Dollar)
	for unit, digits := uint64(Dollar)/10, 0; digits < 2 || u > 0; unit, digits = unit/10, digits+1 {
		dst = append(dst, '0'+byte(u/unit))
		u %= unit
	}
	return dst
}

// Display is a for a person: dollars with a sign, rounded up to the cent from
// one cent on and exact below, where rounding would hide the price of a call.
func (a Amount) Display() string {
	if a >= Cent {
		return "$" + (Amount(a.CeilCents()) * Cent).String()
	}
	return "$" + a.String()
}

// CeilNano divides an unsigned 128-bit number of pico-USD by 1,000, rounding
// up: the one rounding a request's cost gets. It reports false on a result
// above MaxAmount.
func CeilNano(hi, lo uint64) (Amount, bool) {
	lo, carry := bits.Add64(lo, 999, 0)
	hi, carry = bits.Add64(hi, 0, carry)
	if carry != 0 || hi >= 1000 {
		return 0, false
	}
	q, _ := bits.Div64(hi, lo, 1000)
	return Amount(q), q <= uint64(MaxAmount)
}
