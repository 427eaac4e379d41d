package extauthz_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/extauthz"
	"aigateway/pricing"
)

// refusingServer is a server whose ledger refuses every call, for the budget named by its
// tag, at the time of now, and what it remembers.
func refusingServer(t *testing.T, now *time.Time) (*extauthz.Server, *extauthz.Refusals) {
	t.Helper()
	ledger := &fakeLedger{reserve: func(_ context.Context, r budget.Request) (budget.Reservation, error) {
		return budget.Reservation{}, &budget.Error{Kind: budget.KindBudgetExceeded, Reason: "cap_would_be_crossed", Refusal: &budget.Refusal{
			Budget: budget.Budget{ID: "bud_" + string(r.Tag), Target: budget.Target{Tags: budget.TagPattern(r.Tag)}, Cap: budget.Dollar}, Spent: budget.Dollar - 1, Bound: r.Bound,
		}}
	}}
	known := extauthz.NewRefusals(*now)
	return newServer(t, keysWith(nil), ledger, func(c *extauthz.Config) {
		c.Refusals, c.Now = known, func() time.Time { return *now }
	}), known
}

func sayChat(words string) string {
	return fmt.Sprintf(`{"model":"moonshot/kimi-k2.6","max_tokens":100,"messages":[{"role":"user","content":%q}]}`, words)
}

// TestRefusalsAreRemembered shows what is known of a refused call, and that the
// same call again is told from others.
func TestRefusalsAreRemembered(t *testing.T) {
	now := noon
	s, known := refusingServer(t, &now)
	for i := range 1000 {
		check(t, s, authorized(fmt.Sprintf("loop-%d", i), sayChat("the same"), "x-aig-tag", "a"))
	}
	check(t, s, authorized("other", sayChat("another"), "x-aig-tag", "a"))
	check(t, s, authorized("malformed", `{"model":"moonshot/kimi-k2.6","max_tokens":"secret words"}`, "x-aig-tag", "a"))
	check(t, s, newCheck("stranger", sayChat("no key")))
	now = now.Add(11 * time.Minute)
	check(t, s, authorized("later", sayChat("the same"), "x-aig-tag", "a"))

	var got []string
	for _, c := range known.Calls(&budget.CallQuery{}) {
		got = append(got, fmt.Sprintf("%s %s %s %v %d", c.RequestID, c.Reason, c.Model, c.Budgets, c.Repeats))
		if c.KeyID == "" || c.Tag != "a" || c.State != budget.CallRefused {
			t.Errorf("whose call, and how it ended: %+v", c)
		}
		if text := fmt.Sprintf("%+v", c); strings.Contains(text, "same") || strings.Contains(text, "secret") {
			t.Errorf("a word of the body is remembered: %s", text)
		}
	}
	want := []string{
		"later cap_would_be_crossed moonshot/kimi-k2.6 [bud_a] 0",
		"malformed field_invalid  [] 0",
		"other cap_would_be_crossed moonshot/kimi-k2.6 [bud_a] 0",
		"loop-999 cap_would_be_crossed moonshot/kimi-k2.6 [bud_a] 999",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("remembered:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	c := known.Calls(&budget.CallQuery{RequestID: "other"})[0]
	if lines, err := pricing.RecordedLines(c.Arithmetic, c.Bound); err != nil || len(lines) == 0 || lines[len(lines)-1].Amount != c.Bound || c.Bound == 0 {
		t.Errorf("the bound %s came about by %+v, %v", c.Bound, lines, err)
	}
	if c.Refusal.Spent != budget.Dollar-1 || c.Refusal.Lines != nil {
		t.Errorf("the refusal's numbers: %+v", c.Refusal)
	}
}

// TestRefusalsAreBounded floods the memory with calls that all differ, of one
// budget and of many.
func TestRefusalsAreBounded(t *testing.T) {
	now := noon
	s, known := refusingServer(t, &now)
	check(t, s, authorized("first", sayChat("x"), "x-aig-tag", "other"))
	for i := range 500 {
		check(t, s, authorized(fmt.Sprint("r", i), sayChat(fmt.Sprint(i)), "x-aig-tag", "busy"))
	}
	got := known.Calls(&budget.CallQuery{})
	if len(got) != 21 || got[0].RequestID != "r499" || got[19].RequestID != "r480" || got[20].RequestID != "first" {
		t.Errorf("%d calls are remembered, from %s to %s; want the last 20 of one budget and the one of the other", len(got), got[0].RequestID, got[len(got)-1].RequestID)
	}
	for i := range 1500 {
		check(t, s, authorized(fmt.Sprint("m", i), sayChat("x"), "x-aig-tag", fmt.Sprint("t/", i)))
	}
	if got := known.Calls(&budget.CallQuery{}); len(got) != 1000 || got[999].RequestID != "m500" {
		t.Errorf("%d calls of many budgets are remembered, the oldest %s; want 1000 from m500 on", len(got), got[len(got)-1].RequestID)
	}
}

// TestRefusalsAreCounted counts each call by its budget, reason and quarter of an
// hour, and what it could have cost once, however often its key sends it again within
// ten minutes of the last time.
func TestRefusalsAreCounted(t *testing.T) {
	now := noon
	s, known := refusingServer(t, &now)
	for i := range 25 { // for two hours, every five minutes
		check(t, s, authorized(fmt.Sprintf("loop-%d", i), sayChat("the same"), "x-aig-tag", "a"))
		now = now.Add(5 * time.Minute)
	}
	check(t, s, authorized("malformed", `{"model":"moonshot/kimi-k2.6","max_tokens":"x"}`, "x-aig-tag", "a"))
	now = now.Add(11 * time.Minute)
	check(t, s, authorized("again", sayChat("the same"), "x-aig-tag", "a"))
	check(t, s, authorized("other", sayChat("another"), "x-aig-tag", "b"))
	check(t, s, newCheck("stranger", sayChat("no key")))

	count := func() (sums map[string]budget.RefusedSum) {
		sums = map[string]budget.RefusedSum{}
		counts := known.TakeCounts()
		for _, c := range counts {
			sum := sums[c.BudgetID+" "+c.Reason]
			sum.Add(c.RefusedSum)
			sums[c.BudgetID+" "+c.Reason] = sum
			if !c.Time.Truncate(15*time.Minute).Equal(c.Time) || c.Time.Before(noon) {
				t.Errorf("counted at %s", c.Time)
			}
		}
		known.ReturnCounts(counts)
		return sums
	}
	bound := known.Calls(&budget.CallQuery{RequestID: "again"})[0].Bound
	want := map[string]budget.RefusedSum{
		"bud_a cap_would_be_crossed": {Calls: 26, Distinct: 2, Kept: 2 * bound},
		"bud_b cap_would_be_crossed": {Calls: 1, Distinct: 1, Kept: known.Calls(&budget.CallQuery{RequestID: "other"})[0].Bound},
		" field_invalid":             {Calls: 1, Distinct: 1},
	}
	for range 2 { // what nobody could keep is not lost
		if got := count(); fmt.Sprint(got) != fmt.Sprint(want) || bound == 0 {
			t.Errorf("counted %v, want %v", got, want)
		}
	}
	known.TakeCounts()
	if got := known.TakeCounts(); len(got) != 0 {
		t.Errorf("counted twice: %v", got)
	}
}

// TestCountsAreBounded refuses more different calls than can be told from others:
// they count, but not as distinct.
func TestCountsAreBounded(t *testing.T) {
	if got := extauthz.CountDifferent(50_100); len(got) != 1 || got[0].Calls != 50_100 || got[0].Distinct != 50_000 {
		t.Errorf("counted %+v", got)
	}
}
