package pricing_test

import (
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"aigateway/budget"
	"aigateway/pricing"
)

// shared are models that two providers have, in an order of the operator's.
func shared(t *testing.T, order map[string]int) *pricing.Catalog {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load([]byte(`
- {model: ours/gpt-5.5, prices: [{input: "6", output: "30"}]}
- {model: ours/own-model, prices: [{input: "6", output: "30"}]}
`), &n); err != nil {
		t.Fatal(err)
	}
	var list []pricing.Upstream
	for _, name := range []string{"openai", "ours", "anthropic", "moonshot", "openrouter", "xai"} {
		list = append(list, pricing.Upstream{Provider: name, Order: order[name]})
	}
	c, err := pricing.Load(&n, list, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A name without a provider is that of the only one that has it, in any spelling,
// or of the first in the operator's order; it is never guessed.
func TestBareNames(t *testing.T) {
	for _, tt := range []struct {
		name   string
		order  map[string]int
		slug   string // or the reason
		sent   string
		listed string // in a refusal
	}{
		{"gpt-5.4-mini", nil, "openai/gpt-5.4-mini", "gpt-5.4-mini", ""},
		{"claude-sonnet-4.6", nil, "anthropic/claude-sonnet-4.6", "claude-sonnet-4-6", ""},
		{"claude-sonnet-4-6", nil, "anthropic/claude-sonnet-4.6", "claude-sonnet-4-6", ""},
		{"claude-sonnet-4-6-20260217", nil, "anthropic/claude-sonnet-4.6", "claude-sonnet-4-6-20260217", ""},
		{"kimi-k2.6", nil, "moonshot/kimi-k2.6", "kimi-k2.6", ""},
		{"own-model", nil, "ours/own-model", "own-model", ""},
		{"gpt-5.5", nil, "model_ambiguous", "", "openai/gpt-5.5 or ours/gpt-5.5"},
		{"gpt-5.5", map[string]int{"openai": 1}, "openai/gpt-5.5", "gpt-5.5", ""},
		{"gpt-5.5", map[string]int{"openai": 2, "ours": 1}, "ours/gpt-5.5", "gpt-5.5", ""},
		{"gpt-5.5", map[string]int{"xai": 1, "openai": 2}, "openai/gpt-5.5", "gpt-5.5", ""},
		{"gpt-5.5", map[string]int{"xai": 1}, "model_ambiguous", "", "provider_order"},
		{"own-model", map[string]int{"openai": 1}, "ours/own-model", "own-model", ""},
		{"gpt-5.6-soul", nil, "model_unknown", "", "the nearest here: openai/gpt-5.6-sol"},
		{"claude-sonet-4.6", nil, "model_unknown", "", "anthropic/claude-sonnet-4.6"},
		{"GPT-5.4-MINI", nil, "model_unknown", "", "openai/gpt-5.4-mini"},
		{"nothing-like-it-at-all", nil, "model_unknown", "", "GET /v1/models"},
		{"opnai/gpt-5.4-mini", nil, "provider_unknown", "", "openai/gpt-5.4-mini"},
		{"gemini/gemini-2.5-pro", nil, "provider_unknown", "", "configured: anthropic"},
		{"openai/", nil, "model_unknown", "", ""},
		{strings.Repeat("gpt-", 60), nil, "model_unknown", "", ""},
	} {
		m, err := shared(t, tt.order).Resolve(tt.name, noon())
		if tt.sent == "" {
			if e := refusal(t, err); e.Reason != tt.slug || e.Kind != budget.KindModelNotFound || !strings.Contains(e.Message, tt.listed) || strings.Count(e.Message, "/") > 8 {
				t.Errorf("%s, order %v: %+v", tt.name, tt.order, e)
			}
			continue
		}
		if err != nil || m.Slug != tt.slug || m.UpstreamModel != tt.sent || m.Row == nil {
			t.Errorf("%s, order %v: %s sent as %s, %v", tt.name, tt.order, m.Slug, m.UpstreamModel, err)
		}
	}
	// A model that its provider may have, though nobody priced it, has near ones of
	// the same provider.
	_, err := tryBound(shared(t, nil), pricing.Chat, chatBody("openai/gpt-5.4-mimi", `"max_tokens":1`), noon())
	if e := refusal(t, err); e.Reason != "model_not_priced" || !strings.Contains(e.Message, "the nearest here: openai/gpt-5.4-mini") {
		t.Errorf("%+v", e)
	}
}

// What a key may call is compared with the model that is meant.
func TestBareNamesOfKeys(t *testing.T) {
	c := shared(t, nil)
	for name, want := range map[string]string{"gpt-5.4-mini": "openai/gpt-5.4-mini", "kimi-k2.6": "", "gpt-5.4-mimi": ""} {
		q, err := c.Quote(t.Context(), pricing.Query{Endpoint: pricing.Chat, Body: []byte(chatBody(name, `"max_tokens":1`)), At: noon()}, onlyModels{"openai/gpt-5.4-mini"})
		if want == "" {
			if err == nil || strings.Contains(err.Error(), "nearest") {
				t.Errorf("%s: %+v, %v", name, q.Model.Slug, err)
			}
			continue
		}
		if err != nil || q.Model.Slug != want || !strings.Contains(apply(t, chatBody(name, `"max_tokens":1`), q.Bound.Edits), `"gpt-5.4-mini"`) {
			t.Errorf("%s: %+v, %v", name, q.Model.Slug, err)
		}
	}
}
