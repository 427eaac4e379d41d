package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const budgetJSON = `{"id":"bud_7","tag":"summarize","period":"month","monthly_cap_cents":50000,"time_zone":"UTC","default_max_tokens":4096,"default_max_tool_calls":5,
"cap_cents":50000,"spent_cents":4210,"reserved_cents":33,"remaining_cents":45757,
"cap":"500.00","spent":"42.0965","reserved":"0.3225","remaining":"457.581",
"window_start":"2026-04-01T00:00:00Z","resets_at":"2026-05-01T00:00:00Z","etag":"abc",
"create_time":"2026-03-01T00:00:00Z","update_time":"2026-03-01T00:00:00Z"}`

const totalBudgetJSON = `{"id":"bud_12","key_id":"key_3","period":"total","total_cap_cents":1000000,"time_zone":"",
"cap_cents":1000000,"spent_cents":0,"reserved_cents":0,"remaining_cents":1000000,
"cap":"10000.00","spent":"0.00","reserved":"0.00","remaining":"10000.00","etag":"d","create_time":"2026-03-01T00:00:00Z"}`

func TestBudgetsList(t *testing.T) {
	f := &fakeREST{answer: `{"budgets":[` + budgetJSON + "," + totalBudgetJSON + `],"next_page_token":""}`}
	env := f.start(t)
	for _, format := range []string{"table", "json", "yaml", "csv"} {
		r := runCLI(t, env, "budgets", "list", "-o", format)
		if r.code != 0 || r.stderr != "" {
			t.Fatalf("%s: %+v", format, r)
		}
		golden(t, "budgets."+format+".golden", r.stdout)
	}
	if f.auth != "Bearer "+testKey {
		t.Errorf("authorization %q", f.auth)
	}
	runCLI(t, env, "budgets", "list", "--tag", "a&b=c/**", "--key", "key_1")
	if want := "/v1/budgets?key_id=key_1&page_size=500&tag=a%26b%3Dc%2F%2A%2A"; f.uri != want {
		t.Errorf("asked %s, want %s", f.uri, want)
	}
}

func TestBudgetsListEmpty(t *testing.T) {
	f := &fakeREST{answer: `{"budgets":[],"next_page_token":""}`}
	env := f.start(t)
	for format, want := range map[string]string{"table": "", "json": "[]\n", "yaml": "[]\n",
		"csv": "id,tag,key_id,period,cap_usd,spent_usd,reserved_usd,remaining_usd,resets_at,time_zone,default_max_tokens,default_max_tool_calls\n"} {
		r := runCLI(t, env, "budgets", "list", "-o", format)
		if r.code != 0 || r.stdout != want || !strings.Contains(r.stderr, "no budgets") {
			t.Errorf("%s: %+v", format, r)
		}
	}
}

func TestBudgetsSet(t *testing.T) {
	for _, tc := range []struct{ name, args, body string }{
		{"monthly", "--tag summarize --monthly 500.00", `{"monthly_cap_cents":50000,"tag":"summarize"}`},
		{"daily in a zone", "--tag team/a/** --daily 20 --time-zone Europe/Berlin", `{"daily_cap_cents":2000,"tag":"team/a/**","time_zone":"Europe/Berlin"}`},
		{"with a default output cap", "--tag a --daily 1 --default-max-tokens 4096", `{"daily_cap_cents":100,"default_max_tokens":4096,"tag":"a"}`},
		{"with a default of tool calls", "--tag a --daily 1 --default-max-tool-calls 5", `{"daily_cap_cents":100,"default_max_tool_calls":5,"tag":"a"}`},
		{"weekly zero", "--tag ** --weekly 0", `{"tag":"**","weekly_cap_cents":0}`},
		{"key for ever", "--key key_3 --total 0.01", `{"key_id":"key_3","total_cap_cents":1}`},
		{"the largest", "--tag a --total 4611686018.42", `{"tag":"a","total_cap_cents":461168601842}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := &fakeREST{answer: budgetJSON}
			r := runCLI(t, f.start(t), append([]string{"budgets", "set"}, strings.Fields(tc.args)...)...)
			if r.code != 0 || !strings.Contains(r.stdout, "bud_7  summarize") {
				t.Errorf("%+v", r)
			}
			if f.method+" "+f.uri != "POST /v1/budgets" {
				t.Errorf("asked %s %s", f.method, f.uri)
			}
			if diff := cmp.Diff(tc.body, f.body); diff != "" {
				t.Errorf("body -want +got:\n%s", diff)
			}
		})
	}
}

func TestBudgetsSetNotesWhenNothingIsLeft(t *testing.T) {
	f := &fakeREST{answer: strings.Replace(budgetJSON, `"remaining_cents":45757`, `"remaining_cents":0`, 1)}
	r := runCLI(t, f.start(t), "budgets", "set", "--tag", "summarize", "--monthly", "42")
	if r.code != 0 || !strings.Contains(r.stderr, "calls are refused until 2026-05-01T00:00:00Z") {
		t.Errorf("%+v", r)
	}
}

func TestBudgetsGetAndDelete(t *testing.T) {
	f := &fakeREST{answer: budgetJSON}
	env := f.start(t)
	if r := runCLI(t, env, "budgets", "get", "bud_7", "-o", "json"); r.code != 0 || !strings.Contains(r.stdout, `"spent": "42.0965"`) {
		t.Errorf("%+v", r)
	}
	if f.method+f.uri != "GET/v1/budgets/bud_7" {
		t.Errorf("asked %s %s", f.method, f.uri)
	}
	f.answer = "{}"
	if r := runCLI(t, env, "budgets", "delete", "bud_7", "--etag", "a b"); r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "deleted bud_7") {
		t.Errorf("%+v", r)
	}
	if f.method+f.uri != "DELETE/v1/budgets/bud_7?etag=a+b" {
		t.Errorf("asked %s %s", f.method, f.uri)
	}
	f.status, f.answer = 404, `{"error":{"message":"no budget bud_9","type":"not_found","code":404,"metadata":{"reason":"budget_unknown"}}}`
	wantError(t, runCLI(t, env, "budgets", "get", "bud_9"), exitError, "no budget bud_9 (budget_unknown, HTTP 404)", "`aigateway budgets list` shows the ids")
}

// Every change takes a reason for the audit log.
func TestReasons(t *testing.T) {
	for args, want := range map[string]string{
		"budgets set --tag a --monthly 1 --reason agreed": "/v1/budgets?reason=agreed",
		"budgets delete bud_7 --reason over":              "/v1/budgets/bud_7?reason=over",
		"keys create --name ci --reason ci":               "/v1/keys?reason=ci",
		"keys delete key_3 --reason leaked":               "/v1/keys/key_3?reason=leaked",
	} {
		f := &fakeREST{answer: `{}`}
		if r := runCLI(t, f.start(t), strings.Fields(args)...); r.code != 0 || f.uri != want {
			t.Errorf("%s asked %s, want %s: %+v", args, f.uri, want, r)
		}
	}
}
