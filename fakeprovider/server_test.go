package fakeprovider_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"aigateway/fakeprovider"

	"github.com/google/go-cmp/cmp"
)

// prices with odd digits, so that a wrong bucket or a second rounding shows.
var price = fakeprovider.Price{Input: 950_001, CacheRead: 160_003, Output: 4_000_007}

func start(t *testing.T, cfg fakeprovider.Config) (*fakeprovider.Server, string) {
	t.Helper()
	cfg.Models = map[string]fakeprovider.Price{"m1": price}
	s := fakeprovider.New(cfg)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

func post(t *testing.T, url, body string) (int, []byte, error) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, data, err
}

// settled waits until no call is being answered.
func settled(t *testing.T, s *fakeprovider.Server) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.InFlight() > 0 {
		select {
		case <-deadline:
			t.Fatalf("%d calls still in flight", s.InFlight())
		case <-tick.C:
		}
	}
}

func chat(fault, more string) string {
	return fmt.Sprintf(`{"model":"m1","user":"u","messages":[{"role":"user","content":"hello there. %s"}]%s}`, fault, more)
}

type report struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Total      int64 `json:"total_tokens"`
}

type answer struct {
	Model   string `json:"model"`
	Choices []struct {
		Index        int64                     `json:"index"`
		Message      struct{ Content string }  `json:"message"`
		Delta        struct{ Content *string } `json:"delta"`
		FinishReason *string                   `json:"finish_reason"`
	} `json:"choices"`
	Usage *report `json:"usage"`
}

// events are the data of a stream's events, framing checked.
func events(t *testing.T, body []byte, eol string) []string {
	t.Helper()
	var all []string
	for event := range strings.SplitSeq(string(body), eol+eol) {
		if data, ok := strings.CutPrefix(event, "data: "); ok {
			all = append(all, data)
			continue
		}
		if event != "" && !strings.HasPrefix(event, ":") {
			t.Fatalf("not an event: %q", event)
		}
	}
	return all
}

func TestChatAnswersAndBills(t *testing.T) {
	s, url := start(t, fakeprovider.Config{})
	status, body, err := post(t, url+"/any/v1/chat/completions", chat("", `,"n":3,"max_tokens":5`))
	if err != nil || status != 200 {
		t.Fatalf("status %d, error %v: %s", status, err, body)
	}
	var got answer
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Choices) != 3 || got.Usage == nil {
		t.Fatalf("want 3 choices and a usage report: %s", body)
	}
	u := *got.Usage
	if u.Completion < 3 || u.Completion > 15 || u.Completion%3 != 0 || u.Total != u.Prompt+u.Completion {
		t.Errorf("usage %+v is not within 3 choices of at most 5 tokens", u)
	}
	want := (u.Prompt*price.Input + u.Completion*price.Output + 999) / 1000
	if b := s.Bill(); b.NanoUSD != want || b.Calls != 1 {
		t.Errorf("bill %+v, want %d nano-USD for one call", b, want)
	}
	if diff := cmp.Diff(s.Bill(), s.BillByUser()["u"]); diff != "" {
		t.Error(diff)
	}
}

func TestSameBodySameTokens(t *testing.T) {
	s, url := start(t, fakeprovider.Config{})
	for range 3 {
		if _, _, err := post(t, url+"/chat/completions", chat("", "")); err != nil {
			t.Fatal(err)
		}
	}
	calls := s.Calls()
	if calls[0].Billed != calls[1].Billed || calls[1].Billed != calls[2].Billed {
		t.Errorf("one body, three bills: %+v", calls)
	}
}

func TestStreamUsageOnlyWhenAsked(t *testing.T) {
	for name, test := range map[string]struct {
		options string
		nulls   bool // "usage":null on chunks with choices
		final   bool
	}{
		"absent":  {``, false, false},
		"null":    {`,"stream_options":null`, false, false},
		"false":   {`,"stream_options":{"include_usage":false}`, false, false},
		"include": {`,"stream_options":{"include_usage":true}`, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := start(t, fakeprovider.Config{})
			_, body, err := post(t, url+"/chat/completions", chat("", `,"stream":true`+test.options))
			if err != nil {
				t.Fatal(err)
			}
			all := events(t, body, "\n")
			if all[len(all)-1] != "[DONE]" {
				t.Fatalf("last event %q", all[len(all)-1])
			}
			var reports []report
			for _, data := range all[:len(all)-1] {
				var c answer
				if err := json.Unmarshal([]byte(data), &c); err != nil {
					t.Fatalf("%v: %s", err, data)
				}
				if c.Usage != nil {
					if len(c.Choices) != 0 {
						t.Errorf("usage beside choices: %s", data)
					}
					reports = append(reports, *c.Usage)
				} else if null := strings.Contains(data, `"usage":null`); null != test.nulls {
					t.Errorf(`"usage":null is %v, want %v: %s`, null, test.nulls, data)
				}
			}
			if (len(reports) == 1) != test.final || len(reports) > 1 {
				t.Fatalf("%d reports, want final %v", len(reports), test.final)
			}
			bill := s.Bill()
			if test.final && (reports[0].Prompt != bill.PromptTokens || reports[0].Completion != bill.CompletionTokens) {
				t.Errorf("report %+v, bill %+v", reports[0], bill)
			}
			if bill.CompletionTokens == 0 {
				t.Error("an unreported stream was not billed")
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	s, url := start(t, fakeprovider.Config{Refuses: []string{"no_such"}})
	for name, test := range map[string]struct {
		path, body string
		want       int
	}{
		"not json":            {"/chat/completions", `{"model":`, 400},
		"array":               {"/chat/completions", `[]`, 400},
		"no model":            {"/chat/completions", `{"messages":[]}`, 400},
		"case matters":        {"/chat/completions", `{"Model":"m1"}`, 400},
		"unknown model":       {"/chat/completions", `{"model":"moonshot/m1"}`, 404},
		"no messages":         {"/chat/completions", `{"model":"m1"}`, 400},
		"bad role":            {"/chat/completions", `{"model":"m1","messages":[{"role":"boss"}]}`, 400},
		"bad content":         {"/chat/completions", `{"model":"m1","messages":[{"role":"user","content":1}]}`, 400},
		"zero cap":            {"/chat/completions", chat("", `,"max_tokens":0`), 400},
		"fractional cap":      {"/chat/completions", chat("", `,"max_tokens":1.5`), 400},
		"n":                   {"/chat/completions", chat("", `,"n":0`), 400},
		"options, no stream":  {"/chat/completions", chat("", `,"stream_options":{}`), 400},
		"refused member":      {"/chat/completions", chat("", `,"no_such":1`), 422},
		"fault word":          {"/chat/completions", chat("fault:nonsense", ""), 400},
		"asked for":           {"/chat/completions", chat("fault:status=429", ""), 429},
		"no input":            {"/embeddings", `{"model":"m1"}`, 400},
		"empty input":         {"/embeddings", `{"model":"m1","input":""}`, 400},
		"no path":             {"/no/completion", `{"model":"m1"}`, 404},
		"embeddings, unknown": {"/embeddings", `{"model":"m2","input":"x"}`, 404},
	} {
		t.Run(name, func(t *testing.T) {
			status, body, err := post(t, url+test.path, test.body)
			var e struct {
				Error struct{ Message, Type string } `json:"error"`
			}
			if err != nil || status != test.want || json.Unmarshal(body, &e) != nil || e.Error.Message == "" {
				t.Errorf("status %d, want %d: %s (%v)", status, test.want, body, err)
			}
		})
	}
	if b := s.Bill(); b != (fakeprovider.Bill{}) {
		t.Errorf("refusals were billed: %+v", b)
	}
}

func TestKeyAndContentType(t *testing.T) {
	_, url := start(t, fakeprovider.Config{Key: "sk-right"})
	for name, test := range map[string]struct {
		auth, kind string
		want       int
	}{
		"right":     {"Bearer sk-right", "application/json", 200},
		"charset":   {"Bearer sk-right", "application/json; charset=utf-8", 200},
		"wrong":     {"Bearer sk-wrong", "application/json", 401},
		"none":      {"", "application/json", 401},
		"form":      {"Bearer sk-right", "application/x-www-form-urlencoded", 400},
		"no bearer": {"sk-right", "application/json", 401},
	} {
		req, err := http.NewRequest("POST", url+"/v1/chat/completions", strings.NewReader(chat("", "")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", test.auth)
		req.Header.Set("Content-Type", test.kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != test.want {
			t.Errorf("%s: status %d, want %d", name, resp.StatusCode, test.want)
		}
	}
}

func TestDuplicateMembersLastWins(t *testing.T) {
	s, url := start(t, fakeprovider.Config{})
	_, _, err := post(t, url+"/chat/completions", chat("fault:max", `,"max_tokens":1,"max_tokens":50`))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Bill().CompletionTokens; got != 50 {
		t.Errorf("%d output tokens, want 50: the last of two caps", got)
	}
}

func TestMaxIsTheMostARequestCanCost(t *testing.T) {
	s, url := start(t, fakeprovider.Config{})
	body := chat("fault:max", `,"n":4,"max_completion_tokens":900,"max_tokens":7`)
	if _, _, err := post(t, url+"/chat/completions", body); err != nil {
		t.Fatal(err)
	}
	got := s.Bill()
	want := fakeprovider.Bill{Calls: 1, PromptTokens: int64(len(body)), CompletionTokens: 3600}
	want.NanoUSD = (want.PromptTokens*price.Input + 3600*price.Output + 999) / 1000
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEmbeddings(t *testing.T) {
	s, url := start(t, fakeprovider.Config{})
	for name, test := range map[string]struct {
		input  string
		items  int
		tokens int64
	}{
		"text":   {`"12345678"`, 1, 2},
		"texts":  {`["1234","12345"]`, 2, 3},
		"tokens": {`[1,2,3]`, 1, 3},
		"arrays": {`[[1,2],[3]]`, 2, 3},
		"max":    {`["fault:max","12345"]`, 2, 14},
	} {
		t.Run(name, func(t *testing.T) {
			s.Reset()
			_, body, err := post(t, url+"/embeddings", `{"model":"m1","encoding_format":"base64","input":`+test.input+`}`)
			var got struct {
				Data  []struct{ Embedding string }
				Usage report
			}
			if err != nil || json.Unmarshal(body, &got) != nil || len(got.Data) != test.items {
				t.Fatalf("%v: %s", err, body)
			}
			if got.Usage.Prompt != test.tokens || got.Usage.Total != test.tokens || s.Bill().PromptTokens != test.tokens {
				t.Errorf("usage %+v, bill %+v, want %d tokens", got.Usage, s.Bill(), test.tokens)
			}
		})
	}
}

func TestModels(t *testing.T) {
	_, url := start(t, fakeprovider.Config{})
	resp, err := http.Get(url + "/v1/models")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(body, []byte(`{"object":"list","data":[{"id":"m1","object":"model"`)) {
		t.Errorf("%v: %s", err, body)
	}
}

func TestCallsKeepBytes(t *testing.T) {
	s, url := start(t, fakeprovider.Config{KeepCalls: 3})
	for i := range 10 {
		if _, _, err := post(t, url+"/chat/completions", chat(fmt.Sprint(i), "")); err != nil {
			t.Fatal(err)
		}
	}
	calls := s.Calls()
	if len(calls) != 3 || string(calls[2].Body) != chat("9", "") || string(calls[0].Body) != chat("7", "") {
		t.Errorf("kept %d calls, last %s", len(calls), calls[len(calls)-1].Body)
	}
	if calls[0].Header.Get("Content-Type") != "application/json" || s.Bill().Calls != 10 {
		t.Errorf("header %v, %d billed", calls[0].Header, s.Bill().Calls)
	}
}

func TestControl(t *testing.T) {
	s, url := start(t, fakeprovider.Config{Control: true})
	req, err := http.NewRequest("PUT", url+"/_fake/faults", strings.NewReader("status=503"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(err, resp)
	}
	resp.Body.Close()
	if status, _, _ := post(t, url+"/chat/completions", chat("", "")); status != 503 {
		t.Errorf("status %d, want 503", status)
	}
	if _, _, err := post(t, url+"/_fake/reset", ""); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := post(t, url+"/chat/completions", chat("", "")); status != 200 {
		t.Errorf("status %d after the reset, want 200", status)
	}
	resp, err = http.Get(url + "/_fake/bill")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got fakeprovider.Bill
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got != s.Bill() {
		t.Errorf("bill %+v, want %+v (%v)", got, s.Bill(), err)
	}
}

// leave reads n lines of a stream, then drops the connection.
func leave(t *testing.T, url, body string, n int) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(resp.Body)
	for range n {
		lines.Scan()
	}
	if err := resp.Body.Close(); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}
