package pricing

import "aigateway/budget"

// Least is the bound of the call with an output cap of floor tokens in place of
// the one that was inserted into its body; false when that is not above floor, or
// the client sent one, which is never touched.
func (b *Bound) Least(floor int64) (budget.Amount, bool) {
	if b.InjectedCap <= floor {
		return 0, false
	}
	return b.sum.total(floor, 0)
}

// Within is the bound with the largest inserted cap, from floor tokens to the one
// that is inserted now, that costs at most room; negative when there is none.
func (b *Bound) Within(room budget.Amount, floor int64) budget.Amount {
	limit, ok := b.capWithin(room, floor)
	if !ok {
		return -1
	}
	amount, _ := b.sum.total(limit, 0)
	return amount
}

func (b *Bound) capWithin(room budget.Amount, floor int64) (int64, bool) {
	return lastFitting(floor, b.InjectedCap, func(limit int64) bool {
		amount, ok := b.sum.total(limit, 0)
		return ok && amount <= room
	})
}

// Shrink lowers the inserted cap to the largest whose bound is at most held,
// which Within gave.
func (q *Quote) Shrink(held budget.Amount) {
	b := q.Bound
	limit, ok := b.capWithin(held, 1)
	if !ok {
		panic("pricing: no output cap has the bound that is held")
	}
	b.sum.limit, b.InjectedCap = limit, limit
	b.Amount, _ = b.sum.total(limit, 0)
	q.Model.edit(b, q.Call)
}
