package pricing_test

import (
	"bytes"
	"compress/zlib"
	"encoding/ascii85"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aigateway/pricing"

	"pgregory.net/rapid"
)

// onePageContent is what stands on the page of onePage.
const onePageContent = "BT /F1 12 Tf (Hello) Tj ET "

var onePage = plainPDF(pageTree(1, streamOf(onePageContent)))

// streamOf is an object's stream, as it is.
func streamOf(content string) string {
	return fmt.Sprintf("<</Length %d>>stream\n%s\nendstream", len(content), content)
}

// packed is the same, compressed.
func packed(content string) string {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write([]byte(content))
	_ = z.Close()
	return fmt.Sprintf("<</Filter/FlateDecode/Length %d>>\nstream\n%s\nendstream", b.Len(), b.String())
}

// pageTree are the objects of a document of n pages that all show object 3.
func pageTree(n int, content string) []string {
	out := []string{"<</Type/Catalog/Pages 2 0 R>>", "", content}
	var kids []string
	for i := range n {
		kids = append(kids, fmt.Sprintf("%d 0 R", 4+i))
		out = append(out, "<</Type/Page/Parent 2 0 R/Contents 3 0 R>>")
	}
	out[1] = fmt.Sprintf("<</Type/Pages/Kids[%s]/Count %d>>", strings.Join(kids, " "), n)
	return out
}

// plainPDF is a file of these objects, with their table.
func plainPDF(objects []string) string {
	var b, table strings.Builder
	b.WriteString("%PDF-1.4\n")
	fmt.Fprintf(&table, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for i, o := range objects {
		fmt.Fprintf(&table, "%010d 00000 n \n", b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	start := b.Len()
	return b.String() + table.String() + fmt.Sprintf("trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n", len(objects)+1, start)
}

// What common programs write, with the pages and the bytes of text that PyMuPDF
// finds in them.
func TestPDFsOfCommonPrograms(t *testing.T) {
	for name, want := range map[string]struct {
		pages, text int64
		ok          bool
	}{
		"fpdf2":                  {3, 3555, true},
		"fpdf2-plain":            {2, 2370, true},
		"fpdf2-truetype":         {2, 2370, true},
		"reportlab":              {4, 14560, true},
		"reportlab-ascii85":      {4, 14560, true},
		"pymupdf":                {3, 1764, true},
		"pymupdf-object-streams": {},
		"pymupdf-encrypted":      {},
	} {
		raw, err := os.ReadFile(filepath.Join("testdata", "pdf", name+".pdf"))
		if err != nil {
			t.Fatal(err)
		}
		pages, text, ok := pricing.PDFBound(raw)
		if ok != want.ok || pages != want.pages || text < want.text {
			t.Errorf("%s: %d pages, %d bytes of text, %v; want %+v", name, pages, text, ok, want)
		}
	}
}

// Whatever could show more than is found has no bound but the context.
func TestPDFsWithoutCertainty(t *testing.T) {
	good := pageTree(2, packed(strings.Repeat("(text) Tj ", 100)))
	if pages, text, ok := pricing.PDFBound([]byte(plainPDF(good))); !ok || pages != 2 || text < 2*400 {
		t.Fatalf("%d pages, %d bytes, %v", pages, text, ok)
	}
	with := func(i int, object string) string {
		changed := append([]string{}, good...)
		changed[i] = object
		return plainPDF(changed)
	}
	more := func(object string) string { return plainPDF(append(append([]string{}, good...), object)) }
	for name, file := range map[string]string{
		"nothing":                     "",
		"another format":              "PK\x03\x04" + plainPDF(good),
		"no pages":                    "%PDF-1.4\n",
		"a page twice":                with(1, "<</Type/Pages/Kids[4 0 R 4 0 R]/Count 2>>"),
		"a tree of trees":             plainPDF([]string{"<</Pages 2 0 R>>", "<</Kids[3 0 R 4 0 R]>>", "<</Kids[5 0 R]>>", "<</Kids[5 0 R]>>", "<<>>"}),
		"pages elsewhere":             with(1, "<</Type/Pages/Kids 6 0 R/Count 2>>"),
		"a name with an escape":       with(1, "<</Type/Pages/K#69ds 6 0 R/Count 2>>"),
		"a comment between pages":     with(1, "<</Kids[4 0 R %\n5 0 R]>>"),
		"contents elsewhere":          with(3, "<</Type/Page/Contents 9 0 R>>"),
		"contents in a list":          with(3, "<</Type/Page/Contents 1 0 R>>"),
		"contents, an escape":         with(3, "<</Type/Page/Conten#74s 1 0 R>>"),
		"another filter":              with(2, strings.Replace(good[2], "FlateDecode", "LZWDecode", 1)),
		"a predictor":                 with(2, strings.Replace(good[2], "<<", "<</DecodeParms<</Predictor 2>>", 1)),
		"two lengths":                 with(2, strings.Replace(good[2], "<<", "<</Length 3", 1)),
		"a length elsewhere":          with(2, "<</Length 1 0 R>>stream\n(x) Tj\nendstream"),
		"broken data":                 with(2, strings.Replace(good[2], "stream\nx", "stream\ny", 1)),
		"cut data":                    with(2, "<</Filter/FlateDecode/Length 3>>\nstream\nx\x9c\x01"),
		"a string that goes on":       with(2, packed("(text")),
		"a bomb":                      with(2, packed(strings.Repeat(" ", 7<<20))),
		"an object twice":             plainPDF(good) + "3 0 obj\n" + streamOf("(much more) Tj") + "\nendobj\n",
		"objects in streams":          more("<</Type/ObjStm/N 1>>"),
		"a table in a stream":         more("<</Type/XRef>>"),
		"contents that are used":      more("<</Type/XObject/Subtype/Form>>"),
		"text for text":               more("<</ActualText(long)>>"),
		"encryption":                  strings.Replace(plainPDF(good), "trailer<<", "trailer<</Encrypt 6 0 R", 1),
		"a table of other places":     strings.Replace(plainPDF(good), "0000000009 00000 n", "0000000058 00000 n", 1),
		"a header without a blank":    strings.Replace(plainPDF(good), "3 0 obj", "3 0obj", 1),
		"a map from glyphs elsewhere": more("<</Type/Font/ToUnicode 99 0 R>>"),
		// Readers take them for what they are by their place and their members.
		"a table in a stream of no type before": strings.Replace(plainPDF(good), "trailer<<", "trailer<</Prev 9", 1),
		"a table in the middle of a number":     strings.Replace(plainPDF(good), "startxref\n", "startxref\n1", 1),
		"a table that is an object":             strings.Replace(plainPDF(good), "startxref\n", "startxref 9 startxref\n", 1),
		"contents that are painted with":        more(strings.Replace(packed("(text) Tj"), "<<", "<</PatternType 1", 1)),
		"contents of a pattern elsewhere":       more("<</PatternType 2 0 R>>"),
		"contents of a note":                    more("<</Subtype/Stamp/AP<</N 3 0 R>>>>"),
	} {
		if pages, text, ok := pricing.PDFBound([]byte(file)); ok {
			t.Errorf("%s: %d pages, %d bytes of text", name, pages, text)
		}
	}
}

// A glyph counts as the longest text that its font gives it.
func TestPDFGlyphsCountAsTheirText(t *testing.T) {
	const glyphs = 100
	font := func(more string, others ...string) int64 {
		objects := pageTree(1, packed("("+strings.Repeat("a", glyphs)+") Tj"))
		objects = append(objects, "<</Type/Font"+more+">>")
		_, text, ok := pricing.PDFBound([]byte(plainPDF(append(objects, others...))))
		if !ok {
			t.Fatalf("%s %s: no bound", more, others)
		}
		return text
	}
	for name, tt := range map[string]struct {
		got, low, high int64
	}{
		"usual":            {font(""), 5 * glyphs, 6 * glyphs},
		"names":            {font("/Encoding<</Differences[65/A/quotedblleft 200/fi]>>"), 5 * glyphs, 6 * glyphs},
		"a long name":      {font("/Encoding<</Differences[65/uni0041004200430044004500460047]>>"), 7 * glyphs, 8 * glyphs},
		"a ligature":       {font("/Encoding<</Differences[65/f_f_i]>>"), 9 * glyphs, 101 * glyphs},
		"a map":            {font("/ToUnicode 6 0 R", packed("1 beginbfchar <61> <0041> endbfchar")), 5 * glyphs, 6 * glyphs},
		"to a sentence":    {font("/ToUnicode 6 0 R", packed("1 beginbfchar <61> <"+strings.Repeat("0041", 50)+"> endbfchar")), 50 * glyphs, 51 * glyphs},
		"to what grows":    {font("/ToUnicode 6 0 R", packed("1 beginbfchar <61> <FDFA> endbfchar")), 33 * glyphs, 35 * glyphs},
		"to a range":       {font("/ToUnicode 6 0 R", packed("1 beginbfrange <61> <62> <FDF9> endbfrange")), 33 * glyphs, 35 * glyphs},
		"to a range, last": {font("/ToUnicode 6 0 R", packed("1 beginbfrange <00> <FF> <FD00> endbfrange")), 33 * glyphs, 35 * glyphs},
		"a known order":    {font("/CIDSystemInfo<</Ordering(Japan1)>>"), 33 * glyphs, 35 * glyphs},
		"shown twice":      {2 * font(""), 10 * glyphs, 12 * glyphs},
	} {
		if tt.got < tt.low || tt.got > tt.high {
			t.Errorf("%s: %d bytes, want %d to %d", name, tt.got, tt.low, tt.high)
		}
	}
}

// The bound of any text on any number of pages is at least that text, however it
// is written down.
func TestPDFTextIsCovered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var content strings.Builder
		length := 0
		for range rapid.IntRange(0, 20).Draw(t, "strings") {
			s := rapid.StringOfN(rapid.RuneFrom([]rune("ab ()\\<>[]/19")), 0, 30, -1).Draw(t, "text")
			length += len(s) + 1 // and a blank
			if rapid.Bool().Draw(t, "in hexadecimal") {
				fmt.Fprintf(&content, "<%x>Tj ", s)
			} else {
				fmt.Fprintf(&content, "(%s)Tj ", strings.NewReplacer(`\`, `\\`, "(", `\(`, ")", `\)`).Replace(s))
			}
		}
		n := rapid.IntRange(1, 9).Draw(t, "pages")
		object := packed(content.String())
		if rapid.Bool().Draw(t, "plain") {
			object = streamOf(content.String())
		}
		pages, text, ok := pricing.PDFBound([]byte(plainPDF(pageTree(n, object))))
		if !ok || pages != int64(n) || text < int64(n*length) {
			t.Fatalf("%d pages of %d bytes: %d, %d, %v", n, length, pages, text, ok)
		}
	})
}

func clipped(s string) string { return s[:min(len(s), 100)] }

func FuzzPDF(f *testing.F) {
	for _, content := range []string{"", "(a) Tj", "<41> Tj", "BI ID EI"} {
		f.Add([]byte(plainPDF(pageTree(2, packed(content)))))
		f.Add([]byte(plainPDF(pageTree(1, streamOf(content)))))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if pages, text, ok := pricing.PDFBound(raw); ok && (pages < 1 || text < 0 || pages > int64(len(raw))) {
			t.Errorf("%d pages, %d bytes", pages, text)
		}
	})
}

// No file costs more than its bytes do: megabytes of what could be read again and
// again end this test in time.
func TestPDFsCostLinearTime(t *testing.T) {
	const n = 1 << 20
	// Streams that are short, but end where the file does.
	short := func(stream string) string {
		var kids, objects strings.Builder
		for i := range 40_000 {
			fmt.Fprintf(&kids, "%d 0 R ", i)
			fmt.Fprintf(&objects, "%d 0 obj%s", i, stream)
		}
		return "%PDF-/Kids[1 0 R]/Contents[" + kids.String() + "]" + objects.String() + strings.Repeat(" ", 4*n)
	}
	var empty bytes.Buffer
	z := zlib.NewWriter(&empty)
	_ = z.Close()
	ascii := make([]byte, ascii85.MaxEncodedLen(empty.Len()))
	ascii = ascii[:ascii85.Encode(ascii, empty.Bytes())]
	cmap := packed("beginbfrange " + strings.Repeat("<D83DDE00><0000><FD00>", 80_000))
	for name, file := range map[string]string{
		"kids":        "%PDF-" + strings.Repeat("/Kids[", n),
		"contents":    "%PDF-" + strings.Repeat("/Contents[1 0 R 1 0 R]", n/20),
		"differences": "%PDF-/Differences[" + strings.Repeat("/a", n) + "]",
		"objects":     "%PDF-" + strings.Repeat("1 0 obj ", n/8),
		"tables":      "%PDF-" + strings.Repeat("xref 0 0 ", n/8),
		"blanks":      "%PDF-" + strings.Repeat("/Kids"+strings.Repeat(" ", 1000), n/1000),
		"maps":        plainPDF(append(pageTree(1, packed("")), "<</ToUnicode 6 0 R>>", cmap)),
		"no end":      short("<</Length 0>>stream\n"),
		"one end":     short("<</Filter[/ASCII85Decode/FlateDecode]>>stream\n"+string(ascii)+"\n") + "~>",
		"empty":       short(packed("")),
		"one stream":  plainPDF(pageTree(10_000, packed(strings.Repeat("(", 1<<20)+strings.Repeat(")", 1<<20)))),
	} {
		if pages, text, ok := pricing.PDFBound([]byte(file)); ok && pages == 0 {
			t.Errorf("%s: no pages, %d bytes", name, text)
		}
	}
}

// A PDF in a message or in a tool's result is bounded by its pages and text, and
// by the context where that is not certain; a conversation goes on with it.
func TestPDFsAreBounded(t *testing.T) {
	c := mustLoad(t)
	document := func(source string) string { return `{"type":"document","source":` + source + `}` }
	data := func(raw string) string {
		return document(`{"type":"base64","media_type":"application/pdf","data":"` + base64.StdEncoding.EncodeToString([]byte(raw)) + `"}`)
	}
	const context, page = 1_000_000, 3000 + 4784
	read := data(plainPDF(pageTree(10, packed("("+strings.Repeat("a", 3000)+") Tj"))))
	for name, tt := range map[string]struct {
		block     string
		low, high int64
	}{
		"in a message":          {read, 10 * (page + 3000), 10*(page+5*3001+10) + 3000},
		"with citations":        {strings.Replace(read, `{"type":"document",`, `{"type":"document","title":"t","citations":{"enabled":true},`, 1), 10 * (page + 3000), 10*(page+5*3001+10) + 3000},
		"in a tool's result":    {`{"type":"tool_result","tool_use_id":"t","content":[` + read + `]}`, 10 * (page + 3000), 10*(page+5*3001+10) + 3000},
		"twice":                 {read + "," + read, 20 * (page + 3000), 20*(page+5*3001+10) + 3000},
		"nothing to be read":    {data("%PDF-1.4"), context, context},
		"beside one that is":    {read + "," + data("%PDF-1.4"), context, context},
		"no base64":             {document(`{"type":"base64","media_type":"application/pdf","data":"%%%"}`), context, context},
		"more than the context": {data(plainPDF(pageTree(500, packed("("+strings.Repeat("a", 3000)+") Tj")))), context, context},
		"elsewhere":             {document(`{"type":"url","url":"https://a/b.pdf"}`), context, context},
		"a file of the account": {document(`{"type":"file","file_id":"f"}`), context, context},
		"an image of it":        {`{"type":"tool_result","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}`, context, context},
	} {
		body := `{"model":"anthropic/claude-opus-5","max_tokens":10,"messages":[{"role":"user","content":[` + tt.block + `]}]}`
		if got := inputOf(t, mustBound(t, c, pricing.Messages, body, noon())); got < tt.low || got > tt.high {
			t.Errorf("%s: %d input tokens, want %d to %d", name, got, tt.low, tt.high)
		}
	}
	// Chat completions have it in a part of their own.
	file := func(raw string) string {
		return `{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,` + base64.StdEncoding.EncodeToString([]byte(raw)) + `"}}`
	}
	for part, want := range map[string]int64{
		file(plainPDF(pageTree(10, packed("("+strings.Repeat("a", 3000)+") Tj")))): 10 * (page + 3000),
		file("%PDF-1.4"): context,
	} {
		body := `{"model":"anthropic/claude-opus-5","max_tokens":10,"messages":[{"role":"user","content":[` + part + `]}]}`
		if got := inputOf(t, mustBound(t, c, pricing.Chat, body, noon())); got < want || got > want*5/2 {
			t.Errorf("%s: %d input tokens, want %d", clipped(part), got, want)
		}
		if _, err := tryBound(c, pricing.Chat, strings.Replace(body, "anthropic/claude-opus-5", "openrouter/anthropic/claude-opus-4.7", 1), noon()); err == nil || refusal(t, err).Reason != "unbounded_media" {
			t.Errorf("by OpenRouter, which may bill a reader of its own: %v", err)
		}
	}
	for part, field := range map[string]string{
		`{"type":"file","file":{"file_id":"f"}}`:                                     "messages[0].content[0].file.file_id",
		`{"type":"file","file":{"file_data":"data:text/csv;base64,AAAA"}}`:           "messages[0].content[0].file.file_data",
		`{"type":"file","file":{"FileData":"data:application/pdf;base64,JVBERi0="}}`: "messages[0].content[0].file.FileData",
	} {
		body := `{"model":"anthropic/claude-opus-5","max_tokens":10,"messages":[{"role":"user","content":[` + part + `]}]}`
		if _, err := tryBound(c, pricing.Chat, body, noon()); err == nil || refusal(t, err).Field != field {
			t.Errorf("%s: %v", part, err)
		}
	}
	// Where nobody has published what a page takes, it is refused as before.
	refused := `{"model":"openrouter/x","max_tokens":10,"messages":[{"role":"user","content":[` + read + `]}]}`
	overlaid := mustOverlay(t, "- {model: openrouter/x, limits: {context: 1000}, prices: [{input: \"1\", output: \"1\"}]}")
	if _, err := tryBound(overlaid, pricing.Messages, refused, noon()); err == nil || refusal(t, err).Reason != "unbounded_media" {
		t.Errorf("a model without a price of a page: %v", err)
	}
}
