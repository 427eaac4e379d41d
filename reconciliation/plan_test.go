package reconciliation_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aigateway/budget"
	"aigateway/reconciliation"
)

func correction(tag budget.Tag, amount budget.Amount) reconciliation.Correction {
	return reconciliation.Correction{Adjustment: budget.Adjustment{Tag: tag, Amount: amount}}
}

func capped(id string, tags budget.TagPattern, limit, spent, reserved budget.Amount) budget.Status {
	return budget.Status{Budget: budget.Budget{ID: id, Target: budget.Target{Tags: tags}, Cap: limit}, Spent: spent, Reserved: reserved}
}

func TestPlan(t *testing.T) {
	budgets := []budget.Status{
		capped("day", "team/a", 100, 10, 5), capped("month", "team/**", 1000, 500, 0),
		{Budget: budget.Budget{ID: "key", Target: budget.Target{KeyID: "key_1"}, Cap: 1}, Spent: 0},
	}
	got := []string{}
	for _, s := range reconciliation.Plan([]reconciliation.Correction{
		correction("team/a", 90), correction("team/a", -95), correction("team/b", -400), correction("team/b", -900), correction("other", 7),
	}, budgets) {
		line := fmt.Sprintf("%s %d %s", s.Adjustment.Tag, s.Adjustment.Amount, s.Refused)
		for _, e := range s.Effects {
			line += fmt.Sprintf(" %s:%d>%d", e.Budget.ID, e.Before, e.After)
			if e.Over > 0 {
				line += fmt.Sprintf("!%d", e.Over)
			}
		}
		got = append(got, line)
	}
	want := []string{
		"team/b -400  month:500>100", // refunds first
		"team/a 90  day:10>100!5 month:100>190",
		"other 7 ",
		"team/a -95  day:100>5 month:190>95", // fits now
		"team/b -900 budget month has spent 0.000000095 in its open window, less than this refund",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
