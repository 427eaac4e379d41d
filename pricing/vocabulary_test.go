package pricing_test

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/pricing"

	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"
)

var vendorTexts = flag.String("texts", "testdata/vocabularies.jsonl", "texts and what vendors' libraries count of them, as internal/vocabularies writes them")

// own are the vocabularies in this package.
func own(t testing.TB) []string {
	t.Helper()
	all, err := pricing.Vocabularies()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// TestVocabulariesAreAsTheyWereMade: what internal/vocabularies writes from the
// files that vendors publish, whose hashes it knows.
func TestVocabulariesAreAsTheyWereMade(t *testing.T) {
	got, err := pricing.Vocabularies()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"deepseek-v4": "e02c34de5593c645e7a81ef5855ecad71f9b8b972d980ed8b2e3993861d5304e",
		"qwen2":       "7bde411e895d0a88313ea50e5f5fe37e14bb014e38aabea52e026cd9a2be39f3",
		"tekken":      "d361407b7efeae277c87420d2d13770ad4e625d84522b8cb06d4083639c0611b",
	} {
		if got[name] != want {
			t.Errorf("%s has SHA-256 %s, want %s", name, got[name], want)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("nobody says what these are: %v", got)
	}
}

// TestAgainstVendors compares with counts by the vendors' libraries: never less, and
// no more where nothing unusual is in the text.
func TestAgainstVendors(t *testing.T) {
	f, err := os.Open(*vendorTexts)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	texts, counts, exact := 0, 0, 0
	var most, billed int64
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	names := own(t)
	for ; lines.Scan(); texts++ {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		text := line["text"].(string)
		for _, name := range names {
			want := int64(line[name].(float64))
			got, err := pricing.MostTokens(name, text, true)
			if err != nil {
				t.Fatal(err)
			}
			if got < want {
				t.Errorf("%s: %q has %d tokens, bounded by %d", name, text, want, got)
			}
			if counts++; got == want {
				exact++
			}
			most, billed = most+got, billed+want
		}
	}
	t.Logf("%d texts: %d of %d counts are exact, %d tokens are bounded by %d", texts, exact, counts, billed, most)
	if lines.Err() != nil || texts < 400 || exact < counts/2 || most > billed*5/4 {
		t.Errorf("%d texts, %d of %d counts are exact, %d tokens are bounded by %d: %v", texts, exact, counts, billed, most, lines.Err())
	}
}

// TestVocabulariesWhereverTheTextStands: whatever stands in front of a text and
// behind it, the whole has no more tokens than the bound and their bytes, normalised
// or not.
func TestVocabulariesWhereverTheTextStands(t *testing.T) {
	piece := rapid.OneOf(nasty(), nasty(), rapid.SampledFrom([]string{"\u0958", "\u0344", "\U0001d160", "e\u0301", "\u1100", "\u1161", "\u11a8", "\uac00", "\u09c7\u09be", "\u0338", "\u3099", "か\u3099", "\u212b", "\u037e", "\u2126"}))
	text := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(piece, 0, 4).Draw(t, "pieces"), "")
	})
	size := func(s string) int64 { return int64(max(len(s), len(norm.NFC.String(s)))) }
	for _, name := range own(t) {
		count := func(t *rapid.T, s string) int64 {
			n, err := pricing.VocabularyCount(name, s)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		most := func(t *rapid.T, s string, alone bool) int64 {
			n, err := pricing.MostTokens(name, s, alone)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		rapid.Check(t, func(t *rapid.T) {
			before, text, after := text.Draw(t, "before"), text.Draw(t, "text"), text.Draw(t, "after")
			if n, bound := count(t, text), most(t, text, true); n > bound {
				t.Fatalf("%s: %d tokens, bounded by %d: %q", name, n, bound, text)
			}
			whole := before + text + after
			if n, bound := count(t, whole), most(t, text, false); n > bound+size(before)+size(after) {
				t.Fatalf("%s: %d tokens, bounded by %d, %d and %d bytes: %q", name, n, bound, size(before), size(after), whole)
			}
		})
	}
}

// TestEveryTokenIsMergedByListedPairs: so it makes no difference whether only they merge
// or any two tokens whose text is a token.
func TestEveryTokenIsMergedByListedPairs(t *testing.T) {
	for _, name := range own(t) {
		if text, err := pricing.Unmerged(name); err != nil || text != "" {
			t.Errorf("%s: %q is not merged, %v", name, text, err)
		}
	}
}

// TestWordsNormaliseByThemselves: what stands at either side of a word's end is what
// it is in its normal form, and composes with nothing in front of it.
func TestWordsNormaliseByThemselves(t *testing.T) {
	if r, found := pricing.WordsNormalise(); found {
		t.Errorf("%U changes where words end", r)
	}
}

// TestNormalisedTextCountsLonger: a text whose tokens stand for bytes counts those of
// its normal form where its vendor normalises it, and nowhere else.
func TestNormalisedTextCountsLonger(t *testing.T) {
	for name, want := range map[string]int64{"qwen2": 6, "deepseek-v4": 3, "tekken": 3, "o200k_base": 3} {
		if n, err := pricing.MostTokens(name, "\u0958", false); err != nil || n != want {
			t.Errorf("%s: %d tokens, %v; want %d", name, n, err, want)
		}
	}
}

// TestVocabulariesAreLinear: no text takes long, however it is made.
func TestVocabulariesAreLinear(t *testing.T) {
	const size = 128 << 10
	for name, unit := range map[string]string{
		"one letter": "a", "blanks": " ", "line breaks": "\n", "brackets": "[", "marks": "<|", "long marks": "<｜x", "digits": "7", "Chinese": "中",
		"accents": "\u0301", "to normalise": "\u0958", "punctuation": "/*", "mixed": "aB1 中\n\u0301", "longest words": strings.Repeat("q", 127) + " ",
	} {
		text := strings.Repeat(unit, size/len(unit))
		for _, vocabulary := range own(t) {
			begun := time.Now()
			if n, err := pricing.MostTokens(vocabulary, text, true); err != nil || n == 0 {
				t.Errorf("%s of %s: %d, %v", vocabulary, name, n, err)
			}
			if took := time.Since(begun); took > 10*time.Second { // some 0.2 s are usual
				t.Errorf("%s of %s took %s", vocabulary, name, took)
			}
		}
	}
}
