package pricing

import "aigateway/budget"

// absurdly is how many times the most a call can cost is no bill any more.
const absurdly = 10

// limit cuts an absurd cost. Its counts are no counts of tokens either.
func (s *settlement) limit() {
	most := max(s.bound, s.fullContext(s.pinned()), s.fullContext(s.answered()))
	switch {
	case most > 0:
	case s.has(pinUnbounded) && len(s.rates) == 0:
		most = 100 * budget.Dollar // a bill without a price to compare it with
	default:
		most = budget.Dollar // all of it is free
	}
	if most = min(most, budget.MaxAmount/absurdly) * absurdly; s.out.Cost > most {
		s.out.Billed, s.out.Cost, s.out.Tokens = s.out.Cost, most, budget.Tokens{}
		s.out.flag(FlagAbsurd)
	}
}

// fullContext is what the model's limits cost: its whole context, and the
// longest answer it can give. What is unknown of them is 0, but an answer fits
// the context.
func (s *settlement) fullContext(of prices) budget.Amount {
	if len(of.rates) == 0 {
		return 0
	}
	context, long := of.context, of.maxOutput
	if context == 0 && s.has(pinUnbounded) {
		context = maxCap // nothing else says what is too much
	}
	if long == 0 {
		long = context
	}
	r := at(of.rates, context)
	amount, ok := wide{}.plus(context, r.price(input)).plus(long, r.price(output)).times(s.multiplier(of.reach())).nano()
	if !ok {
		return budget.MaxAmount
	}
	return amount
}
