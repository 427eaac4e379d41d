package pricing_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"aigateway/pricing"

	"github.com/tiktoken-go/tokenizer"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// counting is the catalog where every provider's input is counted.
func counting(t testing.TB) *pricing.Catalog {
	t.Helper()
	ups := upstreams()
	for i := range ups {
		ups[i].InputBound = pricing.InputBoundTokenizer
	}
	c, err := pricing.Load(nil, ups, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// inputOf is the bound's input tokens.
func inputOf(t testing.TB, b *pricing.Bound) int64 {
	t.Helper()
	for _, l := range b.Lines() {
		if l.Label == "input" {
			return l.Quantity
		}
	}
	t.Fatal("the bound has no input")
	return 0
}

// ownInput is inputOf without what the provider adds to the body.
func ownInput(t testing.TB, b *pricing.Bound) int64 {
	t.Helper()
	n := inputOf(t, b)
	for _, l := range b.Lines() {
		if l.Label == "overhead" {
			n -= l.Quantity
		}
	}
	return n
}

func jsonText(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const article = "The committee met on Tuesday, and it didn't agree on much: the budget for 2027, which everybody had read, was 14.5% larger than last year's. "

// TestCountedText: what is counted, and what keeps its bytes.
func TestCountedText(t *testing.T) {
	words := counting(t)
	long := strings.Repeat(article, 20)
	quoted := jsonText(t, long)
	for _, tc := range []struct {
		name     string
		endpoint pricing.Endpoint
		body     string
		counted  bool
	}{
		{"chat", pricing.Chat, `{"model":"openai/gpt-5.5","max_tokens":5,"messages":[{"role":"user","content":` + quoted + `}]}`, true},
		{"content first", pricing.Chat, `{"model":"openai/gpt-5.5","max_tokens":5,"messages":[{"content":` + quoted + `,"role":"system"}]}`, true},
		{"parts", pricing.Chat, `{"model":"openai/gpt-5.5","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":` + quoted + `}]}]}`, true},
		{"a tool's answer", pricing.Chat, `{"model":"openai/gpt-5.5","max_tokens":5,"messages":[{"role":"tool","tool_call_id":"c","content":` + quoted + `}]}`, true},
		{"a tool", pricing.Chat, `{"model":"openai/gpt-5.5","max_tokens":5,"messages":[],"tools":[{"type":"function","function":{"name":"f","description":` + quoted + `,"parameters":{"type":"object"}}}]}`, true},
		{"a tool that refers to itself", pricing.Chat, `{"model":"openai/gpt-5.5","max_tokens":5,"messages":[],"tools":[{"type":"function","function":{"name":"f","description":` + quoted + `,"parameters":{"$ref":"#"}}}]}`, false},
		{"a tool's arguments", pricing.Chat, `{"model":"openai/gpt-5.5","max_tokens":5,"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":` + quoted + `}}]}]}`, true},
		{"an unknown member", pricing.Chat, `{"model":"openai/gpt-5.5","max_tokens":5,"messages":[{"role":"user","thought":` + quoted + `}]}`, false},
		{"a schema", pricing.Chat, `{"model":"openai/gpt-5.5","max_tokens":5,"messages":[],"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"description":` + quoted + `}}}}`, true},
		{"no public tokenizer", pricing.Chat, `{"model":"openai/gpt-6-sol","max_tokens":5,"messages":[{"role":"user","content":` + quoted + `}]}`, false},
		{"another vendor", pricing.Messages, `{"model":"anthropic/claude-sonnet-4.6","max_tokens":5,"messages":[{"role":"user","content":` + quoted + `}]}`, false},
		{"open weights", pricing.Chat, `{"model":"groq/openai/gpt-oss-120b","max_tokens":5,"messages":[{"role":"user","content":` + quoted + `}]}`, true},
		{"a response", pricing.Responses, `{"model":"openai/gpt-5.6-sol","max_output_tokens":5,"input":` + quoted + `}`, true},
		{"instructions", pricing.Responses, `{"model":"openai/gpt-5.6-sol","max_output_tokens":5,"instructions":` + quoted + `,"input":[]}`, true},
		{"an item", pricing.Responses, `{"model":"openai/gpt-5.6-sol","max_output_tokens":5,"input":[{"type":"function_call_output","call_id":"c","output":` + quoted + `}]}`, true},
		{"a completion", pricing.Completions, `{"model":"openai/gpt-5.5","max_tokens":5,"prompt":[` + quoted + `]}`, true},
		{"an embedding", pricing.Embeddings, `{"model":"openai/text-embedding-3-small","input":[` + quoted + `,"x"]}`, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := ownInput(t, mustBound(t, words, tc.endpoint, tc.body, noon()))
			if tc.counted != (n < int64(len(long))/2) || !tc.counted && n < int64(len(long)) {
				t.Errorf("%d tokens of %d bytes; counted: %v", n, len(tc.body), tc.counted)
			}
		})
	}
}

// renderedBody is a request that providers render in different ways.
type renderedBody struct {
	Model     string         `json:"model"`
	MaxTokens int            `json:"max_tokens"`
	Messages  []chatMessage  `json:"messages"`
	Tools     []functionTool `json:"tools,omitempty"`
}

type chatMessage struct {
	Role    string     `json:"role"`
	Content []textPart `json:"content"`
}

type textPart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type functionTool struct {
	Type     string   `json:"type"`
	Function function `json:"function"`
}

type function struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// renderings are what the model may get to read: the parts of a message as one
// text or one after the other, tool answers as JSON, descriptions as comments,
// with marks that are tokens of their own (a newline here) or with none at all.
func renderings(t testing.TB, b *renderedBody) []string {
	var marked, bare, comments, compact strings.Builder
	for _, tool := range b.Tools {
		lines := strings.ReplaceAll(tool.Function.Description, "\n", "\n// ")
		fmt.Fprintf(&comments, "// %s\ntype %s = () => any;\n\n", lines, tool.Function.Name)
		compact.WriteString(jsonText(t, tool))
	}
	for _, m := range b.Messages {
		marked.WriteString("\n" + m.Role + "\n")
		bare.WriteString(m.Role)
		for _, p := range m.Content {
			text := p.Text
			if m.Role == "tool" {
				text = jsonText(t, text)
			}
			marked.WriteString(text)
			bare.WriteString(text + "\n")
		}
		marked.WriteString("\n")
	}
	return []string{comments.String() + marked.String(), comments.String() + bare.String(), compact.String() + bare.String()}
}

// TestBoundCoversEveryRendering: whichever way the provider writes the body
// out, it is no more tokens than the bound has.
func TestBoundCoversEveryRendering(t *testing.T) {
	count := codec(t, tokenizer.O200kBase)
	catalog, plain := counting(t), mustLoad(t)
	part := rapid.Custom(func(t *rapid.T) textPart { return textPart{"text", nasty().Draw(t, "text")} })
	message := rapid.Custom(func(t *rapid.T) chatMessage {
		role := rapid.SampledFrom([]string{"user", "assistant", "system", "developer", "tool"}).Draw(t, "role")
		return chatMessage{role, rapid.SliceOfN(part, 1, 4).Draw(t, "parts")}
	})
	tool := rapid.Custom(func(t *rapid.T) functionTool {
		return functionTool{"function", function{"f", nasty().Draw(t, "description")}}
	})
	rapid.Check(t, func(rt *rapid.T) {
		b := renderedBody{"openai/gpt-5.5", 5, rapid.SliceOfN(message, 0, 6).Draw(rt, "messages"), rapid.SliceOfN(tool, 0, 3).Draw(rt, "tools")}
		text := jsonText(t, b)
		got := ownInput(t, mustBound(t, catalog, pricing.Chat, text, noon()))
		for _, r := range renderings(t, &b) {
			if n := count(r); n > got {
				rt.Fatalf("%d tokens of %q, bounded by %d: %s", n, r, got, text)
			}
		}
		if most := ownInput(t, mustBound(t, plain, pricing.Chat, text, noon())); got > most {
			rt.Fatalf("%d with the tokenizer, %d by bytes", got, most)
		}
	})
}

func TestInputBoundSettings(t *testing.T) {
	body := `{"model":"openai/gpt-6-sol","max_tokens":5,"messages":[{"role":"user","content":` + jsonText(t, strings.Repeat(article, 10)) + `}]}`
	load := func(text string) (*pricing.Catalog, error) {
		var n yaml.Node
		if err := yaml.Load([]byte(text), &n); err != nil {
			t.Fatal(err)
		}
		return pricing.Load(&n, upstreams(), time.Hour)
	}
	c, err := load(`[{model: openai/gpt-6-sol, tokenizer: o200k_base, input_bound: tokenizer}]`)
	if err != nil {
		t.Fatal(err)
	}
	lines := mustBound(t, c, pricing.Chat, body, noon()).Lines()
	if lines[0].Label != "counted text" || !strings.Contains(lines[0].Note, "1495 bytes by o200k_base") || lines[0].Quantity > 400 {
		t.Errorf("the lines do not show what was counted: %+v", lines[:2])
	}
	for text, word := range map[string]string{
		`[{model: openai/gpt-6-sol, input_bound: tokenizer}]`: "no public tokenizer",
		`[{model: openai/gpt-6-sol, input_bound: words}]`:     "write bytes or tokenizer",
		`[{model: openai/gpt-6-sol, tokenizer: gpt2}]`:        "write o200k_base or cl100k_base or deepseek-v4 or qwen2 or tekken",
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", text, err)
		}
	}
	ups := upstreams()
	ups[0].InputBound = "words"
	if _, err := pricing.Load(nil, ups, time.Hour); err == nil || !strings.Contains(err.Error(), "input_bound") {
		t.Errorf("a provider's input_bound of words: %v", err)
	}
}

// TestCountingConcurrently: the words that calls share are counted the same by
// all of them.
func TestCountingConcurrently(t *testing.T) {
	catalog := counting(t)
	body := func(i int) string {
		text := strings.Repeat(article, 3) + strings.Repeat(fmt.Sprintf("word%d other%d ", i%5, i), 50)
		return `{"model":"openai/gpt-5.5","max_tokens":5,"messages":[{"role":"user","content":` + jsonText(t, text) + `}]}`
	}
	want := make([]int64, 40)
	for i := range want {
		want[i] = inputOf(t, mustBound(t, counting(t), pricing.Chat, body(i), noon()))
	}
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range want {
				i = (i + worker*10) % len(want)
				b, err := tryBound(catalog, pricing.Chat, body(i), noon())
				if err != nil {
					t.Error(err)
					return
				}
				if got := inputOf(t, b); got != want[i] {
					t.Errorf("call %d: %d tokens, %d when alone", i, got, want[i])
				}
			}
		})
	}
	wg.Wait()
}
