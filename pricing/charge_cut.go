package pricing

import (
	"time"

	"aigateway/budget"
)

const (
	// lag is how long a provider may go on after its client left, with what it
	// holds on its way before that.
	lag = 2 * time.Second
	// unseen are tokens of a choice that have no byte: the marks that begin and end
	// it and its parts, and a character that is not whole.
	unseen = 32
	// drift is how far the clock that tells when output came may be off.
	drift = time.Second
)

// withoutReport charges a call whose final report never came: a stopped stream
// by its duration and by what was delivered, where the provider is known to stop
// and how fast it is at most; everything else at its bound. How fast another
// model is, nobody said.
func (s *settlement) withoutReport(u *reports) (budget.Basis, budget.Amount) {
	p, ev := s.pin, s.ev
	began := ev.Stream || ev.Status == 0 // a stream, or cut before the answer
	if !ev.Cut || !p.has(pinStream) || !p.has(pinElapsed) || !began || p.rate <= 0 || ev.Status >= 400 || ev.Duration < 0 || ev.Many || s.out.Served != "" {
		return budget.BasisBound, s.bound
	}
	generated, ok := p.generated(0, ev.Duration)
	if seen, told := s.delivered(); told && (!ok || seen < generated) {
		generated, ok = seen, true
	}
	if !ok {
		return budget.BasisElapsed, s.bound
	}
	sum := wide{}.plus(p.input, p.inPico)
	if u.prompt > 0 {
		sum = p.tokens(&u.part, p.rates, &Outcome{}, input, output)
	}
	amount, ok := sum.plus(generated, p.outPico).times(p.multiplier(p.factor)).add(p.allFees()).nano()
	if !ok {
		return budget.BasisElapsed, s.bound
	}
	return budget.BasisElapsed, min(s.bound, amount)
}

// delivered is the most output tokens that a stopped stream can have, by what was
// seen of it: each has a byte, but for a few, and what was not seen was generated
// since the last of it came. false: that cannot be told.
func (s *settlement) delivered() (int64, bool) {
	p, ev := s.pin, s.ev
	if !p.has(pinShown) || ev.Seen <= 0 || !ev.Stream || ev.Unread || ev.SeenAt.IsZero() {
		return 0, false
	}
	since := ev.End.Sub(ev.SeenAt)
	if since < -drift { // the clock was set, or nobody knows the end
		return 0, false
	}
	return p.generated(min(ev.Seen, maxCount)+p.choices*(unseen+min(p.held, maxCount)), max(since, 0))
}

// generated is the most output tokens of all choices, of which some are known and
// the rest came in a time and the lag; false when that is more than any answer has.
func (p *pin) generated(known int64, since time.Duration) (int64, bool) {
	n := wide{}.plus(p.rate*p.choices, int64(since+lag)).times(ratio{1, uint64(time.Second)})
	if n.bad || n.hi != 0 || n.lo > maxCount {
		return 0, false
	}
	return known + int64(n.lo), true
}
