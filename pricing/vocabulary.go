package pricing

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"math"
	"sync"

	"github.com/dlclark/regexp2/v2"
)

// Vocabularies that their vendors have published as files, beside those that a
// library has; vocabularies/README.md has where each comes from.
const (
	tokenizerDeepSeekV4 = "deepseek-v4"
	tokenizerQwen2      = "qwen2"  // Qwen2 to Qwen3
	tokenizerTekken     = "tekken" // Mistral's since NeMo
)

//go:embed vocabularies/*.gz
var vocabularyFiles embed.FS

// vocabularyRule is what a vendor has published beside the merges of its
// vocabulary.
type vocabularyRule struct {
	// patterns split a text into pieces: each splits what the one before has
	// matched and what it has left, piece by piece.
	patterns []string
	nfc      bool // text is normalised first
	marks    []mark
}

// mark is a way in which special tokens are spelled: how they start, and how they
// end if there are several of the kind.
type mark struct{ open, end string }

var openAIMarks = []mark{{"<|", "|>"}}

// The patterns are what the vendors' files have, with escapes that mean the same
// to this library: sources are in vocabularies/README.md.
var vocabularyRules = map[string]*vocabularyRule{
	tokenizerDeepSeekV4: {
		patterns: []string{
			`\p{N}{1,3}`,
			`[一-龥\u3040-ゟ゠-ヿ]+`,
			`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
		},
		marks: []mark{{"<|", "|>"}, {"<｜", "｜>"}, {"<｜", ">｜"}, {"｜DSML｜", ""}, {"<think>", ""}, {"</think>", ""}, {"<dsml:", ""}, {"</dsml:", ""}},
	},
	tokenizerQwen2: {
		patterns: []string{`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`},
		nfc:      true,
		marks:    []mark{{"<|", "|>"}, {"<tool_call>", ""}, {"</tool_call>", ""}, {"<tool_response>", ""}, {"</tool_response>", ""}, {"<think>", ""}, {"</think>", ""}},
	},
	tokenizerTekken: {
		patterns: []string{`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`},
		marks: []mark{
			{"<unk>", ""}, {"<s>", ""}, {"</s>", ""}, {"<pad>", ""}, {"<SPECIAL_", ">"},
			{"[INST]", ""}, {"[/INST]", ""}, {"[AVAILABLE_TOOLS]", ""}, {"[/AVAILABLE_TOOLS]", ""}, {"[TOOL_RESULTS]", ""}, {"[/TOOL_RESULTS]", ""},
			{"[TOOL_CALLS]", ""}, {"[TOOL_CONTENT]", ""}, {"[ARGS]", ""}, {"[CALL_ID]", ""}, {"[SYSTEM_PROMPT]", ""}, {"[/SYSTEM_PROMPT]", ""},
			{"[MODEL_SETTINGS]", ""}, {"[/MODEL_SETTINGS]", ""}, {"[THINK]", ""}, {"[/THINK]", ""}, {"[PREFIX]", ""}, {"[MIDDLE]", ""}, {"[SUFFIX]", ""},
			{"[IMG]", ""}, {"[IMG_BREAK]", ""}, {"[IMG_END]", ""}, {"[AUDIO]", ""}, {"[BEGIN_AUDIO]", ""}, {"[TRANSCRIBE]", ""},
			{"[STREAMING_PAD]", ""}, {"[STREAMING_WORD]", ""}, {"[NEXT_AUDIO_TEXT]", ""}, {"[REPEAT_AUDIO_TEXT]", ""},
		},
	},
}

// vocabulary is a byte-level BPE. It is never changed.
type vocabulary struct {
	rule     *vocabularyRule
	patterns []*regexp2.Regexp
	// joined has what the listed pairs of tokens merge to. Tokens are the 256 bytes
	// and then what is merged, by rank. tiktoken merges any two tokens whose text is
	// a token, which is the same: alone, every token's text is merged to it by listed
	// pairs, through one pair at last, and it is merged in the same order wherever it
	// stands, until something merges over its ends. So no other two of it are ever
	// neighbours.
	joined map[uint64]uint32
}

func pairOf(left, right uint32) uint64 { return uint64(left)<<32 | uint64(right) }

// vocabularies are loaded once, when a catalog counts with them.
var vocabularies = func() map[string]func() (*vocabulary, error) {
	all := make(map[string]func() (*vocabulary, error))
	for name, rule := range vocabularyRules {
		all[name] = sync.OnceValues(func() (*vocabulary, error) { return loadVocabulary(name, rule) })
	}
	return all
}()

func loadVocabulary(name string, rule *vocabularyRule) (*vocabulary, error) {
	merges, err := readMerges(name)
	if err != nil {
		return nil, err
	}
	v := &vocabulary{rule: rule, joined: make(map[uint64]uint32, len(merges))}
	for _, p := range rule.patterns {
		re, err := regexp2.Compile(p, regexp2.None)
		if err != nil {
			return nil, fmt.Errorf("pattern of %s: %w", name, err)
		}
		v.patterns = append(v.patterns, re)
	}
	for i, m := range merges {
		v.joined[pairOf(m[0], m[1])] = uint32(256 + i)
	}
	return v, nil
}

// readMerges reads a file of vocabularies: the two tokens of each merge, by rank,
// as six planes of bytes.
func readMerges(name string) ([][2]uint32, error) {
	data, err := vocabularyFiles.ReadFile("vocabularies/" + name + ".gz")
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	planes, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	n := len(planes) / 6
	merges := make([][2]uint32, n)
	for i := range merges {
		for side := range 2 {
			at := 3*side*n + i
			merges[i][side] = uint32(planes[at])<<16 | uint32(planes[at+n])<<8 | uint32(planes[at+2*n])
		}
	}
	return merges, nil
}

// count is how many tokens a word has, of no more than longWord bytes.
func (v *vocabulary) count(word string) (tokens int64, ok bool) {
	var n int
	if ok = v.pieces([]rune(word), v.patterns, func(piece []rune) { n += v.merge(string(piece)) }); !ok {
		return 0, false
	}
	return int64(n), true
}

// pieces calls piece with those that the patterns split a text into; false: a
// pattern could not be matched.
func (v *vocabulary) pieces(text []rune, patterns []*regexp2.Regexp, piece func([]rune)) bool {
	if len(text) == 0 {
		return true
	}
	if len(patterns) == 0 {
		piece(text)
		return true
	}
	at := 0
	m, err := patterns[0].FindRunesMatch(text)
	for ; m != nil && err == nil; m, err = patterns[0].FindNextMatch(m) {
		end := m.RuneIndex + m.RuneLength
		if !v.pieces(text[at:m.RuneIndex], patterns[1:], piece) || !v.pieces(text[m.RuneIndex:end], patterns[1:], piece) {
			return false
		}
		at = end
	}
	return err == nil && v.pieces(text[at:], patterns[1:], piece)
}

// merge counts the tokens of a piece, which is not empty: of all neighbours that
// merge, the two whose token has the lowest rank do, the first of equals, until none
// does. It takes time in the square of a piece, which is part of a word.
func (v *vocabulary) merge(piece string) int {
	type part struct{ token, next uint32 } // what it and its neighbour merge to
	var storage [longWord]part
	parts := storage[:0]
	for i := range len(piece) {
		parts = append(parts, part{token: uint32(piece[i])})
	}
	join := func(i int) {
		parts[i].next = math.MaxUint32
		if i+1 < len(parts) {
			if t, ok := v.joined[pairOf(parts[i].token, parts[i+1].token)]; ok {
				parts[i].next = t
			}
		}
	}
	for i := range parts {
		join(i)
	}
	for {
		best := 0
		for i := range parts {
			if parts[i].next < parts[best].next {
				best = i
			}
		}
		if parts[best].next == math.MaxUint32 {
			return len(parts)
		}
		parts[best].token = parts[best].next
		parts = append(parts[:best+1], parts[best+2:]...)
		join(best)
		if best > 0 {
			join(best - 1)
		}
	}
}
