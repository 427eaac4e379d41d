package adminapi_test

import (
	"fmt"
	"testing"

	"aigateway/budget"
)

type seen = map[string]any

// tree asks for a level of the tree, and shows of budgets their ids.
func (w *world) tree(key, query string) (parent any, nodes []any, all seen) {
	w.t.Helper()
	show := func(n seen) seen {
		out := seen{}
		for _, name := range []string{"tag", "requests", "cost_usd", "own_cost_usd", "tags_below", "budgets_below", "full_below"} {
			out[name] = n[name]
		}
		ids := []any{}
		for _, b := range n["budgets"].([]any) {
			ids = append(ids, b.(seen)["id"])
		}
		out["budgets"] = ids
		return out
	}
	all = w.ok(w.do(key, "GET", "/v1/usage/tree"+query, ""), "GET /v1/usage/tree").(seen)
	nodes = []any{}
	for _, n := range all["nodes"].([]any) {
		nodes = append(nodes, show(n.(seen)))
	}
	return show(all["parent"].(seen)), nodes, all
}

// TestTagTree adds up what is below each tag, and shows each budget once: at its tag, or
// counted above it.
func TestTagTree(t *testing.T) {
	w := newWorld(t)
	status := func(id string, target budget.Target, spent budget.Amount) budget.Status {
		return budget.Status{Budget: budget.Budget{ID: id, Target: target, Period: budget.Month, Cap: 10 * budget.Dollar}, Window: aprilWindow, Spent: spent}
	}
	w.store.budgets = []budget.Status{
		status("bud_1", budget.Target{Tags: "**"}, 0), status("bud_2", budget.Target{Tags: "team/**"}, 0), status("bud_3", budget.Target{Tags: "team"}, 0),
		status("bud_4", budget.Target{Tags: "team/a/x"}, 10*budget.Dollar), status("bud_5", budget.Target{Tags: "idle/deep"}, 0), status("bud_6", budget.Target{KeyID: "key_c"}, 0),
	}
	for tag, cost := range map[budget.Tag]budget.Amount{"team": 1, "team/a": 2, "team/a/x": 4, "team/b": 8, "teammate": 16} {
		w.store.rows = append(w.store.rows, budget.UsageRow{Attribution: budget.Attribution{Tag: tag}, Time: instant, Requests: 1, Cost: cost * budget.Dollar})
	}
	parent, nodes, all := w.tree(reporter, "")
	wantJSON(t, parent, `{"tag":"","requests":5,"cost_usd":"31.00","own_cost_usd":"0.00","tags_below":6,"budgets":["bud_1"],"budgets_below":4,"full_below":1}`)
	wantJSON(t, nodes, `[{"tag":"teammate","requests":1,"cost_usd":"16.00","own_cost_usd":"16.00","tags_below":0,"budgets":[],"budgets_below":0,"full_below":0},
		{"tag":"team","requests":4,"cost_usd":"15.00","own_cost_usd":"1.00","tags_below":3,"budgets":["bud_2","bud_3"],"budgets_below":1,"full_below":1},
		{"tag":"idle","requests":0,"cost_usd":"0.00","own_cost_usd":"0.00","tags_below":1,"budgets":[],"budgets_below":1,"full_below":0}]`)
	if fmt.Sprint(all["node_count"]) != "3" || all["from"] != "2026-04-01T00:00:00Z" || len(all["key_budgets"].([]any)) != 1 {
		t.Errorf("%v", all)
	}
	parent, nodes, all = w.tree(reporter, "?parent=team&limit=1&month=2026-04")
	wantJSON(t, parent, `{"tag":"team","requests":4,"cost_usd":"15.00","own_cost_usd":"1.00","tags_below":3,"budgets":["bud_2","bud_3"],"budgets_below":1,"full_below":1}`)
	wantJSON(t, nodes, `[{"tag":"team/b","requests":1,"cost_usd":"8.00","own_cost_usd":"8.00","tags_below":0,"budgets":[],"budgets_below":0,"full_below":0}]`)
	if fmt.Sprint(all["node_count"]) != "2" || len(all["key_budgets"].([]any)) != 0 {
		t.Errorf("%v", all)
	}
	// A key of some tags sees the way to them, with what is theirs.
	parent, nodes, _ = w.tree(teamA, "?parent=team")
	wantJSON(t, parent, `{"tag":"team","requests":2,"cost_usd":"6.00","own_cost_usd":"0.00","tags_below":2,"budgets":[],"budgets_below":1,"full_below":1}`)
	wantJSON(t, nodes, `[{"tag":"team/a","requests":2,"cost_usd":"6.00","own_cost_usd":"2.00","tags_below":1,"budgets":[],"budgets_below":1,"full_below":1}]`)
	if _, nodes, _ = w.tree(teamA, "?parent=idle"); len(nodes) != 0 {
		t.Errorf("a key sees tags of others: %v", nodes)
	}
}

// TestTagTreeOfOddTags has each somewhere, once, and refuses what is no parent.
func TestTagTreeOfOddTags(t *testing.T) {
	w := newWorld(t)
	for _, tag := range []budget.Tag{"/", "/x/y", "a/", "a//b", "a"} {
		w.store.rows = append(w.store.rows, budget.UsageRow{Attribution: budget.Attribution{Tag: tag}, Time: instant, Requests: 1, Cost: budget.Dollar})
	}
	for parent, want := range map[string]string{"": "map[/:1.00 /x:1.00 a:3.00] of 5.00", "?parent=a": "map[a/:1.00 a//b:1.00] of 3.00", "?parent=/x": "map[/x/y:1.00] of 1.00"} {
		p, nodes, _ := w.tree(reporter, parent)
		costs := map[any]any{}
		for _, n := range nodes {
			costs[n.(seen)["tag"]] = n.(seen)["cost_usd"]
		}
		if got := fmt.Sprint(costs, " of ", p.(seen)["cost_usd"]); got != want {
			t.Errorf("%s: %s, want %s", parent, got, want)
		}
	}
	w.wantError(w.do(reporter, "GET", "/v1/usage/tree?parent=team/**", ""), 400, "tag_invalid", "parent")
	w.wantError(w.do(reporter, "GET", "/v1/usage/tree?parent=a*", ""), 400, "tag_invalid", "parent")
	w.wantError(w.do(reporter, "GET", "/v1/usage/tree?limit=0", ""), 400, "field_invalid", "limit")
	w.wantError(w.do(reporter, "GET", "/v1/usage/tree?month=April", ""), 400, "field_invalid", "month")
	w.wantError(w.do(finance, "GET", "/v1/usage/tree", ""), 403, "scope_missing", "")
}
