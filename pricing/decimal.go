package pricing

import (
	"bytes"
	"math/bits"
	"strconv"

	"aigateway/budget"
)

// nanoUSD reads a JSON number of dollars exactly, rounding up to nano-USD.
func nanoUSD(raw []byte) (budget.Amount, bool) {
	mantissa, exponent, _ := bytes.Cut(bytes.ToLower(raw), []byte("e"))
	scale := 9
	if len(exponent) > 0 {
		e, err := strconv.Atoi(string(exponent))
		if err != nil || e < -400 || e > 400 {
			return 0, false
		}
		scale += e
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	if len(whole) == 0 || len(whole)+len(fraction) > 100 {
		return 0, false
	}
	digits := append(append(make([]byte, 0, 100), whole...), fraction...)
	scale -= len(fraction)
	var n uint64
	up := uint64(0)
	for i, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		if len(digits)-i <= -scale { // below a nano
			if c != '0' {
				up = 1
			}
			continue
		}
		hi, lo := bits.Mul64(n, 10)
		if hi != 0 || lo > uint64(budget.MaxAmount) {
			return 0, false
		}
		n = lo + uint64(c-'0')
	}
	for ; scale > 0 && n > 0; scale-- {
		if n > uint64(budget.MaxAmount)/10 {
			return 0, false
		}
		n *= 10
	}
	n += up
	return budget.Amount(n), n <= uint64(budget.MaxAmount)
}
