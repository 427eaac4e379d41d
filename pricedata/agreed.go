package pricedata

import (
	"maps"
	"slices"
	"strings"
	"time"

	"aigateway/pricing"
)

// Providers are the built-in providers whose prices are published.
func Providers() []string {
	return []string{"anthropic", "azure", "cohere", "deepseek", "gemini", "groq", "jina", "mistral", "moonshot", "openai", "openrouter", "voyage", "xai"}
}

// Lack is how many models of a provider have published prices and no row.
type Lack struct {
	Provider string
	Agreed   int // at least two sources price them
	Single   int // one source does
}

// opinion is what sources together say of a model: the dearest of each price.
type opinion struct {
	model   *model
	by      claim
	sources int
	why     string // it does not fit a row, because
}

// opinions asks every source about a model that the catalog lacks.
func (c *comparison) opinions() opinion {
	var out opinion
	if out.why = beyondTokens(c.sheet.UpstreamModel); out.why != "" {
		return out
	}
	var all []sourced
	for _, s := range c.request.Sources {
		m := s.find(c.slug, c.sheet.UpstreamModel)
		if m == nil {
			m = c.adopt(s)
		}
		if m == nil || m.problem != nil || len(m.lists) == 0 {
			continue
		}
		if why := c.unfit(m); why != "" {
			out.why = s.String() + ": " + why
			continue
		}
		all = append(all, sourced{s, m})
	}
	if out.sources = len(all); out.sources == 0 {
		return out
	}
	var differ, settled bool
	out.model, differ, settled = dearest(all, c.today)
	var names []string
	for _, x := range all {
		names = append(names, x.source.String())
		if out.by.date.IsZero() || x.source.Date.After(out.by.date) {
			out.by.date = x.source.Date
		}
	}
	out.by.by = strings.Join(names, " and ")
	switch {
	case differ:
		out.by.by = "dearest of " + out.by.by
	case settled:
		out.by.by = "two of " + out.by.by
	}
	if why := c.unfit(out.model); why != "" {
		out.why = why
	}
	return out
}

// beyondTokens says of a model why its tokens do not bound what it costs, though
// sources price nothing else: the provider's searches and further models, and what
// it makes besides text.
func beyondTokens(name string) string {
	for _, word := range []string{"deep-research", "search", "sonar", "multi-agent", "router", "compound"} {
		if strings.Contains(name, word) {
			return "the provider searches, or calls other models, as it likes"
		}
	}
	for _, word := range []string{"image", "tts", "omni", "lyria", "live", "realtime"} {
		if strings.Contains(name, word) {
			return "it makes images, sound or video, whose price a row cannot hold"
		}
	}
	return ""
}

// dearest merges what sources say, the first of which is the best: its days and
// hours hold, and its service tiers. Of three, what two agree on holds. settled says
// that it did, differ that a kind has two prices and nobody agrees on one.
func dearest(all []sourced, today time.Time) (out *model, differ, settled bool) {
	first := *all[0].model
	out = &first
	out.lists = nil
	tiered := slices.ContainsFunc(all, func(x sourced) bool { return !x.source.roughTiers && len(inForce(x.model.lists, today).tiers) > 1 })
	for _, d := range append([]time.Time{{}}, futures(all[0].model.lists, today)...) {
		merged := list{from: d, fees: map[string]int64{}}
		day := d
		if day.IsZero() {
			day = today
		}
		var said []quoted
		for _, x := range all {
			l := inForce(x.model.lists, day)
			tiers := l.tiers
			if x.source.roughTiers && tiered {
				tiers = tiers[:1]
			}
			said = append(said, quoted{tiers, x.source.Date, x.source.roughTiers && tiered})
			merged.tiers = dearestTiers(merged.tiers, tiers)
			for name, fee := range l.fees {
				merged.fees[name] = max(merged.fees[name], fee)
			}
		}
		d, s := agree(merged.tiers, said)
		if !day.After(today) {
			differ, settled = d, s
		}
		out.lists = append(out.lists, merged)
	}
	for _, l := range all[0].model.lists {
		if l.windowed() {
			out.lists = append(out.lists, l)
		}
	}
	for _, x := range all[1:] {
		if out.mode == "" {
			out.mode = x.model.mode
		}
	}
	return out, differ, settled
}

// quoted is what one source says of prices.
type quoted struct {
	tiers []tier
	date  time.Time
	rough bool // it says nothing of dearer tiers
}

// agree lowers the dearest prices to those that two sources agree on, unless one
// that is newer than both says more: it may know of a rise. differ says that some
// kind has prices that nobody else names, settled that others overruled one.
func agree(tiers []tier, said []quoted) (differ, settled bool) {
	for i := range tiers {
		t := &tiers[i]
		for kind := range t.rates {
			named := map[int64][]time.Time{} // when each price was said
			for _, q := range said {
				if i > 0 && q.rough {
					continue
				}
				if p, ok := at(snap(q.tiers, tiers), t.from).rates[kind]; ok {
					named[p] = append(named[p], q.date)
				}
			}
			best, found := int64(0), false
			for p, dates := range named {
				if len(dates) > 1 && !dearerSince(named, p, slices.MaxFunc(dates, time.Time.Compare)) && p >= best {
					best, found = p, true
				}
			}
			switch {
			case found:
				settled = settled || len(named) > 1
				t.rates[kind] = best
			case len(named) > 1:
				differ = true
			}
			if i > 0 { // rising
				t.rates[kind] = max(t.rates[kind], tiers[i-1].rates[kind])
			}
		}
	}
	return differ, settled
}

// dearerSince reports whether a higher price was said after a day.
func dearerSince(named map[int64][]time.Time, price int64, day time.Time) bool {
	for p, dates := range named {
		if p > price && slices.MaxFunc(dates, time.Time.Compare).After(day) {
			return true
		}
	}
	return false
}

// dearestTiers is the dearer of two lists for each number of input tokens. A kind
// that only one names has its price.
func dearestTiers(a, b []tier) []tier {
	if a == nil {
		return slices.Clone(b)
	}
	b = snap(b, a)
	starts := map[int64]bool{}
	for _, t := range slices.Concat(a, b) {
		starts[t.from] = true
	}
	var out []tier
	for _, from := range slices.Sorted(maps.Keys(starts)) {
		t := tier{from, maps.Clone(at(a, from).rates)}
		for kind, price := range at(b, from).rates {
			t.rates[kind] = max(t.rates[kind], price)
		}
		out = append(out, t)
	}
	for kind := range out[0].rates { // each kind in all, rising
		for i := 1; i < len(out); i++ {
			out[i].rates[kind] = max(out[i].rates[kind], out[i-1].rates[kind])
		}
	}
	return slices.CompactFunc(out, func(x, y tier) bool { return maps.Equal(x.rates, y.rates) })
}

// endpoints are those a model that is added serves, where it does not write text.
func (m *model) endpoints(name string) []pricing.Endpoint {
	switch {
	case m.mode == "rerank" || strings.Contains(name, "rerank"):
		return []pricing.Endpoint{pricing.Rerank}
	case m.mode == "embedding" || strings.Contains(name, "embed"):
		return []pricing.Endpoint{pricing.Embeddings}
	}
	for _, l := range m.lists {
		if len(l.tiers) > 0 {
			if _, writes := l.tiers[0].rates["output"]; !writes {
				return []pricing.Endpoint{pricing.Embeddings}
			}
		}
	}
	return nil
}

// missing are the models of the named providers that sources price and that the
// catalog has no row for, by slug, with how many sources price each.
func (r *Request) missing(today time.Time) map[string]int {
	out := map[string]int{}
	for _, provider := range r.Providers {
		seen := map[string]bool{}
		for _, s := range r.Sources {
			for _, vendor := range vendorNames(provider) {
				for i := range s.models[vendor] {
					id := s.models[vendor][i].id
					slug := provider + "/" + id
					if seen[slug] || len(s.models[vendor][i].lists) == 0 {
						continue
					}
					seen[slug] = true
					c := comparison{request: r, today: today, adding: true, sheet: pricing.Sheet{Slug: slug, UpstreamModel: id}, slug: slug}
					if o := c.opinions(); o.sources > 0 && o.why == "" && !c.known(o.model) {
						out[slug] = o.sources
					}
				}
			}
		}
	}
	return out
}

// known reports whether the catalog finds the model by this name: a version needs
// no row of its own unless its price is another.
func (c *comparison) known(m *model) bool {
	sheet, version, ok := c.request.Catalog.Find(c.slug)
	if !ok || version == "" {
		return ok
	}
	p := periodAt(sheet.Periods, c.today)
	return p != nil && !dearerThan(inForce(m.lists, c.today).tiers, tiersOf(p.Rates))
}

func dearerThan(a, b []tier) bool {
	for _, t := range a {
		for kind, price := range t.rates {
			if price > at(b, t.from).price(kind) {
				return true
			}
		}
	}
	return false
}

// raiseLatest makes each -latest that a provider moves from one generation to the
// next as dear as the dearest model that it may mean.
func raiseLatest(sheets []pricing.Sheet) {
	for i := range sheets {
		moving, ok := strings.CutSuffix(sheets[i].Slug, "-latest")
		if !ok {
			continue
		}
		for k := range sheets {
			if k != i && mayMean(moving, sheets[k].Slug) {
				sheets[i].Periods = dearerPeriods(sheets[i].Periods, sheets[k].Periods)
			}
		}
	}
}

// mayMean reports whether a slug is the moving name with a version in it:
// mistral-large-2512 of mistral-large, gemini-3.8-flash of gemini-flash.
func mayMean(moving, slug string) bool {
	want := strings.Split(moving, "-")
	for _, word := range strings.Split(slug, "-") {
		switch {
		case len(want) > 0 && word == want[0]:
			want = want[1:]
		case strings.ContainsAny(word, "0123456789") || word == "preview":
		default:
			return false
		}
	}
	return len(want) == 0
}

// dearerPeriods is the dearer of two rows at every time.
func dearerPeriods(a, b []pricing.Period) []pricing.Period {
	var days []time.Time
	for _, p := range slices.Concat(a, b) {
		days = append(days, p.From)
	}
	slices.SortFunc(days, time.Time.Compare)
	var out []pricing.Period
	for _, d := range slices.Compact(days) {
		x, y := periodAt(a, d), periodAt(b, d)
		switch {
		case x == nil || y == nil:
			x = cmpOr(x, y)
		default:
			z := *x
			mine, theirs := tiersOf(x.Rates), tiersOf(y.Rates)
			if dearerThan(theirs, mine) {
				if !strings.HasPrefix(z.Source, "dearest of ") {
					z.Source = "dearest of what it may mean, and " + z.Source
				}
				z.Rates = ratesOf(fill(dearestTiers(mine, theirs), mine, theirs))
			}
			x = &z
		}
		z := *x
		z.From = d
		if last := len(out) - 1; last >= 0 && samePrices(out[last], z) {
			continue
		}
		out = append(out, z)
	}
	return out
}

// fill raises kinds that one of two lists does not name to what it charges for
// them.
func fill(out, a, b []tier) []tier {
	for _, t := range out {
		for kind := range t.rates {
			t.rates[kind] = max(t.rates[kind], at(a, t.from).price(kind), at(b, t.from).price(kind))
		}
	}
	return out
}

func cmpOr(a, b *pricing.Period) *pricing.Period {
	if a != nil {
		return a
	}
	return b
}
