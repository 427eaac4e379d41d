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
	} {
		f := &fakeREST{answer: tt.answer}
		r := runCLI(t, f.start(t), tt.args...)
		if r.code != 0 || f.uri != tt.uri {
			t.Errorf("%v: asked %s; %+v", tt.args, f.uri, r)
		}
		wantIn(t, r.stdout, tt.want...)
	}
}
