package pricing_test

import (
	"runtime"
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

// What a body makes in memory is a few times its size: not an indent of 64 blanks
// for each bracket, nor a note of some hundred bytes for each empty text.
func TestBodiesTakeLittleMemory(t *testing.T) {
	c := counting(t)
	const size = 1 << 20
	wide := `{"type":"object","enum":[` + strings.Repeat("1,", size/4) + "1]}"
	for i := range 30 {
		wide = `{"p` + string(rune('a'+i%26)) + `":` + wide + "}"
	}
	arguments := func(s string) string {
		return `{"model":"openai/gpt-5.5","max_tokens":9,"messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"` + s + `"}}]},{"role":"tool","tool_call_id":"a","content":"x"}]}`
	}
	for _, tt := range []struct {
		name string
		e    pricing.Endpoint
		body string
	}{
		{"brackets for arguments", pricing.Chat, arguments(strings.Repeat("[", size))},
		{"brackets and a letter beyond ASCII", pricing.Chat, arguments(strings.Repeat("[", size) + "é")},
		{"a deep schema", pricing.Chat, `{"model":"openai/gpt-5.5","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":` + wide + `}}]}`},
		{"images to edit", pricing.ImageEdits, `{"model":"openai/gpt-image-1","prompt":"x","image":[` + strings.Repeat(`"",`, size/3) + `""]}`},
		{"voices", pricing.Transcriptions, `{"model":"openai/gpt-4o-transcribe","known_speaker_references":[` + strings.Repeat(`"",`, size/3) + `""]}`},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := tryBound(c, tt.e, tt.body, noon())
		runtime.ReadMemStats(&after)
		took := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s: %d bytes for %d, %v", tt.name, took, len(tt.body), err)
		if took > 32*uint64(len(tt.body)) {
			t.Errorf("%s: %d bytes for a body of %d", tt.name, took, len(tt.body))
		}
	}
}
