package pricing

import (
	"bytes"
	"compress/zlib"
	"encoding/ascii85"
	"encoding/base64"
	"io"
	"slices"
	"strconv"

	"aigateway/budget"
)

// A provider gives its model each page of a PDF as an image and as text. Pages
// are bounded by the references of the page tree, and text by the strings of the
// pages' contents, if the file is plain enough to be sure of both: decision 0060
// says what that is. Of any other the model's whole context is the bound.

// pdfs is what the documents of a body amount to.
type pdfs struct {
	why      *budget.Error // the first of them; nil: there are none
	pages    int64         // at most
	text     int64         // bytes of UTF-8 at most, also if the text is normalized
	unproven bool          // of some of them neither is known
	inflated int64         // bytes that were inflated so far
}

// maxInflated is how many bytes of one body's PDFs are inflated, fonts among them:
// of text alone, two of these megabytes exceed every context.
const maxInflated = 6 << 20

// maxPDFObjects is how many objects and references of one file are followed: a
// page has some ten, and thousands of pages fill every context.
const maxPDFObjects = 50_000

// addPDF notes a PDF. Its base64 is no text.
func (p *parser) addPDF(field string, data []byte) {
	if isBase64(data) {
		p.call.payload += int64(len(data))
	}
	raw, err := base64.StdEncoding.AppendDecode(nil, data)
	p.addDocument(field, field+" is a PDF")
	if d := &p.call.pdf; err == nil && !d.unproven && !p.free {
		f := pdfFile{raw: raw, room: maxInflated - d.inflated}
		pages, text, ok := f.bound()
		d.pages, d.text, d.inflated, d.unproven = d.pages+pages, d.text+text, maxInflated-f.room, !ok
	} else {
		d.unproven = true
	}
}

// addDocument notes a document, of which nothing but its kind is known yet.
func (p *parser) addDocument(field, what string) {
	if p.call.pdf.why == nil {
		p.call.pdf.why = budget.Invalid("unbounded_media", field, what+", and nobody has said how many tokens that is on this model; send its text, or set allow_pdf for the provider, which reserves a whole context")
	}
}

// pdfFile is a PDF that is being read. It is read as bytes: what stands in a
// comment, a string or a stream counts like what stands outside, so that readers
// who find their way through the file differently find no more.
type pdfFile struct {
	raw  []byte
	room int64 // bytes that may still be inflated
	zlib io.ReadCloser

	objects map[int64][]int // where the bodies of objects begin, by number
	starts  map[[2]int]bool // numbers of objects, and where they begin
	kids    map[int64]bool  // what the page tree refers to
	shown   map[int64]int64 // how many references each stream of contents has
	fonts   map[int64]bool  // maps from glyphs to characters
	program map[int64]bool  // fonts that are in the file
	widest  int64           // bytes of text that one byte of a shown string can become
}

// glyphBytes is what a glyph of the usual encodings becomes at most: ½ is five
// bytes when it is normalized. widestGlyph is the most of any character.
const (
	glyphBytes  = 5
	widestGlyph = 33
)

// bound is the most pages and bytes of text; false: they are not certain.
func (f *pdfFile) bound() (pages, text int64, ok bool) {
	if !bytes.HasPrefix(f.raw, []byte("%PDF-")) {
		return 0, 0, false
	}
	f.objects, f.starts, f.kids, f.shown, f.fonts = map[int64][]int{}, map[[2]int]bool{}, map[int64]bool{}, map[int64]int64{}, map[int64]bool{}
	f.program = map[int64]bool{}
	f.widest = glyphBytes
	if !f.findObjects() || !f.checkTables() || !f.readNames() {
		return 0, 0, false
	}
	for n := range f.fonts {
		cmap, ok := f.stream(n)
		if !ok {
			return 0, 0, false
		}
		f.widest = max(f.widest, widestOf(cmap))
	}
	for n := range f.program {
		program, ok := f.stream(n)
		if !ok {
			return 0, 0, false
		}
		width, ok := programWidth(program)
		if !ok {
			return 0, 0, false
		}
		f.widest = max(f.widest, width)
	}
	for n, references := range f.shown {
		content, ok := f.stream(n)
		if !ok {
			return 0, 0, false
		}
		n, ok := shownBytes(content, f.widest)
		if !ok {
			return 0, 0, false
		}
		text += references * n
	}
	return int64(len(f.kids)), text, len(f.kids) > 0
}

// full reports whether there is more in the file than is followed.
func (f *pdfFile) full() bool {
	return max(len(f.starts), len(f.kids), len(f.shown), len(f.fonts), len(f.program)) > maxPDFObjects
}

func pdfSpace(c byte) bool {
	return c == ' ' || c >= '\t' && c <= '\r' && c != '\v' || c == 0
}

func pdfRegular(c byte) bool {
	return !pdfSpace(c) && bytes.IndexByte([]byte("()<>[]{}/%"), c) < 0
}

// findObjects notes each "N G obj".
func (f *pdfFile) findObjects() bool {
	for at := 0; ; {
		i := bytes.Index(f.raw[at:], []byte("obj"))
		if i < 0 {
			return true
		}
		i += at
		at = i + len("obj")
		if at < len(f.raw) && pdfRegular(f.raw[at]) || i == 0 || pdfRegular(f.raw[i-1]) {
			if i > 0 && f.raw[i-1] >= '0' && f.raw[i-1] <= '9' {
				return false // some readers take 0obj for 0 obj
			}
			continue
		}
		_, end, ok := f.numberBefore(i)
		if !ok {
			return false
		}
		number, start, ok := f.numberBefore(end)
		if !ok {
			return false
		}
		f.objects[number] = append(f.objects[number], at)
		f.starts[[2]int{int(number), start}] = true
		if f.full() {
			return false
		}
	}
}

// numberBefore reads the whole number that ends before i and the blanks there.
func (f *pdfFile) numberBefore(i int) (n int64, start int, ok bool) {
	end := i
	for end > 0 && pdfSpace(f.raw[end-1]) {
		end--
	}
	start = end
	for start > 0 && f.raw[start-1] >= '0' && f.raw[start-1] <= '9' {
		start--
	}
	if start == end || end == i || end-start > 10 || start > 0 && pdfRegular(f.raw[start-1]) {
		return 0, 0, false
	}
	n, err := strconv.ParseInt(string(f.raw[start:end]), 10, 64)
	return n, start, err == nil
}

// checkTables compares the tables of objects with where they are: one that names
// another object's place would show it twice.
func (f *pdfFile) checkTables() bool {
	for at := 0; ; {
		i := bytes.Index(f.raw[at:], []byte("xref"))
		if i < 0 {
			return true
		}
		at += i + len("xref")
		if bytes.HasSuffix(f.raw[:at], []byte("startxref")) {
			in := f.near(int64(at))
			if offset, ok := in.number(); !ok || offset != 0 && !f.tableAt(offset) {
				return false
			}
			continue
		}
		in := pdfTokens{f.raw[at:]}
		for in.skip(); len(in.rest) > 0 && in.rest[0] >= '0' && in.rest[0] <= '9'; in.skip() {
			first, ok1 := in.number()
			count, ok2 := in.number()
			if !ok1 || !ok2 || count > int64(len(in.rest)) {
				return false
			}
			for n := range count {
				offset, ok1 := in.number()
				_, ok2 := in.number()
				kind := in.word()
				used := string(kind) == "n"
				if !ok1 || !ok2 || !used && string(kind) != "f" || used && !f.starts[[2]int{int(first + n), int(offset)}] {
					return false
				}
			}
		}
		if !bytes.HasPrefix(in.rest, []byte("trailer")) {
			return false // a comment, behind which the table may go on
		}
		at = len(f.raw) - len(in.rest)
	}
}

// near is what stands at an offset, as far as anybody has to read to know it.
func (f *pdfFile) near(offset int64) pdfTokens {
	const enough = 64
	at := min(offset, int64(len(f.raw)))
	return pdfTokens{f.raw[at:min(at+enough, int64(len(f.raw)))]}
}

// tableAt reports whether a table in plain sight begins at the offset. A stream
// there is one too for readers that do not ask for its type.
func (f *pdfFile) tableAt(offset int64) bool {
	in := f.near(offset)
	in.skip()
	return bytes.HasPrefix(in.rest, []byte("xref")) && !bytes.HasSuffix(f.raw[:offset], []byte("start"))
}

// previous reads where the table before is, or a reference to another heading. A
// reader takes the reference's number for the place, if an object is there.
func (f *pdfFile) previous(in pdfTokens) bool {
	offset, ok := in.number()
	if !ok || f.tableAt(offset) {
		return ok
	}
	_, ok1 := in.number()
	if !ok1 || string(in.word()) != "R" {
		return false
	}
	there := f.near(offset)
	_, ok1 = there.number()
	_, ok2 := there.number()
	blank := len(bytes.TrimLeft(f.near(offset).rest, "\x00\t\n\f\r ")) == 0
	return !blank && !(ok1 && ok2 && bytes.HasPrefix(there.word(), []byte("obj")))
}

// readNames looks at every name in the file.
func (f *pdfFile) readNames() bool {
	for at := 0; ; {
		i := bytes.IndexByte(f.raw[at:], '/')
		if i < 0 {
			return true
		}
		in := pdfTokens{f.raw[at+i:]}
		name := in.name()
		at = len(f.raw) - len(in.rest)
		if !f.readName(string(name), in) || f.full() {
			return false
		}
	}
}

func (f *pdfFile) readName(name string, in pdfTokens) bool {
	switch name {
	// Objects that are not in plain sight, contents that are used where they are
	// named, text that stands for other text.
	case "ObjStm", "XRef", "XRefStm", "Encrypt", "Form", "AP", "ActualText", "XFA":
		return false
	case "Prev":
		return f.previous(in)
	case "PatternType": // 1 has contents, which each use of it shows
		n, ok := in.number()
		in.skip()
		return ok && n == 2 && (len(in.rest) == 0 || !pdfRegular(in.rest[0]))
	case "Kids":
		if in.skip(); len(in.rest) == 0 || in.rest[0] != '[' {
			return false
		}
		refs, ok := in.references()
		for _, n := range refs {
			if f.kids[n] {
				return false // twice in the tree is any number of times
			}
			f.kids[n] = true
		}
		return ok
	case "Contents":
		refs, ok := in.references()
		for _, n := range refs {
			f.shown[n]++
		}
		return ok
	case "ToUnicode":
		if in.skip(); len(in.rest) > 0 && in.rest[0] == '/' {
			f.widest = widestGlyph // a map that every reader has, of every character
			return true
		}
		refs, ok := in.references()
		for _, n := range refs {
			f.fonts[n] = true
		}
		return ok
	case "FontFile", "FontFile2", "FontFile3":
		refs, ok := in.references()
		for _, n := range refs {
			f.program[n] = true
		}
		return ok
	case "Differences":
		return f.differences(in)
	case "Ordering":
		if in.skip(); !bytes.HasPrefix(in.rest, []byte("(Identity)")) {
			f.widest = widestGlyph // codes of a known collection, which has every character
		}
	}
	return true
}

// differences reads an array of numbers and names of glyphs.
func (f *pdfFile) differences(in pdfTokens) bool {
	if !in.take('[') {
		return false
	}
	for in.skip(); len(in.rest) > 0; in.skip() {
		switch c := in.rest[0]; {
		case c == ']':
			return true
		case c == '/':
			f.widest = max(f.widest, glyphWidth(string(in.name())))
		default:
			if _, ok := in.number(); !ok {
				return false
			}
		}
	}
	return false
}

// stream is the content of the one object of that number, if it is a stream that
// can only be read in one way.
func (f *pdfFile) stream(number int64) ([]byte, bool) {
	at := f.objects[number]
	if len(at) != 1 {
		return nil, false
	}
	in := pdfTokens{f.raw[at[0]:]}
	length, filters, ok := in.streamDictionary()
	if !ok {
		return nil, false
	}
	body := in.rest
	var content []byte
	switch {
	case len(filters) == 0 && length >= 0:
		end := bytes.Index(body, []byte("endstream"))
		if end < 0 {
			return nil, false
		}
		content = body[:min(max(int64(end), length), int64(len(body)))]
	case slices.Equal(filters, []string{"FlateDecode"}):
		content, ok = f.inflate(bytes.NewReader(body))
	case slices.Equal(filters, []string{"ASCII85Decode", "FlateDecode"}):
		packed, _, ended := bytes.Cut(body, []byte("~>"))
		if f.room -= int64(len(packed)); !ended || f.room < 0 { // its end was looked for
			return nil, false
		}
		content, ok = f.inflate(ascii85.NewDecoder(bytes.NewReader(packed)))
	default:
		return nil, false
	}
	f.room -= int64(len(content))
	return content, ok && f.room >= 0
}

// inflate stops soon after there is no room for more.
func (f *pdfFile) inflate(packed io.Reader) ([]byte, bool) {
	var err error
	if f.zlib == nil {
		f.zlib, err = zlib.NewReader(packed)
	} else {
		err = f.zlib.(zlib.Resetter).Reset(packed, nil)
	}
	if err != nil {
		return nil, false
	}
	content, err := io.ReadAll(io.LimitReader(f.zlib, f.room+1))
	return content, err == nil
}
