package pricing

import "strconv"

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
	if m.Row != nil && m.routesHosts() && b.sum.factor.den > 0 && c.form == nil { // what has no bound has no limits either
		if e, ok := m.limitHosts(c, &b.sum); ok {
			if e.Del == 0 && e.At == c.open {
				opening += e.Ins
			} else {
				edits = append(edits, e)
			}
		}
	}
	if opening != "" {
		edits = append(edits, Edit{At: c.open, Ins: opening})
	}
	name := m.quoted
	if c.form != nil {
		name = m.UpstreamModel
	}
	edits = append(edits, Edit{c.model.at, c.model.end - c.model.at, name})
	for i := 1; i < len(edits); i++ { // at most five
		for j := i; j > 0 && edits[j].At < edits[j-1].At; j-- {
			edits[j], edits[j-1] = edits[j-1], edits[j]
		}
	}
	b.Edits = edits
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
