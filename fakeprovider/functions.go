package fakeprovider

import (
	"encoding/json"
	"strings"
)

// function is a function that a request lets the model call.
type function struct {
	name   string
	schema json.RawMessage // of its arguments
}

// functions are those of a request, in any dialect, and whether the results of
// calls are in it.
type functions struct {
	list     []function
	answered bool
}

// tool is an element of tools: Anthropic's and the responses endpoint's have
// the function's members themselves, chat's inside, and a namespace has tools.
type tool struct {
	Type        string          `json:"type"`
	Name        string          `json:"name"`
	Parameters  json.RawMessage `json:"parameters"`
	InputSchema json.RawMessage `json:"input_schema"`
	Function    *tool           `json:"function"`
	Tools       []tool          `json:"tools"`
}

func (fs *functions) readFunctions(m members) *refusal {
	var tools []tool
	if bad := m.read("tools", &tools); bad != nil {
		return bad
	}
	fs.add(tools)
	return nil
}

func (fs *functions) add(tools []tool) {
	for _, t := range tools {
		if t.Function != nil {
			t.Name, t.Parameters = t.Function.Name, t.Function.Parameters
		}
		if t.Parameters == nil {
			t.Parameters = t.InputSchema
		}
		if t.Name != "" && len(t.Tools) == 0 {
			fs.list = append(fs.list, function{t.Name, t.Parameters})
		}
		fs.add(t.Tools)
	}
}

// chosen is the function that is called: the named one, until there are results.
func (fs *functions) chosen(name string) *function {
	for i := range fs.list {
		if fs.list[i].name == name && !fs.answered {
			return &fs.list[i]
		}
	}
	return nil
}

// holdsResult reports whether a message's content has a tool's result, which
// is how Anthropic's users answer.
func holdsResult(content json.RawMessage) bool {
	var blocks []struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(content, &blocks) != nil {
		return false
	}
	for _, b := range blocks {
		if b.Type == "tool_result" {
			return true
		}
	}
	return false
}

// isResult reports whether a type of input item is a tool's result.
func isResult(kind string) bool { return strings.HasSuffix(kind, "_call_output") }

// schema is the part of JSON Schema that functions use in their arguments.
type schema struct {
	Type       any               `json:"type"` // a name, or names
	Const      json.RawMessage   `json:"const"`
	Enum       []json.RawMessage `json:"enum"`
	AnyOf      []schema          `json:"anyOf"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	MinItems   int               `json:"minItems"`
	Items      *schema           `json:"items"`
}

// arguments are the simplest that have what the function requires.
func (f *function) arguments() string {
	var s schema
	if json.Unmarshal(f.schema, &s) != nil {
		return "{}"
	}
	s.Type = "object"
	return string(marshal(s.example()))
}

// maxExamples bounds an array in a function's arguments.
const maxExamples = 100

func (s *schema) example() any {
	switch {
	case s.Const != nil:
		return s.Const
	case len(s.Enum) > 0:
		return s.Enum[0]
	case len(s.AnyOf) > 0:
		return s.AnyOf[0].example()
	}
	kind := s.Type
	if kinds, ok := kind.([]any); ok && len(kinds) > 0 {
		kind = kinds[0]
	}
	switch kind {
	case "integer", "number":
		return 1
	case "boolean":
		return true
	case "null":
		return nil
	case "array":
		list := []any{}
		for range min(s.MinItems, maxExamples) {
			item := schema{}
			if s.Items != nil {
				item = *s.Items
			}
			list = append(list, item.example())
		}
		return list
	case "object":
		object := map[string]any{}
		for _, name := range s.Required {
			property := s.Properties[name]
			object[name] = property.example()
		}
		return object
	}
	return "ok"
}

// planSaid fixes what the answer says, where the faults tell: a function's
// arguments before a text.
func (c *call) planSaid(p *plan, req ask) {
	text := c.faults.Says
	if f := req.chosen(c.faults.Calls); f != nil {
		p.function, p.finish = f.name, "tool_calls"
		text = f.arguments()
	}
	p.said = []rune(text)
}

// saidToken is how many characters of a said text are a token.
const saidToken = 4

// saidWord is token t of the said text.
func (p plan) saidWord(t int64) string {
	end := int64(len(p.said))
	return string(p.said[min(t*saidToken, end):min((t+1)*saidToken, end)])
}
