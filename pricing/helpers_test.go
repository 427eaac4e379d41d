package pricing_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

// upstreams are the presets as far as pricing sees them.
func upstreams() []pricing.Upstream {
	return []pricing.Upstream{
		{Provider: "openai", CapField: "max_completion_tokens", CancelsOnDisconnect: true, MaxTokensPerSecond: 400},
		{Provider: "anthropic", CancelsOnDisconnect: true},
		{Provider: "gemini"},
		{Provider: "moonshot", CapField: "max_completion_tokens"},
		{Provider: "deepseek", CancelsOnDisconnect: true},
		{Provider: "xai", CapField: "max_completion_tokens"},
		{Provider: "mistral", StreamUsage: pricing.StreamUsageNative, Honours: []string{"max_tokens"}},
		{Provider: "groq", CapField: "max_completion_tokens"},
		{Provider: "openrouter", StreamUsage: pricing.StreamUsageNative, Dialect: pricing.DialectOpenRouter},
		{Provider: "voyage"},
		{Provider: "cohere"},
		{Provider: "strict", StreamUsage: pricing.StreamUsageRequire},
		{Provider: "capless", CapField: pricing.CapFieldNone},
	}
}

// searches is how often rapid draws its hundred cases where one is a whole call.
const searches = 10

// noon is outside every peak and price change.
func noon() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

func mustLoad(t testing.TB) *pricing.Catalog { return mustOverlay(t, "") }

func mustLoadFor(t testing.TB, longest time.Duration) *pricing.Catalog {
	t.Helper()
	c, err := pricing.Load(nil, upstreams(), longest)
	if err != nil {
		t.Fatal(err)
	}
	return pricing.Round(c)
}

func mustOverlay(t testing.TB, text string) *pricing.Catalog {
	t.Helper()
	c, err := overlay(text)
	if err != nil {
		t.Fatal(err)
	}
	return pricing.Round(c)
}

func overlay(text string) (*pricing.Catalog, error) {
	if text == "" {
		return pricing.Load(nil, upstreams(), time.Hour)
	}
	var n yaml.Node
	if err := yaml.Load([]byte(text), &n); err != nil {
		return nil, err
	}
	return pricing.Load(&n, upstreams(), time.Hour)
}

// drawable are the endpoints of which bodies are drawn; those of compact are as those
// of responses.
func drawable() []pricing.Endpoint {
	return slices.DeleteFunc(billed(), func(e pricing.Endpoint) bool { return e == pricing.Compact })
}

// billed are the endpoints whose calls cost something.
func billed() []pricing.Endpoint {
	return slices.DeleteFunc(pricing.Endpoints(), pricing.Endpoint.Free)
}

// endpointOf is the first endpoint that the catalog says a model has; chat where
// it does not say.
func endpointOf(model string) pricing.Endpoint {
	if s, ok := builtIn().Sheet(model); ok && len(s.Endpoints) > 0 {
		return s.Endpoints[0]
	}
	return pricing.Chat
}

var builtIn = sync.OnceValue(func() *pricing.Catalog {
	c, err := pricing.Load(nil, nil, time.Hour)
	if err != nil {
		panic(err)
	}
	return c
})

// media reports whether an endpoint's input or output is more than text and
// vectors: its own tests draw its calls.
func media(e pricing.Endpoint) bool {
	if e.Free() {
		return false
	}
	switch e {
	case pricing.Chat, pricing.Embeddings, pricing.Responses, pricing.Messages, pricing.Completions, pricing.Rerank, pricing.Compact:
		return false
	}
	return true
}

// mediaModel reports whether a model is for such an endpoint.
func mediaModel(m pricing.Model) bool { return media(endpointOf(m.Slug)) }

func tryBound(c *pricing.Catalog, e pricing.Endpoint, body string, at time.Time) (*pricing.Bound, error) {
	call, err := pricing.ParseCall(e, []byte(body))
	if err != nil {
		return nil, err
	}
	m, err := c.Resolve(call.Model, at)
	if err != nil {
		return nil, err
	}
	return m.Bound(call, at)
}

func mustBound(t testing.TB, c *pricing.Catalog, e pricing.Endpoint, body string, at time.Time) *pricing.Bound {
	t.Helper()
	if e == "" {
		e = pricing.Chat
	}
	b, err := tryBound(c, e, body, at)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pricing.RecordedLines(b.Record(), b.Amount)
	if diff := cmp.Diff(b.Lines(), lines); err != nil || diff != "" {
		t.Errorf("the record of a bound tells another story (-bound +record): %v\n%s", err, diff)
	}
	return b
}

// refusal is err as the one error users see.
func refusal(t *testing.T, err error) *budget.Error {
	t.Helper()
	var e *budget.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want a *budget.Error", err)
	}
	return e
}
