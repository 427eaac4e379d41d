package pricing

import (
	"bytes"
	"container/list"
	"hash/maphash"
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
	// blockAgain is how many bytes of a body are looked up together.
	blockAgain = 16 << 10
	// apart is how many bytes are between marks at least, but for the last.
	apart = 1 << 10
	// maxMarks are kept of a conversation, and maxMarked of what one holds beside
	// itself, in elements.
	maxMarks, maxMarked = 48, 256
	// maxPieces are the pieces of memory in which a conversation is kept.
	maxPieces = 64
)

// Memory remembers conversations, by the bytes of their bodies. It is safe for
// concurrent use.
type Memory struct {
	most  int64
	seed  maphash.Seed
	least int // bytes of a body
	block int // bytes that are looked up together
	apart int // bytes between marks
	head  int // bytes by which tools are looked up

	mu     sync.Mutex
	size   int64
	recent list.List // of kept, the one that was used last in front
	blocks map[uint64]*conversation
	tools  map[uint64][]*tools
}

// Size is how many bytes m holds.
func (m *Memory) Size() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size
}

// kept is what a Memory holds. It does not change, but for its place there.
type kept interface {
	size() int64
	leave(m *Memory)
	where() **list.Element // nil: it was forgotten
}

// NewMemory returns a Memory that holds that many bytes.
func NewMemory(most int64) *Memory {
	return &Memory{most: most, seed: maphash.MakeSeed(), least: leastAgain, block: blockAgain, apart: apart, head: toolsHead, blocks: make(map[uint64]*conversation), tools: make(map[uint64][]*tools)}
}

// conversation is what an owner sent to an endpoint.
type conversation struct {
	owner    string
	endpoint Endpoint
	pieces   [][]byte    // its bytes, up to the last mark
	length   int         // of all pieces
	marks    []*bookmark // ascending
	sums     []uint64    // of its blocks, each of all bytes until there

	place *list.Element
}

func (c *conversation) where() **list.Element { return &c.place }

// bookmark is a parser behind an element of a list at the top of a body.
type bookmark struct {
	item  func(*parser, int) error
	at    int
	call  Call // without the body
	open  [2]level
	names [][]byte
	has   content
	read  int
}

// size is about how many bytes of memory c takes.
func (c *conversation) size() int64 {
	n := len(c.marks)*(int(unsafe.Sizeof(bookmark{}))+512) + len(c.sums)*64
	for _, piece := range c.pieces {
		n += cap(piece) + 64
	}
	return int64(n)
}

// sums are those of a body's whole blocks.
func (m *Memory) sums(owner string, e Endpoint, body []byte) []uint64 {
	sums := make([]uint64, 0, len(body)/m.block)
	sum := maphash.String(m.seed, owner) + maphash.String(m.seed, string(e))
	for ; len(body) >= m.block; body = body[m.block:] {
		const odd = 0x9e3779b97f4a7c15
		sum = sum*odd ^ maphash.Bytes(m.seed, body[:m.block])
		sums = append(sums, sum)
	}
	return sums
}

// find is the conversation of the owner that has the most blocks in common with
// the body whose sums these are; nil where none has one. Equal sums prove nothing.
func (m *Memory) find(owner string, e Endpoint, sums []uint64) *conversation {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, sum := range slices.Backward(sums) {
		if c := m.blocks[sum]; c != nil && c.owner == owner && c.endpoint == e {
			m.recent.MoveToFront(c.place)
			return c
		}
	}
	return nil
}

// known is the last mark of c with nothing before it that is not in body, too, and
// its number; nil where there is none.
func (c *conversation) known(body []byte) (*bookmark, int) {
	n := 0
	for _, piece := range c.pieces {
		same := min(len(piece), len(body)-n)
		if !bytes.Equal(piece[:same], body[n:n+same]) {
			same = differs(piece, body[n:])
		}
		if n += same; same < len(piece) {
			break
		}
	}
	for i := len(c.marks) - 1; i >= 0; i-- {
		if c.marks[i].at <= n {
			return c.marks[i], i
		}
	}
	return nil, 0
}

// differs is where two texts do that are not equal as far as both go.
func differs(a, b []byte) int {
	const step = 256
	n := 0
	for ; n+step <= min(len(a), len(b)) && bytes.Equal(a[n:n+step], b[n:n+step]); n += step {
	}
	for a[n] == b[n] {
		n++
	}
	return n
}

// keep remembers a body that was read from mark number last of c on, and passed
// the marks of more; with a nil c it was read from its beginning.
func (m *Memory) keep(owner string, e Endpoint, body []byte, sums []uint64, c *conversation, last int, more []*bookmark) {
	end := more[len(more)-1].at
	n := &conversation{owner: owner, endpoint: e, length: end, sums: sums[:end/m.block]}
	if len(n.sums) == 0 {
		return // nobody would find it
	}
	from := 0
	if c != nil {
		from = c.marks[last].at
		n.marks = append(n.marks, c.marks[:last+1]...)
		n.pieces = c.until(from)
	}
	if n.marks = append(n.marks, more...); len(n.marks) > maxMarks {
		n.marks = thinned(n.marks)
	}
	if n.pieces = append(n.pieces, bytes.Clone(body[from:end])); len(n.pieces) > maxPieces {
		n.pieces = [][]byte{bytes.Clone(body[:end])}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c != nil && from >= c.length/2 { // its next turn will be that of this one
		m.forget(c)
	}
	if m.add(n) {
		for _, sum := range n.sums {
			m.blocks[sum] = n
		}
	}
}

// add takes k, and forgets what was not used for longest; false where all of the
// memory is too small. mu is held.
func (m *Memory) add(k kept) bool {
	size := k.size()
	if size > m.most {
		return false
	}
	for m.size+size > m.most {
		m.forget(m.recent.Back().Value.(kept))
	}
	*k.where() = m.recent.PushFront(k)
	m.size += size
	return true
}

// until are the pieces of c up to an offset. The memory behind that is kept with the
// last one, or that is copied where it would be most of it.
func (c *conversation) until(end int) [][]byte {
	var pieces [][]byte
	for _, piece := range c.pieces {
		if len(piece) > end {
			if piece = piece[:end]; end < cap(piece)/2 {
				piece = bytes.Clone(piece)
			}
		}
		if len(piece) == 0 {
			break
		}
		pieces = append(pieces, piece)
		end -= len(piece)
	}
	return pieces
}

// thinned is every other mark, and the last.
func thinned(marks []*bookmark) []*bookmark {
	var kept []*bookmark
	for i, m := range marks {
		if i%2 == 1 || i == len(marks)-1 {
			kept = append(kept, m)
		}
	}
	return kept
}

func (m *Memory) forget(k kept) {
	place := k.where()
	if *place == nil {
		return
	}
	m.recent.Remove(*place)
	*place = nil
	m.size -= k.size()
	k.leave(m)
}

func (c *conversation) leave(m *Memory) {
	for _, sum := range c.sums {
		if m.blocks[sum] == c {
			delete(m.blocks, sum)
		}
	}
}

// conversation reads a list of messages, which may be that of an earlier body and
// some more.
func (p *parser) conversation(item func(*parser, int) error) error {
	if err := p.dec.bracket(); err != nil {
		return err
	}
	return p.turns(item, 0)
}

// turns reads the messages from number i on, and the end of the list.
func (p *parser) turns(item func(*parser, int) error, i int) error {
	for ; p.dec.PeekKind() != ']'; i++ {
		if err := p.waiting(); err != nil {
			return err
		}
		if err := item(p, i); err != nil {
			return err
		}
		if p.apart > 0 { // agents change their last messages, so the marks get closer
			p.mark(item, max((len(p.call.body)-p.dec.at)/8, p.apart))
		}
	}
	if p.apart > 0 {
		p.mark(item, 1) // from here the next turn goes on
	}
	return p.dec.bracket()
}

// mark notes where the parser is, if the last mark is at least so many bytes before.
func (p *parser) mark(item func(*parser, int) error, apart int) {
	at := p.dec.at
	if at-p.marked < apart || len(p.dec.open) != len(bookmark{}.open) || p.dec.open[0].many != nil || p.call.body[at-1] != '}' || !p.call.copies() {
		return
	}
	m := &bookmark{item: item, at: at, call: p.call.copied(nil), has: p.dec.has, read: p.read}
	copy(m.open[:], p.dec.open)
	for _, name := range p.dec.names {
		m.names = append(m.names, bytes.Clone(name))
	}
	p.marks, p.marked = append(p.marks, m), at
}

// resume goes on reading text, a body, behind what m knows.
func (p *parser) resume(text []byte, m *bookmark) error {
	p.call, p.read, p.marked = m.call.copied(text), m.read, m.at
	return p.whole(text, func() error {
		p.dec.at, p.dec.has = m.at, m.has
		p.dec.open = append(p.dec.open, m.open[:]...)
		p.dec.names = append(p.dec.names, m.names...)
		if err := p.turns(m.item, m.open[1].parts); err != nil {
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
	sums := m.sums(owner, e, body)
	p.memory, p.owner, p.apart = m, owner, m.apart
	c, last := m.find(owner, e, sums), 0
	var from *bookmark
	if c != nil {
		from, last = c.known(body)
	}
	var err error
	if from != nil {
		err = p.resume(body, from)
	} else {
		c, err = nil, p.document(body, p.topMember)
	}
	if err == nil && len(p.marks) > 0 {
		m.keep(owner, e, body, sums, c, last, p.marks)
	}
	p.marks = nil
	return err
}
