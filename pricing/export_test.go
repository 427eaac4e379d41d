package pricing

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Scale is ceil(hi:lo × num/den) of a 128-bit number, for tests against
// math/big.
func Scale(hi, lo, num, den uint64) (rhi, rlo uint64, ok bool) {
	w := wide{hi: hi, lo: lo}.times(ratio{num, den})
	return w.hi, w.lo, !w.bad
}

// SumProduct is hi:lo + count × pico.
func SumProduct(hi, lo uint64, count, pico int64) (rhi, rlo uint64, ok bool) {
	w := wide{hi: hi, lo: lo}.plus(count, pico)
	return w.hi, w.lo, !w.bad
}

// MostTokens bounds a text's tokens with a public tokenizer, as a bound does.
func MostTokens(name, text string, alone bool) (int64, error) {
	known, ok := tokenizers.Load(name)
	if !ok {
		t, err := newTokenizer(name)
		if err != nil {
			return 0, err
		}
		known, _ = tokenizers.LoadOrStore(name, t)
	}
	room := maxCounted
	return known.(*tokenizer).most([]byte(text), alone, &room), nil
}

var tokenizers sync.Map // by name

// VocabularyCount counts a text's tokens with one of the vocabularies in this package,
// all of it at once, as a provider that normalises it and as one that does not.
func VocabularyCount(name, text string) (int64, error) {
	v, err := vocabularies[name]()
	if err != nil {
		return 0, err
	}
	n, ok := v.count(text)
	if v.rule.nfc && ok {
		var normal int64
		normal, ok = v.count(norm.NFC.String(text))
		n = max(n, normal)
	}
	if !ok {
		return 0, errors.New("a pattern did not match")
	}
	return n, nil
}

// Vocabularies are those in this package, with the SHA-256 of their files.
func Vocabularies() (map[string]string, error) {
	out := make(map[string]string)
	for name := range vocabularyRules {
		data, err := vocabularyFiles.ReadFile("vocabularies/" + name + ".gz")
		if err != nil {
			return nil, err
		}
		out[name] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return out, nil
}

// Unmerged is a token whose text is not merged to it, by listed pairs.
func Unmerged(name string) (string, error) {
	v, err := vocabularies[name]()
	if err != nil {
		return "", err
	}
	merges, err := readMerges(name)
	if err != nil {
		return "", err
	}
	texts := make([]string, 256, 256+len(merges))
	for i := range texts {
		texts[i] = string([]byte{byte(i)})
	}
	for _, m := range merges {
		text := texts[m[0]] + texts[m[1]]
		if v.merge(text) != 1 {
			return text, nil
		}
		texts = append(texts, text)
	}
	return "", nil
}

// WordsNormalise reports a character behind which, or in front of which, a word may
// end, and whose normal form changes that.
func WordsNormalise() (r rune, found bool) {
	for r := range rune(unicode.MaxRune + 1) {
		if !utf8.ValidRune(r) || classOf(r) == classOther {
			continue
		}
		normal := []rune(norm.NFC.String(string(r)))
		if classOf(normal[0]) != classOf(r) || classOf(normal[len(normal)-1]) != classOf(r) || !norm.NFC.PropertiesString(string(r)).BoundaryBefore() {
			return r, true
		}
	}
	return 0, false
}

// Acting are the names of top-level members that an endpoint reads or refuses.
func Acting(e Endpoint) (read, refused []string) {
	for _, m := range e.declared().members.members {
		switch {
		case m.reason != "":
			refused = append(refused, m.name)
		case m.acts():
			read = append(read, m.name)
		}
	}
	return read, refused
}

// PDFBound is the most pages and bytes of text of a PDF; false: neither is certain.
func PDFBound(raw []byte) (pages, text int64, ok bool) {
	f := pdfFile{raw: raw, room: maxInflated}
	return f.bound()
}

// Round gives all models a round overhead, of which numbers worked out by hand are
// plain: 1,000 tokens a call, 100 of embeddings.
func Round(c *Catalog) *Catalog {
	for _, e := range c.names.slugs {
		for _, row := range e.rows {
			switch o := &row.rules.overhead; {
			case o.tools > 0:
				*o = overhead{call: 1000}
			case o.marked:
				*o = overhead{call: 100}
			}
		}
	}
	return c
}
