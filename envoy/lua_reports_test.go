package envoy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aigateway/envoy"
)

// Of the reports between the first and the last, those are kept that may be
// dearer than the one after them: a number shrank, or more was cached.
func TestReportsThatShrinkAreKept(t *testing.T) {
	v := newVM(t)
	report := func(in, cached, out int) string {
		return fmt.Sprintf(`{"prompt_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d},"completion_tokens":%d}`, in, cached, out)
	}
	for name, tt := range map[string]struct {
		list   []string
		others []string
		many   bool
	}{
		"growing":            {list: []string{report(1, 0, 1), report(1, 0, 2), report(2, 0, 2), report(2, 0, 3)}},
		"equal":              {list: []string{report(1, 0, 1), report(1, 0, 1), report(1, 0, 1)}},
		"output shrinks":     {list: []string{report(1, 0, 1), report(1, 0, 9), report(1, 0, 3)}, others: []string{report(1, 0, 9)}},
		"input shrinks":      {list: []string{report(1, 0, 1), report(9, 0, 1), report(1, 0, 3)}, others: []string{report(9, 0, 1)}},
		"more is cached":     {list: []string{report(1, 0, 1), report(9, 0, 1), report(9, 5, 1)}, others: []string{report(9, 0, 1)}},
		"less is cached":     {list: []string{report(1, 0, 1), report(9, 5, 1), report(9, 0, 1)}, others: []string{report(9, 5, 1)}},
		"another shape":      {list: []string{report(1, 0, 1), `{"a":1}`, report(9, 0, 1)}, others: []string{`{"a":1}`}},
		"digits and dots":    {list: []string{`{"cost":1}`, `{"cost":1.5}`, `{"cost":1.45}`}, others: []string{`{"cost":1.5}`}},
		"exponents":          {list: []string{`{"cost":1}`, `{"cost":2e-3}`, `{"cost":9e-4}`}, others: []string{`{"cost":2e-3}`}},
		"the first is known": {list: []string{report(9, 0, 9), report(1, 0, 1), report(9, 0, 9), report(1, 0, 2)}},
		"again and again":    {list: []string{report(1, 0, 1), report(9, 0, 9), report(2, 0, 2), report(9, 0, 9), report(2, 0, 2)}, others: []string{report(9, 0, 9)}},
		"an empty one":       {list: []string{report(1, 0, 1), report(9, 0, 9), `{}`, `{ }`}},
	} {
		events, document := "", `{"x":1`
		for _, u := range tt.list {
			events += `data: {"choices":[],"usage":` + u + "}\n\n"
			document += `,"usage":` + u
		}
		last := tt.list[len(tt.list)-1]
		if len(last) < 4 {
			last = tt.list[1]
		}
		for kind, body := range map[string]string{sse: events, jsn: document + "}"} {
			for _, size := range []int{len(body), 1, 50} {
				got := v.respond(kind, false, chop(body, size)...).Report
				others, _ := got["others"].(string)
				if others != strings.Join(tt.others, " ") || got["usage"] != last || got["first_usage"] != tt.list[0] || got["many"] != nil {
					t.Errorf("%s as %s by %d: %v", name, kind, size, got)
				}
			}
		}
	}
}

func TestMoreReportsThanAreKeptAreSaid(t *testing.T) {
	v := newVM(t)
	list := func(n int, pad string) string {
		body := `{"usage":{"a":0}`
		for i := range n {
			body += fmt.Sprintf(`,"usage":{"a":%d%s}`, 1000-i, pad)
		}
		return body + "}"
	}
	for _, tt := range []struct {
		body string
		many bool
	}{
		{list(17, ""), false}, {list(18, ""), true}, {list(5, `,"b":"`+strings.Repeat("x", 8000)+`"`), false}, {list(6, `,"b":"`+strings.Repeat("x", 8000)+`"`), true},
	} {
		if got := v.respond(jsn, false, tt.body).Report; (got["many"] == true) != tt.many {
			t.Errorf("%.60s…: many is %v, want %v", tt.body, got["many"], tt.many)
		}
	}
	// Few bytes that change a long report again and again are not followed.
	long := strings.Repeat(`,"z":"`+strings.Repeat("y", 900)+`"`, 9)
	pieces := []string{`{"usage":{"a":1` + long + `}`}
	for i := range 3000 {
		pieces = append(pieces, fmt.Sprintf(`,"usage":{"a":%d}`, i%2))
	}
	if got := v.respond(jsn, false, pieces...).Report; got["many"] != true {
		t.Errorf("many is %v", got["many"])
	}
}

// A usage object over the limit keeps its numbers.
func TestLongReportsKeepTheirNumbers(t *testing.T) {
	v := newVM(t)
	text := strings.Repeat(`x\"`, 12000)
	for name, tt := range map[string]struct{ usage, want string }{
		"a long text":          {`{"prompt_tokens":7, "note" : "` + text + `" ,"completion_tokens":2}`, `{"prompt_tokens":7,"note":"dropped","completion_tokens":2}`},
		"a long text inside":   {`{"prompt_tokens_details":{"cached_tokens":3,"note":"` + text + `"},"prompt_tokens":7}`, `{"prompt_tokens_details":{"cached_tokens":3,"note":"dropped"},"prompt_tokens":7}`},
		"a long array":         {`{"prompt_tokens":7,"log":[` + strings.Repeat("1,", 20000) + `1],"b":[1,2]}`, `{"prompt_tokens":7,"log":"dropped","b":[1,2]}`},
		"deep nesting":         {`{"a":{"b":{"c":{"d":` + strings.Repeat(`{"e":`, 5000) + "1" + strings.Repeat("}", 5000) + `}}},"prompt_tokens":7}`, `{"a":{"b":{"c":{"d":"dropped"}}},"prompt_tokens":7}`},
		"a long number":        {`{"prompt_tokens":` + strings.Repeat("7", 20000) + `,"b":1}`, `{"prompt_tokens":"dropped","b":1}`},
		"blanks":               {`{"prompt_tokens":` + strings.Repeat(" \n", 20000) + `7}`, `{"prompt_tokens":7}`},
		"iterations with text": {`{"iterations":[{"input_tokens":5,"note":"` + text + `"},{"input_tokens":6}],"input_tokens":1}`, `{"iterations":[{"input_tokens":5,"note":"dropped"},{"input_tokens":6}],"input_tokens":1}`},
		"short enough":         {`{"prompt_tokens":7,"note":"` + strings.Repeat("x", envoy.MaxUsage-32) + `"}`, ""},
	} {
		if !json.Valid([]byte(tt.usage)) {
			t.Fatalf("%s is no JSON", name)
		}
		if tt.want == "" {
			tt.want = tt.usage
		}
		for kind, body := range map[string]string{jsn: `{"usage":` + tt.usage + `,"model":"m"}`, sse: `data: {"choices":[],"usage":` + strings.ReplaceAll(tt.usage, "\n", " ") + ",\"model\":\"m\"}\n\ndata: [DONE]\n\n"} {
			for _, size := range []int{len(body), 5000, 77} {
				got := v.respond(kind, true, chop(body, size)...)
				want := map[string]any{"usage": tt.want, "first_usage": tt.want, "model": `"m"`, "done": true}
				if diff := cmp.Diff(want, money(got.Report)); diff != "" {
					t.Fatalf("%s as %s by %d (-want +got):\n%.600s", name, kind, size, diff)
				}
				if kind == sse && got.Body != "data: [DONE]\n\n" {
					t.Errorf("%s: the chunk was not stripped", name)
				}
			}
		}
	}
}

// The answer's own id, and the ids of what it made: for calls that only name them.
func TestIdsOfAnAnswer(t *testing.T) {
	v := newVM(t)
	long := strings.Repeat("i", 128)
	many, first := `{"id":"resp_2","output":[`, ""
	for i := range 70 {
		many += fmt.Sprintf(`{"type":"message","id":"m%d","content":[{"id":"no"}]},`, i)
		if i < 64 {
			first += fmt.Sprintf("m%d ", i)
		}
	}
	for name, tt := range map[string]struct{ kind, body, id, items string }{
		"chat":      {jsn, `{"id":"chatcmpl-1","choices":[{"id":"no","message":{"id":"no","content":"x"}}]}`, "chatcmpl-1", ""},
		"responses": {jsn, `{"id":"resp_1","output":[{"id":"rs_1"},{"content":[{"id":"no"}],"id":"msg_1"},{"id":null},{"id":7}],"tools":[{"id":"no"}]}`, "resp_1", "rs_1 msg_1"},
		"many":      {jsn, many + "{}]}", "resp_2", strings.TrimSpace(first)},
		"too long":  {jsn, `{"id":"` + long + `i","output":[{"id":"` + long + `"},{"id":"` + long + `i"},{"id":"a\"b"},{"id":""}]}`, "", long},
		"messages": {sse, event("message_start", `{"type":"message_start","message":{"id":"msg_1","usage":{"a":1}}}`) +
			event("content_block_start", `{"type":"content_block_start","content_block":{"id":"toolu_1"}}`), "msg_1", ""},
		"a stream of responses, cut": {sse, event("response.created", `{"type":"response.created","response":{"id":"resp_1","output":[]}}`) +
			event("response.output_item.added", `{"type":"response.output_item.added","item":{"id":"rs_1","summary":[{"id":"no"}]}}`) +
			event("response.output_text.delta", `{"type":"response.output_text.delta","item_id":"no","delta":"x"}`) +
			event("response.output_item.done", `{"type":"response.output_item.done","item":{"id":"rs_1"}}`) +
			event("response.output_item.added", `{"type":"response.output_item.added","item":{"type":"message","id":"msg_1"}}`), "resp_1", "rs_1 msg_1"},
		"a stream whose items come at the end": {sse, event("response.completed", `{"type":"response.completed","response":{"output":[{"id":"rs_1"},{"id":"msg_1"}],"id":"resp_1"}}`), "resp_1", "rs_1 msg_1"},
	} {
		for _, size := range []int{len(tt.body), 1, 30} {
			got := v.respond(tt.kind, false, chop(tt.body, size)...).Report
			id, _ := got["id"].(string)
			items, _ := got["items"].(string)
			if id != tt.id || items != tt.items {
				t.Errorf("%s by %d: id %q items %q, want %q %q", name, size, id, items, tt.id, tt.items)
			}
		}
	}
}
