package pricing

// Some templates write of a tool more than JSON: Hermes' has a signature and a
// list of the arguments in front of the schema, Command R's and Seed's the two
// alone, Qwen3-Coder's and Nemotron 3's a mark of XML with its name on both sides
// of a member, MiniCPM3's a class of Python for each choice. So, of models whose
// template is not known, the name of an argument counts four times, every other
// name twice, and what describes an argument twice, beside what is written around
// each argument and element. decisions/0135 has the rule.
// https://github.com/vllm-project/vllm/tree/main/examples (tool_chat_template_*.jinja)

// elementFrame is what a template writes around an element of a list, in bytes or
// tokens, where JSON has a comma and a line: MiniCPM3's a line of Python for each
// choice, "enum_12 = ".
const elementFrame = 4

// reprinted is how many bytes of the tools a template may write again.
func (c *Call) reprinted() int64 {
	var w reprint
	for _, t := range c.toolTexts {
		if t.known {
			w.size += t.reprinted
			continue
		}
		w.dec = newReader(c.body[t.at:t.end])
		w.dec.again = true
		_ = w.value() // of a body that was parsed before
		w.dec.release()
	}
	return w.size
}

type reprint struct {
	textWalker
	size int64
}

func (w *reprint) value() error {
	switch w.dec.PeekKind() {
	case '{':
		return w.object(w.member)
	case '[':
		return w.array(func() error {
			w.size += elementFrame
			return w.value()
		})
	}
	return w.dec.SkipValue()
}

// member reads a member by its name, quotes and colon included.
func (w *reprint) member(name string) error {
	w.again([]byte(name), 1)
	if !w.isNamed(name, "properties") || w.dec.PeekKind() != '{' {
		return w.value()
	}
	return w.object(func(name string) error {
		w.again([]byte(name), 3)
		w.size += argumentFrame
		if w.dec.PeekKind() != '{' {
			return w.value()
		}
		return w.object(func(name string) error {
			if !w.isNamed(name, "description") || w.dec.PeekKind() != '"' {
				return w.member(name)
			}
			w.again([]byte(name), 1)
			text, err := w.dec.ReadValue()
			w.again(text, 1)
			return err
		})
	})
}

// again counts a string so many times more.
func (w *reprint) again(text []byte, times int64) {
	var r rendering
	r.addJSON(text)
	w.size += times * r.size
}

// isNamed reports whether a name as it is written is this one.
func (w *reprint) isNamed(written, name string) bool {
	text, _ := w.unquoted([]byte(written)) // of a body that was parsed before
	return string(text) == name
}
