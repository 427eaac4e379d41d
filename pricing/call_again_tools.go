package pricing

import "reflect"

// An agent's tools are the same with each turn, but stand behind the messages in
// most bodies. What a list of nothing but plain tools adds to a call does not depend
// on what stands before it, so it is remembered by the list's bytes.

const (
	// toolsHead is by how many bytes a list is looked up, which it has at least.
	toolsHead = 1 << 10
	// longestTools is how many bytes a list has at most: it is read and measured once
	// more to learn it, which makes a body of nothing else four times as dear.
	longestTools = 256 << 10
	// maxToolLists are kept that begin alike.
	maxToolLists = 4
)

// tools is a list of tools that an owner sent to an endpoint, and what it adds.
type tools struct {
	length int // bytes, from bracket to bracket
	tag    tag

	count, rendered, reprinted int64
	named                      []namedTool // with offsets in the list
	has                        content
}

// toolsAgain reads the tools beside the messages.
func (p *parser) toolsAgain() error {
	m := p.memory
	if p.dec.PeekKind() != '[' || len(p.call.body)-p.dec.next < m.head {
		return p.toolList()
	}
	at := p.dec.next
	rest := p.call.body[at:]
	var head, all tag
	m.next(&head, &p.tags[0], rest[:m.head])
	known := m.find(head)
	if known != nil {
		for _, l := range known.tools {
			if l.length > len(rest) {
				continue
			}
			if m.next(&all, &head, rest[:l.length]); all == l.tag {
				p.take(l, at)
				return nil
			}
		}
	}
	if err := p.toolList(); err != nil {
		return err
	}
	if raw := p.call.body[at:p.dec.at]; len(raw) >= m.head && len(raw) <= longestTools {
		if l := p.learn(raw); l != nil {
			m.next(&l.tag, &head, raw)
			m.keepTools(head, known, l)
		}
	}
	return nil
}

// take reads l, which begins at an offset.
func (p *parser) take(l *tools, at int) {
	p.dec.open[0].passed()
	p.dec.at, p.dec.next = at+l.length, 0
	p.dec.has |= l.has
	p.call.tools += l.count
	p.call.rendered += l.rendered
	p.call.toolTexts = append(p.call.toolTexts, toolText{span{at, p.dec.at}, true, l.reprinted})
	for _, t := range l.named {
		t.at, t.end = t.at+at, t.end+at
		p.call.named = append(p.call.named, t)
	}
}

// learn is what a list adds that was just read: what it adds to a call without
// anything; nil where it does something else to that, too.
func (p *parser) learn(raw []byte) *tools {
	empty := Call{Endpoint: p.call.Endpoint, body: raw}
	q := parser{call: empty, dec: newReader(raw), top: p.top, ctx: p.ctx}
	defer q.dec.release()
	if q.toolList() != nil || len(q.call.toolTexts) != 1 || q.call.toolTexts[0].span != (span{0, len(raw)}) {
		return nil
	}
	l := &tools{
		length: len(raw), count: q.call.tools, rendered: q.call.rendered, reprinted: q.call.reprinted(),
		named: q.call.named, has: q.dec.has,
	}
	empty.tools, empty.rendered, empty.toolTexts, empty.named = q.call.tools, q.call.rendered, q.call.toolTexts, q.call.named
	if !reflect.DeepEqual(q.call, empty) {
		return nil
	}
	return l
}

// keepTools remembers a list beside those that begin alike.
func (m *Memory) keepTools(head tag, known *remembered, l *tools) {
	lists := []*tools{l}
	if known != nil {
		lists = append(lists, known.tools[:min(len(known.tools), maxToolLists-1)]...)
	}
	m.keep(&remembered{tag: head, tools: lists})
}
