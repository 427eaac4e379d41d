package pricing_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"aigateway/pricing"

	"pgregory.net/rapid"
)

// spacedJSON is a value as Python's json.dumps(v, ensure_ascii=False) writes it.
func spacedJSON(t testing.TB, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return prints(t, strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(strings.TrimSpace(b.String())))[1]
}

// dsml is what DeepSeek's published encoding_dsv4.py makes of a body, with thinking;
// what tells how to call tools is counted apart.
func dsml(t testing.TB, b *agentBody) string {
	head := ""
	if len(b.Tools) > 0 {
		var tools []string
		for _, tool := range b.Tools {
			tools = append(tools, spacedJSON(t, tool.Function))
		}
		head = "\n\n<|EOT|>" + strings.Join(tools, "\n") + "<|EOT|>"
	}
	out, role := "<｜begin▁of▁sentence｜>", ""
	for _, m := range b.Messages {
		asked := role == "user" || role == "tool"
		switch m.Role {
		case "user", "tool":
			if asked {
				out += "\n\n"
			} else {
				out += "<｜User｜>"
			}
			if m.Role == "tool" {
				out += "<tool_result>" + m.Content + "</tool_result>"
			} else {
				out += m.Content
			}
		case "assistant":
			if asked {
				out += "<｜Assistant｜><think>"
			}
			out += "</think>" + m.Content
			if len(m.ToolCalls) > 0 {
				var calls []string
				for _, c := range m.ToolCalls {
					var arguments map[string]any
					if json.Unmarshal([]byte(c.Function.Arguments), &arguments) != nil {
						arguments = map[string]any{"arguments": c.Function.Arguments}
					}
					var lines []string
					for k, v := range arguments {
						value, text := v.(string)
						if !text {
							value = spacedJSON(t, v)
						}
						lines = append(lines, fmt.Sprintf(`<｜DSML｜parameter name="%s" string="%v">%s</｜DSML｜parameter>`, k, text, value))
					}
					calls = append(calls, fmt.Sprintf("<｜DSML｜invoke name=\"%s\">\n%s\n</｜DSML｜invoke>", c.Function.Name, strings.Join(lines, "\n")))
				}
				out += "\n\n<｜DSML｜tool_calls>\n" + strings.Join(calls, "\n") + "\n</｜DSML｜tool_calls>"
			}
			out += "<｜end▁of▁sentence｜>"
		default:
			out += m.Content + head
			head = ""
		}
		role = m.Role
	}
	if role == "user" || role == "tool" {
		out += "<｜Assistant｜><think>"
	}
	return out + head
}

var dsmlMarks = regexp.MustCompile(`<｜[^｜ ]*｜>|｜DSML｜|</?think>|<\|EOT\|>`)

// countDSML counts with special tokens as tokens.
func countDSML(t testing.TB, text string) int64 {
	n := int64(len(dsmlMarks.FindAllString(text, -1)))
	for _, between := range dsmlMarks.Split(text, -1) {
		tokens, err := pricing.VocabularyCount("deepseek-v4", between)
		if err != nil {
			t.Fatal(err)
		}
		n += tokens
	}
	return n
}

// toolPrompt is the text of DeepSeek's template that tells how to call tools, in
// tokens.
const toolPrompt = 222

// TestDeepSeekCoversItsTemplate: as DeepSeek's published template writes it out, a
// body has no more tokens than its bound, and what OpenAI's would have changes
// nothing.
func TestDeepSeekCoversItsTemplate(t *testing.T) {
	words, plain := counting(t), published(t)
	rapid.Check(t, func(rt *rapid.T) {
		b := drawAgent(rt)
		b.Model = "deepseek/deepseek-v4-pro"
		body := jsonText(t, b)
		got, most := inputOf(t, mustBound(t, words, pricing.Chat, body, noon())), inputOf(t, mustBound(t, plain, pricing.Chat, body, noon()))
		n := countDSML(t, dsml(t, b))
		if len(b.Tools) > 0 {
			n += toolPrompt
		}
		if n > got || got > most {
			rt.Fatalf("%d tokens, bounded by %d, by bytes %d: %s\n%s", n, got, most, body, dsml(t, b))
		}
	})
}

// TestDeepSeekCountsArguments: each stands between marks of its own, however short it
// is and whatever is in it, as do calls and what tools gave.
func TestDeepSeekCountsArguments(t *testing.T) {
	words, plain := counting(t), published(t)
	many := map[string]string{}
	for i := range 500 {
		many[fmt.Sprint(i)] = ""
	}
	for name, arguments := range map[string]string{
		"many":      jsonOf(many),
		"foreign":   `{"a":"` + strings.Repeat("数é😀", 300) + `"}`,
		"escapes":   `{"a":"` + strings.Repeat(`\u6570\n\"`, 300) + `"}`,
		"numbers":   `{"a":[` + strings.Repeat("1,", 500) + `1]}`,
		"deep":      `{"a":` + strings.Repeat(`{"b":`, 100) + "1" + strings.Repeat("}", 101),
		"none":      `{}`,
		"empty":     ``,
		"no JSON":   `x`,
		"cut off":   `{"a":1,"b":"` + strings.Repeat("数é😀", 300),
		"two":       `{"a":1} {"b":2}`,
		"twice":     `{"a":1,"a":2}`,
		"floats":    `{"a":[` + strings.Repeat("0.000012345,1e16,", 50) + `1]}`,
		"long name": `{"` + strings.Repeat("qX9_", 200) + `":1}`,
	} {
		b := &agentBody{Model: "deepseek/deepseek-v4-pro"}
		for range 3 {
			c := agentCall{ID: "c", Type: "function"}
			c.Function.Name, c.Function.Arguments = "f", arguments
			b.Messages = append(b.Messages, agentMessage{Role: "assistant", ToolCalls: []agentCall{c, c}}, agentMessage{Role: "tool", CallID: "c", Content: "x"}, agentMessage{Role: "tool", CallID: "c", Content: "x"})
		}
		body := jsonText(t, b)
		got, most := inputOf(t, mustBound(t, words, pricing.Chat, body, noon())), inputOf(t, mustBound(t, plain, pricing.Chat, body, noon()))
		if n := countDSML(t, dsml(t, b)); n > got || got > most {
			t.Errorf("%s: %d tokens, bounded by %d, by bytes %d", name, n, got, most)
		}
	}
}

// TestDeepSeekCountsArgumentsThatAreNoText: an object may be written one by one, too.
func TestDeepSeekCountsArgumentsThatAreNoText(t *testing.T) {
	words := counting(t)
	bound := func(arguments string) int64 {
		body := `{"model":"deepseek/deepseek-v4-pro","max_tokens":1,"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":` + arguments + `}}]}]}`
		return inputOf(t, mustBound(t, words, pricing.Chat, body, noon()))
	}
	many := map[string]int{}
	for i := range 500 {
		many[fmt.Sprint(i)] = i
	}
	for _, arguments := range []string{`{}`, `{"a":1}`, `{"a":"b","c":["d"]}`, jsonOf(many), `[1]`, `7`} {
		if got, least := bound(arguments), bound(jsonOf(arguments))-int64(len(`""`)); got < least {
			t.Errorf("%.80s: bounded by %d, as a text by %d", arguments, got, least)
		}
	}
}

// TestNumbersWithExponentsAreCounted: the digit in front of one makes no difference.
func TestNumbersWithExponentsAreCounted(t *testing.T) {
	words := counting(t)
	bound := func(number string) (sum int64) {
		numbers := `{"a":[` + strings.Repeat(number+",", 50) + number + `]}`
		for _, more := range []string{
			`"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":` + jsonText(t, numbers) + `}}]}]`,
			`"messages":[],"response_format":{"type":"json_object","x":` + numbers + `}`,
			`"messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"default":` + numbers + `}}}]`,
		} {
			sum += inputOf(t, mustBound(t, words, pricing.Chat, `{"model":"deepseek/deepseek-v4-pro","max_tokens":1,`+more+`}`, noon()))
		}
		return sum
	}
	for _, number := range []string{"0e16", "9e16", "9E16"} {
		if got, want := bound(number), bound("5e16"); got != want {
			t.Errorf("%s: bounded by %d, 5e16 by %d", number, got, want)
		}
	}
}

// TestThoughtsKeepTheirBytes of models whose published template does not show them.
func TestThoughtsKeepTheirBytes(t *testing.T) {
	words := counting(t)
	bound := func(more string) int64 {
		return inputOf(t, mustBound(t, words, pricing.Chat, `{"model":"openai/gpt-5.5","max_completion_tokens":1,"messages":[{"role":"assistant","content":"x"`+more+`}]}`, noon()))
	}
	const thoughts = `,"reasoning_content":"which is read word by word, and would have a token for each of them"`
	if more := bound(thoughts) - bound(""); more < int64(len(thoughts)-len(`,:`)) {
		t.Errorf("%d tokens for %d bytes", more, len(thoughts))
	}
}

// TestTightnessOfDeepSeek is TestTightness for the bodies that DeepSeek takes, counted
// by its vocabulary as its template writes them.
func TestTightnessOfDeepSeek(t *testing.T) {
	f, err := os.Open("testdata/requests_deepseek.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bodies := make(map[string]json.RawMessage)
	for _, r := range recordedRequests(t) {
		bodies[r.Name] = r.Body
	}
	words, plain := counting(t), published(t)
	var ratios []float64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r struct {
			Name, Model string
			Billed      int64
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil || bodies[r.Name] == nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		var body map[string]json.RawMessage
		if err := json.Unmarshal(bodies[r.Name], &body); err != nil {
			t.Fatal(err)
		}
		body["model"] = json.RawMessage(jsonOf(r.Model))
		delete(body, "prompt_cache_options")
		sent := jsonOf(body)
		a, b := inputOf(t, mustBound(t, plain, pricing.Chat, sent, noon())), inputOf(t, mustBound(t, words, pricing.Chat, sent, noon()))
		x, y := float64(a)/float64(r.Billed), float64(b)/float64(r.Billed)
		t.Logf("| %s | %d | %.2fx | %.2fx |", r.Name, r.Billed, x, y)
		if ratios = append(ratios, y); y < 1 || x < y {
			t.Errorf("%s: %.3f times its bill by bytes, %.3f with the tokenizer", r.Name, x, y)
		}
	}
	if m := median(ratios); len(ratios) < 9 || m > 1.25 {
		t.Errorf("%d bodies, the median is %.2f", len(ratios), m)
	}
}
