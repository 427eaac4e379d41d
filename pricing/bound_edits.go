package pricing

import (
	"bytes"
	"strconv"
)

// Edit replaces Del bytes at offset At of the body by Ins.
type Edit struct {
	At, Del int
	Ins     string
}

// edit lists what must change in the body before it goes upstream. All other
// bytes stay as the client sent them.
func (m *Model) edit(b *Bound, c *Call) {
	edits := b.edits[:0]
	opening := ""
	if c.Endpoint.declared().asksUsage {
		if e, ok := m.askUsage(c); ok {
			b.StripUsage = true
			if e.Del == 0 && e.At == c.open {
				opening = e.Ins
			} else {
				edits = append(edits, e)
			}
		}
	}
	if b.InjectedCap > 0 {
		field, value := m.capField(c.Endpoint), strconv.FormatInt(b.InjectedCap, 10)
		f := c.cap(field)
		if f.null { // a second member of the name would come first, and lose
			edits = append(edits, Edit{f.at, len("null"), value})
		} else {
			opening += `"` + field + `":` + value + ","
		}
	}
	edits = c.plainCaps(edits)
	if b.InjectedToolCalls > 0 {
		value := strconv.FormatInt(b.InjectedToolCalls, 10)
		switch {
		case c.Endpoint != Responses:
			edits = m.limitUses(edits, c, value)
		case c.toolNull > 0:
			edits = append(edits, Edit{c.toolNull, len("null"), value})
		default:
			opening += `"max_tool_calls":` + value + ","
		}
	}
	if m.Row != nil && m.routesHosts() && b.sum.factor.den > 0 && c.form == nil { // what has no bound has no limits either
		if e, ok := m.limitHosts(c, &b.sum); ok {
			if e.Del == 0 && e.At == c.open {
				opening += e.Ins
			} else {
				edits = append(edits, e)
			}
		}
	}
	if c.model.end > 0 {
		edits = m.rename(edits, c)
	} else { // a call that names none
		opening += `"model":` + m.quoted + ","
	}
	if opening != "" {
		edits = append(edits, Edit{At: c.open, Ins: opening})
	}
	for i := 1; i < len(edits); i++ { // seven, and one for each tool that gets a limit
		for j := i; j > 0 && edits[j].At < edits[j-1].At; j-- {
			edits[j], edits[j-1] = edits[j-1], edits[j]
		}
	}
	b.Edits = edits
}

// rename writes the model as the provider is sent it.
func (m *Model) rename(edits []Edit, c *Call) []Edit {
	name := m.quoted
	if c.form != nil {
		name = m.UpstreamModel
		edits = append(edits, c.form.lengthEdit(name)...)
	}
	return append(edits, Edit{c.model.at, c.model.end - c.model.at, name})
}

// plainCaps writes caps as all servers read them: some take 1024.0 for no integer.
func (c *Call) plainCaps(edits []Edit) []Edit {
	for _, name := range c.Endpoint.declared().caps {
		f := c.cap(name)
		if !f.set {
			continue
		}
		var storage [20]byte // on the stack: nearly all are plain
		start, digits := f.at+len("null")-f.width, strconv.AppendInt(storage[:0], f.value, 10)
		if !bytes.Equal(c.body[start:start+f.width], digits) {
			edits = append(edits, Edit{start, f.width, string(digits)})
		}
	}
	return edits
}

// limitUses gives each tool without a limit the one that its bound has.
func (m *Model) limitUses(edits []Edit, c *Call, value string) []Edit {
	for i := range c.hosted {
		switch t := &c.hosted[i]; {
		case !m.limitsUses(c, t):
		case t.null > 0:
			edits = append(edits, Edit{t.null, len("null"), value})
		default:
			edits = append(edits, Edit{At: t.open, Ins: `"max_uses":` + value + ","})
		}
	}
	return edits
}

// askUsage is the edit that makes a stream report its usage, when one is needed.
func (m *Model) askUsage(c *Call) (Edit, bool) {
	if !c.Stream || m.Upstream.StreamUsage != "" && m.Upstream.StreamUsage != StreamUsageInject {
		return Edit{}, false
	}
	const member = `"include_usage":true`
	o := &c.options
	switch {
	case o.kind == 0:
		return Edit{At: c.open, Ins: `"stream_options":{` + member + `},`}, true
	case o.kind == 'n':
		return Edit{o.at, len("null"), "{" + member + "}"}, true
	case o.include == 't':
		return Edit{}, false
	case o.include != 0:
		return Edit{o.includeAt, o.includeEnd - o.includeAt, "true"}, true
	case o.empty:
		return Edit{At: o.at, Ins: member}, true
	}
	return Edit{At: o.at, Ins: member + ","}, true
}
