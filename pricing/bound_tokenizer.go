package pricing

import (
	"bytes"
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	tiktoken "github.com/tiktoken-go/tokenizer"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/unicode/rangetable"
)

// Vocabularies that their vendor has published. A row names the one its model
// counts with, as OpenAI's own library, tiktoken 0.14.0, maps models to them.
const (
	tokenizerO200k  = string(tiktoken.O200kBase)  // GPT-4o to GPT-5.6, gpt-oss
	tokenizerCl100k = string(tiktoken.Cl100kBase) // GPT-4, text-embedding-3
)

// tokenizerNames are all that a row can name; its first is OpenAI's.
func tokenizerNames() []string {
	return append([]string{tokenizerO200k, tokenizerCl100k}, slices.Sorted(maps.Keys(vocabularyRules))...)
}

// tokenizer counts tokens as a provider does. It is safe for concurrent use.
//
// Text is counted word by word. A word ends where the vocabulary's own pattern
// splits whatever stands around it (see splits), so the counts of words add up
// to the count of their text, and words that were counted before need not be
// counted again.
type tokenizer struct {
	name string
	// count counts the tokens of one word; false: it may have one for each byte.
	count func(word string) (int64, bool)
	marks []mark
	nfc   bool // the provider may normalise text before it counts
	// betweenMarks says that the vendor's templates have a message of one text
	// between special tokens, so that nothing else is in its first and last word.
	betweenMarks bool
	seed         maphash.Seed
	known        [1 << 14]atomic.Pointer[countedWord] // by hash; the newest word stays
}

type countedWord struct {
	text   string
	tokens int64
}

const (
	// longWord is where a word counts one token a byte: the pattern takes time
	// in the square of a word's length. Prose, code and JSON have none so long.
	longWord = 128
	// keptWord is the longest word that is remembered.
	keptWord = 32
)

// effort is what looking at a word takes, in bytes of short words.
func effort(size int) int {
	if size > keptWord {
		return 4 * size
	}
	return size
}

// readBound takes over how a spec says that input is bounded.
func (r *rules) readBound(s spec) error {
	if s.tokenizer != nil {
		r.tokenizer = *s.tokenizer
	}
	if v := vocabularyRules[r.tokenizer]; v != nil && v.nfc {
		r.nfkc = true // by bytes, too
	}
	if s.inputBound != nil {
		r.inputBound = *s.inputBound
	}
	if r.inputBound == InputBoundTokenizer && r.tokenizer == "" {
		return lineError(s.node, "model %s has input_bound tokenizer, and no public tokenizer of it is known; leave it out, or add tokenizer: %s if its vendor says so", s.slug, tokenizerO200k)
	}
	return nil
}

// counts reports whether input is counted with the model's tokenizer.
func (r *rules) counts(u *Upstream) bool {
	return r.tokenizer != "" && cmp.Or(r.inputBound, u.InputBound) == InputBoundTokenizer
}

// loadTokenizers loads the vocabularies that some model is counted with. One
// takes some 6 MiB of memory, so the others stay out of it.
func (c *Catalog) loadTokenizers() error {
	for slug, e := range c.names.slugs {
		provider, _, _ := strings.Cut(slug, "/")
		up, configured := c.providers[provider]
		for _, row := range e.rows {
			name := row.rules.tokenizer
			if !configured || !row.rules.counts(&up.Upstream) || c.tokenizers[name] != nil {
				continue
			}
			t, err := newTokenizer(name)
			if err != nil {
				return fmt.Errorf("load the tokenizer of %s: %w", slug, err)
			}
			if c.tokenizers == nil {
				c.tokenizers = make(map[string]*tokenizer)
			}
			c.tokenizers[name] = t
		}
	}
	return nil
}

// newTokenizer loads a vocabulary; the error is for an unknown name.
func newTokenizer(name string) (*tokenizer, error) {
	t := &tokenizer{name: name, marks: openAIMarks, seed: maphash.MakeSeed()}
	if load := vocabularies[name]; load != nil {
		v, err := load()
		if err != nil {
			return nil, err
		}
		t.count, t.marks, t.nfc = v.count, v.rule.marks, v.rule.nfc
		return t, nil
	}
	codec, err := tiktoken.Get(tiktoken.Encoding(name))
	if err != nil {
		return nil, err
	}
	t.betweenMarks = true
	t.count = func(word string) (int64, bool) { return countWith(codec, word) }
	return t, nil
}

// countWith counts a word with the library. Where the tokens are not the whole word
// they are no count: version 0.10.0 leaves out U+007F.
func countWith(codec tiktoken.Codec, word string) (int64, bool) {
	_, tokens, err := codec.Encode(word)
	covered := 0
	for _, text := range tokens {
		covered += len(text)
	}
	return int64(len(tokens)), err == nil && covered == len(word)
}

// bytes is how many tokens text has at most: one a byte. What a provider normalises
// can have more bytes than were sent. Words end where nothing composes over their
// end, so they add up.
func (t *tokenizer) bytes(text []byte) int64 {
	size := int64(len(text))
	if t.nfc && !norm.NFC.IsNormal(text) {
		size = max(size, int64(len(norm.NFC.Bytes(text))))
	}
	return size
}

// most bounds the tokens of text. Alone, the provider counts text by itself.
// Else it may stand in front of or behind other text, which can change how its
// first and last word are split: they count one token a byte. So does all that
// is left once room, an effort which most lowers, is used up.
func (t *tokenizer) most(text []byte, alone bool, room *int) int64 {
	var sum int64
	special, behind := t.nextSpecial(text, 0)
	for at := 0; at < len(text); {
		end := wordEnd(text, at)
		if special < end { // and so are all the words that it reaches into
			if behind > end {
				end = wordEnd(text, behind-1)
			}
			if *room -= effort(end - at); *room < 0 {
				return sum + t.bytes(text[at:])
			}
			sum += t.bytes(text[at:end])
			at = end
			special, behind = t.nextSpecial(text, at)
			continue
		}
		if *room -= effort(end - at); *room < 0 {
			return sum + t.bytes(text[at:])
		}
		word := text[at:end]
		if !alone && (at == 0 || end == len(text)) {
			sum += t.bytes(word)
		} else {
			sum += t.word(word, end == len(text))
		}
		at = end
	}
	return sum
}

// longSpecial is longer than any special token of the vocabularies.
const longSpecial = 64

// nextSpecial finds what may spell a special token from an offset on: at and
// behind it, and behind all that may start within it. It is one token, which splits
// its text, or ordinary text: either way the words it reaches into have at most a
// token a byte, and the others what they have anywhere.
func (t *tokenizer) nextSpecial(text []byte, from int) (at, behind int) {
	at, behind = len(text), 0
	for i := from; i < max(behind, at); i++ {
		if c := text[i]; c != '<' && c != '[' && c != "｜"[0] {
			continue
		}
		for _, m := range t.marks {
			if n := m.size(text[i:min(i+longSpecial, len(text))]); n > 0 {
				at, behind = min(at, i), max(behind, i+n)
			}
		}
	}
	return at, max(behind, at)
}

// size is the length of the special token that a text may start with; 0: none.
func (m *mark) size(text []byte) int {
	if len(text) < len(m.open) || string(text[:len(m.open)]) != m.open {
		return 0
	}
	if m.end == "" {
		return len(m.open)
	}
	near := text
	if blank := bytes.IndexAny(near, " \t\r\n"); blank >= 0 {
		near = near[:blank]
	}
	if n := bytes.Index(near, []byte(m.end)); n > 0 {
		return n + len(m.end)
	}
	return 0
}

// word counts the tokens of one word; last is the end of all text there is.
func (t *tokenizer) word(word []byte, last bool) int64 {
	if len(word) > longWord || last && endsBlank(word) {
		return t.bytes(word)
	}
	slot := &t.known[maphash.Bytes(t.seed, word)%uint64(len(t.known))]
	if w := slot.Load(); w != nil && w.text == string(word) {
		return w.tokens
	}
	n := t.encode(word)
	if len(word) <= keptWord {
		slot.Store(&countedWord{string(word), n})
	}
	return n
}

// encode counts one word: by its bytes where it is nothing that all versions of the
// vocabulary's libraries agree about.
func (t *tokenizer) encode(word []byte) int64 {
	if newCharacters(word) || t.nfc && !norm.NFC.IsNormal(word) {
		return t.bytes(word)
	}
	if n, ok := t.count(string(word)); ok {
		return n
	}
	return t.bytes(word)
}

// endsBlank reports white space at the end, where versions of a vocabulary's
// pattern differ.
func endsBlank(word []byte) bool {
	r, _ := utf8.DecodeLastRune(word)
	return classOf(r) >= classBlank
}

// settled are the characters of Unicode 12, of 2019: every library that counts has
// these or more.
var settled = rangetable.Assigned("12.0.0")

// newCharacters reports characters that a provider's version of Unicode may
// class in another way than ours: younger ones, and those that a pattern may fold to
// an ASCII letter.
func newCharacters(word []byte) bool {
	for i := 0; i < len(word); {
		if word[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(word[i:])
		if r == 'ſ' || r == '\u212a' || !unicode.Is(settled, r) {
			return true
		}
		i += n
	}
	return false
}

// class is what the split rules know of a character.
type class uint8

const (
	classOther      class = iota // none of the others, perhaps a mark; no white space
	classLetter                  // a letter in every version of Unicode
	classDigit                   // 0-9
	classApostrophe              // may begin a suffix of a word, as in it's
	classPunct                   // neither letter, digit, mark nor white space
	classBlank                   // the space
	classSpace                   // any other white space
)

func classOf(r rune) class {
	switch {
	case r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
		return classLetter
	case r >= '0' && r <= '9':
		return classDigit
	case r == ' ':
		return classBlank
	case r == '\'':
		return classApostrophe
	case r == 0x180e || unicode.IsSpace(r): // U+180E was a space once
		return classSpace
	case r < utf8.RuneSelf, r >= '\u3001' && r <= '\u3003', r >= '\u3008' && r <= '\u3011', r >= '\uff01' && r <= '\uff0f', r >= '\uff1a' && r <= '\uff20', r >= '\u2010' && r <= '\u2027':
		return classPunct
	case r >= 0xc0 && r < 0x250, r >= 0x386 && r < 0x3d0, r >= 0x400 && r < 0x460, r >= 0x5d0 && r < 0x5eb, r >= 0x621 && r < 0x64b,
		r >= 0x3041 && r < 0x3097, r >= 0x30a1 && r < 0x30fb, r >= 0x4e00 && r < 0x9fa6, r >= 0xac00 && r < 0xd7a4:
		if unicode.IsLetter(r) {
			return classLetter
		}
	}
	return classOther
}

// splits reports whether every vocabulary's pattern starts a new piece between
// two characters, whatever stands around them. No piece has a space inside,
// but for runs of white space; pieces of letters hold nothing else behind a
// first character but a suffix that starts with an apostrophe, and marks;
// pieces of digits hold only digits.
func splits(a, b class) bool {
	switch {
	case a >= classBlank:
		return false
	case b == classBlank:
		return true
	case a == classLetter:
		return b == classDigit || b == classPunct || b == classSpace
	case a == classDigit:
		return b != classDigit && b != classOther
	}
	return false
}

// wordEnd is where the word ends that starts at an offset.
func wordEnd(text []byte, at int) int {
	r, n := utf8.DecodeRune(text[at:])
	a := classOf(r)
	for at += n; at < len(text); at += n {
		r, n = rune(text[at]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(text[at:])
		}
		b := classOf(r)
		if splits(a, b) {
			return at
		}
		a = b
	}
	return len(text)
}
