package pricing_test

import (
	"strings"
	"testing"
	"time"

	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

func node(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return &n
}

func day(t *testing.T, s string) time.Time {
	t.Helper()
	d, err := time.Parse(time.DateOnly, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSheet(t *testing.T) {
	c, err := pricing.LoadPrices(node(t, `
models:
- model: acme/one
  upstream_model: one-v1
  limits: {context: 1000, max_output: 100, source: a page, checked_at: 2026-11-01}
  service_tiers: {priority: "1.75"}
  peaks: [{from: "01:00", to: "24:00", multiplier: "2"}]
  accepted: [{by: ada, at: 2026-11-02, fields: [output]}]
  prices:
  - {source: first, checked_at: 2026-10-01, input: "1", output: "2.000001", tiers: [{from: 10, input: "3", output: "4"}], fees: {web_search: "0.01"}}
  - {from: 2026-12-01, source: second, input: "0", output: "0"}
`), nil, nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := c.Sheet("acme/one")
	want := pricing.Sheet{
		Slug: "acme/one", UpstreamModel: "one-v1",
		Limits:       pricing.Limits{Context: 1000, MaxOutput: 100, Source: "a page", CheckedAt: day(t, "2026-11-01")},
		ServiceTiers: map[string]int64{"priority": 1_750_000}, FamilyTiers: map[string]int64{},
		Peaks:    []pricing.Peak{{From: 60, To: 1440, Micro: 2_000_000}},
		Accepted: []pricing.Acceptance{{By: "ada", At: day(t, "2026-11-02"), Fields: []string{"output"}}},
		Periods: []pricing.Period{
			{Source: "first", CheckedAt: day(t, "2026-10-01"), Fees: map[string]int64{"web_search": 10_000_000_000}, Rates: []pricing.Rate{
				{Kind: "input", PicoPerToken: 1_000_000}, {Kind: "output", PicoPerToken: 2_000_001},
				{Kind: "input", FromTokens: 10, PicoPerToken: 3_000_000}, {Kind: "output", FromTokens: 10, PicoPerToken: 4_000_000},
			}},
			{From: day(t, "2026-12-01"), Source: "second", Rates: []pricing.Rate{{Kind: "input"}, {Kind: "output"}}},
		},
	}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, ok := c.Sheet("acme/two"); ok {
		t.Error("a sheet of a model without a row")
	}
}

// TestPricesFile: the list that was checked last holds, whichever layer it is in.
func TestPricesFile(t *testing.T) {
	prices := func(checked string) *yaml.Node {
		return node(t, "models:\n- model: "+kimi+"\n  prices: [{source: mine, checked_at: "+checked+", input: \"9\", output: \"9\"}]")
	}
	for _, tt := range []struct {
		name            string
		prices, overlay *yaml.Node
		input, output   int64
	}{
		{"newer", prices("2027-01-01"), nil, 9_000_000, 9_000_000},
		{"older than the embedded", prices("2025-01-01"), nil, 950_000, 4_000_000},
		{"under the overlay", prices("2027-01-01"), node(t, "- {model: "+kimi+", prices: [{output: \"1\"}]}"), 9_000_000, 1_000_000},
	} {
		c, err := pricing.LoadPrices(tt.prices, tt.overlay, upstreams(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Resolve(kimi, noon())
		if err != nil {
			t.Fatal(err)
		}
		if in, out := rate(t, m, "input", 0), rate(t, m, "output", 0); in != tt.input || out != tt.output || m.Row.Context != 262_144 {
			t.Errorf("%s: input %d, output %d, context %d", tt.name, in, out, m.Row.Context)
		}
		if c.Version() == mustLoad(t).Version() {
			t.Errorf("%s: the version does not show the file", tt.name)
		}
	}
	for text, want := range map[string]string{
		"families: []": `read prices file: line 1: unknown key "families"`,
		"models: [{model: a/b, accepted: [{by: me}], prices: [{input: 1, output: 1}]}]": "an acceptance needs by, at and fields",
		"models: [{model: a/b}]": "model a/b has no prices",
	} {
		if _, err := pricing.LoadPrices(node(t, text), nil, nil, time.Hour); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}
