package main

import "testing"

func TestBudgetHistoryCommands(t *testing.T) {
	for _, tt := range []struct {
		args        []string
		answer, uri string
		want        []string
	}{
		{[]string{"budgets", "windows", "bud_7"}, `{"windows":[{"start":"2026-04-01T00:00:00Z","end":"2026-05-01T00:00:00Z","running":true,"cap":"500.00","spent":"42.0965","refused_calls":12,"distinct_calls":3,"kept":"1.25"}],"next_page_token":""}`,
			"/v1/budgets/bud_7/windows?page_size=500", []string{"2026-04-01T00:00:00Z", "runs until 2026-05-01T00:00:00Z", "500.00", "42.0965", "12", "3", "1.25"}},
		{[]string{"budgets", "changes", "bud_7"}, `{"changes":[{"id":"9","create_time":"2026-04-02T00:00:00Z","actor":"key_3","action":"update_budget","reason":"launch","before":{"cap":"1.00","time_zone":"UTC"},"after":{"cap":"500.00","time_zone":"UTC"}}],"next_page_token":""}`,
			"/v1/budgets/bud_7/changes?page_size=500", []string{"key_3", "update_budget", "1.00", "500.00", "launch"}},
		{[]string{"overview"}, `{"from":"a","to":"b","time_zone":"UTC","spent":"412.10","reserved":"1.5","running_calls":2,"projected":"900.00","method":"straight_line","refused_calls":12,"distinct_calls":3,"kept":"7.00","cap":"2000.00","budgets":5,"budgets_full":1,"budgets_filling":3,"next_full_at":"2026-04-29T00:00:00Z"}`,
			"/v1/overview", []string{"412.10", "1.5", "900.00", "2000.00", "7.00", "2026-04-29T00:00:00Z"}},
		{[]string{"refusals", "--from", "2026-04", "--budget", "bud_7"}, `{"from":"a","to":"b","time_zone":"UTC","rows":[{"budget_id":"bud_7","reason":"cap_held","calls":12,"distinct_calls":3,"kept":"7.00"}],"reasons":[],"total":{"reason":"","calls":12,"distinct_calls":3,"kept":"7.00"}}`,
			"/v1/refusals?budget_id=bud_7&from=2026-04", []string{"bud_7", "cap_held", "12", "7.00"}},
		{[]string{"usage", "tree", "--parent", "team", "--month", "2026-04"}, `{"from":"a","to":"b","time_zone":"UTC","parent":{"tag":"team","requests":5,"cost_usd":"31.00","own_cost_usd":"1.00","tags_below":6,"budgets":[],"budgets_below":4,"full_below":1},"nodes":[{"tag":"team/a","requests":4,"cost_usd":"15.00","own_cost_usd":"2.00","tags_below":0,"budgets":[{"id":"bud_7"}],"budgets_below":0,"full_below":0}],"node_count":1,"key_budgets":[]}`,
			"/v1/usage/tree?month=2026-04&parent=team", []string{"team", "5", "31.00", "1.00", "6", "4", "team/a", "15.00"}},
		{[]string{"health"}, `{"ready":false,"conditions":[{"name":"ledger","ready":false,"message":"disk full","warning":""},{"name":"envoy","ready":true,"message":"","warning":"slow"}],"providers":[{"provider":"openai","calls":4,"faults":1,"mean_ms":250,"last_fault":"timeout"}],"unpriced_models":[{"model":"x/y","calls":2}],"catalog_version":"c0ffee","prices_checked_at":"2026-04-13T00:00:00Z","prices_age_days":2,"clock_ahead_ms":20,"database_bytes":10,"disk_free_bytes":20,"disk_full_days":30}`,
			"/v1/health", []string{"gateway", "fails", "disk full", "warns", "slow", "provider openai", "4 calls lately, 1 failed, 250 ms on average, the last failure timeout", "x/y", "2 calls without a price", "c0ffee, checked 2 days ago", "20 ms", "for 30 days"}},
		{[]string{"health", "-o", "csv"}, `{"ready":true,"conditions":[],"providers":[],"unpriced_models":[],"catalog_version":"c0ffee","prices_age_days":0,"clock_ahead_ms":0,"database_bytes":10,"disk_free_bytes":20,"disk_full_days":3651,"replicas":[` +
			`{"id":"rep_1","name":"a","state":"live","usage_time":"2026-04-15T10:07:00Z","usage_lag_ms":900,"leased":"0.50","rules_version":7,"health":{"ready":true}},` +
			`{"id":"rep_2","name":"b","state":"live","leased":"0.00","rules_version":6,"rules_behind":1},{"id":"rep_3","name":"c","state":"silent","leased":"0.00"},` +
			`{"id":"rep_4","name":"d","state":"left","leased":"0.00"},{"id":"rep_5","name":"e","state":"","leased":"0.00"}]}`,
			"/v1/health", []string{`replica a,works,"live, holds 0.50 USD, its usage is 900 ms old, obeys version 7 of budgets and keys"`,
				`replica b,no answer,"live, holds 0.00 USD, has told no usage yet, obeys version 6 of budgets and keys, 1 behind"`, "replica c,silent,", `replica d,,"left, `, "replica e,no answer,nobody knows more of it now",
				"never checked, as far as is known", "for ten years and more"}},
		{[]string{"books"}, `{"head":"42:9f86d0","checked_at":"2026-04-15T10:07:00Z","mismatches":1,"corrections":[{"subject":"a","amount":"-0.01","reason":"credit","actor":"key_c"}]}`,
			"/v1/books", []string{"42:9f86d0", "2026-04-15T10:07:00Z", "1"}},
		{[]string{"bills", "--month", "2026-04"}, `{"month":"2026-04","time_zone":"UTC","rows":[{"provider":"openai","day":"2026-04-02","billed_usd":"9.50","recorded_usd":"8.00","difference_usd":"1.50","corrected_usd":"1.00","open_usd":"0.50","actor":"admin"}],"providers":[{"provider":"openai","day":"","billed_usd":"9.50","recorded_usd":"8.00","difference_usd":"1.50","corrected_usd":"1.00","open_usd":"0.50","actor":"admin"}],"months":["2026-04"]}`,
			"/v1/bills?month=2026-04", []string{"openai", "2026-04-02", "9.50", "8.00", "1.50", "1.00", "0.50", "all"}},
	} {
		f := &fakeREST{answer: tt.answer}
		r := runCLI(t, f.start(t), tt.args...)
		if r.code != 0 || f.uri != tt.uri {
			t.Errorf("%v: asked %s; %+v", tt.args, f.uri, r)
		}
		wantIn(t, r.stdout, tt.want...)
	}
}
