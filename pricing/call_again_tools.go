package pricing

import (
	"bytes"
	"container/list"
	"hash/maphash"
	"reflect"
	"slices"
	"unsafe"
)

// An agent's tools are the same with each turn, but stand behind the messages in
// most bodies. What a list of nothing but plain tools adds to a call does not depend
// on what stands before it, so it is remembered by the list's bytes.

const (
	// toolsHead is by how many bytes a list is looked up, which it has at least.
	toolsHead = 1 << 10
	// maxToolLists are kept that begin alike.
	maxToolLists = 4
)

// tools is a list of tools that an owner sent to an endpoint, and what it adds.
type tools struct {
	owner    string
	endpoint Endpoint
	raw      []byte // from bracket to bracket
	sum      uint64

	count, rendered, reprinted int64
	named                      []namedTool // with offsets in raw
	has                        content
	read                       int

	place *list.Element
}

func (l *tools) where() **list.Element { return &l.place }

func (l *tools) size() int64 {
	return int64(int(unsafe.Sizeof(tools{})) + cap(l.raw) + 64*(1+len(l.named)) + 128)
}

func (l *tools) leave(m *Memory) {
	left := slices.DeleteFunc(m.tools[l.sum], func(o *tools) bool { return o == l })
	if m.tools[l.sum] = left; len(left) == 0 {
		delete(m.tools, l.sum)
	}
}

// toolsAgain reads the tools beside the messages.
func (p *parser) toolsAgain() error {
	if p.dec.PeekKind() != '[' || len(p.call.body)-p.dec.next < p.memory.head {
		return p.toolList()
	}
	at := p.dec.next
	sum := maphash.Bytes(p.memory.seed, p.call.body[at:at+p.memory.head])
	if l := p.memory.findTools(p.owner, p.call.Endpoint, sum, p.call.body[at:]); l != nil {
		p.take(l, at)
		return nil
	}
	err := p.toolList()
	if raw := p.call.body[at:p.dec.at]; err == nil && len(raw) >= p.memory.head {
		p.memory.keepTools(p.learn(raw), sum)
	}
	return err
}

// take reads l, which begins at an offset.
func (p *parser) take(l *tools, at int) {
	p.dec.open[0].passed()
	p.dec.at, p.dec.next = at+len(l.raw), 0
	p.dec.has |= l.has
	p.read += l.read
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
	l := &tools{owner: p.owner, endpoint: p.call.Endpoint, raw: bytes.Clone(raw)}
	empty := Call{Endpoint: l.endpoint, body: l.raw, choices: 1, toolCalls: -1}
	q := parser{call: empty, dec: newReader(l.raw), top: p.top, ctx: p.ctx, free: p.free}
	defer q.dec.release()
	if q.toolList() != nil || !q.dec.end() || len(q.call.toolTexts) != 1 || q.call.toolTexts[0].span != (span{0, len(raw)}) {
		return nil
	}
	l.count, l.rendered, l.reprinted = q.call.tools, q.call.rendered, q.call.reprinted()
	l.named, l.has, l.read = q.call.named, q.dec.has, q.read
	empty.tools, empty.rendered, empty.toolTexts, empty.named = q.call.tools, q.call.rendered, q.call.toolTexts, q.call.named
	if !reflect.DeepEqual(q.call, empty) {
		return nil
	}
	return l
}

// findTools is the list of the owner that rest begins with; nil where there is none.
func (m *Memory) findTools(owner string, e Endpoint, sum uint64, rest []byte) *tools {
	m.mu.Lock()
	lists := slices.Clone(m.tools[sum])
	m.mu.Unlock()
	for _, l := range lists {
		if l.owner == owner && l.endpoint == e && bytes.HasPrefix(rest, l.raw) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if l.place != nil {
				m.recent.MoveToFront(l.place)
			}
			return l
		}
	}
	return nil
}

// keepTools remembers a list, under the sum of its first bytes.
func (m *Memory) keepTools(l *tools, sum uint64) {
	if l == nil {
		return
	}
	l.sum = sum
	m.mu.Lock()
	defer m.mu.Unlock()
	if alike := m.tools[sum]; len(alike) == maxToolLists {
		m.forget(alike[0])
	}
	if m.add(l) {
		m.tools[sum] = append(m.tools[sum], l)
	}
}
