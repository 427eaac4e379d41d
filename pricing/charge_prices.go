package pricing

import "github.com/go-json-experiment/json"

// prices are what one part is charged at.
type prices struct {
	rates              []rates
	tiers              []namedRatio
	terms              pinTerms
	fixed              ratio            // of a pin without terms; a denominator of 0: it has them
	fees               map[string]int64 // of another model than the pinned, where it has them
	context, maxOutput int64
	flatCache          bool // a cheaper service tier does not make cache reads cheaper
}

// ratesFor picks the tier of an input; nil without prices.
func (p *pin) ratesFor(prompt int64) *rates {
	if len(p.rates) == 0 {
		return nil
	}
	return at(p.rates, prompt)
}

// answered finds the prices of the model that answered: the pinned ones, unless
// the catalog knows it as another model.
func (s *settlement) answered() prices {
	var name string
	if json.Unmarshal([]byte(s.ev.Model), &name) != nil {
		name = ""
	}
	of, slug := s.find(name, s.pinned())
	s.out.Served = slug
	return of
}

func (s *settlement) pinned() prices {
	of := prices{rates: s.rates, tiers: s.tiers, terms: s.terms, context: s.terms.context, maxOutput: s.terms.maxOutput, flatCache: s.has(pinFlatCache)}
	if !s.has(pinHasTerms) {
		of.fixed = s.pin.factor
	}
	return of
}

// find is the prices of a model by the name in the answer, and its slug when it
// is not the pinned one.
func (s *settlement) find(name string, own prices) (prices, string) {
	if name == "" || s.served == nil {
		return own, ""
	}
	m := s.served(name)
	switch {
	case m.Same:
		return s.pinned(), ""
	case m.Row == nil:
		s.out.flag(FlagServedUnknown)
		return own, ""
	}
	s.floor = s.floor || s.has(pinOwn) && !m.Row.own
	of := prices{rates: m.Row.tiers, tiers: m.Row.rules.tiers, fees: m.Row.fees, context: m.Row.Context, maxOutput: m.Row.MaxOutput, flatCache: m.Row.rules.flatCache}
	if !s.has(pinHasTerms) {
		if of.fixed = s.pin.factor; m.peak.above(of.fixed) {
			of.fixed = m.peak
		}
		return of, m.Slug
	}
	of.terms = pinTerms{base: s.terms.base, geo: s.terms.geo, geos: m.Row.rules.geoList, peak: m.peak, peaks: m.Row.rules.peaks}
	return of, m.Slug
}
