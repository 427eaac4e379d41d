package pricing

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"strconv"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// reader reads one JSON document that is in memory as a whole, value by value,
// and takes exactly what jsontext.Decoder takes, whose methods it has: no member
// twice, no text that is not UTF-8, no half of a surrogate pair. An agent's body is
// a thousand short strings, and the library looks at each of their bytes several
// times: this takes eight at a time, once. FuzzReader compares the two. What is
// wrong with a body that it does not take, the library says, see fault.
type reader struct {
	body []byte
	at   int // behind what was read
	next int // where what comes next begins; 0: nobody looked yet
	open []level
	// names are the names read so far in the objects around, without escapes.
	names [][]byte
	has   content // of all that was read
	again bool    // the body was read before: no name is there twice
}

// level is an object or array that is being read.
type level struct {
	object bool
	named  bool // a name was read, and its value is next
	parts  int  // names or elements so far
	first  int  // where its names begin
	seen   uint64
	many   map[string]struct{} // its names, once they are more than fewNames
}

// fewNames are compared one by one.
const fewNames = 32

// errFault is that of a body that is no JSON, or not strict enough.
var errFault = errors.New("fault in JSON")

var readers = sync.Pool{New: func() any { return new(reader) }}

// newReader borrows a reader of body; release gives it back.
func newReader(body []byte) *reader {
	r, ok := readers.Get().(*reader)
	if !ok {
		r = new(reader)
	}
	r.body = body
	return r
}

func (r *reader) release() {
	const kept = 1024 // what most bodies need
	clear(r.open)     // of a body that was not read to its end
	clear(r.names)
	if cap(r.open) > kept || cap(r.names) > kept {
		r.open, r.names = nil, nil
	}
	*r = reader{open: r.open[:0], names: r.names[:0]}
	readers.Put(r)
}

// fault is what jsontext has against the body.
func (r *reader) fault() error {
	if err := json.Unmarshal(r.body, &tokens{}); err != nil {
		return err
	}
	return errFault // never: both take the same
}

// tokens reads a value token by token.
type tokens struct{}

// UnmarshalJSONFrom is called by the JSON package.
func (*tokens) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	for {
		if _, err := dec.ReadToken(); err != nil || dec.StackDepth() == 0 {
			return err
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

func (r *reader) blanks(i int) int {
	for i < len(r.body) && isBlank(r.body[i]) {
		i++
	}
	return i
}

// look finds the first byte of what comes next, past blanks, comma and colon; 0
// where that cannot be.
func (r *reader) look() byte {
	if r.next > 0 {
		return r.body[r.next]
	}
	i := r.blanks(r.at)
	if i == len(r.body) {
		return 0
	}
	c := r.body[i]
	if len(r.open) > 0 {
		l := &r.open[len(r.open)-1]
		delim := byte(0)
		switch {
		case l.named:
			delim = ':'
		case l.parts > 0 && c != '}' && c != ']':
			delim = ','
		}
		if delim != 0 {
			if c != delim {
				return 0
			}
			if i = r.blanks(i + 1); i == len(r.body) {
				return 0
			}
			if c = r.body[i]; delim == ',' && (c == '}' || c == ']') {
				return 0
			}
		}
	}
	r.next = i
	return c
}

// PeekKind is the kind of what comes next; no kind at all where nothing can.
func (r *reader) PeekKind() jsontext.Kind {
	return kinds[r.look()]
}

// kinds are those of what begins with a byte.
var kinds = [256]jsontext.Kind{
	'"': '"', '{': '{', '}': '}', '[': '[', ']': ']', 't': 't', 'f': 'f', 'n': 'n',
	'-': '0', '0': '0', '1': '0', '2': '0', '3': '0', '4': '0', '5': '0', '6': '0', '7': '0', '8': '0', '9': '0',
}

// InputOffset is where what was read last ends.
func (r *reader) InputOffset() int64 { return int64(r.at) }

// bracket reads an opening or a closing one.
func (r *reader) bracket() error {
	c := r.look()
	var l *level
	if n := len(r.open); n > 0 {
		l = &r.open[n-1]
	}
	switch c {
	case '{', '[':
		if l != nil {
			if l.object && !l.named || len(r.open) == maxDepth {
				return errFault
			}
			l.passed()
		} else if r.at > 0 {
			return errFault
		}
		r.open = append(r.open, level{object: c == '{', first: len(r.names)})
	case '}', ']':
		if l == nil || l.object != (c == '}') || l.named {
			return errFault
		}
		clear(r.names[l.first:]) // they are the body's memory
		r.names = r.names[:l.first]
		l.many = nil
		r.open = r.open[:len(r.open)-1]
	default:
		return errFault
	}
	r.at, r.next = r.next+1, 0
	return nil
}

// passed notes that a value of l was read, or begins.
func (l *level) passed() {
	l.named = false
	if !l.object {
		l.parts++
	}
}

// SkipValue reads the next value, or the next name.
func (r *reader) SkipValue() error {
	_, err := r.ReadValue()
	return err
}

// ReadValue reads the next value, or the next name, and returns it as it is in
// the body.
func (r *reader) ReadValue() ([]byte, error) {
	depth, c := len(r.open), r.look()
	for start := r.next; ; c = r.look() {
		var err error
		switch c {
		case '}', ']':
			if len(r.open) == depth {
				return nil, errFault
			}
			err = r.bracket()
		case '{', '[':
			err = r.bracket()
		default:
			err = r.scalar(c)
		}
		if err != nil {
			return nil, err
		}
		if len(r.open) == depth {
			return r.body[start:r.at], nil
		}
	}
}

// scalar reads what begins with c and is in no brackets.
func (r *reader) scalar(c byte) error {
	i, end, has := r.next, 0, content(0)
	switch {
	case c == 0:
		return errFault
	case c == '"':
		end, has = textEnd(r.body, i)
		r.has |= has
	case c == '-' || c >= '0' && c <= '9':
		end = numberEnd(r.body, i)
	default:
		for _, word := range [...]string{"true", "false", "null"} {
			if len(r.body)-i >= len(word) && string(r.body[i:i+len(word)]) == word {
				end = i + len(word)
			}
		}
	}
	if end == 0 {
		return errFault
	}
	if len(r.open) == 0 {
		if r.at > 0 {
			return errFault
		}
	} else if l := &r.open[len(r.open)-1]; l.object && !l.named {
		if c != '"' || !r.name(l, r.body[i:end], has&escapes != 0) {
			return errFault
		}
	} else {
		l.passed()
	}
	r.at, r.next = end, 0
	return nil
}

// end reports whether nothing follows the document.
func (r *reader) end() bool {
	return len(r.open) == 0 && r.at > 0 && r.blanks(r.at) == len(r.body)
}

// name takes the name of a member, unless l has one like it.
func (r *reader) name(l *level, raw []byte, escaped bool) bool {
	name := raw[1 : len(raw)-1]
	if escaped {
		var err error
		if name, err = jsontext.AppendUnquote(nil, raw); err != nil {
			return false
		}
	}
	if !r.again && !l.add(name, r.names[l.first:]) {
		return false
	}
	r.names = append(r.names, name)
	l.named = true
	l.parts++
	return true
}

// add reports whether name is none of others, the names of l so far.
func (l *level) add(name []byte, others [][]byte) bool {
	sum := uint(len(name))
	if n := len(name); n > 0 {
		sum += 5*uint(name[0]) + 17*uint(name[n/2]) + 31*uint(name[n-1])
	}
	bit := uint64(1) << (sum % 64)
	new := l.seen&bit == 0
	l.seen |= bit
	switch {
	case len(others) > fewNames:
		if l.many == nil {
			l.many = make(map[string]struct{}, 2*len(others))
			for _, o := range others {
				l.many[string(o)] = struct{}{}
			}
		}
		before := len(l.many)
		l.many[string(name)] = struct{}{}
		return len(l.many) > before
	case new:
		return true
	}
	for _, o := range others {
		if bytes.Equal(o, name) {
			return false
		}
	}
	return true
}

// path names what was read last, as pointerPath does. Of what is nested ten thousand
// deep it looks at no more than a message shows: a body may have as many faults.
func (r *reader) path() string {
	var path []byte
	for i := 0; i < len(r.open) && len(path) <= longestPath; i++ {
		l, end := &r.open[i], len(r.names)
		if i+1 < len(r.open) {
			end = r.open[i+1].first
		}
		switch {
		case l.parts == 0: // only the innermost
		case l.object:
			name := r.names[end-1]
			path = appendStep(path, string(name[:min(len(name), longestPath+1)]))
		default:
			path = appendStep(path, strconv.Itoa(l.parts-1))
		}
	}
	return clipPath(path)
}

const (
	ones  = 0x0101010101010101
	highs = 0x80 * ones
)

// textEnd is the index behind the string that begins at b[i], and what is in it;
// 0 where it is no string.
func textEnd(b []byte, i int) (end int, has content) {
	start, all := i, uint64(0)
	i++
words:
	for {
		var x uint64
		if i+8 <= len(b) {
			x = binary.LittleEndian.Uint64(b[i:])
		} else if i < len(b) {
			x = lastWord(b[i:])
		} else {
			return 0, 0
		}
		// A byte below x, or equal to it, has its high bit set in these sums; those
		// behind it may have it, too.
		quote, slash := x^'"'*ones, x^'\\'*ones
		found := ((quote-ones)&^quote | (slash-ones)&^slash | (x-' '*ones)&^x) & highs
		for ; found != 0; found &= found - 1 {
			at := i + bits.TrailingZeros64(found)/8
			if at >= len(b) { // one of lastWord's zeros
				return 0, 0
			}
			switch c := b[at]; {
			case c == '"':
				return closed(b, start, at, all|x&(found&-found-1), has)
			case c == '\\':
				next, what := at+2, escapes
				if at+1 == len(b) || !short[b[at+1]] {
					if next, what = numberedEnd(b, at); next == 0 {
						return 0, 0
					}
				} else if b[at+1] == '\\' && next < len(b) && b[next] == 'u' {
					what |= foreign
				}
				has |= what
				if next > at+2 || next >= i+8 {
					all |= x // that it is foreign is known where some of x is behind next
					i = next
					continue words
				}
				found &^= 0x80 << (8 * (at + 1 - i)) // what is escaped
			case c < ' ':
				return 0, 0
			}
		}
		all |= x
		i += 8
	}
}

// lastWord is fewer than eight bytes, the first one lowest, with zeros behind them.
func lastWord(b []byte) uint64 {
	var word [8]byte
	copy(word[:], b)
	return binary.LittleEndian.Uint64(word[:])
}

// content is what is in a string.
type content uint8

const (
	escapes content = 1 << iota
	foreign         // perhaps: characters beyond ASCII, or \u and their number, also as text
)

// closed is what textEnd returns for the string from start to the quote at end; all
// has the high bits of its bytes.
func closed(b []byte, start, end int, all uint64, has content) (int, content) {
	if all&highs != 0 {
		if !utf8.Valid(b[start:end]) {
			return 0, 0
		}
		has |= foreign
	}
	return end + 1, has
}

// short has the bytes that make an escape of two with the backslash before them.
var short = [256]bool{'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true}

// numberedEnd is the index behind the escape at b[i] that is \u and a number, and
// what it is; 0 where it is none.
func numberedEnd(b []byte, i int) (end int, what content) {
	if n := escapeLen(b[i:]); n > 0 {
		return i + n, escapes | foreign
	}
	return 0, 0
}

// escapeLen is the length of the \uXXXX that b begins with, or of the two that
// make a surrogate pair; 0 where it is none.
func escapeLen(b []byte) int {
	r, ok := hexRune(b)
	switch {
	case !ok:
		return 0
	case !utf16.IsSurrogate(r):
		return 6
	}
	if second, ok := hexRune(b[6:]); ok && utf16.DecodeRune(r, second) != utf8.RuneError {
		return 12
	}
	return 0
}

// hexRune is what the \uXXXX says that b begins with.
func hexRune(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// numberEnd is the index behind the number that begins at b[i]; 0 where it is
// none.
func numberEnd(b []byte, i int) int {
	digits := func() bool {
		start := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i > start
	}
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if !digits() {
		return 0
	}
	if i < len(b) && b[i] == '.' {
		if i++; !digits() {
			return 0
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if !digits() {
			return 0
		}
	}
	return i
}
