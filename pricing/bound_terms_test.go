package pricing_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"go.yaml.in/yaml/v4"
)

// A peak may be of every day, and beside a dearer one.
func TestPeaksOfAnyDay(t *testing.T) {
	c := mustOverlay(t, `
- {model: capless/evening, family: bytes, peaks: [{from: "20:00", to: "21:00", multiplier: "3"}], prices: [{input: "1", output: "1"}]}
- {model: capless/nested, family: bytes, peaks: [{from: "19:00", to: "23:00", multiplier: "3"}, {from: "20:00", to: "21:00", multiplier: "2"}], prices: [{input: "1", output: "1"}]}
`)
	for model, at := range map[string]time.Time{
		"evening": time.Date(2026, 11, 28, 20, 30, 0, 0, time.UTC), // a Saturday
		"nested":  time.Date(2026, 11, 24, 20, 30, 0, 0, time.UTC),
	} {
		body := chatBody("capless/"+model, `"max_tokens":1`)
		calm, peak := mustBound(t, c, pricing.Chat, body, noon()).Amount, mustBound(t, c, pricing.Chat, body, at).Amount
		if peak != 3*calm {
			t.Errorf("%s: %s at %s, want 3 × %s", model, peak, at, calm)
		}
	}
}

// DeepSeek's peak hours are those of weekdays, in UTC, and a call costs what the
// minutes cost that it ran in: the bound has the dearest that it can reach.
func TestPeaksSettleByTheMinute(t *testing.T) {
	c := mustLoad(t)
	at := func(text string) time.Time {
		d, err := time.Parse(time.DateTime, text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	const base = 150_000 // deepseek-v4-flash: $0.15 for 1,000 tokens of input
	for _, tt := range []struct {
		name          string
		bound, s, e   string // admission, start, end
		boundX, costX int64
	}{
		{"ended before the peak", "2026-11-24 00:30:00", "2026-11-24 00:30:00", "2026-11-24 00:59:59", 2, 1},
		{"ended in the peak", "2026-11-24 00:30:00", "2026-11-24 00:30:00", "2026-11-24 01:00:00", 2, 2},
		{"ran after the peak", "2026-11-24 03:59:59", "2026-11-24 04:00:00", "2026-11-24 04:05:00", 2, 1},
		{"began in the peak", "2026-11-24 03:59:59", "2026-11-24 03:59:59", "2026-11-24 04:05:00", 2, 2},
		{"between the peaks", "2026-11-24 04:30:00", "2026-11-24 04:30:00", "2026-11-24 05:10:00", 1, 1},
		{"Saturday", "2026-11-28 02:00:00", "2026-11-28 02:00:00", "2026-11-28 02:30:00", 1, 1},
		{"Sunday", "2026-11-29 02:00:00", "2026-11-29 02:00:00", "2026-11-29 02:30:00", 1, 1},
		{"Sunday night", "2026-11-29 23:30:00", "2026-11-29 23:30:00", "2026-11-29 23:59:00", 1, 1},
		{"from Sunday into Monday's peak", "2026-11-30 00:30:00", "2026-11-30 00:30:00", "2026-11-30 01:10:00", 2, 2},
		{"from Friday's night", "2026-11-27 23:59:00", "2026-11-27 23:59:00", "2026-11-28 00:10:00", 1, 1},
		{"a clock that runs ahead of the bound's: no more than the bound", "2026-11-24 04:00:00", "2026-11-24 03:59:59", "2026-11-24 04:05:00", 1, 1},
		{"a day without word", "2026-11-24 12:00:00", "2026-11-24 12:00:00", "2026-11-25 12:00:00", 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := chatBody("deepseek/deepseek-v4-flash", `"max_tokens":1`)
			b := mustBound(t, c, pricing.Chat, body, at(tt.bound))
			calm := mustBound(t, c, pricing.Chat, body, noon())
			if b.Amount != calm.Amount*budget.Amount(tt.boundX) {
				t.Errorf("the bound is %s, want %d × %s", b.Amount, tt.boundX, calm.Amount)
			}
			ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Start: at(tt.s), End: at(tt.e), Usage: `{"prompt_tokens":1000,"completion_tokens":0,"total_tokens":1000}`}
			if got := pricing.Charge(b.Pin, b.Amount, ev, nil); got.Cost != budget.Amount(base*tt.costX) {
				t.Errorf("cost is %s, want %d × %d nano", got.Cost, tt.costX, base)
			}
			ev.Start = time.Time{}
			if got := pricing.Charge(b.Pin, b.Amount, ev, nil); got.Cost != budget.Amount(base*tt.boundX) {
				t.Errorf("without a time the cost is %s, want the bound's factor %d", got.Cost, tt.boundX)
			}
		})
	}
}

// Another model's hours are its own, in the minutes the call ran in.
func TestPeaksOfTheServedModel(t *testing.T) {
	c := mustLoad(t)
	day := time.Date(2026, 11, 24, 0, 30, 0, 0, time.UTC)
	b := mustBound(t, c, pricing.Chat, chatBody("deepseek/deepseek-v4-pro", `"max_tokens":1`), day)
	ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Model: `"deepseek-flash"`, Usage: `{"prompt_tokens":1000,"completion_tokens":0}`}
	for minutes, want := range map[int]budget.Amount{5: 150_000, 31: 300_000} {
		ev.Start, ev.End = day, day.Add(time.Duration(minutes)*time.Minute)
		if got := pricing.Charge(b.Pin, b.Amount, ev, c.Served("deepseek/deepseek-v4-pro", day)); got.Cost != want || got.Served != "deepseek/deepseek-flash" {
			t.Errorf("%d minutes: %s %s, want %s", minutes, got.Cost, got.Served, want)
		}
	}
}

// Anthropic's report says where the model ran.
func TestChargeByTheRegionInTheAnswer(t *testing.T) {
	c := mustLoad(t)
	for _, tt := range []struct {
		asked, answer string
		cost          budget.Amount
		flags         []string
	}{
		{"", ``, 4_000_000, nil},
		{"", `,"inference_geo":"global"`, 4_000_000, nil},
		{"", `,"inference_geo":"not_available"`, 4_000_000, nil},
		{"", `,"inference_geo":"us"`, 4_400_000, []string{pricing.FlagBoundExceeded}},
		{"", `,"inference_geo":"US"`, 4_400_000, []string{pricing.FlagBoundExceeded}},
		{"us", ``, 4_400_000, nil},
		{"us", `,"inference_geo":null`, 4_400_000, nil},
		{"us", `,"inference_geo":"us"`, 4_400_000, nil},
		{"us", `,"inference_geo":"global"`, 4_000_000, nil},
		{"us", `,"inference_geo":"eu"`, 4_400_000, []string{pricing.FlagGeoUnpriced}},
		{"", `,"inference_geo":"eu"`, 4_400_000, []string{pricing.FlagGeoUnpriced, pricing.FlagBoundExceeded}},
	} {
		members := ""
		if tt.asked != "" {
			members = `,"inference_geo":"` + tt.asked + `"`
		}
		body := `{"model":"anthropic/claude-opus-5.5","max_tokens":1,"messages":[]` + members + `}`
		b := mustBound(t, c, pricing.Messages, body, noon())
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"input_tokens":1000,"output_tokens":0` + tt.answer + `}`}, nil)
		if got.Cost != tt.cost || !slices.Equal(got.Flags, tt.flags) {
			t.Errorf("asked %q, answered %s: %s %v, want %s %v", tt.asked, tt.answer, got.Cost, got.Flags, tt.cost, tt.flags)
		}
	}
}

// Proxies keep Anthropic's names within the usage of OpenAI's APIs.
func TestTierInAReportOfChat(t *testing.T) {
	c := mustLoad(t)
	for _, tt := range []struct {
		beside, within string
		cost           budget.Amount
	}{
		{"", `"service_tier":"priority"`, 12_500_000},
		{"", `"service_tier":"surprise"`, 12_500_000},
		{"", `"speed":"warp"`, 12_500_000},
		{"", `"service_tier":"default","speed":7,"inference_geo":null`, 5_000_000},
		{`"default"`, `"service_tier":"priority"`, 5_000_000}, // the API's own place for it
	} {
		for e, body := range map[pricing.Endpoint]string{pricing.Chat: chatBody("openai/gpt-5.5", `"max_tokens":1`), pricing.Responses: `{"model":"openai/gpt-5.5","input":"hi","max_output_tokens":16}`} {
			b := mustBound(t, c, e, body, noon())
			got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":1000,"completion_tokens":0,` + tt.within + `}`, ServiceTier: tt.beside}, nil)
			if got.Cost != tt.cost || got.Basis != budget.BasisUsage {
				t.Errorf("%s, beside %s, within %s: %+v, want %s", e, tt.beside, tt.within, got, tt.cost)
			}
		}
	}
	b := mustBound(t, c, pricing.Chat, `{"model":"anthropic/claude-opus-5.5","max_tokens":1,"messages":[]}`, noon())
	got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":1000,"completion_tokens":0,"inference_geo":"us"}`}, nil)
	if got.Cost != 4_400_000 {
		t.Errorf("region: %+v", got)
	}
}

// An unknown tier inside the report is charged like the dearest known, too.
func TestUnknownTierInTheReport(t *testing.T) {
	b := mustBound(t, mustLoad(t), pricing.Messages, `{"model":"anthropic/claude-opus-5.5","max_tokens":1,"messages":[]}`, noon())
	for usage, want := range map[string]budget.Amount{
		`"service_tier":"standard"`: 4_000_000, `"service_tier":"priority"`: 4_000_000, `"service_tier":"dedicated"`: 8_000_000,
		`"speed":"fast"`: 8_000_000, `"speed":"warp"`: 8_000_000, `"service_tier":"standard","speed":"standard"`: 4_000_000,
		`"service_tier":"standard","service_tier":"fast"`: 8_000_000,
	} {
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"input_tokens":1000,"output_tokens":0,` + usage + `}`}, nil)
		if got.Cost != want {
			t.Errorf("%s: %s, want %s", usage, got.Cost, want)
		}
	}
}

// Gemini's flex halves tokens, but not what is read from the cache on models
// whose price page says so; priority raises all.
func TestGeminiTiers(t *testing.T) {
	c := mustLoad(t)
	for _, tt := range []struct {
		model, tier string
		cost        budget.Amount // 600 input, 400 cached, 100 output
	}{
		{"gemini/gemini-3.8-flash", "", 450_000 + 30_000 + 375_000},
		{"gemini/gemini-3.8-flash", "flex", (450_000 + 30_000 + 375_000) / 2},
		{"gemini/gemini-3.8-flash", "priority", (450_000 + 30_000 + 375_000) / 10 * 18},
		{"gemini/gemini-2.5-flash", "flex", 90_000 + 12_000 + 125_000},
		{"gemini/gemini-2.5-flash", "priority", (180_000 + 12_000 + 250_000) / 10 * 18},
	} {
		b := mustBound(t, c, pricing.Chat, chatBody(tt.model, `"max_tokens":100,"service_tier":"priority"`), noon())
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, ServiceTier: `"` + strings.ReplaceAll(tt.tier, "", "") + `"`,
			Usage: `{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"prompt_tokens_details":{"cached_tokens":400}}`}, nil)
		if tt.tier == "" { // no word: as asked
			tt.cost = tt.cost / 10 * 18
		}
		if got.Cost != tt.cost || len(got.Flags) > 0 {
			t.Errorf("%s %s: %s %v, want %s", tt.model, tt.tier, got.Cost, got.Flags, tt.cost)
		}
	}
}

// Long-context prices hold above the threshold, not from it on.
func TestThresholdsAreAbove(t *testing.T) {
	c := mustLoad(t)
	for model, threshold := range map[string]int64{"openai/gpt-5.4": 272_000, "openai/gpt-6-sol": 272_000, "xai/grok-4.6": 200_000, "gemini/gemini-2.5-pro": 200_000, "anthropic/claude-haiku-5.5": 100_000} {
		m, err := c.Resolve(model, noon())
		if err != nil {
			t.Fatal(err)
		}
		var starts []int64
		for _, r := range m.Row.Rates() {
			if r.Kind == "input" {
				starts = append(starts, r.FromTokens)
			}
		}
		if !slices.Equal(starts, []int64{0, threshold + 1}) {
			t.Errorf("%s: tiers start at %v, want above %d", model, starts, threshold)
		}
	}
}

// A provider's own factor is on every token price, in bound and cost.
func TestPriceMultiplier(t *testing.T) {
	load := func(multiplier string) (*pricing.Catalog, error) {
		return pricing.Load(nil, []pricing.Upstream{{Provider: "openai", PriceMultiplier: multiplier}}, time.Hour)
	}
	charge := func(multiplier string) (bound, cost budget.Amount) {
		c, err := load(multiplier)
		if err != nil {
			t.Fatal(err)
		}
		b := mustBound(t, c, pricing.Chat, chatBody("openai/gpt-6-sol", `"max_tokens":100`), noon())
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":1000,"completion_tokens":10}`}, nil)
		return b.Amount, got.Cost
	}
	bound, cost := charge("")
	dearBound, dearCost := charge("1.1")
	if dearBound*10 != bound*11 || dearCost*10 != cost*11 {
		t.Errorf("bound %s and cost %s became %s and %s, want 1.1 times", bound, cost, dearBound, dearCost)
	}
	for _, bad := range []string{"0.9", "0", "-1", "1.1x", "101", "1.1234567", "1e1", " 1.1"} {
		if _, err := load(bad); err == nil || !strings.Contains(err.Error(), "price_multiplier") {
			t.Errorf("%q: error is %v", bad, err)
		}
	}
}

// xAI bills a request that it refuses for its content: the bound has room for
// that, and it is charged.
func TestContentRefusal(t *testing.T) {
	c := mustLoad(t)
	const fee = budget.Amount(50_000_000)
	b := mustBound(t, c, pricing.Chat, chatBody("xai/grok-4.6", `"max_tokens":10`), noon())
	if b.Amount != fee {
		t.Errorf("the bound of a small call is %s, want the fee %s", b.Amount, fee)
	}
	if large := mustBound(t, c, pricing.Chat, chatBody("xai/grok-4.6", `"max_tokens":100000`), noon()); large.Amount <= fee || large.Amount > 20*fee {
		t.Errorf("the bound of a large call is %s", large.Amount)
	}
	if _, ok := b.LargestCap(fee - 1); ok {
		t.Error("a cap fits into less than the fee")
	}
	for _, tt := range []struct {
		ev   pricing.Evidence
		cost budget.Amount
	}{
		{pricing.Evidence{Sent: true, Status: 403, Refused: true}, fee},
		{pricing.Evidence{Sent: true, Status: 403}, 0}, // about the account
		{pricing.Evidence{Sent: true, Status: 400}, 0},
		{pricing.Evidence{Sent: true, Status: 429}, 0},
		{pricing.Evidence{Status: 403, Refused: true}, 0},
		{pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":1000,"completion_tokens":10}`}, 2_060_000},
	} {
		if got := pricing.Charge(b.Pin, b.Amount, tt.ev, nil); got.Cost != tt.cost {
			t.Errorf("%+v: %s %v, want %s", tt.ev, got.Cost, got.Flags, tt.cost)
		}
	}
	other := mustBound(t, c, pricing.Chat, chatBody(kimi, `"max_tokens":10`), noon())
	if got := pricing.Charge(other.Pin, other.Amount, pricing.Evidence{Sent: true, Status: 403, Refused: true}, nil); got.Cost != 0 {
		t.Errorf("another provider's 403 costs %s", got.Cost)
	}
}

// Long-lived cache writes cost what the vendors say, also where a row has no
// other write price; 5m is Moonshot's default, and short.
func TestLongLivedWrites(t *testing.T) {
	c := mustLoad(t)
	bound := func(model, members string) budget.Amount {
		return mustBound(t, c, pricing.Chat, chatBody(model, `"max_tokens":1`+members), noon()).Amount
	}
	const k3 = "moonshot/kimi-k3"
	tokens := func(members string) int64 { return int64(len(chatBody(k3, `"max_tokens":1`+members))) + 1000 }
	for members, price := range map[string]int64{
		"": 3_000_000, `,"prompt_cache_options":{"ttl":"5m"}`: 3_000_000, `,"prompt_cache_options":{"ttl":null}`: 3_000_000, `,"prompt_cache_options":{"ttl":"1h"}`: 6_000_000,
	} {
		if got, want := bound(k3, members), tokensAt(tokens(members), price, 1, 15_000_000); got != want {
			t.Errorf("%s: bound is %s, want %s", members, got, want)
		}
	}
	for _, tt := range []struct {
		model, members, usage string
		cost                  budget.Amount
	}{
		{k3, `,"prompt_cache_options":{"ttl":"1h"}`, `{"prompt_tokens":1000,"completion_tokens":0,"prompt_tokens_details":{"cache_write_tokens":1000}}`, 6_000_000},
		{"openai/gpt-6-sol", `,"prompt_cache_options":{"ttl":"12h"}`, `{"prompt_tokens":1000,"completion_tokens":0,"prompt_tokens_details":{"cache_write_tokens":1000,"cache_write_tokens_details":{"ttl_12h_tokens":1000}}}`, 5_000_000},
		{"openai/gpt-6-sol", "", `{"prompt_tokens":1000,"completion_tokens":0,"prompt_tokens_details":{"cache_write_tokens":1000}}`, 2_500_000},
	} {
		b := mustBound(t, c, pricing.Chat, chatBody(tt.model, `"max_tokens":1`+tt.members), noon())
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: tt.usage}, nil)
		if got.Cost != tt.cost || got.Cost > b.Amount || len(got.Flags) > 0 {
			t.Errorf("%s%s: %s %v, want %s", tt.model, tt.members, got.Cost, got.Flags, tt.cost)
		}
	}
}

// A model that an import added has a price for cache writes and no family: where
// OpenAI made it, it writes unasked.
func TestAddedOpenAIModelsWriteUnasked(t *testing.T) {
	for model, price := range map[string]int64{"openai/gpt-7": 2_500_000, "openrouter/openai/gpt-7": 2_500_000, "azure/gpt-7": 2_500_000, "anthropic/claude-7": 2_000_000} {
		var n yaml.Node
		row := "models:\n- model: " + model + "\n  limits: {context: 1000000}\n  prices: [{input: \"2\", cache_write: \"2.5\", output: \"8\"}]\n"
		if err := yaml.Load([]byte(row), &n); err != nil {
			t.Fatal(err)
		}
		c, err := pricing.LoadPrices(&n, nil, append(upstreams(), pricing.Upstream{Provider: "azure"}), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		body := chatBody(model, `"max_tokens":1`)
		if got, want := mustBound(t, c, pricing.Chat, body, noon()).Amount, tokensAt(int64(len(body))+1000, price, 1, 8_000_000); got != want {
			t.Errorf("%s: bound is %s, want %s", model, got, want)
		}
	}
}
