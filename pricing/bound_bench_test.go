package pricing_test

import (
	"strings"
	"testing"
	"time"

	"aigateway/pricing"
)

// benchBody is a chat request of about 1 KiB.
func benchBody(model string) []byte {
	turn := `{"role":"user","content":"` + strings.Repeat("The quick brown fox jumps. ", 8) + `"}`
	return []byte(`{"model":"` + model + `","messages":[{"role":"system","content":"You are a helpful assistant."},` +
		turn + "," + strings.Replace(turn, "user", "assistant", 1) + "," + turn + `],"max_tokens":512,"temperature":0.7,"stream":true,"stream_options":{"include_usage":true},"metadata":{"user":"42","team":"search"}}`)
}

func BenchmarkParseCallBound(b *testing.B) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	c := mustLoad(b)
	for _, model := range []string{"moonshot/kimi-k2.6", "openai/gpt-6-sol", "anthropic/claude-sonnet-4.6"} {
		body := benchBody(model)
		b.Run(model, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				call, err := pricing.ParseCall(pricing.Chat, body)
				if err != nil {
					b.Fatal(err)
				}
				m, err := c.Resolve(call.Model, at)
				if err != nil {
					b.Fatal(err)
				}
				if _, err = m.Bound(call, at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCharge(b *testing.B) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	bound := mustBound(b, mustLoad(b), "", string(benchBody("openai/gpt-6-sol")), at)
	ev := pricing.Evidence{Sent: true, Status: 200, Done: true, Stream: true, ServiceTier: `"default"`,
		Usage: `{"prompt_tokens":250,"completion_tokens":100,"total_tokens":350,"prompt_tokens_details":{"cached_tokens":128}}`}
	b.ReportAllocs()
	for b.Loop() {
		if out := pricing.Charge(bound.Pin, bound.Amount, ev, nil); out.Cost == 0 {
			b.Fatal(out)
		}
	}
}
