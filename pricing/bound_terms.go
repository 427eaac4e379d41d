package pricing

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"aigateway/budget"
)

// notPriced is the refusal of a model without a row, with the lines to add.
func (m *Model) notPriced() error {
	near := ""
	if m.catalog != nil {
		near = m.catalog.nearest(m.Provider, m.UpstreamModel)
	}
	return budget.Invalid("model_not_priced", "model", fmt.Sprintf(`%s has no price, so its cost cannot be capped%s. Take it from public data with: aigateway catalog import --add %s; or add its prices in USD per million tokens to the configuration ("0" if it is free):
models:
- model: %s
  limits: {context: <tokens>, max_output: <tokens>}
  prices:
  - {input: "<USD per million>", output: "<USD per million>"}`, m.Slug, near, m.Slug, m.Slug))
}

// obeys refuses a body that the operator's rules for this upstream forbid,
// whether or not a budget watches it.
func (m *Model) obeys(c *Call) error {
	u := &m.Upstream
	switch {
	case u.StrictBody && c.unread != "":
		return budget.Invalid("unknown_field", c.unread, fmt.Sprintf("%s is unknown, and %s takes known members only; leave it out", clip(c.unread), m.Provider))
	case u.RequireMaxTokens && c.Endpoint.CapField() != "" && m.honouredCap(c) < 0:
		field := m.capField(c.Endpoint)
		if field == CapFieldNone {
			field = "max_tokens"
		}
		return budget.Invalid("max_tokens_required", field, fmt.Sprintf("the request has no output cap, and %s requires one; send %s", m.Provider, field))
	case u.DenyOmittedImageDetail && c.vague != "":
		return budget.Invalid("unbounded_media", c.vague, c.vague+" has no detail that bounds its size; send \"detail\": \"high\" or \"low\"")
	}
	return nil
}

// supported refuses what has no bound whatever its price.
func (m *Model) supported(c *Call) error {
	if c.unbounded != nil {
		return c.unbounded
	}
	if m.Upstream.Deployments && !m.Row.named {
		return budget.Invalid("model_not_priced", "model", fmt.Sprintf("%s is a deployment, which may be of any model whatever it is called; say in the configuration of which:\nmodels:\n- {model: %s, like: openai/<model>}", m.Slug, m.Slug))
	}
	if c.stored.template != nil && !m.Upstream.AllowStoredInput {
		return c.stored.template
	}
	// OpenRouter may have it read by an engine that it bills by the page.
	if c.pdf.why != nil && !m.Upstream.AllowPDF && (m.Row.rules.pdfPage == 0 || m.routesHosts()) {
		return c.pdf.why
	}
	if e := m.Row.rules.endpoints; len(e) > 0 && !slices.Contains(e, c.Endpoint) {
		return budget.Invalid("unsupported_feature", "model", fmt.Sprintf("%s is priced for %s only; name a model for %s", m.Slug, e[0], c.Endpoint))
	}
	if err := m.routed(c); err != nil {
		return err
	}
	if c.Endpoint.declared().asksUsage && c.Stream && m.Upstream.StreamUsage == StreamUsageRequire && c.options.include != 't' {
		return budget.Invalid("stream_usage_required", "stream_options.include_usage", fmt.Sprintf("%s reports the usage of a stream only when asked; send \"stream_options\": {\"include_usage\": true}", m.Provider))
	}
	return nil
}

// multipliers are the factors on a call's token prices.
type multipliers struct {
	base   ratio // of the provider, whatever the call
	geo    ratio // of the region
	peak   ratio // of the dearest hour that the call can reach
	always ratio // these three
	tier   ratio // the service tier asked for, at least 1
	total  ratio
}

func (m *Model) multiplier(c *Call, at time.Time) (multipliers, error) {
	out := multipliers{base: m.markup, geo: one(), peak: dearestPeak(m.Row.rules.peaks, at, at.Add(m.longest)), tier: one()}
	where := c.geo
	if where == "" {
		where = m.Upstream.DefaultGeo
	}
	if where != "" && where != "global" {
		geo, ok := m.Row.rules.geos[where]
		if !ok {
			return out, m.tierNotPriced("inference_geo", where, "inference_geo")
		}
		out.geo = geo
	}
	var ok bool
	if out.always, ok = product(out.base, out.geo, out.peak); !ok {
		return out, m.tierNotPriced("inference_geo", where, "inference_geo")
	}
	asked := c.serviceTier
	if asked == "" || asked == "auto" { // the vendor project's own setting
		asked = m.Upstream.DefaultTier
	}
	for _, t := range [2]struct{ field, name string }{{"service_tier", asked}, {"speed", c.speed}} {
		f, ok := m.Row.rules.tier(t.name)
		if !ok {
			return out, m.tierNotPriced(t.field, t.name, "service_tiers")
		}
		if f.above(out.tier) { // a cheaper tier may still be billed as the usual one
			out.tier = f
		}
	}
	if out.total, ok = out.always.times(out.tier); !ok {
		return out, m.tierNotPriced("service_tier", asked, "service_tiers")
	}
	return out, nil
}

func (m *Model) tierNotPriced(field, name, key string) error {
	return budget.Invalid("tier_not_priced", field, fmt.Sprintf("%s is %q, for which %s has no multiplier; leave it out, or add to the configuration:\nmodels:\n- model: %s\n  %s: {%s: \"<multiplier>\"}", field, clip(name), m.Slug, m.Slug, key, clip(name)))
}

// tier finds a service tier's multiplier; the usual tier's is 1.
func (r *rules) tier(name string) (ratio, bool) {
	for _, t := range r.tiers {
		if t.name == name {
			return t.factor, true
		}
	}
	switch name {
	case "", "default", "standard", "normal", "auto":
		return one(), true
	}
	return ratio{}, false
}

// dearestPeak is the dearest time-of-day multiplier of the time from start to
// end, both included.
func dearestPeak(peaks []peak, start, end time.Time) ratio {
	f := one()
	if len(peaks) == 0 {
		return f
	}
	const week = 7 // days: then all have been seen
	day := start.UTC().Truncate(24 * time.Hour)
	for n := 0; n <= week && !day.After(end); n++ {
		weekend := day.Weekday() == time.Saturday || day.Weekday() == time.Sunday
		for _, p := range peaks {
			from, to := day.Add(time.Duration(p.from)*time.Minute), day.Add(time.Duration(p.to)*time.Minute)
			if start.Before(to) && !end.Before(from) && p.factor.above(f) && !(weekend && p.weekdays) {
				f = p.factor
			}
		}
		day = day.Add(24 * time.Hour)
	}
	return f
}

// output fills in choices and the output cap: the body's, an inserted one, or
// the model's own limit.
func (m *Model) output(b *Bound, c *Call) error {
	a := &b.sum
	if !c.Endpoint.generates() {
		return nil
	}
	a.choices, a.foreign = c.choices*max(1, c.prompts), c.foreignCap
	limit, width := m.sentCap(c)
	if c.compacts {
		a.foreign = max(a.foreign, m.Row.MaxOutput)
	}
	switch {
	case c.compacts && m.Row.MaxOutput == 0:
		return budget.Invalid("max_output_unknown", "input", fmt.Sprintf("a compaction is asked for, which may be as long as any output, and the output limit of %s is unknown; leave it out, or add to the configuration:\nmodels:\n- model: %s\n  limits: {max_output: <tokens>}", m.Slug, m.Slug))
	case c.Endpoint.CapField() == "": // nothing in the body caps a summary
	case limit >= 0:
		a.limit, a.width = limit, width
	case m.capField(c.Endpoint) != CapFieldNone:
		a.limit = m.defaultCap(c)
		b.InjectedCap = a.limit
	case m.Row.MaxOutput > 0:
		a.limit = m.Row.MaxOutput
	default:
		return budget.Invalid("max_output_unknown", "max_tokens", fmt.Sprintf("the request has no output cap that %s obeys, and the output limit of %s is unknown; send max_tokens, or add to the configuration:\nmodels:\n- model: %s\n  limits: {max_output: <tokens>}", m.Provider, m.Slug, m.Slug))
	}
	return nil
}

// defaultCap is the caller's, the model's, the upstream's or the usual default.
// It leaves room for the input: vendors refuse input + cap > context.
func (m *Model) defaultCap(c *Call) int64 {
	limit := cmp.Or(c.DefaultCap, m.Row.rules.defaultCap, m.Upstream.DefaultMaxTokens)
	if limit <= 0 {
		limit = cmp.Or(c.Endpoint.declared().defaultCap, defaultMaxTokens)
	}
	if m.Row.MaxOutput > 0 {
		limit = min(limit, m.Row.MaxOutput)
	}
	if m.Row.Context > 0 {
		limit = min(limit, m.Row.Context-c.textBytes(false)/3)
	}
	return max(limit, 1)
}

// pin is what settling needs of this bound.
func (m *Model) pin(c *Call, a *arithmetic, f multipliers) pin {
	p := pin{
		flags: m.flags(c) | pinPriced | pinHasTerms, choices: max(a.choices, 1), rate: m.Upstream.MaxTokensPerSecond,
		input: a.input, inPico: a.in, outPico: a.out, fees: a.fees,
		paths: m.Upstream.Extractor, factor: f.always, asked: f.tier, terms: pinTerms{base: f.base, geo: f.geo, peak: f.peak},
	}
	if c.pictures != nil {
		p.choices = c.pictures.count
	}
	if a.hops > 1 { // what the tools brought is a part of the answer when it is named
		p.input = max(a.input, a.context)
	}
	if a.audio > 0 && c.Endpoint.generates() {
		p.flags, p.heard = p.flags|pinHeard, a.audio
	}
	if c.cacheLong {
		p.flags |= pinLongWrites
	}
	guessed := c.stored.why != nil && !c.stored.settled
	if c.Endpoint.declared().stores && !c.hostedInside && !(guessed && c.truncates) {
		p.flags |= pinNamed
		switch {
		case c.truncates: // what did not fit may be input of the next
			p.stored = p.input
		case c.stored.settled:
			p.stored = c.stored.tokens
		case guessed && !c.allTurns:
			p.flags |= pinGuessed
		}
	}
	if p.has(pinElapsed|pinStream) && m.showsOutput(c) {
		p.flags |= pinShown
		p.held = c.hidden.held
	}
	p.take(m.Row, a)
	return p
}

// take adds what a model's row says, and what is billed by use.
func (p *pin) take(r *Row, a *arithmetic) {
	p.tiers, p.rates = r.rules.tiers, r.tiers
	p.terms.geos, p.terms.peaks = r.rules.geoList, r.rules.peaks
	p.terms.context, p.terms.maxOutput, p.terms.refusal = r.Context, r.MaxOutput, r.fees[feeRefusal]
	if r.own {
		p.flags |= pinOwn
	}
	if r.rules.flatCache {
		p.flags |= pinFlatCache
	}
	if len(a.byUse) > 0 {
		p.flags |= pinFees
		p.counted = a.byUse
	}
}

// unboundedPin is what settling can know of a call without a bound. A service tier
// or region without a factor counts as the dearest there is, and each use of a
// tool that the provider reports costs its fee.
func (m *Model) unboundedPin(c *Call, at time.Time) *pin {
	p := &pin{
		flags: m.flags(c) | pinPriced | pinHasTerms | pinUnbounded, choices: max(c.choices*max(1, c.prompts), 1), paths: m.Upstream.Extractor,
		factor: one(), asked: one(), terms: pinTerms{base: m.markup, geo: one(), peak: one()},
	}
	if c.cacheLong {
		p.flags |= pinLongWrites
	}
	if m.Row == nil {
		return p
	}
	if f, err := m.multiplier(c, at); err == nil {
		p.asked, p.terms.geo, p.terms.peak = f.tier, f.geo, f.peak
	} else {
		p.terms.peak = dearestPeak(m.Row.rules.peaks, at, at.Add(m.longest))
		p.asked = dearestOf(m.Row.rules.tiers)
		p.terms.geo = dearestOf(m.Row.rules.geoList)
	}
	var a arithmetic
	m.flatFees(&a, c)
	for i := range c.hosted {
		if fee, priced := m.toolFee(&c.hosted[i]); priced {
			a.fee(feeKind(c.hosted[i].kind), 0, fee)
		}
	}
	if fee, ok := m.Row.fees[feeAudio]; ok {
		a.fee(feeAudio, 0, perSecond(fee))
	}
	if c.pictures != nil {
		p.choices = c.pictures.count
	}
	p.fees = a.fees
	p.take(m.Row, &a)
	return p
}

// dearestOf is the largest factor of a list, at least 1.
func dearestOf(list []namedRatio) ratio {
	best := one()
	for _, n := range list {
		if n.factor.above(best) {
			best = n.factor
		}
	}
	return best
}

func (m *Model) flags(c *Call) uint64 {
	var f uint64
	set := func(on bool, bit uint64) {
		if on {
			f |= bit
		}
	}
	set(c.Stream && c.Endpoint.generates(), pinStream)
	set(m.Upstream.CancelsOnDisconnect && len(c.hosted) == 0 && !c.prediction && !c.audioOut && len(c.audios) == 0, pinElapsed)
	set(m.reportsCost(), pinCost)
	set(m.Provider == "xai", pinTicks)
	set(c.rawAnswer, pinRaw)
	set(c.Endpoint.silent(), pinNoOutput)
	set(c.Endpoint == Responses && !c.unstored, pinStored)
	d := m.dialect(c.Endpoint)
	set(d == custom, pinExtractor)
	return f | uint64(d)<<pinDialect | c.Endpoint.place()<<pinEndpoint
}
