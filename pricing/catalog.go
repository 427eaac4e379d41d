package pricing

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"aigateway/budget"
)

// defaultMaxTokens is the output cap inserted when neither the client nor the
// upstream's configuration names one.
const defaultMaxTokens = 32_768

// defaultToolCalls is the limit of tools that run at the provider, of a call that
// a budget watches, when neither the body nor the upstream's configuration has one.
const defaultToolCalls = 3

// Usage dialects: how a provider writes what a call used.
const (
	DialectOpenAIChat = "openai_chat" // chat, legacy completions, embeddings
	// DialectOpenRouter is openai_chat with the billed amount in the report.
	DialectOpenRouter        = "openrouter"
	DialectOpenAIResponses   = "openai_responses"
	DialectAnthropicMessages = "anthropic_messages"
	DialectCohereRerank      = "cohere_rerank" // search units
	DialectTokensRerank      = "tokens_rerank" // tokens
	// DialectOpenAIMedia is that of OpenAI's images and audio: by token, with
	// output of one kind where the report does not say, or by second.
	DialectOpenAIMedia = "openai_media"
	// DialectCustom is what the upstream's Extractor says.
	DialectCustom = "custom"
)

// How an upstream is made to report the usage of a stream.
const (
	StreamUsageInject      = "inject"       // ask for it in the body
	StreamUsageRequire     = "require"      // refuse streams that do not ask
	StreamUsageNative      = "native"       // it comes unasked
	StreamUsageChargeBound = "charge_bound" // never ask; without a report the bound is charged
)

// CapFieldNone keeps caps from being inserted.
const CapFieldNone = "none"

// How the input of a call is bounded.
const (
	// InputBoundBytes takes each byte of text for a token, which no byte-level
	// tokenizer exceeds.
	InputBoundBytes = "bytes"
	// InputBoundTokenizer counts text with the model's tokenizer where that is
	// public and where the provider is known to take the text as it is.
	InputBoundTokenizer = "tokenizer"
)

// Upstream is how one provider speaks. The zero value of each field is the
// usual OpenAI-compatible server.
type Upstream struct {
	Provider string // name, the first segment of its models' slugs
	Order    int    // place in the operator's order, from 1: who serves a name without a provider; 0: none
	Dialect  string // usage extractor of chat, completions and embeddings; empty: DialectOpenAIChat
	// Dialects name extractors for single endpoints; one that is missing has
	// the endpoint's usual one.
	Dialects            map[Endpoint]string
	Extractor           *Extractor // of DialectCustom
	StreamUsage         string     // empty: StreamUsageInject
	CapField            string     // output cap to insert; empty: max_tokens
	Honours             []string   // cap fields it obeys; empty: both
	CancelsOnDisconnect bool       // stops generating, and billing, when the client leaves
	StreamsAllOutput    bool       // a stream has all that is billed as output, thoughts too, as it is generated
	MaxTokensPerSecond  int64      // per choice; 0 is unknown
	DefaultTier         string     // service tier of a body that names none
	DefaultMaxTokens    int64      // inserted when the body has no cap; 0: 32,768, or 16 for legacy completions
	DefaultMaxToolCalls int64      // inserted where tools that the provider runs have no limit; 0: 3 on a budget
	DefaultGeo          string     // inference_geo of a body that names none
	PriceMultiplier     string     // on all token prices, a decimal from 1 to 100, such as 1.1 for data residency; empty: 1
	InputBound          string     // of models that say nothing of their own; empty: InputBoundBytes

	RequireMaxTokens       bool // refuse a body without an output cap
	StrictBody             bool // refuse top-level members nobody here knows
	DenyOmittedImageDetail bool // refuse images without detail high or low
	AllowPDF               bool // bound a PDF by the context where a page has no published size
	// Deployments: its models are called as somebody called them who deployed them,
	// so that the operator must say of which model each is.
	Deployments      bool
	AllowStoredInput bool // stored prompts bring no tools of the provider: bound them likewise
}

// provider is a checked Upstream.
type provider struct {
	Upstream
	multiplier ratio // its PriceMultiplier
}

// Catalog is the price list. It is immutable and safe for concurrent use.
type Catalog struct {
	version    string
	longest    time.Duration // of a call: how far ahead bounds look for dearer prices
	date       time.Time
	providers  map[string]provider
	names      index
	slugs      []string              // sorted, without aliases
	tokenizers map[string]*tokenizer // by name: those that some model is counted with
}

// entry is one priced slug.
type entry struct {
	slug, upstreamModel, quoted string
	aliases                     []string
	like                        string           // slug of the row it inherits from; empty: none
	dated                       bool             // its versions cost what it does
	rows                        []*Row           // by From, ascending
	family                      map[string]ratio // its family's service tiers
	familyEndpoints             bool             // its family has its endpoints
}

// Model is a slug resolved at a moment. Row is nil when it has no price.
type Model struct {
	Slug, Provider, UpstreamModel string
	Upstream                      Upstream
	Row                           *Row

	markup  ratio      // its provider's PriceMultiplier
	quoted  string     // UpstreamModel as a JSON string
	catalog *Catalog   // of one without any row, for what is near
	tokens  *tokenizer // counts its input; nil: bytes bound it
	longest time.Duration
}

// Row is what the catalog knows about a model's price at a moment.
type Row struct {
	Family             string
	Context, MaxOutput int64 // tokens; 0 is unknown
	From               time.Time
	Source             string
	CheckedAt          time.Time
	// Where the limits come from; empty and zero: nobody wrote it down.
	LimitsSource    string
	LimitsCheckedAt time.Time
	Accepted        []Acceptance // oldest first

	soon  bool // the dearer of the lists before and after it
	own   bool // an overlay has prices for it
	named bool // the operator has a row for it, which says of which model it is
	tiers []rates
	fees  map[string]int64 // pico-USD per use
	rules *rules
}

// rules are the parts of a row that do not change with its price.
type rules struct {
	overhead   overhead
	perByte    ratio  // tokens a byte of text can become
	nfkc       bool   // the tokenizer may normalise its input
	tokenizer  string // its public name; empty: not public
	inputBound string // empty: the upstream's
	implicit   bool   // prompts are written to the cache unasked
	// It thinks only when a body asks it to; all else that it generates is in its
	// stream.
	thinksWhenAsked bool
	reprints        bool // its template may write parts of a tool more than once

	flatCache  bool  // a cheaper service tier does not make cache reads cheaper
	defaultCap int64 // inserted when a body has no output cap; 0: the upstream's
	maxBatch   int64 // input tokens of one embeddings call; 0 is unknown
	image      *imageRule
	pdfPage    int64 // most text tokens of a PDF's page, beside its image; 0: not published
	audioRate  int64 // input tokens of a second of audio
	audioLeast int64 // seconds that a recording is billed for at least
	audioMost  int64 // seconds of the longest one that the provider takes; 0: unknown
	draws      *drawRule
	// searchTokens is how many input tokens the results of one web search add to
	// what the model reads next, at most; 0: they may fill the context.
	searchTokens int64
	tiers        []namedRatio
	geos         map[string]ratio
	geoList      []namedRatio // geos by name
	peaks        []peak
	endpoints    []Endpoint
}

// namedRatio is a service tier and the factor on its token prices.
type namedRatio struct {
	name   string
	factor ratio
}

// Rate is one price of a row.
type Rate struct {
	Kind         string // input, cache_read, …, output
	FromTokens   int64  // input tokens from which it holds
	PicoPerToken int64  // 1e-12 US dollars, which is also micro-USD per million tokens
}

// Rates lists the row's prices, tier by tier.
func (r *Row) Rates() []Rate {
	var out []Rate
	for i := range r.tiers {
		for b := range bucketCount {
			if r.tiers[i].priced(b) {
				out = append(out, Rate{b.String(), r.tiers[i].from, r.tiers[i].pico[b]})
			}
		}
	}
	return out
}

func (c *Catalog) addUpstream(u Upstream) error {
	oneOf := func(field, v string, allowed ...string) error {
		if v == "" || slices.Contains(allowed, v) {
			return nil
		}
		return fmt.Errorf("provider %s: %s is %q; use %s", u.Provider, field, v, strings.Join(allowed, ", "))
	}
	caps := []string{"max_tokens", "max_completion_tokens"}
	if u.Provider == "" || strings.Contains(u.Provider, "/") {
		return fmt.Errorf("provider %q: a name must not be empty or contain a slash", u.Provider)
	}
	if _, ok := c.providers[u.Provider]; ok {
		return fmt.Errorf("provider %s appears twice", u.Provider)
	}
	if err := u.checkDialects(); err != nil {
		return err
	}
	if err := oneOf("stream_usage", u.StreamUsage, StreamUsageInject, StreamUsageRequire, StreamUsageNative, StreamUsageChargeBound); err != nil {
		return err
	}
	if err := oneOf("input_bound", u.InputBound, InputBoundBytes, InputBoundTokenizer); err != nil {
		return err
	}
	if err := oneOf("cap_field", u.CapField, append(caps, CapFieldNone)...); err != nil {
		return err
	}
	for _, h := range u.Honours {
		if err := oneOf("honours", h, caps...); err != nil {
			return err
		}
	}
	if f := u.capField(); f != CapFieldNone && !u.honours(f) {
		return fmt.Errorf("provider %s: cap_field %s is not among the fields it honours", u.Provider, f)
	}
	if u.MaxTokensPerSecond < 0 || u.MaxTokensPerSecond > maxCap || u.DefaultMaxTokens < 0 || u.DefaultMaxTokens > maxCap {
		return fmt.Errorf("provider %s: max_tokens_per_second and default_max_tokens must be from 0 to %d", u.Provider, maxCap)
	}
	if u.DefaultMaxToolCalls < 0 || u.DefaultMaxToolCalls > maxToolCalls {
		return fmt.Errorf("provider %s: default_max_tool_calls must be from 0 to %d", u.Provider, maxToolCalls)
	}
	multiplier, err := readMultiplier(u.PriceMultiplier)
	if err != nil {
		return fmt.Errorf("provider %s: price_multiplier %w", u.Provider, err)
	}
	c.providers[u.Provider] = provider{u, multiplier}
	return nil
}

// CheckMultiplier says what is wrong with an [Upstream.PriceMultiplier].
func CheckMultiplier(s string) error {
	_, err := readMultiplier(s)
	return err
}

func readMultiplier(s string) (ratio, error) {
	if s == "" {
		return one(), nil
	}
	micro, err := microDecimal(s)
	if err != nil || micro < 1_000_000 || micro > 100_000_000 {
		return ratio{}, fmt.Errorf("is %q; write a decimal from 1 to 100 with at most 6 decimals, such as \"1.1\" for data residency", clip(s))
	}
	return newRatio(uint64(micro), 1_000_000), nil
}

func (u *Upstream) capField() string {
	if u.CapField == "" {
		return "max_tokens"
	}
	return u.CapField
}

func (u *Upstream) honours(field string) bool {
	return len(u.Honours) == 0 || slices.Contains(u.Honours, field)
}

func (c *Catalog) addRows(b *builder) error {
	entries := make(map[string]*entry, len(b.rows))
	for slug, s := range b.rows {
		e, err := b.entry(s)
		if err != nil {
			return err
		}
		entries[slug] = e
		c.slugs = append(c.slugs, slug)
		for _, r := range e.rows {
			if r.CheckedAt.After(c.date) {
				c.date = r.CheckedAt
			}
		}
	}
	slices.Sort(c.slugs)
	c.names = newIndex(entries, c.slugs)
	return c.loadTokenizers()
}

// Version is a short hash of the embedded catalog and the overlay.
func (c *Catalog) Version() string { return c.version }

// Date is when its newest price was checked.
func (c *Catalog) Date() time.Time { return c.date }

// Models lists the models of the configured providers that have a price at
// that moment, by slug.
func (c *Catalog) Models(at time.Time) []Model {
	var out []Model
	for _, slug := range c.slugs {
		m, err := c.Resolve(slug, at)
		if err == nil && m.Row != nil {
			out = append(out, m)
		}
	}
	return out
}

// Resolve finds the model that a client names, and its price row: by its slug, or
// by what its vendor calls the provider, the model or a version of it. A model of
// a configured provider without a price is no error: its Row is nil. The error is
// a *budget.Error of kind model not found.
func (c *Catalog) Resolve(slug string, at time.Time) (Model, error) {
	if !strings.Contains(slug, "/") {
		var err error
		if slug, err = c.qualify(slug); err != nil {
			return Model{}, err
		}
	}
	provider, name, _ := strings.Cut(slug, "/")
	if provider == "" || name == "" {
		return Model{}, notFound("model_unknown", fmt.Sprintf("model is %q; write provider/model, such as openai/gpt-5.4-mini, and see GET /v1/models", clip(slug)))
	}
	up, ok := c.configured(provider)
	if !ok {
		return Model{}, notFound("provider_unknown", fmt.Sprintf("no provider %q is configured; configured: %s%s", clip(provider), c.providerNames(), c.nearest("", name)))
	}
	if up.Provider != provider {
		slug = up.Provider + "/" + name
	}
	m := Model{Slug: slug, Provider: up.Provider, UpstreamModel: name, Upstream: up.Upstream, markup: up.multiplier, longest: c.longest}
	e, version := c.names.find(slug, false)
	if e == nil || version != "" && up.Deployments { // another deployment
		m.quoted, m.catalog = quoteJSON(name), c
		return m, nil
	}
	m.Slug, m.Row = e.slug, e.rowAt(at)
	if m.Row != nil && m.Row.rules.counts(&up.Upstream) {
		m.tokens = c.tokenizers[m.Row.rules.tokenizer]
	}
	m.UpstreamModel, m.quoted = e.upstreamModel, e.quoted
	if version != "" { // it is asked for by its own name
		m.UpstreamModel += version
		m.quoted = quoteJSON(m.UpstreamModel)
	}
	return m, nil
}

func (e *entry) rowAt(at time.Time) *Row {
	for i := len(e.rows) - 1; i >= 0; i-- {
		if !at.Before(e.rows[i].From) {
			return e.rows[i]
		}
	}
	return nil
}

func (c *Catalog) providerNames() string {
	names := make([]string, 0, len(c.providers))
	for n := range c.providers {
		names = append(names, n)
	}
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func notFound(reason, message string) *budget.Error {
	return &budget.Error{Kind: budget.KindModelNotFound, Reason: reason, Field: "model", Message: message}
}
