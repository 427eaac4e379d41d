package envoy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	startUsage = `{"input_tokens":25,"cache_creation":{"ephemeral_5m_input_tokens":1,"ephemeral_1h_input_tokens":2},"cache_read_input_tokens":3,"output_tokens":1,"service_tier":"standard"}`
	deltaUsage = `{"input_tokens":25,"output_tokens":15,"server_tool_use":{"web_search_requests":1}}`
	respUsage  = `{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":5,"total_tokens":14}`
)

// event is one server-sent event of an API that names them.
func event(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }

// dialectStreams are streams of the other APIs, as their vendors document them,
// with each way they end.
var dialectStreams = []struct {
	name, body string
	stripped   string
	report     map[string]any
}{
	{
		name: "messages: pings and blocks between the two reports",
		body: event("message_start", `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"usage":`+startUsage+`}}`) +
			event("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`) +
			event("ping", `{"type": "ping"}`) +
			event("content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\"usage\":{\"output_tokens\":999}"}}`) +
			event("content_block_stop", `{"type":"content_block_stop","index":0}`) +
			event("message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":`+deltaUsage+`}`) +
			event("message_stop", `{"type":"message_stop"}`),
		report: map[string]any{"usage": deltaUsage, "first_usage": startUsage, "model": `"claude-x"`, "finished": 1, "done": true},
	},
	{
		name: "messages: a tool's input that looks like a report",
		body: event("message_start", `{"type":"message_start","message":{"type":"message","model":"c","usage":`+startUsage+`}}`) +
			event("content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","input":{"usage":{"output_tokens":0}},"usage":{"a":1}}}`) +
			event("content_block_delta", `{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{\"usage\":{}}"}}`),
		report: map[string]any{"usage": startUsage, "first_usage": startUsage, "model": `"c"`},
	},
	{
		name: "messages: an error ends the stream",
		body: event("message_start", `{"type":"message_start","message":{"type":"message","model":"c","usage":`+startUsage+`}}`) +
			event("ping", `{"type":"ping"}`) +
			event("error", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`),
		report: map[string]any{"usage": startUsage, "first_usage": startUsage, "model": `"c"`},
	},
	{
		name: "messages: cut after the delta",
		body: event("message_start", `{"type":"message_start","message":{"type":"message","model":"c","usage":`+startUsage+`}}`) +
			event("message_delta", `{"type":"message_delta","delta":{},"usage":`+deltaUsage+`}`),
		report: map[string]any{"usage": deltaUsage, "first_usage": startUsage, "model": `"c"`},
	},
	{
		name:   "messages: cut within the start",
		body:   "event: message_start\ndata: " + `{"type":"message_start","message":{"model":"c","usage":` + startUsage,
		report: map[string]any{},
	},
	{
		name: "responses: completed, with tool usage",
		body: event("response.created", `{"type":"response.created","response":{"id":"resp_1","status":"in_progress","model":"gpt-x","service_tier":"auto","usage":null},"sequence_number":0}`) +
			event("response.output_text.delta", `{"type":"response.output_text.delta","delta":"usage"}`) +
			event("response.completed", `{"type":"response.completed","response":{"output":[{"type":"message","content":[{"usage":{"a":1}}]}],"model":"gpt-x-2026","service_tier":"priority","usage":`+respUsage+`,"tool_usage":{"web_search":{"num_requests":2},"image_gen":{"output_tokens":7}}}}`),
		report: map[string]any{
			"usage": respUsage, "first_usage": respUsage, "model": `"gpt-x-2026"`, "service_tier": `"priority"`, "done": true,
			"tool_usage": `{"web_search":{"num_requests":2},"image_gen":{"output_tokens":7}}`,
		},
	},
	{
		name:   "responses: incomplete",
		body:   event("response.incomplete", `{"response":{"usage":`+respUsage+`,"model":"g","incomplete_details":{"reason":"max_output_tokens"}},"type":"response.incomplete"}`),
		report: map[string]any{"usage": respUsage, "first_usage": respUsage, "model": `"g"`, "done": true},
	},
	{
		name: "responses: failed without a report",
		body: event("response.in_progress", `{"type":"response.in_progress","response":{"usage":null}}`) +
			event("response.failed", `{"type":"response.failed","response":{"usage":null,"error":{"code":"server_error"}}}`),
		report: map[string]any{"done": true},
	},
	{
		name:   "responses: an error event",
		body:   event("response.created", `{"type":"response.created","response":{"usage":null}}`) + event("error", `{"type":"error","code":"x","message":"y"}`),
		report: map[string]any{},
	},
	{
		name: "completions",
		body: `data: {"object":"text_completion","choices":[{"text":"a","index":0}],"model":"m"}` + "\n\n" +
			`data: {"object":"text_completion","choices":[],"model":"m","usage":` + use + `}` + "\n\ndata: [DONE]\n\n",
		stripped: `data: {"object":"text_completion","choices":[{"text":"a","index":0}],"model":"m"}` + "\n\ndata: [DONE]\n\n",
		report:   map[string]any{"usage": use, "first_usage": use, "model": `"m"`, "done": true},
	},
}

func TestDialectStreamsSplitAtEveryByte(t *testing.T) {
	v := newVM(t)
	for _, tc := range dialectStreams {
		t.Run(tc.name, func(t *testing.T) {
			v.t = t
			for _, strip := range []bool{false, true} {
				want := tc.body
				if strip && tc.stripped != "" {
					want = tc.stripped
				}
				check(t, v, strip, want, tc.report, tc.body)
				check(t, v, strip, want, tc.report, strings.SplitAfter(tc.body, "\n")...)
				for i := 1; i < len(tc.body); i += 3 {
					check(t, v, strip, want, tc.report, tc.body[:i], tc.body[i:])
				}
			}
		})
	}
}

// Each dialect's stream cut after every event says only what had come by then,
// and is never done before its end.
func TestDialectStreamsCutAfterEveryEvent(t *testing.T) {
	v := newVM(t)
	for _, tc := range dialectStreams {
		events := strings.SplitAfter(tc.body, "\n\n")
		for n := range len(events) - 1 {
			got := v.respond(sse, false, strings.Join(events[:n], "")).Report
			if n < len(events)-2 && got["done"] != nil {
				t.Errorf("%s: done after %d of %d events", tc.name, n, len(events)-1)
			}
			if usage, _ := got["usage"].(string); usage != "" && !strings.Contains(strings.Join(events[:n], ""), usage) {
				t.Errorf("%s: usage %s after %d events", tc.name, usage, n)
			}
		}
	}
}

func TestDialectDocuments(t *testing.T) {
	v := newVM(t)
	for name, tc := range map[string]struct {
		body   string
		report map[string]any
	}{
		"messages": {`{"id":"msg_1","type":"message","model":"claude-x","content":[{"type":"tool_use","input":{"usage":{}}}],"stop_reason":"end_turn","usage":` + startUsage + `}`,
			map[string]any{"usage": startUsage, "first_usage": startUsage, "model": `"claude-x"`, "done": true}},
		"responses": {`{"id":"resp_1","object":"response","status":"completed","model":"gpt-x","output":[{"type":"message"}],"service_tier":"flex","usage":` + respUsage + `,"tool_usage":{"web_search":{"num_requests":1}}}`,
			map[string]any{"usage": respUsage, "first_usage": respUsage, "model": `"gpt-x"`, "service_tier": `"flex"`, "tool_usage": `{"web_search":{"num_requests":1}}`, "done": true}},
		"completions": {`{"object":"text_completion","model":"m","choices":[{"text":"usage"}],"usage":` + use + `}`,
			map[string]any{"usage": use, "first_usage": use, "model": `"m"`, "done": true}},
		"rerank by search unit": {`{"id":"x","results":[{"index":0,"relevance_score":0.9}],"meta":{"api_version":{"version":"2"},"billed_units":{"search_units":1}}}`,
			map[string]any{
				"usage":       `{"api_version":{"version":"2"},"billed_units":{"search_units":1}}`,
				"first_usage": `{"api_version":{"version":"2"},"billed_units":{"search_units":1}}`, "done": true,
			}},
		"rerank by token": {`{"object":"list","model":"rerank-x","data":[{"document":"{\"usage\":{}}"}],"usage":{"total_tokens":26}}`,
			map[string]any{"usage": `{"total_tokens":26}`, "first_usage": `{"total_tokens":26}`, "model": `"rerank-x"`, "done": true}},
		"units twice": {`{"meta":{"billed_units":{"search_units":3}},"results":[{}],"meta":{"billed_units":{"search_units":1}},"meta":{"x":1}}`,
			map[string]any{"usage": `{"billed_units":{"search_units":1}}`, "first_usage": `{"billed_units":{"search_units":3}}`, "done": true}},
		"both": {`{"meta":{"billed_units":{"search_units":1}},"usage":{"total_tokens":26}}`,
			map[string]any{"usage": `{"total_tokens":26}`, "first_usage": `{"total_tokens":26}`, "done": true}},
	} {
		for i := range len(tc.body) {
			got := v.respond(jsn, false, tc.body[:i], tc.body[i:])
			if diff := cmp.Diff(tc.report, money(got.Report)); diff != "" || got.Body != tc.body {
				t.Fatalf("%s cut at %d: report (-want +got):\n%s", name, i, diff)
			}
		}
	}
}

func TestRefusedCredentialsInBothEnvelopes(t *testing.T) {
	v := newVM(t)
	for anthropic, want := range map[bool]string{
		false: `{"error":{"message":"`,
		true:  `{"type":"error","error":{"message":"`,
	} {
		body := `{"error":"x"}`
		h, err := v.call("envoy_on_response", map[string]any{"rsv": "t", "anthropic": anthropic}, map[string]any{":status": "403", "content-type": jsn}, &body, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := v.answer(h)
		if !strings.HasPrefix(got.Body, want) || strings.Contains(got.Body, `"code":502`) == anthropic || strings.Contains(got.Body, `"type":"api_error"`) != anthropic ||
			got.Header[":status"] != "502" || got.Report["upstream_status"] != 403 {
			t.Errorf("anthropic %t: %+v", anthropic, got)
		}
	}
}
