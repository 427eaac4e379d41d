package pricing

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A font that is in the file has its own names of glyphs and its own table of
// characters, from which a reader has the text of codes that the file's maps leave
// out. Only what says nothing of either is certain to name one usual character.

// programWidth is the most bytes of text that a code has by what an embedded font
// says of its glyphs.
func programWidth(program []byte) (int64, bool) {
	switch {
	case bytes.HasPrefix(program, []byte("%!")):
		return type1Width(program)
	case bytes.HasPrefix(program, []byte{1, 0}):
		return cffWidth(program)
	}
	switch r := (sfntReader{program}); string(r.slice(0, 4)) {
	case "\x00\x01\x00\x00", "true", "OTTO":
		return r.width()
	}
	return 0, false
}

// type1Width reads the encoding of a Type 1 font, in its part in plain sight. One in
// the other part, which is encrypted by a published rule, is not read.
// https://adobe-type-tools.github.io/font-tech-notes/pdfs/T1_SPEC.pdf
func type1Width(program []byte) (int64, bool) {
	plain, packed, found := bytes.Cut(program, []byte("eexec"))
	packed = bytes.TrimLeft(packed, " \t\r\n")
	if !found || len(packed) < 4 || len(bytes.Trim(packed[:4], "0123456789abcdefABCDEF")) == 0 {
		return 0, false // what is encrypted may be in hexadecimal too
	}
	private, key := make([]byte, len(packed)), uint16(55665)
	for i, c := range packed {
		private[i] = c ^ byte(key>>8)
		key = (uint16(c)+key)*52845 + 22719
	}
	if bytes.Contains(packed, []byte("Encoding")) || bytes.Contains(private, []byte("Encoding")) {
		return 0, false
	}
	width := int64(glyphBytes)
	for at := 0; ; {
		i := bytes.IndexByte(plain[at:], '/')
		if i < 0 {
			return width, true
		}
		in := pdfTokens{plain[at+i:]}
		width = max(width, glyphWidth(string(in.name())))
		at = len(plain) - len(in.rest)
	}
}

// cffWidth reads the strings of a Compact Font Format program, among which are the
// names of its glyphs that are not usual ones.
// https://adobe-type-tools.github.io/font-tech-notes/pdfs/5176.CFF.pdf
func cffWidth(program []byte) (int64, bool) {
	r := sfntReader{program}
	at, width := r.number(2, 1), int64(glyphBytes)
	for index := range 3 { // names of the font, dictionaries, strings
		count, size := r.number(at, 2), r.number(at+2, 1)
		if count == 0 {
			at += 2
			continue
		}
		offsets, data := at+3, at+2+(count+1)*size
		last := int64(1)
		for i := range count {
			end := r.number(offsets+(i+1)*size, size)
			if end < last || data+end > int64(len(program)) || size < 1 || size > 4 {
				return 0, false
			}
			if index == 2 {
				width = max(width, glyphWidth(string(program[data+last:data+end])))
			}
			last = end
		}
		at = data + last
	}
	return width, at > 0 && at <= int64(len(program))
}

// sfntReader reads big-endian numbers; there are only zeros behind the end.
type sfntReader struct{ raw []byte }

func (r sfntReader) slice(at, n int64) []byte {
	if at < 0 || n < 0 || at+n > int64(len(r.raw)) {
		return nil
	}
	return r.raw[at : at+n]
}

func (r sfntReader) number(at, size int64) int64 {
	var wide [8]byte
	if b := r.slice(at, size); size <= 4 && b != nil {
		copy(wide[8-size:], b)
	}
	return int64(binary.BigEndian.Uint64(wide[:]))
}

// maxMaps is how many tables of one font, or of characters in it, are read.
const maxMaps = 64

// width is that of a TrueType or OpenType font.
// https://learn.microsoft.com/en-us/typography/opentype/spec/otff
func (r sfntReader) width() (int64, bool) {
	tables, width := r.number(4, 2), int64(glyphBytes)
	if tables > maxMaps {
		return 0, false
	}
	for i := range tables {
		entry := 12 + 16*i
		table := r.slice(r.number(entry+8, 4), r.number(entry+12, 4))
		more, ok := int64(0), true
		switch string(r.slice(entry, 4)) {
		case "post":
			more, ok = sfntReader{table}.postWidth()
		case "cmap":
			// A reader may go on behind the table's end.
			more, ok = sfntReader{r.raw[min(r.number(entry+8, 4), int64(len(r.raw))):]}.cmapWidth()
		case "CFF ":
			more, ok = cffWidth(table)
		}
		if !ok {
			return 0, false
		}
		width = max(width, more)
	}
	return width, true
}

// postWidth reads names of glyphs: strings, each behind its length.
func (r sfntReader) postWidth() (int64, bool) {
	switch r.number(0, 4) {
	case 0x10000, 0x30000: // those of every font, and none
		return 0, true
	case 0x20000:
	default:
		return 0, false
	}
	width := int64(0)
	for at := 34 + 2*r.number(32, 2); at < int64(len(r.raw)); {
		n := r.number(at, 1)
		width = max(width, glyphWidth(string(r.slice(at+1, n))))
		at += 1 + n
	}
	return width, true
}

// cmapWidth reads which characters a font has.
func (r sfntReader) cmapWidth() (int64, bool) {
	width, count := int64(0), r.number(2, 2)
	if count > maxMaps {
		return 0, false
	}
	for i := range count {
		at := r.number(4+8*i+4, 4)
		switch r.number(at, 2) {
		case 0, 14: // of bytes; of variants
		case 4:
			ends := at + 14
			bytes := r.number(at+6, 2) &^ 1
			for n := int64(0); n < bytes; n += 2 {
				width = max(width, rangeWidth(r.number(ends+bytes+2+n, 2), r.number(ends+n, 2)))
			}
		case 6:
			first := r.number(at+6, 2)
			width = max(width, rangeWidth(first, first+r.number(at+8, 2)))
		case 12, 13:
			groups := r.number(at+12, 4)
			if groups > int64(len(r.raw))/12 {
				return 0, false
			}
			for n := range groups {
				width = max(width, rangeWidth(r.number(at+16+12*n, 4), r.number(at+20+12*n, 4)))
			}
		default:
			return 0, false
		}
	}
	return width, true
}

// wideRunes are the characters of which the text, normalized, is longer than
// glyphBytes: a few hundred, in order.
var wideRunes = sync.OnceValue(func() []rune {
	var wide []rune
	for r := rune(0x80); r <= 0x1ffff; r++ {
		if normalWidth(r) > glyphBytes {
			wide = append(wide, r)
		}
	}
	return wide
})

// rangeWidth is that of the widest character from first to last.
func rangeWidth(first, last int64) int64 {
	width, wide := int64(glyphBytes), wideRunes()
	i, _ := slices.BinarySearch(wide, rune(min(first, utf8.MaxRune)))
	for ; i < len(wide) && int64(wide[i]) <= last && width < widestGlyph; i++ {
		width = max(width, normalWidth(wide[i]))
	}
	return width
}

// glyphWidth is the most bytes that the name of a glyph stands for: its parts, each
// up to a dot, between underscores.
// https://github.com/adobe-type-tools/agl-specification
func glyphWidth(name string) int64 {
	width := int64(0)
	for part := range strings.SplitSeq(name, "_") {
		part, _, _ = strings.Cut(part, ".")
		width += partWidth(part)
	}
	return width
}

// longerNames are in the names of Adobe's list that stand for six bytes.
var longerNames = []string{"deva", "gurmukhi", "bengali", "thai", "dagesh", "second", "dblintegral"}

// partWidth is that of a name of the form uni20AC00410042, of a letter or word and a
// number, which readers take for a character in decimal or hexadecimal, or of one of
// Adobe's list: there only squares and ligatures of letters are wide.
func partWidth(part string) int64 {
	const hexadecimal = "0123456789ABCDEFabcdef"
	if digits, ok := strings.CutPrefix(part, "uni"); ok && len(digits) >= 4 && strings.Trim(digits, hexadecimal) == "" {
		return widthOf([]byte(digits), false, nil)
	}
	if strings.HasSuffix(part, "square") || strings.HasSuffix(part, "arabic") {
		return widestGlyph
	}
	width := int64(glyphBytes)
	for _, word := range longerNames {
		if strings.Contains(part, word) {
			width = glyphBytes + 1
		}
	}
	for i := len(strings.TrimRight(part, hexadecimal)); i < len(part); i++ {
		for _, base := range []int{10, 16} {
			if n, err := strconv.ParseInt(part[i:], base, 32); err == nil {
				width = max(width, normalWidth(rune(n)))
			}
		}
	}
	return width
}
