package pricing_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/pricing"

	"github.com/tiktoken-go/tokenizer"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

// published is the catalog as it is, by bytes.
func published(t testing.TB) *pricing.Catalog {
	t.Helper()
	c, err := pricing.Load(nil, upstreams(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const jargon = `{"role":"system","content":"You are a helpful, pattern-following assistant that translates corporate jargon into plain English."},
	{"role":"system","name":"example_user","content":"New synergies will help drive top-line growth."},
	{"role":"system","name":"example_assistant","content":"Things working well together will increase revenue."},
	{"role":"system","name":"example_user","content":"Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."},
	{"role":"system","name":"example_assistant","content":"Let's talk later when we're less busy about how to do better."},
	{"role":"user","content":"This late pivot means we don't have time to boil the ocean for the client deliverable."}`

const weather = `"messages":[{"role":"system","content":"You are a helpful assistant that can answer to questions about the weather."},{"role":"user","content":"What's the weather like in San Francisco?"}],
	"tools":[{"type":"function","function":{"name":"get_current_weather","description":"Get the current weather in a given location","parameters":{"type":"object","properties":{
	"location":{"type":"string","description":"The city and state, e.g. San Francisco, CA"},
	"unit":{"type":"string","description":"The unit of temperature to return","enum":["celsius","fahrenheit"]}},"required":["location"]}}}]`

const claudeTool = `"messages":[{"role":"user","content":"What's the weather like in San Francisco?"}],"tools":[{"name":"get_weather","description":"Get the current weather in a given location",
	"input_schema":{"type":"object","properties":{"location":{"type":"string","description":"The city and state, e.g. San Francisco, CA"}},"required":["location"]}}]`

// TestPublishedCounts: what vendors say that calls were billed.
func TestPublishedCounts(t *testing.T) {
	const cookbook = "https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken"
	const tokens = "https://platform.claude.com/docs/en/build-with-claude/token-counting"
	words, plain := counting(t), published(t)
	for _, tt := range []struct {
		e      pricing.Endpoint
		model  string
		body   string
		billed int64
		most   float64 // times as much, with the tokenizer; 0: it has none
		source string
	}{
		{pricing.Chat, "openai/gpt-4o", `"messages":[` + jargon + `]`, 124, 2.3, cookbook},
		{pricing.Chat, "openai/gpt-4", `"messages":[` + jargon + `]`, 129, 2.3, cookbook},
		{pricing.Chat, "openai/gpt-4o", weather, 101, 3.5, cookbook},
		{pricing.Chat, "openai/gpt-4", weather, 105, 3.5, cookbook},
		{pricing.Embeddings, "openai/text-embedding-3-small", `"input":"Your text string goes here"`, 5, 1, "https://developers.openai.com/api/docs/guides/embeddings"},
		{pricing.Messages, "anthropic/claude-opus-5", `"max_tokens":1,"system":"You are a scientist","messages":[{"role":"user","content":"Hello, Claude"}]`, 14, 0, tokens},
		{pricing.Messages, "anthropic/claude-opus-5", `"max_tokens":1,` + claudeTool, 403, 0, tokens},
	} {
		body := `{"model":"` + tt.model + `",` + tt.body + `}`
		a, b := inputOf(t, mustBound(t, plain, tt.e, body, noon())), inputOf(t, mustBound(t, words, tt.e, body, noon()))
		if b < tt.billed || b > a {
			t.Errorf("%s: %d by bytes, %d with the tokenizer, billed %d says %s", short(body), a, b, tt.billed, tt.source)
		}
		if got := float64(b) / float64(tt.billed); tt.most > 0 && got > tt.most {
			t.Errorf("%s: bounded at %d, %.2f times the %d that %s says", short(body), b, got, tt.billed, tt.source)
		}
		t.Logf("%s %d: billed %d, bounded at %d by bytes, %d", tt.model, len(body), tt.billed, a, b)
	}
}

// agentBody is a request as agents make them, of any content.
type agentBody struct {
	Model    string         `json:"model"`
	Messages []agentMessage `json:"messages"`
	Tools    []agentTool    `json:"tools,omitempty"`
	Seed     int            `json:"seed"`
}

type agentMessage struct {
	Role      string      `json:"role"`
	Content   string      `json:"content"`
	ToolCalls []agentCall `json:"tool_calls,omitempty"`
	CallID    string      `json:"tool_call_id,omitempty"`
}

type agentCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type agentTool struct {
	Type     string `json:"type"`
	Function struct {
		Name        string         `json:"name"`
		Description string         `json:"description"`
		Parameters  map[string]any `json:"parameters"`
	} `json:"function"`
}

// harmony is what OpenAI's published template makes of it, but for the marks that
// are tokens of their own, of which it returns the number:
// https://github.com/openai/harmony/blob/main/docs/format.md
func harmony(b *agentBody) (texts []string, marks int64) {
	add := func(s string) { texts = append(texts, s) }
	if len(b.Tools) > 0 {
		var s strings.Builder
		s.WriteString("# Tools\n\n## functions\n\nnamespace functions {\n\n")
		for _, t := range b.Tools {
			for line := range strings.Lines(t.Function.Description) {
				s.WriteString("// " + strings.TrimSuffix(line, "\n") + "\n")
			}
			fmt.Fprintf(&s, "type %s = (_: %s) => any;\n\n", t.Function.Name, typescript(t.Function.Parameters, ""))
		}
		add(s.String() + "} // namespace functions")
		marks += 4
	}
	name := "f"
	for _, m := range b.Messages {
		switch m.Role {
		case "system":
			add("# Instructions\n\n" + m.Content + "\n\n")
		case "tool":
			add("functions." + name)
			add(" to=assistant")
			add("commentary")
			add(m.Content)
			add(jsonOf(m.Content)) // the larger of both
		default:
			add(m.Content)
		}
		marks += 4
		for _, c := range m.ToolCalls {
			name = c.Function.Name
			add("commentary to=functions." + name + " ")
			add("json")
			add(c.Function.Arguments)
			marks += 6
		}
	}
	return texts, marks
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func typescript(schema map[string]any, indent string) string {
	if list, ok := schema["enum"].([]any); ok {
		var items []string
		for _, v := range list {
			items = append(items, jsonOf(v))
		}
		return strings.Join(items, " | ")
	}
	switch schema["type"] {
	case "array":
		items, _ := schema["items"].(map[string]any)
		return typescript(items, indent) + "[]"
	case "object":
		var s strings.Builder
		if d, ok := schema["description"].(string); ok {
			s.WriteString(indent + "// " + d + "\n")
		}
		s.WriteString("{\n")
		props, _ := schema["properties"].(map[string]any)
		for key, v := range props {
			p, _ := v.(map[string]any)
			if d, ok := p["description"].(string); ok {
				s.WriteString(indent + "// " + d + "\n")
			}
			s.WriteString(indent + key + "?: " + typescript(p, indent+"    ") + ",")
			if d, ok := p["default"]; ok {
				s.WriteString(" // default: " + jsonOf(d))
			}
			s.WriteString("\n")
		}
		return s.String() + indent + "}"
	case "integer":
		return "number"
	}
	name, _ := schema["type"].(string)
	if name == "" {
		return "any"
	}
	return name
}

func drawSchema(t *rapid.T, depth int) map[string]any {
	kind := rapid.SampledFrom([]string{"string", "object", "array", "integer", "enum", ""}).Draw(t, "kind")
	s := map[string]any{}
	if rapid.Bool().Draw(t, "described") {
		s["description"] = nasty().Draw(t, "description")
	}
	switch {
	case kind == "enum":
		s["type"], s["enum"] = "string", rapid.SliceOfN(rapid.Map(nasty(), func(s string) any { return s }), 1, 3).Draw(t, "enum")
	case kind == "object" && depth < 3:
		props := map[string]any{}
		for range rapid.IntRange(0, 4).Draw(t, "properties") {
			props[rapid.OneOf(nasty(), rapid.SampledFrom([]string{"path", "query", "max_results"})).Draw(t, "key")] = drawSchema(t, depth+1)
		}
		s["type"], s["properties"], s["required"] = kind, props, []string{"path"}
	case kind == "array" && depth < 3:
		s["type"], s["items"] = kind, drawSchema(t, depth+1)
	case kind != "":
		s["type"] = "integer"
		if rapid.Bool().Draw(t, "default") {
			s["default"] = rapid.IntRange(0, 1<<40).Draw(t, "number")
		}
	}
	return s
}

func drawAgent(t *rapid.T) *agentBody {
	b := &agentBody{Model: "openai/gpt-5.5", Seed: rapid.IntRange(0, 9).Draw(t, "seed")}
	for range rapid.IntRange(0, 8).Draw(t, "messages") {
		m := agentMessage{Role: rapid.SampledFrom([]string{"user", "assistant", "system", "tool"}).Draw(t, "role"), Content: nasty().Draw(t, "content")}
		if m.Role == "assistant" {
			for range rapid.IntRange(0, 2).Draw(t, "calls") {
				c := agentCall{ID: "call_1", Type: "function"}
				c.Function.Name = rapid.SampledFrom([]string{"f", "read_file", strings.Repeat("qX9_", 16)}).Draw(t, "name")
				c.Function.Arguments = jsonOf(map[string]any{"path": nasty().Draw(t, "path"), "n": rapid.IntRange(0, 1<<30).Draw(t, "n")})
				m.ToolCalls = append(m.ToolCalls, c)
			}
		}
		if m.Role == "tool" {
			m.CallID = "call_1"
		}
		b.Messages = append(b.Messages, m)
	}
	for range rapid.IntRange(0, 3).Draw(t, "tools") {
		var tool agentTool
		tool.Type, tool.Function.Name, tool.Function.Description = "function", "f", nasty().Draw(t, "about")
		tool.Function.Parameters = drawSchema(t, 0)
		b.Tools = append(b.Tools, tool)
	}
	return b
}

// TestMarkedMessagesCoverTemplates: as OpenAI's template writes it out, or with
// tools as JSON in any published way, a body has no more tokens than its bound.
func TestMarkedMessagesCoverTemplates(t *testing.T) {
	count, words, plain := codec(t, tokenizer.O200kBase), counting(t), published(t)
	rapid.Check(t, func(rt *rapid.T) {
		b := drawAgent(rt)
		body := jsonText(t, b)
		got := inputOf(t, mustBound(t, words, pricing.Chat, body, noon()))
		if most := inputOf(t, mustBound(t, plain, pricing.Chat, body, noon())); got > most {
			rt.Fatalf("%d with the tokenizer, %d by bytes: %s", got, most, body)
		}
		texts, sum := harmony(b)
		sum += 3 // the answer's start
		for i, s := range texts {
			if i+1 < len(texts) && texts[i+1] == jsonOf(s) { // a tool's answer, both ways
				sum -= min(count(s), count(texts[i+1]))
			}
			sum += count(s)
		}
		if sum > got {
			rt.Fatalf("%d tokens as harmony, bounded by %d: %s\n%q", sum, got, body, texts)
		}
		if len(b.Tools) == 0 {
			return
		}
		text := jsonText(t, b.Tools)
		var tools int64
		for _, way := range prints(t, text) {
			tools = max(tools, count(way))
		}
		b.Tools = nil
		texts, marks := harmony(b)
		for i, s := range texts {
			if i == 0 || s != jsonOf(texts[i-1]) {
				marks += count(s)
			}
		}
		if tools+marks > got {
			rt.Fatalf("%d tokens with tools as JSON, bounded by %d: %s", tools+marks, got, body)
		}
	})
}

// TestHostileBodies: whatever a hostile client fills a body with, a vocabulary
// that reads the values of all members that may be read has no more tokens.
func TestHostileBodies(t *testing.T) {
	count, words, plain := codec(t, tokenizer.O200kBase), counting(t), published(t)
	many := func(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	for name, tt := range map[string]struct {
		members string
		read    string // that the model reads
		marks   int64
	}{
		"tiny messages":      {`"messages":[` + many(500, `{"role":"user","content":"a"}`) + `]`, strings.Repeat("a ", 500), 500*4 + 3},
		"empty messages":     {`"messages":[` + many(500, `{"role":"user","content":""}`) + `]`, "", 500*4 + 3},
		"objects":            {`"messages":[` + many(500, `{}`) + `]`, "", 500*4 + 3},
		"tools without all":  {`"messages":[],"tools":[` + many(300, `{"type":"function","function":{"name":"f"}}`) + `]`, strings.Repeat("type f = () => any;\n\n", 300), 30},
		"parts":              {`"messages":[{"role":"user","content":[` + many(500, `{"type":"text","text":"a"}`) + `]}]`, strings.Repeat("a\n", 500), 7},
		"special tokens":     {`"messages":[{"role":"user","content":"` + strings.Repeat("<|im_end|><|im_start|>", 200) + `"}]`, strings.Repeat("<|im_end|><|im_start|>", 200), 7},
		"broken specials":    {`"messages":[{"role":"user","content":"` + strings.Repeat("<|<| x |>|", 200) + `"}]`, strings.Repeat("<|<| x |>|", 200), 7},
		"joiners":            {`"messages":[{"role":"user","content":"` + strings.Repeat("👩\u200d👩\u200d👧\u200d👦 ", 200) + `"}]`, strings.Repeat("👩\u200d👩\u200d👧\u200d👦 ", 200), 7},
		"mixed scripts":      {`"messages":[{"role":"user","content":"` + strings.Repeat("аa中é한𝔘ſ\u0301", 200) + `"}]`, strings.Repeat("аa中é한𝔘ſ\u0301", 200), 7},
		"escapes":            {`"messages":[{"role":"user","content":"` + strings.Repeat(`\u0001\ud83d\ude00\u0000`, 200) + `"}]`, strings.Repeat("\x01😀\x00", 200), 7},
		"names":              {`"messages":[` + many(200, `{"role":"user","name":"x7_Qz","content":"a"}`) + `]`, strings.Repeat("x7_Qz a ", 200), 200*5 + 3},
		"roles":              {`"messages":[` + many(200, `{"role":"qX9zW8","content":"a"}`) + `]`, strings.Repeat("qX9zW8 a ", 200), 200*3 + 3},
		"call ids":           {`"messages":[` + many(200, `{"role":"tool","tool_call_id":"qX9zW8vU7","content":"a"}`) + `]`, strings.Repeat("qX9zW8vU7 a ", 200), 200*10 + 3},
		"escaped members":    {`"mess\u0061ges":[` + many(200, `{"r\u006fle":"us\u0065r","cont\u0065nt":"a"}`) + `]`, strings.Repeat("a ", 200), 200*4 + 3},
		"unknown members":    {`"messages":[{"role":"user","content":"a","thought":"` + strings.Repeat("x7 ", 300) + `"}],"other":"` + strings.Repeat("q9 ", 300) + `"`, strings.Repeat("x7 ", 300) + strings.Repeat("q9 ", 300), 7},
		"system, repeated":   {`"messages":[` + many(300, `{"role":"system","content":"a"}`) + `]`, strings.Repeat("# Instructions\n\na\n\n", 300), 300*4 + 3},
		"enum of numbers":    {`"messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"enum":[` + many(2000, "1") + `]}}}]`, strings.Repeat("1,\n     ", 2000), 30},
		"nested arrays":      {`"messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":{"enum":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + `}}}]`, strings.Repeat("[ ", 300) + strings.Repeat("] ", 300), 30},
		"lines of a tool":    {`"messages":[],"tools":[{"type":"function","function":{"name":"f","description":"` + strings.Repeat(`\n`, 2000) + `"}}]`, strings.Repeat("// \n", 2000), 30},
		"arguments":          {`"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{` + many(200, `\"a\":1`) + `}"}}]}]`, strings.Repeat("\n \"a\": 1,", 200), 20},
		"calls":              {`"messages":[{"role":"assistant","content":null,"tool_calls":[` + many(200, `{"id":"","type":"function","function":{"name":"f","arguments":""}}`) + `]}]`, strings.Repeat("assistant commentary to=functions.f json ", 200), 200*5 + 7},
		"images between":     {`"messages":[{"role":"user","content":[` + many(50, `{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"https://a/b"}}`) + `]}]`, strings.Repeat("a\n\n", 50), 7},
		"words without ends": {`"messages":[{"role":"user","content":"` + strings.Repeat("qxzj", 5000) + `"}]`, strings.Repeat("qxzj", 5000), 7},
	} {
		body := `{"model":"openai/gpt-5.5","max_tokens":1,` + tt.members + `}`
		a, b := inputOf(t, mustBound(t, plain, pricing.Chat, body, noon())), inputOf(t, mustBound(t, words, pricing.Chat, body, noon()))
		if n := count(tt.read) + tt.marks; n > b || b > a {
			t.Errorf("%s: %d tokens, bounded at %d by bytes and %d with the tokenizer", name, n, a, b)
		}
	}
}

// TestMarksNeedNoTemplate: an operator may name a vocabulary for a model whose
// template nobody has published: then its syntax keeps its bytes.
func TestMarksNeedNoTemplate(t *testing.T) {
	load := func(row string) *pricing.Catalog {
		var n yaml.Node
		if err := yaml.Load([]byte("[{model: strict/own, input_bound: tokenizer, tokenizer: o200k_base, prices: [{input: \"1\", output: \"1\"}]"+row+"}]"), &n); err != nil {
			t.Fatal(err)
		}
		c, err := pricing.Load(&n, upstreams(), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	body := chatBody("strict/own", `"max_tokens":5,"temperature":1`)
	unknown, known := mustBound(t, load(""), pricing.Chat, body, noon()), mustBound(t, load(", overhead: {call: 6, item: 4}"), pricing.Chat, body, noon())
	if a, b := inputOf(t, unknown), inputOf(t, known); a != int64(len(body))+1000 || b > 20 {
		t.Errorf("%d tokens without a template, %d with one", a, b)
	}
	// Its texts are counted all the same, those of tools where nothing refers to them,
	// as some encoders write them: without a plain >.
	text := strings.TrimSpace(strings.Repeat("a > b, which is more than three words. ", 20))
	words, plain := load(""), mustOverlay(t, `[{model: strict/own, prices: [{input: "1", output: "1"}]}]`)
	written := codec(t, tokenizer.O200kBase)(strings.ReplaceAll(text, ">", `\u003e`))
	for name, tt := range map[string]struct {
		members string
		saved   int64 // at least
	}{
		"a part":                {`"messages":[{"role":"user","content":[{"type":"text","text":"` + text + `"}]}]`, 500},
		"an unknown member":     {`"messages":[{"role":"user","content":"` + text + `"}],"pet":"` + text + `"`, 500},
		"a tool":                {`"messages":[],"tools":[{"type":"function","function":{"name":"f","description":"` + text + `"}}]`, 400},
		"a tool with $defs":     {`"messages":[],"tools":[{"type":"function","function":{"name":"f","description":"` + text + `","parameters":{"$defs":{}}}}]`, 0},
		"a tool that is strict": {`"messages":[],"tools":[{"type":"function","function":{"name":"f","description":"` + text + `","parameters":{"x":{}}}}]`, 400},
	} {
		body := `{"model":"strict/own","max_tokens":5,` + tt.members + `}`
		own, bytes := inputOf(t, mustBound(t, words, pricing.Chat, body, noon())), inputOf(t, mustBound(t, plain, pricing.Chat, body, noon()))
		most := tt.saved * 2
		if strings.HasPrefix(name, "a tool") && most > 0 {
			most = int64(len(text)) - written
		}
		if saved := bytes - own; saved < tt.saved || saved > most {
			t.Errorf("%s: %d tokens, %d by bytes", name, own, bytes)
		}
	}
	labels := func(b *pricing.Bound) (out []string) {
		for _, l := range b.Lines() {
			out = append(out, l.Label)
		}
		return out
	}
	if !slices.Contains(labels(known), "counted text") {
		t.Errorf("the lines do not tell what was counted: %v", labels(known))
	}
}
