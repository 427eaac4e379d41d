package adminapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
)

// requestIDsOf are the request ids in an answer of GET /v1/calls, and the token of
// the next page.
func requestIDsOf(t *testing.T, answer any) (ids []string, next string) {
	t.Helper()
	m := answer.(map[string]any)
	for _, c := range m["calls"].([]any) {
		ids = append(ids, c.(map[string]any)["request_id"].(string))
	}
	next, _ = m["next_page_token"].(string)
	return ids, next
}

// TestListCalls merges admitted and refused calls by time, in pages of any size,
// filtered, for keys that may see all tags or some.
func TestListCalls(t *testing.T) {
	w := newWorld(t)
	call := func(id uint64, minute int, tag budget.Tag, state budget.CallState) budget.Call {
		return budget.Call{ID: budget.ReservationID(id), RequestID: fmt.Sprintf("%s-%d", state, id), State: state, DecidedAt: instant.Add(time.Duration(minute) * time.Minute),
			Attribution: budget.Attribution{KeyID: "key_a", Tag: tag, Model: "moonshot/kimi-k2.6", Provider: "moonshot"}}
	}
	w.store.calls = []budget.Call{
		call(9, 60, "team/a/x", budget.CallRunning), call(8, 50, "other", budget.CallSettled), call(7, 40, "shared", budget.CallSettled), call(5, 10, "team/b", budget.CallExpired),
		call(103, 55, "team/a/x", budget.CallRefused), call(102, 45, "other", budget.CallRefused), call(101, 45, "shared", budget.CallRefused), call(100, 5, "", budget.CallRefused),
	}
	all := "running-9 refused-103 settled-8 refused-102 refused-101 settled-7 expired-5 refused-100"
	for size := 1; size <= 9; size++ {
		var got []string
		for token := ""; ; {
			query := url.Values{"page_size": {fmt.Sprint(size)}}
			if token != "" {
				query.Set("page_token", token)
			}
			ids, next := requestIDsOf(t, w.ok(w.do(reporter, "GET", "/v1/calls?"+query.Encode(), ""), "GET /v1/calls"))
			if got = append(got, ids...); next == "" {
				break
			}
			if next == token || len(ids) > size {
				t.Fatalf("pages of %d: %v and the same token again", size, ids)
			}
			token = next
		}
		if text := strings.Join(got, " "); text != all {
			t.Errorf("pages of %d: %s\nwant %s", size, text, all)
		}
	}
	for query, want := range map[string]string{
		"state=refused":              "refused-103 refused-102 refused-101 refused-100",
		"state=settled":              "settled-8 settled-7",
		"tag=other":                  "settled-8 refused-102",
		"tag=team/**":                "running-9 refused-103 expired-5",
		"request_id=refused-101":     "refused-101",
		"key=key_b":                  "",
		"model=openai/gpt-5.5":       "",
		"since=2026-04-15T10:52:00Z": "running-9 refused-103 settled-8 refused-102 refused-101",
		"since=2026-04-16":           "",
	} {
		ids, _ := requestIDsOf(t, w.ok(w.do(admin, "GET", "/v1/calls?"+query, ""), "GET /v1/calls"))
		if got := strings.Join(ids, " "); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	ids, _ := requestIDsOf(t, w.ok(w.do(teamA, "GET", "/v1/calls", ""), "GET /v1/calls"))
	if got := strings.Join(ids, " "); got != "running-9 refused-103 refused-101 settled-7" {
		t.Errorf("a key of team/a/** and shared sees %s", got)
	}
	for path, want := range map[string]int{
		"/v1/calls?tag=other&as=team": 400, "/v1/calls?state=gone": 400, "/v1/calls?since=today": 400, "/v1/calls?page_token=x": 400, "/v1/calls?after=x": 400,
		"/v1/calls?page_size=-1": 400,
	} {
		if a := w.do(admin, "GET", path, ""); a.status != want {
			t.Errorf("%s: %d, want %d: %s", path, a.status, want, a.body)
		}
	}
	if a := w.do(teamA, "GET", "/v1/calls?tag=other", ""); a.status != http.StatusForbidden {
		t.Errorf("another's tag: %d %s", a.status, a.body)
	}
	if a := w.do(inference, "GET", "/v1/calls", ""); a.status != http.StatusForbidden {
		t.Errorf("a key that may only call models: %d %s", a.status, a.body)
	}
}

// TestCallsOnTheLedger finds a call of a real ledger by its request id, whole, and
// follows calls with the cursor.
func TestCallsOnTheLedger(t *testing.T) {
	l, key, secret, w := onLedger(t)
	first := w.ok(w.do(secret, "GET", "/v1/calls", ""), "GET /v1/calls").(map[string]any)
	reserve := func(id string) budget.Reservation {
		r, err := l.Reserve(t.Context(), budget.Request{RequestID: id, Bound: budget.Dollar,
			Attribution: budget.Attribution{KeyID: key.ID, Tag: "summarize", Model: "moonshot/kimi-k2.6", Provider: "moonshot"}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r, running := reserve("r1"), reserve("r2")
	err := l.Settle(t.Context(), budget.Settlement{RequestID: "r1", Reservation: &r, Basis: budget.BasisUsage, Cost: 33*budget.Cent + 1, Status: 200,
		Tokens: budget.Tokens{Input: 7, Output: 3}, At: instant.Add(1500 * time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	got := w.ok(w.do(secret, "GET", "/v1/calls?request_id=r1", ""), "GET /v1/calls").(map[string]any)
	delete(got, "cursor")
	wantJSON(t, got, fmt.Sprintf(`{"calls":[{"id":"%d","request_id":"r1","state":"settled","key_id":%q,"tag":"summarize","model":"moonshot/kimi-k2.6","provider":"moonshot",
		"decide_time":"2026-04-15T10:07:00Z","bound_usd":"1.00","unpriced":false,"lines":[],"budgets":[],"end_time":"2026-04-15T10:07:01.500Z","latency_ms":1500,"provider_status":200,
		"cost_usd":"0.330000001","basis":"usage","input_tokens":7,"cache_read_tokens":0,"cache_write_tokens":0,"output_tokens":3,"served_model":"","reason":"","repeats":0}],"next_page_token":""}`, r.ID, key.ID))

	since := w.ok(w.do(secret, "GET", "/v1/calls?after="+url.QueryEscape(first["cursor"].(string)), ""), "GET /v1/calls").(map[string]any)
	if ids, _ := requestIDsOf(t, since); strings.Join(ids, " ") != "r1" {
		t.Errorf("ended since the start: %v", ids)
	}
	if err := l.Settle(t.Context(), budget.Settlement{RequestID: "r2", Reservation: &running, Basis: budget.BasisReleased, At: instant}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"r2", ""} {
		since = w.ok(w.do(secret, "GET", "/v1/calls?after="+url.QueryEscape(since["cursor"].(string)), ""), "GET /v1/calls").(map[string]any)
		if ids, _ := requestIDsOf(t, since); strings.Join(ids, " ") != want {
			t.Errorf("ended since: %v, want %q", ids, want)
		}
	}
}
