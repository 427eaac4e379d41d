package budget_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
)

func TestAmountString(t *testing.T) {
	for _, tc := range []struct {
		amount  budget.Amount
		exact   string
		display string
		cents   int64
	}{
		{0, "0.00", "$0.00", 0},
		{1, "0.000000001", "$0.000000001", 1},
		{budget.Cent, "0.01", "$0.01", 1},
		{budget.Cent + 1, "0.010000001", "$0.02", 2},
		{322_500_000, "0.3225", "$0.33", 33},
		{500 * budget.Dollar, "500.00", "$500.00", 50000},
		{-budget.Dollar / 2, "-0.50", "$-0.50", -50},
		{math.MinInt64, "-9223372036.854775808", "$-9223372036.854775808", -922337203685},
	} {
		if got := tc.amount.String(); got != tc.exact {
			t.Errorf("Amount(%d).String() = %q, want %q", tc.amount, got, tc.exact)
		}
		if got := tc.amount.Display(); got != tc.display {
			t.Errorf("Amount(%d).Display() = %q, want %q", tc.amount, got, tc.display)
		}
		if got := tc.amount.CeilCents(); got != tc.cents {
			t.Errorf("Amount(%d).CeilCents() = %d, want %d", tc.amount, got, tc.cents)
		}
	}
}

func TestFromCentsRefusesWhatOverflows(t *testing.T) {
	for _, cents := range []int64{-1, budget.MaxCents + 1, math.MaxInt64, math.MinInt64} {
		_, err := budget.FromCents("monthly_cap_cents", cents)
		var e *budget.Error
		if !errors.As(err, &e) || e.Field != "monthly_cap_cents" || e.Kind != budget.KindInvalid {
			t.Errorf("FromCents(%d) = %v, want an invalid_request error naming the field", cents, err)
		}
	}
	if got, err := budget.FromCents("cap", budget.MaxCents); err != nil || got > budget.MaxAmount {
		t.Errorf("FromCents(MaxCents) = %d, %v", got, err)
	}
}

func TestAddReportsOverflow(t *testing.T) {
	for _, tc := range []struct {
		a, b budget.Amount
		ok   bool
	}{
		{1, 2, true},
		{budget.MaxAmount, 0, true},
		{budget.MaxAmount, 1, false},
		{math.MaxInt64, 1, false},
		{5, -7, true},
		{math.MinInt64, -1, false},
	} {
		if _, ok := tc.a.Add(tc.b); ok != tc.ok {
			t.Errorf("Add(%d, %d) ok = %v, want %v", tc.a, tc.b, ok, tc.ok)
		}
	}
}

func TestCeilNanoRoundsUpOnce(t *testing.T) {
	for _, tc := range []struct {
		hi, lo uint64
		want   budget.Amount
		ok     bool
	}{
		{0, 0, 0, true},
		{0, 1, 1, true},
		{0, 1000, 1, true},
		{0, 1001, 2, true},
		{0, math.MaxUint64, 18446744073709552, true},
		{250, 0, 4611686018427387904, true},
		{250, 1, 0, false},
		{1000, 0, 0, false},
		{math.MaxUint64, math.MaxUint64, 0, false},
	} {
		got, ok := budget.CeilNano(tc.hi, tc.lo)
		if ok != tc.ok || ok && got != tc.want {
			t.Errorf("CeilNano(%d, %d) = %d, %v, want %d, %v", tc.hi, tc.lo, got, ok, tc.want, tc.ok)
		}
	}
}

func TestParseTag(t *testing.T) {
	for _, s := range []string{"summarize", "team/a/b", "Zusammenfassung ü", "a", strings.Repeat("x", 64), "**", "a/**", "🎉"} {
		if _, err := budget.ParseTag(s); err != nil {
			t.Errorf("ParseTag(%q) = %v, want no error", s, err)
		}
	}
	for _, s := range []string{"", strings.Repeat("x", 65), "a\nb", "a\x00", "\x7f", "\xff", "a\u200b", "a\u2028"} {
		_, err := budget.ParseTag(s)
		var e *budget.Error
		if !errors.As(err, &e) || e.Reason != "tag_invalid" || e.Field != "x-aig-tag" {
			t.Errorf("ParseTag(%q) = %v, want tag_invalid", s, err)
		}
	}
}

func TestTagPattern(t *testing.T) {
	for _, tc := range []struct {
		pattern budget.TagPattern
		tag     budget.Tag
		want    bool
	}{
		{"team/a", "team/a", true},
		{"team/a", "team/a/b", false},
		{"team/a/**", "team/a", true},
		{"team/a/**", "team/a/b/c", true},
		{"team/a/**", "team/ab", false},
		{"**", "anything", true},
		{"", "anything", false},
	} {
		if got := tc.pattern.Matches(tc.tag); got != tc.want {
			t.Errorf("%q matches %q = %v, want %v", tc.pattern, tc.tag, got, tc.want)
		}
	}
	for _, s := range []string{"", "/**", "*", "a/*", "a/**/b", "a*", "a/**/**", "***", " a", "a ", "a /**", strings.Repeat("x", 65) + "/**", "a\n/**"} {
		if _, err := budget.ParseTagPattern("tag", s); err == nil {
			t.Errorf("ParseTagPattern(%q): want an error", s)
		}
	}
}

func TestWindowAt(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tc := range []struct {
		name       string
		period     budget.Period
		at         string
		start, end string
	}{
		{"month", budget.Month, "2026-04-30T21:59:59Z", "2026-04-01T00:00:00+02:00", "2026-05-01T00:00:00+02:00"},
		{"month begins before UTC's", budget.Month, "2026-04-30T22:00:00Z", "2026-05-01T00:00:00+02:00", "2026-06-01T00:00:00+02:00"},
		{"december", budget.Month, "2026-12-31T12:00:00Z", "2026-12-01T00:00:00+01:00", "2027-01-01T00:00:00+01:00"},
		{"a day of 23 hours", budget.Day, "2026-03-29T12:00:00Z", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"},
		{"sunday ends the week", budget.Week, "2026-11-22T12:00:00Z", "2026-11-16T00:00:00+01:00", "2026-11-23T00:00:00+01:00"},
		{"monday begins it", budget.Week, "2026-11-23T12:00:00Z", "2026-11-23T00:00:00+01:00", "2026-11-30T00:00:00+01:00"},
	} {
		w := tc.period.WindowAt(at(tc.at), berlin)
		if !w.Start.Equal(at(tc.start)) || !w.End.Equal(at(tc.end)) || !w.Contains(at(tc.at)) || w.Contains(w.End) {
			t.Errorf("%s: got %v to %v, want %s to %s", tc.name, w.Start, w.End, tc.start, tc.end)
		}
	}
	if w := budget.Total.WindowAt(at("2026-04-30T22:00:00Z"), berlin); !w.End.IsZero() || !w.Contains(at("2099-01-01T00:00:00Z")) {
		t.Errorf("a total window ends: %v", w)
	}
}

func TestParseMonth(t *testing.T) {
	w, err := budget.ParseMonth("month", "2026-04", time.UTC)
	if err != nil || w.Start.Format(time.DateOnly) != "2026-04-01" || w.End.Format(time.DateOnly) != "2026-05-01" {
		t.Errorf("ParseMonth = %v, %v", w, err)
	}
	for _, s := range []string{"", "2026-13", "2026-4", "2026-04-01", "april", "2026-00", "-026-04"} {
		if _, err := budget.ParseMonth("month", s, time.UTC); err == nil {
			t.Errorf("ParseMonth(%q): want an error", s)
		}
	}
}

func TestKeyRules(t *testing.T) {
	k := budget.Key{Scopes: []budget.Scope{budget.ScopeUsage}, AllowedTags: []budget.TagPattern{"team/a/**"}, AllowedModels: []string{"moonshot/*", "openai/gpt-5.5"}}
	if !k.Has(budget.ScopeUsage) || k.Has(budget.ScopeInference) {
		t.Error("a usage key must read usage and nothing else")
	}
	if admin := (budget.Key{Scopes: []budget.Scope{budget.ScopeAdmin}}); !admin.Has(budget.ScopeBudgets) || !admin.MayUseTag("x") || !admin.MayUseModel("a/b") {
		t.Error("an admin key without limits may do everything")
	}
	if !k.MayUseTag("team/a/x") || k.MayUseTag("team/b") {
		t.Error("allowed tags are not kept")
	}
	for slug, want := range map[string]bool{"moonshot/kimi-k2.6": true, "openai/gpt-5.5": true, "openai/gpt-5.5-pro": false, "moonshotx/a": false} {
		if got := k.MayUseModel(slug); got != want {
			t.Errorf("MayUseModel(%q) = %v, want %v", slug, got, want)
		}
	}
}

func TestPatternsOf(t *testing.T) {
	for tag, want := range map[budget.Tag][]budget.TagPattern{
		"a":     {"**", "a", "a/**"},
		"a/b/c": {"**", "a/b/c", "a/b/c/**", "a/**", "a/b/**"},
	} {
		got := budget.PatternsOf(tag)
		if !slices.Equal(got, want) {
			t.Errorf("PatternsOf(%q) = %q, want %q", tag, got, want)
		}
		for _, p := range got {
			if !p.Matches(tag) {
				t.Errorf("%q does not match %q", p, tag)
			}
		}
	}
}
