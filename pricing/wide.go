package pricing

import (
	"errors"
	"fmt"
	"math/bits"

	"aigateway/budget"
)

// wide is an unsigned 128-bit sum of pico-USD (1e-12 US dollars). bad is
// sticky: a sum that once overflowed stays unusable.
type wide struct {
	hi, lo uint64
	bad    bool
}

// plus adds count × pico. Both must be at least 0; otherwise the sum is bad.
func (w wide) plus(count, pico int64) wide {
	if count < 0 || pico < 0 {
		w.bad = true
		return w
	}
	hi, lo := bits.Mul64(uint64(count), uint64(pico))
	return w.add(wide{hi: hi, lo: lo})
}

func (w wide) add(o wide) wide {
	var carry uint64
	w.lo, carry = bits.Add64(w.lo, o.lo, 0)
	w.hi, carry = bits.Add64(w.hi, o.hi, carry)
	w.bad = w.bad || o.bad || carry != 0
	return w
}

// times is ceil(w × r). Rounding up here and again in nano is the same as
// rounding up once: ceil(ceil(x)/1000) = ceil(x/1000).
func (w wide) times(r ratio) wide {
	if r.num == r.den {
		return w
	}
	hi, mid := bits.Mul64(w.hi, r.num)
	carry, lo := bits.Mul64(w.lo, r.num)
	mid, c := bits.Add64(mid, carry, 0)
	if hi != 0 || c != 0 || r.den == 0 {
		w.bad = true
		return w
	}
	q := wide{bad: w.bad}
	var rem uint64
	q.hi, rem = mid/r.den, mid%r.den
	q.lo, rem = bits.Div64(rem, lo, r.den)
	if rem > 0 {
		q = q.add(wide{lo: 1})
	}
	return q
}

// nano rounds up to nano-USD; false when the amount is too large to keep.
func (w wide) nano() (budget.Amount, bool) {
	if w.bad {
		return 0, false
	}
	return budget.CeilNano(w.hi, w.lo)
}

// ratio is an exact multiplier, reduced, with a denominator above 0.
type ratio struct{ num, den uint64 }

func one() ratio { return ratio{1, 1} }

func newRatio(num, den uint64) ratio {
	if g := gcd(num, den); g > 1 {
		return ratio{num / g, den / g}
	}
	return ratio{num, den}
}

// micro is a ratio that was read from a catalog, in millionths.
func (r ratio) micro() int64 { return int64(r.num * (1_000_000 / r.den)) }

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// times multiplies two ratios; false when the product does not fit.
func (r ratio) times(o ratio) (ratio, bool) {
	nh, n := bits.Mul64(r.num, o.num)
	dh, d := bits.Mul64(r.den, o.den)
	if nh != 0 || dh != 0 || d == 0 {
		return ratio{}, false
	}
	return newRatio(n, d), true
}

// product multiplies ratios; false when it does not fit.
func product(list ...ratio) (ratio, bool) {
	all, ok := one(), true
	for _, r := range list {
		if all, ok = all.times(r); !ok {
			return all, false
		}
	}
	return all, true
}

// above reports whether r > o. Parts of a catalog ratio are at most 1e9, so
// the products fit; a hostile pin's do not matter, its MAC was checked.
func (r ratio) above(o ratio) bool {
	ah, al := bits.Mul64(r.num, o.den)
	bh, bl := bits.Mul64(o.num, r.den)
	return ah > bh || ah == bh && al > bl
}

// ceil is n × r, rounded up; n must be at least 0. It saturates at MaxInt64.
func (r ratio) ceil(n int64) int64 {
	w := wide{lo: uint64(n)}.times(r)
	if w.bad || w.hi != 0 || w.lo > 1<<63-1 {
		return 1<<63 - 1
	}
	return int64(w.lo)
}

func (r ratio) String() string {
	if r.den == 1 {
		return fmt.Sprint(r.num)
	}
	return fmt.Sprintf("%d/%d", r.num, r.den)
}

// microDecimal reads a decimal number of at most 6 decimals as millionths,
// exactly: USD per million tokens become pico-USD per token. No sign, exponent
// or digit grouping.
func microDecimal(s string) (int64, error) {
	const limit = 1_000_000_000_000_000 // a billion
	n, err := budget.ParseDecimal(s, 6)
	switch {
	case errors.Is(err, budget.ErrTooManyDecimals):
		return 0, fmt.Errorf("%q has more than 6 decimals; round it up", clip(s))
	case errors.Is(err, budget.ErrTooLarge) || n > limit:
		return 0, fmt.Errorf("%q is too large; a billion is the most", clip(s))
	case err != nil:
		return 0, fmt.Errorf("%q is not a decimal number such as \"0.25\"", clip(s))
	}
	return n, nil
}

// clip shortens a client's or operator's text for an error message.
func clip(s string) string { return budget.Clip(s, 48) }
