package pricing_test

import (
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func sonnet(extra string) string {
	return chatBody("anthropic/claude-sonnet-4.6", `"max_tokens":1000`+extra)
}

// One golden row per way a provider writes its usage. kimi: 0.95 in, 0.16
// cached, 4 out; sonnet: 3 in, 0.30 read, 3.75 written, 15 out.
func TestChargeReadsUsage(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	for _, tt := range []struct {
		name, body, usage string
		tokens            budget.Tokens
		cost              budget.Amount // nano
		flags             []string
	}{
		{"plain", chatBody(kimi, `"max_tokens":100`),
			`{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050}`,
			budget.Tokens{Input: 1000, Output: 50}, 950_000 + 200_000, nil},
		{"explicit zero", chatBody(kimi, `"max_tokens":100`),
			`{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}`, budget.Tokens{}, 0, nil},
		{"OpenAI details are subsets", chatBody("openai/gpt-6-sol", `"max_tokens":5000`),
			`{"prompt_tokens":1000,"completion_tokens":500,"total_tokens":1500,"prompt_tokens_details":{"cached_tokens":400,"cache_write_tokens":100,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":400,"rejected_prediction_tokens":30}}`,
			budget.Tokens{Input: 500, CacheRead: 400, CacheWrite: 100, Output: 500}, 1_000_000 + 80_000 + 250_000 + 5_000_000, nil},
		{"null details", chatBody(kimi, `"max_tokens":100`),
			`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":null,"completion_tokens_details":null}`,
			budget.Tokens{Input: 10, Output: 5}, 9500 + 20_000, nil},
		{"Moonshot names the cached tokens twice", chatBody(kimi, `"max_tokens":100`),
			`{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050,"cached_tokens":600,"prompt_tokens_details":{"cached_tokens":600}}`,
			budget.Tokens{Input: 400, CacheRead: 600, Output: 50}, 380_000 + 96_000 + 200_000, nil},
		{"Moonshot, the old spelling alone", chatBody(kimi, `"max_tokens":100`),
			`{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050,"cached_tokens":600}`,
			budget.Tokens{Input: 400, CacheRead: 600, Output: 50}, 380_000 + 96_000 + 200_000, nil},
		{"DeepSeek: prompt is hit and miss", chatBody("deepseek/deepseek-v4-pro", `"max_tokens":100`),
			`{"prompt_tokens":1000,"completion_tokens":50,"total_tokens":1050,"prompt_cache_hit_tokens":900,"prompt_cache_miss_tokens":100,"prompt_tokens_details":{"cached_tokens":900}}`,
			budget.Tokens{Input: 100, CacheRead: 900, Output: 50}, 66_000 + 19_800 + 99_000, nil},
		{"DeepSeek without a prompt", chatBody("deepseek/deepseek-v4-pro", `"max_tokens":100`),
			`{"completion_tokens":50,"prompt_cache_hit_tokens":900,"prompt_cache_miss_tokens":100}`,
			budget.Tokens{Input: 100, CacheRead: 900, Output: 50}, 66_000 + 19_800 + 99_000, nil},
		{"Gemini's thoughts are in the total only", chatBody("gemini/gemini-2.5-flash", `"max_tokens":1000`),
			`{"prompt_tokens":9,"completion_tokens":1,"total_tokens":103}`,
			budget.Tokens{Input: 9, Output: 94}, 2700 + 235_000, nil},
		{"xAI's reasoning is in the total only", chatBody("xai/grok-4.6", `"max_tokens":6000`),
			`{"prompt_tokens":1187,"completion_tokens":860,"total_tokens":6690,"completion_tokens_details":{"reasoning_tokens":4643}}`,
			budget.Tokens{Input: 1187, Output: 5503}, 2_374_000 + 33_018_000, nil},
		{"a total that is too small is ignored", chatBody(kimi, `"max_tokens":100`),
			`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":3}`, budget.Tokens{Input: 10, Output: 5}, 9500 + 20_000, nil},
		{"no completion, but a total", chatBody(kimi, `"max_tokens":100`),
			`{"prompt_tokens":10,"total_tokens":15}`, budget.Tokens{Input: 10, Output: 5}, 9500 + 20_000, nil},
		{"no total", chatBody(kimi, `"max_tokens":100`),
			`{"prompt_tokens":10,"completion_tokens":5}`, budget.Tokens{Input: 10, Output: 5}, 9500 + 20_000, nil},
		{"parts exceed the whole", chatBody(kimi, `"max_tokens":100`),
			`{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"cached_tokens":30}`,
			budget.Tokens{Input: 10, CacheRead: 30, Output: 5}, 9500 + 4800 + 20_000, []string{pricing.FlagUsageInconsistent}},
		{"cached without a price", chatBody("capless/m", `"max_tokens":100`),
			`{"prompt_tokens":10,"completion_tokens":5,"cached_tokens":4}`,
			budget.Tokens{Input: 6, CacheRead: 4, Output: 5}, 10_000 + 10_000, []string{pricing.FlagBucketUnpriced}},
		{"audio without a price stays input", chatBody("capless/m", `"max_tokens":100`),
			`{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":4}}`,
			budget.Tokens{Input: 10, Output: 5}, 20_000, nil},
		{"audio with prices", chatBody("capless/voice", `"max_tokens":100,"modalities":["audio"]`),
			`{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"audio_tokens":4},"completion_tokens_details":{"audio_tokens":3}}`,
			budget.Tokens{Input: 10, Output: 5}, 6000 + 32_000 + 4000 + 27_000, nil},
		{"long-lived cache writes", sonnet(`,"x":{"cache_control":{"ttl":"1h"}}`),
			`{"prompt_tokens":100,"completion_tokens":0,"prompt_tokens_details":{"cache_write_tokens":100}}`,
			budget.Tokens{CacheWrite: 100}, 600_000, nil},
		{"the tier reprices everything", chatBody("openai/gpt-6-sol", `"max_tokens":100,"user":"`+string(make300k())+`"`),
			`{"prompt_tokens":272001,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":271000}}`,
			budget.Tokens{Input: 1001, CacheRead: 271_000, Output: 10}, 4_004_000 + 108_400_000 + 150_000, nil},
		{"at the threshold, which the tier is above", chatBody("openai/gpt-6-sol", `"max_tokens":100,"user":"`+string(make300k())+`"`),
			`{"prompt_tokens":272000,"completion_tokens":10,"prompt_tokens_details":{"cached_tokens":271000}}`,
			budget.Tokens{Input: 1000, CacheRead: 271_000, Output: 10}, 2_000_000 + 54_200_000 + 100_000, nil},
		{"above the bound: in full", chatBody(kimi, `"max_tokens":1`),
			`{"prompt_tokens":1000000,"completion_tokens":0}`, budget.Tokens{Input: 1_000_000}, 950_000_000, []string{pricing.FlagBoundExceeded}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := mustBound(t, c, pricing.Chat, tt.body, noon())
			got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: tt.usage}, nil)
			want := pricing.Outcome{Basis: budget.BasisUsage, Cost: tt.cost, Tokens: tt.tokens, Flags: tt.flags}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func make300k() []byte {
	b := make([]byte, 300_000)
	for i := range b {
		b[i] = 'x'
	}
	return b
}

func TestChargeEmbeddings(t *testing.T) {
	b := mustBound(t, mustLoad(t), pricing.Embeddings, `{"model":"openai/text-embedding-3-large","input":"hello"}`, noon())
	got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":8,"total_tokens":8}`}, nil)
	want := pricing.Outcome{Basis: budget.BasisUsage, Cost: 1040, Tokens: budget.Tokens{Input: 8}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestChargeMalformedUsageIsNoReport(t *testing.T) {
	b := mustBound(t, mustLoad(t), pricing.Chat, chatBody(kimi, `"max_tokens":100`), noon())
	for _, usage := range []string{
		`[]`, `"x"`, `7`, `{"prompt_tokens":1}`, `{"completion_tokens":1,"total_tokens":2}`,
		`{"prompt_tokens":"x","completion_tokens":1}`, `{"prompt_tokens":1.5,"completion_tokens":1}`,
		`{"prompt_tokens":[1],"completion_tokens":1}`, `{"prompt_tokens":true,"completion_tokens":1}`, `{"prompt_tokens":1,"completion_tokens":1,"total_tokens":-2}`,
		`{"prompt_tokens":-1,"completion_tokens":1}`, `{"prompt_tokens":1,"prompt_tokens":2,"completion_tokens":1}`,
		`{"prompt_tokens":1,"completion_tokens":1`, `{"prompt_tokens":1,"completion_tokens":1}}`,
	} {
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: usage}, nil)
		want := pricing.Outcome{Basis: budget.BasisBound, Cost: b.Amount, Flags: []string{pricing.FlagUsageMalformed}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", usage, diff)
		}
	}
}

func TestChargeBilledTier(t *testing.T) {
	c := mustLoad(t)
	usage := `{"prompt_tokens":1000,"completion_tokens":0,"total_tokens":1000}`
	for _, tt := range []struct {
		asked, billed string
		cost          budget.Amount
		flags         []string
	}{
		{"", "", 5_000_000, nil},
		{"", "null", 5_000_000, nil},
		{"priority", "", 12_500_000, nil},
		{"priority", `"priority"`, 12_500_000, nil},
		{"priority", `"default"`, 5_000_000, nil}, // served at the usual tier, billed so
		{"fast", `"priority"`, 12_500_000, nil},
		{"", `"surprise"`, 12_500_000, []string{pricing.FlagTierUnpriced, pricing.FlagBoundExceeded}}, // the dearest there is
		{"flex", `"surprise"`, 12_500_000, []string{pricing.FlagTierUnpriced, pricing.FlagBoundExceeded}},
		{"", `"Priority"`, 12_500_000, []string{pricing.FlagBoundExceeded}},
		{"priority", `"surprise"`, 12_500_000, []string{pricing.FlagTierUnpriced}},
		{"", `"priority"`, 12_500_000, []string{pricing.FlagBoundExceeded}},
		{"", `7`, 5_000_000, nil},
	} {
		members := `"max_tokens":1`
		if tt.asked != "" {
			members += `,"service_tier":"` + tt.asked + `"`
		}
		b := mustBound(t, c, pricing.Chat, chatBody("openai/gpt-5.5", members), noon())
		got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: usage, ServiceTier: tt.billed}, nil)
		if got.Cost != tt.cost || !cmp.Equal(got.Flags, tt.flags, cmpopts.EquateEmpty()) {
			t.Errorf("asked %q, billed %s: %s %v, want %s %v", tt.asked, tt.billed, got.Cost, got.Flags, tt.cost, tt.flags)
		}
	}
}

func TestChargeTakesTheBilledAmount(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	for _, tt := range []struct {
		name, model, usage string
		cost               budget.Amount
	}{
		{"cost", "openrouter/a/b", `"cost":0.00123`, 1_230_000},
		{"exponent", "openrouter/a/b", `"cost":1.4e-05`, 14_000},
		{"rounded up", "openrouter/a/b", `"cost":0.0000000001`, 1},
		{"large exponent", "openrouter/a/b", `"cost":12E-1`, 1_200_000_000},
		{"zero", "openrouter/a/b", `"cost":0`, 0},
		{"own key: the fee and the rest", "openrouter/a/b", `"cost":0.0001,"is_byok":true,"cost_details":{"upstream_inference_cost":0.002}`, 2_100_000},
		{"own key without the rest: counts", "openrouter/a/b", `"cost":0.0001,"is_byok":true`, 12_000},
		{"negative: counts", "openrouter/a/b", `"cost":-1`, 12_000},
		{"object: counts", "openrouter/a/b", `"cost":{"total":1}`, 12_000},
		{"absurd: counts", "openrouter/a/b", `"cost":1e300`, 12_000},
		{"another provider's cost means nothing", "capless/m", `"cost":0.5`, 12_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := mustBound(t, c, pricing.Chat, chatBody(tt.model, `"max_tokens":1000000`), noon())
			got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true,
				Usage: `{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11,` + tt.usage + `}`}, nil)

			if got.Basis != budget.BasisUsage || got.Cost != tt.cost {
				t.Errorf("got %+v, want %s", got, tt.cost)
			}
		})
	}
}

func TestChargeHostedToolFees(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	b := mustBound(t, c, pricing.Chat, chatBody("capless/m", `"max_tokens":100,"tools":[{"type":"web_search_20250305","max_uses":2}]`), noon())
	got := pricing.Charge(b.Pin, b.Amount, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":10,"completion_tokens":1}`}, nil)
	if want := budget.Amount(12_000) + 2*budget.Cent; got.Cost != want { // how often it searched is not in the report
		t.Errorf("cost is %s, want %s", got.Cost, want)
	}
}

// The table of how a request can end.
func TestChargeOutcomes(t *testing.T) {
	c := mustLoad(t)
	openai := mustBound(t, c, pricing.Chat, chatBody("openai/gpt-6-sol", `"stream":true,"max_tokens":100000,"n":2`), noon())
	openaiWhole := mustBound(t, c, pricing.Chat, chatBody("openai/gpt-6-sol", `"max_tokens":100000`), noon())
	predicted := mustBound(t, c, pricing.Chat, chatBody("openai/gpt-6-sol", `"stream":true,"max_tokens":100000,"prediction":{"type":"content"}`), noon())
	deepseek := mustBound(t, c, pricing.Chat, chatBody("deepseek/deepseek-v4-pro", `"stream":true,"max_tokens":100000`), noon())
	moonshot := mustBound(t, c, pricing.Chat, chatBody(kimi, `"stream":true,"max_tokens":100000`), noon())
	gemini := mustBound(t, c, pricing.Chat, chatBody("gemini/gemini-2.5-flash", `"stream":true,"max_tokens":1000`), noon())
	vllm := mustBound(t, c, pricing.Chat, chatBody("openai/gpt-6-sol", `"stream":true,"stream_options":{"continuous_usage_stats":true},"max_tokens":100000`), noon())
	usage := `{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}`

	// 400 tokens a second for each of two choices, for 3 + 2 seconds, at $10.
	in := int64(len(chatBody("openai/gpt-6-sol", `"stream":true,"max_tokens":100000,"n":2`))) + 1000
	elapsed := tokensAt(in, 2_500_000, 400*2*5, 10_000_000)
	cut := pricing.Evidence{Sent: true, Status: 200, Cut: true, Stream: true, Duration: 3 * time.Second}
	with := func(ev pricing.Evidence, change func(*pricing.Evidence)) pricing.Evidence { change(&ev); return ev }
	done := pricing.Evidence{Sent: true, Status: 200, Stream: true, Done: true, Usage: usage}

	for _, tt := range []struct {
		name  string
		b     *pricing.Bound
		ev    pricing.Evidence
		basis budget.Basis
		cost  budget.Amount
	}{
		{"nothing sent", openai, pricing.Evidence{Status: 503}, budget.BasisReleased, 0},
		{"nothing sent, client gone", openai, pricing.Evidence{Cut: true}, budget.BasisReleased, 0},
		{"a redirect", openai, pricing.Evidence{Sent: true, Status: 307}, budget.BasisProviderError, 0},
		{"a redirect, and the client left", openai, pricing.Evidence{Sent: true, Status: 302, Cut: true}, budget.BasisProviderError, 0},
		{"another protocol", openai, pricing.Evidence{Sent: true, Status: 101}, budget.BasisProviderError, 0},
		{"told to go on, and left before the answer", openai, pricing.Evidence{Sent: true, Status: 100, Cut: true}, budget.BasisBound, openai.Amount},
		{"early hints, and no answer", openai, pricing.Evidence{Sent: true, Status: 103}, budget.BasisBound, openai.Amount},
		{"provider refuses", openai, pricing.Evidence{Sent: true, Status: 429}, budget.BasisProviderError, 0},
		{"provider's edge: no connection", openai, pricing.Evidence{Sent: true, Status: 502}, budget.BasisProviderError, 0},
		{"provider's edge: its server is down", openai, pricing.Evidence{Sent: true, Status: 522}, budget.BasisProviderError, 0},
		{"provider's edge: request timeout", openai, pricing.Evidence{Sent: true, Status: 408}, budget.BasisBound, openai.Amount},
		{"provider's edge: hung up", openai, pricing.Evidence{Sent: true, Status: 499}, budget.BasisBound, openai.Amount},
		{"provider's edge: gateway timeout", openai, pricing.Evidence{Sent: true, Status: 504}, budget.BasisBound, openai.Amount},
		{"provider's edge: Cloudflare's timeout", openai, pricing.Evidence{Sent: true, Status: 524}, budget.BasisBound, openai.Amount},
		{"timeout with usage", moonshot, pricing.Evidence{Sent: true, Status: 504, Usage: usage, Done: true}, budget.BasisUsage, 29_500},
		{"provider refuses, null usage", openai, pricing.Evidence{Sent: true, Status: 500, Usage: "null"}, budget.BasisProviderError, 0},
		{"provider fails with usage", moonshot, pricing.Evidence{Sent: true, Status: 500, Usage: usage, Done: true}, budget.BasisUsage, 29_500},
		{"error of our own making after sending", openai, pricing.Evidence{Sent: true, Status: 504, Cut: true}, budget.BasisBound, openai.Amount},
		{"done", moonshot, done, budget.BasisUsage, 29_500},
		{"whole answer", openaiWhole, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: usage}, budget.BasisUsage, 70_000},
		{"every choice ended, then cut", moonshot, with(done, func(e *pricing.Evidence) { e.Done, e.Cut, e.Finished = false, true, 1 }), budget.BasisUsage, 29_500},
		{"one of two choices ended, then cut", openai, with(done, func(e *pricing.Evidence) { e.Done, e.Cut, e.Finished, e.Duration = false, true, 1, time.Hour }), budget.BasisElapsed, openai.Amount},
		{"two of two choices ended, then cut", openai, with(done, func(e *pricing.Evidence) { e.Done, e.Cut, e.Finished = false, true, 2 }), budget.BasisUsage, 70_000},
		{"a report, then cut", moonshot, with(done, func(e *pricing.Evidence) { e.Done, e.Cut = false, true }), budget.BasisBound, moonshot.Amount},
		{"a report, then the end without a mark", moonshot, with(done, func(e *pricing.Evidence) { e.Done = false }), budget.BasisBound, moonshot.Amount},
		{"a report in an unfinished document", moonshot, with(done, func(e *pricing.Evidence) { e.Done, e.Stream = false, false }), budget.BasisBound, moonshot.Amount},
		{"a report, and more than are kept", moonshot, with(done, func(e *pricing.Evidence) { e.Many = true }), budget.BasisBound, moonshot.Amount},
		{"two reports that differ, then cut", moonshot, with(done, func(e *pricing.Evidence) {
			e.Done, e.Cut, e.FirstUsage = false, true, `{"prompt_tokens":10,"completion_tokens":1,"total_tokens":11}`
		}), budget.BasisBound, moonshot.Amount},
		{"the same report twice, then cut", moonshot, with(done, func(e *pricing.Evidence) { e.Done, e.Cut, e.FirstUsage = false, true, usage }), budget.BasisBound, moonshot.Amount},
		{"running report, done", gemini, done, budget.BasisUsage, 15_500},
		{"running report, cut", gemini, with(done, func(e *pricing.Evidence) { e.Done, e.Cut = false, true }), budget.BasisBound, gemini.Amount},
		{"running report, ended without [DONE]", gemini, with(done, func(e *pricing.Evidence) { e.Done = false }), budget.BasisBound, gemini.Amount},
		{"running report beside the last choice's end", gemini, with(done, func(e *pricing.Evidence) { e.Done, e.Finished = false, 1 }), budget.BasisUsage, 15_500},
		{"running report in one piece", gemini, with(done, func(e *pricing.Evidence) { e.Stream = false }), budget.BasisUsage, 15_500},
		{"continuous stats, cut: input as reported", vllm, with(cut, func(e *pricing.Evidence) { e.Usage = usage }), budget.BasisElapsed, tokensAt(10, 2_000_000, 400*5, 10_000_000)},
		{"continuous stats, cut: at least the report", vllm, with(cut, func(e *pricing.Evidence) { e.Usage = `{"prompt_tokens":10,"completion_tokens":9000}` }), budget.BasisElapsed, tokensAt(10, 2_000_000, 9000, 10_000_000)},
		{"continuous stats, cut: one token of input", vllm, with(cut, func(e *pricing.Evidence) { e.Usage = `{"prompt_tokens":1,"completion_tokens":1}` }), budget.BasisElapsed, tokensAt(1, 2_000_000, 400*5, 10_000_000)},
		{"cut, provider stops", openai, cut, budget.BasisElapsed, elapsed},
		{"cut in an error", openai, with(cut, func(e *pricing.Evidence) { e.Status = 400 }), budget.BasisBound, openai.Amount},
		{"cut in an error of the provider", openai, with(cut, func(e *pricing.Evidence) { e.Status = 500 }), budget.BasisBound, openai.Amount},
		{"cut at once", openai, with(cut, func(e *pricing.Evidence) { e.Duration = 0 }), budget.BasisElapsed, tokensAt(in, 2_500_000, 400*2*2, 10_000_000)},
		{"cut before the answer began", openai, with(cut, func(e *pricing.Evidence) { e.Stream, e.Status = false, 0 }), budget.BasisElapsed, elapsed},
		{"cut, part of a second", openai, with(cut, func(e *pricing.Evidence) { e.Duration = 3*time.Second - 1 }), budget.BasisElapsed, elapsed},
		{"cut late: at most the bound", openai, with(cut, func(e *pricing.Evidence) { e.Duration = time.Hour }), budget.BasisElapsed, openai.Amount},
		{"cut, absurd duration", openai, with(cut, func(e *pricing.Evidence) { e.Duration = 1<<63 - 1 }), budget.BasisElapsed, openai.Amount},
		{"cut, negative duration", openai, with(cut, func(e *pricing.Evidence) { e.Duration = -1 }), budget.BasisBound, openai.Amount},
		{"cut, answered in one piece all the same", openai, with(cut, func(e *pricing.Evidence) { e.Stream = false }), budget.BasisBound, openai.Amount},
		{"cut, no stream was asked for", openaiWhole, cut, budget.BasisBound, openaiWhole.Amount},
		{"cut, with a prediction", predicted, cut, budget.BasisBound, predicted.Amount},
		{"cut, no rate configured", deepseek, cut, budget.BasisBound, deepseek.Amount},
		{"cut, provider goes on", moonshot, cut, budget.BasisBound, moonshot.Amount},
		{"success without usage", openai, pricing.Evidence{Sent: true, Status: 200, Stream: true, Done: true}, budget.BasisBound, openai.Amount},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := pricing.Charge(tt.b.Pin, tt.b.Amount, tt.ev, nil)
			if got.Basis != tt.basis || got.Cost != tt.cost || len(got.Flags) > 0 && !tt.ev.Many {
				t.Errorf("got %s %s %v, want %s %s", got.Basis, got.Cost, got.Flags, tt.basis, tt.cost)
			}
		})
	}
}

func TestChargeUnpriced(t *testing.T) {
	c := mustLoad(t)
	call, err := pricing.ParseCall(pricing.Chat, []byte(chatBody("moonshot/new", `"stream":true`)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Resolve(call.Model, noon())
	if err != nil {
		t.Fatal(err)
	}
	pin := m.Unbounded(call, noon()).Pin
	for _, tt := range []struct {
		ev   pricing.Evidence
		want pricing.Outcome
	}{
		{pricing.Evidence{}, pricing.Outcome{Basis: budget.BasisReleased}},
		{pricing.Evidence{Sent: true, Status: 400}, pricing.Outcome{Basis: budget.BasisProviderError}},
		{pricing.Evidence{Sent: true, Status: 200, Cut: true, Stream: true}, pricing.Outcome{Basis: budget.BasisUnpriced}},
		{pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":10,"completion_tokens":5,"cached_tokens":4}`},
			pricing.Outcome{Basis: budget.BasisUnpriced, Tokens: budget.Tokens{Input: 6, CacheRead: 4, Output: 5}}},
	} {
		if diff := cmp.Diff(tt.want, pricing.Charge(pin, 0, tt.ev, nil)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tt.ev, diff)
		}
	}
}

func TestChargeMalformedPin(t *testing.T) {
	b := mustBound(t, mustLoad(t), pricing.Chat, chatBody(kimi, ""), noon())
	for _, pin := range []string{"", "!", "AA", b.Pin[:len(b.Pin)-4], b.Pin + "AAAA", "A" + b.Pin} {
		got := pricing.Charge(pin, 7, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: `{"prompt_tokens":1,"completion_tokens":1}`}, nil)
		want := pricing.Outcome{Basis: budget.BasisBound, Cost: 7, Flags: []string{pricing.FlagPinMalformed}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pin %q (-want +got):\n%s", pin, diff)
		}
	}
}

func TestPinsAreShortAndStable(t *testing.T) {
	c := mustLoad(t)
	for _, m := range c.Models(noon()) {
		e, body := endpointOf(m.Slug), chatBody(m.Slug, `"max_tokens":10000000,"n":128`)
		switch e {
		case pricing.Chat:
		case pricing.Rerank:
			body = `{"model":"` + m.Slug + `","query":"x","documents":["y"]}`
		default:
			body = `{"model":"` + m.Slug + `","input":"x","prompt":"x"}`
		}
		if e == pricing.Transcriptions { // a recording comes in a form
			continue
		}
		b := mustBound(t, c, e, body, noon())
		if len(b.Pin) > 240 {
			t.Errorf("%s: the pin has %d bytes", m.Slug, len(b.Pin))
		}
		if again := mustBound(t, mustLoad(t), e, body, noon()); again.Pin != b.Pin {
			t.Errorf("%s: the pin changes from load to load", m.Slug)
		}
	}
}
