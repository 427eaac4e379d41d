package pricing_test

import "testing"

// BenchmarkLoad is what laying a configuration over the price list costs.
func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		mustLoad(b)
	}
}

// BenchmarkResolve is what a name costs on each call.
func BenchmarkResolve(b *testing.B) {
	c := mustLoad(b)
	for _, name := range []string{"openai/gpt-5.5", "anthropic/claude-sonnet-4-6", "anthropic/claude-sonnet-4-5-20250929", "google/models/gemini-2.5-pro", "openai/unknown"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Resolve(name, noon()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
