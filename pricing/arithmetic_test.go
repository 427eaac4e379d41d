package pricing_test

import (
	"encoding/base64"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"aigateway/budget"
	_ "aigateway/internal/rapidtest"
	"aigateway/pricing"

	"pgregory.net/rapid"
)

// billionth is 10^9, the nano-USD of a dollar.
var billionth = big.NewRat(1_000_000_000, 1)

func ceilRat(r *big.Rat) *big.Int {
	q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

// Dollars in a report are read exactly, rounded up to nano-USD once, or not at
// all.
func TestNanoUSDMatchesBig(t *testing.T) {
	most := big.NewInt(int64(budget.MaxAmount))
	agree := func(text string) {
		t.Helper()
		r, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%s is no number", text)
		}
		want := ceilRat(r.Mul(r, billionth))
		got, ok := pricing.NanoUSD(text)
		if fits := want.Cmp(most) <= 0; ok != fits || ok && big.NewInt(int64(got)).Cmp(want) != 0 {
			t.Errorf("%s is %d, %v; want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"0", "0.0", "1", "10", "1e0", "1E3", "1e+3", "1e-9", "1e-10", "9.99e-10", "1.0000000001", "0.000000001", "0.0000000001", "0.1234567890", "0.12345678901",
		"4611686018.427387904", "4611686018.427387905", "4611686018.4273879039", "4611686018.4273879041", "46116860184.27387904e-1",
		"461168601.8427387904e1", "461168601.8427387905e1", "1e9", "4e9", "5e9", "1e10", "1e100", "1e400", "1e-400", "0e400", "9e-400",
		"18446744073709551615e-9", "18446744073709551616e-9", "4611686018427387904e-9", "4611686018427387905e-9", "46116860184273879040e-10", "46116860184273879041e-10",
		"1844674407370955161e-9", "1844674407370955162e-8", strings.Repeat("9", 50) + "." + strings.Repeat("9", 50) + "e-50", "0." + strings.Repeat("0", 98) + "1",
	} {
		agree(text)
	}
	for _, text := range []string{
		"", "e5", ".5", "-1", "+1", "1e", "1ee1", "1e1.5", "1.e", "1..2", "1,5", "a", "1a", "1e401", "1e-401", "0x10", "NaN", "1 ", " 1", "1/", "1:",
		"0." + strings.Repeat("0", 100), strings.Repeat("1", 101) + "e-100", "null", `"1"`,
	} {
		if got, ok := pricing.NanoUSD(text); ok && text != "1e" && text != "1.e" {
			t.Errorf("%q is %d", text, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9]{1,20}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "text")
		r, _ := new(big.Rat).SetString(text)
		want := ceilRat(r.Mul(r, billionth))
		got, ok := pricing.NanoUSD(text)
		if fits := want.Cmp(most) <= 0; ok != fits || ok && big.NewInt(int64(got)).Cmp(want) != 0 {
			t.Fatalf("%s is %d, %v; want %s", text, got, ok, want)
		}
	})
}

func TestMicroDecimal(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "1": 1_000_000, "0.25": 250_000, "0.000001": 1, "00.10": 100_000, "12.345678": 12_345_678, "1.0": 1_000_000, "9": 9_000_000,
		"1000000000": 1_000_000_000_000_000, "1000000000.000000": 1_000_000_000_000_000, "999999999.999999": 999_999_999_999_999,
	} {
		if got, err := pricing.MicroDecimal(s); err != nil || got != want {
			t.Errorf("%q is %d (%v), want %d", s, got, err, want)
		}
	}
	for s, why := range map[string]string{
		"": "is not a decimal", ".": "is not a decimal", ".5": "is not a decimal", "1.": "is not a decimal", "1.2.3": "is not a decimal", "-1": "is not a decimal", "1e3": "is not a decimal", "1/": "is not a decimal", "1:": "is not a decimal",
		"0.0000001": "more than 6", "1.0000000": "more than 6",
		"1000000000.000001": "too large", "1000000001": "too large", "1000000000000001": "too large", "9999999999999999999999": "too large", "10000000000": "too large",
	} {
		if got, err := pricing.MicroDecimal(s); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q is %d, %v; want that it %s", s, got, err, why)
		}
	}
	long := strings.Repeat("x", 49)
	for _, s := range []string{long, long[:48]} {
		_, err := pricing.MicroDecimal(s)
		if err == nil || strings.Contains(err.Error(), `"`+s+`"`) != (len(s) == 48) || strings.Contains(err.Error(), `"`+long[:48]+`…"`) != (len(s) == 49) {
			t.Errorf("%d bytes: %v", len(s), err)
		}
	}
}

func TestRatiosMatchBig(t *testing.T) {
	part := rapid.OneOf(rapid.Uint64Range(1, 20), rapid.Uint64Range(1, 1_000_000_000), rapid.SampledFrom([]uint64{1, 2, 1 << 32, 1<<32 + 1, 1 << 63, math.MaxUint64}))
	rapid.Check(t, func(t *rapid.T) {
		a, b, c, d := part.Draw(t, "a"), part.Draw(t, "b"), part.Draw(t, "c"), part.Draw(t, "d")
		rat := func(n, d uint64) *big.Rat {
			return new(big.Rat).SetFrac(new(big.Int).SetUint64(n), new(big.Int).SetUint64(d))
		}
		if got := pricing.Above(a, b, c, d); got != (rat(a, b).Cmp(rat(c, d)) > 0) {
			t.Fatalf("%d/%d above %d/%d: %v", a, b, c, d, got)
		}
		n, dd, ok := pricing.Product(a, b, c, d)
		if want := new(big.Rat).Mul(rat(a, b), rat(c, d)); ok && (rat(n, dd).Cmp(want) != 0 || want.Num().Cmp(new(big.Int).SetUint64(n)) != 0) {
			t.Fatalf("%d/%d × %d/%d = %d/%d, want %s", a, b, c, d, n, dd, want)
		}
		small := a <= 1<<31 && b <= 1<<31 && c <= 1<<31 && d <= 1<<31
		if !ok && small {
			t.Fatalf("%d/%d × %d/%d does not fit", a, b, c, d)
		}
		count := int64(c >> 1)
		want := ceilRat(new(big.Rat).Mul(rat(a, b), new(big.Rat).SetInt64(count)))
		if want.Cmp(big.NewInt(math.MaxInt64)) > 0 {
			want.SetInt64(math.MaxInt64)
		}
		if got := pricing.CeilOf(a, b, count); big.NewInt(got).Cmp(want) != 0 {
			t.Fatalf("%d × %d/%d is %d, want %s", count, a, b, got, want)
		}
	})
	if _, _, ok := pricing.Product(1, 0, 1, 1); ok {
		t.Error("a ratio over 0 has a product")
	}
	if got := pricing.CeilOf(1, 1, math.MaxInt64); got != math.MaxInt64 {
		t.Errorf("the largest number is %d", got)
	}
	if got := pricing.CeilOf(2, 1, 1<<62); got != math.MaxInt64 {
		t.Errorf("twice 2^62 is %d", got)
	}
}

// A pin is read as it was written; what is cut from it or added to it makes it
// none, and what is changed in it leaves one meaning.
func TestPinsAreReadWholeOrNotAtAll(t *testing.T) {
	c := mustOverlay(t, overlayModels)
	for _, body := range []string{
		chatBody("capless/m", `"max_tokens":100,"stream":true,"tools":[{"type":"web_search_20250305","max_uses":2}]`),
		chatBody("openai/gpt-5.5", `"max_tokens":100,"n":3,"service_tier":"priority"`),
	} {
		text := mustBound(t, c, pricing.Chat, body, noon()).Pin
		if again, err := pricing.PinAgain(text); err != nil || again != text {
			t.Errorf("read again: %v\n%s\n%s", err, text, again)
		}
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		for i := range raw {
			if _, err := pricing.PinAgain(base64.RawURLEncoding.EncodeToString(raw[:i])); err == nil {
				t.Errorf("a pin of %d bytes is read from its first %d", len(raw), i)
			}
			for _, change := range []byte{1, 2, 0x80, 0xff} {
				other := slices.Clone(raw)
				other[i] ^= change
				// What it is taken for may have a shorter form, but one meaning.
				changed := base64.RawURLEncoding.EncodeToString(other)
				again, err := pricing.PinAgain(changed)
				if err != nil {
					continue
				}
				if twice, err := pricing.PinAgain(again); err != nil || twice != again {
					t.Errorf("byte %d changed: %s is read as %s, and that as %s, %v", i, changed, again, twice, err)
				}
			}
		}
		if _, err := pricing.PinAgain(base64.RawURLEncoding.EncodeToString(append(raw, 0))); err == nil {
			t.Error("a pin with a byte more is read")
		}
	}
	if _, err := pricing.PinAgain(strings.Repeat("A", 2049)); err == nil {
		t.Error("a pin longer than any is read")
	}
}
