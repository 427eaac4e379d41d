package pricing

import "aigateway/budget"

// NanoUSD reads dollars of a report.
func NanoUSD(raw string) (budget.Amount, bool) { return nanoUSD([]byte(raw)) }

// MicroDecimal reads a price.
func MicroDecimal(s string) (int64, error) { return microDecimal(s) }

// CeilOf is n × num/den, rounded up.
func CeilOf(num, den uint64, n int64) int64 { return ratio{num, den}.ceil(n) }

// Above reports whether one ratio is greater than another.
func Above(num, den, otherNum, otherDen uint64) bool {
	return ratio{num, den}.above(ratio{otherNum, otherDen})
}

// Product multiplies two ratios.
func Product(num, den, otherNum, otherDen uint64) (n, d uint64, ok bool) {
	r, ok := ratio{num, den}.times(ratio{otherNum, otherDen})
	return r.num, r.den, ok
}

// PinAgain decodes a pin and encodes what it read.
func PinAgain(text string) (string, error) {
	p, err := decodePin(text)
	if err != nil {
		return "", err
	}
	return p.encode(), nil
}
