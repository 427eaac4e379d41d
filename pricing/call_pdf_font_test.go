package pricing_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aigateway/pricing"
)

// u16 are numbers of two bytes, and u32 is one of four, as fonts have them.
func u16(numbers ...int) string {
	var b []byte
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return string(b)
}

func u32(n int) string { return u16(n>>16, n) }

// sfnt is a font of these tables.
func sfnt(tables ...string) string {
	head, data := "\x00\x01\x00\x00"+u16(len(tables)/2, 0, 0, 0), ""
	for i := 0; i < len(tables); i += 2 {
		head += tables[i] + u32(0) + u32(12+8*len(tables)+len(data)) + u32(len(tables[i+1]))
		data += tables[i+1]
	}
	return head + data
}

// characters is a table that has those from one to the other, in a format.
func characters(format, from, to int) string {
	head := u16(0, 1, 3, 1) + u32(12)
	switch format {
	case 4:
		return head + u16(4, 32, 0, 4, 0, 0, 0, to, 0xffff, 0, from, 0xffff, 0, 1, 0, 0)
	case 6:
		return head + u16(6, 12, 0, from, to-from+1)
	case 12:
		return head + u16(12, 0) + u32(28) + u32(0) + u32(1) + u32(from) + u32(to) + u32(0)
	}
	return head + u16(format)
}

// names is a table with a name of a glyph of its own.
func names(name string) string {
	return u32(0x20000) + strings.Repeat("\x00", 28) + u16(1, 258) + string(rune(len(name))) + name
}

// cff is a compact font with one more string.
func cff(name string) string {
	index := func(s string) string { return u16(1) + "\x01\x01" + string(rune(1+len(s))) + s }
	return "\x01\x00\x04\x01" + index("F") + index("\x8b\x0f") + index(name) + u16(0)
}

// type1 is a font with a glyph in its encoding, and a private part.
func type1(name, private string) string {
	key, packed := uint16(55665), []byte{}
	for _, c := range []byte("\x00\x00\x00\x00" + private) {
		c ^= byte(key >> 8)
		key = (uint16(c)+key)*52845 + 22719
		packed = append(packed, c)
	}
	return "%!PS-AdobeFont-1.0: F\n/Encoding 256 array\ndup 97 /" + name + " put\nreadonly def\ncurrentfile eexec\n" + string(packed)
}

// Readers have the text of a glyph from the font in the file, too: by its name, or
// by the characters that the font has.
func TestPDFFontsOfTheirOwn(t *testing.T) {
	const glyphs = 100
	for name, tt := range map[string]struct {
		member, program string
		want            int64 // bytes of a glyph; 0: nothing is certain
	}{
		"characters":                 {"FontFile2", sfnt("cmap", characters(4, 'A', 0x17f)), 5},
		"a word in one, 4":           {"FontFile2", sfnt("cmap", characters(4, 0xfd00, 0xfdff)), 33},
		"a word in one, 6":           {"FontFile2", sfnt("cmap", characters(6, 0xfdfa, 0xfdfa)), 33},
		"a word in one, 12":          {"FontFile2", sfnt("cmap", characters(12, 'A', 0x1ffff)), 33},
		"an integral":                {"FontFile2", sfnt("cmap", characters(12, 0x2a0c, 0x2a0c)), 12},
		"an old format":              {"FontFile2", sfnt("cmap", characters(2, 0, 0)), 0},
		"a name":                     {"FontFile2", sfnt("post", names("space")), 5},
		"a name of many characters":  {"FontFile2", sfnt("post", names("uniFDFAFDFAFDFA")), 99},
		"no names":                   {"FontFile2", sfnt("post", u32(0x30000)+strings.Repeat("\x00", 28)), 5},
		"names of nobody":            {"FontFile2", sfnt("post", u32(0x40000)+strings.Repeat("\x00", 28)), 0},
		"parts":                      {"FontFile3", cff("f_f_i_a.alt"), 20},
		"a number":                   {"FontFile3", cff("uFDFA"), 33},
		"a number by a letter":       {"FontFile3", cff("c65018"), 33},
		"a usual name":               {"FontFile3", cff("germandbls"), 5},
		"in a wrapper":               {"FontFile3", strings.Replace(sfnt("CFF ", cff("uniFDFA")), "\x00\x01\x00\x00", "OTTO", 1), 33},
		"cut":                        {"FontFile3", cff("uniFDFA")[:24], 0},
		"in the encoding":            {"FontFile", type1("uniFDFA", "dup 5 {x} put"), 33},
		"an encoding":                {"FontFile", type1("a", "dup 5 {x} put"), 5},
		"an encoding that is hidden": {"FontFile", type1("a", "/Encoding 256 array dup 97 /uniFDFA put"), 0},
		"hidden in hexadecimal":      {"FontFile", "%!PS\ncurrentfile eexec\n00112233", 0},
		"another kind":               {"FontFile", "\x80\x01" + type1("a", ""), 0},
	} {
		objects := pageTree(1, packed("("+strings.Repeat("a", glyphs)+") Tj"))
		objects = append(objects, "<</Type/FontDescriptor/"+tt.member+" 6 0 R>>",
			strings.Replace(packed(tt.program), "<<", fmt.Sprintf("<</Length1 %d/Length2 0/Subtype/Type1C", len(tt.program)), 1))
		_, text, ok := pricing.PDFBound([]byte(plainPDF(objects)))
		if ok != (tt.want > 0) || ok && (text < tt.want*glyphs || text > (tt.want+2)*glyphs) {
			t.Errorf("%s: %d bytes, %v; want %d", name, text, ok, tt.want*glyphs)
		}
	}
	// A font that another program made smaller is no reason to hold more.
	raw, err := os.ReadFile(filepath.Join("testdata", "pdf", "fpdf2-truetype.pdf"))
	if err != nil {
		t.Fatal(err)
	}
	_, with, _ := pricing.PDFBound(raw)
	_, without, _ := pricing.PDFBound([]byte(strings.ReplaceAll(string(raw), "/FontFile2", "/FontFileX")))
	if with == 0 || with != without {
		t.Errorf("%d bytes of text with the font, %d without", with, without)
	}
}

// A name in a font's encoding is as long as what any reader may make of it.
func TestPDFGlyphNames(t *testing.T) {
	for name, want := range map[string]int64{
		"quotedblleft": 5, "acircumflexacute": 5, "afii57409": 5, "g1234": 5, "a.sc": 5, ".notdef": 5,
		"uniFDFA": 33, "unifdfa": 33, "uFDFA": 33, "ufdfa": 33, "c65018": 33, "apaatosquare": 33, "uniFDFA_uniFDFA": 66,
		"lamedholamdagesh": 6, "dblintegral": 6, "khhadeva": 6,
	} {
		objects := append(pageTree(1, packed("("+strings.Repeat("a", 100)+") Tj")), "<</Encoding<</Differences[97/"+name+"]>>>>")
		if _, text, ok := pricing.PDFBound([]byte(plainPDF(objects))); !ok || text < 100*want || text > 101*want+100 {
			t.Errorf("%s: %d bytes, %v; want %d", name, text, ok, 100*want)
		}
	}
}
