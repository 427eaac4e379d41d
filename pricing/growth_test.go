package pricing_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"aigateway/pricing"

	"golang.org/x/text/unicode/norm"
)

// Normalising run by run would let one body cost seconds. After 50,000 runs it
// is counted as if each byte grew as much as any does, which is 10 bytes.
func TestNormalisationIsCapped(t *testing.T) {
	const most, ligature = 50_000, "\ufb01" // fi: three bytes that become two
	c := mustLoad(t)
	text := func(runs int, run string) int64 {
		body := chatBody("gemini/gemini-2.5-flash", `"max_tokens":1,"user":"`+strings.Repeat(run+" ", runs)+`"`)
		return mustBound(t, c, pricing.Chat, body, noon()).Lines()[0].Quantity - int64(len(body))
	}
	for _, tt := range []struct {
		name, run string
		runs      int
		more      int64
	}{
		{"at the cap", ligature, most, 0},
		{"one more", ligature, most + 1, 10 * 3},
		{"far above", ligature, 2 * most, 10 * 3 * most},
		{"escaped", `\ufb01`, most + 2, 2 * 10 * 3},
		{"as grown as any", "\ufdfa", most + 3, 30 * (most + 3)},
		{"unchanged runs do not count", "ß", 2 * most, 0},
	} {
		if got := text(tt.runs, tt.run); got != tt.more {
			t.Errorf("%s: %d runs add %d tokens, want %d", tt.name, tt.runs, got, tt.more)
		}
	}
}

// What is counted from there on is an upper bound: no character's decomposition,
// which is at least as long as what is composed of it, is longer.
func TestNothingGrowsMoreThanTheCapAssumes(t *testing.T) {
	var buf [utf8.UTFMax]byte
	for r := rune(utf8.RuneSelf); r <= utf8.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		b := buf[:utf8.EncodeRune(buf[:], r)]
		if got := len(norm.NFKD.Append(nil, b...)); got > 11*len(b) {
			t.Errorf("%U grows from %d to %d bytes", r, len(b), got)
		}
	}
}
