package pricing

import (
	"bytes"
	"fmt"
	"strings"

	"aigateway/budget"

	"github.com/go-json-experiment/json/jsontext"
)

// OpenRouter sells a model on many hosts, each at prices of its own. Its member
// provider chooses among them, and provider.max_price rules out hosts that list
// more than it says: USD per million prompt and completion tokens, per request
// and per image. With our prices in it no host costs more than the bound
// assumes. https://openrouter.ai/docs/guides/routing/provider-selection

// routing is the provider member of a body.
type routing struct {
	kind     jsontext.Kind // 0 absent, 'n' null, '{' object; anything else is refused
	at       int           // offset of null, or just after the brace
	empty    bool
	unknown  string // a member nobody here knows
	maxPrice span   // its value; 0 to 0: absent
	most     [hostPrices]hostPrice
}

// hostPrice is one price of max_price as the client wrote it; raw is empty when
// it has none.
type hostPrice struct {
	raw  string
	nano budget.Amount // USD, rounded up; the largest amount for what exceeds it
}

// The prices of max_price, in the order they are written.
const (
	hostPrompt = iota
	hostCompletion
	hostRequest
	hostImage
	hostAudio
	hostPrices
)

func hostPriceNames() [hostPrices]string {
	return [hostPrices]string{"prompt", "completion", "request", "image", "audio"}
}

// routesHosts reports whether the upstream chooses a host for each call.
func (m *Model) routesHosts() bool {
	return m.Provider == "openrouter" || m.Upstream.Dialect == DialectOpenRouter
}

// routingMember reads provider. Whether it has a bound depends on the upstream.
func (p *parser) routingMember() error {
	r := &p.call.routing
	switch r.kind = p.dec.PeekKind(); r.kind {
	case 'n':
		err := p.dec.SkipValue()
		r.at = int(p.dec.InputOffset()) - len("null")
		return err
	case '{':
	default:
		return p.walk()
	}
	if err := p.dec.bracket(); err != nil {
		return err
	}
	r.empty, r.at = true, int(p.dec.InputOffset())
	return p.members(func(name []byte) error {
		r.empty = false
		switch string(name) {
		case "max_price":
			return p.maxPrice()
		case "order", "only", "ignore", "allow_fallbacks", "require_parameters", "data_collection", "zdr", "enforce_distillable_text",
			"quantizations", "sort", "preferred_min_throughput", "preferred_max_latency", "min_throughput", "max_latency":
		default:
			if r.unknown == "" {
				r.unknown = p.path()
			}
		}
		return p.walkMember(name)
	})
}

// maxPrice reads provider.max_price: numbers, or numbers in strings.
func (p *parser) maxPrice() error {
	r := &p.call.routing
	before := p.dec.InputOffset()
	err := p.maxPriceMembers()
	end := int(p.dec.InputOffset())
	start := int(before) + bytes.IndexAny(p.call.body[before:end], "{n")
	r.maxPrice = span{start, end}
	return err
}

func (p *parser) maxPriceMembers() error {
	switch p.dec.PeekKind() {
	case 'n':
		return p.dec.SkipValue()
	case '{':
	default:
		return p.wrongType("an object of prices")
	}
	return p.object(func(name []byte) error {
		for i, known := range hostPriceNames() {
			if string(name) == known {
				return p.hostPrice(&p.call.routing.most[i])
			}
		}
		if p.call.routing.unknown == "" {
			p.call.routing.unknown = p.path()
		}
		return p.walk()
	})
}

func (p *parser) hostPrice(into *hostPrice) error {
	kind := p.dec.PeekKind()
	if kind == 'n' {
		return p.dec.SkipValue()
	}
	raw, err := p.dec.ReadValue()
	if err != nil {
		return err
	}
	number := jsontext.Value(bytes.Clone(raw))
	if kind == '"' {
		text, err := unquote(raw)
		if err != nil {
			return err
		}
		number = bytes.Clone(text)
	}
	if number.Kind() != '0' || !number.IsValid() || number[0] == '-' {
		return p.invalid("is no price; use US dollars, such as 0.5")
	}
	into.raw = string(number)
	var ok bool
	if into.nano, ok = nanoUSD(number); !ok {
		into.nano = budget.MaxAmount
	}
	return nil
}

// routed refuses a provider member whose effect on the price is unknown.
func (m *Model) routed(c *Call) error {
	r := &c.routing
	if !m.routesHosts() {
		if r.asks() {
			return budget.Invalid("unsupported_feature", "provider", "provider can change the host and so its price; leave it out")
		}
		return nil
	}
	if c.form != nil { // which cannot say what a host may cost
		return budget.Invalid("unbounded_media", "model", m.Slug+" is served by hosts whose prices differ, which a form cannot limit; name a model of another provider")
	}
	id := m.UpstreamModel
	if strings.HasSuffix(id, ":online") || strings.HasPrefix(id, "@") || strings.Contains(id, "@preset") || id == "auto" || id == "openrouter/auto" {
		return budget.Invalid("unsupported_feature", "model", fmt.Sprintf("%s can become another model or add paid steps; name one model without :online", m.Slug))
	}
	switch {
	case r.kind != 0 && r.kind != 'n' && r.kind != '{':
		return budget.Invalid("field_invalid", "provider", "provider must be an object such as {\"order\": [\"openai\"]}")
	case r.unknown != "":
		return budget.Invalid("unsupported_feature", r.unknown, r.unknown+" may change the price in a way nobody here knows; leave it out")
	}
	return nil
}

// asks reports whether the member says anything: null and false do not.
func (r *routing) asks() bool { return r.kind != 0 && r.kind != 'n' && r.kind != 'f' }

// hostLimits are the prices the bound used, in nano-USD of max_price's units. A
// price that no part of the body can cause has no limit.
func (m *Model) hostLimits(c *Call, a *arithmetic) (limits [hostPrices]budget.Amount, has [hostPrices]bool) {
	set := func(i int, nano budget.Amount) { limits[i], has[i] = nano, true }
	base := &m.Row.tiers[0]
	const nanoPerPico = 1000 // a pico-USD per token is 1,000 nano-USD per million
	set(hostPrompt, budget.Amount(base.price(input)*nanoPerPico))
	set(hostCompletion, budget.Amount(base.price(output)*nanoPerPico))
	set(hostRequest, budget.Amount(m.Row.fees[feeRequest]/nanoPerPico))
	if rule := m.Row.rules.image; len(c.images) > 0 && rule == nil { // a fee for each, or none
		set(hostImage, budget.Amount(m.Row.fees[feeInputImage]/nanoPerPico))
	} else if len(c.images) > 0 {
		least := int64(maxCount)
		for _, img := range c.images {
			least = min(least, img.tokens(rule))
		}
		set(hostImage, floorNano(least, a.in))
	}
	if len(c.audios) > 0 {
		set(hostAudio, budget.Amount(base.price(inputAudio)*nanoPerPico))
	}
	return limits, has
}

// floorNano is count × pico in nano-USD, rounded down.
func floorNano(count, pico int64) budget.Amount {
	w := wide{}.plus(count, pico)
	amount, ok := w.nano()
	if !ok {
		return budget.MaxAmount
	}
	if w.hi != 0 || w.lo%1000 != 0 { // it was, or may have been, rounded up
		amount--
	}
	return amount
}

// limitHosts is the edit that keeps hosts dearer than the bound assumes out.
// What the client allows less of stays.
func (m *Model) limitHosts(c *Call, a *arithmetic) (Edit, bool) {
	r := &c.routing
	limits, has := m.hostLimits(c, a)
	var text strings.Builder
	changed := r.maxPrice.end == 0
	for i, name := range hostPriceNames() {
		own := &r.most[i]
		value := own.raw
		if has[i] && (own.raw == "" || own.nano > limits[i]) {
			value, changed = limits[i].String(), true
		}
		if value == "" {
			continue
		}
		if text.Len() > 0 {
			text.WriteByte(',')
		}
		text.WriteString(`"` + name + `":` + value)
	}
	object := "{" + text.String() + "}"
	member := `"max_price":` + object
	switch {
	case !changed:
		return Edit{}, false
	case r.maxPrice.end > 0:
		return Edit{r.maxPrice.at, r.maxPrice.end - r.maxPrice.at, object}, true
	case r.kind == 0:
		return Edit{At: c.open, Ins: `"provider":{` + member + `},`}, true
	case r.kind == 'n':
		return Edit{r.at, len("null"), "{" + member + "}"}, true
	case r.empty:
		return Edit{At: r.at, Ins: member}, true
	}
	return Edit{At: r.at, Ins: member + ","}, true
}
