package envoy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"aigateway/envoy"
)

const (
	sse  = "text/event-stream; charset=utf-8"
	jsn  = "application/json"
	use  = `{"prompt_tokens":7,"completion_tokens":2,"total_tokens":9}`
	use2 = `{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}`
)

// streams is the table of shapes seen in the wild, and of hostile ones.
var streams = []struct {
	name, body string
	stripped   string // what is left under strip; "" for all of it
	report     map[string]any
}{
	{
		name: "openai chat",
		body: `data: {"id":"1","model":"kimi","choices":[{"delta":{"content":"hi"}}],"usage":null}` + "\n\n" +
			`data: {"id":"1","model":"kimi","choices":[],"usage":` + use + `}` + "\n\ndata: [DONE]\n\n",
		stripped: `data: {"id":"1","model":"kimi","choices":[{"delta":{"content":"hi"}}],"usage":null}` + "\n\ndata: [DONE]\n\n",
		report:   map[string]any{"usage": use, "first_usage": use, "model": `"kimi"`, "done": true},
	},
	{
		name: "crlf, comments and fields",
		body: ": hello\r\n\r\nevent: message\r\nid: 4\r\ndata: {\"choices\":[1]}\r\n\r\n: ping\r\n" +
			"data:{\"choices\": [ ] ,\"usage\" : " + use + " , \"service_tier\":\"flex\"}\r\n\r\ndata: [DONE]\r\n\r\n",
		stripped: ": hello\r\n\r\nevent: message\r\nid: 4\r\ndata: {\"choices\":[1]}\r\n\r\n: ping\r\ndata: [DONE]\r\n\r\n",
		report:   map[string]any{"usage": use, "first_usage": use, "service_tier": `"flex"`, "done": true},
	},
	{
		name: "tier and model in the first chunk only",
		body: `data: {"id":"1","model":"kimi","service_tier":"priority","choices":[{"delta":{"role":"assistant","content":""}}],"usage":null}` + "\n\n" +
			`data: {"choices":[{"delta":{"content":"hi"}}]}` + "\n\n" +
			`data: {"model":"k2","choices":[],"service_tier":null,"usage":` + use + `}` + "\n\ndata: [DONE]\n\n",
		stripped: `data: {"id":"1","model":"kimi","service_tier":"priority","choices":[{"delta":{"role":"assistant","content":""}}],"usage":null}` + "\n\n" +
			`data: {"choices":[{"delta":{"content":"hi"}}]}` + "\n\ndata: [DONE]\n\n",
		report: map[string]any{"usage": use, "first_usage": use, "model": `"k2"`, "service_tier": `"priority"`, "done": true},
	},
	{
		name:     "cr only",
		body:     "data: {\"choices\":[],\"usage\":" + use + "}\r\rdata: {\"choices\":[2]}\r\r: x\rdata: [DONE]\r\r",
		stripped: "data: {\"choices\":[2]}\r\r: x\rdata: [DONE]\r\r",
		report:   map[string]any{"usage": use, "first_usage": use}, // not the last thing before the end
	},
	{
		name:     "mixed line ends",
		body:     "\r\n\n\rdata: {\"choices\":[],\"usage\":" + use + "}\n\r\ndata: {\"choices\":[],\ndata:\"usage\":\r\ndata: " + use2 + "}\r\n\rdata\n\n",
		stripped: "\r\n\n\rdata\n\n",
		report:   map[string]any{"usage": use2, "first_usage": use},
	},
	{
		name:     "last event without its blank line",
		body:     "data: {\"choices\":[{}]}\n\ndata: {\"choices\":[],\"usage\":" + use + "}",
		stripped: "data: {\"choices\":[{}]}\n\n",
		report:   map[string]any{"usage": use, "first_usage": use},
	},
	{
		name:   "cut within the usage",
		body:   "data: {\"choices\":[{}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":7",
		report: map[string]any{},
	},
	{
		name:   "azure: no choices, usage null, stays",
		body:   "data: {\"choices\":[],\"usage\":null}\n\ndata: {\"choices\":[]}\n\n",
		report: map[string]any{},
	},
	{
		name: "gemini: usage on chunks with choices stays",
		body: "data: {\"choices\":[{}],\"usage\":" + use + "}\n\ndata: {\"choices\":[{}],\"usage\":" + use2 + "}\n\n" +
			"data: {\"choices\":[{}],\"usage\":" + use2 + "}\n\n",
		report: map[string]any{"usage": use2, "first_usage": use},
	},
	{
		name: "moonshot without the option: usage inside choices is not a report",
		body: "data: {\"choices\":[{\"usage\":" + use + "}]}\n\ndata: [DONE]\n\n", report: map[string]any{"done": true},
	},
	{
		name:     "moonshot with the option: again, in a chunk of its own",
		body:     "data: {\"choices\":[{\"finish_reason\":\"stop\",\"usage\":" + use + "}]}\n\ndata: {\"choices\":[],\"usage\":" + use + "}\n\ndata: [DONE]\n\n",
		stripped: "data: {\"choices\":[{\"finish_reason\":\"stop\",\"usage\":" + use + "}]}\n\ndata: [DONE]\n\n",
		report:   map[string]any{"usage": use, "first_usage": use, "finished": 1, "done": true},
	},
	{
		name: "groq: in x_groq, beside the last choice, and in a chunk of its own",
		body: "data: {\"choices\":[{}],\"x_groq\":{\"usage\":" + use2 + "},\"usage\":" + use + "}\n\n" +
			"data: {\"choices\":[],\"usage\":" + use + ",\"service_tier\":\"on_demand\"}\n\ndata: [DONE]\n\n",
		stripped: "data: {\"choices\":[{}],\"x_groq\":{\"usage\":" + use2 + "},\"usage\":" + use + "}\n\ndata: [DONE]\n\n",
		report:   map[string]any{"usage": use, "first_usage": use, "service_tier": `"on_demand"`, "done": true},
	},
	{
		name: "anthropic messages",
		body: "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"model\":\"claude\",\"usage\":" + use + "}}\n\n" +
			"event: ping\ndata: {\"type\": \"ping\"}\n\n" +
			"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end\"},\"usage\":" + use2 + "}\n\n" +
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		report: map[string]any{"usage": use2, "first_usage": use, "model": `"claude"`, "finished": 1, "done": true},
	},
	{
		name: "openai responses",
		body: "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\n" +
			"data: {\"type\":\"response.completed\",\"response\":{\"model\":\"gpt\",\"service_tier\":\"default\",\"usage\":" + use + ",\"tool_usage\":{\"web_search\":{\"num_requests\":1}}}}\n\n",
		report: map[string]any{
			"usage": use, "first_usage": use, "model": `"gpt"`, "service_tier": `"default"`, "done": true,
			"tool_usage": `{"web_search":{"num_requests":1}}`,
		},
	},
	{
		name: "usage elsewhere, or in an unfinished object, is not the chunk to strip",
		body: "data: {\"choices\":[],\"response\":{\"usage\":" + use + "}}\n\n" +
			"data: {\"choices\":[],\"usage\":" + use2 + ",\"x\":[\n\ndata: {\"choices\":[3],\"usage\":" + use2 + "}\n\n",
		report: map[string]any{"usage": use2, "first_usage": use},
	},
	{
		name: "hostile strings",
		body: `data: {"choices":[{"delta":{"content":"\"choices\":[],\"usage\":{\"prompt_tokens\":1} [DONE] \\"}}],"usage":null}` + "\n\n" +
			`data: {"x":"\\\"usage\":{","choices":[{"m":{"choices":[],"usage":{"a":1}}}]}` + "\n\n" +
			`data: {"x\"usage":{"a":1},"choices":[],"us\u0061ge":{"a":1}}` + "\n\n" +
			`data: {"choices":[],"y":{"usage":{"a":1}}}` + "\n\n" +
			`data: "[DONE]"` + "\n\n" + `data: ["usage",{"usage":{"a":2}}]` + "\n\n",
		report: map[string]any{},
	},
	{
		name: "too long to capture: nothing older passes for the last report",
		body: "data: {\"choices\":[{}],\"usage\":" + use + "}\n\n" +
			"data: {\"choices\":[],\"usage\":{" + strings.Repeat(`"x":1,`, envoy.MaxUsage/5) + "\"y\":2}}\n\ndata: [DONE]\n\n",
		report: map[string]any{"first_usage": use, "done": true},
	},
}

func TestStreamSplitAtEveryByte(t *testing.T) {
	skipLong(t)
	v := newVM(t)
	for _, tc := range streams {
		t.Run(tc.name, func(t *testing.T) {
			v.t = t
			for _, strip := range []bool{false, true} {
				want := tc.body
				if strip && tc.stripped != "" {
					want = tc.stripped
				}
				checkReference(t, tc.body, strip, want, tc.report)
				check(t, v, strip, want, tc.report, tc.body)
				check(t, v, strip, want, tc.report, tc.body, "")
				step := 1
				if len(tc.body) > 1000 {
					step = len(tc.body) / 100
				}
				for i := 1; i < len(tc.body); i += step {
					check(t, v, strip, want, tc.report, tc.body[:i], tc.body[i:])
				}
				if len(tc.body) < 2000 {
					check(t, v, strip, want, tc.report, append(strings.Split(tc.body, ""), "")...)
				}
			}
		})
	}
}

func checkReference(t *testing.T, body string, strip bool, want string, report map[string]any) {
	t.Helper()
	got, gotReport, ok := refStream(body, strip)
	if !ok {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("reference output (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(report, money(gotReport)); diff != "" {
		t.Fatalf("reference report (-want +got):\n%s", diff)
	}
}

func check(t *testing.T, v *vm, strip bool, want string, report map[string]any, pieces ...string) {
	t.Helper()
	got := v.respond(sse, strip, pieces...)
	if got.Body != want {
		t.Fatalf("strip=%v pieces %q:\ngot  %q\nwant %q", strip, pieces, got.Body, want)
	}
	if diff := cmp.Diff(money(report), money(got.Report)); diff != "" {
		t.Fatalf("strip=%v pieces %q: report (-want +got):\n%s", strip, pieces, diff)
	}
	if !strip {
		if diff := cmp.Diff(pieces, got.Pieces); diff != "" {
			t.Fatalf("without strip every piece passes as it is (-want +got):\n%s", diff)
		}
	}
}

func TestStreamOversizeEventPassesThrough(t *testing.T) {
	skipLong(t)
	v := newVM(t)
	usage := `data: {"choices":[],"usage":` + use + `}`
	for _, size := range []int{envoy.MaxEvent, envoy.MaxEvent + 1, envoy.MaxEvent + 20} {
		for _, end := range []string{"\n\n", "\r\n\r\n", "\r\r", ""} {
			pad := strings.TrimSuffix(usage, "}") + `,"p":"`
			pad += strings.Repeat("x", size-len(pad)-len(end)-2) + `"}` + end
			body := "data: {\"choices\":[{}],\"usage\":" + use + "}\n\n" + pad
			if end != "" {
				body += "data: [DONE]\n\n"
			}
			for _, strip := range []bool{false, true} {
				want, report, _ := refStream(body, strip)
				for _, cut := range []int{100, len(body) - 16, len(body) - 1} {
					check(t, v, strip, want, report, body[:cut], body[cut:])
				}
			}
		}
	}
}

// An event of any size is read as it passes, however it is cut, and is never
// kept: the Responses API repeats tools and output in its last one.
func TestStreamReadsEventsOfAnySize(t *testing.T) {
	skipLong(t)
	v := newVM(t)
	echo := `"tools":[` + strings.Repeat(`{"type":"function","name":"f","parameters":{"type":"object","properties":{"usage":{"type":"\\\"usage\\\":{"}}}},`, 4000) + `{}]`
	last := `{"type":"response.completed","response":{"id":"resp_1",` + echo + `,"output":[{"type":"message","id":"msg_1","content":[{"text":"` + strings.Repeat("x", 70000) + `"}]}],"usage":` + respUsage + `,"model":"g"},"sequence_number":9}`
	if len(last) < envoy.MaxEvent+100_000 {
		t.Fatalf("the event has %d bytes only", len(last))
	}
	want := map[string]any{"usage": respUsage, "first_usage": respUsage, "model": `"g"`, "done": true}
	for i, end := range []string{"\n\n", "\r\n\r\n", "\r\r", ""} {
		eol := strings.TrimSuffix(end, end[len(end)/2:])
		body := event("response.created", `{"type":"response.created","response":{"id":"resp_1","usage":null}}`) +
			"event: response.completed" + cmp2(eol, "\n") + "data: " + last + end
		for _, size := range [][]int{{len(body), 16_384}, {100_000}, {4_099}, {16_384}}[i] {
			for _, strip := range []bool{false, true} {
				pieces := chop(body, size)
				check(t, v, strip, body, want, pieces...)
				if strip {
					continue
				}
				if got := v.respond(sse, strip, pieces...).Report; got["id"] != "resp_1" || got["items"] != "msg_1" {
					t.Fatalf("ids %v %v", got["id"], got["items"])
				}
			}
		}
	}
}

// Several data lines, one of them huge, are one text.
func TestStreamReadsLongEventsOfManyLines(t *testing.T) {
	v := newVM(t)
	lines := `data:{"choices":[],` + "\ndata: \"x\":\"" + strings.Repeat("y", envoy.MaxEvent) + "\",\nignored: \"usage\":{\"a\":1}\ndata: \"usage\"\ndata\ndata:: " + use + "}\n\n"
	body := lines + "data: [DONE]\n\n"
	want := map[string]any{"usage": use, "first_usage": use, "done": true}
	for _, size := range []int{len(body), 70_000, 1009, 64} {
		check(t, v, false, body, want, chop(body, size)...)
		check(t, v, true, body, want, chop(body, size)...)
	}
}

// chop cuts s into pieces of size bytes.
func chop(s string, size int) (out []string) {
	for len(s) > size {
		out, s = append(out, s[:size]), s[size:]
	}
	return append(out, s)
}

// cmp2 is a, or b where a is empty.
func cmp2(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// TestStreamHoldsNothingWithoutNeed looks at each piece's output: under strip
// only an unfinished event is withheld, and never comments or long events.
func TestStreamHoldsNothingWithoutNeed(t *testing.T) {
	v := newVM(t)
	big := strings.Repeat("z", envoy.MaxEvent)
	got := v.respond(sse, true, "data: {\"a\":1}\n\n", ": keep", "-alive\n", "data: {", "\"b\":1}\n\ndata: {\"c\"", ":1}\n", "\n", "data: ", big, "z", "\n\n", "data: x", "")
	want := []string{"data: {\"a\":1}\n\n", ": keep", "-alive\n", "", "data: {\"b\":1}\n\n", "", "data: {\"c\":1}\n\n", "", "data: " + big, "z", "\n\n", "", "data: x"}
	if diff := cmp.Diff(want, got.Pieces); diff != "" {
		t.Errorf("pieces (-want +got):\n%s", diff)
	}
}

func TestStripRemovesContentLength(t *testing.T) {
	v := newVM(t)
	for _, strip := range []bool{false, true} {
		h, err := v.call("envoy_on_response", map[string]any{"rsv": "t", envoy.KeyStream: strip},
			map[string]any{":status": "200", "content-type": sse, "content-length": "5"}, nil, []string{"data:"})
		if err != nil {
			t.Fatal(err)
		}
		if _, has := v.answer(h).Header["content-length"]; has == strip {
			t.Errorf("strip=%v: content-length present: %v", strip, has)
		}
	}
}

// pieces of streams, from which the property test builds more.
var fragments = []string{
	"\n", "\r", "\r\n", ": comment", ":", "data", "data:", "data: ", "event: x", "id", `data: {"choices":[],"usage":` + use + `}`,
	`data: {"choices":[{"a":"b"}],"usage":` + use2 + `}`, `data: {"usage":` + use + `,"choices":[`, `data: ]}`, "data: [DONE]", "data:[DONE] ",
	`data: {"type":"message_stop"}`, `data: {"message":{"usage":{"in":1},"model":"m"},"type":"message_start"}`,
	`data: {"type":"x","choices":[ ] , "usage" : {"q":"\\\""} }`, "data: {\"choices\":[],\ndata: \"usage\":{}}", "\n\n", "\n\n", "\r\n\r\n", "\r\r",
	`data: {"usage":null,"choices":[]}`, `data: {"usage":"{","model":null,"service_tier":"a b"}`, `data: {"response":{"usage":{"z":[1,{}]},"tool_usage":{}}}`,
	`data: {"choices":[{"delta":{"content":"x"}}]}`, `data: {"choices":[{"delta":{},"finish_reason":"stop"}]}`, `data: {"choices":[{"finish_reason":"stop"},{"index":1}]}`,
	`data: {"type":"message_delta","usage":` + use + `}`, `data: {"type":"message_delta","delta":{"stop_reason":"x"}}`, `data: {"error":{"a":1},"choices":[{"finish_reason":"error"}]}`,
}

func TestStreamProperty(t *testing.T) {
	v := newVM(t)
	rapid.Check(t, func(rt *rapid.T) {
		body := strings.Join(rapid.SliceOfN(rapid.SampledFrom(fragments), 0, 14).Draw(rt, "fragments"), "")
		strip := rapid.Bool().Draw(rt, "strip")
		compare(rt, v, body, strip, rapid.SliceOfN(rapid.IntRange(0, len(body)), 0, 6).Draw(rt, "cuts"))
	})
}

func FuzzStream(f *testing.F) {
	for _, tc := range streams {
		f.Add(tc.body, true, uint16(3), uint16(40))
		f.Add(tc.body, false, uint16(9), uint16(20))
	}
	f.Add("data: {\"usage\":{\"a\":1},\"type\":{\"delta\":null}}\n\n", false, uint16(3), uint16(4)) // no event of such a type
	f.Add("x: y\n\n", false, uint16(1), uint16(2))                                                  // as zlib begins
	v := newVM(f)                                                                                   // one per fuzzing process
	f.Fuzz(func(t *testing.T, body string, strip bool, a, b uint16) {
		v.t = t
		compare(t, v, body, strip, []int{int(a) % (len(body) + 1), int(b) % (len(body) + 1)})
	})
}

type fataler interface{ Fatalf(string, ...any) }

// compare checks that the cuts change nothing, and the reference agrees where
// it has an opinion.
func compare(t fataler, v *vm, body string, strip bool, cuts []int) {
	whole := v.respond(sse, strip, body, "")
	cut := v.respond(sse, strip, append(split(body, cuts), "")...)
	if whole.Body != cut.Body {
		t.Fatalf("body %q cut at %v (strip=%v):\nwhole %q\ncut   %q", body, cuts, strip, whole.Body, cut.Body)
	}
	if diff := cmp.Diff(normal(whole.Report), normal(cut.Report)); diff != "" {
		t.Fatalf("body %q cut at %v: report (-whole +cut):\n%s", body, cuts, diff)
	}
	if !strip && whole.Body != body {
		t.Fatalf("body %q came out as %q", body, whole.Body)
	}
	want, report, ok := refStream(body, strip)
	if !ok {
		return
	}
	if want != whole.Body {
		t.Fatalf("body %q (strip=%v):\ngot  %q\nwant %q", body, strip, whole.Body, want)
	}
	if diff := cmp.Diff(report, normal(whole.Report)); diff != "" {
		t.Fatalf("body %q: report (-want +got):\n%s", body, diff)
	}
}

func split(s string, cuts []int) []string {
	marks := map[int]bool{}
	for _, c := range cuts {
		marks[c] = true
	}
	var out []string
	from := 0
	for i := 0; i <= len(s); i++ {
		if marks[i] || i == len(s) {
			out = append(out, s[from:i])
			from = i
		}
	}
	return out
}

func BenchmarkLuaStreamChunk(b *testing.B) {
	v := newVM(b)
	chunk := fmt.Sprintf(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"kimi-k2.6","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}],"usage":null}`, "hello there") + "\n\n"
	pieces := make([]string, 1000)
	for i := range pieces {
		pieces[i] = chunk
	}
	for b.Loop() {
		v.respond(sse, true, pieces...)
	}
}
