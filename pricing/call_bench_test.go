package pricing_test

import (
	"strings"
	"testing"

	"aigateway/internal/agentbody"
	"aigateway/pricing"
)

// BenchmarkParseCall reads what agents send: 128 KiB of one string take a
// seventh of it.
func BenchmarkParseCall(b *testing.B) {
	for _, tt := range []struct {
		name string
		body []byte
	}{
		{"1KiB", agentbody.Chat("moonshot/kimi-k2.6", 1<<10, false)},
		{"128KiB", agentbody.Chat("moonshot/kimi-k2.6", 128<<10, false)},
		{"128KiB/one string", []byte(`{"model":"moonshot/kimi-k2.6","messages":[{"role":"user","content":"` + strings.Repeat("x", 128<<10) + `"}]}`)},
		{"1MiB", agentbody.Chat("moonshot/kimi-k2.6", 1<<20, false)},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(tt.body)))
			for b.Loop() {
				if _, err := pricing.ParseCall(pricing.Chat, tt.body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The largest bodies a client may send, in the shapes that cost most to read.
func BenchmarkParseCallLargest(b *testing.B) {
	const most = 8 << 20
	fill := func(unit string) string { return strings.TrimSuffix(strings.Repeat(unit, most/len(unit)), ",") }
	for _, tt := range []struct {
		name string
		e    pricing.Endpoint
		body string
	}{
		{"text", pricing.Chat, `{"model":"moonshot/kimi-k2.6","user":"` + fill("x") + `"}`},
		{"escapes", pricing.Chat, `{"model":"moonshot/kimi-k2.6","user":"` + fill(`\u00e9`) + `"}`},
		{"messages", pricing.Chat, `{"model":"moonshot/kimi-k2.6","messages":[` + fill(`{"role":"user","content":"hi"},`) + `]}`},
		{"empty tools", pricing.Chat, `{"model":"moonshot/kimi-k2.6","tools":[` + fill(`{},`) + `]}`},
		{"odd parts", pricing.Chat, `{"model":"moonshot/kimi-k2.6","messages":[{"content":[` + fill(`{"type":"x"},`) + `]}]}`},
		{"images", pricing.Chat, `{"model":"openai/gpt-6-sol","messages":[{"content":[` + fill(`{"type":"image_url","image_url":"x"},`) + `]}]}`},
		{"arrays", pricing.Chat, `{"model":"moonshot/kimi-k2.6","x":[` + fill(`[],`) + `]}`},
		{"token ids", pricing.Embeddings, `{"model":"openai/text-embedding-3-small","input":[` + fill(`12345,`) + `]}`},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(tt.body)))
			body := []byte(tt.body)
			for b.Loop() {
				if _, err := pricing.ParseCall(tt.e, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
