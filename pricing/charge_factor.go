package pricing

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// reach is the dearest factor that the call could have: of the region asked for.
func (of *prices) reach() ratio {
	if of.fixed.den > 0 {
		return of.fixed
	}
	if f, ok := product(of.terms.base, of.terms.geo, of.terms.peak); ok {
		return f
	}
	return one()
}

// factor is that of the region in the answer, else of the one asked for, and of
// the minutes in which the call ran. The hour that the bound was taken at is the
// dearest: a call does not begin before it is admitted.
func (s *settlement) factor(geo string, of *prices) ratio {
	if of.fixed.den > 0 {
		return of.fixed
	}
	t := of.terms
	if !s.ev.Start.IsZero() {
		if f := dearestPeak(t.peaks, s.ev.Start, s.ev.End); t.peak.above(f) {
			t.peak = f
		}
	}
	switch geo = strings.ToLower(geo); geo {
	case "", "not_available": // of models that run anywhere
	case "global":
		t.geo = one()
	default:
		i := slices.IndexFunc(t.geos, func(g namedRatio) bool { return g.name == geo })
		if i >= 0 {
			t.geo = t.geos[i].factor
			break
		}
		s.out.flag(FlagGeoUnpriced)
		for _, g := range t.geos {
			if g.factor.above(t.geo) {
				t.geo = g.factor
			}
		}
	}
	settled := prices{terms: t}
	return settled.reach()
}

// billed is the factor of the tier the provider says it billed; without a word
// from it, of the tier that was asked for.
func (s *settlement) billed(u *usage, of prices) ratio {
	var name string
	raw := s.ev.ServiceTier
	if raw == "null" || json.Unmarshal([]byte(raw), &name) != nil {
		name = u.tier
	}
	factor := s.factor(u.geo, &of)
	if name == "" && u.speed == "" {
		return s.multiplier(factor)
	}
	r := rules{tiers: of.tiers}
	best := ratio{}
	for _, tier := range [2]string{name, u.speed} {
		tier = strings.ToLower(tier)
		f, ok := r.tier(tier)
		if tier == "auto" && s.asked.above(f) { // not what was billed
			f = s.asked
		}
		if !ok {
			s.out.flag(FlagTierUnpriced)
			return s.dearestTier(factor, of.tiers)
		}
		if tier != "" && (best.den == 0 || f.above(best)) {
			best = f
		}
	}
	if f, ok := factor.times(best); ok {
		return f
	}
	return s.multiplier(factor)
}

// dearestTier is a factor with the dearest tier there is, known or asked for.
func (s *settlement) dearestTier(factor ratio, tiers []namedRatio) ratio {
	best := s.asked
	for _, t := range tiers {
		if t.factor.above(best) {
			best = t.factor
		}
	}
	if f, ok := factor.times(best); ok {
		return f
	}
	return s.multiplier(factor)
}

// multiplier is a factor with that of the service tier asked for.
func (p *pin) multiplier(factor ratio) ratio {
	f, ok := factor.times(p.asked)
	if !ok {
		return factor
	}
	return f
}
