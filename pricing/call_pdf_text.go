package pricing

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"unicode/utf16"

	"golang.org/x/text/unicode/norm"
)

// pdfTokens reads the few kinds of tokens of a PDF that matter here. It knows no
// comments: what has one is not read.
type pdfTokens struct{ rest []byte }

func (t *pdfTokens) skip() {
	for len(t.rest) > 0 && pdfSpace(t.rest[0]) {
		t.rest = t.rest[1:]
	}
}

// take passes over c, if that comes next.
func (t *pdfTokens) take(c byte) bool {
	if t.skip(); len(t.rest) == 0 || t.rest[0] != c {
		return false
	}
	t.rest = t.rest[1:]
	return true
}

func (t *pdfTokens) word() []byte {
	t.skip()
	n := 0
	for n < len(t.rest) && pdfRegular(t.rest[n]) {
		n++
	}
	w := t.rest[:n]
	t.rest = t.rest[n:]
	return w
}

func (t *pdfTokens) number() (int64, bool) {
	w := t.word()
	if len(w) == 0 || len(w) > 10 || len(bytes.Trim(w, "0123456789")) > 0 {
		return 0, false
	}
	n, err := strconv.ParseInt(string(w), 10, 64)
	return n, err == nil
}

// name reads a name, and what its escapes stand for.
func (t *pdfTokens) name() []byte {
	if !t.take('/') {
		return nil
	}
	n := 0
	for n < len(t.rest) && pdfRegular(t.rest[n]) {
		n++
	}
	w := t.rest[:n]
	t.rest = t.rest[n:]
	if bytes.IndexByte(w, '#') < 0 {
		return w
	}
	var out []byte
	for i := 0; i < len(w); i++ {
		if w[i] == '#' && i+2 < len(w) {
			if c, err := hex.DecodeString(string(w[i+1 : i+3])); err == nil {
				out, i = append(out, c[0]), i+2
				continue
			}
		}
		out = append(out, w[i])
	}
	return out
}

// references reads "N G R", or an array of them; also an empty text, which names
// nothing. Anything else is not certain to be what it looks like.
func (t *pdfTokens) references() ([]int64, bool) {
	if t.take('(') {
		return nil, t.take(')')
	}
	var out []int64
	array := t.take('[')
	for {
		if array && t.take(']') {
			return out, true
		}
		n, ok1 := t.number()
		_, ok2 := t.number()
		if !ok1 || !ok2 || string(t.word()) != "R" {
			return nil, false
		}
		if out = append(out, n); !array {
			return out, true
		}
	}
}

// streamDictionary reads a dictionary that says no more than how long a stream
// is and how it is packed, and the beginning of the stream behind it. A length
// of -1 stands elsewhere.
func (t *pdfTokens) streamDictionary() (length int64, filters []string, ok bool) {
	length = -1
	seen := map[string]bool{}
	if !t.take('<') || len(t.rest) == 0 || t.rest[0] != '<' {
		return 0, nil, false
	}
	t.rest = t.rest[1:]
	for !t.take('>') {
		key := string(t.name())
		if seen[key] {
			return 0, nil, false
		}
		seen[key] = true
		switch key {
		case "Length", "Length1", "Length2", "Length3": // those with a number are of parts of a font
			n, ok := t.length()
			if !ok {
				return 0, nil, false
			}
			if key == "Length" {
				length = n
			}
		case "Subtype": // of a font
			if len(t.name()) == 0 {
				return 0, nil, false
			}
		case "Filter":
			array := t.take('[')
			for {
				name := t.name()
				if len(name) == 0 {
					return 0, nil, false
				}
				filters = append(filters, string(name))
				if !array || t.take(']') {
					break
				}
			}
		default:
			return 0, nil, false
		}
	}
	if len(t.rest) == 0 || t.rest[0] != '>' {
		return 0, nil, false
	}
	t.rest = t.rest[1:]
	if string(t.word()) != "stream" {
		return 0, nil, false
	}
	if t.rest = bytes.TrimPrefix(t.rest, []byte("\r")); len(t.rest) == 0 || t.rest[0] != '\n' {
		return 0, nil, false
	}
	t.rest = t.rest[1:]
	return length, filters, true
}

// length reads a number, or where it stands: that is -1.
func (t *pdfTokens) length() (int64, bool) {
	n, ok := t.number()
	if t.skip(); ok && len(t.rest) > 0 && t.rest[0] >= '0' && t.rest[0] <= '9' { // N G R
		n = -1
		if _, ok = t.number(); ok {
			ok = string(t.word()) == "R"
		}
	}
	return n, ok
}

// shownBytes bounds the text of a page's contents: a byte of a string becomes up
// to widest bytes, and each other byte at most one blank or line break between
// strings. Contents with images or comments in them are not told apart. A string
// that does not end in them makes nothing of the next contents certain.
func shownBytes(content []byte, widest int64) (int64, bool) {
	if bytes.Contains(content, []byte("ActualText")) || bytes.IndexByte(content, '#') >= 0 {
		widest = widestGlyph // text by itself, in two bytes a character
	}
	var shown, digits, other int64
	depth, hex := 0, false
	for i := 0; i < len(content); i++ {
		switch c := content[i]; {
		case depth > 0:
			shown++
			switch c {
			case '\\':
				shown, i = shown+1, i+1
			case '(':
				depth++
			case ')':
				depth--
			}
		case hex:
			digits++
			hex = c != '>'
		case c == '(':
			depth++
		case c == '<' && i+1 < len(content) && content[i+1] == '<':
			other, i = other+2, i+1
		case c == '<':
			hex = true
		default:
			other++
		}
	}
	if bytes.Contains(content, []byte("BI")) || bytes.IndexByte(content, '%') >= 0 {
		return int64(len(content)) * widest, true
	}
	return (shown+(digits+1)/2)*widest + other, depth == 0 && !hex
}

// widestOf is the most bytes that one code becomes by a map from codes to
// characters. All its hexadecimal strings count, also those that are codes.
func widestOf(cmap []byte) int64 {
	widest, ranged, blocks := int64(0), false, map[rune]int64{}
	for len(cmap) > 0 {
		i := bytes.IndexByte(cmap, '<')
		if i < 0 {
			break
		}
		if before := cmap[:i]; bytes.Contains(before, []byte("beginbf")) {
			ranged = bytes.LastIndex(before, []byte("beginbfrange")) > bytes.LastIndex(before, []byte("beginbfchar"))
		}
		if bytes.HasPrefix(cmap[i:], []byte("<<")) {
			cmap = cmap[i+2:]
			continue
		}
		end := bytes.IndexByte(cmap[i:], '>')
		if end < 0 {
			return widestGlyph * int64(len(cmap))
		}
		widest = max(widest, widthOf(cmap[i+1:i+end], ranged, blocks))
		cmap = cmap[i+end:]
	}
	return widest
}

// maxBlocks is how many blocks of characters of one map are measured; a font that
// has more is taken for one of all characters.
const maxBlocks = 256

// widthOf is the bytes of UTF-16 in hexadecimal, in UTF-8 and normalized. The
// last character of a range goes on for up to 256.
func widthOf(text []byte, ranged bool, blocks map[rune]int64) int64 {
	var units []uint16
	for len(text) >= 4 {
		u, err := strconv.ParseUint(string(text[:4]), 16, 16)
		if err != nil {
			return widestGlyph * int64(len(text)) // blanks, or a dictionary
		}
		units, text = append(units, uint16(u)), text[4:]
	}
	runes := utf16.Decode(units)
	width := int64(0)
	if len(text) > 0 { // a code of one byte
		width = glyphBytes
	}
	for i, r := range runes {
		if !ranged || i < len(runes)-1 {
			width += normalWidth(r)
			continue
		}
		most, ok := blocks[r>>7]
		switch {
		case ok:
		case len(blocks) == maxBlocks:
			most = widestGlyph
		default:
			for n := range rune(384) {
				most = max(most, normalWidth(r>>7<<7+n))
			}
			blocks[r>>7] = most
		}
		width += most
	}
	return width
}

func normalWidth(r rune) int64 {
	s := string(r)
	return int64(max(len(s), len(norm.NFKC.String(s))))
}
