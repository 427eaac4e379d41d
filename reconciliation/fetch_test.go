package reconciliation_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/internal/reconciliationtest"
	"aigateway/reconciliation"
)

const adminKey = "sk-admin-0123456789"

// fakeVendor bills two models on the first and third of April.
func fakeVendor() *reconciliationtest.Vendor {
	return &reconciliationtest.Vendor{
		OpenAIKey: adminKey, AnthropicKey: adminKey, PageDays: 2,
		Lines: []reconciliationtest.Line{
			{Day: "2026-04-01", Model: "gpt-5.5-2026-04-23", USD: "1.5", Project: "proj_a", Input: 10, Cached: 20, Written: 30, Output: 40, Calls: 2},
			{Day: "2026-04-01", USD: "0.02", Project: "proj_a"},
			{Day: "2026-04-03", Model: "text-embedding-3-small", USD: "0.000001", Project: "proj_b", Input: 50, Calls: 1},
		},
	}
}

// api serves v and returns what talks to it, with the waits it asked for.
func api(t *testing.T, v http.Handler, vendor reconciliation.Vendor) (*reconciliation.API, *[]time.Duration) {
	t.Helper()
	s := httptest.NewServer(v)
	t.Cleanup(s.Close)
	base, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	waits := &[]time.Duration{}
	return &reconciliation.API{
		Vendor: vendor, Base: base, Key: adminKey, HTTP: s.Client(), Now: func() time.Time { return time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC) },
		Wait: func(_ context.Context, d time.Duration) error { *waits = append(*waits, d); return nil },
	}, waits
}

func TestFetchOpenAI(t *testing.T) {
	v := fakeVendor()
	a, _ := api(t, v, reconciliation.OpenAI)
	es, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-03")
	if err != nil || len(es) != 3 {
		t.Fatalf("%d exports, %v", len(es), err)
	}
	want := `OpenAI costs 2026-04-01T00:00:00Z 24h0m0s
  gpt-5.5-2026-04-23 [proj_a key_1] $1.5
  (web search tool calls) [proj_a key_1] $0.02
OpenAI costs 2026-04-02T00:00:00Z 24h0m0s
OpenAI costs 2026-04-03T00:00:00Z 24h0m0s
  text-embedding-3-small [proj_b key_1] $0.000001
`
	if d := cmp.Diff(want, es[0].Dump()); d != "" || es[0].Name != "OpenAI costs API" || len(es[0].SHA256) != 64 {
		t.Errorf("%s %s (-want +got):\n%s", es[0].Name, es[0].SHA256, d)
	}
	if got := es[1].Dump(); !strings.Contains(got, "gpt-5.5-2026-04-23 [proj_a] 2 calls {Input:10 CacheRead:20 CacheWrite:30 ") || !strings.Contains(es[2].Dump(), "1 calls {Input:50 ") {
		t.Errorf("usage:\n%s%s", got, es[2].Dump())
	}
	if asked := v.Asked(); len(asked) != 6 || !strings.HasPrefix(asked[0], "GET /v1/organization/costs?bucket_width=1d&end_time=1775260800&") || !strings.Contains(asked[1], "page=page_2026-04-03") {
		t.Errorf("asked %q", asked)
	}
	again, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-03")
	if err != nil || again[0].SHA256 != es[0].SHA256 {
		t.Errorf("the same answers have another hash: %v", err)
	}
	r := compare(t, reconciliation.Input{Days: april(1, 2, 3), Exports: es})
	if len(r.Missing) != 0 || r.Total.Vendor.String() != "1.520001" {
		t.Errorf("missing %v, total %s", r.Missing, r.Total.Vendor)
	}
}

func TestFetchAnthropic(t *testing.T) {
	v := fakeVendor()
	v.Lines = []reconciliationtest.Line{{Day: "2026-04-02", Model: "claude-sonnet-4-6", USD: "1.2378912", Input: 10, Cached: 20, Written: 30, Output: 40}, {Day: "2026-04-02", USD: "0.01"}}
	a, _ := api(t, v, reconciliation.Anthropic)
	es, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-03")
	if err != nil || len(es) != 2 {
		t.Fatalf("%d exports, %v", len(es), err)
	}
	want := `Anthropic cost report 2026-04-01T00:00:00Z 24h0m0s
Anthropic cost report 2026-04-02T00:00:00Z 24h0m0s
  claude-sonnet-4-6 [] $1.2378912
  (Web Search Usage) [] $0.01
Anthropic cost report 2026-04-03T00:00:00Z 24h0m0s
`
	if d := cmp.Diff(want, es[0].Dump()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := es[1].Dump(); !strings.Contains(got, "claude-sonnet-4-6 [] 0 calls {Input:10 CacheRead:20 CacheWrite:30 CacheWriteLong:0 InputAudio:0 Output:40 ") {
		t.Errorf("usage:\n%s", got)
	}
	if asked := v.Asked()[0]; !strings.Contains(asked, "starting_at=2026-04-01T00%3A00%3A00Z") || !strings.Contains(asked, "group_by%5B%5D=description&group_by%5B%5D=workspace_id") {
		t.Errorf("asked %s", asked)
	}
}

func TestFetchWaitsWhileTheVendorIsBusy(t *testing.T) {
	for _, tc := range []struct {
		name, after string
		busy        []int
		want        []time.Duration
	}{
		{"its own pace", "", []int{429, 503, 500}, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
		{"seconds", "7", []int{429}, []time.Duration{7 * time.Second}},
		{"a date", "Fri, 01 May 2026 00:00:09 GMT", []int{429}, []time.Duration{9 * time.Second}},
		{"too long", "86400", []int{429}, []time.Duration{time.Minute}},
		{"nonsense", "soon", []int{529}, []time.Duration{time.Second}},
	} {
		v := fakeVendor()
		v.Busy, v.RetryAfter = tc.busy, tc.after
		a, waits := api(t, v, reconciliation.OpenAI)
		if _, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-01"); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if d := cmp.Diff(tc.want, *waits); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
	}
}

func TestFetchGivesUp(t *testing.T) {
	v := fakeVendor()
	v.Busy = []int{500, 500, 500, 500, 500, 500, 500}
	a, waits := api(t, v, reconciliation.OpenAI)
	_, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-01")
	if err == nil || !strings.Contains(err.Error(), "download OpenAI costs") || !strings.Contains(err.Error(), "answered 500: Try again later.") || len(*waits) != 5 {
		t.Errorf("%v after %v", err, *waits)
	}
	a.Wait = func(context.Context, time.Duration) error { return context.Canceled }
	if _, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-01"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestFetchSaysNoKey(t *testing.T) {
	v := fakeVendor()
	v.OpenAIKey = "another"
	a, waits := api(t, v, reconciliation.OpenAI)
	_, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-01")
	if err == nil || !strings.Contains(err.Error(), "answered 401: Incorrect API key provided: (key)") || !strings.Contains(err.Error(), "admin key of the organization") || len(*waits) != 0 {
		t.Errorf("%v after %v", err, *waits)
	}
	if strings.Contains(fmt.Sprint(err), adminKey) {
		t.Error("the key is in the error")
	}
	a.Base.Host = "127.0.0.1:1"
	if _, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-01"); err == nil || !strings.Contains(err.Error(), "no answer from 127.0.0.1:1") || strings.Contains(err.Error(), "start_time") || len(*waits) != 5 {
		t.Errorf("%v after %v", err, *waits)
	}
}

func TestFetchRefusesStrangeAnswers(t *testing.T) {
	for text, word := range map[string]string{
		`<html>`:                         "page 1: no JSON",
		`{}`:                             "data is missing",
		`{"data":[{}],"has_more":false}`: "at /data/0",
		`{"data":[],"has_more":true}`:    "does not name it",
		`{"data":{}}`:                    "at /data",
		`{"data":[],"data":[]}`:          "duplicate",
		`{"data":[{"start_time":1775001600,"end_time":1775088000,"results":[{"object":"organization.usage.images.result"}]}],"has_more":false}`: "at /data/0/results/0/amount",
	} {
		a, _ := api(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }), reconciliation.OpenAI)
		if _, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-01"); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %q", text, err, word)
		}
	}
	served := 0
	a, _ := api(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		served++
		fmt.Fprint(w, `{"data":[],"has_more":true,"next_page":"again"}`)
	}), reconciliation.OpenAI)
	if _, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-01"); err == nil || !strings.Contains(err.Error(), "does not name it") || served != 2 {
		t.Errorf("a page that names itself: %v after %d", err, served)
	}
	n := 0
	a, _ = api(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		fmt.Fprintf(w, `{"data":[],"has_more":true,"next_page":"p%d"}`, n)
	}), reconciliation.OpenAI)
	if _, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-01"); err == nil || !strings.Contains(err.Error(), "more than 200 pages") {
		t.Errorf("endless pages: %v", err)
	}
	a, _ = api(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":[],"has_more":false}`) }), reconciliation.OpenAI)
	if es, err := a.Fetch(t.Context(), "2026-04-01", "2026-04-01"); err != nil || len(es) != 0 {
		t.Errorf("nothing billed: %v, %v", es, err)
	}
}
