package pricing

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"

	"aigateway/strictyaml"
)

// embedded is what is kept by hand: how models behave.
//
//go:embed catalog.yaml
var embedded []byte

// embeddedPrices is what `aigateway catalog import` writes: what they cost.
//
//go:embed prices.yaml
var embeddedPrices []byte

// Load reads the embedded catalog and lays the overlay on it: a list of rows
// like the catalog's models, as written under `models:` in the configuration;
// nil, or a node without content, adds nothing. A field the overlay sets wins;
// a price list without `from` changes every price list the model has. What is
// wrong with it is a Faults.
//
// No call runs longer than longest, at most a day: a bound is taken at the
// dearest price of that time.
func Load(overlay *yaml.Node, upstreams []Upstream, longest time.Duration) (*Catalog, error) {
	return LoadPrices(nil, overlay, upstreams, longest)
}

// LoadPrices is Load with a prices file between the embedded catalog and the
// overlay: a mapping whose `models` have the overlay's form. Its price lists
// replace those of a model, unless the embedded ones were checked later: an old
// file must not hide what a new release knows. nil adds nothing.
func LoadPrices(prices, overlay *yaml.Node, upstreams []Upstream, longest time.Duration) (*Catalog, error) {
	if longest <= 0 || longest > 24*time.Hour { // price lists start on days
		return nil, fmt.Errorf("the longest duration of a call is %s; it must be positive and at most 24h", longest)
	}
	b := builder{longest: longest, laid: make(map[string]bool)}
	if err := b.embedded(); err != nil {
		return nil, fmt.Errorf("read embedded catalog: %w", err)
	}
	hash := sha256.New()
	hash.Write(embedded)
	hash.Write(embeddedPrices)
	for _, layer := range []struct {
		inPrices bool
		node     *yaml.Node
		lay      func(*yaml.Node) error
		at       string
	}{{true, prices, b.prices, ""}, {false, overlay, b.overlay, "models"}} {
		node := strictyaml.Deref(layer.node)
		if strictyaml.IsNull(node) {
			continue
		}
		clear(b.laid)
		if err := errors.Join(layer.lay(node), b.aliases()); err != nil {
			return nil, located(err, node, layer.at, layer.inPrices)
		}
		text, err := yaml.Dump(node)
		if err != nil {
			return nil, fmt.Errorf("hash prices: %w", err)
		}
		hash.Write(text)
	}
	c := &Catalog{
		longest:   longest,
		version:   hex.EncodeToString(hash.Sum(nil))[:12],
		providers: make(map[string]provider, len(upstreams)),
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
	laid     map[string]bool // rows of the layer being read
}

// carried are the rows and families of the files that the binary carries, read
// once: they never change, and each configuration is laid over them anew.
var carried = sync.OnceValues(func() (*builder, error) {
	b := &builder{longest: time.Hour, rows: make(map[string]spec), families: make(map[string]spec), laid: make(map[string]bool)}
	return b, b.readCarried()
})

// embedded takes over what the binary carries.
func (b *builder) embedded() error {
	c, err := carried()
	if err != nil {
		return err
	}
	b.rows, b.families = maps.Clone(c.rows), c.families
	return nil
}

func (b *builder) readCarried() error {
	var catalog, prices yaml.Node
	if err := yaml.Load(embedded, &catalog); err != nil {
		return err
	}
	if err := yaml.Load(embeddedPrices, &prices); err != nil {
		return err
	}
	if err := b.catalog(&catalog); err != nil {
		return err
	}
	if err := b.prices(&prices); err != nil {
		return err
	}
	for slug, s := range b.rows {
		if _, err := b.entry(s); err != nil { // catalog.yaml alone has no prices
			return err
		}
		b.rows[slug] = s.forgetNodes()
	}
	return b.aliases()
}

// forgetNodes lets go of the document that a right row was read from.
func (s spec) forgetNodes() spec {
	s.node = &yaml.Node{}
	for i := range s.prices {
		s.prices[i].node = s.node
	}
	slices.SortStableFunc(s.prices, byStart)
	return s
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
		"models": func(n *yaml.Node) error {
			return readModels(n, func(s spec) error {
				b.rows[s.slug] = s
				return s.stands()
			})
		},
	})
}

// overlay lays rows over those there are, field by field.
func (b *builder) overlay(n *yaml.Node) error {
	return readModels(n, func(s spec) error {
		for i := range s.prices {
			s.prices[i].own = true
		}
		if s.like != nil {
			base, err := b.like(s)
			if err != nil {
				return err
			}
			s = base.over(s)
		} else if base, ok := b.rows[s.slug]; ok {
			s = base.over(s)
		}
		s.named = true
		return b.put(s)
	})
}

// like is what a row inherits from the one that it is like: all but its names.
// Rows are known in order, so it may be like one above it.
func (b *builder) like(s spec) (spec, error) {
	base, ok := b.rows[*s.like]
	if !ok || *s.like == s.slug {
		return spec{}, lineError(s.node, "model %s is like %q, which is no other row; write provider/model of one that is built in or stands above", s.slug, clip(*s.like))
	}
	if base.like != nil { // what that is like has the names that answers may give
		*s.like = *base.like
	}
	if base.writesUnasked() { // which the name of its provider may have said
		base.implicit = new(true)
	}
	base.upstreamModel, base.aliases, base.dated, base.accepted = nil, nil, nil, nil
	return base, nil
}

// stands refuses a row that is like another where rows are not an operator's.
func (s *spec) stands() error {
	if s.like != nil {
		return lineError(s.node, "like is for rows under models in the configuration; write prices")
	}
	return nil
}

// prices lays a prices file over the rows there are.
func (b *builder) prices(n *yaml.Node) error {
	return readMap(n, "the prices file", map[string]func(*yaml.Node) error{
		"models": func(n *yaml.Node) error {
			return readModels(n, func(s spec) error {
				if err := s.stands(); err != nil {
					return err
				}
				base, ok := b.rows[s.slug]
				if ok && base.checked().After(s.checked()) {
					return nil
				}
				if ok {
					base.prices = nil
					s = base.over(s)
				}
				return b.put(s)
			})
		},
	})
}

// put checks now: here the node is still the one that was just read.
func (b *builder) put(s spec) error {
	b.rows[s.slug], b.laid[s.slug] = s, true
	_, err := b.entry(s)
	return err
}

// aliases refuses names that two rows have.
func (b *builder) aliases() error {
	owner := make(map[string]string, len(b.rows))
	for slug := range b.rows {
		owner[slug] = slug
	}
	var errs []error
	for _, slug := range slices.Sorted(maps.Keys(b.rows)) {
		for _, a := range b.rows[slug].aliases {
			other, taken := owner[a]
			owner[a] = slug
			if !taken {
				continue
			}
			at := slug
			if !b.laid[slug] { // then the other is what is new
				at = other
			}
			errs = append(errs, lineError(b.rows[at].node, "alias %s of %s is already a name of %s; remove one of them", a, slug, other))
		}
	}
	return errors.Join(errs...)
}

// checked is when the newest of its prices was checked.
func (s *spec) checked() time.Time {
	var newest time.Time
	for _, p := range s.prices {
		if p.checkedAt != nil && p.checkedAt.After(newest) {
			newest = *p.checkedAt
		}
	}
	return newest
}

// readModels reads a list of rows, each model once.
func readModels(n *yaml.Node, row func(spec) error) error {
	seen := make(map[string]bool)
	return readList(n, "models", func(n *yaml.Node) error {
		s, err := readSpec(n, false)
		if s.slug != "" && seen[s.slug] {
			err = errors.Join(err, lineError(n, "model %s appears twice; write its fields in one row", clip(s.slug)))
		}
		seen[s.slug] = true
		if err != nil {
			return err
		}
		return row(s)
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
	p.node, p.own = o.node, p.own || o.own
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
		return nil, lineError(s.node, "model %s names the unknown family %q; known: %s", s.slug, clip(family), strings.Join(slices.Sorted(maps.Keys(b.families)), ", "))
	}
	base := f
	base.prices = nil
	s = base.over(s)
	shared := &rules{
		overhead: s.overhead.rule(), perByte: *s.tokensPerByte, nfkc: *s.nfkc,
		implicit: s.writesUnasked(), flatCache: s.flatCache != nil && *s.flatCache, thinksWhenAsked: s.thinksAsked != nil && *s.thinksAsked, reprints: s.reprints != nil && *s.reprints, image: s.image, draws: s.draws,
		geos: s.geos, peaks: s.peaks, endpoints: s.endpoints,
	}
	for _, name := range slices.Sorted(maps.Keys(s.serviceTiers)) {
		shared.tiers = append(shared.tiers, namedRatio{name, s.serviceTiers[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.geos)) {
		shared.geoList = append(shared.geoList, namedRatio{name, s.geos[name]})
	}
	if len(shared.geoList) > pinMost {
		return nil, lineError(s.node, "model %s has more than %d regions; leave out those nobody uses", s.slug, pinMost)
	}
	if err := shared.readBound(s); err != nil {
		return nil, err
	}
	for into, given := range map[*int64]*int64{&shared.maxBatch: s.maxBatch, &shared.defaultCap: s.defaultCap, &shared.audioRate: s.audioRate, &shared.audioMost: s.audioMost, &shared.pdfPage: s.pdfPage, &shared.searchTokens: s.searchTokens} {
		if given != nil {
			*into = *given
		}
	}
	if s.audioLeast != nil {
		shared.audioLeast = *s.audioLeast
	}
	if len(shared.tiers) > pinMost {
		return nil, lineError(s.node, "model %s has more than %d service tiers; leave out those nobody uses", s.slug, pinMost)
	}
	row := Row{Family: family, LimitsSource: s.limitsSource, Accepted: s.accepted, named: s.named, rules: shared}
	if s.limitsChecked != nil {
		row.LimitsCheckedAt = *s.limitsChecked
	}
	if s.context != nil {
		row.Context = *s.context
	}
	if s.maxOutput != nil {
		row.MaxOutput = *s.maxOutput
	}
	e := &entry{slug: s.slug, aliases: s.aliases, family: f.serviceTiers, familyEndpoints: f.endpoints != nil && s.family != nil, dated: s.dated == nil || *s.dated}
	_, e.upstreamModel, _ = strings.Cut(s.slug, "/")
	if s.upstreamModel != nil {
		e.upstreamModel = *s.upstreamModel
	}
	if s.like != nil {
		e.like = *s.like
	}
	e.quoted = quoteJSON(e.upstreamModel)
	return e, e.addPrices(row, s, b.longest)
}

// writesUnasked reports whether prompts are written to the cache without being
// asked for. Where nobody said it, OpenAI's models with a price for that do,
// whoever sells them: one that an import adds has no family that says so.
func (s *spec) writesUnasked() bool {
	if s.implicit != nil {
		return *s.implicit
	}
	openAIs := strings.HasPrefix(s.slug, "openai/") || strings.HasPrefix(s.slug, "azure/") || strings.Contains(s.slug, "/openai/")
	return openAIs && slices.ContainsFunc(s.prices, func(p priceSpec) bool { return p.base.priced(cacheWrite) || p.base.priced(cacheWriteLong) })
}

// refusalFee adds what xAI bills for a request that it refuses for its content,
// with any model that writes, where nobody said it: no price list has it.
// https://docs.x.ai/developers/models
func (s *spec) refusalFee(fees map[string]int64) map[string]int64 {
	const fiveCents = 50_000_000_000
	if _, told := fees[feeRefusal]; told || !strings.HasPrefix(s.slug, "xai/") || len(s.endpoints) > 0 {
		return fees
	}
	return merge(fees, map[string]int64{feeRefusal: fiveCents})
}

func (e *entry) addPrices(row Row, s spec, longest time.Duration) error {
	if len(s.prices) == 0 {
		return lineError(s.node, "model %s has no prices; add a list under prices", s.slug)
	}
	if !slices.IsSortedFunc(s.prices, byStart) { // those that all catalogs share are
		slices.SortStableFunc(s.prices, byStart)
	}
	var errs []error
	for _, p := range s.prices {
		errs = append(errs, p.check(s.slug))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for i, p := range s.prices {
		tiers := p.all()
		r := row
		p.fees = s.refusalFee(p.fees)
		r.From, r.Source, r.tiers, r.fees, r.own = p.start(), p.source, tiers, p.fees, p.own
		if p.checkedAt != nil {
			r.CheckedAt = *p.checkedAt
		}
		if i > 0 { // calls admitted shortly before a change may be billed after it
			soon := r
			soon.soon = true
			prev := e.rows[len(e.rows)-1]
			soon.From = r.From.Add(-longest)
			soon.tiers, soon.fees, soon.own = dearer(prev.tiers, tiers), dearerFees(prev.fees, p.fees), prev.own || p.own
			e.rows = append(e.rows, &soon)
		}
		e.rows = append(e.rows, &r)
	}
	return nil
}

func byStart(a, b priceSpec) int { return cmp.Compare(a.start().Unix(), b.start().Unix()) }

func dearerFees(a, b map[string]int64) map[string]int64 {
	out := merge(a, b)
	for k, v := range a {
		if v > out[k] {
			out = merge(out, map[string]int64{k: v})
		}
	}
	return out
}
