package pricing

import (
	"maps"
	"slices"
	"time"
)

// Sheet is what a prices file says about one model: its limits and every price
// list, past ones included. Changing it changes nothing in the catalog.
type Sheet struct {
	Slug          string
	UpstreamModel string
	Endpoints     []Endpoint // empty: every endpoint
	// FamilyEndpoints says that its family has them.
	FamilyEndpoints bool
	Limits          Limits
	ServiceTiers    map[string]int64 // factor on all token prices, in millionths
	FamilyTiers     map[string]int64 // the ones it has from its family
	Peaks           []Peak
	Periods         []Period     // by From
	Accepted        []Acceptance // oldest first
}

// Limits are a model's limits in tokens; 0 is unknown. CheckedAt is zero when
// nobody wrote it down.
type Limits struct {
	Context, MaxOutput int64
	Source             string
	CheckedAt          time.Time
}

// Peak multiplies all token prices between two times of each UTC day.
type Peak struct {
	From, To int   // minutes; From < To <= 1440
	Micro    int64 // the factor in millionths
	Weekdays bool  // Monday to Friday only
}

// Period is the price list that holds from a day on, until the next one.
type Period struct {
	From      time.Time // zero: from the beginning
	Source    string
	CheckedAt time.Time
	Rates     []Rate
	Fees      map[string]int64 // pico-USD per use
}

// Acceptance records who let values fall. What is not in one was only ever
// raised by an import.
type Acceptance struct {
	By     string
	At     time.Time
	Fields []string // such as output or limits.context
}

// Sheet returns a model's sheet; ok is false for a slug the catalog has no row
// for. Providers need not be configured.
func (c *Catalog) Sheet(slug string) (s Sheet, ok bool) {
	e := c.names.slugs[slug]
	if e == nil || len(e.rows) == 0 {
		return Sheet{}, false
	}
	first := e.rows[0]
	s = Sheet{
		Slug: e.slug, UpstreamModel: e.upstreamModel, Endpoints: slices.Clone(first.rules.endpoints), FamilyEndpoints: e.familyEndpoints,
		Limits:       Limits{first.Context, first.MaxOutput, first.LimitsSource, first.LimitsCheckedAt},
		ServiceTiers: map[string]int64{}, FamilyTiers: map[string]int64{}, Accepted: slices.Clone(first.Accepted),
	}
	for _, t := range first.rules.tiers {
		s.ServiceTiers[t.name] = t.factor.micro()
	}
	for name, factor := range e.family {
		s.FamilyTiers[name] = factor.micro()
	}
	for _, p := range first.rules.peaks {
		s.Peaks = append(s.Peaks, Peak{p.from, p.to, p.factor.micro(), p.weekdays})
	}
	for _, r := range e.rows {
		if !r.soon {
			s.Periods = append(s.Periods, Period{r.From, r.Source, r.CheckedAt, r.Rates(), maps.Clone(r.fees)})
		}
	}
	return s, true
}

// Find is Sheet for any name of a model. The version is what the name has beyond
// the name that the provider is sent.
func (c *Catalog) Find(name string) (s Sheet, version string, ok bool) {
	e, version := c.names.find(name, false)
	if e == nil {
		return Sheet{}, "", false
	}
	s, ok = c.Sheet(e.slug)
	return s, version, ok
}

// Slugs lists every model with a row, of configured providers or not, sorted.
func (c *Catalog) Slugs() []string { return slices.Clone(c.slugs) }

// Parent is the kind of token whose price a kind without its own takes; for
// input and output it is the kind itself.
func Parent(kind string) string {
	for b := range bucketCount {
		if b.String() == kind {
			return b.parent().String()
		}
	}
	return kind
}

// Kinds are the kinds of token that can have a price, in the order prices files
// have.
func Kinds() []string {
	names := bucketNames()
	return names[:]
}
