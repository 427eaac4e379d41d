package pricing

import "aigateway/budget"

// nanoUSD reads a JSON number of dollars exactly, rounding up to nano-USD.
func nanoUSD(raw []byte) (budget.Amount, bool) {
	r, err := budget.ParseNumber(string(raw), 400)
	if err != nil || raw[0] == '-' { // a number is not empty
		return 0, false
	}
	n, ok := budget.RoundUp(r, int64(budget.Dollar))
	return budget.Amount(n), ok && budget.Amount(n) <= budget.MaxAmount
}
