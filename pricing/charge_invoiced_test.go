package pricing_test

import (
	"testing"
	"time"

	"go.yaml.in/yaml/v4"

	"aigateway/budget"
	"aigateway/pricing"
)

func TestInvoiced(t *testing.T) {
	c, err := pricing.Load(nil, []pricing.Upstream{{Provider: "openai"}, {Provider: "anthropic"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct{ provider, name, slug string }{
		{"openai", "gpt-5.5", "openai/gpt-5.5"},
		{"openai", "gpt-5.5-2026-04-23", "openai/gpt-5.5"},
		{"anthropic", "claude-sonnet-4-6", "anthropic/claude-sonnet-4.6"},
		{"anthropic", "claude-sonnet-4-6-20260301", "anthropic/claude-sonnet-4.6"},
		{"anthropic", "claude-sonnet-4.6", "anthropic/claude-sonnet-4.6"},
		{"openai", "gpt-99", ""},
		{"openai", "claude-sonnet-4-6", ""},
		{"openai", "", ""},
	} {
		m, ok := c.Invoiced(tc.provider, tc.name, at)
		if m.Slug != tc.slug || ok != (tc.slug != "") {
			t.Errorf("%s %q is %q, %v; want %q", tc.provider, tc.name, m.Slug, ok, tc.slug)
		}
	}
}

func TestRowCost(t *testing.T) {
	var overlay yaml.Node // prices of the catalog change
	if err := yaml.Load([]byte(`[{model: anthropic/claude-sonnet-4.6, prices: [{input: "3", cache_write: "3.75", cache_write_long: "6", cache_read: "0.30",
		output: "15", fees: {web_search: "0.01"}}]}]`), &overlay); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&overlay, []pricing.Upstream{{Provider: "anthropic"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := c.Invoiced("anthropic", "claude-sonnet-4-6", time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	if !ok || m.Row == nil {
		t.Fatal("no price")
	}
	got, ok := m.Row.Cost(pricing.Counts{Input: 1000, CacheWrite: 1000, CacheWriteLong: 1000, CacheRead: 1000, Output: 1000, WebSearches: 2})
	if want := budget.Amount(3_000_000 + 3_750_000 + 6_000_000 + 300_000 + 15_000_000 + 20_000_000); !ok || got != want {
		t.Errorf("cost %s, want %s", got, want)
	}
	short := mustOverlay(t, `- {model: capless/short, family: bytes, prices: [{input: "1", cache_write: "3", output: "1"}]}`)
	if m, ok := short.Invoiced("capless", "short", noon()); !ok {
		t.Error("no model")
	} else if got, ok := m.Row.Cost(pricing.Counts{CacheWriteLong: 1000}); !ok || got != 3_000_000 {
		t.Errorf("long writes at the price of short ones cost %s", got)
	}
	for _, bad := range []pricing.Counts{{Input: -1}, {Output: 1 << 62}} {
		if got, ok := m.Row.Cost(bad); ok {
			t.Errorf("%+v costs %s", bad, got)
		}
	}
}
