package pricing

import "bytes"

// Where a vendor has published how its template marks messages, nothing of a body
// is read but texts, tools and schemas: its syntax and what steers the sampling
// cost nothing, and each message has a fixed number of marks. What stands in a
// body beside that keeps its bytes. decisions/0080 has the rule.

const (
	// instructionMarks are around a system's or developer's text, such as a
	// heading; with it, the text is not alone in its message.
	instructionMarks = 8
	// callMarks are around a tool call, and around what it gave: the channel,
	// whom it is for, in what form.
	callMarks = 16
	// toolMarks are around a tool, in tokens. toolFrame is for renderings that
	// nobody has published.
	toolMarks = 16
	// lineMarks are of a line of a tool's text that becomes a comment.
	lineMarks = 4
)

// silent are top-level members that no template reads. It is never changed.
var silent = nameSet(
	"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of",
	"temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "stop", "logit_bias", "logprobs", "top_logprobs",
	"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options",
	"parallel_tool_calls", "encoding_format", "dimensions", "include", "truncation",
)

// markedText is what a body is to a model with marked messages.
type markedText struct {
	tokens int64 // of texts and marks
	kept   int64 // bytes of what may be read in a way nobody here knows
}

// marked reads c's body; false: its endpoint has no messages or texts alone.
func (t *tokenizer) marked(c *Call, o *overhead) (markedText, bool) {
	if c.tokenInput || c.Endpoint != Chat && c.Endpoint != Responses && c.Endpoint != Embeddings {
		return markedText{}, false
	}
	w := markedWalker{textWalker: textWalker{t: t, body: c.body, room: maxCounted}, call: c, o: o}
	w.dec = newReader(c.body)
	defer w.dec.release()
	w.dec.again = true
	if err := w.object(w.top); err != nil {
		return markedText{}, false // not with a body that was parsed before
	}
	// All that is no text is in values that were kept.
	w.sum.kept = max(0, w.sum.kept-c.payload)
	return w.sum, true
}

type markedWalker struct {
	textWalker
	sum  markedText
	call *Call
	o    *overhead
}

func (w *markedWalker) top(name string) error {
	switch chat := w.call.Endpoint == Chat; {
	case silent[name[1:len(name)-1]]: // without its quotes
		return w.dec.SkipValue()
	case w.call.Endpoint == Embeddings:
		if name == `"input"` {
			return w.inputs()
		}
	case name == `"messages"` && chat, name == `"input"` && !chat && w.dec.PeekKind() == '[':
		return w.array(w.message)
	case name == `"input"` && !chat, name == `"instructions"` && !chat:
		w.sum.tokens += w.o.item + instructionMarks
		return w.string(w.verbatim)
	case name == `"tools"`:
		return w.tools()
	case name == `"response_format"` && chat, name == `"text"` && !chat:
		raw, err := w.dec.ReadValue()
		if err == nil {
			w.json(raw)
		}
		return err
	}
	return w.keep(name)
}

// keep leaves a member its bytes, and what it may grow by when it is printed.
func (w *markedWalker) keep(name string) error {
	raw, err := w.dec.ReadValue()
	if err == nil {
		w.sum.kept += int64(len(name)+len(`:,`)) + printedSize(raw)
	}
	return err
}

// value leaves a value its bytes: its name is not read.
func (w *markedWalker) value() error {
	raw, err := w.dec.ReadValue()
	if err == nil {
		w.sum.kept += printedSize(raw)
	}
	return err
}

// printedSize is a value's size as it was sent or as it may be printed.
func printedSize(raw []byte) int64 {
	size := int64(len(raw))
	if len(raw) > 0 && (raw[0] == '{' || raw[0] == '[') {
		size = max(size, renderedSize(raw, true))
	}
	return size
}

// inputs are texts that are embedded each by itself.
func (w *markedWalker) inputs() error {
	one := func() error {
		w.sum.tokens += w.o.item
		return w.string(w.only)
	}
	if w.dec.PeekKind() == '[' {
		return w.array(one)
	}
	return one()
}

// string counts the string that comes next; anything else keeps its bytes.
func (w *markedWalker) string(count func(raw, text []byte) int64) error {
	raw, err := w.dec.ReadValue()
	if err == nil {
		w.text(raw, count)
	}
	return err
}

func (w *markedWalker) text(raw []byte, count func(raw, text []byte) int64) {
	if raw[0] == 'n' {
		return // null
	}
	if raw[0] != '"' {
		w.sum.kept += printedSize(raw)
		return
	}
	text, err := w.unquoted(raw)
	if err != nil {
		w.sum.kept += int64(len(raw))
		return
	}
	w.sum.tokens += min(count(raw, text), int64(len(raw)))
}

// only is for a text between two marks, or alone. Of the vocabularies, OpenAI's
// alone have templates where it is.
func (w *markedWalker) only(_, text []byte) int64 {
	return w.t.most(text, w.t.betweenMarks, &w.room)
}

// markedPart is one text of a message.
type markedPart struct {
	raw  []byte
	tool bool // what a tool gave
}

// marking is what a message has been found to be.
type marking struct {
	role  string
	parts []markedPart
	mixed bool // not a single text
	calls int64
}

func (w *markedWalker) message() error {
	if w.dec.PeekKind() == '"' { // an item of a response's input
		w.sum.tokens += w.o.item
		return w.string(w.verbatim)
	}
	if w.dec.PeekKind() != '{' {
		return w.value()
	}
	var storage [8]markedPart
	m := marking{parts: storage[:0]}
	err := w.object(func(name string) error { return w.messageMember(&m, name) })
	w.finish(&m)
	return err
}

func (w *markedWalker) messageMember(m *marking, name string) error {
	switch name {
	case `"role"`:
		raw, err := w.dec.ReadValue()
		m.role = string(raw)
		return err
	case `"content"`, `"output"`, `"refusal"`:
		return w.content(m, name == `"output"`)
	case `"type"`:
		return w.known(`"message"`, `"function_call"`, `"function_call_output"`)
	case `"tool_calls"`:
		return w.array(func() error { return w.toolCall(m) })
	case `"function_call"`:
		return w.toolCall(m)
	case `"arguments"`: // of a response's item
		m.calls++
		return w.arguments()
	case `"reasoning_content"`: // stands in front of the content, where it is read
		if w.o.argument == 0 {
			break
		}
		m.mixed = true
		return w.content(m, false)
	case `"tool_call_id"`, `"call_id"`, `"id"`, `"status"`:
		return w.value()
	}
	return w.keep(name)
}

// known reads a string that no template shows if it is one of these.
func (w *markedWalker) known(values ...string) error {
	raw, err := w.dec.ReadValue()
	for _, v := range values {
		if string(raw) == v {
			return err
		}
	}
	w.sum.kept += int64(len(raw))
	return err
}

func (w *markedWalker) content(m *marking, tool bool) error {
	add := func() error {
		raw, err := w.dec.ReadValue()
		if err == nil && raw[0] != 'n' {
			m.parts = append(m.parts, markedPart{raw, tool})
		}
		return err
	}
	if w.dec.PeekKind() != '[' {
		return add()
	}
	return w.array(func() error {
		if w.dec.PeekKind() != '{' {
			m.mixed = true
			return add()
		}
		return w.object(func(name string) error {
			switch name {
			case `"text"`:
				return add()
			case `"type"`:
				return w.known(`"text"`, `"input_text"`, `"output_text"`)
			}
			m.mixed = true
			return w.keep(name)
		})
	})
}

func (w *markedWalker) toolCall(m *marking) error {
	if w.dec.PeekKind() != '{' {
		return w.value()
	}
	m.calls++
	var member func(name string) error
	member = func(name string) error {
		switch name {
		case `"type"`:
			return w.known(`"function"`)
		case `"id"`, `"name"`:
			return w.value()
		case `"arguments"`:
			return w.arguments()
		case `"function"`:
			if w.dec.PeekKind() == '{' {
				return w.object(member)
			}
		}
		return w.keep(name)
	}
	return w.object(member)
}

// finish counts a message, whose role may come after its texts.
func (w *markedWalker) finish(m *marking) {
	w.sum.tokens += w.o.item + w.o.perCall*m.calls
	tool := false
	for _, p := range m.parts {
		tool = tool || p.tool
	}
	count := w.verbatim
	switch m.role {
	case `"user"`, `"assistant"`:
		if len(m.parts) == 1 && !m.mixed && !tool {
			count = w.only
		}
	case `"system"`, `"developer"`:
		w.sum.tokens += instructionMarks
	case "":
	case `"tool"`, `"function"`:
		tool = true
	default:
		w.sum.kept += int64(len(m.role))
		tool = true // a role nobody here knows
	}
	if tool {
		w.sum.tokens += callMarks + w.call.longestName
		count = w.rewritten
	}
	for _, p := range m.parts {
		w.text(p.raw, count)
		if len(m.parts) > 1 || m.mixed {
			w.sum.tokens++ // a line between them
		}
	}
}

// arguments counts those of a tool call: as they were sent, and as others print
// them.
func (w *markedWalker) arguments() error {
	raw, err := w.dec.ReadValue()
	if err != nil || raw[0] == 'n' {
		return err
	}
	own := raw
	if raw[0] == '"' {
		text, err := w.unquoted(raw)
		if err != nil {
			return err
		}
		own = bytes.Clone(text) // rewritten uses the same memory
	} else if w.o.argument == 0 {
		w.json(raw)
		return nil
	}
	size := max(int64(len(raw)), renderedSize(raw, true))
	most := max(w.rewritten(raw, own), w.printed(own))
	if w.o.argument > 0 {
		size += w.o.argument + int64(len("arguments")) // as which goes what is no object
		most = max(most, w.oneByOne(own, size))
	}
	w.sum.tokens += min(most, size)
	return nil
}

// oneByOne counts arguments that a template writes each by itself, strings without
// quotes; what is no object has at most its size.
func (w *markedWalker) oneByOne(arguments []byte, size int64) (most int64) {
	inner := textWalker{t: w.t, body: arguments, dec: newReader(arguments)}
	defer inner.dec.release()
	if inner.dec.PeekKind() != '{' {
		return size
	}
	err := inner.object(func(name string) error {
		raw, err := inner.dec.ReadValue()
		if err != nil {
			return err
		}
		key, err := inner.unquoted([]byte(name))
		if err != nil {
			return err
		}
		most += w.o.argument + w.t.most(key, false, &w.room)
		if raw[0] != '"' {
			most += w.written(raw)
			return nil
		}
		value, err := inner.unquoted(raw)
		most += w.t.most(value, false, &w.room)
		return err
	})
	if err != nil || len(bytes.TrimSpace(arguments[inner.dec.InputOffset():])) > 0 {
		return size
	}
	return most
}

// json counts a value that the provider prints for its model.
func (w *markedWalker) json(raw []byte) {
	w.sum.tokens += min(w.written(raw), printedSize(raw))
}

// written counts a JSON text as the template prints it, if that is published, else as
// it may be printed.
func (w *markedWalker) written(raw []byte) int64 {
	if w.o.argument == 0 {
		return w.printed(raw)
	}
	var numbers int64
	w.quoted, numbers = appendSpaced(w.quoted[:0], raw)
	return w.t.most(w.quoted, false, &w.room) + spacedNumber*numbers
}

// tools counts what they may be printed as. A schema that refers to parts of
// itself may be written out, so then they keep their bytes, as they do where an
// escape could hide that.
func (w *markedWalker) tools() error {
	raw, err := w.dec.ReadValue()
	if err != nil || raw[0] == 'n' {
		return err
	}
	most := printedSize(raw) + toolFrame*w.call.tools
	if !bytes.Contains(raw, []byte("Ref")) && !bytes.Contains(raw, []byte("$ref")) && !bytes.Contains(raw, []byte(`\u00`)) {
		lines := int64(bytes.Count(raw, []byte(`\n`)) + bytes.Count(raw, []byte("description")) + bytes.Count(raw, []byte("title")))
		most = min(most, w.written(raw)+toolMarks*w.call.tools+lineMarks*lines)
	}
	w.sum.tokens += most
	return nil
}

// printed counts a JSON text as Llama's template prints it, which has the most
// tokens of all published renderings: with an indent of four, and once more in
// plain ASCII where that makes a difference.
func (w *markedWalker) printed(raw []byte) int64 {
	var more int64
	w.quoted, more = appendPrinted(w.quoted[:0], raw, false)
	most := w.t.most(w.quoted, false, &w.room) + more
	if escapable(raw) {
		w.quoted, more = appendPrinted(w.quoted[:0], raw, true)
		most = max(most, w.t.most(w.quoted, false, &w.room)+more)
	}
	return most
}
