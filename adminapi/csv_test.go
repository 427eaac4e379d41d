package adminapi_test

import (
	"encoding/csv"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"aigateway/adminapi"
)

func TestInertCells(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "team/a": "team/a", "a=b": "a=b", "a-b": "a-b", "a;b": "a;b", "c++": "c++", "me@here": "me@here", "'=1": "'=1", "a, -b": "a, -b", "日本": "日本",
		"=1": "'=1", "+1": "'+1", "-1": "'-1", "@sum": "'@sum", "==1": "'==1", "\tx": "'\tx", "\rx": "'\rx", "\t=1": "'\t'=1",
		";=1": ";'=1", "a;=1": "a;'=1", ";;=1;": ";;'=1;", "; =1": "; '=1", "|=1": "|'=1", "a\t=1": "a\t'=1", "a\n=1": "a\n'=1", "；=1": "；'=1",
		"＝1": "'＝1", "＋1": "'＋1", "－1": "'－1", "＠x": "'＠x", "﹦1": "'﹦1", "−1": "'−1", ";＝1": ";'＝1", "⁼1": "'⁼1", "﹢1": "'﹢1",
		" =1": " '=1", "\u00a0=1": "\u00a0'=1", "\u3000＝1": "\u3000'＝1", "\u200b=1": "\u200b'=1", "\ufeff=1": "\ufeff'=1", "\u202e;\u2066=1": "\u202e;\u2066'=1",
		`"=1`: `"'=1`, `";"=1"`: `";"'=1"`,
	} {
		if got := adminapi.Inert(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	// Every character that compatibility makes a sign of a formula is known.
	for c := rune(0); c <= unicode.MaxRune; c++ {
		if folded := norm.NFKC.String(string(c)); strings.ContainsAny(folded[:1], "=+-@") || strings.HasPrefix(folded, "−") {
			if got := adminapi.Inert(string(c)); got != "'"+string(c) {
				t.Errorf("%U, which is %q, became %q", c, folded, got)
			}
		}
	}
}

// TestInertHoweverALineIsSplit tries every short text of what decides: however a
// line is split into cells, none of them starts a formula.
func TestInertHoweverALineIsSplit(t *testing.T) {
	alphabet := []string{";", "|", "\t", "=", "\"", " ", "a", "＝", ","}
	texts := []string{""}
	for range 4 {
		for _, text := range texts {
			for _, c := range alphabet {
				texts = append(texts, text+c)
			}
		}
		slices.Sort(texts)
		texts = slices.Compact(texts)
	}
	for _, text := range texts {
		var line strings.Builder
		w := csv.NewWriter(&line)
		if err := w.Write([]string{"x", adminapi.Inert(text)}); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		for _, comma := range []string{";", "|", "\t"} {
			for cell := range strings.SplitSeq(strings.TrimSuffix(line.String(), "\n"), comma) {
				if cell = strings.TrimLeft(cell, "\" "); strings.HasPrefix(cell, "=") || strings.HasPrefix(cell, "＝") {
					t.Fatalf("%q is written as %q and read as %q", text, line.String(), cell)
				}
			}
		}
		cells, err := csv.NewReader(strings.NewReader(line.String())).Read()
		if err != nil || cells[1] != adminapi.Inert(text) {
			t.Fatalf("%q is written as %q: %q, %v", text, line.String(), cells, err)
		}
	}
}
