package pricing

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"aigateway/budget"
)

// notPriced is the refusal of a model without a row, with the lines to add.
func (m *Model) notPriced() error {
	return budget.Invalid("model_not_priced", "model", fmt.Sprintf(`%s has no price, so its cost cannot be capped. Add its prices in USD per million tokens to the configuration ("0" if it is free):
models:
- model: %s
  limits: {context: <tokens>, max_output: <tokens>}
  prices:
  - {input: "<USD per million>", output: "<USD per million>"}`, m.Slug, m.Slug))
}

// supported refuses what has no bound whatever its price.
func (m *Model) supported(c *Call) error {
	if c.unbounded != nil {
		return c.unbounded
	}
	if e := m.Row.rules.endpoints; len(e) > 0 && !slices.Contains(e, c.Endpoint) {
		return budget.Invalid("unsupported_feature", "model", fmt.Sprintf("%s is priced for %s only; name a model for %s", m.Slug, e[0], c.Endpoint))
	}
	if m.Provider == "openrouter" || m.Upstream.Dialect == DialectOpenRouter {
		id := m.UpstreamModel
		if strings.HasSuffix(id, ":online") || strings.HasPrefix(id, "@") || strings.Contains(id, "@preset") || id == "auto" || id == "openrouter/auto" {
			return budget.Invalid("unsupported_feature", "model", fmt.Sprintf("%s can become another model or add paid steps; name one model without :online", m.Slug))
		}
	}
	if c.Endpoint == Chat && c.Stream && m.Upstream.StreamUsage == StreamUsageRequire && c.options.include != 't' {
		return budget.Invalid("stream_usage_required", "stream_options.include_usage", fmt.Sprintf("%s reports the usage of a stream only when asked; send \"stream_options\": {\"include_usage\": true}", m.Provider))
	}
	return nil
}

// multipliers are the factors on a call's token prices.
type multipliers struct {
	always ratio // region and time of day
	tier   ratio // the service tier asked for, at least 1
	total  ratio
}

func (m *Model) multiplier(c *Call, at time.Time) (multipliers, error) {
	out := multipliers{always: m.Row.rules.peak(at), tier: one()}
	if c.geo != "" && c.geo != "global" {
		geo, ok := m.Row.rules.geos[c.geo]
		if !ok {
			return out, m.tierNotPriced("inference_geo", c.geo, "inference_geo")
		}
		if out.always, ok = out.always.times(geo); !ok {
			return out, m.tierNotPriced("inference_geo", c.geo, "inference_geo")
		}
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
	var ok bool
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

// peak is the dearest time-of-day multiplier between t and t + horizon.
func (r *rules) peak(t time.Time) ratio {
	f := one()
	if len(r.peaks) == 0 {
		return f
	}
	utc := t.UTC()
	now := utc.Hour()*60 + utc.Minute()
	end := now + int(horizon/time.Minute)
	for _, p := range r.peaks {
		today := now < p.to && end >= p.from
		tomorrow := end >= p.from+24*60
		if (today || tomorrow) && p.factor.above(f) {
			f = p.factor
		}
	}
	return f
}

// output fills in choices and the output cap: the body's, an inserted one, or
// the model's own limit.
func (m *Model) output(b *Bound, c *Call) error {
	a := &b.sum
	a.choices = c.choices
	if c.Endpoint == Embeddings {
		a.choices = 0
		return nil
	}
	limit := int64(-1)
	if c.maxTokens.set && m.Upstream.honours("max_tokens") {
		limit = c.maxTokens.value
	}
	if c.maxCompletion.set && m.Upstream.honours("max_completion_tokens") {
		limit = max(limit, c.maxCompletion.value)
	}
	switch {
	case limit >= 0:
		a.limit = limit
	case m.Upstream.capField() != CapFieldNone:
		a.limit = m.defaultCap(c)
		b.InjectedCap = a.limit
	case m.Row.MaxOutput > 0:
		a.limit = m.Row.MaxOutput
	default:
		return budget.Invalid("max_output_unknown", "max_tokens", fmt.Sprintf("the request has no output cap that %s obeys, and the output limit of %s is unknown; send max_tokens, or add to the configuration:\nmodels:\n- model: %s\n  limits: {max_output: <tokens>}", m.Provider, m.Slug, m.Slug))
	}
	return nil
}

// defaultCap leaves room for the input: vendors refuse input + cap > context.
func (m *Model) defaultCap(c *Call) int64 {
	limit := m.Upstream.DefaultMaxTokens
	if limit == 0 {
		limit = defaultMaxTokens
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
func (m *Model) pin(c *Call, a *arithmetic, f multipliers) *pin {
	p := &pin{
		flags: m.flags(c) | pinPriced, choices: max(c.choices, 1), rate: m.Upstream.MaxTokensPerSecond,
		input: a.input, inPico: a.in, outPico: a.out, fees: a.fees,
		factor: f.always, asked: f.tier, tiers: m.Row.rules.tiers, rates: m.Row.tiers,
	}
	if c.cacheLong {
		p.flags |= pinLongWrites
	}
	return p
}

func (m *Model) flags(c *Call) uint64 {
	var f uint64
	set := func(on bool, bit uint64) {
		if on {
			f |= bit
		}
	}
	set(c.Stream && c.Endpoint == Chat, pinStream)
	set(m.Upstream.RunningUsage || c.options.continuous, pinRunning)
	set(m.Upstream.CancelsOnDisconnect && len(c.hosted) == 0 && !c.prediction && !c.audioOut && len(c.audios) == 0, pinElapsed)
	set(m.Upstream.Dialect == DialectOpenRouter || m.Provider == "openrouter", pinCost)
	set(c.Endpoint == Embeddings, pinNoOutput)
	return f
}
