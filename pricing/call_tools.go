package pricing

import "strings"

// tool reads one entry of a list of tools, wherever the list stands, and sorts
// it: run by the client, or hosted. What a namespace holds is sorted by itself.
func (p *parser) tool(int) error {
	_, err := p.readTool(true)
	return err
}

// toolOrTools reads what stands inside the input as tools: a list of them, or one
// alone. Anything else is none.
func (p *parser) toolOrTools(tool func(int) error) error {
	switch p.dec.PeekKind() {
	case '[':
		return p.array(tool)
	case '{':
		return tool(0)
	}
	return p.walk()
}

// innerTools reads tools in a part of a message.
func (p *parser) innerTools() error {
	return p.toolText(func() error { return p.toolOrTools(p.tool) })
}

// readTool returns the type that the tool names. Of one without, which some
// lists may hold, sort says whether it counts as hosted.
func (p *parser) readTool(sort bool) (string, error) {
	if p.dec.PeekKind() != '{' {
		return "", p.wrongType("an object with a type")
	}
	p.call.tools++
	t := hostedTool{uses: -1, size: 1}
	function, hosted, tool := false, false, namedTool{}
	tool.at = int(p.dec.InputOffset())
	if err := p.dec.bracket(); err != nil {
		return "", err
	}
	t.open = int(p.dec.InputOffset())
	err := p.members(func(name []byte) error {
		id, err := p.find(toolObject, name)
		switch id {
		case isType:
			t.kind, err = p.text()
		case isMaxUses:
			n, set, err := p.integer(0, maxToolCalls)
			if set {
				t.uses = n
			} else if err == nil {
				t.null = int(p.dec.InputOffset()) - len("null")
			}
			return err
		case isName:
			tool.name, err = p.word()
		case isFunction:
			function = true
			return p.walk()
		case isHosted:
			hosted = hosted || p.dec.PeekKind() != 'n'
			return p.walk()
		case isContainer:
			return p.container(&t)
		case isExecution:
			t.execution, err = p.word()
		case isEnvironment:
			t.environment, err = p.environment()
		case isTools:
			return p.toolOrTools(p.tool)
		}
		return err
	})
	if tool.end = int(p.dec.InputOffset()); p.call.Endpoint == Messages {
		p.call.named = append(p.call.named, tool)
	}
	if t.kind == "" && function {
		t.kind = "function" // some providers let the type out
	}
	if err == nil && (sort || t.kind != "") {
		p.sortTool(&t, hosted)
	}
	return t.kind, err
}

// namedTool is where a tool stands in the body, and its name.
type namedTool struct {
	span
	name string
}

// expand adds what references to tools stand for: the provider puts the whole
// definition in the place of each.
// https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-search-tool
func (c *Call) expand() {
	if len(c.references) == 0 {
		return
	}
	sizes, most := make(map[string]int64, len(c.named)), int64(0)
	outer, n := len(c.body), int64(0) // where the latest tool begins that is in no other, and what it counts
	for i := len(c.named) - 1; i >= 0; i-- {
		t := &c.named[i]
		if t.at < outer { // else it is within that one, and is taken for all of it: each byte is measured once
			outer, n = t.at, toolFrame+renderedSize(c.body[t.at:t.end], false)
		}
		sizes[t.name], most = max(sizes[t.name], n), max(most, n)
	}
	for _, name := range c.references {
		n, ok := sizes[name]
		if !ok {
			n = most
		}
		c.rendered += n
	}
}

// sortTool takes a tool whose type is known to run at the client for nothing but
// text. One that the provider runs is kept for the bound. Some types run at either
// side, and the tool says which.
func (p *parser) sortTool(t *hostedTool, hosted bool) {
	switch p.call.Endpoint {
	case Messages:
		if t.kind == "" {
			t.kind = "custom" // the default
		}
	case Responses, Compact:
		t.uses = -1 // not a member of its tools; max_tool_calls limits them together
	}
	client := clientTool(t.kind) || t.kind == "tool_search" && t.execution == "client"
	versioned := versionedTool(t.kind) || t.kind == "shell" && t.environment == "local"
	switch {
	case hosted && (client || versioned):
		t.kind += " that the provider runs" // no such type has a fee
	case client:
		return
	case versioned:
		p.call.clientTools++
		return
	}
	if len(p.call.hosted) < maxHosted {
		t.field = p.path()
		p.call.hosted = append(p.call.hosted, *t)
		return
	}
	p.call.refuse("unbounded_tool", "tools", "tools has too many tools that the provider runs; use function tools")
}

// environment reads where a shell runs: "local" is at the client. One without an
// environment is the provider's to place.
// https://developers.openai.com/api/docs/guides/tools-shell
func (p *parser) environment() (where string, err error) {
	if p.dec.PeekKind() != '{' {
		return "", p.walk()
	}
	err = p.object(func(name []byte) error {
		id, err := p.find(environmentObject, name)
		if id == isType {
			where, err = p.word()
		}
		return err
	})
	return where, err
}

// container reads the memory of a code tool's container, by which OpenAI bills
// it: $0.03 a gigabyte, 1 GB unless the tool says more. How much one has that
// exists already, under an id, nobody here knows.
// https://developers.openai.com/api/docs/pricing
func (p *parser) container(t *hostedTool) error {
	switch p.dec.PeekKind() {
	case 'n':
		return p.dec.SkipValue()
	case '{':
	default:
		t.size = 0
		return p.walk()
	}
	return p.object(func(name []byte) error {
		id, err := p.find(containerObject, name)
		if id == done || p.dec.PeekKind() == 'n' {
			if id != done {
				err = p.dec.SkipValue()
			}
			return err
		}
		t.size = 0
		if p.dec.PeekKind() != '"' {
			return p.walk()
		}
		limit, err := p.text()
		switch limit {
		case "1g":
			t.size = 1
		case "4g":
			t.size = 4
		case "16g":
			t.size = 16
		case "64g":
			t.size = 64
		}
		return err
	})
}

// clientTool reports the types of tools that the client runs and that stand
// whole in the body.
func clientTool(kind string) bool {
	switch kind {
	case "function", "custom", "local_shell", "apply_patch", "namespace":
		return true
	}
	return false
}

// versionedTool reports client-run tools that the vendor describes to the model
// in a prompt of its own: Anthropic's by name and date, and OpenAI's computer.
func versionedTool(kind string) bool {
	switch kind {
	case "computer", "computer_use_preview":
		return true
	}
	for _, name := range [...]string{"bash", "text_editor", "computer", "memory"} {
		if kind != name && dated(kind, name) {
			return true
		}
	}
	return false
}

// dated reports whether kind is a tool's name, or a version of it: the name and
// a date, as in web_search_20250305 and web_search_2025_08_26. Nothing that
// merely starts like it is.
func dated(kind, name string) bool {
	version, ok := strings.CutPrefix(kind, name)
	if !ok || version == "" {
		return ok
	}
	date, ok := strings.CutPrefix(version, "_")
	if len(date) == len("2025_08_26") && date[4] == '_' && date[7] == '_' {
		date = date[:4] + date[5:7] + date[8:]
	}
	return ok && len(date) == len("20250826") && strings.Trim(date, "0123456789") == ""
}
