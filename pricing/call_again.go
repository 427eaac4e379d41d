package pricing

import (
	"container/list"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"unsafe"
)

// An agent sends its whole conversation with each turn, and some messages more.
// What a parser knows behind a message depends on the bytes before it alone, so
// where these are the bytes of an earlier body it goes on from there.

const (
	// leastAgain is the size in bytes from which a body is remembered; shorter ones
	// are read in less time than this is worth.
	leastAgain = 32 << 10
	// blockAgain is how many bytes of a body a tag is of.
	blockAgain = 8 << 10
	// maxMarked is how many elements a mark has beside itself at most, and
	// maxMarkBytes what it takes.
	maxMarked, maxMarkBytes = 256, 32 << 10
	// longestNames are the bytes of the names in front of a list of messages.
	longestNames = 1 << 10
)

// talking has the endpoints whose bodies are conversations.
const talking = inChat | inMessages | inResponses

// Memory remembers what parsers made of how bodies begin. Of the bodies it keeps
// tags, and no text. It is safe for concurrent use.
type Memory struct {
	most  int64
	mac   cipher.AEAD
	least int // bytes of a body
	block int // bytes of a block
	head  int // bytes by which tools are looked up

	mu     sync.Mutex
	size   int64
	recent list.List // of *remembered, the one that was used last in front
	known  map[tag]*list.Element
}

// tag stands for an owner, an endpoint and all bytes up to a block's end. It is a
// GMAC, chained by its nonce, with a key of this process. Nobody is shown one, so
// whoever chooses the bytes of two bodies makes their tags equal with a chance below
// 2^-100: NIST SP 800-38D, appendix B.
type tag [tagSize]byte

const tagSize = 16

// remembered is what a Memory has for a tag. It does not change: parsers use it unlocked.
type remembered struct {
	tag   tag
	mark  *bookmark
	tools []*tools
	size  int64
}

// bookmark is a parser behind an element of a list at the top of a body.
type bookmark struct {
	item  func(*parser, int) error
	at    int
	call  Call // without the body
	open  [2]level
	names [][]byte
	has   content
}

// NewMemory returns a Memory that holds at most so many bytes; the error is that of
// a system without AES.
func NewMemory(most int64) (*Memory, error) {
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("key of the tags: %w", err)
	}
	mac, err := cipher.NewGCMWithNonceSize(block, tagSize)
	if err != nil {
		return nil, fmt.Errorf("key of the tags: %w", err)
	}
	return &Memory{most: most, mac: mac, least: leastAgain, block: blockAgain, head: toolsHead, known: make(map[tag]*list.Element)}, nil
}

// Size is about how many bytes m holds.
func (m *Memory) Size() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size
}

// next sets t to the tag of what before is of, and of text behind it.
func (m *Memory) next(t, before *tag, text []byte) {
	m.mac.Seal(t[:0], before[:], nil, text)
}

// tags are those of a body: without any of it, then behind each whole block.
func (m *Memory) tags(owner string, e Endpoint, body []byte) []tag {
	tags := make([]tag, 1+len(body)/m.block)
	m.next(&tags[0], &tags[0], []byte(string(e)+" "+owner))
	for i := 1; i < len(tags); i++ {
		m.next(&tags[i], &tags[i-1], body[(i-1)*m.block:i*m.block])
	}
	return tags
}

// find is what m has for the last of the tags that it knows; nil where it knows none.
func (m *Memory) find(tags ...tag) *remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range slices.Backward(tags) {
		if place := m.known[t]; place != nil {
			m.recent.MoveToFront(place)
			return rememberedAt(place)
		}
	}
	return nil
}

// keep remembers e in place of what m has for its tag, and forgets what was not used
// for longest.
func (m *Memory) keep(e *remembered) {
	e.size = footprint(reflect.ValueOf(e)) + int64(unsafe.Sizeof(list.Element{})) + 2*int64(unsafe.Sizeof(tag{}))
	m.mu.Lock()
	defer m.mu.Unlock()
	if place := m.known[e.tag]; place != nil {
		m.forget(place)
	}
	if e.size > m.most || e.mark != nil && e.size > maxMarkBytes {
		return
	}
	for m.size+e.size > m.most {
		m.forget(m.recent.Back())
	}
	m.known[e.tag] = m.recent.PushFront(e)
	m.size += e.size
}

func (m *Memory) forget(place *list.Element) {
	e := rememberedAt(place)
	m.recent.Remove(place)
	delete(m.known, e.tag)
	m.size -= e.size
}

func rememberedAt(place *list.Element) *remembered { return place.Value.(*remembered) }

// footprint is how many bytes v takes with all that it refers to.
func footprint(v reflect.Value) int64 {
	return int64(v.Type().Size()) + referred(v)
}

// referred is how many bytes v takes beside itself.
func referred(v reflect.Value) (n int64) {
	switch v.Kind() {
	case reflect.String:
		return int64(v.Len())
	case reflect.Pointer:
		if !v.IsNil() {
			return footprint(v.Elem())
		}
	case reflect.Slice:
		n = int64(v.Cap()) * int64(v.Type().Elem().Size())
		fallthrough
	case reflect.Array:
		if k := v.Type().Elem().Kind(); k >= reflect.Array { // not of numbers
			for i := range v.Len() {
				n += referred(v.Index(i))
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += referred(v.Field(i))
		}
	}
	return n
}

// conversation reads a list of messages, which may be that of an earlier body and
// some more.
func (p *parser) conversation(item func(*parser, int) error) error { return p.array(p.marking(item)) }

// marking is item, and a mark behind it.
func (p *parser) marking(item func(*parser, int) error) func(int) error {
	return func(i int) error {
		if err := item(p, i); err != nil {
			return err
		}
		if p.memory != nil {
			p.mark(item)
		}
		return nil
	}
}

// mark notes where the parser is, if a block ends behind it and the last mark is
// half a block before: the last one in a block counts.
func (p *parser) mark(item func(*parser, int) error) {
	at := p.dec.at
	block := (at + p.memory.block - 1) / p.memory.block
	if block >= len(p.tags) || at-p.marked < p.memory.block/2 || p.call.body[at-1] != '}' || !p.keeps() {
		return
	}
	m := &bookmark{item: item, at: at, call: p.call.copied(nil), has: p.dec.has}
	copy(m.open[:], p.dec.open)
	for _, name := range p.dec.names {
		m.names = append(m.names, slices.Clone(name))
	}
	if n := len(p.marks); n > 0 && p.marks[n-1].tag == p.tags[block] {
		p.marks = p.marks[:n-1]
	}
	p.marks, p.marked = append(p.marks, &remembered{tag: p.tags[block], mark: m}), at
}

// keeps reports whether all that the parser knows is what a bookmark has, and little.
func (p *parser) keeps() bool {
	if len(p.dec.open) != len(bookmark{}.open) || p.dec.open[0].many != nil {
		return false
	}
	n := 0
	for _, name := range p.dec.names {
		n += len(name)
	}
	return n <= longestNames && p.call.copies()
}

// resume goes on reading text, a body, behind what m knows.
func (p *parser) resume(text []byte, m *bookmark) error {
	p.call, p.marked = m.call.copied(text), m.at
	return p.whole(text, func() error {
		p.dec.at, p.dec.has = m.at, m.has
		p.dec.open = append(p.dec.open, m.open[:]...)
		p.dec.names = append(p.dec.names, m.names...)
		if err := p.elements(m.open[1].parts, p.marking(m.item)); err != nil {
			return err
		}
		return p.members(p.topMember)
	})
}

// copies reports whether c is of what copied copies, and little of it.
func (c *Call) copies() bool {
	return c.unbounded == nil && c.stored.why == nil && c.stored.template == nil && c.pdf.why == nil && c.rank == nil && c.pictures == nil && c.form == nil &&
		len(c.toolTexts)+len(c.images)+len(c.audios)+len(c.hosted)+len(c.named)+len(c.references)+len(c.stored.names)+len(c.stored.ids) <= maxMarked
}

// copied is c for another body.
func (c *Call) copied(body []byte) Call {
	d := *c
	d.body = body
	d.toolTexts = slices.Clone(c.toolTexts)
	d.images = slices.Clone(c.images)
	d.audios = slices.Clone(c.audios)
	d.hosted = slices.Clone(c.hosted)
	d.named = slices.Clone(c.named)
	d.references = slices.Clone(c.references)
	d.stored.names = slices.Clone(c.stored.names)
	d.stored.ids = slices.Clone(c.stored.ids)
	return d
}

// parseAgain reads a body as d says, from where one that m remembers is no longer
// the same.
func (p *parser) parseAgain(m *Memory, owner string, e Endpoint, body []byte) error {
	p.memory, p.tags = m, m.tags(owner, e, body)
	var err error
	if known := m.find(p.tags[1:]...); known != nil {
		err = p.resume(body, known.mark)
	} else {
		err = p.document(body, p.topMember)
	}
	if err != nil {
		return err
	}
	for _, e := range p.marks {
		m.keep(e)
	}
	return nil
}
