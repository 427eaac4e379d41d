package pricedata

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"aigateway/pricing"
)

// What becomes of a difference.
const (
	Rises    = "rises"    // dearer or a larger limit: taken over
	Falls    = "falls"    // cheaper or a smaller limit: not taken over
	Accepted = "accepted" // the same, and somebody let it fall
	Agreed   = "agreed"   // the same, of a price nobody else named, and two sources agree on the lower
	New      = "new"      // of a model that is being added
	Older    = "older"    // the row was checked after the data: not taken over
)

// Change is a value of the catalog that the data has differently. Prices are
// exact decimals, of tokens in US dollars per million.
type Change struct {
	Model    string
	Field    string    // such as output, output over 200000 tokens, limits.context
	From     time.Time // the day it holds from; zero: at once
	Old, New string    // empty: none
	Delta    string    // with its sign; empty: one of them is no number
	Status   string
	Source   string
}

// Note is a model whose prices the data cannot tell, and why.
type Note struct{ Model, Text string }

// Request is what to compare.
type Request struct {
	Catalog *pricing.Catalog
	Sources []*Source
	Now     time.Time
	Add     []string // slugs to add to the catalog
	// AddAgreed adds every model of Providers that two sources price; they are also
	// those whose missing models are counted.
	AddAgreed bool
	Providers []string
	// AcceptLower names models whose values may fall, By who says so.
	AcceptLower []string
	By          string
}

// Result is what the catalog would be.
type Result struct {
	Sheets  []pricing.Sheet // every model, by slug
	Changes []Change        // by model, in the order of a row's fields
	Notes   []Note          // by model
	// Missing are the models that no source knows.
	Missing []string
	// Lacks are the models that sources price and the catalog lacks, by provider,
	// after the import.
	Lacks []Lack
}

// Compare lays the sources over the catalog. A value that cannot be read, of a
// model the catalog has or is to get, is an error: half an import would look
// like a whole one.
func Compare(r Request) (*Result, error) {
	today := r.Now.UTC().Truncate(24 * time.Hour)
	out := &Result{}
	lacking := r.missing(today)
	add := slices.Clone(r.Add)
	if r.AddAgreed {
		for slug, sources := range lacking {
			if sources > 1 && !slices.Contains(add, slug) {
				add = append(add, slug)
			}
		}
	}
	slugs := slices.Concat(r.Catalog.Slugs(), add)
	slices.Sort(slugs)
	for i, slug := range slugs {
		if i > 0 && slugs[i-1] == slug {
			return nil, fmt.Errorf("--add %s: the catalog has that model", slug)
		}
		c := comparison{request: &r, today: today, slug: slug, accept: slices.Contains(r.AcceptLower, slug)}
		if err := c.run(out); err != nil {
			return nil, fmt.Errorf("%s: %w", slug, err)
		}
	}
	raiseLatest(out.Sheets)
	for _, slug := range add {
		delete(lacking, slug)
	}
	out.count(lacking)
	for _, slug := range r.AcceptLower {
		if !slices.ContainsFunc(out.Changes, func(c Change) bool { return c.Model == slug && c.Status == Accepted }) {
			return nil, fmt.Errorf("--accept-lower %s: nothing of that model falls", slug)
		}
	}
	return out, nil
}

// count groups missing models by provider.
func (r *Result) count(missing map[string]int) {
	by := map[string]*Lack{}
	for slug, sources := range missing {
		provider, _, _ := strings.Cut(slug, "/")
		if by[provider] == nil {
			by[provider] = &Lack{Provider: provider}
		}
		if sources > 1 {
			by[provider].Agreed++
		} else {
			by[provider].Single++
		}
	}
	for _, provider := range slices.Sorted(maps.Keys(by)) {
		r.Lacks = append(r.Lacks, *by[provider])
	}
}

// comparison is that of one model.
type comparison struct {
	request *Request
	today   time.Time
	slug    string
	accept  bool
	adding  bool
	agreed  bool // two sources say what is being taken over

	sheet   pricing.Sheet
	changes []Change
	seen    map[[3]string]bool // field, old and new value
	kept    bool               // a value was not taken over since the last reset
	lowered []string           // fields that were let fall
}

func (c *comparison) run(out *Result) error {
	var ok bool
	c.seen = map[[3]string]bool{}
	c.sheet, ok = c.request.Catalog.Sheet(c.slug)
	if !ok {
		c.adding = true
		c.sheet = pricing.Sheet{Slug: c.slug}
		_, c.sheet.UpstreamModel, ok = strings.Cut(c.slug, "/")
		if !ok {
			return fmt.Errorf("write provider/model")
		}
	}
	priced, err := c.take(out)
	if err != nil {
		return err
	}
	if c.adding && !priced {
		return fmt.Errorf("no source has prices of it; write its row by hand under models in the configuration")
	}
	if len(c.lowered) > 0 {
		c.sheet.Accepted = append(c.sheet.Accepted, pricing.Acceptance{By: c.request.By, At: c.today, Fields: c.lowered})
	}
	out.Sheets = append(out.Sheets, c.sheet)
	out.Changes = append(out.Changes, c.changes...)
	return nil
}

// take takes over what each source says; priced says that one had prices.
func (c *comparison) take(out *Result) (priced bool, err error) {
	if c.adding {
		return c.add(out)
	}
	known := false
	var limits []sourced
	settled := c.settle()
	for _, s := range c.request.Sources {
		m := s.find(c.slug, c.sheet.UpstreamModel)
		if m == nil {
			continue
		}
		known = true
		limits = append(limits, sourced{s, m})
		if m.problem != nil {
			return false, fmt.Errorf("%s, model %s: %w", s, m.id, m.problem)
		}
		if len(m.lists) == 0 || s.second {
			continue
		}
		if why := c.unfit(m); why != "" {
			out.Notes = append(out.Notes, Note{c.slug, fmt.Sprintf("%s: %s; its prices stay as they are", s, why)})
			continue
		}
		priced = true
		by := claim{s.String(), s.Date}
		if !settled {
			c.prices(by, m)
		}
		c.peaks(by, m)
		if why := c.serviceTiers(by, m); why != "" {
			out.Notes = append(out.Notes, Note{c.slug, fmt.Sprintf("%s: %s", s, why)})
		}
	}
	c.limits(limits)
	if !known {
		out.Missing = append(out.Missing, c.slug)
	}
	return priced, nil
}

// settle takes over what two sources agree on for a row whose prices were the
// dearest of some that differed.
func (c *comparison) settle() bool {
	p := periodAt(c.sheet.Periods, c.today)
	if p == nil || !strings.HasPrefix(p.Source, "dearest of ") || strings.HasPrefix(p.Source, "dearest of what it may mean") {
		return false
	}
	name := c.sheet.UpstreamModel
	o := c.opinions()
	c.sheet.UpstreamModel = name // the row is sent as it was
	if o.model == nil || o.why != "" || !strings.HasPrefix(o.by.by, "two of ") {
		return false
	}
	c.agreed = true
	c.prices(o.by, o.model)
	c.agreed = false
	return true
}

// add takes over a model that the catalog lacks, at the dearest of what the sources
// say.
func (c *comparison) add(out *Result) (priced bool, err error) {
	var limits []sourced
	for _, s := range c.request.Sources {
		m := s.find(c.slug, c.sheet.UpstreamModel)
		if m == nil {
			m = c.adopt(s)
		}
		if m != nil && m.problem != nil {
			return false, fmt.Errorf("%s, model %s: %w", s, m.id, m.problem)
		}
		if m != nil {
			limits = append(limits, sourced{s, m})
		}
	}
	o := c.opinions()
	switch {
	case o.why != "":
		out.Notes = append(out.Notes, Note{c.slug, o.why})
		return false, nil
	case o.model == nil:
		return false, nil
	}
	if c.sheet.Endpoints = o.model.endpoints(c.sheet.UpstreamModel); len(c.sheet.Endpoints) > 0 {
		for i := range o.model.lists {
			for _, t := range o.model.lists[i].tiers {
				if _, ok := t.rates["output"]; !ok {
					t.rates["output"] = 0
				}
			}
		}
	}
	c.prices(o.by, o.model)
	c.peaks(o.by, o.model)
	c.limits(limits)
	return true, nil
}

// adopt finds a model to add under the name vendors write with dashes where
// slugs have points, and sends it under that name.
func (c *comparison) adopt(s *Source) *model {
	name := strings.ReplaceAll(c.sheet.UpstreamModel, ".", "-")
	m := s.find(c.slug, name)
	if m != nil {
		c.sheet.UpstreamModel = name
	}
	return m
}

// claim is who says something, and of which day.
type claim struct {
	by   string
	date time.Time
}

// sourced is a model as one source knows it.
type sourced struct {
	source *Source
	model  *model
}

// unfit says why prices in force today or later do not fit a row.
func (c *comparison) unfit(m *model) string {
	for _, d := range append([]time.Time{c.today}, futures(m.lists, c.today)...) {
		l := inForce(m.lists, d)
		if l == nil || len(l.tiers) == 0 {
			return "it has no price today"
		}
		if l.unknown != "" {
			return fmt.Sprintf("it charges for %s, which a row cannot hold", l.unknown)
		}
		if l.audioReads && c.has("input_audio") {
			return "it charges more for audio from the cache than for text, which a row cannot hold"
		}
		if why := windowsUnfit(m.lists, l); why != "" {
			return why
		}
		base := l.tiers[0].rates
		if _, ok := base["input"]; !ok {
			return "it has no input price"
		}
		if _, ok := base["output"]; !ok && c.adding && len(m.endpoints(m.id)) == 0 {
			return "it has no output price: a row needs one, \"0\" for embeddings"
		}
		if image := base["input_image"]; image > base["input"] && !c.has("input_image") {
			return "it charges more for images than for text"
		}
		for i := 1; i < len(l.tiers); i++ {
			for kind, price := range l.tiers[i].rates {
				if price < l.tiers[i-1].rates[kind] {
					return fmt.Sprintf("its %s price falls from the tier at %d input tokens on", kind, l.tiers[i].from)
				}
			}
		}
	}
	return ""
}

// has says that the row has a price of its own for a kind of token today.
func (c *comparison) has(kind string) bool {
	p := periodAt(c.sheet.Periods, c.today)
	return p != nil && slices.ContainsFunc(p.Rates, func(r pricing.Rate) bool { return r.Kind == kind })
}

// inForce is the last list that holds on a day at all hours.
func inForce(lists []list, d time.Time) *list {
	for i := len(lists) - 1; i >= 0; i-- {
		if l := &lists[i]; !l.windowed() && !l.from.After(d) {
			return l
		}
	}
	return nil
}

// futures are the days after today on which a list begins.
func futures(lists []list, today time.Time) []time.Time {
	days := map[time.Time]bool{}
	for i := range lists {
		if lists[i].from.After(today) && !lists[i].windowed() {
			days[lists[i].from] = true
		}
	}
	return slices.SortedFunc(maps.Keys(days), time.Time.Compare)
}

func periodAt(periods []pricing.Period, d time.Time) *pricing.Period {
	for i := len(periods) - 1; i >= 0; i-- {
		if !periods[i].From.After(d) {
			return &periods[i]
		}
	}
	return nil
}

// decide says what holds of two values of which the higher is the safer, and
// records the difference. checked is when the old value was; show writes a value.
func (c *comparison) decide(by claim, checked, from time.Time, field string, old, new int64, show func(int64) string) int64 {
	if old == new {
		return old
	}
	ch := Change{Model: c.slug, Field: field, From: from, Old: show(old), New: show(new), Source: by.by}
	if ch.Old != "" && ch.New != "" {
		ch.Delta = delta(new-old, show)
	}
	result := new
	switch {
	case c.adding:
		ch.Status = New
		ch.Old, ch.Delta = "", ""
	case by.date.Before(checked):
		ch.Status, result = Older, old
	case new > old:
		ch.Status = Rises
	case c.agreed:
		ch.Status = Agreed
	case c.accept:
		ch.Status = Accepted
		if !slices.Contains(c.lowered, field) {
			c.lowered = append(c.lowered, field)
		}
	default:
		ch.Status, result = Falls, old
	}
	c.kept = c.kept || result == old
	if key := [3]string{field, ch.Old, ch.New}; !c.seen[key] {
		c.seen[key] = true
		c.changes = append(c.changes, ch)
	}
	return result
}

func delta(d int64, show func(int64) string) string {
	if d < 0 {
		return "-" + show(-d)
	}
	return "+" + show(d)
}
