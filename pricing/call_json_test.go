package pricing

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"aigateway/internal/agentbody"
)

// step is what two readers must agree on.
type step struct {
	kind   jsontext.Kind
	raw    string
	offset int64
	path   string
	fault  bool
}

// eitherReader is what both readers have in common.
type eitherReader interface {
	PeekKind() jsontext.Kind
	InputOffset() int64
}

// steps reads a document to its end or its first fault. Where walk says so of a
// value in brackets, it goes inside, else it reads it whole.
func steps(s eitherReader, bracket func() error, value func() (string, error), path func() string, walk func(int) bool) []step {
	var all []step
	for depth := 0; ; {
		k := s.PeekKind()
		now := step{kind: k}
		var err error
		switch {
		case (k == '{' || k == '[') && walk(len(all)):
			err = bracket()
			depth++
		case k == '}' || k == ']':
			err = bracket()
			depth--
		default:
			now.raw, err = value()
		}
		if now.fault = err != nil; !now.fault {
			now.offset, now.path = s.InputOffset(), path()
		}
		all = append(all, now)
		if now.fault || depth == 0 {
			return all
		}
	}
}

// theirs are the steps of jsontext, for a document on its own.
type theirs struct {
	walk func(int) bool
	all  []step
}

// UnmarshalJSONFrom is called by the JSON package.
func (t *theirs) UnmarshalJSONFrom(dec *jsontext.Decoder) error {
	t.all = steps(dec, func() error { _, err := dec.ReadToken(); return err },
		func() (string, error) { raw, err := dec.ReadValue(); return string(raw), err },
		func() string { return pointerPath(dec.StackPointer()) }, t.walk)
	if t.all[len(t.all)-1].fault {
		return errors.New("fault")
	}
	return nil
}

func agree(t *testing.T, body []byte, walk func(int) bool) {
	t.Helper()
	r := newReader(body)
	defer r.release()
	ours := steps(r, r.bracket, func() (string, error) { raw, err := r.ReadValue(); return string(raw), err }, r.path, walk)
	whole := !ours[len(ours)-1].fault && r.end()
	want := theirs{walk: walk}
	err := json.Unmarshal(body, &want)
	if whole != (err == nil) {
		t.Fatalf("%.80q is taken: %v; by the library: %v", body, whole, err)
	}
	if err != nil && errors.Is(r.fault(), errFault) {
		t.Fatalf("%.80q has a fault that the library does not name", body)
	}
	if n := growth(body); whole && r.has&foreign == 0 && n > 0 {
		t.Fatalf("%.80q grows by %d, and nothing in it is said to be foreign", body, n)
	}
	for i, s := range ours {
		if i >= len(want.all) { // it did not begin: there is nothing
			break
		}
		if s != want.all[i] {
			t.Fatalf("%.80q, step %d:\n%+v\n%+v of the library", body, i, s, want.all[i])
		}
	}
}

func documents() []string {
	many := func(n int, last string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"name %d":%d,`, i, i)
		}
		return "{" + b.String() + `"` + last + `":0}`
	}
	return []string{
		``, ` `, `{`, `{}`, ` {} `, `[]`, `{} x`, `{}{}`, `}`, `[}`, `{]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[,]`, `[1,]`, `[1 2]`, `{"a" 1}`, `{"a":1 "b":2}`,
		`{1:2}`, `{"a":1,,"b":2}`, `{"a":1;}`, `{"a":[1,{"b":[true,false,null]}],"c":"d"}`, `[tru]`, `[truex]`, `[nul`, `"a"`, `1`, `-`, `[-]`, `[01]`, `[1.]`, `[.5]`, `[1e]`,
		`[1e+]`, `[-0.0e-00]`, `[1E5,2e+3]`, `{"a":1,"a":2}`, `{"a":{"b":1,"b":2}}`, `{"a":1,"\u0061":2}`, `{"\u0061":1,"a":2}`, `[{"a":1},{"a":1}]`, `{"":1,"":2}`, `{"~/":{"a/b":[1]}}`,
		`["\x"]`, `["\u12"]`, `["\u12g4"]`, `["\ud800"]`, `["\ud83d\ude00"]`, `["\ud83d\u0041"]`, `["\ude00"]`, "[\"\x01\"]", "[\"\x1f\"]", "[\"\x7f\"]", "[\"\xff\"]", "[\"é中😀\"]", "[\"\xed\xa0\x80\"]",
		"[\"\xc3\"]", `["`, `["\`, `["\"`, `["abcdefgh"]`, `["abcdefg\"hijklmnop\\"]`, `["1234567\n1234567\"12345678\\"]`, "[\"abcdefghijk\n\"]", "\ufeff{}", "{\"\xff\":1}", "{\"a\xff\":1,\"b\":2}",
		many(31, "name 3"), many(32, "name 31"), many(33, "name 0"), many(33, "name 32"), many(34, "x"), many(100, "name 50"), many(100, "nome 50"),
		strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		string(agentbody.Chat("a/b", 6000, true)), `{"a":tRue}`, `{"a":1}` + "\x00", "{\"a\":1}\n\t\r ", "{\"a\"\f:1}", `{"a":"b"c}`, `nullnull`,
	}
}

func TestReaderAgreesWithTheLibrary(t *testing.T) {
	for _, d := range documents() {
		agree(t, []byte(d), func(int) bool { return false })
		if len(d) > 10_000 {
			continue // so deep that a pointer for each step would take a minute
		}
		agree(t, []byte(d), func(int) bool { return true })
		agree(t, []byte(d), func(i int) bool { return i%3 < 2 })
	}
}

// Agents' bodies with a byte changed, left out or put in, anywhere.
func TestReaderAgreesOnFaultyBodies(t *testing.T) {
	const bytes = "\"\\{}[],:0aue- \n\x00\x1f\x7f\x80\xc3\xed\xff"
	r := rand.New(rand.NewPCG(1, 2))
	body := agentbody.Chat("a/b", 5000, true)
	for range 1000 {
		b := []byte(string(body))
		at := r.IntN(len(b))
		switch r.IntN(3) {
		case 0:
			b[at] = bytes[r.IntN(len(bytes))]
		case 1:
			b = append(b[:at], b[at+1:]...)
		default:
			b = append(b[:at], append([]byte{bytes[r.IntN(len(bytes))]}, b[at:]...)...)
		}
		agree(t, b, func(i int) bool { return i%5 < 4 })
	}
}

// Strings of little else than what ends, escapes and breaks them, at every place in
// the words that are read at once.
func TestReaderAgreesOnDenseStrings(t *testing.T) {
	parts := []string{`"`, `\`, `\\`, `\"`, `\n`, `\/`, `\u0041`, `\u00e9`, `\ud83d\ude00`, `\\ufdfa`, `\u12`, `\x`, "\x1f", " ", "!", "#", "[", "]", "a", "aaaaaaa", "é", "中", "\x80", "\xff", "\xa2", "\xdc"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		b := []byte(`["`)
		for range r.IntN(12) {
			b = append(b, parts[r.IntN(len(parts))]...)
		}
		agree(t, append(b, `"]`...), func(int) bool { return true })
	}
}

func FuzzReader(f *testing.F) {
	for i, d := range documents() {
		if len(d) < 10_000 {
			f.Add([]byte(d), uint64(i))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, inside uint64) {
		agree(t, body, func(i int) bool { return inside>>(i%64)&1 == 0 })
	})
}

// A fault that a parser meets is the library's, offset, pointer and all.
func TestFaultsAreTheLibrarys(t *testing.T) {
	for _, d := range documents() {
		err := json.Unmarshal([]byte(d), &tokens{})
		var ours error
		r := newReader([]byte(d))
		for {
			if _, ours = r.ReadValue(); ours != nil || len(r.open) == 0 {
				break
			}
		}
		if ours != nil || !r.end() {
			ours = r.fault()
		}
		r.release()
		if fmt.Sprint(ours) != fmt.Sprint(err) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%.80q: %v, want %v", d, ours, err)
		}
	}
}

func TestPlainEnd(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		b := []byte(strings.Repeat("a", r.IntN(40)))
		for range r.IntN(3) {
			if len(b) > 0 {
				b[r.IntN(len(b))] = "\\\x80\xff\x7f[]\x00"[r.IntN(7)]
			}
		}
		from := r.IntN(len(b) + 1)
		want := from
		for want < len(b) && b[want] < 0x80 && b[want] != '\\' {
			want++
		}
		if got := plainEnd(b, from); got != want {
			t.Fatalf("plainEnd(%q, %d) = %d, want %d", b, from, got, want)
		}
	}
}
