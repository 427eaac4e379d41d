package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type callJSON struct {
	ID, State, Tag, Model, Basis, Reason string
	RequestID                            string          `json:"request_id"`
	Lines                                []explainedLine `json:"lines"`
	Budgets                              []string
	Bound                                string `json:"bound_usd"`
	Cost                                 string `json:"cost_usd"`
	Status                               int    `json:"provider_status"`
	Latency                              *int64 `json:"latency_ms"`
	Input                                int64  `json:"input_tokens"`
	Output                               int64  `json:"output_tokens"`
	Repeats                              int64
	Refusal                              struct {
		Most *int64 `json:"max_tokens_that_fit"`
	}
}

func (g *gateway) calls(query string) []callJSON {
	g.t.Helper()
	var list struct{ Calls []callJSON }
	r := g.try(http.MethodGet, g.url+"/v1/calls?"+query, "", nil)
	if r.err != nil || r.status != http.StatusOK || json.Unmarshal(r.body, &list) != nil {
		g.t.Fatalf("GET /v1/calls?%s: %d %s %v", query, r.status, r.body, r.err)
	}
	if strings.Contains(string(r.body), "private words") {
		g.t.Errorf("a call's prompt is told: %s", r.body)
	}
	return list.Calls
}

// TestCallsAreFound finds an answered call and a refused one by their request ids,
// on the address of the clients, with the numbers that everybody else tells; the
// answered one also after the gateway was killed.
func TestCallsAreFound(t *testing.T) {
	t.Parallel()
	g := serveGateway(t)
	b := g.setBudget("found", 2)
	answered := g.chat("fake/m1", "found", "private words", `,"max_tokens":9`)
	if answered.status != http.StatusOK {
		t.Fatalf("%d %s %v", answered.status, answered.body, answered.err)
	}
	g.settle(time.Minute)
	var refused reply
	for range 3 {
		refused = g.chat("fake/m1", "found", "private words again", `,"max_tokens":50000`)
	}
	told := wantError(t, refused, http.StatusPaymentRequired, "budget_exceeded").Error.Metadata

	all := g.calls("tag=found")
	if len(all) != 2 || all[0].State != "refused" || all[1].State != "settled" {
		t.Fatalf("the calls are %+v, want the refused one and the answered one", all)
	}
	no, yes := all[0], all[1]
	if diff := cmp.Diff(refusedLines(t, told["lines"]), no.Lines); diff != "" {
		t.Errorf("the refused call's lines (-answer +found):\n%s", diff)
	}
	if no.Repeats != 2 || no.Reason != told["reason"] || no.Bound != told["bound"] || no.Refusal.Most == nil || float64(*no.Refusal.Most) != told["max_tokens_that_fit"] || no.ID != "" {
		t.Errorf("refused with %v, found as %+v", told, no)
	}
	report := g.usage()["found"]
	cost, err := nano(yes.Cost)
	if err != nil || cost != report.nano || report.requests != 1 || yes.Basis != "usage" || yes.Status != http.StatusOK || yes.Latency == nil || yes.Input == 0 || yes.Output == 0 {
		t.Errorf("the usage is %+v, the call %+v, %v", report, yes, err)
	}
	if n := len(yes.Lines); n == 0 || yes.Lines[n-1].Amount != yes.Bound || !cmp.Equal(yes.Budgets, []string{b.ID}) {
		t.Errorf("the answered call's bound: %+v", yes)
	}
	g.program.kill()
	g.startServe()
	again := g.calls("request_id=" + yes.RequestID)
	if len(again) != 1 {
		t.Fatalf("%d calls have the request id %s after a restart", len(again), yes.RequestID)
	}
	if diff := cmp.Diff(yes, again[0]); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
}
