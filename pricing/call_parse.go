package pricing

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"aigateway/budget"

	"github.com/go-json-experiment/json/jsontext"
)

// parser walks a body's tokens once. The raw values that its reader returns are
// slices of the body, and offsets are positions in it.
type parser struct {
	call Call
	dec  *reader
	top  *scope          // of the endpoint
	ctx  context.Context // of who waits for the call
	read int             // values so far

	free      bool // the endpoint is: nothing needs a bound
	rewriting bool // within something that the provider may write anew

	memory *Memory       // of earlier bodies; nil: there is none
	tags   []tag         // … of this one
	marked int           // where the last mark is
	marks  []*remembered // made of this body
}

// object reads an object and calls member after each name; member must read
// the value.
func (p *parser) object(member func(name []byte) error) error {
	if err := p.dec.bracket(); err != nil {
		return err
	}
	return p.members(member)
}

// members reads an object whose opening brace was read.
func (p *parser) members(member func(name []byte) error) error {
	for p.dec.PeekKind() != '}' {
		if err := p.waiting(); err != nil {
			return err
		}
		raw, err := p.dec.ReadValue()
		if err != nil {
			return err
		}
		name, err := unquote(raw)
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
	}
	return p.dec.bracket()
}

// array reads an array and calls item before each element; item must read it.
func (p *parser) array(item func(i int) error) error {
	if err := p.dec.bracket(); err != nil {
		return err
	}
	return p.elements(0, item)
}

// elements reads an array from number i on, and its end.
func (p *parser) elements(i int, item func(i int) error) error {
	for ; p.dec.PeekKind() != ']'; i++ {
		if err := p.waiting(); err != nil {
			return err
		}
		if err := item(i); err != nil {
			return err
		}
	}
	return p.dec.bracket()
}

// walk reads any value, looking for cache controls at every depth.
func (p *parser) walk() error {
	switch p.dec.PeekKind() {
	case '{':
		return p.object(p.walkMember)
	case '[':
		return p.array(func(int) error { return p.walk() })
	}
	return p.dec.SkipValue()
}

func (p *parser) walkMember(name []byte) error {
	if len(name) >= len("cacheControl") && len(name) <= 16 && (name[0] == 'c' || name[0] == 'C') {
		var storage [longestName]byte
		if string(fold(storage[:0], name)) == "cachecontrol" { // however it is spelt, it only makes the bound larger
			return p.cacheControl()
		}
	}
	if bytes.Contains(name, []byte("reakpoint")) {
		p.call.breakpoints = true
	}
	return p.walk()
}

// cacheControl reads Anthropic's cache marker; any time to live but the short
// one is taken for the long one.
func (p *parser) cacheControl() error {
	k := p.dec.PeekKind()
	if k != '{' {
		p.call.cacheShort = p.call.cacheShort || k != 'n'
		return p.walk()
	}
	p.call.cacheShort = true
	return p.object(func(name []byte) error {
		if !bytes.EqualFold(name, []byte("ttl")) {
			return p.walk()
		}
		raw, err := p.dec.ReadValue()
		if err == nil && string(raw) != `"5m"` && string(raw) != "null" {
			p.call.cacheLong = true
		}
		return err
	})
}

// unquote is a JSON string's content: a slice of raw when it has no escapes.
func unquote(raw []byte) ([]byte, error) {
	if len(raw) >= 2 && bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	return jsontext.AppendUnquote(nil, raw)
}

// text reads a string or null; null is the empty text.
func (p *parser) text() (string, error) {
	switch p.dec.PeekKind() {
	case '"':
		raw, err := p.dec.ReadValue()
		if err != nil {
			return "", err
		}
		s, err := unquote(raw)
		return string(s), err
	case 'n':
		return "", p.dec.SkipValue()
	}
	return "", p.wrongType("a string")
}

// word reads a text that means something only where it is one.
func (p *parser) word() (string, error) {
	if p.dec.PeekKind() != '"' {
		return "", p.walk()
	}
	return p.text()
}

// boolean reads true, false or null, which is false.
func (p *parser) boolean() (bool, error) {
	switch k := p.dec.PeekKind(); k {
	case 't', 'f', 'n':
		return k == 't', p.dec.SkipValue()
	}
	return false, p.wrongType("true or false")
}

// integer reads a whole number in a range; set is false for null.
func (p *parser) integer(low, high int64) (v int64, set bool, err error) {
	switch p.dec.PeekKind() {
	case 'n':
		return 0, false, p.dec.SkipValue()
	case '0':
	default:
		return 0, false, p.wrongType(fmt.Sprintf("a whole number from %d to %d", low, high))
	}
	raw, err := p.dec.ReadValue()
	if err != nil {
		return 0, false, err
	}
	v, ok := whole(raw)
	if !ok || v < low || v > high {
		return 0, false, p.invalid(fmt.Sprintf("is %s; use a whole number from %d to %d", clip(string(raw)), low, high))
	}
	return v, true, nil
}

// whole reads a JSON number that has no fraction, however it is spelt: 1024,
// 1024.0, 1.024e3. Some languages print every number as a float. It must be
// exact, not merely so once rounded to a float. A negative zero, and what is
// longer than any honest number, is none.
func whole(raw []byte) (int64, bool) {
	if v, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return v, v != 0 || raw[0] != '-'
	}
	const longest = 40
	if len(raw) > longest {
		return 0, false
	}
	mantissa, power, _ := strings.Cut(strings.ToLower(string(raw)), "e")
	digits, fraction, _ := strings.Cut(mantissa, ".")
	shift := 0
	if power != "" {
		var err error
		if shift, err = strconv.Atoi(power); err != nil || shift < -longest || shift > longest {
			return 0, false
		}
	}
	digits, shift = digits+fraction, shift-len(fraction)
	for ; shift > 0; shift-- {
		digits += "0"
	}
	for ; shift < 0 && len(digits) > 1 && digits[len(digits)-1] == '0'; shift++ {
		digits = digits[:len(digits)-1]
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if v == 0 {
		return 0, err == nil && digits[0] != '-'
	}
	return v, err == nil && shift == 0
}

// wrongType is an error about the value that comes next.
func (p *parser) wrongType(want string) error {
	k := p.dec.PeekKind()
	raw, err := p.dec.ReadValue() // a syntax error inside it comes first
	if err != nil {
		return err
	}
	kind := map[jsontext.Kind]string{'n': "null", 't': "true", 'f': "false", '"': "a string", '0': "a number", '{': "an object", '[': "an array"}[k]
	if k == '"' || k == '0' {
		kind += " " + clip(string(raw))
	}
	return p.invalid("is " + kind + "; use " + want)
}

// invalid is an error about the member or element that was just read.
func (p *parser) invalid(what string) error {
	field := p.path()
	return budget.Invalid("field_invalid", field, field+" "+strings.ToValidUTF8(what, "�"))
}

// path names the member or element the decoder is at.
func (p *parser) path() string { return p.dec.path() }

// pointerPath writes a JSON pointer the way API errors do: messages[0].content.
// A name that is all digits is taken for an index.
func pointerPath(ptr jsontext.Pointer) string {
	var path []byte
	for step := range ptr.Tokens() {
		path = appendStep(path, step)
	}
	return clipPath(path)
}

func appendStep(path []byte, step string) []byte {
	switch {
	case len(path) == 0:
		return append(path, step...)
	case step != "" && len(step) < 10 && strings.Trim(step, "0123456789") == "":
		return append(append(append(path, '['), step...), ']')
	}
	return append(append(path, '.'), step...)
}

// longestPath is how many bytes of a path a message shows.
const longestPath = 200

func clipPath(path []byte) string {
	if len(path) > longestPath {
		return strings.ToValidUTF8(string(path[:longestPath]), "") + "…"
	}
	return string(path)
}

// isEncodingFault tells bad text from bad JSON.
func isEncodingFault(body []byte, err *jsontext.SyntacticError) bool {
	if !utf8.Valid(body) {
		// The decoder stops at its first fault, which may be another one.
		at := int(err.ByteOffset)
		return at >= len(body) || !utf8.Valid(body[max(0, at-utf8.UTFMax):min(len(body), at+utf8.UTFMax)]) || !utf8.Valid(body[:at])
	}
	return err.Err != nil && strings.Contains(err.Err.Error(), "surrogate")
}

// quoteJSON is s as a JSON string.
func quoteJSON(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil { // invalid UTF-8 cannot come from a parsed body or YAML
		return `""`
	}
	return string(b)
}
