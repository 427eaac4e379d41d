package main

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"aigateway/budget"
	_ "aigateway/internal/rapidtest"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

func TestTable(t *testing.T) {
	tb := &table{columns: []column{left("TAG"), right("COST"), left("NOTE")}}
	tb.add("größe", "0.05", "x")
	tb.add("a", "12345.00", "")
	tb.add("\x1b[2Jevil\nline\u202e", "1.00", "y")
	var b bytes.Buffer
	if err := tb.write(&b); err != nil {
		t.Fatal(err)
	}
	want := `TAG                          COST  NOTE
größe                        0.05  x
a                        12345.00
\x1b[2Jevil\nline\u202e      1.00  y
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestFormats(t *testing.T) {
	doc := []struct {
		Tag   string  `json:"tag"`
		Cost  int64   `json:"cost_cents"`
		Tiny  float64 `json:"tiny"`
		Null  *int64  `json:"fits"`
		Names []string
	}{{"yes: \"no\"", 9007199254740993, 0.5, nil, nil}, {"😀", 0, 1, nil, []string{"on"}}}
	for name, want := range map[string]string{
		"yaml": `- tag: 'yes: "no"'
  cost_cents: 9007199254740993
  tiny: 0.5
  fits: null
  Names: []
- tag: "\U0001F600"
  cost_cents: 0
  tiny: 1
  fits: null
  Names:
    - "on"
`,
		"csv": "tag,cost_usd\n\"a,b\",-1.00\n\"'=HYPERLINK(\"\"x\"\")\",1.00\n",
	} {
		var b bytes.Buffer
		a := newApp(&b, &b, nil)
		tb := &table{columns: []column{left("TAG"), right("COST USD")}}
		tb.add("a,b", "-1.00")
		tb.add(`=HYPERLINK("x")`, "1.00") // a tag anybody may send
		if err := a.print(&format{name: name}, doc, tb); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("%s -want +got:\n%s", name, diff)
		}
	}
}

// FuzzYAML: whatever a tag or a name holds comes back from the YAML unchanged.
func FuzzYAML(f *testing.F) {
	for _, s := range []string{"", "on", "~", "null", "1e3", "0x1", "- a", "a: b", "# c", "'\"", "\n", " a ", "\u2028", "\x1b[2J", "😀", "!!str", "&a", "*a", "%", "<<", "2026-01-01", "é\u0301"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return // JSON holds no such text
		}
		var b bytes.Buffer
		if err := writeYAML(&b, map[string]any{"tag": s, "list": []string{s, s}}); err != nil {
			t.Fatal(err)
		}
		var got struct {
			Tag  any   `yaml:"tag"`
			List []any `yaml:"list"`
		}
		if err := yaml.Load(b.Bytes(), &got); err != nil {
			t.Fatalf("%q: %v\n%s", s, err, b.String())
		}
		if got.Tag != any(s) || len(got.List) != 2 || got.List[0] != any(s) {
			t.Errorf("%q came back as %q from\n%s", s, got, b.String())
		}
	})
}

// TestDollarsRoundTrip: what the program prints, it reads back exactly.
func TestDollarsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := budget.Amount(rapid.Int64Range(0, int64(budget.MaxAmount)).Draw(t, "amount"))
		if got, err := parseDollars(a.String()); err != nil || got != a {
			t.Errorf("%s: got %d, %v, want %d", a, got, err, a)
		}
		cents := rapid.Int64Range(0, budget.MaxCents).Draw(t, "cents")
		if got, err := parseCap(dollars(cents)); err != nil || got != cents {
			t.Errorf("%s: got %d, %v, want %d", dollars(cents), got, err, cents)
		}
	})
}

func TestParseDollars(t *testing.T) {
	for s, want := range map[string]budget.Amount{
		"500": 500 * budget.Dollar, "500.00": 500 * budget.Dollar, "0": 0, "0.000000001": 1,
		"0.3225": 322_500_000, "4611686018.427387904": budget.MaxAmount, "007.5": 7_500_000_000,
	} {
		if got, err := parseDollars(s); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", ".", "1.", ".5", "-1", "+1", "1e3", "0x10", "1,000", "1_000", "$5", " 5", "5 ", "NaN", "Inf", "٣",
		"1.2.3", "0.0000000001", "4611686018.427387905", "4611686019", "99999999999999999999",
	} {
		if got, err := parseDollars(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}

func TestParseCap(t *testing.T) {
	for s, want := range map[string]int64{"500.00": 50000, "0": 0, "0.01": 1, "4611686018.42": budget.MaxCents} {
		if got, err := parseCap(s); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"0.001", "4611686018.43", "-5", "five"} {
		if got, err := parseCap(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}

func TestDollars(t *testing.T) {
	for cents, want := range map[int64]string{0: "0.00", 5: "0.05", -5: "-0.05", 50000: "500.00", -1 << 63: "-92233720368547758.08"} {
		if got := dollars(cents); got != want {
			t.Errorf("%d: got %s, want %s", cents, got, want)
		}
	}
}
