package fakeprovider_test

import (
	"encoding/json"
	"strings"
	"testing"

	"aigateway/fakeprovider"
)

const weatherSchema = `{"type":"object","properties":{"city":{"type":"string"},"unit":{"enum":["C","F"]},"days":{"type":["integer","null"]},` +
	`"where":{"type":"object","properties":{"exact":{"type":"boolean"}},"required":["exact"]},"hours":{"type":"array","minItems":1,"items":{"type":"number"}},"note":{"type":"string"}},` +
	`"required":["city","unit","days","where","hours"]}`

const weatherArguments = `{"city":"ok","days":1,"hours":[1],"unit":"C","where":{"exact":true}}`

// functionDialect is how an endpoint asks for functions, and how its answers
// are read.
type functionDialect struct {
	path, tools, results string // results: members of a request that holds a tool's result
	plain                string // parts of a plain answer that calls, in order
	stream               string
	join                 []string // where the stream's parts of the arguments are
}

var functionDialects = map[string]functionDialect{
	"chat": {
		path:    "/v1/chat/completions",
		tools:   `,"tools":[{"type":"function","function":{"name":"weather","parameters":` + weatherSchema + `}}]`,
		results: `,"messages":[{"role":"user","content":"TEXT"},{"role":"assistant","tool_calls":[]},{"role":"tool","tool_call_id":"x","content":"sunny"}]`,
		plain:   `"tool_calls":[{"id":"call_|"type":"function","function":{"name":"weather"|"finish_reason":"tool_calls"`,
		stream:  `"tool_calls":[{"index":0,"id":"call_|"function":{"name":"weather","arguments":""}|"finish_reason":"tool_calls"`,
		join:    []string{"choices", "delta", "tool_calls", "function", "arguments"},
	},
	"responses": {
		path:    "/v1/responses",
		tools:   `,"tools":[{"type":"namespace","name":"group","tools":[{"type":"function","name":"weather","parameters":` + weatherSchema + `}]}]`,
		results: `,"input":[{"role":"user","content":"TEXT"},{"type":"function_call_output","call_id":"x","output":"sunny"}]`,
		plain:   `"status":"completed"|"type":"function_call"|"call_id":"call_|"name":"weather"`,
		stream:  `response.output_item.added|"type":"function_call"|response.function_call_arguments.done|"name":"weather"|response.output_item.done|response.completed`,
		join:    []string{"delta"},
	},
	"messages": {
		path:    "/v1/messages",
		tools:   `,"max_tokens":99,"tools":[{"name":"weather","input_schema":` + weatherSchema + `}]`,
		results: `,"messages":[{"role":"user","content":"TEXT"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":"sunny"}]}]`,
		plain:   `"type":"tool_use","id":"toolu_|"name":"weather"|"stop_reason":"tool_use"`,
		stream:  `"content_block":{"type":"tool_use"|"stop_reason":"tool_use"|message_stop`,
		join:    []string{"delta", "partial_json"},
	},
}

func TestFunctionsAreCalled(t *testing.T) {
	for name, d := range functionDialects {
		for _, stream := range []string{"", `,"stream":true`} {
			t.Run(name+stream, func(t *testing.T) {
				s, url := startFull(t, fakeprovider.Config{})
				const fault = "fault:calls=weather says=sun-says-日本"
				call := func(more string) string {
					return postTo(t, url, d.path, ask(fault, d.tools+more+stream))
				}
				first, parts := call(""), d.plain
				if stream != "" {
					parts = d.stream
				}
				wantInOrder(t, first, parts)
				if got := said(t, first, stream, d.join); !strings.Contains(got, weatherArguments) {
					t.Errorf("arguments %s, want %s", got, weatherArguments)
				}
				settled(t, s)
				if got := s.Bill().CompletionTokens; got != int64(len(weatherArguments)+3)/4 {
					t.Errorf("billed %d output tokens", got)
				}
				second := call(strings.ReplaceAll(d.results, "TEXT", fault))
				text := map[string][]string{"chat": {"choices", "delta", "content"}, "responses": {"delta"}, "messages": {"delta", "text"}}[name]
				if got := said(t, second, stream, text); !strings.Contains(got, "sun-says-日本") || strings.Contains(second, "weather\",\"arguments") {
					t.Errorf("with a result: %s", second)
				}
			})
		}
	}
}

// A function the request has not is not called, and a cap cuts what is said.
func TestSaysWithoutFunctions(t *testing.T) {
	s, url := start(t, fakeprovider.Config{})
	_, body, err := post(t, url+"/v1/chat/completions", chat("fault:calls=weather says=abcdefghij", `,"max_tokens":2`))
	if err != nil || !strings.Contains(string(body), `"content":"abcdefgh"`) || !strings.Contains(string(body), `"finish_reason":"length"`) {
		t.Errorf("%v: %s", err, body)
	}
	settled(t, s)
	if got := s.Bill().CompletionTokens; got != 2 {
		t.Errorf("billed %d output tokens, want the cap", got)
	}
}

// postTo posts to an endpoint, with the header that Anthropic's wants.
func postTo(t *testing.T, url, path, body string) string {
	t.Helper()
	status, answer, err := 0, []byte(nil), error(nil)
	if path == "/v1/messages" {
		status, answer, err = native(t, url, body, nil)
	} else {
		status, answer, err = post(t, url+path, body)
	}
	if err != nil || status != 200 {
		t.Fatalf("%d %v: %s", status, err, answer)
	}
	return string(answer)
}

func wantInOrder(t *testing.T, text, parts string) {
	t.Helper()
	rest := text
	for part := range strings.SplitSeq(parts, "|") {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Errorf("no %s (in order) in %s", part, text)
		}
		rest = after
	}
}

// said is a plain answer with its quotes unescaped, or the joined parts of a
// stream.
func said(t *testing.T, body, stream string, path []string) string {
	t.Helper()
	if stream == "" {
		return strings.ReplaceAll(body, `\"`, `"`)
	}
	text := ""
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(line, "data: {")
		var v any
		if !ok || json.Unmarshal([]byte("{"+data), &v) != nil {
			continue
		}
		for _, name := range path {
			if list, ok := v.([]any); ok && len(list) > 0 {
				v = list[0]
			}
			object, _ := v.(map[string]any)
			v = object[name]
			if list, ok := v.([]any); ok && len(list) > 0 {
				v = list[0]
			}
		}
		if part, ok := v.(string); ok {
			text += part
		}
	}
	return text
}
