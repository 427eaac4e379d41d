package pricing_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"aigateway/pricing"

	"github.com/tiktoken-go/tokenizer"
	"pgregory.net/rapid"
)

// prints are ways in which vendors write JSON anew: compact, as Python's
// json.dumps by default, with an indent of four blanks as in Llama 3's template,
// and each of them with nothing but plain ASCII.
func prints(t testing.TB, text string) []string {
	var small, indented bytes.Buffer
	if err := json.Compact(&small, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := json.Indent(&indented, small.Bytes(), "", "    "); err != nil {
		t.Fatal(err)
	}
	var spaced strings.Builder
	inside, escape := false, false
	for _, r := range small.String() {
		spaced.WriteRune(r)
		switch {
		case escape:
			escape = false
		case inside && r == '\\':
			escape = true
		case r == '"':
			inside = !inside
		case !inside && (r == ',' || r == ':'):
			spaced.WriteByte(' ')
		}
	}
	numbers := strings.ReplaceAll(indented.String(), "1e20", "1"+strings.Repeat("0", 20)) // as JavaScript and Go write them
	out := []string{small.String(), spaced.String(), indented.String(), numbers}
	for _, s := range out[:4] {
		var ascii strings.Builder
		for _, r := range s {
			switch {
			case r > 0xffff:
				fmt.Fprintf(&ascii, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
			case r > 0x7e, strings.ContainsRune("<>&'", r):
				fmt.Fprintf(&ascii, `\u%04x`, r)
			default:
				ascii.WriteRune(r)
			}
		}
		out = append(out, ascii.String())
	}
	return out
}

// mostTokens is the largest count of some texts, and which one has it.
func mostTokens(count func(string) int64, texts []string) (tokens int64, which int) {
	for i, text := range texts {
		if n := count(text); n > tokens {
			tokens, which = n, i
		}
	}
	return tokens, which
}

// A vendor's template prints 20,000 numbers one to a line: 80,000 tokens where
// the body has 40,000 bytes.
func TestSchemasAreBoundedAsTheyMayBePrinted(t *testing.T) {
	catalog, counted := mustLoad(t), counting(t)
	count := codec(t, tokenizer.O200kBase)
	numbers := "[" + strings.TrimSuffix(strings.Repeat("1,", 20_000), ",") + "]"
	deep := strings.Repeat(`{"items":`, 200) + `{"enum":[1,2,3]}` + strings.Repeat("}", 200)
	foreign := `"` + strings.Repeat("数é😀", 2000) + `"`
	html := `"` + strings.Repeat("<a href='b'>&", 2000) + `"`
	powers := "[" + strings.TrimSuffix(strings.Repeat("1e20,", 2000), ",") + "]"
	for name, schema := range map[string]string{"an enum": `{"type":"integer","enum":` + numbers + `}`, "powers": `{"enum":` + powers + `}`, "a deep one": deep, "foreign": `{"const":` + foreign + `}`, "HTML": `{"const":` + html + `}`} {
		args := jsonText(t, `{"a":`+schema+`}`)
		tokens, way := mostTokens(count, prints(t, schema))
		fn := `{"name":"f","parameters":` + schema + `}`
		for where, tt := range map[string]struct {
			e       pricing.Endpoint
			members string
		}{
			"chat tools":               {pricing.Chat, `"tools":[{"type":"function","function":` + fn + `}]`},
			"chat functions":           {pricing.Chat, `"functions":[` + fn + `]`},
			"chat response_format":     {pricing.Chat, `"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":` + schema + `}}`},
			"chat guided_json":         {pricing.Chat, `"guided_json":` + schema},
			"chat tool calls":          {pricing.Chat, `"messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":` + args + `}}]}]`},
			"chat function call":       {pricing.Chat, `"messages":[{"role":"assistant","function_call":{"name":"f","arguments":` + args + `}}]`},
			"chat message tools":       {pricing.Chat, `"messages":[{"role":"system","content":"","tools":[{"type":"function","function":` + fn + `}]}]`},
			"responses tools":          {pricing.Responses, `"tools":[{"type":"function","name":"f","parameters":` + schema + `}]`},
			"responses namespace":      {pricing.Responses, `"tools":[{"type":"namespace","name":"n","tools":[{"type":"function","name":"f","parameters":` + schema + `}]}]`},
			"responses text":           {pricing.Responses, `"text":{"format":{"type":"json_schema","name":"s","schema":` + schema + `}}`},
			"responses found tools":    {pricing.Responses, `"input":[{"type":"tool_search_output","tools":[{"type":"function","name":"f","parameters":` + schema + `}]}]`},
			"responses listed tools":   {pricing.Responses, `"input":[{"type":"mcp_list_tools","tools":[{"name":"f","input_schema":` + schema + `}]}]`},
			"responses call":           {pricing.Responses, `"input":[{"type":"function_call","call_id":"c","name":"f","arguments":` + args + `}]`},
			"responses search call":    {pricing.Responses, `"input":[{"type":"tool_search_call","arguments":` + schema + `}]`},
			"messages tools":           {pricing.Messages, `"max_tokens":9,"tools":[{"name":"f","input_schema":` + schema + `}]`},
			"messages output_format":   {pricing.Messages, `"max_tokens":9,"output_format":{"type":"json_schema","schema":` + schema + `}`},
			"messages output_config":   {pricing.Messages, `"max_tokens":9,"output_config":{"format":{"type":"json_schema","schema":` + schema + `}}`},
			"messages call":            {pricing.Messages, `"max_tokens":9,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":` + schema + `}]}]`},
			"completions' json schema": {pricing.Completions, `"max_tokens":9,"prompt":"x","json_schema":` + schema},
		} {
			body := `{"model":"openai/gpt-5.5",` + tt.members + `}`
			plain := ownInput(t, mustBound(t, catalog, tt.e, body, noon()))
			if with := ownInput(t, mustBound(t, counted, tt.e, body, noon())); with > plain {
				t.Errorf("%s in %s: %d with the tokenizer, %d by bytes", name, where, with, plain)
			} else {
				plain = with
			}
			if tokens > plain {
				t.Errorf("%s in %s: %d tokens as printed in way %d, bounded by %d of %d bytes", name, where, tokens, way, plain, len(body))
			}
		}
	}
	// What the client indented itself does not count again.
	small := `{"type":"object","properties":{"a":{"type":"string"},"b":{"enum":[1,2,3]}}}`
	tools := func(schema string) string {
		return chatBody("openai/gpt-6-sol", `"max_tokens":1,"tools":[{"type":"function","function":{"name":"f","parameters":`+schema+`}}]`)
	}
	body := tools(prints(t, small)[2])
	if more := ownInput(t, mustBound(t, catalog, pricing.Chat, body, noon())) - int64(len(body)); more > 100 {
		t.Errorf("an indented schema counts %d bytes more than it has", more)
	}
}

// Any schema, in any of the ways.
func TestPrintedSchemasAreCovered(t *testing.T) {
	catalog := counting(t)
	count := codec(t, tokenizer.O200kBase)
	var value func(depth int) *rapid.Generator[string]
	value = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(rt *rapid.T) string {
			kind := rapid.SampledFrom([]string{"text", "number", "word", "list", "object", "list", "object"}).Draw(rt, "kind")
			if depth > 5 && (kind == "list" || kind == "object") {
				kind = "number"
			}
			switch kind {
			case "text":
				return jsonText(t, nasty().Draw(rt, "text"))
			case "number":
				return rapid.SampledFrom([]string{"1", "0", "-7", "1e9", "3.14"}).Draw(rt, "number")
			case "word":
				return rapid.SampledFrom([]string{"true", "false", "null", "[]", "{}", "[ ]"}).Draw(rt, "word")
			case "list":
				return "[" + strings.Join(rapid.SliceOfN(value(depth+1), 0, 5).Draw(rt, "list"), ",") + "]"
			}
			var members []string
			for i := range rapid.IntRange(0, 4).Draw(rt, "members") {
				members = append(members, fmt.Sprintf(`"k%d":%s`, i, value(depth+1).Draw(rt, "member")))
			}
			return "{" + strings.Join(members, ",") + "}"
		})
	}
	rapid.Check(t, func(rt *rapid.T) {
		schema := value(0).Draw(rt, "schema")
		body := chatBody("openai/gpt-5.5", `"max_tokens":1,"tools":[{"type":"function","function":{"name":"f","parameters":`+schema+`}}]`)
		got := ownInput(t, mustBound(t, catalog, pricing.Chat, body, noon()))
		for i, printed := range prints(t, schema) {
			if n := count(printed); n > got {
				rt.Fatalf("%d tokens of way %d, bounded by %d: %s", n, i, got, body)
			}
		}
	})
}

// However deep or long a schema is, counting its renderings takes linear time
// and its bound stays a number.
func TestRenderingIsLinear(t *testing.T) {
	c := mustLoad(t)
	for _, schema := range []string{
		strings.Repeat("[", 9000) + strings.Repeat("]", 9000),
		strings.Repeat("[", 9000) + strings.TrimSuffix(strings.Repeat("1,", 1<<20), ",") + strings.Repeat("]", 9000),
		`"` + strings.Repeat("é", 1<<20) + `"`,
	} {
		body := chatBody("openai/gpt-6-sol", `"max_tokens":1,"tools":[{"type":"function","function":{"name":"f","parameters":`+schema+`}}]`)
		if got := inputOf(t, mustBound(t, c, pricing.Chat, body, noon())); got != 1_050_000 && got < int64(len(body)) {
			t.Errorf("%d bytes are bounded by %d tokens", len(body), got)
		}
	}
}

// Some vocabularies have a token for each digit, and Go and JavaScript write 21
// of them for 1e20.
func TestNumbersMayBeWrittenOut(t *testing.T) {
	const n = 2000
	schema := `{"enum":[` + strings.TrimSuffix(strings.Repeat("1e20,", n), ",") + `]}`
	body := chatBody("openai/gpt-5.5", `"max_tokens":1,"tools":[{"type":"function","function":{"name":"f","parameters":`+schema+`}}]`)
	if got := inputOf(t, mustBound(t, mustLoad(t), pricing.Chat, body, noon())); got < n*(21+2) {
		t.Errorf("bounded by %d tokens, written out they are %d", got, n*(21+2))
	}
}

// A reference to a tool stands for its whole definition, each time.
func TestToolReferencesStandForTools(t *testing.T) {
	c := edgeCatalog(t)
	const big = 3000
	tools := `,"tools":[{"name":"big","description":"` + strings.Repeat("a ", big/2) + `","input_schema":{}},{"name":"small","input_schema":{}}]`
	input := func(block string) int64 {
		body := `{"model":"anthropic/edge","max_tokens":9` + tools + `,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[` + block + `]}]}]}`
		return inputOf(t, mustBound(t, c, pricing.Messages, body, noon()))
	}
	none := input("")
	for name, tt := range map[string]struct {
		block     string
		low, high int64
	}{
		"ten":          {strings.TrimSuffix(strings.Repeat(`{"type":"tool_reference","tool_name":"big"},`, 10), ","), 10 * big, 11*big + 1000},
		"a small one":  {`{"type":"tool_reference","tool_name":"small"}`, 30, 500},
		"unknown":      {`{"type":"tool_reference","tool_name":"other"}`, big, big + 500},
		"none":         {`{"type":"tool_reference"}`, big, big + 500},
		"found":        {`{"type":"tool_search_tool_search_result","tool_references":[{"type":"tool_reference","tool_name":"big"}]}`, big, big + 500},
		"name, escape": {`{"type":"tool_reference","tool_name":"\u0062ig"}`, big, big + 500},
		"added":        {`{"type":"tool_addition","tool":{"type":"tool_reference","name":"big"}}`, big, big + 500},
		"added, none":  {`{"type":"tool_addition","tool":{"type":"tool_reference"}}`, big, big + 500},
		"added, text":  {`{"type":"tool_addition","tool":"big"}`, big, big + 500},
		"removed":      {`{"type":"tool_removal","tool":{"type":"tool_reference","name":"big"}}`, 50, 100},
		"defined":      {`{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"own","input_schema":{}}}}`, 100, 500},
	} {
		if got := input(tt.block) - none; got < tt.low || got > tt.high {
			t.Errorf("%s: %d tokens more, want %d to %d", name, got, tt.low, tt.high)
		}
	}
}
