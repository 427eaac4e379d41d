package pricing

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

//go:embed catalog.yaml
var embedded []byte

// Load reads the embedded catalog and lays the overlay on it: a list of rows
// like the catalog's models, as written under `models:` in the configuration;
// nil, or a node without content, adds nothing. A field the overlay sets wins;
// a price list without `from` changes every price list the model has. Errors
// name the line.
//
// No call runs longer than longest, at most a day: a bound is taken at the
// dearest price of that time.
func Load(overlay *yaml.Node, upstreams []Upstream, longest time.Duration) (*Catalog, error) {
	if longest <= 0 || longest > 24*time.Hour { // price lists start on days
		return nil, fmt.Errorf("the longest duration of a call is %s; it must be positive and at most 24h", longest)
	}
	var doc yaml.Node
	if err := yaml.Load(embedded, &doc); err != nil {
		return nil, fmt.Errorf("read embedded catalog: %w", err)
	}
	b := builder{longest: longest, rows: make(map[string]spec), families: make(map[string]spec)}
	if err := b.catalog(&doc); err != nil {
		return nil, fmt.Errorf("read embedded catalog: %w", err)
	}
	hash := sha256.New()
	hash.Write(embedded)
	if overlay = deref(overlay); !isNull(overlay) {
		if err := b.overlay(overlay); err != nil {
			return nil, fmt.Errorf("read models: %w", err)
		}
		text, err := yaml.Dump(overlay)
		if err != nil {
			return nil, fmt.Errorf("hash models: %w", err)
		}
		hash.Write(text)
	}
	c := &Catalog{
		longest:    longest,
		version:    hex.EncodeToString(hash.Sum(nil))[:12],
		providers:  make(map[string]Upstream, len(upstreams)),
		entries:    make(map[string]*entry, len(b.rows)),
		byUpstream: make(map[string]*entry, len(b.rows)),
	}
	for _, u := range upstreams {
		if err := c.addUpstream(u); err != nil {
			return nil, err
		}
	}
	return c, c.addRows(&b)
}

// builder collects specs before they become rows.
type builder struct {
	longest  time.Duration
	families map[string]spec
	rows     map[string]spec
}

func (b *builder) catalog(n *yaml.Node) error {
	return readMap(n, "the catalog", map[string]func(*yaml.Node) error{
		"families": func(n *yaml.Node) error {
			return readList(n, "families", func(n *yaml.Node) error {
				s, err := readSpec(n, true)
				b.families[s.slug] = s
				return err
			})
		},
		"models": b.overlay,
	})
}

func (b *builder) overlay(n *yaml.Node) error {
	seen := make(map[string]bool)
	return readList(n, "models", func(n *yaml.Node) error {
		s, err := readSpec(n, false)
		if err != nil {
			return err
		}
		if seen[s.slug] {
			return lineError(n, "model %s appears twice; write its fields in one row", s.slug)
		}
		seen[s.slug] = true
		if base, ok := b.rows[s.slug]; ok {
			s = base.over(s)
		}
		b.rows[s.slug] = s
		// Check now: here the node is still the one that was just written.
		_, err = b.entry(s)
		return err
	})
}

// overPrices lays overlay price lists on a row's. Lists of the same row do not
// inherit from each other.
func overPrices(base, over []priceSpec) []priceSpec {
	out := slices.Clone(base)
	for _, o := range over {
		known := out[:len(base)]
		if o.from == nil && len(known) > 0 {
			for i := range known {
				known[i] = known[i].over(o)
			}
			continue
		}
		i := slices.IndexFunc(known, func(p priceSpec) bool { return o.from != nil && p.from != nil && p.from.Equal(*o.from) })
		if i >= 0 {
			known[i] = known[i].over(o)
			continue
		}
		// A new period inherits what held before it.
		if before := inForce(known, o.from); before != nil {
			o = before.over(o)
		}
		out = append(out, o)
	}
	return out
}

func inForce(list []priceSpec, t *time.Time) *priceSpec {
	var found *priceSpec
	for i := range list {
		p := &list[i]
		if t != nil && (p.from == nil || p.from.Before(*t)) && (found == nil || p.start().After(found.start())) {
			found = p
		}
	}
	return found
}

func (p priceSpec) start() time.Time {
	if p.from == nil {
		return time.Time{}
	}
	return *p.from
}

func (p priceSpec) over(o priceSpec) priceSpec {
	p.node = o.node
	pick(&p.from, o.from)
	pick(&p.checkedAt, o.checkedAt)
	if o.source != "" {
		p.source = o.source
	}
	for b := range bucketCount {
		if o.base.priced(b) {
			p.base.set(b, o.base.pico[b])
		}
	}
	p.fees = merge(p.fees, o.fees)
	if o.tiersSet {
		p.tiers, p.tiersSet = o.tiers, true
	}
	return p
}

// entry makes a slug's rows out of its spec and family.
func (b *builder) entry(s spec) (*entry, error) {
	family := "default"
	if s.family != nil {
		family = *s.family
	}
	f, ok := b.families[family]
	if !ok {
		return nil, lineError(s.node, "model %s names the unknown family %q", s.slug, family)
	}
	base := f
	base.prices = nil
	s = base.over(s)
	shared := &rules{
		overhead: *s.overhead, perByte: *s.tokensPerByte, nfkc: *s.nfkc,
		implicit: s.implicit != nil && *s.implicit, image: s.image,
		geos: s.geos, peaks: s.peaks, endpoints: s.endpoints,
	}
	for _, name := range slices.Sorted(maps.Keys(s.serviceTiers)) {
		shared.tiers = append(shared.tiers, namedRatio{name, s.serviceTiers[name]})
	}
	if s.maxBatch != nil {
		shared.maxBatch = *s.maxBatch
	}
	if s.defaultCap != nil {
		shared.defaultCap = *s.defaultCap
	}
	if s.audioRate != nil {
		shared.audioRate = *s.audioRate
	}
	if len(shared.tiers) > pinMost {
		return nil, lineError(s.node, "model %s has more than %d service tiers", s.slug, pinMost)
	}
	row := Row{Family: family, rules: shared}
	if s.context != nil {
		row.Context = *s.context
	}
	if s.maxOutput != nil {
		row.MaxOutput = *s.maxOutput
	}
	e := &entry{slug: s.slug, aliases: s.aliases, dated: s.dated != nil && *s.dated}
	_, e.upstreamModel, _ = strings.Cut(s.slug, "/")
	if s.upstreamModel != nil {
		e.upstreamModel = *s.upstreamModel
	}
	e.quoted = quoteJSON(e.upstreamModel)
	return e, e.addPrices(row, s, b.longest)
}

func (e *entry) addPrices(row Row, s spec, longest time.Duration) error {
	if len(s.prices) == 0 {
		return lineError(s.node, "model %s has no prices; add a list under prices", s.slug)
	}
	slices.SortStableFunc(s.prices, func(a, b priceSpec) int { return cmp.Compare(a.start().Unix(), b.start().Unix()) })
	for i, p := range s.prices {
		tiers := append([]rates{p.base}, p.tiers...)
		if err := checkTiers(tiers); err != nil {
			return lineError(p.node, "model %s: %w", s.slug, err)
		}
		if len(tiers) > pinMost/2 { // two lists may merge around a price change
			return lineError(p.node, "model %s has more than %d tiers", s.slug, pinMost/2-1)
		}
		r := row
		r.From, r.Source, r.tiers, r.fees = p.start(), p.source, tiers, p.fees
		if p.checkedAt != nil {
			r.CheckedAt = *p.checkedAt
		}
		if i > 0 { // calls admitted shortly before a change may be billed after it
			soon := r
			prev := e.rows[len(e.rows)-1]
			soon.From = r.From.Add(-longest)
			soon.tiers, soon.fees = dearer(prev.tiers, tiers), dearerFees(prev.fees, p.fees)
			e.rows = append(e.rows, &soon)
		}
		e.rows = append(e.rows, &r)
	}
	return nil
}

func dearerFees(a, b map[string]int64) map[string]int64 {
	out := merge(a, b)
	for k, v := range a {
		if v > out[k] {
			out = merge(out, map[string]int64{k: v})
		}
	}
	return out
}
