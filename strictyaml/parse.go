package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Fault is one thing wrong with a document.
type Fault struct {
	Line, Column int        // from 1
	Node         *yaml.Node // where it is; nil: the text is no YAML
	Key          string     // what Pairs would have called it; empty: none
	Message      string     // what is wrong and the remedy
}

// Error names the line.
func (f *Fault) Error() string { return fmt.Sprintf("line %d: %s", f.Line, f.Message) }

// Faults is all that is wrong with a document.
type Faults []*Fault

// Error renders one fault a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// syntax is a fault of the text itself.
func syntax(line, column int, format string, args ...any) Faults {
	return Faults{{Line: line, Column: column, Message: fmt.Sprintf(format, args...)}}
}

func at(n *yaml.Node, key, format string, args ...any) *Fault {
	return &Fault{Line: n.Line, Column: n.Column, Node: n, Key: key, Message: fmt.Sprintf(format, args...)}
}

// Parse returns the document's root; with faults it is nil. An empty text is an
// empty mapping. No alias in it contains itself, and with all of them expanded
// it has at most 500,000 nodes, 100 deep.
func Parse(data []byte) (*yaml.Node, Faults) {
	if line, column, ok := firstInvalidUTF8(data); ok {
		return nil, syntax(line, column, "the file is not UTF-8 text here; save it as UTF-8")
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, syntax(1, 1, "read YAML: %v", err)
	}
	var document, second yaml.Node
	err = loader.Load(&document)
	if errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}, nil
	}
	if err != nil {
		return nil, syntaxFaults(data, err)
	}
	err = loader.Load(&second)
	switch {
	case errors.Is(err, io.EOF):
	case err != nil:
		return nil, syntaxFaults(data, err)
	default:
		return nil, syntax(second.Line, second.Column, "a second document starts here (---); keep one")
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) != 1 {
		return nil, syntax(1, 1, "is no YAML document; write key: value lines")
	}
	root := document.Content[0]
	if f := checkAliases(root); f != nil {
		return nil, Faults{f}
	}
	return root, nil
}

// syntaxFaults gives the library's errors a place.
func syntaxFaults(data []byte, err error) Faults {
	var many *yaml.LoadErrors
	list := []*yaml.LoadError{}
	if errors.As(err, &many) {
		list = many.Errors
	}
	var one *yaml.LoadError
	if len(list) == 0 && errors.As(err, &one) {
		list = []*yaml.LoadError{one}
	}
	var out Faults
	for _, e := range list {
		line, column := e.Mark.Line, e.Mark.Column
		if line == 0 {
			line, column = firstControl(data)
		}
		remedy := "check indentation, brackets and quotes"
		if bytes.Contains(lineOf(data, line), []byte("${")) {
			remedy = `put ${NAME} in quotes, as braces need it: "${NAME}"; else ` + remedy
		}
		out = append(out, syntax(line, column, "YAML syntax: %s; %s", e.Message, remedy)...)
	}
	if len(list) == 0 {
		return syntax(1, 1, "YAML syntax: %v", err)
	}
	return out
}

// lineOf is a line of the file, counted from 1; nil for none.
func lineOf(data []byte, n int) []byte {
	lines := bytes.Split(data, []byte("\n"))
	if n < 1 || n > len(lines) {
		return nil
	}
	return lines[n-1]
}

func firstInvalidUTF8(data []byte) (line, column int, ok bool) {
	line, column = 1, 1
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		if c == utf8.RuneError && size <= 1 {
			return line, column, true
		}
		line, column = advance(line, column, c)
		data = data[size:]
	}
	return 0, 0, false
}

// firstControl finds the character the YAML reader refuses without saying
// where.
func firstControl(data []byte) (line, column int) {
	line, column = 1, 1
	for _, c := range string(data) {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' || c >= 0x7f && c < 0xa0 && c != 0x85 || c == 0xfffe || c == 0xffff {
			return line, column
		}
		line, column = advance(line, column, c)
	}
	return 1, 1
}

func advance(line, column int, c rune) (int, int) {
	if c == '\n' {
		return line + 1, 1
	}
	return line, column + 1
}

// A document with its aliases expanded is bounded: nine lines of nested aliases
// can mean a billion nodes.
const (
	maxNodes = 500_000
	maxDepth = 100
)

// checkAliases refuses aliases that contain themselves or blow up.
func checkAliases(root *yaml.Node) *Fault {
	var open []*yaml.Node // anchors being expanded
	count := 0
	var walk func(n *yaml.Node, depth int) *Fault
	walk = func(n *yaml.Node, depth int) *Fault {
		count++
		if count > maxNodes {
			return at(n, "", "the document is too large: more than %d keys and values with its aliases expanded; write less", maxNodes)
		}
		if depth > maxDepth {
			return at(n, "", "the document is too deep: more than %d levels with its aliases expanded; write less", maxDepth)
		}
		if n.Kind == yaml.AliasNode {
			if n.Alias == nil || slices.Contains(open, n.Alias) {
				return at(n, "", "the alias *%.60q contains itself; write the value out", n.Value)
			}
			return walk(n.Alias, depth+1)
		}
		if n.Anchor != "" {
			open = append(open, n)
			defer func() { open = open[:len(open)-1] }()
		}
		for _, c := range n.Content {
			if f := walk(c, depth+1); f != nil {
				return f
			}
		}
		return nil
	}
	return walk(root, 0)
}
