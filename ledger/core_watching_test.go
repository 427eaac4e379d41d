package ledger_test

import (
	"testing"

	"aigateway/budget"
)

// TestDefaults: the smallest default of the budgets that watch a call
// counts, whatever they watch it by, and it outlives a restart.
func TestDefaults(t *testing.T) {
	b := start(t)
	set := func(target budget.Target, period budget.Period, tokens int64) budget.Status {
		t.Helper()
		st, err := b.SetBudget(t.Context(), budget.Budget{Target: target, Period: period, Cap: budget.Dollar, Defaults: budget.Defaults{DefaultMaxTokens: tokens, DefaultMaxToolCalls: tokens / 100}}, budget.Author{Actor: "root"})
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	set(budget.Target{Tags: budget.AllTags}, budget.Total, 0) // says nothing
	subtree := set(budget.Target{Tags: "team/**"}, budget.Day, 900)
	set(budget.Target{Tags: "team/a/**"}, budget.Day, 700)
	set(budget.Target{Tags: "team/a/x"}, budget.Day, 800)
	set(budget.Target{Tags: "team/a/x"}, budget.Month, 600)
	set(budget.Target{KeyID: "key_1"}, budget.Day, 500)
	k, _, err := b.CreateKey(t.Context(), budget.Key{Name: "k", Scopes: []budget.Scope{budget.ScopeInference}, Defaults: budget.Defaults{DefaultMaxTokens: 77, DefaultMaxToolCalls: 7}}, budget.Author{Actor: "root"})
	if err != nil {
		t.Fatal(err)
	}
	want := func(tag budget.Tag, key string, tokens int64) {
		t.Helper()
		if !b.Watched(tag, key) { // by the budget on all tags, if by no other
			t.Errorf("Watched(%q, %q) is false", tag, key)
		}
		if got := b.Defaults(tag, key); got.DefaultMaxTokens != tokens || got.DefaultMaxToolCalls != tokens/100 {
			t.Errorf("Defaults(%q, %q) = %+v, want %d", tag, key, got, tokens)
		}
	}
	for range 2 { // the second time after a restart
		want("other", "key_2", 0)
		want("team", "key_2", 900)
		want("teamx", "key_2", 0)
		want("team/b", "key_2", 900)
		want("team/a", "key_2", 700)
		want("team/a/x", "key_2", 600)
		want("team/a/x/y", "key_2", 700)
		want("other", "key_1", 500)
		want("team/a/x", "key_1", 500)
		if got, err := b.GetKey(k.ID); err != nil || got.DefaultMaxTokens != 77 || got.DefaultMaxToolCalls != 7 {
			t.Errorf("the key has %+v, %v", got.Defaults, err)
		}
		b.shut()
		b = reopen(t, b.dir, b.clock)
	}
	st, err := b.UpdateBudget(t.Context(), subtree.ID, "", func(b *budget.Budget) error { b.Defaults = budget.Defaults{}; return nil }, budget.Author{Actor: "root"})
	if err != nil || st.Defaults != (budget.Defaults{}) || st.Cap != subtree.Cap {
		t.Fatalf("%+v, %v", st, err)
	}
	want("team/b", "key_2", 0)
}

// TestTightest: of the budgets that watch a call, the one with the least left,
// whatever it watches the call by; the others say nothing.
func TestTightest(t *testing.T) {
	b := start(t)
	if st, ok := b.Tightest(t.Context(), "team/a", "key_1"); ok {
		t.Errorf("without a budget: %+v", st)
	}
	ids := map[string]string{}
	for name, set := range map[string]budget.Budget{
		"all":   {Target: budget.Target{Tags: budget.AllTags}, Cap: 9 * budget.Dollar},
		"tree":  {Target: budget.Target{Tags: "team/**"}, Cap: 5 * budget.Dollar},
		"exact": {Target: budget.Target{Tags: "team/a"}, Cap: 3 * budget.Dollar},
		"key":   {Target: budget.Target{KeyID: "key_1"}, Cap: 4 * budget.Dollar},
		"other": {Target: budget.Target{Tags: "other"}, Cap: budget.Cent},
		"their": {Target: budget.Target{KeyID: "key_2"}, Cap: budget.Cent},
	} {
		set.Period = budget.Day
		st, err := b.SetBudget(t.Context(), set, budget.Author{Actor: "root"})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = st.ID
	}
	want := func(tag budget.Tag, key, name string, left budget.Amount) {
		t.Helper()
		if st, ok := b.Tightest(t.Context(), tag, key); !ok || st.ID != ids[name] || st.Remaining() != left {
			t.Errorf("Tightest(%q, %q) = %s with %v left, %v; want %s (%s) with %v", tag, key, st.ID, st.Remaining(), ok, name, ids[name], left)
		}
	}
	want("team/a", "key_1", "exact", 3*budget.Dollar)
	want("team/b", "key_1", "key", 4*budget.Dollar)
	want("team/b", "key_9", "tree", 5*budget.Dollar)
	want("elsewhere", "key_9", "all", 9*budget.Dollar)
	if _, err := b.Reserve(t.Context(), budget.Request{RequestID: "r", Attribution: budget.Attribution{Tag: "team/b", KeyID: "key_9"}, Bound: 2 * budget.Dollar}); err != nil {
		t.Fatal(err)
	}
	want("team/a", "key_9", "exact", 3*budget.Dollar)
	want("team/b", "key_1", "tree", 3*budget.Dollar) // what is held is not left
}

func TestDefaultsAreChecked(t *testing.T) {
	b := start(t)
	for field, wrong := range map[string][]budget.Defaults{
		"default_max_tokens":     {{DefaultMaxTokens: -1}, {DefaultMaxTokens: budget.MaxDefaultTokens + 1}},
		"default_max_tool_calls": {{DefaultMaxToolCalls: -1}, {DefaultMaxToolCalls: budget.MaxDefaultToolCalls + 1}},
	} {
		for _, d := range wrong {
			_, err := b.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Day, Defaults: d}, budget.Author{Actor: "root"})
			if e := asError(t, err); e.Field != field {
				t.Errorf("a budget with %+v: %v", d, err)
			}
			_, _, err = b.CreateKey(t.Context(), budget.Key{Name: "k", Scopes: []budget.Scope{budget.ScopeInference}, Defaults: d}, budget.Author{Actor: "root"})
			if e := asError(t, err); e.Field != field {
				t.Errorf("a key with %+v: %v", d, err)
			}
		}
	}
}
