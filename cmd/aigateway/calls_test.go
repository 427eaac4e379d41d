package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const settledCall = `{"id":"42","request_id":"0b1c","state":"settled","key_id":"key_3","tag":"summarize","model":"moonshot/kimi-k2.6","provider":"moonshot","decide_time":"2026-04-01T10:00:00Z",
"bound_usd":"0.3225","unpriced":false,"lines":[{"label":"input","quantity":1200,"unit":"tokens","pico_usd_per_unit":950000,"amount_usd":"0.00114","note":"at the input price"},
{"label":"bound","quantity":1,"unit":"request","pico_usd_per_unit":0,"amount_usd":"0.3225","note":""}],"budgets":["bud_1","bud_7"],"end_time":"2026-04-01T10:00:02Z","latency_ms":2000,"provider_status":200,
"cost_usd":"0.0021","basis":"usage","input_tokens":300,"cache_read_tokens":20,"cache_write_tokens":0,"output_tokens":45,"served_model":"","reason":"","repeats":0}`

const refusedCall = `{"id":"","request_id":"0c1d","state":"refused","key_id":"key_3","tag":"summarize","model":"moonshot/kimi-k2.6","provider":"moonshot","decide_time":"2026-04-01T10:01:00Z",
"bound_usd":"0.3225","unpriced":false,"lines":[],"budgets":["bud_1"],"basis":"","input_tokens":0,"cache_read_tokens":0,"cache_write_tokens":0,"output_tokens":0,"served_model":"",
"reason":"cap_would_be_crossed","refusal":{"cap_usd":"1.00","spent_usd":"0.90","reserved_usd":"0.02","remaining_usd":"0.08","max_tokens_that_fit":1200,"resets_at":"2026-05-01T00:00:00Z"},"repeats":7}`

func TestCallsList(t *testing.T) {
	f := &fakeREST{answer: `{"calls":[` + refusedCall + `,` + settledCall + `],"next_page_token":"","cursor":"c"}`}
	env := f.start(t)
	for _, format := range []string{"table", "csv"} {
		r := runCLI(t, env, "calls", "list", "-o", format, "--tag", "summarize", "--key", "key_3", "--model", "moonshot/kimi-k2.6", "--since", "2026-04", "--state", "settled", "--limit", "7")
		if want := "/v1/calls?key=key_3&model=moonshot%2Fkimi-k2.6&page_size=7&since=2026-04&state=settled&tag=summarize"; r.code != 0 || f.uri != want {
			t.Fatalf("%s: asked %s; %+v", format, f.uri, r)
		}
		golden(t, "calls."+format+".golden", r.stdout)
	}
	f.answer = `{"calls":[],"next_page_token":"","cursor":"c"}`
	if r := runCLI(t, env, "calls", "list"); r.code != 0 || !strings.Contains(r.stderr, "no calls") {
		t.Errorf("%+v", r)
	}
	if r := runCLI(t, env, "calls", "show", "nobody"); r.code == 0 || !strings.Contains(r.stderr, `"nobody"`) {
		t.Errorf("%+v", r)
	}
}

func TestCallsShow(t *testing.T) {
	for name, call := range map[string]string{"calls_show.table.golden": settledCall, "calls_show_refused.table.golden": refusedCall} {
		f := &fakeREST{answer: `{"calls":[` + call + `],"next_page_token":"","cursor":"c"}`}
		r := runCLI(t, f.start(t), "calls", "show", "0b1c")
		if r.code != 0 || f.uri != "/v1/calls?page_size=1&request_id=0b1c" {
			t.Fatalf("asked %s; %+v", f.uri, r)
		}
		golden(t, name, r.stdout)
	}
}

// TestCallsTail follows until the server fails: each call once, in order.
func TestCallsTail(t *testing.T) {
	asked := []string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		w.Header().Set("Content-Type", "application/json")
		running := strings.Replace(settledCall, `"settled"`, `"running"`, 1)
		switch len(asked) {
		case 1:
			fmt.Fprint(w, `{"calls":[`+running+`,`+refusedCall+`],"next_page_token":"","cursor":"one"}`)
		case 2:
			fmt.Fprint(w, `{"calls":[`+settledCall+`],"next_page_token":"","cursor":"two"}`)
		case 3:
			fmt.Fprint(w, `{"calls":[],"next_page_token":"","cursor":"two"}`)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":{"message":"it is over","type":"service_unavailable","code":503,"metadata":{"reason":"ledger_closed"}}}`)
		}
	}))
	defer s.Close()
	r := runCLI(t, map[string]string{envServer: s.URL, envAPIKey: "sk-aig-x"}, "calls", "tail", "--tag", "summarize")
	want := "2026-04-01T10:01:00Z  refused  summarize  moonshot/kimi-k2.6  cap_would_be_crossed (7 more)  0c1d\n" +
		"2026-04-01T10:00:00Z  settled  summarize  moonshot/kimi-k2.6  cost $0.0021 by usage  status 200  2000 ms  0b1c\n"
	if r.code == 0 || r.stdout != want || !strings.Contains(r.stderr, "it is over") {
		t.Errorf("%+v\nwant %s", r, want)
	}
	if got := strings.Join(asked, " "); got != "page_size=10&tag=summarize after=one&page_size=500&tag=summarize after=two&page_size=500&tag=summarize after=two&page_size=500&tag=summarize" {
		t.Errorf("asked %s", got)
	}
}
