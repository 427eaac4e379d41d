package e2e_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestStorm sends 200 calls at once at a budget that affords some of them at
// their bound, then spends the rest of it call by call.
func TestStorm(t *testing.T) {
	t.Parallel()
	g := runGateway(t)
	const calls = 200
	g.setBudget("storm", 10)
	g.setBudget("**", 1_000_000)
	watch := g.sample(t, 20*time.Millisecond)

	answers, refusals := g.storm(t, calls)
	bound := mustNano(t, answers[0].header.Get("X-Aig-Bound-Usd"))
	if want := int(mustNano(t, "0.10") / bound); len(answers) != want {
		t.Errorf("%d calls were admitted; a cap of $0.10 affords %d at a bound of %d nano-USD", len(answers), want, bound)
	}
	for _, r := range refusals {
		g.wantJustRefusal(t, r)
	}
	if got := int(g.provider["fake"].Bill().Calls); got != len(answers) {
		t.Errorf("the provider served %d calls, %d were admitted", got, len(answers))
	}
	g.settle(time.Minute)

	g.spendTheRest(t, `,"max_tokens":1000`)
	watch.end(t)
	if n := watch.missed.Load(); n > 0 {
		t.Errorf("%d reads of the budgets failed", n)
	}
	g.settle(time.Minute)
	g.wantBooksEqual(t)
	usage, budgets := g.usage()["storm"], g.mustBudgets()
	if a := budgets["storm"]; a.spent != usage.nano || a.reserved != 0 || a.spent > a.cap {
		t.Errorf("budget %+v, usage %+v: want the same, within the cap", a, usage)
	}
	if all := budgets["**"]; all.spent != usage.nano {
		t.Errorf("the budget of all tags has %d, its only tag %d", all.spent, usage.nano)
	}
}

// storm makes calls at once. Nothing is answered until everybody has been
// decided, so that every admission rests on bounds alone.
func (g *gateway) storm(t *testing.T, calls int) (answers, refusals []reply) {
	t.Helper()
	open := make(chan struct{})
	g.doors["fake"].hold(open)
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() {
			r := g.chat("fake/m1", "storm", fmt.Sprintf("call %03d fault:max", i), `,"max_tokens":50`)
			mu.Lock()
			defer mu.Unlock()
			statuses[r.status]++
			switch r.status {
			case http.StatusOK:
				answers = append(answers, r)
			case http.StatusPaymentRequired:
				refusals = append(refusals, r)
			default:
				t.Errorf("%d %s %v", r.status, r.body, r.err)
			}
		})
	}
	eventually(t, time.Minute, "every call is with the provider or refused", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return g.doors["fake"].came("storm")+len(refusals) == calls
	})
	close(open)
	all.Wait()
	if len(answers) == 0 || len(refusals) == 0 {
		t.Fatalf("statuses %v, want answers and refusals", statuses)
	}
	return answers, refusals
}

// spendTheRest calls one after the other until the cap refuses. Settled calls
// gave back what their bound had over their cost, so some must be admitted.
func (g *gateway) spendTheRest(t *testing.T, more string) {
	t.Helper()
	for n := range 1000 {
		r := g.chat("fake/m1", "storm", "one more fault:max", more)
		if r.status == http.StatusOK {
			g.settle(time.Minute)
			continue
		}
		if r.status != http.StatusPaymentRequired {
			t.Fatalf("%d %s %v", r.status, r.body, r.err)
		}
		if n == 0 {
			t.Error("no further call was admitted after the others had settled")
		}
		g.wantJustRefusal(t, r)
		return
	}
	t.Error("the cap never refused")
}

// wantJustRefusal checks a 402's own numbers: it may not refuse what fits.
func (g *gateway) wantJustRefusal(t *testing.T, r reply) {
	t.Helper()
	e := wantError(t, r, http.StatusPaymentRequired, "budget_exceeded")
	amount := func(name string) int64 {
		text, ok := e.Error.Metadata[name].(string)
		if !ok {
			t.Fatalf("metadata.%s is missing: %s", name, r.body)
		}
		return mustNano(t, text)
	}
	if amount("spent")+amount("reserved")+amount("bound") <= amount("cap") {
		t.Errorf("refused although it fits: %s", r.body)
	}
	if amount("spent")+amount("reserved") > amount("cap") {
		t.Errorf("over the cap: %s", r.body)
	}
	if got := r.header.Get("X-Should-Retry"); got != "false" {
		t.Errorf("x-should-retry is %q, want false", got)
	}
}
