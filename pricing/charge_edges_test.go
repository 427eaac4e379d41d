package pricing_test

import (
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// How an answer ended decides the basis, at each border between two of them, and
// the flags say what was wrong with it.
func TestChargeAtTheBordersOfItsOutcomes(t *testing.T) {
	c := mustLoad(t)
	const usage = `{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}`
	const cost = budget.Amount(29_500)
	moonshot := mustBound(t, c, pricing.Chat, chatBody(kimi, `"max_tokens":1000`), noon())
	xai := mustBound(t, c, pricing.Chat, chatBody("xai/grok-4.6", `"max_tokens":1000`), noon())
	bound := moonshot.Amount
	for _, tt := range []struct {
		name  string
		b     *pricing.Bound
		ev    pricing.Evidence
		basis budget.Basis
		cost  budget.Amount
		flags []string
	}{
		{"the last redirect", moonshot, pricing.Evidence{Status: 399, Cut: true}, budget.BasisProviderError, 0, nil},
		{"the first redirect", moonshot, pricing.Evidence{Status: 300}, budget.BasisProviderError, 0, nil},
		{"a redirect with a report", moonshot, pricing.Evidence{Status: 302, Usage: usage, Done: true}, budget.BasisUsage, cost, nil},
		{"another protocol", moonshot, pricing.Evidence{Status: 101}, budget.BasisProviderError, 0, nil},
		{"the first success", moonshot, pricing.Evidence{Status: 200}, budget.BasisBound, bound, nil},
		{"an error", moonshot, pricing.Evidence{Status: 400}, budget.BasisProviderError, 0, nil},
		{"an error cut short", moonshot, pricing.Evidence{Status: 400, Cut: true}, budget.BasisBound, bound, nil},
		{"an error nobody could read", moonshot, pricing.Evidence{Status: 400, Unread: true}, budget.BasisProviderError, 0, nil},
		{"an answer nobody could read", moonshot, pricing.Evidence{Status: 200, Unread: true}, budget.BasisBound, bound, []string{pricing.FlagUsageUnread}},
		{"refused, and the provider has a fee for that", xai, pricing.Evidence{Status: 403, Refused: true}, budget.BasisUsage, 50_000_000, []string{pricing.FlagContentRefused}},
		{"refused, and it has none", moonshot, pricing.Evidence{Status: 403, Refused: true}, budget.BasisProviderError, 0, nil},
		{"refused in an answer that was given", xai, pricing.Evidence{Status: 200, Refused: true, Done: true, Usage: usage}, budget.BasisUsage, 50_000, nil},
		{"zeros beside output", moonshot, pricing.Evidence{Status: 200, Done: true, Output: true, Usage: `{"prompt_tokens":0,"completion_tokens":0}`}, budget.BasisBound, bound, []string{pricing.FlagUsageHollow}},
		{"more reports than are kept", moonshot, pricing.Evidence{Status: 200, Done: true, Many: true, Usage: usage}, budget.BasisBound, bound, []string{pricing.FlagUsageMany}},
		{"the last report is none", moonshot, pricing.Evidence{Status: 200, Done: true, FirstUsage: usage, Usage: `{"prompt_tokens":"?"}`}, budget.BasisBound, bound, []string{pricing.FlagUsageMalformed}},
		{"nothing but what came first", moonshot, pricing.Evidence{Status: 200, Done: true, FirstUsage: usage}, budget.BasisBound, bound, nil},
		{"a tier nobody knows, and no report", moonshot, pricing.Evidence{Status: 200, Done: true, ServiceTier: `"surprise"`}, budget.BasisBound, bound, nil},
		{"a name with something behind it is no name", moonshot, pricing.Evidence{Status: 200, Done: true, Usage: usage, Model: `"kimi-k9" 1`}, budget.BasisUsage, cost, nil},
		{"a pin without a price", &pricing.Bound{Pin: "AQA", Amount: bound}, pricing.Evidence{Status: 200, Done: true, Usage: usage}, budget.BasisUnpriced, 0, nil},
		{"the smallest bill", xai, pricing.Evidence{Status: 200, Done: true, Usage: `{"prompt_tokens":10,"completion_tokens":5,"cost_in_usd_ticks":1}`}, budget.BasisUsage, 1, nil},
		{"a model nobody knows", moonshot, pricing.Evidence{Status: 200, Done: true, Usage: usage, Model: `"kimi-k9"`}, budget.BasisUsage, cost, []string{pricing.FlagServedUnknown}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.ev.Sent = true
			got := pricing.Charge(tt.b.Pin, tt.b.Amount, tt.ev, c.Served(kimi, noon()))
			if got.Basis != tt.basis || got.Cost != tt.cost || !cmp.Equal(got.Flags, tt.flags, cmpopts.EquateEmpty()) {
				t.Errorf("got %s %s %v, want %s %s %v", got.Basis, got.Cost, got.Flags, tt.basis, tt.cost, tt.flags)
			}
		})
	}
}

// standInModels differ in everything that a price has.
const standInModels = `
- model: capless/asked
  family: bytes
  limits: {context: 1000, max_output: 100}
  service_tiers: {priority: "2"}
  prices: [{input: "1", input_image: "1", cache_read: "0.5", output: "1", fees: {web_search: "0.01"}}]
- model: capless/standin
  family: bytes
  limits: {context: 1000000, max_output: 100000}
  service_tiers: {priority: "3", flex: "0.5"}
  flat_cache_read: true
  prices: [{input: "2", input_image: "4", cache_read: "1", output: "1", fees: {web_search: "0.03"}}]
`

// Everything about a price is that of the model that answered: its tokens, its
// fees, its tiers, its limits, and what its tiers make cheaper.
func TestChargeTakesEverythingFromTheModelThatAnswered(t *testing.T) {
	c := mustOverlay(t, standInModels)
	const tool = `,"tools":[{"type":"web_search_20250305","max_uses":2}]`
	for _, tt := range []struct {
		name, members, usage, tier string
		cost                       budget.Amount
		tokens                     budget.Tokens
		flags                      []string
	}{
		{"tokens", "", `{"prompt_tokens":100,"completion_tokens":10}`, "", 210_000, budget.Tokens{Input: 100, Output: 10}, nil},
		{"images", "", `{"prompt_tokens":100,"completion_tokens":10,"prompt_tokens_details":{"image_tokens":40}}`, "", 120_000 + 160_000 + 10_000, budget.Tokens{Input: 100, Output: 10}, nil},
		{"fees", tool, `{"prompt_tokens":100,"completion_tokens":10}`, "", 210_000 + 60_000_000, budget.Tokens{Input: 100, Output: 10}, nil},
		{"tier", "", `{"prompt_tokens":100,"completion_tokens":10}`, `"priority"`, 630_000, budget.Tokens{Input: 100, Output: 10}, nil},
		{"a tier that leaves cache reads as they are", "", `{"prompt_tokens":100,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":40}}`, `"flex"`,
			60_000 + 40_000 + 5_000, budget.Tokens{Input: 60, CacheRead: 40, Output: 10}, nil},
		{"limits", "", `{"prompt_tokens":100000000,"completion_tokens":10}`, "", 10 * (2*budget.Dollar + 10*budget.Cent), budget.Tokens{}, []string{pricing.FlagBoundExceeded, pricing.FlagAbsurd}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := mustBound(t, c, pricing.Chat, chatBody("capless/asked", `"max_tokens":100`+tt.members), noon())
			if tt.flags == nil {
				b.Amount = budget.Dollar
			}
			ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Model: `"standin"`, Usage: tt.usage, ServiceTier: tt.tier}
			got := pricing.Charge(b.Pin, b.Amount, ev, c.Served("capless/asked", noon()))
			if got.Cost != tt.cost || got.Tokens != tt.tokens || got.Served != "capless/standin" || !cmp.Equal(got.Flags, tt.flags, cmpopts.EquateEmpty()) {
				t.Errorf("got %+v, want %s %+v %v", got, tt.cost, tt.tokens, tt.flags)
			}
		})
	}
}

// Where the operator's own price is the least, what it lacks is flagged too.
func TestChargeFlagsWhatTheOwnPriceLacks(t *testing.T) {
	c := mustOverlay(t, tunes)
	b := mustBound(t, c, pricing.Chat, chatBody("openai/dear-tune", `"max_tokens":1000`), noon())
	ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Model: `"gpt-6-sol"`,
		Usage: `{"prompt_tokens":100,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":50}}`}
	got := pricing.Charge(b.Pin, b.Amount, ev, c.Served("openai/dear-tune", noon()))
	if want := budget.Amount(1_030_000); got.Cost != want || !cmp.Equal(got.Flags, []string{pricing.FlagBucketUnpriced}) {
		t.Errorf("%s %v, want %s", got.Cost, got.Flags, want)
	}
}

// An answer of which no limit is known fits the context.
func TestAbsurdWithoutALongestAnswer(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	b := mustBound(t, c, pricing.Chat, chatBody("openrouter/a/b", `"max_tokens":10`), noon())
	got := answered(b, `{"prompt_tokens":10,"completion_tokens":1,"cost":1e6}`)
	if want := 3 * budget.Dollar; got.Cost != want || got.Billed != 1_000_000*budget.Dollar {
		t.Errorf("%s of %s, want %s", got.Cost, got.Billed, want)
	}
}

// A call whose token an earlier version wrote takes the peak of the model that
// answered, where that is dearer than its own.
func TestOlderPinsTakeThePeakOfTheModelThatAnswered(t *testing.T) {
	c := mustLoad(t)
	const pin = "AQEBAMMI8P05gJL0AQEBAQEAAAIEZmxleAEBCW9uX2RlbWFuZAEBAQBD8P05gOIJgJL0AQ" // Moonshot
	const name = `"deepseek-v4-pro"`
	const usage = `{"prompt_tokens":1000,"completion_tokens":0}`
	absurd := map[int]budget.Amount{}
	for _, tt := range []struct {
		hour int
		cost budget.Amount
	}{{2, 1_320_000}, {14, 660_000}} {
		at := time.Date(2026, 11, 24, tt.hour, 0, 0, 0, time.UTC) // a Tuesday
		ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Start: at, End: at, Model: name, Usage: usage}
		got := pricing.Charge(pin, budget.Dollar, ev, c.Served("deepseek/asked", at))
		if got.Cost != tt.cost || got.Served != "deepseek/deepseek-v4-pro" {
			t.Errorf("at %d:00: %+v, want %s", tt.hour, got, tt.cost)
		}
		ev.Usage = `{"prompt_tokens":1e15,"completion_tokens":0}`
		absurd[tt.hour] = pricing.Charge(pin, budget.Cent, ev, c.Served("deepseek/asked", at)).Cost
	}
	if absurd[14] == 0 || absurd[2] != 2*absurd[14] { // what its full context costs then
		t.Errorf("absurd bills are cut at %v", absurd)
	}
}
