package pricing_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/pricing"

	"github.com/google/go-cmp/cmp"
)

// pad makes a body exactly n bytes long by growing a text in it.
func pad(t *testing.T, format string, n int) string {
	t.Helper()
	room := n - len(fmt.Sprintf(format, ""))
	if room < 0 {
		t.Fatalf("body is longer than %d bytes", n)
	}
	return fmt.Sprintf(format, strings.Repeat("x", room))
}

// The example of the design: gpt-6-sol, 60,000 bytes, one image URL without
// detail, two choices, cap 4,000.
const workedExample = `{"model":"openai/gpt-6-sol","n":2,"max_completion_tokens":4000,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"%s}},{"type":"text","text":"%s"}]}]}`

func TestWorkedExample(t *testing.T) {
	c := mustLoad(t)
	b := mustBound(t, c, pricing.Chat, pad(t, strings.Replace(workedExample, "%s", "", 1), 60_000), noon())
	if got := b.Amount.String(); got != "0.3225" {
		t.Errorf("bound is %s, want 0.3225", got)
	}
	fit, ok := b.LargestCap(30 * budget.Cent)
	if !ok || fit != 2875 {
		t.Errorf("the largest cap for $0.30 is %d, %t; want 2875", fit, ok)
	}
	want := []budget.Line{
		{Label: "text", Quantity: 60_000, Unit: "tokens", Note: "a byte is at most one token"},
		{Label: "overhead", Quantity: 1000, Unit: "tokens", Note: "chat template and tool prompts"},
		{Label: "images", Quantity: 36_000, Unit: "tokens", Note: "by their dimensions, else the model's most"},
		{Label: "input", Quantity: 97_000, Unit: "tokens", PicoPerUnit: 2_500_000, Amount: 242_500_000, Note: "at the cache_write price"},
		{Label: "output", Quantity: 8000, Unit: "tokens", PicoPerUnit: 10_000_000, Amount: 80_000_000, Note: "cap 4000 × 2 choices"},
		{Label: "bound", Quantity: 1, Unit: "request", Amount: 322_500_000},
	}
	if diff := cmp.Diff(want, b.Lines()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	high := mustBound(t, c, pricing.Chat, pad(t, strings.Replace(workedExample, "%s", `,"detail":"high"`, 1), 60_000), noon())
	if got := high.Amount.String(); got != "0.24" { // 64,000 × 2.5 + 8,000 × 10
		t.Errorf("with detail high the bound is %s, want 0.24", got)
	}
}

// tokensAt is a bound worked out by hand: I tokens at one price, O at another,
// both in pico-USD.
func tokensAt(in, inPico, out, outPico int64) budget.Amount {
	return budget.Amount((in*inPico + out*outPico + 999) / 1000)
}

func TestBoundGolden(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	long := strings.Repeat("x", 272_000)
	for _, tt := range []struct {
		name, body string
		more       int64 // input tokens beyond the body
		in         int64 // pico per input token
		outs, out  int64
	}{
		{"plain", chatBody(kimi, `"max_tokens":100`), 1000, 950_000, 100, 4_000_000},
		{"both caps: the larger", chatBody(kimi, `"max_tokens":100,"max_completion_tokens":300`), 1000, 950_000, 300, 4_000_000},
		{"null cap is absent", chatBody(kimi, `"max_tokens":null,"max_completion_tokens":300`), 1000, 950_000, 300, 4_000_000},
		{"injected", chatBody(kimi, ""), 1000, 950_000, 32_768, 4_000_000},
		{"choices", chatBody(kimi, `"max_tokens":10,"n":3,"best_of":5`), 1000, 950_000, 50, 4_000_000},
		{"a cap the upstream ignores", chatBody("mistral/mistral-small-2603", `"max_completion_tokens":5`), 1000, 150_000, 32_768, 600_000},
		{"no injection: the model's limit", chatBody("capless/m", ""), 1000, 1_000_000, 2000, 2_000_000},
		{"implicit cache writes", chatBody("openai/gpt-6-luna", `"max_tokens":10`), 1000, 125_000, 10, 500_000},
		{"explicit mode", chatBody("openai/gpt-6-luna", `"max_tokens":10,"prompt_cache_options":{"mode":"explicit"}`), 1000, 100_000, 10, 500_000},
		{"explicit mode with a breakpoint", chatBody("openai/gpt-6-luna", `"max_tokens":10,"prompt_cache_options":{"mode":"explicit"},"x":{"cache_breakpoint":{}}`), 1000, 125_000, 10, 500_000},
		{"12 hours", chatBody("openai/gpt-6-luna", `"max_tokens":10,"prompt_cache_options":{"ttl":"12h"}`), 1000, 250_000, 10, 500_000},
		{"retention", chatBody("openai/gpt-6-luna", `"max_tokens":10,"prompt_cache_retention":"24h"`), 1000, 250_000, 10, 500_000},
		{"cache_control", chatBody("anthropic/claude-sonnet-4.6", `"max_tokens":10,"tools":[{"type":"function","function":{"name":"f"},"cache_control":{"type":"ephemeral"}}]`), 1000 + 48 + 43, 3_750_000, 10, 15_000_000},
		{"cache_control, escaped", chatBody("anthropic/claude-sonnet-4.6", `"max_tokens":10,"x":[{"cache\u005fcontrol":{"type":"ephemeral"}}]`), 1000, 3_750_000, 10, 15_000_000},
		{"cache_control of null", chatBody("anthropic/claude-sonnet-4.6", `"max_tokens":10,"cache_control":null`), 1000, 3_000_000, 10, 15_000_000},
		{"one hour", chatBody("anthropic/claude-sonnet-4.6", `"max_tokens":10,"x":[{"cache_control":{"ttl":"1h"}}]`), 1000, 6_000_000, 10, 15_000_000},
		{"five minutes", chatBody("anthropic/claude-sonnet-4.6", `"max_tokens":10,"x":[{"cache_control":{"ttl":"5m"}}]`), 1000, 3_750_000, 10, 15_000_000},
		{"client tools", chatBody(kimi, `"max_tokens":10,"tools":[{"type":"bash_20250124"},{"type":"text_editor_20250728"},{"type":"custom"}]`), 1000 + 2*1500 + 3*48 + 35, 950_000, 10, 4_000_000},
		{"priority", chatBody("openai/gpt-5.4-mini", `"max_tokens":10,"service_tier":"priority"`), 1000, 1_500_000, 10, 9_000_000},
		{"priority at 2.5", chatBody("openai/gpt-5.5", `"max_tokens":10,"service_tier":"priority"`), 1000, 12_500_000, 10, 75_000_000},
		{"flex is no discount", chatBody("openai/gpt-5.5", `"max_tokens":10,"service_tier":"flex"`), 1000, 5_000_000, 10, 30_000_000},
		{"fast", chatBody("anthropic/claude-opus-5.5", `"max_tokens":10,"speed":"fast"`), 1000, 8_000_000, 10, 40_000_000},
		{"inference in the US", chatBody("anthropic/claude-opus-5.5", `"max_tokens":10,"inference_geo":"us"`), 1000, 4_400_000, 10, 22_000_000},
		{"upper tier", chatBody("openai/gpt-5.5", `"max_tokens":10,"user":"`+long+`"`), 1000, 10_000_000, 10, 45_000_000},
		{"several images", content("openai/gpt-5.5", strings.Repeat(`{"type":"image_url","image_url":"https://a/b"},`, 3)+`{"type":"text","text":"x"}`), 37_000, 10_000_000 / 2, 100, 30_000_000},
		{"audio out", chatBody("capless/voice", `"max_tokens":10,"modalities":["text","audio"]`), 1000, 1_000_000, 10, 9_000_000},
		{"tokens per byte", chatBody("capless/wide", `"max_tokens":10`), 0, 1_000_000, 10, 2_000_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := mustBound(t, c, pricing.Chat, tt.body, noon())
			in := int64(len(tt.body)) + tt.more
			if strings.Contains(tt.body, "capless/wide") {
				in = (int64(len(tt.body))*3+1)/2 + 50
			}
			if want := tokensAt(in, tt.in, tt.outs, tt.out); b.Amount != want {
				t.Errorf("bound is %s, want %s\n%+v", b.Amount, want, b.Lines())
			}
		})
	}
}

const overlayModels = `
- model: capless/m
  family: bytes
  limits: {context: 100000, max_output: 2000}
  prices: [{input: "1", output: "2", fees: {web_search: "0.01"}}]
- model: capless/unlimited
  family: bytes
  prices: [{input: "1", output: "2"}]
- model: capless/voice
  family: bytes
  audio: {tokens_per_second: 10}
  prices: [{input: "1", output: "2", input_audio: "8", output_audio: "9"}]
- model: capless/wide
  family: bytes
  overhead: 50
  tokens_per_byte: "1.5"
  prices: [{input: "1", output: "2"}]
- model: capless/writes
  family: bytes
  prices: [{input: "1", output: "2", cache_write: "3"}]
- model: strict/m
  prices: [{input: "1", output: "2"}]
- model: openrouter/a/b:online
  prices: [{input: "1", output: "2"}]
- model: openrouter/openrouter/auto
  prices: [{input: "1", output: "2"}]
- model: openrouter/a/b
  limits: {context: 100000}
  prices: [{input: "1", output: "2"}]
`

func TestBoundOfHostedTool(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	b := mustBound(t, c, pricing.Chat, chatBody("capless/m", `"max_tokens":100,"tools":[{"type":"web_search_20250305","max_uses":3}]`), noon())
	// What was sent, and three rounds with a full context; each with a full answer;
	// and three fees.
	want := tokensAt(inputOf(t, b)+3*100_000, 1_000_000, 4*100, 2_000_000) + 3*budget.Cent
	if b.Amount != want {
		t.Errorf("bound is %s, want %s\n%+v", b.Amount, want, b.Lines())
	}
}

func TestBoundClampsInputToContext(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	b := mustBound(t, c, pricing.Chat, chatBody("capless/m", `"max_tokens":10,"user":"`+strings.Repeat("x", 200_000)+`"`), noon())
	if want := tokensAt(100_000, 1_000_000, 10, 2_000_000); b.Amount != want {
		t.Errorf("bound is %s, want %s", b.Amount, want)
	}
}

func TestBoundCountsNormalisedText(t *testing.T) {
	c := mustLoad(t)
	ligature := "\ufdfa" // three bytes that NFKC makes 33
	for _, tt := range []struct {
		name, model, text string
		more              int64
	}{
		{"undisclosed tokenizer", "anthropic/claude-haiku-4.5", ligature, 30},
		{"escaped", "anthropic/claude-haiku-4.5", `\ufdfa`, 27},
		{"escaped backslash before it", "anthropic/claude-haiku-4.5", `\\\ufdfa`, 27},
		{"literal backslash", "gemini/gemini-2.5-flash", `\\u12\ufdfa`, 27},
		{"escaped in JSON in it", "anthropic/claude-haiku-4.5", `\\ufdfa\\ufb03`, 22},
		{"such a pair", "anthropic/claude-haiku-4.5", `\\ud834\\udd60`, 0},
		{"half a pair before it", "anthropic/claude-haiku-4.5", `\\ud834\\ufdfa`, 22},
		{"with an escaped backslash", "anthropic/claude-haiku-4.5", `\u005c\u0075fdfa`, 17},
		{"beside a character", "anthropic/claude-haiku-4.5", ligature + `\\u0061\u005Cu0061`, 30},
		{"an escape that is none", "anthropic/claude-haiku-4.5", `\\ufdf`, 0},
		{"plain text", "anthropic/claude-haiku-4.5", "Grüße, 你好", 0},
		{"pair", "gemini/gemini-2.5-flash", `\ud834\udd60`, 0}, // 12 bytes as written and normalised
		{"disclosed tokenizer", kimi, ligature, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := chatBody(tt.model, `"max_tokens":1,"user":"`+tt.text+`"`)
			if got := mustBound(t, c, pricing.Chat, body, noon()).Lines()[0].Quantity; got != int64(len(body))+tt.more {
				t.Errorf("text is %d tokens, want %d + %d", got, len(body), tt.more)
			}
		})
	}
}

func TestBoundOfEmbeddings(t *testing.T) {
	c := mustLoad(t)
	for _, tt := range []struct {
		name, model, input string
		tokens             int64 // -1: the whole body and 100
		pico               int64
	}{
		{"text", "openai/text-embedding-3-large", `"hello"`, -1, 130_000},
		{"texts", "voyage/voyage-4", `["a","b"]`, -1, 60_000},
		{"long text", "openai/text-embedding-3-small", `"` + strings.Repeat("x", 20_000) + `"`, 8192, 20_000},
		{"two long texts", "openai/text-embedding-3-small", `["` + strings.Repeat("x", 20_000) + `","b"]`, 16_384, 20_000},
		{"whole batch", "openai/text-embedding-3-small", `[` + strings.Repeat(`"`+strings.Repeat("x", 8000)+`",`, 50) + `"b"]`, 300_000, 20_000},
		{"tokens", "openai/text-embedding-3-small", `[11,22,33]`, 3 + 2 + 100, 20_000},
		{"token lists", "openai/text-embedding-3-small", `[[11,22,33],[44444444]]`, 4 + 4 + 100, 20_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := `{"model":"` + tt.model + `","input":` + tt.input + `}`
			if tt.tokens < 0 {
				tt.tokens = int64(len(body)) + 100
			}
			b := mustBound(t, c, pricing.Embeddings, body, noon())
			if want := tokensAt(tt.tokens, tt.pico, 0, 0); b.Amount != want {
				t.Errorf("bound is %s, want %s\n%+v", b.Amount, want, b.Lines())
			}
			if _, ok := b.LargestCap(budget.MaxAmount); ok {
				t.Error("embeddings have no output to cap")
			}
		})
	}
}

func TestBoundFollowsTime(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.DateTime, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const deepseek, gemini = "deepseek/deepseek-v4-pro", "gemini/gemini-3.8-flash"
	for _, tt := range []struct {
		model, at string
		longest   time.Duration // of a call
		in        int64
	}{
		{deepseek, "2026-11-24 12:00:00", time.Hour, 660_000},
		{deepseek, "2026-11-24 02:00:00", time.Hour, 1_320_000},
		{deepseek, "2026-11-24 00:30:00", time.Hour, 1_320_000}, // may end in the peak
		{deepseek, "2026-11-24 00:30:00", 29 * time.Minute, 660_000},
		{deepseek, "2026-11-24 00:58:59", 90 * time.Second, 1_320_000},
		{deepseek, "2026-11-24 00:58:59", time.Minute, 660_000},
		{deepseek, "2026-11-23 23:30:00", time.Hour, 660_000},
		{deepseek, "2026-11-23 23:30:00", 90 * time.Minute, 1_320_000}, // of tomorrow
		{deepseek, "2026-11-23 12:00:00", 24 * time.Hour, 1_320_000},
		{deepseek, "2026-11-24 04:00:00", time.Hour, 660_000},
		{deepseek, "2026-11-24 09:59:59", time.Second, 1_320_000},
		{gemini, "2026-12-31 22:59:00", time.Hour, 750_000},
		{gemini, "2026-12-31 23:30:00", time.Hour, 1_500_000}, // may end in the new year
		{gemini, "2026-12-31 23:29:59", 30 * time.Minute, 750_000},
		{gemini, "2026-12-31 00:00:00", 24 * time.Hour, 1_500_000},
		{gemini, "2027-01-01 00:00:00", time.Hour, 1_500_000},
	} {
		body := chatBody(tt.model, `"max_tokens":1`)
		out := tt.in * 3 // DeepSeek's output price; Gemini's is five times its input's
		if tt.model == gemini {
			out = tt.in * 5
		}
		b := mustBound(t, mustLoadFor(t, tt.longest), pricing.Chat, body, at(tt.at))
		if want := tokensAt(int64(len(body))+1000, tt.in, 1, out); b.Amount != want {
			t.Errorf("%s at %s for %s: bound is %s, want %s", tt.model, tt.at, tt.longest, b.Amount, want)
		}
	}
	if m, err := mustLoad(t).Resolve("anthropic/claude-sonnet-4.6", at("2026-03-01 00:00:00")); err != nil || m.Row != nil {
		t.Errorf("before its first price list a model has no price: %v, %v", m.Row, err)
	}
	for _, longest := range []time.Duration{0, -1, 24*time.Hour + 1} {
		if _, err := pricing.Load(nil, upstreams(), longest); err == nil {
			t.Errorf("calls of %s were accepted", longest)
		}
	}
}

func TestBoundRefuses(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	video := `{"type":"video_url","video_url":{"url":"https://a/b.mp4"}}`
	for _, tt := range []struct{ name, body, reason, field, remedy string }{
		{"no price", chatBody("moonshot/unknown", ""), "model_not_priced", "model", "- model: moonshot/unknown\n"},
		{"web search", chatBody(kimi, `"web_search_options":{}`), "unbounded_tool", "web_search_options", "leave it out"},
		{"xAI search", chatBody(kimi, `"search_parameters":{"mode":"auto"}`), "unbounded_tool", "search_parameters", "leave it out"},
		{"hosted tool", chatBody("capless/m", `"tools":[{"type":"web_search"}]`), "unbounded_tool", "tools[0]", "max_uses"},
		{"hosted tool without a fee", chatBody(kimi, `"tools":[{"type":"function"},{"type":"image_generation","max_uses":1}]`), "unbounded_tool", "tools[1]", "function tools"},
		{"builtin function", chatBody(kimi, `"tools":[{"type":"builtin_function","function":{"name":"$web_search"}}]`), "unbounded_tool", "tools[0]", "function tools"},
		{"untyped tool", chatBody(kimi, `"tools":[{"google_search":{}}]`), "unbounded_tool", "tools[0]", "function tools"},
		{"MCP", chatBody(kimi, `"mcp_servers":[{"url":"https://a"}]`), "unbounded_tool", "mcp_servers", "function tools"},
		{"previous response", chatBody(kimi, `"previous_response_id":"resp_1"`), "unbounded_input", "previous_response_id", "send the messages"},
		{"conversation", chatBody(kimi, `"conversation":{"id":"c"}`), "unbounded_input", "conversation", "send the messages"},
		{"stored prompt", chatBody(kimi, `"prompt":{"id":"p"}`), "unbounded_input", "prompt", "send it as messages"},
		{"chat template", chatBody(kimi, `"chat_template":"{% for %}"`), "unbounded_input", "chat_template", "leave it out"},
		{"earlier audio", `{"model":"` + kimi + `","messages":[{"role":"assistant","audio":{"id":"a"}}]}`, "unbounded_input", "messages[0].audio", "transcript"},
		{"background", chatBody(kimi, `"background":true`), "unsupported_feature", "background", "leave it out"},
		{"moderation", chatBody(kimi, `"moderation":{}`), "unsupported_feature", "moderation", "leave it out"},
		{"models", chatBody("openrouter/a/b", `"models":["c/d"]`), "unsupported_feature", "models", "one model"},
		{"plugins", chatBody("openrouter/a/b", `"plugins":[{"id":"web"}]`), "unsupported_feature", "plugins", "one model"},
		{"fallbacks", chatBody("openrouter/a/b", `"fallbacks":[{"model":"x"}]`), "unsupported_feature", "fallbacks", "one model"},
		{"online", chatBody("openrouter/a/b:online", ""), "unsupported_feature", "model", ":online"},
		{"auto", chatBody("openrouter/openrouter/auto", ""), "unsupported_feature", "model", "one model"},
		{"context management", chatBody(kimi, `"context_management":{}`), "unsupported_feature", "context_management", "leave it out"},
		{"cached content", chatBody("gemini/gemini-2.5-flash", `"extra_body":{"google":{"cached_content":"c"}}`), "unsupported_feature", "extra_body.google.cached_content", "thinking_config"},
		{"image output", chatBody(kimi, `"modalities":["image"]`), "unbounded_media", "modalities", "text"},
		{"audio output", chatBody(kimi, `"modalities":["audio"]`), "unbounded_media", "modalities", "output_audio"},
		{"unknown images", content("moonshot/kimi-k2-thinking", `{"type":"image_url","image_url":{"url":"https://a/b.png"}}`), "unbounded_media", "messages[0].content[0].image_url", "image: {max_tokens"},
		{"audio", content("openai/gpt-5.5", `{"type":"input_audio","input_audio":{"format":"mp3","data":"//uQxAAA"}}`), "unbounded_media", "messages[0].content[0].input_audio", "input_audio"},
		{"odd audio", content("capless/voice", `{"type":"input_audio","input_audio":{"format":"flac","data":"ZkxhQw=="}}`), "unbounded_media", "messages[0].content[0].input_audio", "mp3"},
		{"flac after a tag", content("capless/voice", `{"type":"input_audio","input_audio":{"format":"mp3","data":"SUQzBAAAAAAAAGZMYUM="}}`), "unbounded_media", "messages[0].content[0].input_audio", "mp3"},
		{"wav with two formats", content("capless/voice", `{"type":"input_audio","input_audio":{"format":"wav","data":"`+base64.StdEncoding.EncodeToString(append(wavOf(8000, 2, 100), "fmt "...))+`"}}`), "unbounded_media", "messages[0].content[0].input_audio", "one format"},
		{"wav without samples", content("capless/voice", `{"type":"input_audio","input_audio":{"format":"wav","data":"`+base64.StdEncoding.EncodeToString(wavOf(8000, 0, 100))+`"}}`), "unbounded_media", "messages[0].content[0].input_audio", "wav"},
		{"aac audio", content("capless/voice", `{"type":"input_audio","input_audio":{"format":"mp3","data":"//FQgAAA"}}`), "unbounded_media", "messages[0].content[0].input_audio", "mp3"},
		{"video", content(kimi, video), "unbounded_media", "messages[0].content[0].video_url", "text"},
		{"video under a text type", content(kimi, strings.Replace(video, `"video_url",`, `"text",`, 1)), "unbounded_media", "messages[0].content[0].video_url", "text"},
		{"file", content(kimi, `{"type":"file","file":{"file_id":"f"}}`), "unbounded_media", "messages[0].content[0].file.file_id", "text"},
		{"unknown part", content(kimi, `{"type":"text","text":"a"},{"type":"hologram"}`), "unbounded_media", "messages[0].content[1].type", "text"},
		{"pdf as image", content("openai/gpt-5.5", `{"type":"image_url","image_url":{"url":"data:application/pdf;base64,AAAA"}}`), "unbounded_media", "messages", "png"},
		{"message images", `{"model":"` + kimi + `","messages":[{"role":"user","content":"","images":["AAAA"]}]}`, "unbounded_media", "messages[0].images", "image_url"},
		{"unpriced tier", chatBody("openai/gpt-5.5", `"service_tier":"ultrafast"`), "tier_not_priced", "service_tier", "service_tiers: {ultrafast"},
		{"unpriced speed", chatBody("anthropic/claude-sonnet-5.5", `"speed":"fast"`), "tier_not_priced", "speed", "service_tiers: {fast"},
		{"unpriced region", chatBody("openai/gpt-5.5", `"inference_geo":"mars"`), "tier_not_priced", "inference_geo", "inference_geo: {mars"},
		{"unpriced long writes", chatBody("capless/writes", `"max_tokens":1,"x":{"cache_control":{"ttl":"1h"}}`), "tier_not_priced", "cache_control", "cache_write_long"},
		{"unknown output limit", chatBody("capless/unlimited", ""), "max_output_unknown", "max_tokens", "max_output"},
		{"usage must be asked for", chatBody("strict/m", `"stream":true`), "stream_usage_required", "stream_options.include_usage", "include_usage"},
		{"chat with an embedding model", chatBody("openai/text-embedding-3-small", ""), "unsupported_feature", "model", "embeddings only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, err := tryBound(c, pricing.Chat, tt.body, noon())
			if b != nil {
				t.Error("a refused call has a bound")
			}
			e := refusal(t, err)
			if e.Kind != budget.KindInvalid || e.Reason != tt.reason || e.Field != tt.field || !strings.Contains(e.Message, tt.remedy) {
				t.Errorf("got %s at %q, want %s at %q with %q in: %s", e.Reason, e.Field, tt.reason, tt.field, tt.remedy, e.Message)
			}
		})
	}
}

// What asks for nothing is no reason to refuse.
func TestBoundAcceptsWhatIsOff(t *testing.T) {
	c := mustLoad(t)
	mustBound(t, c, pricing.Chat, chatBody(kimi, `"web_search_options":null,"background":false,"models":[],"plugins":[ ],"mcp_servers":null,"previous_response_id":null,"modalities":["text"],"store":true,"extra_body":{"google":{"thinking_config":{"x":1}}}`), noon())
}

func TestBoundIsRefusedWhenTooLarge(t *testing.T) {
	c := mustOverlay(t, "- model: capless/dear\n  prices: [{input: \"1000000\", output: \"1000000\"}]\n  service_tiers: {gold: \"1000\"}\n")
	_, err := tryBound(c, pricing.Chat, chatBody("capless/dear", `"max_tokens":10000000,"n":128,"service_tier":"gold"`), noon())
	if e := refusal(t, err); e.Reason != "field_invalid" || e.Field != "max_tokens" {
		t.Errorf("got %s at %q", e.Reason, e.Field)
	}
}

func TestImagesCountByTheirDimensions(t *testing.T) {
	c := mustLoad(t)
	for _, tt := range []struct {
		name, model, url string
		tokens, payload  int64
	}{
		{"small png", "openai/gpt-6-sol", dataURL("image/png", pngOf(t, 320, 320)), 10*10*12/10 + 100, 1},
		{"huge png", "openai/gpt-6-sol", dataURL("image/png", pngOf(t, 20_000, 20_000)), 36_000, 1},
		{"jpeg", "anthropic/claude-opus-5.5", dataURL("image/jpeg", jpegOf(t, 260, 52)), 10*2 + 100, 1},
		{"gif", "anthropic/claude-sonnet-4.6", dataURL("image/gif", gifOf(t, 26, 27)), 1600, 1},
		{"webp", "anthropic/claude-sonnet-4.6", dataURL("image/webp", webpOf(26, 27)), 2 + 100, 1},
		{"webp whose canvas lies", "anthropic/claude-sonnet-4.6", dataURL("image/webp", webpOf(1<<24, 1<<24)), 1600, 1},
		{"jpeg without a height", "anthropic/claude-opus-5.5", dataURL("image/jpeg", patched(jpegOf(t, 260, 52), "\x00\x34\x01\x04", "\x00\x00\x01\x04")), 4784, 1},
		{"jpeg cut before its size", "anthropic/claude-opus-5.5", dataURL("image/jpeg", jpegOf(t, 260, 52)[:40]), 4784, 1},
		{"png of no size", "openai/gpt-6-sol", dataURL("image/png", pngOf(t, 0, 320)), 36_000, 1},
		{"png of an impossible size", "openai/gpt-6-sol", dataURL("image/png", pngOf(t, 1<<31, 1)), 36_000, 1},
		{"png called jpeg", "openai/gpt-6-sol", dataURL("image/jpeg", pngOf(t, 320, 320)), 220, 1},
		{"dimensions do not matter", "gemini/gemini-3.8-flash", dataURL("image/png", pngOf(t, 10, 10)), 2240, 1},
		{"unreadable", "openai/gpt-6-sol", dataURL("image/png", []byte("no picture at all")), 36_000, 1},
		{"not base64", "openai/gpt-6-sol", "data:image/png;base64,***", 36_000, 0},
		{"upper case", "openai/gpt-6-sol", strings.Replace(dataURL("image/png", pngOf(t, 320, 320)), "data:", "DATA:", 1), 220, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := content(tt.model, `{"type":"image_url","image_url":{"url":"`+tt.url+`"}}`)
			lines := mustBound(t, c, pricing.Chat, body, noon()).Lines()
			_, data, _ := strings.Cut(tt.url, ",")
			if want := int64(len(body)) - tt.payload*int64(len(data)); lines[0].Quantity != want {
				t.Errorf("text is %d tokens, want %d", lines[0].Quantity, want)
			}
			if lines[2].Label != "images" || lines[2].Quantity != tt.tokens {
				t.Errorf("got %s of %d tokens, want images of %d", lines[2].Label, lines[2].Quantity, tt.tokens)
			}
		})
	}
}

func TestAudioCountsByItsLongestDuration(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	for _, tt := range []struct {
		name   string
		data   []byte
		tokens int64
	}{
		{"mp3", mp3Of(10_000), 100}, // 10 s at 8 kbit/s
		{"mp3 after a tag", append([]byte("ID3\x04\x00\x00\x00\x00\x00\x04abcd\x00\x00"), mp3Of(9984)...), 100},
		{"mp3 after a tag with a footer", append([]byte("ID3\x04\x00\x10\x00\x00\x00\x00"+"3DI\x04\x00\x10\x00\x00\x00\x00"), mp3Of(9980)...), 100},
		{"wav", wavOf(8000, 2, 16_000*5-44), 50},                     // 5 s
		{"slow wav", wavOf(1, 1, 1000-44), 10_000},                   // 1000 s
		{"part of a second", wavOf(8000, 2, 1600*5-44), 5},           // half a second
		{"byte rate in the header lies", wavOf(8000, 2, 16_000), 11}, // rounded up
		{"frame size in the header lies", patched(wavOf(8000, 2, 16_000*5-44), "\x02\x00\x10\x00data", "\xff\xff\x10\x00data"), 50},
		{"frame is larger than its samples", patched(wavOf(8000, 2, 16_000*5-44), "\x02\x00\x10\x00data", "\x02\x00\x20\x00data"), 50},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body := content("capless/voice", `{"type":"input_audio","input_audio":{"format":"x","data":"`+base64.StdEncoding.EncodeToString(tt.data)+`"}}`)
			b := mustBound(t, c, pricing.Chat, body, noon())
			lines := b.Lines()
			if lines[2].Label != "audio" || lines[2].Quantity != tt.tokens {
				t.Errorf("got %+v, want %d tokens of audio", lines[2], tt.tokens)
			}
			if in := lines[3]; in.PicoPerUnit != 8_000_000 {
				t.Errorf("input is at %d pico, want the audio price", in.PicoPerUnit)
			}
		})
	}
}
