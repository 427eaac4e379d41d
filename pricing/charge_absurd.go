package pricing

import "aigateway/budget"

// absurdly is how many times the most a call can cost is no bill any more.
const absurdly = 10

// limit cuts an absurd cost. Its counts are no counts of tokens either.
func (s *settlement) limit() {
	most := max(s.bound, s.fullContext(s.pinned()), s.fullContext(s.answered()))
	if most == 0 {
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
	long := of.maxOutput
	if long == 0 {
		long = of.context
	}
	r := at(of.rates, of.context)
	amount, ok := wide{}.plus(of.context, r.price(input)).plus(long, r.price(output)).times(s.multiplier(of.reach())).nano()
	if !ok {
		return budget.MaxAmount
	}
	return amount
}
