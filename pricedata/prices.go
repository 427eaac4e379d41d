package pricedata

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"aigateway/pricing"
)

// prices lays a source's price lists over the sheet's, from today on: what held
// before stays, because calls were settled by it.
func (c *comparison) prices(by claim, m *model) {
	days := futures(m.lists, c.today)
	for _, p := range c.sheet.Periods {
		if p.From.After(c.today) && !slices.Contains(days, p.From) {
			days = append(days, p.From)
		}
	}
	slices.SortFunc(days, time.Time.Compare)
	var out []pricing.Period
	for _, p := range c.sheet.Periods {
		if !p.From.After(c.today) {
			out = append(out, p)
		}
	}
	for _, d := range append([]time.Time{c.today}, days...) {
		old := periodAt(c.sheet.Periods, d)
		next := c.period(by, old, inForce(m.lists, d), d)
		last := len(out) - 1
		switch {
		case last >= 0 && samePrices(out[last], next):
			if d.Equal(c.today) || out[last].From.Equal(d) {
				out[last].Source, out[last].CheckedAt = next.Source, next.CheckedAt
			}
		case last >= 0 && out[last].From.Equal(d):
			out[last] = next
		default:
			out = append(out, next)
		}
	}
	c.sheet.Periods = out
}

// period is the price list of a day: old as far as new may not replace it.
func (c *comparison) period(by claim, old *pricing.Period, new *list, d time.Time) pricing.Period {
	if old == nil { // a model that is being added has no past
		old = &pricing.Period{}
		if d.Equal(c.today) {
			d = time.Time{}
		}
	}
	c.kept = false
	before := tiersOf(old.Rates)
	merged := c.tiers(by, old.CheckedAt, d, before, new.tiers)
	fees := maps.Clone(old.Fees)
	for _, name := range slices.Sorted(maps.Keys(new.fees)) {
		// A fee that the row lacks would allow what is refused without it.
		if was, ok := old.Fees[name]; ok || c.adding {
			if fees == nil {
				fees = map[string]int64{}
			}
			fees[name] = picoPerMicro * c.decide(by, old.CheckedAt, d, "fees."+name, was/picoPerMicro, new.fees[name]/picoPerMicro, trim)
		}
	}
	p := pricing.Period{From: d, Source: by.by, CheckedAt: by.date, Rates: ratesOf(merged), Fees: fees}
	switch {
	case samePrices(p, *old) && strings.Contains(old.Source, by.by): // others say so too
		p.Source, p.CheckedAt = old.Source, old.CheckedAt
	case !c.kept && !by.date.Before(old.CheckedAt):
	case samePrices(p, *old):
		p.Source, p.CheckedAt = old.Source, old.CheckedAt
	default:
		p.Source = by.by + " where dearer than " + old.Source
	}
	return p
}

// tiers is the dearer of two price lists for each number of input tokens, or
// what decide lets fall.
func (c *comparison) tiers(by claim, checked, d time.Time, old, new []tier) []tier {
	new = snap(new, old)
	kinds := map[string]bool{}
	starts := map[int64]bool{}
	for _, t := range slices.Concat(old, new) {
		starts[t.from] = true
		for kind := range t.rates {
			kinds[kind] = true
		}
	}
	var out []tier
	for _, from := range slices.Sorted(maps.Keys(starts)) {
		o, n := at(old, from), at(new, from)
		t := tier{from, map[string]int64{}}
		for _, kind := range pricing.Kinds() {
			_, was := o.rates[kind]
			is, says := n.rates[kind]
			switch {
			case !kinds[kind]:
			case !says || !was && enables(kind):
				if was {
					t.rates[kind] = o.rates[kind]
				}
			default:
				t.rates[kind] = c.decide(by, checked, d, tierField(kind, from), o.price(kind), is, trim)
			}
		}
		out = append(out, t)
	}
	return c.tidy(out, old)
}

// enables says that a price of its own allows what is refused without: an
// import must not.
func enables(kind string) bool {
	return kind == "input_audio" || kind == "input_image" || kind == "output_audio"
}

func tierField(kind string, from int64) string {
	if from == 0 {
		return kind
	}
	return fmt.Sprintf("%s from %d tokens", kind, from)
}

// snap moves a tier that starts one token after one of ours to it: sources
// differ in whether a threshold is the last token below or the first above,
// and ours is the dearer reading.
func snap(tiers, ours []tier) []tier {
	out := slices.Clone(tiers)
	for i := range out {
		if slices.ContainsFunc(ours, func(t tier) bool { return t.from == out[i].from-1 && t.from > 0 }) {
			out[i].from--
		}
	}
	return out
}

// tidy drops prices that only repeat their parent's and that the row did not
// have, and tiers that repeat the one before.
func (c *comparison) tidy(tiers, old []tier) []tier {
	for _, kind := range pricing.Kinds() {
		parent := pricing.Parent(kind)
		_, had := old[0].rates[kind]
		if had || parent == kind || slices.ContainsFunc(tiers, func(t tier) bool { return t.price(kind) != t.rates[parent] }) {
			continue
		}
		for _, t := range tiers {
			delete(t.rates, kind)
		}
	}
	return slices.CompactFunc(tiers, func(a, b tier) bool { return maps.Equal(a.rates, b.rates) })
}

func samePrices(a, b pricing.Period) bool {
	return slices.Equal(a.Rates, b.Rates) && maps.Equal(a.Fees, b.Fees)
}
