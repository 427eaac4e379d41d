package budget_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/budget"
)

func TestFromCentsIsExact(t *testing.T) {
	for cents, want := range map[int64]budget.Amount{0: 0, 1: budget.Cent, 50_000: 500 * budget.Dollar, budget.MaxCents: budget.Amount(budget.MaxCents) * 10_000_000} {
		if got, err := budget.FromCents("cap", cents); err != nil || got != want {
			t.Errorf("%d cents are %s (%v), want %s", cents, got, err, want)
		}
	}
}

func TestDisplayRoundsUpFromACent(t *testing.T) {
	for a, want := range map[budget.Amount]string{
		0: "$0.00", budget.Cent - 1: "$0.009999999", budget.Cent: "$0.01", budget.Cent + 1: "$0.02", -1: "$-0.000000001",
	} {
		if got := a.Display(); got != want {
			t.Errorf("%d shows as %s, want %s", a, got, want)
		}
	}
}

func TestCeilNanoAtTheLimit(t *testing.T) {
	// 2^62 nano-USD are 250 × 2^64 pico-USD, and a little less is rounded up to it.
	if got, ok := budget.CeilNano(250, 0); !ok || got != budget.MaxAmount {
		t.Errorf("the largest amount is %d, %v", got, ok)
	}
	for _, hi := range []uint64{251, 498, 499, 998, 999, 1000, 1<<64 - 1} {
		if got, ok := budget.CeilNano(hi, 0); ok {
			t.Errorf("%d × 2^64 pico-USD is %d", hi, got)
		}
	}
	if got, ok := budget.CeilNano(250, 1); ok {
		t.Errorf("a pico-USD above the largest amount is %d", got)
	}
}

func TestParseAmountRefusesForeignDigits(t *testing.T) {
	for _, s := range []string{"1a", "a", "1.a", "1.0a", "1:", "1.0/", "~", "12345678901234567890", "99999999999999999999.99", "1.2.3"} {
		if got, err := budget.ParseAmount("amount", s); err == nil {
			t.Errorf("%q is read as %d", s, got)
		}
	}
	for _, s := range []string{"1a", "1.-5", "1.0/", "1:"} {
		if _, err := budget.ParseAmount("amount", s); err == nil || !strings.Contains(err.Error(), "is no amount") {
			t.Errorf("%q: %v, want to hear that it is no amount", s, err)
		}
	}
	if got, err := budget.ParseAmount("amount", budget.MaxAmount.String()); err != nil || got != budget.MaxAmount {
		t.Errorf("the largest amount is %d, %v", got, err)
	}
}

func TestDefaults(t *testing.T) {
	for n, good := range map[int64]bool{-1: false, 0: true, 1: true, budget.MaxDefaultTokens: true, budget.MaxDefaultTokens + 1: false} {
		if err := (budget.Defaults{DefaultMaxTokens: n}).Check(); (err == nil) != good {
			t.Errorf("a default of %d tokens: %v", n, err)
		}
	}
	for n, good := range map[int64]bool{-1: false, 0: true, 1: true, budget.MaxDefaultToolCalls: true, budget.MaxDefaultToolCalls + 1: false} {
		if err := (budget.Defaults{DefaultMaxToolCalls: n}).Check(); (err == nil) != good {
			t.Errorf("a default of %d tool calls: %v", n, err)
		}
	}
	for _, tt := range []struct{ a, b, want int64 }{{0, 0, 0}, {0, 5, 5}, {5, 0, 5}, {5, 6, 5}, {6, 5, 5}, {5, 5, 5}, {2, 1, 1}, {1, 2, 1}, {1, 0, 1}, {0, 1, 1}} {
		got := budget.Defaults{DefaultMaxTokens: tt.a, DefaultMaxToolCalls: tt.b}.Least(budget.Defaults{DefaultMaxTokens: tt.b, DefaultMaxToolCalls: tt.a})
		if got.DefaultMaxTokens != tt.want || got.DefaultMaxToolCalls != tt.want {
			t.Errorf("of %d and %d the smaller is %+v, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestBasis(t *testing.T) {
	for basis, want := range map[budget.Basis][2]bool{ // sent, estimated
		budget.BasisUsage: {true, false}, budget.BasisElapsed: {true, true}, budget.BasisBound: {true, true},
		budget.BasisProviderError: {true, false}, budget.BasisReleased: {false, false}, budget.BasisUnpriced: {true, false},
		budget.BasisExpired: {true, true},
	} {
		if basis.Sent() != want[0] || basis.Estimated() != want[1] {
			t.Errorf("%s: sent %v, estimated %v; want %v", basis, basis.Sent(), basis.Estimated(), want)
		}
	}
}

func TestUsageRowsAddUp(t *testing.T) {
	row := budget.UsageRow{Requests: 1, Cost: 2, Unpriced: 3, Estimated: 4, EstimatedCost: 5, Tokens: budget.Tokens{Input: 6, CacheRead: 7, CacheWrite: 8, Output: 9}}
	sum := row
	sum.Add(row)
	want := budget.UsageRow{Requests: 2, Cost: 4, Unpriced: 6, Estimated: 8, EstimatedCost: 10, Tokens: budget.Tokens{Input: 12, CacheRead: 14, CacheWrite: 16, Output: 18}}
	if diff := cmp.Diff(want, sum); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTagPatternsInTheirForms(t *testing.T) {
	for s, good := range map[string]bool{
		"**": true, "a": true, "a/b": true, "a/**": true, "a/b/**": true,
		"": false, "/**": false, "*": false, "a*": false, "a/*": false, "**/a": false, "a/**/b": false, "a**": false, "*/**": false, " a": false, "a /**": false, "\x00": false,
	} {
		p, err := budget.ParseTagPattern("tag", s)
		if (err == nil) != good || good && string(p) != s {
			t.Errorf("%q is %q, %v", s, p, err)
		}
	}
	// The first thing that is wrong is the one that is told.
	if _, err := budget.ParseTagPattern("tag", strings.Repeat("a", 65)+"*"); err == nil || !strings.Contains(err.Error(), "66 bytes long") {
		t.Errorf("a long pattern: %v", err)
	}
}

func TestWindowsOfAMonth(t *testing.T) {
	april, err := budget.ParseMonth("month", "2026-04", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	for at, in := range map[time.Time]bool{
		april.Start: true, april.Start.Add(-1): false, april.End.Add(-1): true, april.End: false, {}: false,
	} {
		if april.Contains(at) != in {
			t.Errorf("%v: in the window %v, want %v", at, !in, in)
		}
	}
	for _, s := range []string{"", "2026", "2026-4", "2026-13", "2026-00", "26-04", "2026-04-01", "April", "2026-04 ", "02026-04"} {
		if w, err := budget.ParseMonth("month", s, time.UTC); err == nil {
			t.Errorf("%q is the month %v", s, w)
		}
	}
	total := budget.Total.WindowAt(april.Start, time.UTC)
	if !total.Start.Equal(time.Unix(0, 0)) || !total.End.IsZero() || !total.Contains(april.Start) {
		t.Errorf("a budget in total has the window %v", total)
	}
}

func TestParseZone(t *testing.T) {
	for name, want := range map[string]string{"": "UTC", "UTC": "UTC", "Europe/Berlin": "Europe/Berlin"} {
		if loc, err := budget.ParseZone("time_zone", name); err != nil || loc.String() != want {
			t.Errorf("%q is %v, %v", name, loc, err)
		}
	}
	for _, name := range []string{"Local", "Mars/Olympus", "../etc/passwd"} {
		if loc, err := budget.ParseZone("time_zone", name); err == nil || loc != nil {
			t.Errorf("%q is %v, %v", name, loc, err)
		}
	}
}
