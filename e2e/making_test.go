package e2e_test

import (
	"net/http"
	"testing"
	"time"
)

// TestBudgetMadeWhileCallsRun caps a tag while a call of it runs, and caps it anew:
// each time the budget has the call from its answer on, and what came before, and
// at the end the provider's bill.
func TestBudgetMadeWhileCallsRun(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.startRun()
	if r := g.chat("fake/m1", "late", "before", `,"max_tokens":50`); r.status != http.StatusOK {
		t.Fatalf("%d %s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	past := g.usage()["late"].nano
	end := g.running("fake", "late", "while")
	for range 2 {
		made := g.setBudget("late", 1)
		a := g.mustBudgets()["late"]
		if past == 0 || a.spent != past || a.reserved == 0 {
			t.Errorf("the new budget has spent %d and reserved %d, want %d and what the running call holds", a.spent, a.reserved, past)
		}
		// This one fits the cap, but not beside the running call.
		if r := g.chat("fake/m1", "late", "too dear", `,"max_tokens":900`); r.status != http.StatusPaymentRequired {
			t.Errorf("a call above the cap: %d %s %v", r.status, r.body, r.err)
		}
		if r := g.try(http.MethodDelete, g.rest+"/v1/budgets/"+made.ID, "", nil); r.err != nil || r.status != http.StatusOK {
			t.Fatalf("delete: %d %s %v", r.status, r.body, r.err)
		}
	}
	g.setBudget("late", 1)
	if r := end(); r.status != http.StatusOK {
		t.Errorf("the running call: %d %s %v", r.status, r.body, r.err)
	}
	g.settle(time.Minute)
	if a := g.mustBudgets()["late"]; a.reserved != 0 || a.spent <= past {
		t.Errorf("spent %d, reserved %d after the call, which was not the first", a.spent, a.reserved)
	}
	g.wantBooksEqual(t)
	g.wantBudgetsEqual(t)
}
