package pricing_test

import (
	"bufio"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"aigateway/pricing"

	"github.com/tiktoken-go/tokenizer"
	"pgregory.net/rapid"
)

// TestAgainstTiktoken compares with counts by OpenAI's own library, tiktoken
// 0.14.0: never less, and no more where nothing unusual is in the text.
func TestAgainstTiktoken(t *testing.T) {
	f, err := os.Open("testdata/tiktoken.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	texts, exact := 0, 0
	for lines := bufio.NewScanner(f); lines.Scan(); texts++ {
		var c struct {
			Text   string `json:"text"`
			O200k  int64  `json:"o200k_base"`
			Cl100k int64  `json:"cl100k_base"`
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]int64{"o200k_base": c.O200k, "cl100k_base": c.Cl100k} {
			got, err := pricing.MostTokens(name, c.Text, true)
			if err != nil {
				t.Fatal(err)
			}
			if got < want {
				t.Errorf("%s: %q has %d tokens, bounded by %d", name, c.Text, want, got)
			}
			if got == want {
				exact++
			}
		}
	}
	if texts < 400 || exact < texts {
		t.Errorf("%d of %d counts are exact, too few", exact, 2*texts)
	}
}

// TestTextWithoutAWordInside counts by its bytes.
func TestTextWithoutAWordInside(t *testing.T) {
	for name, text := range map[string]string{
		"one long word":   strings.Repeat("ä", 300),
		"U+007F":          "a\x7f\x7f\x7f",
		"a new character": "\U00010d50\U00010d51",
		"the long s":      "Mi\u017f\u017ftrauen", // which a pattern may fold to s
		"the Kelvin sign": "\u212a",
		"a special token": "<|endoftext|>",
	} {
		if got, err := pricing.MostTokens("o200k_base", text, true); err != nil || got != int64(len(text)) {
			t.Errorf("%s: %d, %v; want the %d bytes", name, got, err, len(text))
		}
	}
	long := strings.Repeat("Several words of plain text. ", 20_000)
	got, err := pricing.MostTokens("o200k_base", long, true)
	if rest := int64(len(long) - 256<<10); err != nil || got < rest || got > rest+100_000 {
		t.Errorf("%d bytes: %d, %v; want some %d by bytes, the rest by words", len(long), got, err, rest)
	}
}

// TestWordsAreFound: what no vocabulary's pattern takes together is counted apart,
// so that little of a text is at its ends, and no word is a long one.
func TestWordsAreFound(t *testing.T) {
	for _, tt := range []struct {
		text  string
		alone bool
		want  int64
	}{
		{"10 times 20", true, 4},
		{"of the 2026th", false, int64(len("of")) + 1 + 3 + int64(len("th"))}, // " 2026" has three
		{strings.Repeat("\u180eword", 50), true, 50 * 4},                      // U+180E was a space once, and has three
	} {
		if got, err := pricing.MostTokens("o200k_base", tt.text, tt.alone); err != nil || got != tt.want {
			t.Errorf("%q: %d, %v; want %d", tt.text, got, err, tt.want)
		}
	}
}

// TestSpecialTokens: what spells a special token is one, and splits its text, or it
// is ordinary text. Neither has more tokens than the bound, and the text around it
// is counted all the same.
func TestSpecialTokens(t *testing.T) {
	special := regexp.MustCompile(`<\|[a-z0-9_]{1,40}\|>`)
	for _, name := range []tokenizer.Encoding{tokenizer.O200kBase, tokenizer.Cl100kBase} {
		count := codec(t, name)
		split := func(text string) (n int64) {
			for _, between := range special.Split(text, -1) {
				n += count(between)
			}
			return n + int64(len(special.FindAllString(text, -1)))
		}
		rapid.Check(t, func(t *rapid.T) {
			piece := rapid.OneOf(nasty(), rapid.SampledFrom([]string{"<|endoftext|>", "<|im_start|>", "<|reserved_200017|>", "<|", "|>", "<|x", "fim|>"}))
			text := strings.Join(rapid.SliceOfN(piece, 1, 8).Draw(t, "pieces"), "")
			before, after := nasty().Draw(t, "before"), nasty().Draw(t, "after")
			alone, err := pricing.MostTokens(string(name), text, true)
			if err != nil {
				t.Fatal(err)
			}
			most, err := pricing.MostTokens(string(name), text, false)
			if err != nil {
				t.Fatal(err)
			}
			if n := max(count(text), split(text)); n > alone {
				t.Fatalf("%d tokens, bounded by %d: %q", n, alone, text)
			}
			whole := before + text + after
			if n := max(count(whole), split(whole)); n > most+int64(len(before)+len(after)) {
				t.Fatalf("%d tokens, bounded by %d + %d + %d: %q", n, len(before), most, len(after), whole)
			}
		})
	}
	long := strings.Repeat("Several words of plain text. ", 200)
	for _, text := range []string{long + "<|endoftext|>" + long, long + "if a <| b then c |> d" + long} {
		if n, err := pricing.MostTokens("o200k_base", text, true); err != nil || n > int64(len(text))/4 {
			t.Errorf("%d tokens of %d bytes: %v", n, len(text), err)
		}
	}
}

func codec(t testing.TB, name tokenizer.Encoding) func(string) int64 {
	t.Helper()
	c, err := tokenizer.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return func(s string) int64 {
		n, err := c.Count(s)
		if err != nil {
			t.Fatal(err)
		}
		return int64(n)
	}
}

// nasty draws texts that a pattern can split in surprising ways.
func nasty() *rapid.Generator[string] {
	piece := rapid.OneOf(
		rapid.StringN(0, 8, -1),
		rapid.SampledFrom([]string{
			"the", " and", "ing", "'s", "'LL", "don't", "\n\n", "    ", "  \n", "\t\t", "…", "http://", "1234567", "_config", "//", "/*", "<|", "<", "|>",
			"中文字符", "，。、！", "你好", "カタカナ", "한국어", "слово", "é", "\u0301", "Ⅻ", "½", "😀", "👍🏽", "\u00a0", "\u3000", "\u0085", "\u2028", "ſ", "\u180e", "ForCanBeConverted",
		}),
		rapid.StringOfN(rapid.SampledFrom([]rune("aAsStT '.,\n\r\t019é中\u0301")), 1, 12, -1),
	)
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(piece, 0, 25).Draw(t, "pieces"), "")
	})
}

// TestTokensWhereverTheTextStands: whatever stands in front of a text and
// behind it, the whole has no more tokens than the bound and their bytes.
func TestTokensWhereverTheTextStands(t *testing.T) {
	for _, name := range []tokenizer.Encoding{tokenizer.O200kBase, tokenizer.Cl100kBase} {
		count := codec(t, name)
		rapid.Check(t, func(t *rapid.T) {
			before, text, after := nasty().Draw(t, "before"), nasty().Draw(t, "text"), nasty().Draw(t, "after")
			alone, err := pricing.MostTokens(string(name), text, true)
			if err != nil {
				t.Fatal(err)
			}
			if n := count(text); n > alone {
				t.Fatalf("%d tokens, bounded by %d", n, alone)
			}
			most, err := pricing.MostTokens(string(name), text, false)
			if err != nil {
				t.Fatal(err)
			}
			if n := count(before + text + after); n > most+int64(len(before)+len(after)) {
				t.Fatalf("%d tokens, bounded by %d + %d + %d", n, len(before), most, len(after))
			}
		})
	}
}
