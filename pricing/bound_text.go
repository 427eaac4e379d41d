package pricing

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// counted is the part of a body's text that a tokenizer counted.
type counted struct {
	bytes  int64 // of the body, within quotes
	tokens int64 // that these bytes can become, at most
}

const (
	// shortText is a string not worth counting.
	shortText = 24
	// maxCounted is the effort spent on one body, in bytes of short words, so
	// that none takes long; the rest is one token a byte.
	maxCounted = 256 << 10
	// newLine is what a line of a tool's description may take beyond its own
	// tokens where the provider rewrites tools: a break, an indent, a comment
	// mark.
	newLine = 8
)

// counted finds the strings of c's body that the provider reads as text and
// counts them. What it does not find keeps its byte bound: the syntax, whose
// bytes pay for the marks around messages; names, roles, tool schemas and tool
// arguments, which the provider may write in another way; strings it does not
// know.
func (t *tokenizer) counted(c *Call) counted {
	if c.tokenInput || !c.Endpoint.generates() && c.Endpoint != Embeddings {
		return counted{}
	}
	w := textWalker{t: t, body: c.body, alone: c.Endpoint == Embeddings, room: maxCounted}
	w.dec = newReader(c.body)
	defer w.dec.release()
	w.dec.again = true
	if err := w.object(w.topMember(c.Endpoint.declared().members)); err != nil {
		return counted{} // not with a body that was parsed before
	}
	return w.sum
}

// textWalker reads a body a second time, for its text alone.
type textWalker struct {
	t       *tokenizer
	dec     *reader
	body    []byte
	alone   bool // each string is all the text of its call
	sum     counted
	room    int // effort that is left
	scratch []byte
	quoted  []byte
}

// topMember is where the endpoint's text is, by the table of members. The
// Messages API has none: its tokenizers are not public.
func (w *textWalker) topMember(top *scope) func(name string) error {
	return func(name string) error {
		if m := top.named[name[1:len(name)-1]]; m != nil && m.text != nil {
			return m.text(w)
		}
		return w.dec.SkipValue()
	}
}

func (w *textWalker) messages() error { return w.array(w.message) }

func (w *textWalker) verbatimText() error { return w.text(w.verbatim) }

func (w *textWalker) messagesOrText() error {
	if w.dec.PeekKind() == '[' {
		return w.array(w.message)
	}
	return w.verbatimText()
}

func (w *textWalker) texts() error {
	if w.dec.PeekKind() == '[' {
		return w.array(w.verbatimText)
	}
	return w.verbatimText()
}

// object calls member with the raw name of each member, quotes included.
func (w *textWalker) object(member func(name string) error) error {
	if w.dec.PeekKind() != '{' {
		return w.dec.SkipValue()
	}
	if err := w.dec.bracket(); err != nil {
		return err
	}
	for w.dec.PeekKind() != '}' {
		name, err := w.dec.ReadValue()
		if err != nil {
			return err
		}
		if err := member(string(name)); err != nil {
			return err
		}
	}
	return w.dec.bracket()
}

func (w *textWalker) array(item func() error) error {
	if w.dec.PeekKind() != '[' {
		return w.dec.SkipValue()
	}
	if err := w.dec.bracket(); err != nil {
		return err
	}
	for w.dec.PeekKind() != ']' {
		if err := item(); err != nil {
			return err
		}
	}
	return w.dec.bracket()
}

// message reads a chat message or an item of a response's input. Its role may
// come after its text, so the text is counted at its end.
func (w *textWalker) message() error {
	var storage [8]span
	texts, role := storage[:0], ""
	keep := func() error {
		raw, err := w.dec.ReadValue()
		end := int(w.dec.InputOffset())
		texts = append(texts, span{end - len(raw), end})
		return err
	}
	err := w.object(func(name string) error {
		switch name {
		case `"role"`:
			raw, err := w.dec.ReadValue()
			role = string(raw)
			return err
		case `"content"`, `"output"`:
			if w.dec.PeekKind() != '[' {
				return keep()
			}
			return w.array(func() error {
				return w.object(func(name string) error {
					if name == `"text"` {
						return keep()
					}
					return w.dec.SkipValue()
				})
			})
		}
		return w.dec.SkipValue()
	})
	count := w.rewritten // what a tool gave, or a role nobody here knows
	switch role {
	case `"user"`, `"system"`, `"developer"`, `"assistant"`:
		count = w.verbatim
	}
	for _, s := range texts {
		w.add(w.body[s.at:s.end], count)
	}
	return err
}

// tools counts descriptions. A schema that refers to parts of itself may be
// written out, so then nothing of it is counted.
func (w *textWalker) tools() error {
	before, refers := w.sum, false
	var value func() error
	value = func() error {
		if w.dec.PeekKind() == '[' {
			return w.array(value)
		}
		return w.object(func(name string) error {
			switch name {
			case `"$ref"`, `"$defs"`, `"definitions"`, `"$dynamicRef"`:
				refers = true
			case `"description"`:
				return w.text(w.described)
			}
			return value()
		})
	}
	err := value()
	if refers {
		w.sum = before
	}
	return err
}

// text counts the string that comes next, if one does.
func (w *textWalker) text(count func(raw, text []byte) int64) error {
	raw, err := w.dec.ReadValue()
	if err == nil {
		w.add(raw, count)
	}
	return err
}

func (w *textWalker) add(raw []byte, count func(raw, text []byte) int64) {
	inside := int64(len(raw) - len(`""`))
	if len(raw) < shortText || raw[0] != '"' || w.room <= 0 {
		return
	}
	text, err := w.unquoted(raw)
	if err != nil {
		return
	}
	if tokens := count(raw, text); tokens < inside {
		w.sum.bytes += inside
		w.sum.tokens += tokens
	}
}

// unquoted is the text in a JSON string, until the next is asked for.
func (w *textWalker) unquoted(raw []byte) (text []byte, err error) {
	if text = raw[1 : len(raw)-1]; bytes.IndexByte(text, '\\') >= 0 {
		w.scratch, err = jsontext.AppendUnquote(w.scratch[:0], raw)
		text = w.scratch
	}
	return text, err
}

// verbatim is for text the provider takes as it is.
func (w *textWalker) verbatim(_, text []byte) int64 { return w.t.most(text, w.alone, &w.room) }

// rewritten is for text the provider may put into JSON: the larger of the text
// and of its JSON string, as the client wrote it and as others would.
func (w *textWalker) rewritten(raw, text []byte) int64 {
	most := w.t.most(text, false, &w.room)
	if len(text)+len(`""`) == len(raw) {
		return most // no escapes: the text is its own JSON
	}
	w.quoted, _ = jsontext.AppendQuote(w.quoted[:0], text)
	return max(most, w.t.most(raw, false, &w.room), w.t.most(w.quoted, false, &w.room))
}

// described is for a tool's description, whose lines may become comments.
func (w *textWalker) described(raw, text []byte) int64 {
	var lines int64
	for line := range bytes.Lines(text) {
		lines += w.t.most(line, false, &w.room) + newLine
	}
	most := max(lines, w.rewritten(raw, text))
	if escapable(text) {
		w.quoted = appendEscaped(w.quoted[:0], text)
		most = max(most, w.t.most(w.quoted, false, &w.room))
	}
	return most
}

// escapable reports characters that some encoders write as escapes.
func escapable(text []byte) bool {
	return bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf || r == '<' || r == '>' || r == '&' || r == '\'' })
}

// appendEscaped is the inside of a JSON string that has nothing but plain ASCII
// in it, as some encoders write it, see rendering.
func appendEscaped(dst, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		text = text[n:]
		switch {
		case r >= utf8.RuneSelf, r < ' ', r == '<', r == '>', r == '&', r == '\'':
			dst = appendUnits(dst, r)
		case r == '"', r == '\\':
			dst = append(dst, '\\', byte(r))
		default:
			dst = append(dst, byte(r))
		}
	}
	return dst
}

// appendASCII writes a JSON string as it stands, with escapes for what they may
// stand for.
func appendASCII(dst, raw []byte) []byte {
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		raw = raw[n:]
		if r >= utf8.RuneSelf || r == '<' || r == '>' || r == '&' || r == '\'' {
			dst = appendUnits(dst, r)
		} else {
			dst = append(dst, byte(r))
		}
	}
	return dst
}

// appendUnits writes one or two \uXXXX.
func appendUnits(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	if r > 0xffff {
		high, low := utf16.EncodeRune(r)
		return appendUnits(appendUnits(dst, high), low)
	}
	return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}
