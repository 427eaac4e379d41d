package pricing

import (
	"slices"

	"aigateway/budget"
)

// usesFees is what is billed by use: as often as the provider counted, else as
// often as the bound allowed.
func (s *settlement) usesFees(u *usage, of prices) wide {
	sum := s.fees
	for i, f := range s.counted {
		uses, pico := f.uses, f.pico
		switch told := u.ran(f.kind); {
		case f.kind == feeSearchUnit:
			uses = u.units
		case f.kind == feeAudio && u.seconds.told:
			uses = u.seconds.n
		case told.told:
			uses = s.share(i, told.n)
		}
		if other, ok := of.fees[f.kind]; ok && f.kind != feeContainer {
			if pico = other; f.kind == feeAudio {
				pico = perSecond(other)
			}
		}
		sum = sum.plus(uses, pico)
	}
	return sum
}

// share is how many of n uses the i-th fee takes of those of its kind: the
// dearest first, which is also the one for more than the bound allowed.
func (s *settlement) share(i int, n int64) int64 {
	f := &s.counted[i]
	dearest := true
	all, before := int64(0), int64(0)
	for k := range s.counted {
		o := &s.counted[k]
		if o.kind != f.kind {
			continue
		}
		all += o.uses
		if k != i && (o.pico > f.pico || o.pico == f.pico && k < i) {
			dearest = false
			before += o.uses
		}
	}
	own := min(f.uses, max(0, n-before))
	if dearest {
		own += max(0, n-all)
	}
	return own
}

// ran is how often the tool with a kind of fee ran.
func (u *usage) ran(kind string) uses {
	for t, k := range toolFees() {
		if k == kind {
			return u.tools[t]
		}
	}
	return uses{}
}

// unpriced reports whether the provider did something that it bills apart and
// that the bound has no fee for: it drew images, or ran a tool unasked. Fetches
// are free of charge where they are reported.
func (s *settlement) unpriced(u *usage) bool {
	if u.hasCost {
		return false
	}
	for t, kind := range toolFees() {
		if tool(t) == webFetch || u.tools[t].n == 0 {
			continue
		}
		if !slices.ContainsFunc(s.counted, func(f countedFee) bool { return f.kind == kind }) {
			return true
		}
	}
	return u.unpriced
}

// allFees is every fee at the bound's number of uses.
func (p *pin) allFees() wide {
	sum := p.fees
	for _, f := range p.counted {
		sum = sum.plus(f.uses, f.pico)
	}
	return sum
}

// refusal is the fee for a request that the provider refused for its content.
func (s *settlement) refusal() budget.Amount {
	amount, _ := wide{}.plus(1, s.terms.refusal).nano()
	return amount
}
