package pricing_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// versions are models with versions of their own: of one, a version was dearer
// once; of the other, all cost the same; the third has said that it has none.
const versions = `
- {model: openai/old, prices: [{input: "2.5", output: "10"}]}
- {model: openai/old-2024-05-13, prices: [{input: "5", output: "15"}]}
- {model: openai/even, prices: [{input: "2.5", output: "10"}]}
- {model: openai/even-2024-08-06, prices: [{input: "2", output: "10"}]}
- {model: openai/fixed, dated_versions: false, prices: [{input: "2.5", output: "10"}]}
- {model: mistral/rolling-latest, prices: [{input: "2.5", output: "10"}]}
- {model: mistral/twin-1.5, prices: [{input: "1", output: "1"}]}
- {model: mistral/twin-1-5, prices: [{input: "2", output: "2"}]}
- {model: vertex/claude-sonnet-4.5, upstream_model: claude-sonnet-4-5, prices: [{input: "3", output: "15"}]}
`

// What vendors call a model is that model, and the provider is sent a name that
// it knows.
func TestNamesOfRequests(t *testing.T) {
	c := mustOverlay(t, versions)
	for _, tt := range []struct{ asked, slug, sent string }{
		{"anthropic/claude-sonnet-4.6", "anthropic/claude-sonnet-4.6", "claude-sonnet-4-6"},
		{"anthropic/claude-sonnet-4-6", "anthropic/claude-sonnet-4.6", "claude-sonnet-4-6"},
		{"anthropic/claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4.5", "claude-sonnet-4-5-20250929"},
		{"anthropic/claude-sonnet-4.5-20250929", "anthropic/claude-sonnet-4.5", "claude-sonnet-4-5-20250929"},
		{"anthropic/claude-sonnet-4.6-latest", "anthropic/claude-sonnet-4.6", "claude-sonnet-4-6"},
		{"openai/gpt-5.5-2026-04-23", "openai/gpt-5.5", "gpt-5.5-2026-04-23"},
		{"openai/gpt-5-5", "openai/gpt-5.5", "gpt-5.5"},
		{"openai/gpt-5.5-latest", "openai/gpt-5.5", "gpt-5.5"},
		{"gemini/models/gemini-2.5-pro", "gemini/gemini-2.5-pro", "gemini-2.5-pro"},
		{"models/gemini-2.5-pro", "gemini/gemini-2.5-pro", "gemini-2.5-pro"},
		{"google/gemini-2.5-pro", "gemini/gemini-2.5-pro", "gemini-2.5-pro"},
		{"google/models/gemini-2.5-pro", "gemini/gemini-2.5-pro", "gemini-2.5-pro"},
		{"x-ai/grok-4.3", "xai/grok-4.3", "grok-4.3"},
		{"moonshotai/kimi-k2.6", "moonshot/kimi-k2.6", "kimi-k2.6"},
		{"mistralai/mistral-large-2512", "mistral/mistral-large-2512", "mistral-large-2512"},
		{"voyageai/voyage-4", "voyage/voyage-4", "voyage-4"},
		{"groq/openai/gpt-oss-120b", "groq/openai/gpt-oss-120b", "openai/gpt-oss-120b"},
		{"openrouter/openai/gpt-5.5:nitro", "openrouter/openai/gpt-5.5", "openai/gpt-5.5:nitro"},
		{"openrouter/openai/gpt-5.5:floor", "openrouter/openai/gpt-5.5", "openai/gpt-5.5:floor"},
		{"openai/old-2024-05-13", "openai/old-2024-05-13", "old-2024-05-13"},
		{"openai/old-latest", "openai/old", "old"},
		{"openai/even-2025-01-01", "openai/even", "even-2025-01-01"},
		{"mistral/rolling-latest", "mistral/rolling-latest", "rolling-latest"},
		{"mistral/twin-1.5", "mistral/twin-1.5", "twin-1.5"},
		{"mistral/twin-1-5", "mistral/twin-1-5", "twin-1-5"},
	} {
		m, err := c.Resolve(tt.asked, noon())
		if err != nil || m.Row == nil || m.Slug != tt.slug || m.UpstreamModel != tt.sent {
			t.Errorf("%s is %q, sent as %q (row %v), %v; want %s, %s", tt.asked, m.Slug, m.UpstreamModel, m.Row != nil, err, tt.slug, tt.sent)
			continue
		}
		if m.Provider == "voyage" { // no chat
			continue
		}
		b := mustBound(t, c, pricing.Chat, chatBody(tt.asked, `"max_tokens":1`), noon())
		if sent := apply(t, chatBody(tt.asked, `"max_tokens":1`), b.Edits); !strings.Contains(sent, fmt.Sprintf(`"model":%q`, tt.sent)) {
			t.Errorf("%s is sent %s", tt.asked, sent)
		}
	}
}

// A name that may be of another price is no name of a model here.
func TestNamesThatMeanNothing(t *testing.T) {
	c := mustOverlay(t, versions)
	for _, asked := range []string{
		"openai/old-2025-01-01",                                                                               // another version was dearer
		"openai/fixed-2025-01-01", "openai/gpt-5.5-professional", "openai/gpt-5.5-2026-13-01", "openai/gpt-5", // gpt-5 exists, gpt-5.5 is not it
		"anthropic/claude-sonnet-4.6.1", "anthropic/claude-sonnet-4-6-2", "mistral/twin-1.5-2026-01-01x",
		"openai/-latest", "openai/-2026-01-01",
	} {
		m, err := c.Resolve(asked, noon())
		if asked == "openai/gpt-5" {
			if m.Slug != asked {
				t.Errorf("%s is %s", asked, m.Slug)
			}
			continue
		}
		if err != nil || m.Row != nil || m.Slug != asked {
			t.Errorf("%s is %q with row %+v, %v", asked, m.Slug, m.Row, err)
		}
	}
	if _, err := c.Resolve("claude/x", noon()); refusal(t, err).Reason != "provider_unknown" {
		t.Error(err)
	}
}

// A provider that the operator has called so is meant, whatever vendors call by
// that name.
func TestConfiguredProvidersComeFirst(t *testing.T) {
	c, err := pricing.Load(nil, []pricing.Upstream{{Provider: "gemini"}, {Provider: "google"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Resolve("google/gemini-2.5-pro", noon())
	if err != nil || m.Provider != "google" || m.Row != nil {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err = c.Resolve("models/gemini-2.5-pro", noon()); err != nil || m.Provider != "gemini" || m.Row == nil {
		t.Errorf("%+v, %v", m, err)
	}
}

// The names in answers are found as those in requests are; a version with a row
// of its own is charged at that.
func TestNamesOfAnswers(t *testing.T) {
	c := mustOverlay(t, versions+`
- {model: openai/ours, upstream_model: gpt-5.5, prices: [{input: "1", output: "1"}]}
`)
	for _, tt := range []struct {
		asked, answered string
		same            bool
		slug            string
	}{
		{"anthropic/claude-sonnet-4.6", "claude-sonnet-4-6", true, ""},
		{"anthropic/claude-sonnet-4.6", "claude-sonnet-4.6", true, ""},
		{"anthropic/claude-sonnet-4-6", "claude-sonnet-4-6-20260301", true, ""},
		{"anthropic/claude-sonnet-4.6", "claude-haiku-4-5-20251001", false, "anthropic/claude-haiku-4.5"},
		{"gemini/gemini-2.5-pro", "models/gemini-2.5-pro", true, ""},
		{"gemini/gemini-2.5-pro", "models/gemini-2.5-flash", false, "gemini/gemini-2.5-flash"},
		{"openai/gpt-5.5", "gpt-5.5-2026-04-23", true, ""},
		{"openai/ours", "gpt-5.5", true, ""},
		{"openai/ours", "gpt-5.5-2026-04-23", true, ""},
		{"openai/old", "old-2024-05-13", false, "openai/old-2024-05-13"},
		{"openai/old", "old-2025-01-01", true, ""},
		{"openai/unpriced", "unpriced-2026-01-01", true, ""},
		{"openai/unpriced", "something", false, ""},
		{"mistral/rolling-latest", "mistral-large-2512", false, "mistral/mistral-large-2512"},
	} {
		got := c.Served(tt.asked, noon())(tt.answered)
		if got.Same != tt.same || got.Slug != tt.slug {
			t.Errorf("%s answered as %s: %+v", tt.asked, tt.answered, got)
		}
	}
}

type onlyModels []string

func (o onlyModels) MayCall(slug string) error {
	for _, m := range o {
		if m == slug {
			return nil
		}
	}
	return &budget.Error{Kind: budget.KindPermission, Reason: "model_not_allowed"}
}
func (onlyModels) DefaultToolCalls() int64                                  { return 0 }
func (onlyModels) DefaultCap() int64                                        { return 0 }
func (onlyModels) Watched() bool                                            { return false }
func (onlyModels) MayName(string, []string) error                           { return nil }
func (onlyModels) Settled(string, []pricing.StoredName, bool) (int64, bool) { return 0, false }

// A call is allowed by the name of the model here, whatever name it gives.
func TestMayCallByAnyName(t *testing.T) {
	c := mustLoad(t)
	for _, tt := range []struct {
		may, asked string
		ok         bool
	}{
		{"anthropic/claude-sonnet-4.6", "anthropic/claude-sonnet-4-6", true},
		{"anthropic/claude-sonnet-4.6", "anthropic/claude-sonnet-4-6-20260301", true},
		{"gemini/gemini-2.5-pro", "google/gemini-2.5-pro", true},
		{"google/gemini-2.5-pro", "google/gemini-2.5-pro", true},
		{"anthropic/claude-sonnet-4.6", "anthropic/claude-opus-4-6", false},
		{"anthropic/claude-sonnet-4.6", "nobody/x", false},
	} {
		_, err := c.Quote(context.Background(), pricing.Query{Endpoint: pricing.Chat, Body: []byte(chatBody(tt.asked, `"max_tokens":1`)), At: noon()}, onlyModels{tt.may})
		if tt.ok != (err == nil) || !tt.ok && refusal(t, err).Reason != "model_not_allowed" {
			t.Errorf("may call %s, calls %s: %v", tt.may, tt.asked, err)
		}
	}
}
