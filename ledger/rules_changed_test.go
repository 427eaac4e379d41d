package ledger

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
)

// TestChangedRules: what changed since the rules in force leaves all others as they are,
// over a restart, too; what changed since others is refused.
func TestChangedRules(t *testing.T) {
	f := newFleet(t, 1, 100, 200, 300)
	has := func() string {
		t.Helper()
		budgets, err := f.ledgers[0].ListBudgets("", 10)
		if err != nil {
			t.Fatal(err)
		}
		keys, err := f.ledgers[0].ListKeys("", 10)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, b := range budgets {
			out = append(out, fmt.Sprint(b.ID, "=", int64(b.Cap)))
		}
		for _, k := range keys {
			out = append(out, k.ID)
		}
		return strings.Join(out, " ")
	}
	key := func(n byte) budget.SharedKey {
		return budget.SharedKey{Key: budget.Key{ID: fmt.Sprint("key_", n), Name: "k", Scopes: []budget.Scope{budget.ScopeInference}, CreateTime: time.Unix(1, 0)}, Hash: [32]byte{n}}
	}
	cut, renewed := f.rules.Budgets[0], f.rules.Budgets[1]
	cut.Cap, cut.UpdateTime = 50, time.Unix(2, 0)
	renewed.ID, renewed.Cap = "bud_9", 400 // of the target of one that goes
	f.store.budgets["bud_9"] = 400
	for _, c := range []struct {
		rules budget.Rules
		want  string
	}{
		{budget.Rules{Version: 2, Since: 1, Budgets: []budget.SharedBudget{cut}}, "bud_0=50 bud_1=200 bud_2=300"},
		{budget.Rules{Version: 5, Since: 2, Keys: []budget.SharedKey{key(1), key(2)}}, "bud_0=50 bud_1=200 bud_2=300 key_1 key_2"},
		{budget.Rules{Version: 6, Since: 5, Gone: []string{"bud_1", "key_1", "never"}, Budgets: []budget.SharedBudget{renewed}}, "bud_0=50 bud_2=300 bud_9=400 key_2"},
		{budget.Rules{Version: 7, Since: 6}, "bud_0=50 bud_2=300 bud_9=400 key_2"},
	} {
		if err := f.ledgers[0].ApplyRules(t.Context(), c.rules); err != nil {
			t.Fatal(err)
		}
		if got := has(); got != c.want || f.ledgers[0].AppliedVersion() != c.rules.Version {
			t.Errorf("version %d has %s, want %s", f.ledgers[0].AppliedVersion(), got, c.want)
		}
	}
	if err := f.ledgers[0].ApplyRules(t.Context(), budget.Rules{Version: 9, Since: 6, Gone: []string{"bud_0"}}); err == nil || !strings.Contains(err.Error(), "does not follow version 7") {
		t.Errorf("what changed since another version: %v", err)
	}
	before := has()
	if err := f.ledgers[0].Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.rules = budget.Rules{Version: 7, Since: 7}
	f.open(0)
	if got := has(); got != before {
		t.Errorf("after a restart: %s, want %s", got, before)
	}
	if err := f.ledgers[0].ApplyRules(t.Context(), budget.Rules{Version: 8, Budgets: []budget.SharedBudget{cut}}); err != nil || has() != "bud_0=50" {
		t.Errorf("all rules again: %s, %v", has(), err)
	}
}
