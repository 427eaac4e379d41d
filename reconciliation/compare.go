package reconciliation

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// Input is what is compared.
type Input struct {
	Provider string // its name in the ledger, the first part of its models' slugs
	Days     []Day  // to compare, ascending; days that are not over do not belong in it
	Exports  []*Export
	// Recorded is the provider's usage in the ledger, by tag, model and UTC day.
	Recorded []budget.UsageRow
	// Booked are all adjustments: what was corrected before is not corrected again.
	Booked []budget.Adjustment
	// Only limits the exports to lines of these projects, workspaces or API
	// keys; empty: all. An organization may do more than this gateway sends.
	Only []string
	// Model finds a model by the vendor's name for it.
	Model func(name string, at time.Time) (pricing.Model, bool)
}

// Report is the result of a comparison.
type Report struct {
	Provider string
	Exports  []*Export
	// Rows are ordered by day, model and tag; they add up to Total.
	Rows  []Row
	Total Row
	// Missing are days that no export covers wholly.
	Missing []Day
	// Notes say what the rows do not, for people.
	Notes []string
}

// Row is one day, model and tag. Vendor is Recorded plus Drift: a vendor knows
// no tags, so the drift of a day and model is divided in proportion to what each
// tag was recorded with.
type Row struct {
	Day   Day
	Model string // slug; empty: of no single model
	Item  string // the vendor's words for a line of no single model, or "all models"
	Tag   string // empty: nothing was recorded that it could be divided by

	Vendor    budget.Amount
	Recorded  budget.Amount
	Drift     budget.Amount
	Estimated budget.Amount // of Recorded, charged without the vendor's usage report
	Corrected budget.Amount // booked by earlier reconciliations
	Open      budget.Amount // Drift without Corrected

	Requests          int64 // recorded
	EstimatedRequests int64
	UnpricedRequests  int64

	// Priced: the export has no amounts, the vendor's tokens were priced with
	// the catalog. Such a row is not corrected.
	Priced bool
	// Blocked: the day was corrected before in other rows than these.
	Blocked bool
	// Rounded: what is open of the day and model is within the export's own
	// rounding. Such a row is not corrected.
	Rounded bool
	Exports []string // SHA-256 of those that Vendor comes from
	Reasons []string // what may explain the drift

	cell string
	past int // corrections booked for this row
}

// Compare sets the exports against the ledger.
func Compare(in Input) (*Report, error) {
	c := &comparison{in: in, report: &Report{Provider: in.Provider, Exports: in.Exports}, past: pastCorrections(in.Provider, in.Booked)}
	if err := c.arrange(); err != nil {
		return nil, err
	}
	c.record()
	for _, d := range in.Days {
		c.day(d)
	}
	if err := c.rows(); err != nil {
		return nil, err
	}
	c.notes()
	return c.report, nil
}

// comparison is a Compare under way.
type comparison struct {
	in       Input
	report   *Report
	days     map[Day]map[report]*coverage
	recorded map[Day]map[string]map[string]budget.UsageRow // by model and tag
	past     map[Day]pastDay
	cells    []*cell

	skipped   budget.Amount // recorded on days that are missing
	unpriced  []string      // names of models whose tokens have no price
	unlisted  []string      // models that a usage export does not have
	unknown   []string      // names that the catalog does not know
	inexact   []string
	catalog   bool // tokens were priced
	filtered  bool
	priority  bool // tokens of a priority tier, beside costs
	ownersHad bool
}

// coverage is what the exports say of one report on one day.
type coverage struct {
	length time.Duration
	lines  []line
}

type line struct {
	*item
	export *Export
}

// arrange puts the exports' lines in days, and refuses a span given twice: it
// would be billed twice.
func (c *comparison) arrange() error {
	type span struct {
		report report
		start  time.Time
	}
	from := map[span]*Export{}
	c.days = map[Day]map[report]*coverage{}
	for _, e := range c.in.Exports {
		if e.Vendor() != c.in.Exports[0].Vendor() {
			return fmt.Errorf("%s is of %s and %s of %s; reconcile one at a time", c.in.Exports[0].Name, c.in.Exports[0].Vendor(), e.Name, e.Vendor())
		}
		for i := range e.buckets {
			b := &e.buckets[i]
			key := span{b.report, b.start}
			if other := from[key]; other != nil {
				return fmt.Errorf("the %s of %s is in %s and in %s; give each day once", b.report, b.start.Format(time.RFC3339), other.Name, e.Name)
			}
			from[key] = e
			if c.cover(e, b) > 24*time.Hour {
				return fmt.Errorf("the buckets of the %s on %s overlap (%s is one of their files); give each day once", b.report, dayOf(b.start), e.Name)
			}
		}
	}
	if len(c.in.Only) > 0 && !c.ownersHad {
		return errors.New("the exports name no project, workspace or API key, so they cannot be limited to some; export them grouped by it")
	}
	return nil
}

// cover adds a bucket and returns how much of its day its report has by now.
func (c *comparison) cover(e *Export, b *bucket) time.Duration {
	day := dayOf(b.start)
	if c.days[day] == nil {
		c.days[day] = map[report]*coverage{}
	}
	cov := c.days[day][b.report]
	if cov == nil {
		cov = &coverage{}
		c.days[day][b.report] = cov
	}
	cov.length += b.end.Sub(b.start)
	for i := range b.items {
		it := &b.items[i]
		c.ownersHad = c.ownersHad || len(it.owners) > 0
		if len(c.in.Only) > 0 && !slices.ContainsFunc(it.owners, func(id string) bool { return slices.Contains(c.in.Only, id) }) {
			c.filtered = true
			continue
		}
		cov.lines = append(cov.lines, line{it, e})
	}
	return cov.length
}

// whole is the report's lines if it covers the whole day.
func (c *comparison) whole(d Day, reports ...report) ([]line, bool) {
	for _, r := range reports {
		if cov := c.days[d][r]; cov != nil && cov.length >= 24*time.Hour {
			return cov.lines, true
		}
	}
	return nil, false
}

func (c *comparison) record() {
	c.recorded = map[Day]map[string]map[string]budget.UsageRow{}
	for _, r := range c.in.Recorded {
		d := dayOf(r.Time)
		if c.recorded[d] == nil {
			c.recorded[d] = map[string]map[string]budget.UsageRow{}
		}
		if c.recorded[d][r.Model] == nil {
			c.recorded[d][r.Model] = map[string]budget.UsageRow{}
		}
		c.recorded[d][r.Model][string(r.Tag)] = r
	}
}

// slug is our name of a vendor's model, and whether the catalog knows it.
func (c *comparison) slug(name string, d Day) (string, *pricing.Row) {
	shown := strings.ReplaceAll(strings.ToLower(name), " ", "-") // the Console's display names
	for _, n := range []string{name, shown} {
		if m, ok := c.in.Model(n, d.Start()); ok {
			return m.Slug, m.Row
		}
	}
	if !slices.Contains(c.unknown, name) {
		c.unknown = append(c.unknown, name)
	}
	slug := c.in.Provider + "/" + name
	if base, ok := undated(slug); ok && c.recorded[d][slug] == nil && c.recorded[d][base] != nil {
		return base, nil
	}
	return slug, nil
}

// undated cuts a version's date, as vendors write it.
func undated(s string) (string, bool) {
	for _, layout := range []string{"-2006-01-02", "-20060102"} {
		if n := len(s) - len(layout); n > 0 {
			if _, err := time.Parse(layout, s[n:]); err == nil {
				return s[:n], true
			}
		}
	}
	return s, false
}

// allModels is the item of a day whose costs are not grouped.
const allModels = "all models"

// day makes the cells of one day.
func (c *comparison) day(d Day) {
	costs, ok := c.whole(d, openaiCosts, anthropicCosts)
	usage, counted := c.whole(d, openaiCompletions, anthropicMessages)
	if more, ok := c.whole(d, openaiEmbeddings); ok {
		usage = append(slices.Clone(usage), more...)
	}
	switch {
	case ok && slices.ContainsFunc(costs, func(l line) bool { return l.model == "" && l.label == "" }):
		c.dayAsOne(d, costs)
	case ok:
		c.dayByModel(d, costs, usage)
	case counted:
		c.dayByTokens(d, usage)
	default:
		c.report.Missing = append(c.report.Missing, d)
		for _, tags := range c.recorded[d] {
			for _, r := range tags {
				c.skipped += r.Cost
			}
		}
	}
}

func (c *comparison) dayAsOne(d Day, costs []line) {
	one := &cell{day: d, item: allModels, recorded: c.tagsOf(d)}
	for _, l := range costs {
		one.add(l)
	}
	c.cells = append(c.cells, one)
}

// tagsOf is what each tag was recorded with on a day, over all models.
func (c *comparison) tagsOf(d Day) map[string]budget.UsageRow {
	out := map[string]budget.UsageRow{}
	for _, tags := range c.recorded[d] {
		for tag, r := range tags {
			sum := out[tag]
			sum.Cost += r.Cost
			sum.EstimatedCost += r.EstimatedCost
			sum.Requests += r.Requests
			sum.Estimated += r.Estimated
			sum.Unpriced += r.Unpriced
			out[tag] = sum
		}
	}
	return out
}

func (c *comparison) dayByModel(d Day, costs, usage []line) {
	of := cellsOf{day: d, at: map[[2]string]*cell{}}
	for _, l := range costs {
		slug := ""
		if l.model != "" {
			slug, _ = c.slug(l.model, d)
		}
		of.get(slug, l.label).add(l)
	}
	for model, tags := range c.recorded[d] {
		of.get(model, "").recorded = tags
	}
	for _, l := range usage {
		c.priority = c.priority || strings.HasPrefix(l.inexact, "tier priority")
		if l.model == "" {
			continue
		}
		slug, _ := c.slug(l.model, d)
		if have := of.at[[2]string{slug, ""}]; have != nil {
			have.count(l.counts)
		}
	}
	c.cells = append(c.cells, of.sorted()...)
}

// dayByTokens prices tokens with the catalog. What the ledger has of a model
// that the export does not may be of an endpoint that was not exported.
func (c *comparison) dayByTokens(d Day, usage []line) {
	of := cellsOf{day: d, at: map[[2]string]*cell{}}
	rows := map[string]*pricing.Row{}
	for _, l := range usage {
		if l.model == "" {
			c.unpriced = addOnce(c.unpriced, "usage that is not grouped by model")
			continue
		}
		slug, row := c.slug(l.model, d)
		if row == nil {
			c.unpriced = addOnce(c.unpriced, l.model)
			continue
		}
		if l.inexact != "" {
			c.inexact = addOnce(c.inexact, l.inexact)
		}
		rows[slug] = row
		at := of.get(slug, "")
		at.count(l.counts)
		at.from(l.export)
	}
	for key, at := range of.at {
		amount, ok := rows[key[0]].Cost(*at.tokens)
		if !ok {
			delete(of.at, key)
			c.unpriced = addOnce(c.unpriced, key[0])
			continue
		}
		at.billed.Set(ratOf(amount))
		at.priced, c.catalog = true, true
		at.recorded = c.recorded[d][key[0]]
	}
	for model := range c.recorded[d] {
		if of.at[[2]string{model, ""}] == nil {
			c.unlisted = addOnce(c.unlisted, model)
		}
	}
	c.cells = append(c.cells, of.sorted()...)
}
