package pricing_test

import (
	"slices"
	"testing"

	"aigateway/budget"
	"aigateway/pricing"
)

// Whether Anthropic's cache counts are within the input or beside it is what the
// total says; without a word from it, what the input is called, unless they are
// more than it.
func TestCacheCountsWithinTheInputOrBesideIt(t *testing.T) {
	c := speltCatalog(t)
	const micro = 1000
	for _, tt := range []struct {
		name, usage string
		e           pricing.Endpoint
		cost        budget.Amount
	}{
		{"the total says within", `{"input_tokens":1000,"output_tokens":100,"total_tokens":1100,"cache_read_input_tokens":400}`, pricing.Chat, (600*2 + 200 + 800) * micro},
		{"the total says beside", `{"prompt_tokens":800,"completion_tokens":100,"total_tokens":1300,"cache_read_input_tokens":400}`, pricing.Chat, (800*2 + 200 + 800) * micro},
		{"a total of neither, OpenAI's name", `{"prompt_tokens":800,"completion_tokens":100,"total_tokens":1250,"cache_read_input_tokens":400}`, pricing.Chat, (400*2 + 200 + 450*8) * micro},
		{"a total of neither, Anthropic's name", `{"input_tokens":800,"output_tokens":100,"total_tokens":1250,"cache_read_input_tokens":400}`, pricing.Chat, (800*2 + 200 + 800) * micro},
		{"a total without output, Anthropic's name", `{"input_tokens":800,"total_tokens":800,"cache_read_input_tokens":400}`, pricing.Chat, (800*2 + 200) * micro},
		{"a total without output, OpenAI's name", `{"prompt_tokens":800,"total_tokens":1200,"cache_read_input_tokens":400}`, pricing.Chat, (400*2 + 200 + 400*8) * micro},
		{"all of the input, by the total", `{"input_tokens":400,"output_tokens":100,"total_tokens":500,"cache_read_input_tokens":400}`, pricing.Chat, (200 + 800) * micro},
		{"all of the input, by the name", `{"prompt_tokens":400,"completion_tokens":100,"cache_read_input_tokens":400}`, pricing.Chat, (200 + 800) * micro},
		{"no total, OpenAI's name", `{"prompt_tokens":800,"completion_tokens":100,"cache_read_input_tokens":400}`, pricing.Chat, (400*2 + 200 + 800) * micro},
		{"no total, the Responses API's name", `{"input_tokens":1000,"output_tokens":100,"cache_creation_input_tokens":300}`, pricing.Responses, (700*2 + 750 + 800) * micro},
		{"writes by their time to live alone", `{"prompt_tokens":1000,"completion_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":300}}`, pricing.Chat, (700*2 + 750 + 800) * micro},
		{"writes whose time to live cannot be read", `{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"cache_creation_input_tokens":300,"cache_creation":{"ephemeral_5m_input_tokens":"?"}}`, pricing.Chat, (700*2 + 750 + 800) * micro},
		{"writes that cannot be read at all", `{"prompt_tokens":1000,"completion_tokens":100,"cache_creation":{"ephemeral_5m_input_tokens":"?"}}`, pricing.Chat, -1},
		{"reads beside the input that cannot be read", `{"input_tokens":800,"output_tokens":100,"cache_read_input_tokens":"?"}`, pricing.Chat, -1},
		{"reads within it that cannot be read", `{"prompt_tokens":800,"completion_tokens":100,"cached_tokens":"?"}`, pricing.Chat, (800*2 + 800) * micro},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, bound := speltCharge(t, c, tt.e, "", pricing.Evidence{Usage: tt.usage})
			want, malformed := tt.cost, tt.cost < 0
			if malformed {
				want = bound
			}
			if got.Cost != want || slices.Contains(got.Flags, pricing.FlagUsageMalformed) != malformed {
				t.Errorf("%+v, want %s", got, want)
			}
		})
	}
}

// A part that cannot be read is no loss where its price is its whole's, nor
// where nothing has a price.
func TestUnreadablePartsWithoutAPrice(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	const usage = `{"prompt_tokens":10,"completion_tokens":5,"cached_tokens":"?"}`
	b := mustBound(t, c, pricing.Chat, chatBody("capless/m", `"max_tokens":100`), noon())
	if got := answered(b, usage); got.Basis != budget.BasisUsage || got.Cost != 20_000 {
		t.Errorf("%+v", got)
	}
	for _, part := range []string{"cache_read_input_tokens", "cache_creation_input_tokens"} { // beside the input they are a loss
		if got := answered(b, `{"input_tokens":10,"output_tokens":5,"`+part+`":"?"}`); got.Basis != budget.BasisBound || got.Cost != b.Amount {
			t.Errorf("%s: %+v", part, got)
		}
	}
	call, err := pricing.ParseCall(pricing.Chat, []byte(chatBody("moonshot/new", "")))
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Resolve(call.Model, noon())
	if err != nil {
		t.Fatal(err)
	}
	got := pricing.Charge(m.Unbounded(call, noon()).Pin, 0, pricing.Evidence{Sent: true, Status: 200, Done: true, Usage: usage}, nil)
	if want := (budget.Tokens{Input: 10, Output: 5}); got.Basis != budget.BasisUnpriced || got.Tokens != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
