package envoy_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"

	"aigateway/envoy"
)

// packed is text in gzip.
func packed(t testing.TB, text string) string {
	t.Helper()
	return packedAt(t, text, flate.DefaultCompression)
}

func packedAt(t testing.TB, text string, level int) string {
	t.Helper()
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, level)
	return written(t, text, &out, w, err)
}

func zlibbed(t testing.TB, text string) string {
	t.Helper()
	var out bytes.Buffer
	return written(t, text, &out, zlib.NewWriter(&out), nil)
}

func written(t testing.TB, text string, out *bytes.Buffer, w io.WriteCloser, err error) string {
	t.Helper()
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// inflate is what the script unpacks of pieces, and its error.
func inflate(t *testing.T, pieces []string) (string, error) {
	t.Helper()
	l := newVMWith(t, func(l *lua.LState) {
		if err := l.DoString(envoy.InflateSource + "\nunpacker_of = inflater"); err != nil {
			t.Fatal(err)
		}
	}).l
	var out strings.Builder
	emitted := 0
	emit := l.NewFunction(func(l *lua.LState) int {
		out.WriteString(l.CheckString(1))
		emitted++
		return 0
	})
	defer func() {
		if most := out.Len()/2048 + 8*len(pieces) + 8; emitted > most { // by pieces, and not byte by byte
			t.Errorf("%d bytes came out of %d pieces in %d", out.Len(), len(pieces), emitted)
		}
	}()
	if err := l.CallByParam(lua.P{Fn: l.GetGlobal("unpacker_of"), NRet: 1, Protect: true}, emit); err != nil {
		t.Fatal(err)
	}
	run := l.Get(-1)
	l.Pop(1)
	for _, p := range pieces {
		if err := l.CallByParam(lua.P{Fn: run, NRet: 0, Protect: true}, lua.LString(p)); err != nil {
			return out.String(), err
		}
	}
	return out.String(), nil
}

// TestInflate unpacks every kind of block that Go's compressors write: stored,
// with fixed and with other codes, near and far copies, in pieces cut anywhere.
func TestInflate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 70_000) // stored, in more than one block
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	words := strings.Fields(`{"id": "c", "usage": "tokens" 12 34567 "prompt" : , größer`)
	var text strings.Builder
	for text.Len() < 90_000 {
		text.WriteString(words[r.IntN(len(words))])
	}
	far := string(random[:32768]) + string(random[:300]) // as far back as a copy may reach
	texts := map[string]string{
		"nothing": "", "a byte": "a", "a run": strings.Repeat("a", 5000), "short": `{"usage":{"prompt_tokens":7}}`,
		"random": string(random), "words": text.String(), "far": far,
	}
	for name, text := range texts {
		wrapped := map[string]string{"zlib": zlibbed(t, text), "two members": packed(t, text[:len(text)/2]) + packed(t, text[len(text)/2:])}
		for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.BestCompression, flate.HuffmanOnly} {
			wrapped[string(rune('0'+level))] = packedAt(t, text, level)
		}
		for kind, body := range wrapped {
			for _, size := range []int{1, 1000, len(body)} {
				if got, err := inflate(t, chop(body, size)); err != nil || got != text {
					t.Errorf("%s in %q by %d: %d bytes, want %d: %v", name, kind, size, len(got), len(text), err)
				}
			}
		}
	}
}

// TestInflateHeaders skips what a header of gzip may hold (RFC 1952, 2.3).
func TestInflateHeaders(t *testing.T) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Name, w.Comment, w.Extra = "a name", "a comment", []byte("extra")
	body := written(t, "text", &out, w, nil)
	sum := strings.Replace(body, "a comment\x00", "a comment\x00\x01\x02", 1) // and a check sum of it
	sum = sum[:3] + string(sum[3]|2) + sum[4:]
	for _, body := range []string{body, sum} {
		if got, err := inflate(t, chop(body, 5)); err != nil || got != "text" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestDamagedGzip changes bytes: the script says no or makes something, and never
// fails otherwise; what an answer counts stays what it is without a packed one.
func TestDamagedGzip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	document := `{"id":"c","model":"m","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":` + use + `}`
	v := newVM(t)
	for range 2000 {
		body := []byte(packedAt(t, document, []int{0, 9, flate.HuffmanOnly}[r.IntN(3)]))
		for range 1 + r.IntN(3) {
			body[r.IntN(len(body))] = byte(r.Uint32())
		}
		text := string(body[:r.IntN(len(body)+1)])
		if got := v.respond(jsn, true, chop(text, 1+r.IntN(40))...); got.Body != text {
			t.Fatalf("%q came out as %q", text, got.Body)
		}
	}
}

// TestPackedBombs unpack to far more than came, at once or as they go on: what
// was read until then is told, and that the rest was not.
func TestPackedBombs(t *testing.T) {
	v := newVM(t)
	document := `{"usage":` + use + `,"x":"`
	for name, body := range map[string]string{
		"blanks": packed(t, strings.Repeat(" ", 4<<20)), "a document": packed(t, document+strings.Repeat("a", 4<<20)),
		"over a megabyte": packedAt(t, document+strings.Repeat("a", 1<<20), flate.NoCompression),
	} {
		got := v.respond(jsn, false, chop(body, 16384)...)
		if got.Report["unread"] != true || got.Report["done"] != nil || got.Body != body {
			t.Errorf("%s: %v", name, got.Report)
		}
	}
	// Blocks that hold nothing: each byte of them is two steps, until they are left alone.
	for name, b := range map[string]struct {
		block []byte
		steps int64
	}{"with codes of their own": {emptyBlock(), 80_000}, "with nothing at all": {[]byte{0, 0, 0, 0xff, 0xff}, 2_300_000}} {
		var w worker
		v := newVMWith(t, w.count)
		body := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + strings.Repeat(string(b.block), 2_000_000/len(b.block))
		got := v.respond(jsn, false, chop(body, 16384)...)
		if got.Report["unread"] != true || got.Body != body || w.steps > b.steps {
			t.Errorf("blocks %s: %v after %d steps", name, got.Report, w.steps)
		}
	}
	// What a long answer may be is read.
	var words strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&words, "word %d ", i*7919%1000)
	}
	long := document + words.String() + `"}`
	if got := v.respond(jsn, false, chop(packed(t, long), 1400)...); cmp.Diff(got.Report["usage"], use) != "" || got.Report["done"] != true {
		t.Errorf("a long answer: %v", got.Report)
	}
}

// emptyBlock is a block of deflate that says how bytes are coded and has none,
// several times over so that it ends with a byte.
func emptyBlock() []byte {
	var out []byte
	bits := 0
	put := func(v, n int) {
		for range n {
			if bits%8 == 0 {
				out = append(out, 0)
			}
			out[bits/8] |= byte(v&1) << (bits % 8)
			bits, v = bits+1, v>>1
		}
	}
	for {
		put(0, 1)  // not the last
		put(2, 2)  // codes of its own
		put(0, 5)  // 257 literals
		put(0, 5)  // one distance
		put(14, 4) // lengths of 18 of the lengths' codes: 18 and 1 have one of one bit
		for i := range 18 {
			put(map[int]int{2: 1, 17: 1}[i], 3)
		}
		for _, zeros := range []int{138, 118} {
			put(1, 1)
			put(zeros-11, 7)
		}
		put(0, 1) // the end of a block is 0
		put(0, 1) // and so is a distance
		put(0, 1) // the end of this block
		if bits%8 == 0 {
			return out
		}
	}
}
