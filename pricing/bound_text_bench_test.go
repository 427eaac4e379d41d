package pricing_test

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"aigateway/pricing"
)

// BenchmarkInputBound is parsing and bounding one chat body: by its bytes, with
// the tokenizer on words it met before, and on words it never met. "hostile" is
// the slowest text known.
func BenchmarkInputBound(b *testing.B) {
	for _, size := range []int{1 << 10, 32 << 10, 256 << 10} {
		prose := strings.Repeat(article, size/len(article)+1)[:size]
		hostile := strings.Repeat("x"+strings.Repeat(" \n", 63), size/127+1)[:size]
		for _, bb := range []struct {
			name    string
			catalog *pricing.Catalog
			text    func() string
		}{
			{"bytes", mustLoad(b), func() string { return prose }},
			{"tokenizer", counting(b), func() string { return prose }},
			{"unknown-words", counting(b), func() string { return gibberish(size) }},
			{"hostile", counting(b), func() string { return hostile }},
		} {
			b.Run(fmt.Sprintf("%s/%dKiB", bb.name, size>>10), func(b *testing.B) {
				bodies := make([][]byte, 8)
				for i := range bodies {
					bodies[i] = []byte(`{"model":"openai/gpt-5.5","max_tokens":500,"messages":[{"role":"user","content":` + jsonText(b, bb.text()) + `}]}`)
				}
				model, err := bb.catalog.Resolve("openai/gpt-5.5", noon())
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					n++
					call, err := pricing.ParseCall(pricing.Chat, bodies[n%len(bodies)])
					if err != nil {
						b.Fatal(err)
					}
					if _, err := model.Bound(call, noon()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// gibberish is words of random letters.
func gibberish(size int) string {
	var b strings.Builder
	for b.Len() < size {
		for range 1 + rand.Intn(12) {
			b.WriteByte(byte('a' + rand.Intn(26)))
		}
		b.WriteByte(' ')
	}
	return b.String()[:size]
}
