package pricing

import "aigateway/budget"

// cost is a report at the prices of the models that served it, or at the pinned
// ones where those are the least: within the bound, as that is no bill.
func (s *settlement) cost(u *usage, row prices) budget.Amount {
	if u.hasCost {
		return u.cost
	}
	amount := s.priced(u, row)
	if !s.floor {
		return amount
	}
	asked := settlement{pin: s.pin, ev: s.ev, bound: s.bound} // knows no other model
	own := asked.priced(u, s.pinned())
	if !s.has(pinUnbounded) {
		own = min(own, s.bound)
	}
	if own <= amount {
		return amount
	}
	for _, f := range asked.out.Flags {
		s.out.flag(f)
	}
	return own
}

// priced adds up a report. An amount too large to keep becomes the bound, or
// stays above it by being the largest amount there is.
func (s *settlement) priced(u *usage, row prices) budget.Amount {
	sum := s.partCost(&u.part, row, u)
	for i := range u.more {
		sum = sum.add(s.partCost(&u.more[i], row, u))
	}
	amount, ok := sum.add(s.usesFees(u, row)).nano()
	if !ok {
		return max(s.bound, budget.MaxAmount)
	}
	return amount
}

// partCost is one part's tokens, at its own price tier and service tier.
func (s *settlement) partCost(u *part, of prices, whole *usage) wide {
	if u.model != "" {
		of, _ = s.find(u.model, of)
	}
	billed := s.billed(whole, of)
	if factor := s.factor(whole.geo, &of); of.flatCache && factor.above(billed) {
		rest, read := *u, part{prompt: u.prompt}
		rest.counts[cacheRead], read.counts[cacheRead] = 0, u.counts[cacheRead]
		return s.tokens(&rest, of.rates, &s.out, input, bucketCount).times(billed).add(s.tokens(&read, of.rates, &s.out, cacheRead, cacheWrite).times(factor))
	}
	return s.tokens(u, of.rates, &s.out, input, bucketCount).times(billed)
}

// tokens sums the buckets from low up to high at the report's own price tier.
func (p *pin) tokens(u *part, list []rates, out *Outcome, low, high bucket) wide {
	var sum wide
	if len(list) == 0 { // of a model without a row
		return sum
	}
	r := at(list, u.prompt)
	for b := low; b < high; b++ {
		if n := u.counts[b]; n > 0 {
			if !r.priced(b) {
				out.flag(FlagBucketUnpriced)
			}
			sum = sum.plus(n, p.priceOf(r, b))
		}
	}
	return sum
}

// priceOf is a bucket's price. Long-lived writes without a price of their own
// cost at least what short-lived ones do.
func (p *pin) priceOf(r *rates, b bucket) int64 {
	if b == cacheWriteLong && !r.priced(b) {
		b = cacheWrite
	}
	return r.written(b)
}
