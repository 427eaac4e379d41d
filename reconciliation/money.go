package reconciliation

import (
	"errors"
	"math/big"

	"aigateway/budget"
)

// errAmount says what an amount must look like.
var errAmount = errors.New("is no amount; want a decimal number such as 0.0375")

// parseDecimal reads a decimal exactly: OpenAI writes amounts as JSON numbers,
// exponents included, Anthropic as decimal strings. No float is made of either.
func parseDecimal(s string) (*big.Rat, error) {
	r, err := budget.ParseNumber(s, 60)
	if err != nil || len(s) > 80 {
		return nil, errAmount
	}
	if new(big.Rat).Abs(r).Cmp(big.NewRat(int64(budget.MaxAmount/budget.Dollar), 1)) > 0 {
		return nil, errors.New("is above the largest amount")
	}
	return r, nil
}

// dollars is parseDecimal of an amount in US dollars.
func dollars(s string) (*big.Rat, error) { return parseDecimal(s) }

// cents is parseDecimal of an amount in US cents: Anthropic's cost report
// documents "lowest currency units (e.g. cents)", "123.45" being $1.23.
func cents(s string) (*big.Rat, error) {
	r, err := parseDecimal(s)
	if err != nil {
		return nil, err
	}
	return r.Mul(r, big.NewRat(1, 100)), nil
}

// ratOf is a in dollars.
func ratOf(a budget.Amount) *big.Rat { return big.NewRat(int64(a), int64(budget.Dollar)) }

// rounder turns exact amounts into nano-dollars so that what it returned adds
// up to the rounded sum of what it was given: each amount is the step between
// two rounded sums. A row is at most one nano-dollar off, the total half of one.
type rounder struct {
	exact big.Rat
	given budget.Amount
}

// next rounds r. False: the sum is too large to keep.
func (o *rounder) next(r *big.Rat) (budget.Amount, bool) {
	o.exact.Add(&o.exact, r)
	sum, ok := nearest(&o.exact)
	step := sum - o.given
	o.given = sum
	return step, ok
}

// nearest rounds dollars to nano-dollars, halves away from zero.
func nearest(r *big.Rat) (budget.Amount, bool) {
	n := new(big.Int).Mul(r.Num(), big.NewInt(2*int64(budget.Dollar)))
	half := r.Denom()
	if n.Sign() < 0 {
		half = new(big.Int).Neg(half)
	}
	n.Add(n, half)
	n.Quo(n, new(big.Int).Mul(r.Denom(), big.NewInt(2))) // toward zero
	if !n.IsInt64() || n.Int64() > int64(budget.MaxAmount) || n.Int64() < -int64(budget.MaxAmount) {
		return 0, false
	}
	return budget.Amount(n.Int64()), true
}

// split divides a in proportion to the weights, which must not be negative and
// not all be 0. The parts add up to a.
func split(a budget.Amount, weights []int64) []budget.Amount {
	total := new(big.Int)
	for _, w := range weights {
		total.Add(total, big.NewInt(w))
	}
	parts := make([]budget.Amount, len(weights))
	sum, given := new(big.Int), int64(0)
	for i, w := range weights {
		sum.Add(sum, big.NewInt(w))
		upTo := new(big.Int).Mul(sum, big.NewInt(int64(a)))
		n := upTo.Quo(upTo, total).Int64()
		parts[i] = budget.Amount(n - given)
		given = n
	}
	return parts
}
