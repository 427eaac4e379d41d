package pricedata

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"aigateway/pricing"
)

// unlimited stands for a limit nobody knows: none is applied, so knowing one is
// a fall.
const unlimited = math.MaxInt64

// limits takes over the larger of what the sources say.
func (c *comparison) limits(all []sourced) {
	var context, maxOutput int64
	var names []string
	var by claim
	for _, x := range all {
		if x.model.context == 0 && x.model.maxOutput == 0 {
			continue
		}
		context, maxOutput = max(context, x.model.context), max(maxOutput, x.model.maxOutput)
		names = append(names, x.source.String())
		if by.date.IsZero() || x.source.Date.Before(by.date) {
			by.date = x.source.Date
		}
	}
	c.kept = false
	l := &c.sheet.Limits
	before := *l
	by.by = strings.Join(names, " and ")
	switch {
	case context == 0 && l.Context > 0:
		by.by += " for max_output"
	case maxOutput == 0 && l.MaxOutput > 0:
		by.by += " for context"
	}
	if context > 0 {
		l.Context = c.limit(by, "limits.context", l.Context, context)
	}
	if maxOutput > 0 && c.generates() {
		l.MaxOutput = c.limit(by, "limits.max_output", l.MaxOutput, maxOutput)
	}
	changed := l.Context != before.Context || l.MaxOutput != before.MaxOutput
	if len(names) > 0 && !by.date.Before(l.CheckedAt) && (changed || !c.kept) {
		l.Source, l.CheckedAt = by.by, by.date
	}
}

func (c *comparison) limit(by claim, field string, old, new int64) int64 {
	if old == 0 {
		old = unlimited
	}
	n := c.decide(by, c.sheet.Limits.CheckedAt, time.Time{}, field, old, new, func(n int64) string {
		if n == unlimited {
			return ""
		}
		return strconv.FormatInt(n, 10)
	})
	if n == unlimited {
		return 0
	}
	return n
}

// generates says that the model writes text: what sources call the output of
// others is no number of tokens.
func (c *comparison) generates() bool {
	return len(c.sheet.Endpoints) == 0 || slices.ContainsFunc(c.sheet.Endpoints, func(e pricing.Endpoint) bool {
		return e.CapField() != ""
	})
}

// one is a factor of 1, in millionths; most is the largest a row may have.
const (
	one  = 1_000_000
	most = 1_000 * one
)

// factor is the least multiple of base, in millionths, that is nowhere below
// other, for the kinds other names; ok is false without one.
func factor(base, other []tier) (micro int64, ok bool) {
	starts := map[int64]bool{}
	for _, t := range slices.Concat(base, other) {
		starts[t.from] = true
	}
	for from := range starts {
		b, o := at(base, from), at(other, from)
		for kind, price := range o.rates {
			unit := b.price(kind)
			switch {
			case price == 0:
			case unit == 0:
				return 0, false
			default: // prices are below 1e12, so this fits
				micro = max(micro, (price*one+unit-1)/unit)
			}
		}
	}
	return micro, micro <= most
}

// windows are the lists of single hours that hold beside base: those after it.
func windows(lists []list, base *list) []pricing.Peak {
	var out []pricing.Peak
	after := false
	for i := range lists {
		l := &lists[i]
		after = after || l == base
		if !after || !l.windowed() {
			continue
		}
		micro, _ := factor(base.tiers, l.tiers) // windowsUnfit refused what has none
		from, to := l.window[0], l.window[1]
		if from < to {
			out = append(out, pricing.Peak{From: from, To: to, Micro: micro})
			continue
		}
		out = append(out, pricing.Peak{From: from, To: 24 * 60, Micro: micro}, pricing.Peak{From: 0, To: to, Micro: micro})
	}
	return out
}

func windowsUnfit(lists []list, base *list) string {
	for i := range lists {
		if l := &lists[i]; l.windowed() {
			if _, ok := factor(base.tiers, l.tiers); !ok || l.unknown != "" || len(l.tiers) == 0 {
				return "its prices at some hours are no multiple of the others"
			}
		}
	}
	return ""
}

// peakAt is the factor at a minute of the day; where the source has several
// windows the dearest, and never below 1: a row has no discounts by the hour.
func peakAt(peaks []pricing.Peak, minute int) int64 {
	micro := int64(one)
	for _, p := range peaks {
		if p.From <= minute && minute < p.To {
			micro = max(micro, p.Micro)
		}
	}
	return micro
}

// weekdaysAt reports whether the factor at a minute holds on weekdays only, which
// no source can say: they give the hours.
func weekdaysAt(peaks []pricing.Peak, minute int) bool {
	weekdays := false
	for _, p := range peaks {
		if p.From <= minute && minute < p.To && p.Micro == peakAt(peaks, minute) {
			weekdays = p.Weekdays
		}
	}
	return weekdays
}

// peaks compares the factors of the hours of a day. They have no dates, so the
// dearest of all lists from today on counts. That ours hold on weekdays only
// stays, unless they rise.
func (c *comparison) peaks(by claim, m *model) {
	var theirs []pricing.Peak
	for _, d := range append([]time.Time{c.today}, futures(m.lists, c.today)...) {
		theirs = append(theirs, windows(m.lists, inForce(m.lists, d))...)
	}
	ours := c.sheet.Peaks
	edges := map[int]bool{0: true, 24 * 60: true}
	for _, p := range slices.Concat(ours, theirs) {
		edges[p.From], edges[p.To] = true, true
	}
	var checked time.Time
	if p := periodAt(c.sheet.Periods, c.today); p != nil {
		checked = p.CheckedAt
	}
	minutes := slices.Sorted(maps.Keys(edges))
	var out []pricing.Peak
	for i := 0; i+1 < len(minutes); i++ {
		from, to := minutes[i], minutes[i+1]
		field := "peaks." + clock(from) + "-" + clock(to)
		micro := c.decide(by, checked, time.Time{}, field, peakAt(ours, from), peakAt(theirs, from), trim)
		weekdays := micro <= peakAt(ours, from) && weekdaysAt(ours, from)
		last := len(out) - 1
		switch {
		case micro == one:
		case last >= 0 && out[last].To == from && out[last].Micro == micro && out[last].Weekdays == weekdays:
			out[last].To = to
		default:
			out = append(out, pricing.Peak{From: from, To: to, Micro: micro, Weekdays: weekdays})
		}
	}
	c.sheet.Peaks = out
}

// serviceTiers compares the factors of the tiers the row has; a tier it lacks
// is refused, and stays so. why names one that cannot be compared.
func (c *comparison) serviceTiers(by claim, m *model) (why string) {
	var checked time.Time
	if p := periodAt(c.sheet.Periods, c.today); p != nil {
		checked = p.CheckedAt
	}
	days := append([]time.Time{c.today}, futures(m.variants, c.today)...)
	for _, name := range slices.Sorted(maps.Keys(c.sheet.ServiceTiers)) {
		theirs := int64(0)
		for _, d := range days {
			variants := slices.DeleteFunc(slices.Clone(m.variants), func(l list) bool { return l.name != name })
			base, v := inForce(m.lists, d), inForce(variants, d)
			if v == nil {
				continue
			}
			if len(v.tiers) == 0 { // it prices nothing that a row has
				continue
			}
			micro, ok := factor(base.tiers, v.tiers)
			if !ok || v.unknown != "" {
				why = fmt.Sprintf("its prices of service tier %s are no multiple of the others", name)
				break
			}
			for kind := range base.tiers[0].rates {
				if _, says := v.tiers[0].rates[kind]; !says { // it costs what it always does
					micro = max(micro, one)
				}
			}
			theirs = max(theirs, micro)
		}
		if theirs > 0 {
			field := "service_tiers." + name
			c.sheet.ServiceTiers[name] = c.decide(by, checked, time.Time{}, field, c.sheet.ServiceTiers[name], theirs, trim)
		}
	}
	return why
}
