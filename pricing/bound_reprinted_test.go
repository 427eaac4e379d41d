package pricing_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"aigateway/pricing"

	"github.com/tiktoken-go/tokenizer"
	"pgregory.net/rapid"
)

// A schema as far as templates read it, in the order of its members.
type schema struct {
	kind, about   string
	choices       []string // raw values
	others        [][2]string
	names         []string
	arguments     []*schema
	items, values *schema
	required      []string
}

func (s *schema) members() (list [][2]string) {
	if s.kind != "" {
		list = append(list, [2]string{"type", s.kind})
	}
	if s.about != "" {
		list = append(list, [2]string{"description", quoted(s.about)})
	}
	if s.choices != nil {
		list = append(list, [2]string{"enum", "[" + strings.Join(s.choices, ",") + "]"})
	}
	if s.names != nil {
		var all []string
		for i, name := range s.names {
			all = append(all, quoted(name)+":"+s.arguments[i].json())
		}
		list = append(list, [2]string{"properties", "{" + strings.Join(all, ",") + "}"})
	}
	if s.items != nil {
		list = append(list, [2]string{"items", s.items.json()})
	}
	if s.values != nil {
		list = append(list, [2]string{"additionalProperties", s.values.json()})
	}
	if s.required != nil {
		raw, _ := json.Marshal(s.required)
		list = append(list, [2]string{"required", string(raw)})
	}
	return append(list, s.others...)
}

func (s *schema) json() string {
	var all []string
	for _, m := range s.members() {
		all = append(all, quoted(m[0])+":"+m[1])
	}
	return "{" + strings.Join(all, ",") + "}"
}

func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s)
	return strings.TrimSpace(b.String())
}

// python is a type as Hermes' and Command R's templates write it.
func (s *schema) python() string {
	switch {
	case s.kind == `"array"` && s.items != nil:
		return "list[" + s.items.python() + "]"
	case s.kind == `"object"` && s.values != nil:
		return "dict[str, " + s.values.python() + "]"
	case strings.HasPrefix(s.kind, "["):
		return "Union[" + strings.TrimSuffix(strings.Repeat("Any,", strings.Count(s.kind, ",")+1), ",") + "]"
	}
	return "float"
}

// templates write a tool as published ones do.
func templates(name, about string, of *schema) []string {
	var hermes, signature, xml, classes strings.Builder
	// https://github.com/vllm-project/vllm/blob/main/examples/tool_chat_template_hermes.jinja
	fmt.Fprintf(&hermes, `{"type": "function", "function": {"name": "%s", "description": "%s(`, name, name)
	fmt.Fprintf(&signature, "```python\ndef %s(", name)
	for i, a := range of.arguments {
		fmt.Fprintf(&hermes, "%s: %s, ", of.names[i], a.python())
		fmt.Fprintf(&signature, "%s: Optional[%s] = None, ", of.names[i], a.python())
	}
	fmt.Fprintf(&hermes, ") - %s\n\n    Args:\n", about)
	// https://github.com/vllm-project/vllm/blob/main/examples/command_r_tool_chat_template.jinja
	fmt.Fprintf(&signature, ") -> List[Dict]:\n    \"\"\"%s\n\n    Args:", about)
	for i, a := range of.arguments {
		fmt.Fprintf(&hermes, "        %s(%s): %s", of.names[i], a.python(), a.about)
		fmt.Fprintf(&signature, "\n        %s (Optional[%s]): %s", of.names[i], a.python(), a.about)
	}
	hermes.WriteString(`", "parameters": ` + of.json() + "}")
	signature.WriteString("\n    \"\"\"\n    pass\n```")
	// https://github.com/vllm-project/vllm/blob/main/examples/tool_chat_template_qwen3coder.jinja
	element := func(name, value string) { fmt.Fprintf(&xml, "\n<%s>%s</%s>", name, value, name) }
	xml.WriteString("\n<function>")
	element("name", name)
	element("description", about)
	xml.WriteString("\n<parameters>")
	for i, a := range of.arguments {
		xml.WriteString("\n<parameter>")
		element("name", of.names[i])
		for _, m := range a.members() {
			element(m[0], m[1])
		}
		xml.WriteString("\n</parameter>")
	}
	for _, m := range of.members() {
		if m[0] != "properties" {
			element(m[0], m[1])
		}
	}
	xml.WriteString("\n</parameters>\n</function>")
	// https://github.com/vllm-project/vllm/blob/main/examples/tool_chat_template_minicpm3.jinja
	pydantic(&classes, of)
	fmt.Fprintf(&classes, "\n\ndef %s(%s):\n    \"\"\"%s\n\n    Args:\n    \"\"\"\n", name, strings.Join(of.names, "=None, "), about)
	return []string{hermes.String(), signature.String(), xml.String(), classes.String()}
}

// pydantic writes a class for every object and choice.
func pydantic(b *strings.Builder, of *schema) {
	for i, a := range of.arguments {
		name := of.names[i]
		if a.choices != nil {
			fmt.Fprintf(b, "\n\nclass %s(Enum):\n", name)
			for i, c := range a.choices {
				fmt.Fprintf(b, "    enum_%d = %s\n", i, c)
			}
		} else if a.arguments != nil {
			pydantic(b, a)
			fmt.Fprintf(b, "\n\nclass %s(BaseModel):\n", name)
		}
		fmt.Fprintf(b, "        %s: Optional[%s] = Field(None, description=%s)\n", name, name, quoted(a.about))
	}
}

// byMarks counts as a vocabulary does that knows words and runs of blanks, and has
// a token for each byte of anything else.
func byMarks(s string) (n int64) {
	var before byte
	for i := range len(s) {
		c := s[i]
		letter := func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
		if !(letter(c) && letter(before) || c == ' ' && before == ' ') {
			n++
		}
		before = c
	}
	return n
}

// hostile draws texts of which most vocabularies have no words.
func hostile() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		piece := rapid.SampledFrom([]string{"7", "90210", "\x7f", "é", "漢", "😀", "<", "'", "~", "_", "\\", "\"", "\n", "word", ""})
		return strings.Repeat(piece.Draw(t, "piece"), rapid.IntRange(1, 60).Draw(t, "times"))
	})
}

func anySchema(depth int) *rapid.Generator[*schema] {
	return rapid.Custom(func(t *rapid.T) *schema {
		s := &schema{kind: rapid.SampledFrom([]string{"", `"string"`, `"integer"`, `"array"`, `"object"`, `["string","null"]`, `["","","","",""]`}).Draw(t, "type")}
		if rapid.Bool().Draw(t, "described") {
			s.about = hostile().Draw(t, "about")
		}
		if rapid.IntRange(0, 3).Draw(t, "choices") == 0 {
			for i := range rapid.IntRange(1, 200).Draw(t, "how many") {
				s.choices = append(s.choices, strconv.Itoa(i%10))
			}
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "others") {
			s.others = append(s.others, [2]string{fmt.Sprint(hostile().Draw(t, "name"), i), rapid.SampledFrom([]string{"1", "true", `""`, "{}", "[]", `[1,2]`}).Draw(t, "value")})
		}
		if depth > 3 {
			return s
		}
		if rapid.Bool().Draw(t, "object") || depth == 0 {
			for i := range rapid.IntRange(0, 4).Draw(t, "arguments") {
				s.names = append(s.names, fmt.Sprint(hostile().Draw(t, "name"), i))
				s.arguments = append(s.arguments, anySchema(depth+1).Draw(t, "argument"))
			}
			if rapid.Bool().Draw(t, "some are required") {
				s.required = s.names
			}
		}
		if rapid.IntRange(0, 3).Draw(t, "items") == 0 {
			s.items = anySchema(depth+1).Draw(t, "items")
		}
		if rapid.IntRange(0, 3).Draw(t, "values") == 0 {
			s.values = anySchema(depth+1).Draw(t, "values")
		}
		return s
	})
}

func toolBound(t testing.TB, c *pricing.Catalog, model, name, about, parameters string) int64 {
	body := chatBody(model, `"max_tokens":1,"tools":[{"type":"function","function":{"name":`+quoted(name)+`,"description":`+quoted(about)+`,"parameters":`+parameters+`}}]`)
	return ownInput(t, mustBound(t, c, pricing.Chat, body, noon()))
}

// Whatever template a model has that nobody knows, its tools are no more tokens
// than the bound.
func TestTemplatesThatWriteToolsTwice(t *testing.T) {
	catalog := mustOverlay(t, `[{model: openrouter/unknown, prices: [{input: "1", output: "1"}]}]`)
	count := codec(t, tokenizer.O200kBase)
	check := func(t testing.TB, fail func(string, ...any), name, about string, of *schema) {
		got := toolBound(t, catalog, "openrouter/unknown", name, about, of.json())
		for i, text := range templates(name, about, of) {
			if n := max(count(text), byMarks(text)); n > got {
				fail("%d tokens of template %d, bounded by %d: %s\n%s", n, i, got, of.json(), text)
			}
		}
	}
	digits := strings.Repeat("0918273645", 2000)
	for what, of := range map[string]*schema{
		"the name of an argument":  {names: []string{digits}, arguments: []*schema{{kind: `"string"`}}},
		"what describes it":        {names: []string{"a"}, arguments: []*schema{{about: digits}}},
		"the name of its member":   {names: []string{"a"}, arguments: []*schema{{others: [][2]string{{digits, "1"}}}}},
		"the name of a member":     {others: [][2]string{{digits, "1"}}},
		"a choice, deep":           {names: []string{"a"}, arguments: []*schema{{kind: `"object"`, names: []string{digits}, arguments: []*schema{{choices: []string{"1"}}}}}},
		"choices":                  {names: []string{"a"}, arguments: []*schema{{choices: strings.Split(strings.Repeat("1,", 5000)+"1", ",")}}},
		"types":                    {names: []string{"a"}, arguments: []*schema{{kind: "[" + strings.Repeat(`"",`, 5000) + `""]`}}},
		"arguments without a word": {names: numbered(3001), arguments: repeated(3001)},
	} {
		check(t, func(format string, args ...any) { t.Errorf("%s: %s", what, short(fmt.Sprintf(format, args...))) }, "f", "", of)
	}
	rapid.Check(t, func(rt *rapid.T) {
		of := anySchema(0).Draw(rt, "schema")
		check(t, rt.Fatalf, "f", hostile().Draw(rt, "about"), of)
	})
}

func numbered(n int) (list []string) {
	for i := range n {
		list = append(list, strconv.Itoa(i))
	}
	return list
}

func repeated(n int) (list []*schema) {
	for range n {
		list = append(list, &schema{})
	}
	return list
}

// Tools of a model whose template is known count once, however members are spelt.
func TestToolsCountAgainWhereTemplatesMayWriteThemAgain(t *testing.T) {
	catalog := mustOverlay(t, `[{model: openrouter/unknown, prices: [{input: "1", output: "1"}]}, {model: openrouter/known, reprints_tools: false, prices: [{input: "1", output: "1"}]}]`)
	more := func(parameters string) int64 {
		return toolBound(t, catalog, "openrouter/unknown", "f", "what it does", parameters) - toolBound(t, catalog, "openrouter/known", "f", "what it does", parameters) - 2
	}
	const names = int64(4 + len(`"type"`+`"function"`+`"name"`+`"description"`+`"parameters"`))
	for parameters, want := range map[string]int64{
		`{}`:                              names,
		`{"type":"object"}`:               names + 6,
		`{"a":[{"b":1},{"c":"é"}],"d":2}`: names + 2*4 + 4*3,
		`{"properties":{}}`:               names + 12,
		`{"properties":null}`:             names + 12,
		`{"properties":["a"]}`:            names + 12 + 4,
		`{"properties":{"p":1}}`:          names + 12 + 3*3 + 20,
		`{"properties":{"p":[{"a":1}]}}`:  names + 12 + 3*3 + 20 + 4 + 3,
		`{"properties":{"p":{"type":"string","description":"about"}}}`:                                names + 12 + 3*3 + 20 + 6 + 13 + 7,
		`{"\u0070roperties":{"p":{"type":"string","descr\u0069ption":"about"}}}`:                      names + 17 + 3*3 + 20 + 6 + 18 + 7,
		`{"properties":{"p":{"description":{"a":1}}}}`:                                                names + 12 + 3*3 + 20 + 13 + 3,
		`{"description":"about","properties":{"p":{"properties":{"é":{"description":"<"}}}}}`:         names + 13 + 12 + 3*3 + 20 + 12 + 3*8 + 20 + 13 + 8,
		`{"properties":{"description":{"description":"about"},"properties":{"description":"about"}}}`: names + 12 + 3*13 + 20 + 13 + 7 + 3*12 + 20 + 13 + 7,
	} {
		if got := more(parameters); got != want {
			t.Errorf("%s: %d bytes more, want %d", parameters, got, want)
		}
	}
}

// What prints as Rust does writes 1e308 with 309 digits, and Python's repr a
// delete with four bytes.
func TestTextsThatGetLonger(t *testing.T) {
	c := mustLoad(t)
	tools := func(value string) string {
		return chatBody("openai/gpt-6-sol", `"max_tokens":1,"tools":[{"type":"function","function":{"name":"f","parameters":{"default":`+value+`}}}]`)
	}
	call := func(value string) string {
		return `{"model":"openai/gpt-6-sol","max_tokens":1,"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":` + jsonText(t, `{"a":`+value+`}`) + `}}]}]}`
	}
	for text, want := range map[string]int64{"1e308": 309, "5e-324": 326, "1E+20": 21, `"` + "\x7f\x7f" + `"`: 10} {
		for _, body := range []func(string) string{tools, call} {
			if more := inputOf(t, mustBound(t, c, pricing.Chat, body(text), noon())) - inputOf(t, mustBound(t, c, pricing.Chat, body("1"), noon())); more < want-1 {
				t.Errorf("%q in %s: %d tokens more than 1, it may have %d", text, body(text), more, want)
			}
		}
	}
}
