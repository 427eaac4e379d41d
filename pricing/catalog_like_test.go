package pricing_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"aigateway/budget"
	"aigateway/pricing"
)

const deployments = `
- {model: azure/prod, like: openai/gpt-5.5}
- {model: azure/prod-eu, like: azure/prod, upstream_model: eu, prices: [{input: "99", tiers: []}]}
- {model: vertex/google/gemini-2.5-flash, like: gemini/gemini-2.5-flash}
`

func loadDeployments(t *testing.T, overlay string) (*pricing.Catalog, error) {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load([]byte(overlay), &n); err != nil {
		t.Fatal(err)
	}
	return pricing.Load(&n, append(upstreams(), pricing.Upstream{Provider: "azure"}, pricing.Upstream{Provider: "vertex"}), time.Hour)
}

// TestRowLikeAnother: a deployment costs what its model does, by any name that
// its answers have, and inherits no name.
func TestRowLikeAnother(t *testing.T) {
	c, err := loadDeployments(t, deployments)
	if err != nil {
		t.Fatal(err)
	}
	bound := func(model string) budget.Amount {
		pad := strings.Repeat("x", 50-len(model)) // bodies of one length
		return mustBound(t, c, pricing.Chat, chatBody(model, `"max_tokens":100,"user":"`+pad+`"`), noon()).Amount
	}
	base := bound("openai/gpt-5.5")
	if got := bound("azure/prod"); got != base {
		t.Errorf("the deployment's bound is %d, its model's %d", got, base)
	}
	if got := bound("azure/prod-eu"); got <= base {
		t.Errorf("the dearer deployment's bound is %d, its model's %d", got, base)
	}
	if a, b := bound("vertex/google/gemini-2.5-flash"), bound("gemini/gemini-2.5-flash"); a != b {
		t.Errorf("at Vertex it is %d, at Gemini %d", a, b)
	}
	for slug, sent := range map[string]string{"azure/prod": "prod", "azure/prod-eu": "eu", "vertex/google/gemini-2.5-flash": "google/gemini-2.5-flash"} {
		if m, err := c.Resolve(slug, noon()); err != nil || m.UpstreamModel != sent {
			t.Errorf("%s is sent as %q, %v; want %q", slug, m.UpstreamModel, err, sent)
		}
	}
	const usage = `{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050}`
	charge := func(asked, answered string) pricing.Outcome {
		b := mustBound(t, c, pricing.Chat, chatBody(asked, `"max_tokens":100,"user":"`+string(make300k())+`"`), noon())
		return pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: usage, Model: fmt.Sprintf("%q", answered)}, c.Served(asked, noon()))
	}
	want := charge("openai/gpt-5.5", "gpt-5.5").Cost
	for _, answered := range []string{"prod", "gpt-5.5", "gpt-5.5-2026-04-24"} {
		if got := charge("azure/prod", answered); got.Cost != want || len(got.Flags) != 0 || got.Served != "" {
			t.Errorf("answered as %s: %+v, want %d", answered, got, want)
		}
	}
	if got := charge("azure/prod", "gpt-6-sol"); got.Served != "openai/gpt-6-sol" || len(got.Flags) != 0 {
		t.Errorf("answered by another model: %+v", got)
	}
	if got := charge("azure/prod", "nobody-knows"); got.Cost != want || len(got.Flags) != 1 {
		t.Errorf("answered by nobody knows whom: %+v", got)
	}
	if own, got := charge("azure/prod-eu", "eu"), charge("azure/prod-eu", "gpt-5.5"); got.Cost != own.Cost || got.Cost <= want {
		t.Errorf("the dearer deployment, answered by its model's name: %d, by its own %d", got.Cost, own.Cost)
	}
}

func TestNamesBesideARowLikeAnother(t *testing.T) {
	c := mustOverlay(t, `
- {model: capless/ours, like: openai/gpt-5.5}
- {model: capless/gpt-5, family: bytes, prices: [{input: "7", output: "7"}]}
`)
	served := c.Served("capless/ours", noon())
	if got := served("gpt-5"); got.Slug != "capless/gpt-5" || got.Same {
		t.Errorf("gpt-5 is %+v, want the provider's own", got)
	}
	if got := served("gpt-5.5"); !got.Same {
		t.Errorf("gpt-5.5 is %+v, want the same", got)
	}
}

func TestRowLikeNothing(t *testing.T) {
	for overlay, want := range map[string]string{
		"- {model: azure/prod, like: openai/gpt-none}":                                `is like "openai/gpt-none", which is no other row`,
		"- {model: azure/prod, like: azure/prod}":                                     "which is no other row",
		"- {model: azure/a, like: azure/b}\n- {model: azure/b, like: openai/gpt-5.5}": `is like "azure/b", which is no other row`,
		"- {model: azure/prod, like: [x]}":                                            "like must be a text",
	} {
		if _, err := loadDeployments(t, overlay); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", overlay, err, want)
		}
	}
	var n yaml.Node
	if err := yaml.Load([]byte("models: [{model: azure/x, like: openai/gpt-5.5}]"), &n); err != nil {
		t.Fatal(err)
	}
	if _, err := pricing.LoadPrices(&n, nil, upstreams(), time.Hour); err == nil || !strings.Contains(err.Error(), "like is for rows under models") {
		t.Errorf("like in a prices file: %v", err)
	}
}

// A deployment may be of any model: on a budget only one that the operator has a
// row for is served, and a date in its name makes it another.
func TestDeploymentsNeedARow(t *testing.T) {
	load := func(overlay string) *pricing.Catalog {
		var n yaml.Node
		if err := yaml.Load([]byte(overlay), &n); err != nil {
			t.Fatal(err)
		}
		c, err := pricing.Load(&n, append(upstreams(), pricing.Upstream{Provider: "azure", Deployments: true}), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	body := func(model string) string { return chatBody(model, `"max_tokens":100`) }
	bare := load("[]")
	if _, err := tryBound(bare, pricing.Chat, body("azure/gpt-5-mini"), noon()); refusal(t, err).Reason != "model_not_priced" || !strings.Contains(err.Error(), "{model: azure/gpt-5-mini, like: openai/<model>}") {
		t.Errorf("a deployment that nobody named: %v", err)
	}
	call, err := pricing.ParseCall(pricing.Chat, []byte(body("azure/gpt-5-mini")))
	if err != nil {
		t.Fatal(err)
	}
	m, err := bare.Resolve("azure/gpt-5-mini", noon())
	if err != nil {
		t.Fatal(err)
	}
	free := m.Unbounded(call, noon()) // without a budget
	usage := pricing.Evidence{Sent: true, Status: 200, Done: true, Model: `"gpt-5-mini"`, Usage: `{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050}`}
	if out := pricing.Charge(free.Pin, 0, usage, bare.Served("azure/gpt-5-mini", noon())); out.Basis != budget.BasisUsage || out.Cost == 0 {
		t.Errorf("without a budget: %+v", out)
	}
	named := load("- {model: azure/gpt-5-mini}\n- {model: azure/prod, like: openai/gpt-5.5}")
	for _, model := range []string{"azure/gpt-5-mini", "azure/prod"} {
		if _, err := tryBound(named, pricing.Chat, body(model), noon()); err != nil {
			t.Errorf("%s: %v", model, err)
		}
	}
	for _, model := range []string{"azure/gpt-5-mini-2026-01-01", "azure/prod-2026-01-01", "azure/gpt-5"} {
		if _, err := tryBound(named, pricing.Chat, body(model), noon()); err == nil {
			t.Errorf("%s has a bound", model)
		}
	}
}
