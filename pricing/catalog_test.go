package pricing_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
)

func TestEmbeddedCatalog(t *testing.T) {
	c := mustLoad(t)
	if got, want := c.Date(), time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("its date is %s, want %s", got, want)
	}
	if len(c.Version()) != 12 || c.Version() == mustOverlay(t, overlayModels).Version() {
		t.Errorf("version %q must change with the contents", c.Version())
	}
	var slugs []string
	for _, m := range c.Models(noon()) {
		slugs = append(slugs, m.Slug)
	}
	list, err := os.ReadFile("testdata/models.txt") // what is in stays in
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(string(list))
	if diff := cmp.Diff(want, slugs); diff != "" {
		t.Errorf("models (-want +got):\n%s", diff)
	}
	for _, m := range c.Models(noon()) {
		if m.Row.Source == "" || m.Row.CheckedAt.IsZero() || m.Row.CheckedAt.After(noon()) {
			t.Errorf("the price of %s is from %q, checked %s", m.Slug, m.Row.Source, m.Row.CheckedAt)
		}
		if m.Row.Context > 0 && (m.Row.LimitsSource == "" || m.Row.LimitsCheckedAt.IsZero()) && m.Row.Family != "openai-embeddings" {
			t.Errorf("the limits of %s are from %q, checked %s", m.Slug, m.Row.LimitsSource, m.Row.LimitsCheckedAt)
		}
	}
	none, err := pricing.Load(nil, nil, time.Hour)
	if err != nil || len(none.Models(noon())) > 0 {
		t.Errorf("without providers there are no models: %v", err)
	}
}

func TestEmptyOverlay(t *testing.T) {
	for _, text := range []string{"[]", "null", "~"} {
		if _, err := overlay(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := pricing.Load(&yaml.Node{}, upstreams(), time.Hour); err != nil {
		t.Errorf("a node never filled: %v", err)
	}
}

func rate(t *testing.T, m pricing.Model, kind string, from int64) int64 {
	t.Helper()
	for _, r := range m.Row.Rates() {
		if r.Kind == kind && r.FromTokens == from {
			return r.PicoPerToken
		}
	}
	t.Fatalf("%s has no %s price from %d", m.Slug, kind, from)
	return 0
}

func TestOverlayWinsPerField(t *testing.T) {
	c := mustOverlay(t, `
- model: openai/gpt-6-sol
  limits: {max_output: 500}
  prices: [{input: "1.5"}]
- model: gemini/gemini-3.8-flash
  prices: [{output: "9.000001"}]
- model: moonshot/kimi-k2.6
  prices:
  - {from: 2027-06-01, input: "2", source: contract}
- model: anthropic/claude-haiku-5.5
  aliases: [anthropic/haiku]
  prices: [{tiers: []}]
`)
	resolve := func(slug, at string) pricing.Model {
		when, err := time.Parse(time.DateOnly, at)
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Resolve(slug, when)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	sol := resolve("openai/gpt-6-sol", "2026-12-01")
	if sol.Row.Context != 1_050_000 || sol.Row.MaxOutput != 500 || rate(t, sol, "input", 0) != 1_500_000 || rate(t, sol, "output", 0) != 10_000_000 || rate(t, sol, "input", 272_001) != 4_000_000 {
		t.Errorf("%+v %+v", sol.Row, sol.Row.Rates())
	}
	for _, at := range []string{"2026-12-01", "2027-02-01"} { // without from: every list
		if flash := resolve("gemini/gemini-3.8-flash", at); rate(t, flash, "output", 0) != 9_000_001 {
			t.Errorf("at %s: %+v", at, flash.Row.Rates())
		}
	}
	before, after := resolve(kimi, "2027-05-30"), resolve(kimi, "2027-06-02")
	if rate(t, before, "input", 0) != 950_000 || rate(t, after, "input", 0) != 2_000_000 || rate(t, after, "output", 0) != 4_000_000 || after.Row.Source != "contract" {
		t.Errorf("a new period inherits what it does not say: %+v %+v", before.Row.Rates(), after.Row.Rates())
	}
	haiku := resolve("anthropic/haiku", "2026-12-01")
	if haiku.Slug != "anthropic/claude-haiku-5.5" || haiku.UpstreamModel != "claude-haiku-5-5" || len(haiku.Row.Rates()) != 5 {
		t.Errorf("%+v %+v", haiku, haiku.Row.Rates())
	}
	dated := resolve("anthropic/claude-haiku-5.5-20261001", "2026-12-01")
	if dated.Row == nil || dated.UpstreamModel != "claude-haiku-5-5-20261001" {
		t.Errorf("%+v", dated)
	}
	if m := resolve("anthropic/claude-haiku-5.5-20261301", "2026-12-01"); m.Row != nil {
		t.Errorf("%s must have no price", m.UpstreamModel)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"no list", "model: a/b", "line 1: models must be a list"},
		{"no row", "- a/b", "line 1: the model must be a mapping"},
		{"unknown key", "- model: a/b\n  price: 5", `line 2: unknown key "price" in the model; known: accepted, aliases, audio`},
		{"unknown price", "- model: a/b\n  prices:\n  - {input: \"1\", output: \"1\", thinking: \"1\"}", `line 3: unknown key "thinking"`},
		{"key twice", "- model: a/b\n  model: a/c", "model"},
		{"no slug", "- model: b\n", `line 1: model is "b"; write provider/model`},
		{"no name", "- family: bytes\n", "line 1: the model has no name"},
		{"row twice", "- {model: a/b, prices: [{input: 1, output: 1}]}\n- {model: a/b}", "line 2: model a/b appears twice"},
		{"unknown family", "- {model: a/b, family: x, prices: [{input: 1, output: 1}]}", `unknown family "x"`},
		{"no prices", "- model: a/b", "line 1: model a/b has no prices"},
		{"no output", "- model: a/b\n  prices:\n  - {input: \"1\"}", `line 3: model a/b: no output price; write output: "0" if it is free`},
		{"no input", "- model: a/b\n  prices: [{output: \"1\"}]", "no input price"},
		{"seven decimals", "- model: a/b\n  prices:\n  - {input: \"0.0000001\", output: \"1\"}", "line 3: input: \"0.0000001\" has more than 6 decimals; round it up"},
		{"negative", "- model: a/b\n  prices: [{input: \"-1\", output: \"1\"}]", "line 2: input: \"-1\" is not a decimal number"},
		{"exponent", "- model: a/b\n  prices: [{input: 1e3, output: \"1\"}]", "is not a decimal number"},
		{"infinite", "- model: a/b\n  prices: [{input: .inf, output: \"1\"}]", "is not a decimal number"},
		{"bare point", "- model: a/b\n  prices: [{input: \"1.\", output: \"1\"}]", "is not a decimal number"},
		{"empty", "- model: a/b\n  prices: [{input: \"\", output: \"1\"}]", "is not a decimal number"},
		{"null", "- model: a/b\n  prices: [{input: null, output: \"1\"}]", "must be a decimal number"},
		{"huge", "- model: a/b\n  prices: [{input: \"99999999999999999999\", output: \"1\"}]", "is too large"},
		{"the printed placeholder", "- model: a/b\n  prices: [{input: \"<USD per million>\", output: \"1\"}]", "is not a decimal number"},
		{"falling tier", "- model: a/b\n  prices:\n  - {input: \"2\", output: \"1\", tiers: [{from: 10, input: \"1\", output: \"1\"}]}", "line 3: model a/b: the input price falls from the tier at 0 to the tier at 10"},
		{"tier without a price", "- model: a/b\n  prices: [{input: \"1\", cache_read: \"1\", output: \"1\", tiers: [{from: 10, input: \"1\", output: \"1\"}]}]", "cache_read has a price in some tiers"},
		{"tiers out of order", "- model: a/b\n  prices: [{input: 1, output: 1, tiers: [{from: 10, input: 1, output: 1}, {from: 9, input: 1, output: 1}]}]", "sort tiers"},
		{"tier without from", "- model: a/b\n  prices: [{input: 1, output: 1, tiers: [{input: 1, output: 1}]}]", "the tier has no from"},
		{"overlapping dates", "- model: a/b\n  prices:\n  - {from: 2026-01-01, input: 1, output: 1}\n  - {from: 2026-01-01, input: 2, output: 2}", "line 4: two price lists of a/b start on the same day"},
		{"lists of one row do not inherit", "- model: a/b\n  prices:\n  - {input: 1, output: 1}\n  - {from: 2026-01-01, input: 2}", "line 4: model a/b: no output price"},
		{"bad date", "- model: a/b\n  prices: [{from: 2026-13-01, input: 1, output: 1}]", "write a date as YYYY-MM-DD"},
		{"bad limit", "- model: a/b\n  limits: {context: 1e6}", "line 2: context is \"1e6\"; write a whole number"},
		{"negative limit", "- model: a/b\n  limits: {context: -1}", "write a whole number"},
		{"unknown limit", "- model: a/b\n  limits: {ctx: 1}", `unknown key "ctx" in limits; known: checked_at, context, default_output, max_batch, max_output, source`},
		{"image without tokens", "- model: a/b\n  image: {patch: 1}", "image has no max_tokens"},
		{"cheap peak", "- model: a/b\n  peaks: [{from: \"01:00\", to: \"02:00\", multiplier: \"0.5\"}]", "a multiplier of at least 1"},
		{"bad clock", "- model: a/b\n  peaks: [{from: \"1:00\", to: \"02:00\", multiplier: \"2\"}]", "write a UTC time as HH:MM"},
		{"bad flag", "- model: a/b\n  nfkc: maybe", "write true or false"},
		{"bad endpoint", "- model: a/b\n  endpoints: [pictures]", "write one of"},
		{"alias taken", "- {model: a/b, aliases: [openai/gpt-5.5], prices: [{input: 1, output: 1}]}", "alias openai/gpt-5.5 of a/b is already a name of openai/gpt-5.5"},
		{"an overlay may not break a tier", "\n- model: openai/gpt-6-sol\n  prices:\n  - {input: \"5\"}", "line 4: model openai/gpt-6-sol: the input price falls"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := overlay(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
		})
	}
}

// Every fault is told, with its place; a price laid over several lists once.
func TestLoadTellsAllFaults(t *testing.T) {
	_, err := overlay(`
- model: openai/gpt-6-sol
  prices: [{input: "5"}]
- model: openai/gpt-6-sol
- model: a/b
  peaks: [{from: "1:00", to: x, multiplier: "2"}]
  service_tiers: {flex: "-1", fast: "1001"}
  prices: [{input: 1, output: 1, fees: {web_search: x, other: y}, tiers: [{from: 0, input: 1, output: 1}, {from: z, input: 2}]}]
`)
	var faults pricing.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("%v", err)
	}
	var got []string
	for _, f := range faults {
		got = append(got, fmt.Sprintf("%d:%d %s", f.Line, f.Column, f.Field))
		if f.InPrices || f.Message == "" {
			t.Errorf("%+v", f)
		}
	}
	want := []string{
		"3:12 models[0].prices[0]", "4:3 models[1]",
		"6:18 models[2].peaks[0].from", "6:30 models[2].peaks[0].to",
		"7:25 models[2].service_tiers.flex", "7:37 models[2].service_tiers.fast",
		"8:53 models[2].prices[0].fees.web_search", "8:63 models[2].prices[0].fees.other",
		"8:75 models[2].prices[0].tiers[0]", "8:114 models[2].prices[0].tiers[1].from",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != len(want) || !strings.HasPrefix(lines[1], "read models: line 4: model openai/gpt-6-sol appears twice") {
		t.Errorf("%v", err)
	}
}

func TestLoadRefusesUpstreams(t *testing.T) {
	for _, tt := range []struct {
		u    pricing.Upstream
		want string
	}{
		{pricing.Upstream{}, "must not be empty"},
		{pricing.Upstream{Provider: "a/b"}, "contain a slash"},
		{pricing.Upstream{Provider: "a", Dialect: "x"}, "use one of openai_chat, openrouter"},
		{pricing.Upstream{Provider: "a", Dialects: map[pricing.Endpoint]string{pricing.Chat: "x"}}, "the dialect of chat"},
		{pricing.Upstream{Provider: "a", Dialects: map[pricing.Endpoint]string{"x": pricing.DialectOpenAIChat}}, "names the endpoint \"x\""},
		{pricing.Upstream{Provider: "a", Dialect: pricing.DialectCustom}, "needs an extractor"},
		{pricing.Upstream{Provider: "a", Dialects: map[pricing.Endpoint]string{pricing.Chat: pricing.DialectCustom}}, "needs an extractor"},
		{pricing.Upstream{Provider: "a", Dialect: pricing.DialectCustom, Dialects: map[pricing.Endpoint]string{pricing.Chat: pricing.DialectOpenAIChat}}, "needs an extractor"},
		{pricing.Upstream{Provider: "a", Extractor: &pricing.Extractor{Output: "out"}}, "input is missing"},
		{pricing.Upstream{Provider: "a", Extractor: &pricing.Extractor{Input: "in."}}, "is no path"},
		{pricing.Upstream{Provider: "a", Extractor: &pricing.Extractor{Input: ".in"}}, "is no path"},
		{pricing.Upstream{Provider: "a", Extractor: &pricing.Extractor{Input: "in..all"}}, "is no path"},
		{pricing.Upstream{Provider: "a", Extractor: &pricing.Extractor{Input: strings.Repeat("i", 81)}}, "is no path of at most 80"},
		{pricing.Upstream{Provider: "a", StreamUsage: "x"}, "use inject, require, native, charge_bound"},
		{pricing.Upstream{Provider: "a", CapField: "x"}, "use max_tokens, max_completion_tokens, none"},
		{pricing.Upstream{Provider: "a", Honours: []string{"x"}}, "honours"},
		{pricing.Upstream{Provider: "a", Honours: []string{"max_completion_tokens"}}, "cap_field max_tokens is not among"},
		{pricing.Upstream{Provider: "a", MaxTokensPerSecond: -1}, "must be from 0"},
	} {
		if _, err := pricing.Load(nil, []pricing.Upstream{tt.u}, time.Hour); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, want %q in it", tt.u, err, tt.want)
		}
	}
	if _, err := pricing.Load(nil, []pricing.Upstream{{Provider: "a", Extractor: &pricing.Extractor{Input: strings.Repeat("i", 80)}}}, time.Hour); err != nil {
		t.Error(err)
	}
	if _, err := pricing.Load(nil, []pricing.Upstream{{Provider: "a"}, {Provider: "a"}}, time.Hour); err == nil {
		t.Error("a provider may not appear twice")
	}
}

func TestResolveRefuses(t *testing.T) {
	c := mustLoad(t)
	for _, tt := range []struct{ slug, reason string }{
		{"gpt-55", "model_unknown"}, {"openai/", "model_unknown"}, {"/x", "model_unknown"}, {"nobody/x", "provider_unknown"},
	} {
		_, err := c.Resolve(tt.slug, noon())
		if e := refusal(t, err); e.Kind != budget.KindModelNotFound || e.Reason != tt.reason || e.Field != "model" {
			t.Errorf("%s: %+v", tt.slug, e)
		}
	}
	// No substring is ever taken for a model.
	m, err := c.Resolve("openai/gpt-6-sol-mini", noon())
	if err != nil || m.Row != nil {
		t.Errorf("got %+v, %v", m.Row, err)
	}
}

// The lines a refusal prints work once the blanks are filled in.
func TestNotPricedRemedyLoads(t *testing.T) {
	_, err := tryBound(mustLoad(t), pricing.Chat, chatBody("moonshot/new", ""), noon())
	_, lines, _ := strings.Cut(refusal(t, err).Message, "models:\n")
	lines = strings.NewReplacer("<tokens>", "100000", "<USD per million>", "1.25").Replace(lines)
	if b := mustBound(t, mustOverlay(t, lines), pricing.Chat, chatBody("moonshot/new", `"max_tokens":1`), noon()); b.Amount == 0 {
		t.Error("the model is still free")
	}
}

// Shortly before a price change the dearer of both lists counts, bucket by
// bucket, tier by tier, fee by fee.
func TestPriceChangeTakesTheDearer(t *testing.T) {
	c := mustOverlay(t, `
- model: capless/m
  family: bytes
  limits: {context: 1000, max_output: 10}
  prices:
  - {input: "5", output: "1", cache_read: "0.1", fees: {web_search: "0.02", file_search: "0.01"}, tiers: [{from: 100, input: "6", output: "1", cache_read: "0.1"}]}
  - {from: 2027-01-01, input: "2", output: "4", fees: {web_search: "0.01"}, tiers: [{from: 50, input: "7", output: "4"}]}
`)
	m, err := c.Resolve("capless/m", time.Date(2026, 12, 31, 23, 30, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	want := []pricing.Rate{
		{Kind: "input", FromTokens: 0, PicoPerToken: 5_000_000}, {Kind: "cache_read", FromTokens: 0, PicoPerToken: 2_000_000}, {Kind: "output", FromTokens: 0, PicoPerToken: 4_000_000},
		{Kind: "input", FromTokens: 50, PicoPerToken: 7_000_000}, {Kind: "cache_read", FromTokens: 50, PicoPerToken: 7_000_000}, {Kind: "output", FromTokens: 50, PicoPerToken: 4_000_000},
		{Kind: "input", FromTokens: 100, PicoPerToken: 7_000_000}, {Kind: "cache_read", FromTokens: 100, PicoPerToken: 7_000_000}, {Kind: "output", FromTokens: 100, PicoPerToken: 4_000_000},
	}
	if diff := cmp.Diff(want, m.Row.Rates()); diff != "" {
		t.Errorf("rates (-want +got):\n%s", diff)
	}
	call, err := pricing.ParseCall(pricing.Chat, []byte(chatBody("capless/m", `"max_tokens":1,"tools":[{"type":"web_search","max_uses":1}]`)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := m.Bound(call, noon())
	if err != nil {
		t.Fatal(err)
	}
	if want := tokensAt(2000, 7_000_000, 2, 4_000_000) + 2*budget.Cent; b.Amount != want {
		t.Errorf("bound is %s, want %s", b.Amount, want)
	}
}
