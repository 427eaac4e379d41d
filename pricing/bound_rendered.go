package pricing

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// A provider may write JSON anew before its model reads it: Llama 3's chat
// template prints tools with an indent of four blanks, Python's json.dumps puts
// a blank behind each comma and colon and writes \u00e9 for é, Go's and Jinja's
// encoders write \u003c for <. A byte as it was sent is then less than a byte
// as it is read, so schemas and the arguments of tool calls are bounded by the
// longest of these renderings at once. decisions/0039 has the rule.

// toolFrame is what a provider writes around a tool, in bytes.
const toolFrame = 48

// longNumber is how many bytes longer a number can get that is written with an
// exponent: JavaScript and Go print 1e20 with 21 digits, and what prints as Rust
// does, such as MiniJinja, 1e308 with 309 and 5e-324 with 326.
// https://doc.rust-lang.org/std/primitive.f64.html
const longNumber = 330

// rendering measures a JSON text by its bytes, one after the other. Text that is
// no JSON is measured too, as if it were.
type rendering struct {
	size   int64 // bytes, and one for each level of an indent: every vocabulary that knows code has a token for that
	depth  int64
	text   bool // within a string
	digit  bool // behind a digit outside of one
	escape bool // behind a backslash in it
	opened bool // nothing since an opening bracket

	members int64 // of the outermost object
	outside int64 // levels of what the provider puts around it
}

func (r *rendering) add(c byte) {
	switch {
	case r.text:
		r.size += int64(1 + r.growth(c))
		switch {
		case r.escape:
			r.escape = false
		case c == '\\':
			r.escape = true
		case c == '"':
			r.text = false
		}
		return
	case c == ' ', c == '\n', c == '\t', c == '\r':
		return
	case c == '}', c == ']':
		r.depth = max(r.depth-1, 0)
		if !r.opened {
			r.size += 1 + r.depth
		}
		r.size++
		r.opened = false
		return
	}
	if r.opened {
		r.size += 1 + r.depth
		r.opened = false
	}
	r.size++
	if r.digit && (c == 'e' || c == 'E') {
		r.size += longNumber
	}
	r.digit = c >= '0' && c <= '9'
	switch c {
	case '"':
		r.text = true
	case '{', '[':
		r.depth++
		r.opened = true
	case ',':
		r.size += 1 + r.depth
	case ':':
		r.size++
		if r.depth == r.outside+1 {
			r.members++
		}
	default:
		if c >= utf8.RuneSelf {
			r.size += int64(r.growth(c))
		}
	}
}

// growth is how many bytes longer a character of a string gets as an escape, by
// its first byte: \u003c and its like, and one or two \uXXXX for what is not
// ASCII.
func (r *rendering) growth(c byte) int {
	switch {
	case c == '<', c == '>', c == '&', c == '\'':
		return len(`\u003c`) - 1
	case c == 0x7f: // Python's repr, in which Seed's template writes an object
		return len(`\x7f`) - 1
	case c < 0xc0:
		return 0
	case c < 0xe0:
		return len(`\u00e9`) - 2
	case c < 0xf0:
		return len(`\u4e2d`) - 3
	}
	return len(`\ud83d\ude00`) - 4
}

// addJSON measures a JSON text within what a provider puts around it.
func (r *rendering) addJSON(raw []byte) {
	for i := 0; i < len(raw); i++ {
		if r.text && !r.escape { // most of a schema: needs no state
			for ; i < len(raw) && raw[i] != '"' && raw[i] != '\\'; i++ {
				r.size += int64(grown[raw[i]])
			}
			if i == len(raw) {
				return
			}
		}
		r.add(raw[i])
	}
}

// renderedSize is the longest rendering of a value, or of the JSON in a string, in
// bytes. Of the arguments of a call each may stand between marks of its own.
func renderedSize(raw []byte, arguments bool) int64 {
	r := rendering{}
	if len(raw) > 2 && raw[0] == '"' {
		r.addQuoted(raw[1 : len(raw)-1])
	} else {
		r = rendering{depth: 1, outside: 1}
		r.addJSON(raw)
	}
	if arguments {
		r.size += argumentFrame * r.members
	}
	return r.size
}

// grown is 1 and growth by a character's first byte.
var grown = func() (g [256]uint8) {
	for c := range g {
		g[c] = uint8(1 + (*rendering)(nil).growth(byte(c)))
	}
	return g
}()

// addQuoted measures the text that is in a JSON string, without its quotes.
func (r *rendering) addQuoted(s []byte) {
	for i := 0; i < len(s); i++ {
		if r.text && !r.escape { // most of it: needs no state
			for ; i < len(s) && s[i] != '"' && s[i] != '\\'; i++ {
				r.size += int64(grown[s[i]])
			}
			if i == len(s) {
				return
			}
		}
		if s[i] != '\\' || i+1 == len(s) {
			r.add(s[i])
			continue
		}
		i++
		switch s[i] {
		case '"', '\\', '/':
			r.add(s[i])
		case 'u':
			if c := escaped(s[i-1:]); c < utf8.RuneSelf {
				r.add(byte(c))
			} else {
				r.size += int64(len(`\u00e9`))
			}
			i += 4
		default: // a control character, which is white space or written as it was sent
			if r.text {
				r.size += int64(len(`\n`))
			}
		}
	}
}

// appendPrinted writes a JSON text with a line for each element, an indent of four
// and a blank behind each colon; escaped: in nothing but ASCII. more is what counts
// beside it: how much longer its numbers with an exponent can get, and the indents
// behind the bytes that anybody counts, which would be most of a deep text.
func appendPrinted(dst, raw []byte, escaped bool) (printed []byte, more int64) {
	const indent = "\n                                                                "
	depth, empty := 1, false
	line := func() {
		if n := min(1+4*depth, len(indent)); len(dst) > maxCounted {
			more += int64(n)
		} else {
			dst = append(dst, indent[:n]...)
		}
	}
	for at := 0; at < len(raw); at++ {
		c := raw[at]
		switch {
		case c == '"':
			end := at + min(stringEnd(raw[at:]), len(raw)-at-1)
			if empty {
				line()
			}
			if s := raw[at : end+1]; escaped {
				dst = appendASCII(dst, s)
			} else {
				dst = append(dst, s...)
			}
			at, empty = end, false
			continue
		case isBlank(c):
			continue
		case c == '}', c == ']':
			depth = max(depth-1, 0)
			if !empty {
				line()
			}
			dst, empty = append(dst, c), false
			continue
		}
		if empty {
			line()
			empty = false
		}
		dst = append(dst, c)
		switch c {
		case '{', '[':
			depth, empty = depth+1, true
		case ',':
			line()
		case ':':
			dst = append(dst, ' ')
		case 'e', 'E':
			if at > 0 && raw[at-1] >= '0' && raw[at-1] <= '9' {
				more += longNumber
			}
		}
	}
	return dst, more
}

// spacedNumber is how many bytes the number has at most that appendSpaced counts:
// -1.2345678901234567e-308.
const spacedNumber = 24

// appendSpaced writes a JSON text as Python's json.dumps does, with a blank behind
// each comma and colon and without escapes that need not be. numbers is how many of
// its numbers may be printed with other digits.
func appendSpaced(dst, raw []byte) (spaced []byte, numbers int64) {
	var text []byte
	for at := 0; at < len(raw); at++ {
		switch c := raw[at]; {
		case c == '"':
			end := at + min(stringEnd(raw[at:]), len(raw)-at-1)
			var err error
			if text, err = jsontext.AppendUnquote(text[:0], raw[at:end+1]); err == nil {
				dst, err = jsontext.AppendQuote(dst, text)
			}
			if err != nil { // it was read before
				dst = append(dst, raw[at:end+1]...)
			}
			at = end
		case isBlank(c):
		case c == ',', c == ':':
			dst = append(dst, c, ' ')
		default:
			if c == '.' || (c == 'e' || c == 'E') && raw[at-1] >= '0' && raw[at-1] <= '9' {
				numbers++
			}
			dst = append(dst, c)
		}
	}
	return dst, numbers
}

// argumentFrame is what a provider writes around an argument of an earlier tool
// call, in bytes or tokens: DeepSeek's template has some 16 tokens, with the
// marks of XML, where JSON has quotes, a colon and a comma:
// https://huggingface.co/deepseek-ai/DeepSeek-V4-Flash/blob/main/encoding/encoding_dsv4.py
const argumentFrame = 20

// toolText is a list of tools in a body.
type toolText struct {
	span
	known     bool
	reprinted int64 // bytes of it that a template may write again, where that is known
}

// toolText reads tools with read, and counts what the provider may make of them.
func (p *parser) toolText(read func() error) error {
	outermost, before := !p.rewriting, p.dec.InputOffset()
	err := p.rewrites(read, false)
	if err == nil && outermost {
		end := int(p.dec.InputOffset())
		p.call.toolTexts = append(p.call.toolTexts, toolText{span: span{end - len(p.since(before)), end}})
	}
	return err
}

// argumentsMember reads the arguments of an earlier tool call.
func (p *parser) argumentsMember() error { return p.rewrites(p.walk, true) }

func (p *parser) rewrites(read func() error, arguments bool) error {
	if p.rewriting {
		return read() // of what stands around it
	}
	p.rewriting = true
	before := p.dec.InputOffset()
	err := read()
	p.rewriting = false
	if err != nil {
		return err
	}
	raw := p.since(before)
	p.call.rendered += max(0, renderedSize(raw, arguments)-int64(len(raw)))
	return nil
}

// since is the value that was read from an offset on.
func (p *parser) since(before int64) []byte {
	raw := p.call.body[before:p.dec.InputOffset()]
	for len(raw) > 0 && (raw[0] == ':' || raw[0] == ',' || isBlank(raw[0])) {
		raw = raw[1:]
	}
	return raw
}

// leastMessage is what a message counts at least, in bytes: the names and marks
// of JSON pay for what a template writes around it, and one without them is
// refused by every provider we know.
const leastMessage = 24

// short counts a message that is too short to pay for its marks.
func (p *parser) short(before int64) {
	p.call.rendered += max(0, leastMessage-int64(len(p.since(before))))
}

// calledName is the longest name of a tool for which the JSON of what it gave
// pays, should a template repeat it there, as OpenAI's does:
// https://github.com/openai/harmony/blob/main/docs/format.md
const calledName = 24

// repeated is what names of tools add that stand with what the tools gave.
func (c *Call) repeated() int64 { return c.results * max(0, c.longestName-calledName) }

// called reads the name of a tool that was called.
func (p *parser) called() error {
	name, err := p.word()
	p.call.longestName = max(p.call.longestName, int64(len(name)))
	return err
}

// schemaMember reads a member that holds a schema, or something else that the
// provider may print for its model.
func (p *parser) schemaMember() error {
	before := p.dec.InputOffset()
	err := p.rewrites(p.walk, false)
	// One object deep are settings such as an effort, or a type without a schema.
	p.call.schemas = p.call.schemas || err == nil && bytes.Count(p.since(before), []byte("{")) > 1
	return err
}

// functionsMember reads the tools of old.
func (p *parser) functionsMember() error {
	if p.dec.PeekKind() != '[' {
		return p.toolText(p.walk)
	}
	return p.toolText(func() error {
		return p.array(func(int) error { p.call.tools++; return p.walk() })
	})
}
