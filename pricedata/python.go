package pricedata

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What a Python value is. Only literals and constructor calls are understood;
// nothing is evaluated.
const (
	aString = "a string"
	aNumber = "a whole number"
	aName   = "a name" // True, False, None
	aList   = "a list"
	aDict   = "a dict"
	aCall   = "a call"
)

// value is a Python literal or constructor call, as in Tier(start=1).
type value struct {
	kind string
	line int
	// text is the string, the digits, or the name of what is called.
	text  string
	keys  []value // of a dict, beside its items
	items []value // of a list or dict; positional arguments of a call
	named []named // keyword arguments, each once
}

type named struct {
	name  string
	value value
}

// field is a keyword argument; nil when it is absent or None.
func (v *value) field(name string) *value {
	for i := range v.named {
		if f := &v.named[i]; f.name == name && !(f.value.kind == aName && f.value.text == "None") {
			return &f.value
		}
	}
	return nil
}

func (v *value) failf(format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{v.line}, args...)...)
}

// maxDepth is far above what any price list nests.
const maxDepth = 64

// parsePython reads the value that a module assigns to name, which must be the
// last thing in it.
func parsePython(src []byte, name string) (value, error) {
	start := bytes.Index(src, []byte("\n"+name))
	if start < 0 {
		return value{}, fmt.Errorf("it assigns nothing to %s", name)
	}
	start += 1 + len(name)
	equals := bytes.IndexAny(src[start:], "=\n")
	if equals < 0 || src[start+equals] != '=' {
		return value{}, fmt.Errorf("line %d: it assigns nothing to %s", 1+bytes.Count(src[:start], []byte("\n")), name)
	}
	p := &pythonParser{src: src, at: start + equals + 1}
	p.line = 1 + bytes.Count(src[:p.at], []byte("\n"))
	v, err := p.value(0)
	if err != nil {
		return v, err
	}
	if c := p.peek(); c != 0 {
		return v, p.failf("%q follows the value of %s", c, name)
	}
	return v, nil
}

type pythonParser struct {
	src      []byte
	at, line int
}

func (p *pythonParser) failf(format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{p.line}, args...)...)
}

// peek skips white space; 0 is the end.
func (p *pythonParser) peek() byte {
	for ; p.at < len(p.src); p.at++ {
		switch c := p.src[p.at]; c {
		case ' ', '\t', '\r':
		case '\n':
			p.line++
		default:
			return c
		}
	}
	return 0
}

func (p *pythonParser) value(depth int) (value, error) {
	if depth > maxDepth {
		return value{}, p.failf("more than %d levels of brackets", maxDepth)
	}
	c := p.peek()
	v := value{line: p.line}
	switch {
	case c == '\'' || c == '"':
		return p.str(c)
	case c == '[':
		v.kind = aList
		err := p.sequence(']', &v, func() error {
			item, err := p.value(depth + 1)
			v.items = append(v.items, item)
			return err
		})
		return v, err
	case c == '{':
		v.kind = aDict
		err := p.sequence('}', &v, func() error { return p.entry(&v, depth) })
		return v, err
	case c >= '0' && c <= '9':
		v.kind, v.text = aNumber, p.word()
		return v, nil
	case c == 0:
		return v, p.failf("the file ends where a value is due")
	}
	v.kind, v.text = aName, p.word()
	if v.text == "" {
		return v, p.failf("%q begins no value", c)
	}
	if p.peek() != '(' {
		return v, nil
	}
	v.kind = aCall
	err := p.sequence(')', &v, func() error { return p.argument(&v, depth) })
	return v, err
}

// sequence reads items between brackets, separated by commas.
func (p *pythonParser) sequence(end byte, v *value, item func() error) error {
	p.at++
	for p.peek() != end {
		if err := item(); err != nil {
			return err
		}
		if c := p.peek(); c == ',' {
			p.at++
		} else if c != end {
			return p.failf("%s of line %d lacks a comma or %q", v.kind, v.line, end)
		}
	}
	p.at++
	return nil
}

func (p *pythonParser) entry(v *value, depth int) error {
	key, err := p.value(depth + 1)
	if err != nil {
		return err
	}
	if p.peek() != ':' {
		return p.failf("a key of a dict lacks its colon")
	}
	p.at++
	item, err := p.value(depth + 1)
	v.keys, v.items = append(v.keys, key), append(v.items, item)
	return err
}

// argument reads name=value or a value alone.
func (p *pythonParser) argument(v *value, depth int) error {
	item, err := p.value(depth + 1)
	if err != nil || item.kind != aName || p.peek() != '=' {
		v.items = append(v.items, item)
		return err
	}
	p.at++
	for _, n := range v.named {
		if n.name == item.text {
			return p.failf("%s is given twice to %s", item.text, v.text)
		}
	}
	arg, err := p.value(depth + 1)
	v.named = append(v.named, named{item.text, arg})
	return err
}

// word reads a name with its dots, or digits.
func (p *pythonParser) word() string {
	start := p.at
	for p.at < len(p.src) {
		c := p.src[p.at]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.') {
			break
		}
		p.at++
	}
	return string(p.src[start:p.at])
}

// str reads a string on one line.
func (p *pythonParser) str(quote byte) (value, error) {
	v := value{kind: aString, line: p.line}
	var b strings.Builder
	for p.at++; p.at < len(p.src); {
		c := p.src[p.at]
		switch {
		case c == quote:
			p.at++
			v.text = b.String()
			return v, nil
		case c == '\n':
			return v, p.failf("a string lacks its closing quote")
		case c == '\\':
			if err := p.escape(&b); err != nil {
				return v, err
			}
		default:
			b.WriteByte(c)
			p.at++
		}
	}
	return v, p.failf("a string lacks its closing quote")
}

func (p *pythonParser) escape(b *strings.Builder) error {
	rest := p.src[p.at+1:]
	if len(rest) == 0 {
		return p.failf("a string ends in a backslash")
	}
	if c, ok := map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', '\\': '\\', '\'': '\'', '"': '"'}[rest[0]]; ok {
		b.WriteByte(c)
		p.at += 2
		return nil
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[rest[0]]
	if digits == 0 || len(rest) <= digits {
		return p.failf("the escape \\%c is not understood", rest[0])
	}
	code, err := strconv.ParseUint(string(rest[1:1+digits]), 16, 32)
	if err != nil || !utf8.ValidRune(rune(code)) {
		return p.failf("the escape \\%c is not understood", rest[0])
	}
	b.WriteRune(rune(code))
	p.at += 2 + digits
	return nil
}
