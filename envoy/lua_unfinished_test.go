package envoy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What says itself that it is not finished, or ends in something else than its
// report, has not ended with that report.
func TestUnfinishedAnswersAreNotDone(t *testing.T) {
	v := newVM(t)
	text := `{"choices":[{"index":0,"delta":{"content":"hi"}}],"usage":` + use + `}`
	for name, tt := range map[string]struct {
		body string
		done bool
	}{
		"events that end in an error":      {"data: " + text + "\n\ndata: {\"error\":{\"message\":\"x\"}}\n\ndata: [DONE]\n\n", false},
		"events with no error":             {"data: " + text + "\n\ndata: {\"error\":null}\n\ndata: [DONE]\n\n", true},
		"events with an empty error":       {"data: " + text + "\n\ndata: {\"error\":{}}\n\ndata: [DONE]\n\n", true},
		"a long error":                     {"data: " + text + "\n\ndata: {\"error\":\"" + pad("x", 9000) + "\"}\n\ndata: [DONE]\n\n", false},
		"an error with a report":           {"data: {\"error\":{\"message\":\"x\"},\"usage\":" + use + "}\n\ndata: [DONE]\n\n", true},
		"lines, the last without a report": {text + "\n" + `{"choices":[{"index":0,"delta":{"content":"more"}}]}` + "\n", false},
		"lines, each with a report":        {text + "\n" + text + "\n", false},
		"lines, the last with the report":  {`{"choices":[{"index":0,"delta":{"content":"hi"}}]}` + "\n" + text, false},
		"a document, then the end mark":    {text + "\n\ndata: [DONE]\n\n", true},
		"a line, and something like it":    {text + "\n\ndata: [DONE]x\n\n", false},
		"a line of Messages":               {`{"type":"message_start","message":{"usage":` + use + `}}`, false},
		"a line of Messages, the last":     {`{"type":"message_start","message":{"usage":` + use + `}}` + "\n" + `{"type":"message_stop","usage":` + use + `}`, true},
		"a line of Responses":              {`{"type":"response.in_progress","response":{"status":"in_progress","usage":` + use + `}}`, false},
		"a line of Responses, the last":    {`{"type":"response.completed","response":{"usage":` + use + `}}`, true},
		"a message":                        {`{"type":"message","content":[],"usage":` + use + `}`, true},
		"a text in one event with it":      {"data: " + text + "\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n", false},
		"events without blank lines":       {"data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\ndata: " + text + "\ndata: [DONE]\n", true},
		"the same, text after the report":  {"data: " + text + "\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\ndata: [DONE]\n", false},
		"a response that is queued":        {`{"id":"resp_1","status":"queued","output":[],"usage":` + use + `}`, false},
		"a response that goes on":          {`{"id":"resp_1","usage":` + use + `,"output":[],"status":"in_progress"}`, false},
		"a response that ended":            {`{"id":"resp_1","status":"incomplete","output":[],"usage":` + use + `}`, true},
		"a response whose item goes on":    {`{"id":"resp_1","status":"completed","output":[{"status":"in_progress"}],"usage":` + use + `}`, true},
		"a report in what is called meta":  {`{"results":[],"meta":{"billed_units":{"search_units":1}}}`, true},
	} {
		for _, size := range []int{len(tt.body), 1, 5} {
			got := v.respond(jsn, false, chop(tt.body, size)...)
			if diff := cmp.Diff(tt.done, got.Report["done"] == true); diff != "" || got.Report["usage"] == nil {
				t.Errorf("%s by %d: done (-want +got):\n%s%v", name, size, diff, got.Report)
			}
		}
	}
}

// A report that came with the event that ends an answer is the last word, whatever
// says nothing behind it: new kinds of events come there first.
func TestEventsBehindTheEnd(t *testing.T) {
	v := newVM(t)
	completed := sent(`{"type":"response.completed","response":{"output":[{}],"usage":` + use + `}}`)
	for name, tt := range map[string]struct {
		body string
		done bool
	}{
		"nothing":                 {completed, true},
		"an event nobody knows":   {completed + sent(`{"type":"response.done"}`) + sent(`{"type":"keepalive","sequence_number":9}`), true},
		"and an end mark":         {completed + sent(`{"type":"response.done"}`) + sent("[DONE]"), true},
		"a text":                  {completed + sent(`{"type":"response.output_text.delta","delta":"x"}`), false},
		"an item":                 {completed + sent(`{"type":"response.output_item.added","item":{}}`), false},
		"an error":                {completed + sent(`{"type":"error","message":"x"}`), false},
		"another kind of error":   {completed + sent(`{"type":"response.done","error":{"message":"x"}}`), false},
		"choices":                 {completed + sent(`{"choices":[{"index":0}]}`), false},
		"a report and an event":   {completed + sent(`{"type":"response.done","usage":`+use+`}`) + sent(`{"type":"keepalive"}`), false},
		"an event before the end": {sent(`{"type":"response.in_progress","response":{"usage":`+use+`}}`) + sent(`{"type":"keepalive"}`) + sent(`{"type":"message_stop"}`), false},
	} {
		for _, size := range []int{len(tt.body), 1, 5} {
			if got := v.respond(sse, false, chop(tt.body, size)...); (got.Report["done"] == true) != tt.done || got.Body != tt.body {
				t.Errorf("%s by %d: %v", name, size, got.Report)
			}
		}
	}
}

// Some report before they give the reason for the end, each by itself. Behind the
// text, with nothing but reasons and the end mark after it, such a report counts
// all output; with anything else there, it is the least there was.
func TestReportsBeforeTheReasonForTheEnd(t *testing.T) {
	v := newVM(t)
	chunk := func(choices string) string { return sent(`{"id":"c","choices":[` + choices + `]}`) }
	text := chunk(`{"index":0,"delta":{"content":"hi"},"finish_reason":null}`)
	thought := chunk(`{"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null}`)
	alone := sent(`{"choices":[],"usage":` + use + `}`)
	zeros := sent(`{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`)
	stop := chunk(`{"index":0,"delta":{},"finish_reason":"stop"}`)
	second := chunk(`{"index":1,"delta":{"content":""},"finish_reason":"length"}`)
	mark := sent("[DONE]")
	delta := func(more string) string { return sent(`{"type":"message_delta",` + more + `}`) }
	block := sent(`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`) + sent(`{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}`)
	end := delta(`"delta":{"stop_reason":"end_turn"}`)
	closed := sent(`{"type":"message_stop"}`)
	for name, tt := range map[string]struct {
		body string
		done bool
	}{
		"a reason and the end mark":             {text + alone + stop + mark, true},
		"a reason beside the role":              {text + alone + chunk(`{"index":0,"delta":{"role":"assistant","content":"","tool_calls":[]},"logprobs":null,"finish_reason":"stop"}`) + mark, true},
		"no list of choices":                    {text + sent(`{"usage":`+use+`}`) + stop + mark, true},
		"thoughts before it":                    {thought + alone + stop + mark, true},
		"a completion":                          {chunk(`{"index":0,"text":"hi","finish_reason":null}`) + alone + chunk(`{"index":0,"text":"","finish_reason":"length"}`) + mark, true},
		"comments and pings":                    {text + alone + ": keep-alive\n\n" + sent(`{"type":"ping"}`) + stop + ": x\n\n" + mark, true},
		"two choices, in two events":            {text + alone + stop + second + mark, true},
		"two choices, in one event":             {text + alone + chunk(`{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":"stop"}`) + mark, true},
		"two choices, around it":                {text + stop + alone + second + mark, true},
		"the report twice":                      {text + alone + alone + stop + mark, true},
		"Messages":                              {block + delta(`"delta":{"stop_reason":null},"usage":`+use) + end + closed, true},
		"Messages, and a ping":                  {block + delta(`"usage":`+use) + sent(`{"type":"ping"}`) + end + closed, true},
		"no end mark":                           {text + alone + stop, false},
		"no reason, but a choice":               {text + alone + chunk(`{"index":0,"delta":{},"finish_reason":null}`) + mark, false},
		"a reason for one of two in an event":   {text + alone + chunk(`{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":null}`) + mark, false},
		"a reason for two, one without a place": {text + alone + chunk(`{"index":0,"delta":{},"finish_reason":"stop"},{"delta":{}}`) + mark, false},
		"text behind it":                        {text + alone + text + stop + mark, false},
		"text beside the reason":                {text + alone + chunk(`{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}`) + mark, false},
		"text behind the reason":                {text + alone + stop + text + mark, false},
		"thoughts behind it":                    {text + alone + thought + stop + mark, false},
		"a call of a tool behind it":            {text + alone + chunk(`{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"f"}}]},"finish_reason":"tool_calls"}`) + mark, false},
		"the whole message beside the reason":   {text + alone + chunk(`{"index":0,"delta":{},"message":{"content":"hi"},"finish_reason":"stop"}`) + mark, false},
		"a completion's text behind it":         {chunk(`{"index":0,"text":"hi"}`) + alone + chunk(`{"index":0,"text":"x","finish_reason":"length"}`) + mark, false},
		"an error beside the reason":            {text + alone + sent(`{"error":{"code":502},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}`) + mark, false},
		"an error behind the reason":            {text + alone + stop + sent(`{"error":{"code":502}}`) + mark, false},
		"no output before it":                   {alone + stop + mark, false}, // which may be hidden
		"only a role before it":                 {chunk(`{"index":0,"delta":{"role":"assistant","content":""}}`) + alone + stop + mark, false},
		"zeros that begin":                      {zeros + text + stop + mark, false},
		"a running total beside text":           {sent(`{"choices":[{"index":0,"delta":{"content":"hi"}}],"usage":`+use+`}`) + stop + mark, false},
		"a running total beside a choice":       {text + sent(`{"choices":[{"index":0,"delta":{}}],"usage":`+use+`}`) + stop + mark, false},
		"a report beside a text of its own":     {text + sent(`{"text":"x","usage":`+use+`}`) + stop + mark, false},
		"the reason in one event with it":       {text + "data: {\"choices\":[],\"usage\":" + use + "}\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n" + mark, false},
		"reasons of two documents in one event": {text + alone + "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\ndata: {\"choices\":[{\"delta\":{}}]}\n\n" + mark, false},
		"an event of another kind":              {text + alone + sent(`{"type":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`) + mark, false},
		"Messages, a block behind it":           {block + delta(`"usage":`+use) + block + end + closed, false},
		"Messages, a delta without a reason":    {block + delta(`"usage":`+use) + delta(`"delta":{"stop_reason":null}`) + closed, false},
		"Messages, the report of the start":     {sent(`{"type":"message_start","message":{"usage":`+use+`}}`) + end + closed, false},
		"Messages, a report of a ping":          {block + sent(`{"type":"ping","usage":`+use+`}`) + end + closed, false},
		"Messages, no end":                      {block + delta(`"usage":`+use) + end, false},
		"Responses, none with the end":          {sent(`{"type":"response.output_text.delta","delta":"x"}`) + sent(`{"type":"response.in_progress","response":{"usage":`+use+`}}`) + sent(`{"type":"response.completed","response":{"usage":null}}`), false},
	} {
		crlf := strings.ReplaceAll(tt.body, "\n", "\r\n")
		for _, pieces := range [][]string{{tt.body}, chop(tt.body, 1), chop(tt.body, 7), {crlf}, chop(crlf, 3)} {
			got := v.respond(sse, false, pieces...)
			if (got.Report["done"] == true) != tt.done || got.Report["usage"] == nil {
				t.Errorf("%s in %d pieces: done %v, want %v: %v", name, len(pieces), got.Report["done"], tt.done, got.Report)
			}
		}
	}
}

// Some send a stream's events as documents, one behind the other: the last one's
// report is final once as many choices as were asked for have ended.
func TestDocumentsOfAStreamFinish(t *testing.T) {
	v := newVM(t)
	chunk := func(index, reason string) string {
		return `{"choices":[{"index":` + index + `,"delta":{"content":"hi"},"finish_reason":` + reason + `}]}` + "\n"
	}
	last := `{"choices":[],"usage":` + use + `}`
	for name, tt := range map[string]struct {
		body     string
		finished any
	}{
		"none ended":               {chunk("0", "null") + last, nil},
		"one of two ended":         {chunk("0", `"stop"`) + chunk("1", "null") + last, 1},
		"both ended":               {chunk("0", `"stop"`) + chunk("1", `"length"`) + last, 2},
		"the same ended twice":     {chunk("1", "null") + chunk("1", `"stop"`) + chunk("1", `"stop"`) + last, 1},
		"ended without a report":   {last + "\n" + chunk("0", `"stop"`), nil},
		"Messages":                 {`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":` + use + `}`, 1},
		"Messages that go on":      {`{"type":"message_delta","delta":{"stop_reason":null},"usage":` + use + `}`, nil},
		"a choice without a place": {`{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":` + use + `}`, 1},
	} {
		for _, size := range []int{len(tt.body), 1, 5} {
			got := v.respond(jsn, false, chop(tt.body, size)...)
			if got.Report["finished"] != tt.finished || got.Report["done"] != nil || got.Body != tt.body {
				t.Errorf("%s by %d: %v", name, size, got.Report)
			}
		}
	}
}

// Where an answer has output, wherever its format puts that, zeros beside it are no
// report. What has none says so, and an answer of a kind that nobody knows does not.
func TestOutputIsSeenWhereverItStands(t *testing.T) {
	v := newVM(t)
	for body, output := range map[string]bool{
		`{"text":"hello","usage":{"input_tokens":0}}`:                                                    true,
		`{"usage":{"input_tokens":0},"text":"` + pad("x", 9000) + `"}`:                                   true,
		`{"text":"","usage":{"input_tokens":0}}`:                                                         false,
		`{"text":{"format":{"type":"text"}},"output":[],"usage":{"input_tokens":0}}`:                     false,
		`{"text":{"format":{"schema":"` + pad("x", 9000) + `"}},"output":[],"usage":{"input_tokens":0}}`: false,
		`{"completion":"Hi","usage":{"input_tokens":0}}`:                                                 true,
		`{"output_text":"Hi","output":[],"usage":{"input_tokens":0}}`:                                    true,
		`{"message":{"content":"Hi"},"choices":[],"usage":{"input_tokens":0}}`:                           true,
		`{"message":{"content":""},"choices":[],"usage":{"input_tokens":0}}`:                             false,
		`{"embeddings":[[0.1]],"usage":{"total_tokens":0}}`:                                              true,
		`{"embedding":[0.1],"usage":{"total_tokens":0}}`:                                                 true,
		`{"choices":["Hi"],"usage":{"prompt_tokens":0}}`:                                                 true,
		`{"choices":[],"usage":{"prompt_tokens":0}}`:                                                     false,
		`{"choices":[{"message":{"content":""}}],"usage":{"prompt_tokens":0}}`:                           false,
		`{"error":{"message":"no"},"usage":{"prompt_tokens":0}}`:                                         false,
		`{"generated":"Hi","usage":{"prompt_tokens":0}}`:                                                 true,
		`{"usage":{"prompt_tokens":0}}`:                                                                  true,
		sent(`{"type":"response.completed","response":{"output":[{}],"usage":{"a":0}}}`):                 true,
		sent(`{"type":"response.completed","response":{"output":[],"usage":{"a":0}}}`):                   false,
		sent(`{"type":"response.completed","response":{"output_text":"a","usage":{"a":0}}}`):             true,
		sent(`{"type":"transcript.text.done","text":"Hi","usage":{"input_tokens":0}}`):                   true,
		sent(`{"type":"message_start","message":{"content":[{}],"usage":{"a":0}}}`):                      true,
		sent(`{"type":"message_start","message":{"content":[],"usage":{"a":0}}}`):                        false,
	} {
		for _, size := range []int{len(body), 1, 5} {
			if got := v.respond(jsn, false, chop(body, size)...); (got.Report["output"] == true) != output {
				t.Errorf("%s by %d: %v", body, size, got.Report)
			}
		}
	}
}

// A tier or a model may be named in any event that is read.
func TestTierOfAnyEvent(t *testing.T) {
	v := newVM(t)
	const text, report = `{"choices":[{"delta":{"content":"a"}}]}`, `{"choices":[],"usage":{"prompt_tokens":1}}`
	for name, events := range map[string][]string{
		"the first":           {`{"service_tier":"priority","choices":[{"delta":{"role":"assistant"}}]}`, text, report},
		"the choice's end":    {text, `{"service_tier":"priority","choices":[{"delta":{},"finish_reason":"stop"}]}`, report},
		"behind the report":   {text, report, `{"service_tier":"priority","choices":[]}`},
		"and none behind it":  {text, `{"service_tier":"priority","choices":[],"usage":{"prompt_tokens":1}}`, `{"service_tier":"","choices":[]}`},
		"the report's, later": {`{"service_tier":"auto","choices":[]}`, text, `{"service_tier":"priority","choices":[],"usage":{"prompt_tokens":1}}`},
	} {
		body := ""
		for _, e := range events {
			body += sent(e)
		}
		if got := v.respond(sse, false, body+"data: [DONE]\n\n"); got.Report["service_tier"] != `"priority"` {
			t.Errorf("%s: %v", name, got.Report)
		}
	}
}

func sent(data string) string { return "data: " + data + "\n\n" }
