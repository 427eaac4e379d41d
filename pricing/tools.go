package pricing

import "strings"

// tool reads one entry of tools and sorts it: run by the client, or hosted.
func (p *parser) tool(int) error {
	if p.dec.PeekKind() != '{' {
		return p.wrongType("an object with a type")
	}
	t := hostedTool{uses: -1, size: 1}
	function := false
	err := p.object(func(name []byte) (err error) {
		switch string(name) {
		case "type":
			t.kind, err = p.text()
			return err
		case "max_uses":
			n, set, err := p.integer(0, 1000)
			if set {
				t.uses = n
			}
			return err
		case "function":
			function = true
		case "container":
			return p.container(&t)
		}
		return p.walkMember(name)
	})
	if err != nil {
		return err
	}
	if t.kind == "" && function {
		t.kind = "function" // some providers let the type out
	}
	switch p.call.Endpoint {
	case Messages:
		if t.kind == "" {
			t.kind = "custom" // the default
		}
	case Responses:
		t.uses = -1 // not a member of its tools; max_tool_calls limits them together
	}
	switch {
	case t.kind == "function", t.kind == "custom", t.kind == "local_shell", t.kind == "apply_patch":
	case clientTool(t.kind):
		p.call.clientTools++
	default:
		if len(p.call.hosted) < maxHosted {
			t.field = p.path()
			p.call.hosted = append(p.call.hosted, t)
			return nil
		}
		p.call.refuse("unbounded_tool", "tools", "tools has too many tools that the provider runs; use function tools")
	}
	return nil
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
		if string(name) != "memory_limit" || p.dec.PeekKind() == 'n' {
			return p.walkMember(name)
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

// clientTool reports Anthropic's versioned client-run tools, each of which
// brings a prompt of its own.
func clientTool(kind string) bool {
	for _, prefix := range []string{"bash_", "text_editor_", "computer_", "memory_"} {
		if strings.HasPrefix(kind, prefix) {
			return true
		}
	}
	return false
}
