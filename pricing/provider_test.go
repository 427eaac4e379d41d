package pricing_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/fakeprovider"
	"aigateway/pricing"

	"pgregory.net/rapid"
)

// habits is the provider behind each of the catalog's.
var habits = map[string]fakeprovider.Dialect{
	"openai": fakeprovider.OpenAI, "anthropic": fakeprovider.Anthropic, "gemini": fakeprovider.Gemini, "moonshot": fakeprovider.Moonshot,
	"deepseek": fakeprovider.DeepSeek, "xai": fakeprovider.XAI, "mistral": fakeprovider.Mistral, "groq": fakeprovider.Groq,
	"openrouter": fakeprovider.OpenRouter, "vllm": fakeprovider.VLLM, "cohere": fakeprovider.Cohere, "voyage": fakeprovider.Voyage, "jina": fakeprovider.Voyage,
}

// purchase is a call to a provider that bills by itself.
type purchase struct {
	e     pricing.Endpoint
	m     pricing.Model
	body  string
	fault fakeprovider.Faults
	hosts []fakeprovider.Factor
	// searches tells whether a web search has a bound: a fee and a context.
	searches bool
	tiers    []string // service tiers with a price
}

// priceAt is the provider's price list for a prompt of that many tokens.
func priceAt(c *pricing.Catalog, m pricing.Model, prompt int64) fakeprovider.Price {
	var p fakeprovider.Price
	for _, r := range m.Row.Rates() { // tier by tier
		if r.FromTokens > prompt {
			continue
		}
		switch r.Kind {
		case "input":
			p.Input = r.PicoPerToken
		case "cache_read":
			p.CacheRead = r.PicoPerToken
		case "cache_write":
			p.CacheWrite = r.PicoPerToken
		case "cache_write_long":
			p.CacheWriteLong = r.PicoPerToken
		case "output":
			p.Output = r.PicoPerToken
		}
	}
	if p.CacheRead == 0 {
		p.CacheRead = p.Input
	}
	if s, ok := c.Sheet(m.Slug); ok {
		fees := s.Periods[len(s.Periods)-1].Fees
		p.WebSearch, p.SearchUnit = fees["web_search"], fees["search_unit"]
	}
	return p
}

// serve sends the edited body and returns the answer and the provider's bill.
func (b *purchase) serve(c *pricing.Catalog, edited string, prompt int64) (*httptest.ResponseRecorder, fakeprovider.Bill) {
	cfg := fakeprovider.Config{
		Models: map[string]fakeprovider.Price{b.m.UpstreamModel: priceAt(c, b.m, prompt)}, Dialect: habits[b.m.Provider],
		Hosts: b.hosts, Tiers: map[string]fakeprovider.Factor{},
	}
	s, _ := c.Sheet(b.m.Slug)
	for name, micro := range s.ServiceTiers {
		cfg.Tiers[name] = fakeprovider.Factor{Num: micro, Den: 1_000_000}
	}
	p := fakeprovider.New(cfg)
	p.SetFaults(b.fault)
	path := map[pricing.Endpoint]string{
		pricing.Chat: "/chat/completions", pricing.Responses: "/responses", pricing.Messages: "/messages",
		pricing.Completions: "/completions", pricing.Embeddings: "/embeddings", pricing.Rerank: "/rerank",
	}
	req := httptest.NewRequest(http.MethodPost, "/v1"+path[b.e], strings.NewReader(edited))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	rec := httptest.NewRecorder()
	p.ServeHTTP(rec, req)
	return rec, p.Bill()
}

// buy bounds the call, has it served and billed, and returns what it is charged.
func (b *purchase) buy(t *rapid.T, c *pricing.Catalog) (bound *pricing.Bound, bill fakeprovider.Bill, out pricing.Outcome) {
	bound, err := tryBound(c, b.e, b.body, noon())
	if err != nil {
		t.Fatalf("%s: %v", short(b.body), err)
	}
	edited := apply(t, b.body, bound.Edits)
	_, bill = b.serve(c, edited, 0)
	rec, bill := b.serve(c, edited, bill.PromptTokens) // the prompt decides the price tier
	if rec.Code != http.StatusOK {
		t.Fatalf("%s %s: the provider answers %d %s", b.m.Slug, short(edited), rec.Code, rec.Body)
	}
	answer := pair{status: rec.Code, stream: strings.HasPrefix(rec.Header().Get("Content-Type"), "text/event-stream"), answer: rec.Body.String()}
	out = pricing.Charge(bound.Pin, bound.Amount, answer.evidence(), c.Served(b.m.Slug, noon()))
	return bound, bill, out
}

// drawPurchase is a call the provider can serve.
func drawPurchase(t *rapid.T, c *pricing.Catalog) purchase {
	models := slices.DeleteFunc(c.Models(noon()), func(m pricing.Model) bool {
		_, ok := habits[m.Provider]
		return !ok || mediaModel(m) || strings.HasSuffix(m.Slug, ":online") || strings.HasSuffix(m.Slug, "/auto") || strings.HasPrefix(m.Slug, "jina/normalised")
	})
	b := purchase{m: rapid.SampledFrom(models).Draw(t, "model")}
	b.e = endpointOf(b.m.Slug)
	switch {
	case b.m.Provider == "jina":
		b.e = pricing.Rerank
	case b.e == pricing.Chat && b.m.Provider != "anthropic":
		b.e = rapid.SampledFrom([]pricing.Endpoint{pricing.Chat, pricing.Responses, pricing.Completions}).Draw(t, "endpoint")
	case b.e == pricing.Chat:
		b.e = rapid.SampledFrom([]pricing.Endpoint{pricing.Chat, pricing.Messages}).Draw(t, "endpoint")
	}
	if b.e == pricing.Completions && (b.m.Provider == "mistral" || b.m.Provider == "openrouter") { // which do not offer it
		b.e = pricing.Chat
	}
	if s, ok := c.Sheet(b.m.Slug); ok {
		if strings.HasPrefix(b.m.Row.Family, "gpt") {
			b.tiers = slices.Sorted(maps.Keys(s.ServiceTiers))
		}
		if b.m.Row.Context > 0 {
			_, b.searches = s.Periods[len(s.Periods)-1].Fees["web_search"]
		}
	}
	b.draw(&sketch{T: t, e: b.e})
	if rapid.Bool().Draw(t, "max") {
		b.fault.Max = true
	} else {
		n := func(label string) int64 { return rapid.Int64Range(0, 90).Draw(t, label) }
		b.fault = fakeprovider.Faults{Output: n("out"), Cached: n("cached"), Written: n("written"), WrittenLong: n("long"), Thoughts: n("thoughts"), Reasoning: n("reasoning"), Searches: n("searches") % 3}
	}
	if b.m.Provider == "openrouter" { // there are dearer hosts than the catalog knows
		b.hosts = []fakeprovider.Factor{{Num: 1, Den: 2}, {Num: 1, Den: 1}, {Num: 9, Den: 8}, {Num: 5, Den: 1}}
		if b.e != pricing.Chat { // where the fake does not say what a cheaper one billed
			b.hosts = b.hosts[1:]
		}
		writes := slices.ContainsFunc(b.m.Row.Rates(), func(r pricing.Rate) bool { return r.Kind == "cache_write" })
		if writes && !strings.Contains(b.m.Slug, "/openai/") { // they write nothing unasked there
			b.fault.Max, b.fault.Written, b.fault.WrittenLong = false, 0, 0
		}
	}
	return b
}

// words are the lengths of a text that the model's context has room for, the
// largest of them in the dearest price tier: real providers refuse more than the
// context, which is why the bound does not go beyond it.
func (b *purchase) words() []int {
	return slices.DeleteFunc([]int{1, 9, 200, 1500, 30_000, 60_000}, func(n int) bool {
		tokens := int64(len("word ")*n) + 1000 // each byte a token, with room for the rest
		most := b.m.Row.Context
		for _, r := range b.m.Row.Rates() { // the fake's hosts have one price, which max_price is compared with
			if b.m.Provider == "openrouter" && r.FromTokens > 0 {
				most = min(most, r.FromTokens)
			}
		}
		return n > 1 && most > 0 && tokens > most
	})
}

// draw writes a body with everything the provider knows how to bill.
func (b *purchase) draw(s *sketch) {
	text := strings.Repeat("word ", rapid.SampledFrom(b.words()).Draw(s.T, "words"))
	s.add(`"model":%q`, b.m.Slug)
	limits := func(names ...string) {
		if s.often(4, "no cap") && b.e != pricing.Messages {
			return
		}
		s.add(`%q:%d`, names[rapid.IntRange(0, len(names)-1).Draw(s.T, "cap name")], rapid.SampledFrom([]int64{16, 1, 200, 3000}).Draw(s.T, "cap"))
	}
	if s.often(2, "stream") && b.e != pricing.Embeddings && b.e != pricing.Rerank {
		s.add(`"stream":true`)
	}
	if b.e == pricing.Chat || b.e == pricing.Responses || b.e == pricing.Messages { // the others have no tiers
		s.add(`"service_tier":%q`, s.pick("tier", append([]string{"default"}, b.tiers...)...))
	}
	switch b.e {
	case pricing.Chat:
		names := []string{"max_tokens", "max_completion_tokens"}
		if b.m.Provider == "mistral" {
			names = names[:1]
		}
		limits(names...)
		if b.m.Provider != "anthropic" {
			s.add(`"n":%d`, rapid.IntRange(1, 3).Draw(s.T, "n"))
		}
		s.add(`"messages":[{"role":"user","content":%q}]`, text)
	case pricing.Completions:
		limits("max_tokens")
		s.add(`"n":%d`, rapid.IntRange(1, 3).Draw(s.T, "n"))
		s.add(`"prompt":[%q,"b"]`, text)
	case pricing.Responses:
		limits("max_output_tokens")
		s.add(`"input":%q`, text)
		if b.m.Provider == "openai" && b.searches && s.often(2, "search") {
			s.add(`"tools":[{"type":"web_search"}],"max_tool_calls":%d`, rapid.IntRange(0, 3).Draw(s.T, "uses"))
		}
		if b.m.Row.Family == "gpt-5.6" && s.often(2, "long") {
			s.add(`"prompt_cache_options":{"ttl":"12h"}`)
		}
	case pricing.Messages:
		limits("max_tokens")
		control := s.pick("control", "", `,"cache_control":{"type":"ephemeral"}`, `,"cache_control":{"type":"ephemeral","ttl":"1h"}`)
		s.add(`"messages":[{"role":"user","content":[{"type":"text","text":%q%s}]}]`, text, control)
		if b.searches && s.often(2, "search") {
			s.add(`"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":%d}]`, rapid.IntRange(0, 3).Draw(s.T, "uses"))
		}
	case pricing.Embeddings:
		s.add(`"input":[%q,"b"]`, text[:min(len(text), 8000)])
	case pricing.Rerank:
		s.add(`"query":%q,"documents":[%s%q]`, text[:min(len(text), 700)], strings.Repeat(`"document",`, rapid.IntRange(0, 120).Draw(s.T, "documents")), text[:min(len(text), 5000)])
	}
	b.body = "{" + strings.Join(s.members, ",") + "}"
}

// Over the whole catalog, at every endpoint, streamed or not: what a provider
// bills is at most the bound, and what we charge is its bill to the nano-dollar.
func TestProvidersBillAtMostTheBoundAndThatIsCharged(t *testing.T) {
	c := pricing.Round(oracleCatalog(t, settleUpstreams())) // the fake also bills what we insert into a body
	seen := map[string]int{}
	for range searches {
		rapid.Check(t, func(t *rapid.T) {
			b := drawPurchase(t, c)
			bound, bill, out := b.buy(t, c)
			if budget.Amount(bill.NanoUSD) > bound.Amount {
				t.Fatalf("%s %s: billed %d nano-USD, bound %s: %+v\n%+v\n%s", b.e, b.m.Slug, bill.NanoUSD, bound.Amount, bill, bound.Lines(), short(b.body))
			}
			if out.Basis != budget.BasisUsage || out.Cost != budget.Amount(bill.NanoUSD) || out.Served != "" {
				t.Fatalf("%s %s: charged %+v, billed %+v\n%s", b.e, b.m.Slug, out, bill, short(b.body))
			}
			seen[fmt.Sprint(b.e)]++
		})
	}
	if testing.Short() {
		return // a fifth of the draws: too few to be sure of every endpoint
	}
	for _, e := range drawable() {
		if !media(e) && seen[string(e)] < searches-1 { // one search alone may miss any
			t.Errorf("%s was seen %d times only", e, seen[string(e)])
		}
	}
}
