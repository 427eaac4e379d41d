package envoy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"aigateway/envoy"
)

// seen runs a stream of which the output is counted, and returns what the report
// says: zeros where it says nothing.
func (v *vm) seen(strip bool, pieces ...string) envoy.Report {
	v.t.Helper()
	d := envoy.Decision{StripUsage: strip, CountOutput: true}
	h, err := v.call("envoy_on_response", map[string]any{"rsv": "t", envoy.KeyStream: d.Stream()}, map[string]any{":status": "200"}, nil, pieces)
	if err != nil {
		v.t.Fatalf("envoy_on_response: %v", err)
	}
	return v.reported(h)
}

// mark is what a report may say at most of so many bytes.
func mark(n int) int64 { return int64(n + n/8 + 32) }

// dialect writes the events of one stream: its first, and one for each part of
// its text or its arguments.
type dialect struct {
	first, text, call, arguments, after string // %s is a JSON string
}

var dialects = map[string]dialect{
	"chat": {
		first:     `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`,
		text:      `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":%s},"logprobs":null,"finish_reason":null}],"usage":null}`,
		call:      `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":""}}]}}]}`,
		arguments: `data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":%s}}]},"finish_reason":null}]}`,
		after:     `data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}`,
	},
	"chat of another": {
		text:      `data: {"choices": [{"delta" : {"role": "assistant", "reasoning_content": null, "content": %s}, "index": 0}]}`,
		call:      `data: {"choices": [{"delta": {"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}}]}`,
		arguments: `data: {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": %s}}]}, "index": 0}]}`,
	},
	"completions": {text: `data: {"id":"cmpl-1","object":"text_completion","choices":[{"text":%s,"index":0,"logprobs":null}]}`},
	"messages": {
		first:     "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}",
		text:      "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":%s}}",
		call:      "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}}",
		arguments: "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":%s}}",
		after:     "event: ping\ndata: {\"type\": \"ping\"}",
	},
	"responses": {
		first:     "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"instructions\":\"be good\",\"output\":[],\"usage\":null}}",
		text:      "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"item_id\":\"msg_1\",\"output_index\":0,\"delta\":%s,\"logprobs\":[],\"obfuscation\":\"xyz\"}",
		call:      "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"item\":{\"type\":\"function_call\",\"call_id\":\"call_1\",\"name\":\"f\",\"arguments\":\"\"}}",
		arguments: "event: response.function_call_arguments.delta\ndata: {\"type\":\"response.function_call_arguments.delta\",\"delta\":%s}",
		after:     "event: response.in_progress\ndata: {\"type\":\"response.in_progress\",\"response\":{\"tools\":[{\"name\":\"f\",\"parameters\":{\"description\":\"a long one\"}}]}}",
	},
}

// said is one part of an answer.
type said struct {
	text      string
	arguments bool
}

// write is a stream of an answer's parts, event by event.
func (d dialect) write(parts []said) []string {
	var events []string
	add := func(text string) {
		if text != "" {
			events = append(events, text+"\n\n")
		}
	}
	add(d.first)
	called := false
	for _, p := range parts {
		raw, _ := json.Marshal(p.text)
		if p.arguments && d.arguments != "" {
			if !called {
				add(d.call)
			}
			called = true
			add(fmt.Sprintf(d.arguments, raw))
		} else {
			add(fmt.Sprintf(d.text, raw))
		}
	}
	add(d.after)
	return events
}

// Whatever an answer says, in every dialect and however it is cut, the bytes that
// the filter reports are at least those of the texts that came whole, and an
// eighth and some more at most. Escapes, envelopes and names count no less than
// what they stand for.
func TestSeenCoversWhatCame(t *testing.T) {
	v := newVM(t)
	rapid.Check(t, func(rt *rapid.T) {
		name := rapid.SampledFrom([]string{"chat", "chat of another", "completions", "messages", "responses"}).Draw(rt, "dialect")
		parts := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) said {
			return said{rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", " the", `{"a":"}`, "\n\n", `"delta":`, `\"finish_reason`, "ü", "…", "\U0001F600", `","arguments":"`})).Draw(t, "text"), rapid.Bool().Draw(t, "arguments")}
		}), 0, 12).Draw(rt, "parts")
		events := dialects[name].write(parts)
		body := strings.Join(events, "")
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(body)), 0, 8).Draw(rt, "cuts")
		pieces := split(body, cuts)
		until := rapid.IntRange(0, len(pieces)).Draw(rt, "until")
		came := len(strings.Join(pieces[:until], ""))
		r := v.seen(rapid.Bool().Draw(rt, "strip"), pieces[:until]...)
		least, most := 0, 0
		for i, end := 0, 0; i < len(events); i++ {
			if end += len(events[i]); end > came {
				break
			}
			most += len(events[i]) * 3
			for _, p := range partsOf(name, events, parts, i) {
				least += max(len(p.text), 1)
			}
		}
		if r.Seen < int64(least) || r.Seen > mark(most) {
			rt.Fatalf("%s: %d bytes seen of %d in %q", name, r.Seen, least, pieces[:until])
		}
	})
}

// partsOf are the parts that stand in event i.
func partsOf(name string, events []string, parts []said, i int) []said {
	d, at := dialects[name], 0
	if d.first != "" {
		at++
	}
	called := false
	for _, p := range parts {
		if p.arguments && d.arguments != "" && !called {
			called = true
			at++
		}
		if at == i {
			return []said{p}
		}
		at++
	}
	return nil
}

// What is counted of the usual events is the text, and hardly more: envelopes
// would make ten tokens of each.
func TestSeenIsTheText(t *testing.T) {
	v := newVM(t)
	for name, d := range dialects {
		var parts []said
		bytes := 0
		for range 200 {
			parts = append(parts, said{text: " the"})
			bytes += len(" the")
		}
		events := d.write(parts)
		if r := v.seen(true, events...); r.Seen < int64(bytes) || r.Seen > mark(bytes+60) && name != "chat of another" {
			t.Errorf("%s: %d bytes seen, %d came", name, r.Seen, bytes)
		}
	}
}

// Only output moves the time, and only when nothing after it is unfinished.
func TestSeenAt(t *testing.T) {
	v := newVM(t)
	text := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + strings.Repeat("x", 300) + "\"}}]}\n\n"
	first := v.seen(false, text)
	if first.SeenAt.IsZero() {
		t.Fatal("no time")
	}
	for name, more := range map[string][]string{
		"a comment":          {": " + strings.Repeat("ping ", 3000) + "\n\n"},
		"a ping":             {"event: ping\ndata: {\"type\": \"ping\", \"pad\":\"" + strings.Repeat("x", 9000) + "\"}\n\n"},
		"usage":              {"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n"},
		"an unfinished one":  {text + `data: {"choices":[{"delta":{"content":"` + strings.Repeat("y", 1000)},
		"nothing but blanks": {"\n\n", "\r\n"},
	} {
		r := v.seen(false, append([]string{text}, more...)...)
		if gap := r.SeenAt.Sub(first.SeenAt).Milliseconds(); gap > 200 { // each vm goes on where the last one was
			t.Errorf("%s: the time moved by %d ms", name, gap)
		}
		if name != "an unfinished one" && r.Seen != mark(300) {
			t.Errorf("%s: %d bytes seen", name, r.Seen)
		}
	}
	many := make([]string, 400)
	for i := range many {
		many[i] = strings.Replace(text, strings.Repeat("x", 300), "", 1) // an empty text is a token, too
	}
	if r := v.seen(false, many...); r.Seen < 400 || r.Seen > mark(400) {
		t.Errorf("%d seen of 400 empty texts", r.Seen)
	}
}

// What may have waited for the client proves nothing, for good.
func TestSeenEndsWithALongPiece(t *testing.T) {
	v := newVM(t)
	text := "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"xx\"}}]}\n\n"
	for name, pieces := range map[string][]string{
		"many events in one piece": {text, strings.Repeat(text, 400), text},
		"one long event":           append(append([]string{text}, split("data: {\"a\":\""+strings.Repeat("x", 300_000)+"\"}\n\n", []int{1, 15_000, 30_000, 45_000, 60_000, 75_000, 90_000, 105_000, 120_000, 135_000, 150_000, 165_000, 180_000, 195_000, 210_000, 225_000, 240_000, 255_000, 270_000, 285_000})...), text),
	} {
		if r := v.seen(true, pieces...); r.Seen != 0 {
			t.Errorf("%s: %d bytes seen", name, r.Seen)
		}
	}
	if r := v.seen(true, `{"choices":[{"message":{"content":"x"}}]}`); r.Seen != 0 {
		t.Errorf("a document: %d bytes seen", r.Seen)
	}
}

// What stands in no place that is known counts whole; a whole item that repeats
// its parts counts once.
func TestSeenOfOddEvents(t *testing.T) {
	v := newVM(t)
	for _, tt := range []struct {
		name, event string
		want        int
	}{
		{"whole messages in chunks", `data: {"choices":[{"message":{"content":"abc"}}]}`, 49 + 2},
		{"another API", `data: {"type":"chunk","response":"abc"}`, 39 + 2},
		{"an item that came in no parts", `data: {"type":"response.output_item.done","item":{"type":"message","content":[{"type":"output_text","text":"abcdef"}]}}`, 6},
		{"parts and the item", "data: {\"type\":\"response.output_text.delta\",\"delta\":\"abcdef\"}\n\ndata: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"abcdef\"}]}}", 6},
		{"a block that begins", `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"abcdefgh"}}`, 8},
		{"an item that begins", `data: {"type":"response.output_item.added","item":{"type":"reasoning","summary":["abcdefgh"]}}`, 8},
		{"two choices in a chunk", `data: {"choices":[{"index":0,"delta":{"content":"abc"}},{"index":1,"delta":{"content":"abc"}}]}`, 6},
		{"a thought", `data: {"choices":[{"index":0,"delta":{"content":null,"reasoning_content":"abc"}}]}`, 3},
		{"a delta that is no text", `data: {"choices":[{"index":0,"delta":17}]}`, 42 + 2},
	} {
		if r := v.seen(false, tt.event+"\n\n"); r.Seen != mark(tt.want) {
			t.Errorf("%s: %d seen, want %d", tt.name, r.Seen, mark(tt.want))
		}
	}
}
