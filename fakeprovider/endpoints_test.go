package fakeprovider_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"aigateway/fakeprovider"

	"github.com/google/go-cmp/cmp"
)

// full has a price for everything, again with odd digits.
var full = fakeprovider.Price{
	Input: 950_001, CacheRead: 160_003, CacheWrite: 1_187_507, CacheWriteLong: 1_900_009, Output: 4_000_007,
	WebSearch: 10_000_000_001, SearchUnit: 2_000_000_003,
}

func startFull(t *testing.T, cfg fakeprovider.Config) (*fakeprovider.Server, string) {
	t.Helper()
	cfg.Models = map[string]fakeprovider.Price{"m1": full}
	s := fakeprovider.New(cfg)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, srv.URL
}

// native posts as Anthropic's SDKs do.
func native(t *testing.T, url, body string, header map[string]string) (int, []byte, error) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/v1/messages", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, data, err
}

// typed are the data of named events, whose names must be their types.
func typed(t *testing.T, body []byte) []map[string]any {
	t.Helper()
	var all []map[string]any
	for event := range strings.SplitSeq(strings.TrimSpace(string(body)), "\n\n") {
		name, data, ok := strings.Cut(strings.TrimPrefix(event, "event: "), "\ndata: ")
		var v map[string]any
		if !ok || json.Unmarshal([]byte(data), &v) != nil || v["type"] != name {
			t.Fatalf("not an event: %q", event)
		}
		all = append(all, v)
	}
	return all
}

// at reads a number deep inside an object; -1 if it is not there.
func at(v any, path ...string) int64 {
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return -1
		}
		v = object[name]
	}
	if n, ok := v.(float64); ok {
		return int64(n)
	}
	return -1
}

func ask(fault, more string) string {
	return fmt.Sprintf(`{"model":"m1","user":"u","metadata":{"user_id":"u"},"input":"hello. %s","messages":[{"role":"user","content":"hello. %s"}]%s}`, fault, fault, more)
}

func wantBill(t *testing.T, s *fakeprovider.Server, want fakeprovider.Bill) {
	t.Helper()
	settled(t, s)
	fresh := want.PromptTokens - want.CachedTokens - want.WrittenTokens - want.WrittenLong
	pico := fresh*full.Input + want.CachedTokens*full.CacheRead + want.WrittenTokens*full.CacheWrite + want.WrittenLong*full.CacheWriteLong +
		want.CompletionTokens*full.Output + want.WebSearches*full.WebSearch + want.SearchUnits*full.SearchUnit
	want.Calls, want.NanoUSD = 1, (pico+999)/1000
	if diff := cmp.Diff(want, s.BillByUser()["u"]); diff != "" {
		t.Errorf("bill (-want +got):\n%s", diff)
	}
}

func TestResponses(t *testing.T) {
	const search = `,"tools":[{"type":"web_search"}],"max_tool_calls":2,"prompt_cache_options":{"ttl":"12h"},"max_output_tokens":50`
	const fault = "fault:out=12 reasoning=3 cached=2 written=4 written_long=5 searches=9"
	for name, stream := range map[string]string{"plain": "", "stream": `,"stream":true`} {
		t.Run(name, func(t *testing.T) {
			s, url := startFull(t, fakeprovider.Config{})
			_, body, err := post(t, url+"/v1/responses", ask(fault, search+stream))
			if err != nil {
				t.Fatal(err)
			}
			var r any
			if stream == "" {
				err = json.Unmarshal(body, &r)
			} else {
				all := typed(t, body)
				for i, e := range all {
					if at(e, "sequence_number") != int64(i) {
						t.Errorf("event %d has number %v", i, e["sequence_number"])
					}
				}
				last := all[len(all)-1]
				if all[0]["type"] != "response.created" || last["type"] != "response.completed" || at(all[0], "response", "usage", "input_tokens") != -1 {
					t.Errorf("begins with %v, ends with %v", all[0], last)
				}
				r = last["response"]
			}
			if err != nil {
				t.Fatal(err)
			}
			prompt := at(r, "usage", "input_tokens")
			got := []int64{
				at(r, "usage", "output_tokens"), at(r, "usage", "total_tokens") - prompt, at(r, "usage", "output_tokens_details", "reasoning_tokens"),
				at(r, "usage", "input_tokens_details", "cached_tokens"), at(r, "usage", "input_tokens_details", "cache_write_tokens"),
				at(r, "usage", "input_tokens_details", "cache_write_tokens_details", "ttl_12h_tokens"), at(r, "tool_usage", "web_search", "num_requests"),
			}
			if diff := cmp.Diff([]int64{15, 15, 3, 2, 9, 5, 2}, got); diff != "" {
				t.Error(diff)
			}
			wantBill(t, s, fakeprovider.Bill{PromptTokens: prompt, CachedTokens: 2, WrittenTokens: 4, WrittenLong: 5, CompletionTokens: 15, WebSearches: 2})
		})
	}
}

func TestResponseEnds(t *testing.T) {
	for fault, want := range map[string]string{
		"out=99":        "response.incomplete",
		"fail_after=6":  "response.failed",
		"error_after=6": "error",
		"no_done":       "response.output_item.done",
	} {
		s, url := startFull(t, fakeprovider.Config{})
		_, body, err := post(t, url+"/responses", ask("fault:out=5 "+fault, `,"stream":true,"max_output_tokens":9`))
		if err != nil {
			t.Fatal(err)
		}
		all := typed(t, body)
		if got := all[len(all)-1]["type"]; got != want {
			t.Errorf("%s: ends with %v, want %s", fault, got, want)
		}
		if got := at(all[len(all)-1], "response", "usage", "output_tokens"); got != -1 && got != s.Bill().CompletionTokens {
			t.Errorf("%s: reports %d output tokens, bills %d", fault, got, s.Bill().CompletionTokens)
		}
	}
}

func TestMessages(t *testing.T) {
	const more = `,"max_tokens":50,"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}],"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":2}]`
	const fault = "fault:out=12 reasoning=3 cached=2 written=4 written_long=5 searches=9"
	want := fakeprovider.Bill{CachedTokens: 2, WrittenTokens: 4, WrittenLong: 5, CompletionTokens: 15, WebSearches: 2}
	check := func(t *testing.T, s *fakeprovider.Server, start, end any) {
		t.Helper()
		fresh := at(end, "input_tokens")
		want.PromptTokens = fresh + at(end, "cache_read_input_tokens") + at(end, "cache_creation_input_tokens")
		got := []int64{
			at(start, "cache_creation", "ephemeral_5m_input_tokens"), at(start, "cache_creation", "ephemeral_1h_input_tokens"), at(start, "input_tokens"),
			at(end, "output_tokens"), at(end, "cache_creation_input_tokens"), at(end, "server_tool_use", "web_search_requests"),
		}
		if diff := cmp.Diff([]int64{4, 5, fresh, 15, 9, 2}, got); diff != "" {
			t.Error(diff)
		}
		wantBill(t, s, want)
	}
	t.Run("plain", func(t *testing.T) {
		s, url := startFull(t, fakeprovider.Config{})
		_, body, err := native(t, url, ask(fault, more), nil)
		var m map[string]any
		if err != nil || json.Unmarshal(body, &m) != nil || m["stop_reason"] != "end_turn" {
			t.Fatalf("%v: %s", err, body)
		}
		check(t, s, m["usage"], m["usage"])
	})
	t.Run("stream", func(t *testing.T) {
		s, url := startFull(t, fakeprovider.Config{})
		_, body, err := native(t, url, ask(fault, more+`,"stream":true`), nil)
		if err != nil {
			t.Fatal(err)
		}
		all := typed(t, body)
		start, end, last := all[0], all[len(all)-2], all[len(all)-1]
		if start["type"] != "message_start" || end["type"] != "message_delta" || last["type"] != "message_stop" {
			t.Fatalf("begins with %v, ends with %v, %v", start, end, last)
		}
		message, ok := start["message"].(map[string]any)
		if !ok || at(message, "usage", "output_tokens") != 1 {
			t.Errorf("message_start: %v, want a placeholder for the output", start)
		}
		check(t, s, message["usage"], end["usage"])
	})
	t.Run("error in mid-stream", func(t *testing.T) { brokenMessages(t) })
	t.Run("no cache without cache_control", func(t *testing.T) { uncached(t) })
}

func uncached(t *testing.T) {
	t.Helper()
	s, url := startFull(t, fakeprovider.Config{})
	if _, _, err := native(t, url, ask("fault:out=5 written=4 written_long=5", `,"max_tokens":9`), nil); err != nil {
		t.Fatal(err)
	}
	if b := s.Bill(); b.WrittenTokens != 0 || b.WrittenLong != 0 {
		t.Errorf("written unasked: %+v", b)
	}
}

func brokenMessages(t *testing.T) {
	t.Helper()
	s, url := startFull(t, fakeprovider.Config{})
	_, body, err := native(t, url, ask("fault:out=20 error_after=6", `,"max_tokens":30,"stream":true`), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := typed(t, body)
	if last := all[len(all)-1]; last["type"] != "error" || strings.Contains(string(body), "message_delta") || s.Bill().CompletionTokens != 3 {
		t.Errorf("ends with %v, bill %+v", last, s.Bill())
	}
}

func TestMessagesRefusals(t *testing.T) {
	s, url := startFull(t, fakeprovider.Config{Key: "sk-right"})
	key := map[string]string{"X-Api-Key": "sk-right"}
	for name, test := range map[string]struct {
		body   string
		header map[string]string
		status int
		kind   string
	}{
		"no key":     {ask("", `,"max_tokens":5`), nil, 401, "authentication_error"},
		"wrong key":  {ask("", `,"max_tokens":5`), map[string]string{"X-Api-Key": "sk-wrong"}, 401, "authentication_error"},
		"no version": {ask("", `,"max_tokens":5`), map[string]string{"X-Api-Key": "sk-right", "Anthropic-Version": ""}, 400, "invalid_request_error"},
		"no cap":     {ask("", ""), key, 400, "invalid_request_error"},
		"no model":   {`{"model":"m2","max_tokens":5}`, key, 404, "not_found_error"},
		"overloaded": {ask("fault:status=529", `,"max_tokens":5`), key, 529, "overloaded_error"},
	} {
		status, body, err := native(t, url, test.body, test.header)
		var e struct {
			Type  string
			Error struct{ Type, Message string }
		}
		if err != nil || json.Unmarshal(body, &e) != nil || status != test.status || e.Type != "error" || e.Error.Type != test.kind || e.Error.Message == "" {
			t.Errorf("%s: %d %s (%v), want %d %s", name, status, body, err, test.status, test.kind)
		}
	}
	if b := s.Bill(); b.Calls != 0 {
		t.Errorf("refusals were billed: %+v", b)
	}
	status, body, err := native(t, url, ask("", `,"max_tokens":5`), map[string]string{"Authorization": "Bearer sk-right"})
	if err != nil || status != 200 {
		t.Errorf("a bearer key: %d %s %v", status, body, err)
	}
}

func TestCompletions(t *testing.T) {
	type answer struct {
		Choices []struct {
			Index int
			Text  string
		}
		Usage *report
	}
	for name, test := range map[string]struct {
		body             string
		choices          int
		prompt, complete int64
	}{
		"text":         {`"prompt":"12345678","max_tokens":5`, 1, 2, 5},
		"default cap":  {`"prompt":"12345678"`, 1, 2, 16},
		"n":            {`"prompt":"12345678","max_tokens":5,"n":3`, 3, 2, 15},
		"best_of":      {`"prompt":"12345678","max_tokens":5,"n":2,"best_of":4`, 2, 2, 20},
		"texts":        {`"prompt":["1234","56789"],"max_tokens":5,"n":2`, 4, 3, 20},
		"token arrays": {`"prompt":[[1,2,3],[4]],"max_tokens":5`, 2, 4, 10},
		"echo":         {`"prompt":"hello","echo":true,"max_tokens":0`, 1, 2, 0},
		"stream":       {`"prompt":["1234","56789"],"max_tokens":5,"stream":true,"stream_options":{"include_usage":true}`, 2, 3, 10},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := startFull(t, fakeprovider.Config{DefaultOutput: 1})
			s.SetFaults(fakeprovider.Faults{Output: 1000})
			_, body, err := post(t, url+"/v1/completions", `{"model":"m1","user":"u",`+test.body+`}`)
			if err != nil {
				t.Fatal(err)
			}
			var got answer
			if name == "stream" {
				all := events(t, body, "\n")
				err = json.Unmarshal([]byte(all[len(all)-2]), &got)
				if all[len(all)-1] != "[DONE]" || len(got.Choices) != 0 {
					t.Errorf("ends with %v", all[len(all)-2:])
				}
			} else if err = json.Unmarshal(body, &got); len(got.Choices) != test.choices {
				t.Errorf("%d choices, want %d: %s", len(got.Choices), test.choices, body)
			}
			if err != nil || got.Usage == nil || got.Usage.Prompt != test.prompt || got.Usage.Completion != test.complete {
				t.Fatalf("%v: usage %+v, want %d and %d", err, got.Usage, test.prompt, test.complete)
			}
			if name == "echo" && got.Choices[0].Text != "hello" {
				t.Errorf("echo: %q", got.Choices[0].Text)
			}
			wantBill(t, s, fakeprovider.Bill{PromptTokens: test.prompt, CompletionTokens: test.complete})
		})
	}
}

func TestRerank(t *testing.T) {
	long := strings.Repeat("word ", 800) // 1,000 tokens
	body := fmt.Sprintf(`{"model":"m1","user":"u","query":"what is what","documents":["short",{"text":%q}],"top_n":1}`, long)
	for dialect, test := range map[fakeprovider.Dialect]struct {
		want string
		bill fakeprovider.Bill
	}{
		fakeprovider.Cohere: {`"billed_units":{"search_units":1.0}`, fakeprovider.Bill{SearchUnits: 1}},
		fakeprovider.Voyage: {`"usage":{"total_tokens":1008}`, fakeprovider.Bill{PromptTokens: 1008}},
		fakeprovider.VLLM:   {`"results":[{"index":0`, fakeprovider.Bill{PromptTokens: 1008}},
	} {
		s, url := startFull(t, fakeprovider.Config{Dialect: dialect})
		status, got, err := post(t, url+"/v1/rerank", body)
		if err != nil || status != 200 || !strings.Contains(string(got), test.want) || strings.Count(string(got), "relevance_score") != 1 {
			t.Errorf("%s: %d %s %v", dialect, status, got, err)
		}
		wantBill(t, s, test.bill)
	}
}

func TestDialects(t *testing.T) {
	const fault = "fault:out=10 cached=2 reasoning=4"
	for dialect, test := range map[fakeprovider.Dialect]struct {
		stream     string   // members of the request
		want       []string // parts of the stream
		reports    int      // top-level reports
		completion int64    // completion_tokens; 0: no report
	}{
		fakeprovider.OpenAI:     {include, []string{`"choices":[],"usage":{`}, 1, 14},
		fakeprovider.Azure:      {include, []string{`"prompt_filter_results":`}, 1, 14},
		fakeprovider.Anthropic:  {include, []string{`"total_tokens":32}`}, 1, 14},
		fakeprovider.Gemini:     {`,"stream":true`, []string{`"total_tokens":32}`}, 16, 10},
		fakeprovider.XAI:        {include, []string{`"choices":[],"service_tier"`}, 1, 10},
		fakeprovider.Moonshot:   {include, []string{`"finish_reason":"stop","usage":{`, `"cached_tokens":2,`}, 1, 14},
		fakeprovider.DeepSeek:   {include, []string{": keep-alive\n", `"prompt_cache_hit_tokens":2,"prompt_cache_miss_tokens":16`}, 1, 14},
		fakeprovider.Mistral:    {`,"stream":true`, []string{`"finish_reason":"stop"}],"usage":{`}, 1, 14},
		fakeprovider.Groq:       {`,"stream":true`, []string{`"x_groq":{"id":"req_fake","usage":{`, `"queue_time":0.`}, 0, 0},
		fakeprovider.OpenRouter: {`,"stream":true`, []string{": OPENROUTER PROCESSING\n", `"cost":0.0000`, `"is_byok":false`}, 1, 14},
		fakeprovider.VLLM:       {`,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`, nil, 17, 14},
	} {
		t.Run("dialect "+string(dialect), func(t *testing.T) {
			s, url := startFull(t, fakeprovider.Config{Dialect: dialect})
			_, body, err := post(t, url+"/chat/completions", chat(fault, test.stream))
			if err != nil {
				t.Fatal(err)
			}
			for _, part := range test.want {
				if !strings.Contains(string(body), part) {
					t.Errorf("no %s in\n%s", part, body)
				}
			}
			reports, last := 0, report{}
			for _, data := range events(t, body, "\n") {
				var c answer
				if data != "[DONE]" && json.Unmarshal([]byte(data), &c) != nil {
					t.Fatal(data)
				}
				if c.Usage != nil {
					reports, last = reports+1, *c.Usage
				}
			}
			if reports != test.reports || last.Completion != test.completion {
				t.Errorf("%d reports, the last %+v; want %d and %d completion tokens\n%s", reports, last, test.reports, test.completion, body)
			}
			cached := int64(2)
			if dialect == fakeprovider.Anthropic || dialect == fakeprovider.Gemini || dialect == fakeprovider.VLLM {
				cached = 0 // no details, no discount
			}
			wantBill(t, s, fakeprovider.Bill{PromptTokens: s.Bill().PromptTokens, CachedTokens: cached, CompletionTokens: 14})
		})
	}
}

func TestMistralRefuses(t *testing.T) {
	_, url := startFull(t, fakeprovider.Config{Dialect: fakeprovider.Mistral})
	for _, more := range []string{include, `,"max_completion_tokens":5`} {
		if status, body, err := post(t, url+"/chat/completions", chat("", more)); status != 422 {
			t.Errorf("%s: %d %s %v", more, status, body, err)
		}
	}
}

func TestOpenRouterReportsItsBill(t *testing.T) {
	s, url := startFull(t, fakeprovider.Config{Dialect: fakeprovider.OpenRouter})
	_, body, err := post(t, url+"/chat/completions", chat("fault:out=10 written=3", ""))
	if want := fmt.Sprintf(`"cost":0.%09d`, s.Bill().NanoUSD); err != nil || !strings.Contains(string(body), want) {
		t.Errorf("no %s in %s (%v)", want, body, err)
	}
}

func TestTiers(t *testing.T) {
	s, url := startFull(t, fakeprovider.Config{Tiers: map[string]fakeprovider.Factor{"priority": {Num: 5, Den: 2}}})
	var costs []int64
	for _, more := range []string{`,"service_tier":"default"`, `,"service_tier":"fast"   `} { // as many bytes, so as many tokens
		s.Reset()
		_, body, err := post(t, url+"/chat/completions", chat("fault:out=10", more))
		if err != nil {
			t.Fatal(err)
		}
		if fast := strings.Contains(more, "fast"); fast != strings.Contains(string(body), `"service_tier":"priority"`) {
			t.Errorf("%s: %s", more, body)
		}
		costs = append(costs, s.Bill().NanoUSD)
	}
	if low, high := costs[0]*5/2-3, costs[0]*5/2+3; costs[1] < low || costs[1] > high {
		t.Errorf("costs %v, want the second 2.5 times the first", costs)
	}
}

func TestMaxWritesTheCache(t *testing.T) {
	s, url := startFull(t, fakeprovider.Config{})
	body := ask("fault:max", `,"max_output_tokens":30`)
	if _, _, err := post(t, url+"/responses", body); err != nil {
		t.Fatal(err)
	}
	n := int64(len(body))
	wantBill(t, s, fakeprovider.Bill{PromptTokens: n, WrittenTokens: n, CompletionTokens: 30})
}

func TestKeepAnswers(t *testing.T) {
	s, url := startFull(t, fakeprovider.Config{KeepAnswers: true})
	_, body, err := post(t, url+"/responses", ask("", `,"stream":true`))
	if err != nil {
		t.Fatal(err)
	}
	settled(t, s)
	if got := s.Calls()[0].Answer; string(got) != string(body) {
		t.Errorf("kept %q, sent %q", got, body)
	}
}

// OpenRouter serves a call on the dearest host that the request allows.
func TestHosts(t *testing.T) {
	s, url := startFull(t, fakeprovider.Config{Dialect: fakeprovider.OpenRouter, Hosts: []fakeprovider.Factor{{Num: 1, Den: 2}, {Num: 3, Den: 2}, {Num: 1, Den: 1}}})
	// One prompt token costs 950,001 pico-USD, one of output 4,000,007.
	for _, tt := range []struct {
		provider string
		status   int
		halves   int64 // of the model's price
	}{
		{``, 200, 3},
		{`,"provider":null`, 200, 3},
		{`,"provider":{"order":["x"]}`, 200, 3},
		{`,"provider":{"max_price":{"prompt":0.950001}}`, 200, 2},
		{`,"provider":{"max_price":{"prompt":"0.95","completion":100}}`, 200, 1},
		{`,"provider":{"max_price":{"prompt":9,"completion":4.0000069}}`, 200, 1},
		{`,"provider":{"max_price":{"prompt":0.1}}`, 404, 0},
	} {
		s.Reset()
		resp, err := http.Post(url+"/chat/completions", "application/json", strings.NewReader(ask("fault:out=3 cached=0", tt.provider)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		settled(t, s)
		bill := s.Bill()
		want := ((bill.PromptTokens*full.Input+bill.CompletionTokens*full.Output)*tt.halves + 1999) / 2000
		if resp.StatusCode != tt.status || bill.NanoUSD != want {
			t.Errorf("%s: %d, %d nano-USD, want %d, %d", tt.provider, resp.StatusCode, bill.NanoUSD, tt.status, want)
		}
	}
}
