package pricing_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"go.yaml.in/yaml/v4"
)

// oracle is a second, slow bound. It follows the rules of the field table on a
// body decoded into maps, with exact rationals, and shares no code with the fast
// one: not its parser, its price rows nor its arithmetic.
type oracle struct {
	families, models map[string]map[string]any // of the catalog, as YAML has them
	upstreams        map[string]pricing.Upstream
	longest          time.Duration
}

func newOracle(t testing.TB, overlay string, upstreams []pricing.Upstream, longest time.Duration) *oracle {
	t.Helper()
	o := &oracle{families: map[string]map[string]any{}, models: map[string]map[string]any{}, upstreams: map[string]pricing.Upstream{}, longest: longest}
	var catalog, prices struct {
		Families []map[string]any `yaml:"families"`
		Models   []map[string]any `yaml:"models"`
	}
	for file, into := range map[string]any{"catalog.yaml": &catalog, "prices.yaml": &prices} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	var own []map[string]any
	if err := yaml.Unmarshal([]byte(overlay), &own); err != nil {
		t.Fatal(err)
	}
	for _, f := range catalog.Families {
		o.families[f["family"].(string)] = f
	}
	for _, m := range slices.Concat(catalog.Models, prices.Models, own) {
		slug := m["model"].(string)
		if o.models[slug] == nil {
			o.models[slug] = map[string]any{}
		}
		lay(o.models[slug], m)
	}
	for _, u := range upstreams {
		o.upstreams[u.Provider] = u
	}
	return o
}

// lay puts the members of over on base, maps member by member.
func lay(base, over map[string]any) {
	for k, v := range over {
		below, isMap := base[k].(map[string]any)
		if above, ok := v.(map[string]any); isMap && ok && k != "image" {
			lay(below, above)
			continue
		}
		if above, ok := v.(map[string]any); ok {
			fresh := map[string]any{}
			lay(fresh, above)
			v = fresh
		}
		base[k] = v
	}
}

// call is one call being bounded.
type oracleCall struct {
	*oracle
	endpoint pricing.Endpoint
	body     []byte
	m        map[string]any             // the body
	raw      map[string]json.RawMessage // its members as written
	row      map[string]any
	lists    []map[string]any // price lists that may be in force while it runs
	up       pricing.Upstream
	slug     string
	at       time.Time
}

// refused is a reason code; the oracle panics with it and bound recovers.
type refused string

// bound is the amount, or the reason why there is none.
func (o *oracle) bound(e pricing.Endpoint, body string, at time.Time) (amount budget.Amount, reason string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case refused:
			reason = string(r)
		default:
			panic(r)
		}
	}()
	c := &oracleCall{oracle: o, endpoint: e, body: []byte(body), at: at}
	dec := json.NewDecoder(bytes.NewReader(c.body))
	dec.UseNumber()
	if dec.Decode(&c.m) != nil || json.Unmarshal(c.body, &c.raw) != nil {
		panic(refused("body_not_json"))
	}
	c.checkShape()
	c.slug = c.text("model")
	provider, _, _ := strings.Cut(c.slug, "/")
	c.up = o.upstreams[provider]
	c.row = o.rowOf(c.slug)
	if c.row == nil {
		panic(refused("model_not_priced"))
	}
	c.lists = c.inForce()
	return c.total(), ""
}

// rowOf is a model's row over its family's.
func (o *oracle) rowOf(slug string) map[string]any {
	m := o.models[slug]
	if m == nil {
		return nil
	}
	family, ok := m["family"].(string)
	if !ok {
		family = "default"
	}
	row := map[string]any{}
	lay(row, o.families[family])
	lay(row, m)
	return row
}

// inForce are the price lists of the time from now until the call must be over.
func (c *oracleCall) inForce() []map[string]any {
	type dated struct {
		from time.Time
		list map[string]any
	}
	var all []dated
	for _, p := range c.row["prices"].([]any) {
		d := dated{list: p.(map[string]any)}
		switch from := d.list["from"].(type) {
		case time.Time:
			d.from = from
		case string:
			d.from, _ = time.Parse(time.DateOnly, from)
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b dated) int { return a.from.Compare(b.from) })
	var out []map[string]any
	for i, d := range all {
		begins := !d.from.After(c.at.Add(c.longest))
		ended := i+1 < len(all) && !all[i+1].from.After(c.at)
		if begins && !ended {
			out = append(out, d.list)
		}
	}
	return out
}

// total is ceil_nano(hops × (I × p_in + O × p_out) × m + fees).
func (c *oracleCall) total() budget.Amount {
	c.refuseUnbounded()
	factor := c.factor()
	limit, capped := c.outputCap()
	output := limit * c.choices()
	in, hops := c.inputTokens()
	reach := in
	if c.generates() && !capped {
		reach += c.perByte(64) // a client may send the cap that it was told
	}
	reach += c.rounds(reach, hops, output)
	prompt, answer := c.prices(reach, limit)
	sum := new(big.Rat).Mul(rat(in+c.rounds(in, hops, output)), prompt)
	if c.endpoint != pricing.Responses || c.row["web_search_tokens"] == nil { // OpenAI's cap is one for all rounds
		output *= hops
	}
	sum.Add(sum, new(big.Rat).Mul(rat(output), answer))
	sum.Add(sum, c.made(reach))
	sum.Mul(sum, factor)
	sum.Add(sum, c.fees())
	if flat := c.fee("content_refusal"); flat != nil && flat.Cmp(sum) > 0 {
		sum.Set(flat)
	}
	sum.Mul(sum, rat(1_000_000_000)) // dollars to nano-USD
	up := new(big.Int).Add(sum.Num(), new(big.Int).Sub(sum.Denom(), big.NewInt(1)))
	return budget.Amount(up.Div(up, sum.Denom()).Int64())
}

func rat(n int64) *big.Rat { return new(big.Rat).SetInt64(n) }

// decimal reads a price, a factor or a number of the catalog.
func decimal(v any) *big.Rat {
	switch v := v.(type) {
	case string:
		r, ok := new(big.Rat).SetString(v)
		if ok {
			return r
		}
	case int:
		return rat(int64(v))
	}
	return nil
}

// prices are the dearest dollars per input and output token.
func (c *oracleCall) prices(reach, limit int64) (prompt, answer *big.Rat) {
	prompt, answer = new(big.Rat), new(big.Rat)
	raise := func(into, by *big.Rat) {
		if by != nil && by.Cmp(into) > 0 {
			into.Set(by)
		}
	}
	kinds := append([]string{"input", "cache_read"}, c.writes(limit)...)
	if c.count("images") > 0 || c.edited() > 0 || c.hidden() {
		kinds = append(kinds, "input_image")
	}
	if c.count("audios") > 0 || c.hidden() {
		kinds = append(kinds, "input_audio")
	}
	for _, list := range c.lists {
		for _, k := range kinds {
			price, whole := priceOf(list, k, reach), priceOf(list, "input", reach)
			if strings.HasPrefix(k, "cache_write") && price != nil && price.Cmp(whole) < 0 {
				price = new(big.Rat).Add(price, whole) // of keeping it
			}
			raise(prompt, price)
		}
		raise(answer, priceOf(list, "output", reach))
		if c.audioOut() {
			raise(answer, priceOf(list, "output_audio", reach))
		}
	}
	million := rat(1_000_000)
	return prompt.Quo(prompt, million), answer.Quo(answer, million)
}

// priceOf is a kind's price per million at an input; nil: it has none.
func priceOf(list map[string]any, kind string, reach int64) *big.Rat {
	price := decimal(list[kind])
	tiers, _ := list["tiers"].([]any)
	for _, t := range tiers {
		tier := t.(map[string]any)
		if int64(tier["from"].(int)) <= reach {
			price = decimal(tier[kind])
		}
	}
	return price
}

func (c *oracleCall) priced(kind string) bool {
	return slices.ContainsFunc(c.lists, func(l map[string]any) bool { return l[kind] != nil })
}

// writes are the kinds of cache writes the body can cause.
func (c *oracleCall) writes(limit int64) []string {
	short, long := c.cacheControls()
	if c.endpoint == pricing.Chat || c.endpoint == pricing.Responses {
		if options, ok := c.m["prompt_cache_options"].(map[string]any); ok && options["ttl"] != nil && options["ttl"] != "30m" && options["ttl"] != "5m" {
			long = true
		}
		if r := c.text("prompt_cache_retention"); r != "" && r != "in_memory" && r != "in-memory" {
			long = true
		}
	}
	billsWrites := c.up.Provider == "anthropic" || c.openRouter()
	if !c.priced("cache_write") {
		if long && c.priced("cache_write_long") {
			return []string{"cache_write_long"}
		}
		if (short || long) && billsWrites {
			panic(refused("tier_not_priced"))
		}
		return nil
	}
	wanted := short || long || c.implicitWrites(short)
	if c.endpoint == pricing.Messages && limit == 0 && c.m["max_tokens"] != nil {
		wanted = true
	}
	if c.endpoint == pricing.Responses {
		for _, k := range []string{"generate", "prewarm"} {
			if _, ok := c.m[k].(bool); ok {
				wanted = true
			}
		}
	}
	switch {
	case !wanted:
		return nil
	case !long:
		return []string{"cache_write"}
	case !c.priced("cache_write_long"):
		panic(refused("tier_not_priced"))
	}
	return []string{"cache_write", "cache_write_long"}
}

// implicitWrites reports whether the provider writes prompts to its cache unasked.
func (c *oracleCall) implicitWrites(short bool) bool {
	switch implicit, said := c.row["implicit_cache"].(bool); {
	case said && !implicit:
		return false
	case !said && !strings.HasPrefix(c.slug, "openai/") && !strings.HasPrefix(c.slug, "azure/") && !strings.Contains(c.slug, "/openai/"):
		return false
	}
	explicit := false
	if options, ok := c.m["prompt_cache_options"].(map[string]any); ok && (c.endpoint == pricing.Chat || c.endpoint == pricing.Responses) {
		explicit = options["mode"] == "explicit"
	}
	breakpoints := false
	everyMember(c.m, func(name string, _ any) { breakpoints = breakpoints || strings.Contains(name, "breakpoint") })
	return !explicit || breakpoints || short
}

func (c *oracleCall) cacheControls() (short, long bool) {
	everyMember(c.m, func(name string, v any) {
		if name != "cache_control" || v == nil {
			return
		}
		short = true
		if control, ok := v.(map[string]any); ok && control["ttl"] != nil && control["ttl"] != "5m" {
			long = true
		}
	})
	return short, long
}

// everyMember calls f with each member of v, at every depth.
func everyMember(v any, f func(name string, v any)) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			f(name, value)
			everyMember(value, f)
		}
	case []any:
		for _, value := range v {
			everyMember(value, f)
		}
	}
}

// factor multiplies all token prices: region, time of day and service tier.
func (c *oracleCall) factor() *big.Rat {
	factor := rat(1)
	if m := c.up.PriceMultiplier; m != "" {
		factor.Mul(factor, decimal(m))
	}
	geo := c.text("inference_geo")
	if geo == "" {
		geo = c.up.DefaultGeo
	}
	if geo != "" && geo != "global" {
		factor.Mul(factor, c.named("inference_geo", geo))
	}
	tier := c.text("service_tier")
	if tier == "" || tier == "auto" {
		tier = c.up.DefaultTier
	}
	dearest := rat(1)
	speed := c.text("speed")
	if c.endpoint == pricing.Speech {
		speed = "" // of the voice
	}
	for _, name := range []string{tier, speed} {
		if f := c.tierFactor(name); f.Cmp(dearest) > 0 {
			dearest = f
		}
	}
	factor.Mul(factor, dearest)
	return factor.Mul(factor, c.peak())
}

func (c *oracleCall) tierFactor(name string) *big.Rat {
	tiers, _ := c.row["service_tiers"].(map[string]any)
	if f := decimal(tiers[name]); f != nil {
		return f
	}
	if slices.Contains([]string{"", "default", "standard", "normal", "auto"}, name) {
		return rat(1)
	}
	panic(refused("tier_not_priced"))
}

func (c *oracleCall) named(key, name string) *big.Rat {
	table, _ := c.row[key].(map[string]any)
	f := decimal(table[name])
	if f == nil {
		panic(refused("tier_not_priced"))
	}
	return f
}

// peak looks at every minute in which the call may run.
func (c *oracleCall) peak() *big.Rat {
	dearest := rat(1)
	peaks, _ := c.row["peaks"].([]any)
	for t := c.at.Truncate(time.Minute); !t.After(c.at.Add(c.longest)); t = t.Add(time.Minute) {
		clock := t.UTC().Format("15:04")
		for _, p := range peaks {
			peak := p.(map[string]any)
			weekend := t.UTC().Weekday() == time.Saturday || t.UTC().Weekday() == time.Sunday
			if weekend && peak["weekdays"] == true {
				continue
			}
			if clock >= peak["from"].(string) && clock < peak["to"].(string) {
				if f := decimal(peak["multiplier"]); f.Cmp(dearest) > 0 {
					dearest = f
				}
			}
		}
	}
	return dearest
}
