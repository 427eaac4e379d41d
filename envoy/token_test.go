package envoy_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"aigateway/envoy"
	_ "aigateway/internal/rapidtest"
)

func sealer(t testing.TB, fill byte) *envoy.Sealer {
	t.Helper()
	s, err := envoy.NewSealer(bytes.Repeat([]byte{fill}, envoy.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func genToken(t *rapid.T) envoy.Token {
	return envoy.Token{
		ID: rapid.Uint64().Draw(t, "id"), Accounts: rapid.SliceOfN(rapid.Int64(), 1, 9).Draw(t, "accounts"),
		Bound: rapid.Int64().Draw(t, "bound"), ReservedAt: rapid.Int64().Draw(t, "at"), KeyID: rapid.String().Draw(t, "key"),
		Tag: rapid.String().Draw(t, "tag"), Model: rapid.String().Draw(t, "model"), Provider: rapid.String().Draw(t, "provider"),
		Pin: rapid.String().Draw(t, "pin"),
	}
}

func TestTokenRoundTrip(t *testing.T) {
	s, other := sealer(t, 1), sealer(t, 2)
	rapid.Check(t, func(rt *rapid.T) {
		want := genToken(rt)
		text := s.Seal(want)
		got, err := s.Open(text)
		if err != nil {
			rt.Fatalf("Open(Seal(%+v)): %v", want, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("(-want +got):\n%s", diff)
		}
		if _, err := other.Open(text); !errors.Is(err, envoy.ErrToken) {
			rt.Fatalf("another key opened it: %v", err)
		}
	})
}

func TestTokenEveryChangedCharacterIsRefused(t *testing.T) {
	s := sealer(t, 1)
	text := s.Seal(envoy.Token{ID: 7, Accounts: []int64{1}, Bound: 5, KeyID: "k", Pin: "p"})
	for i := range text {
		for _, c := range "AB_-9=\n" {
			if changed := text[:i] + string(c) + text[i+1:]; changed != text {
				if _, err := s.Open(changed); !errors.Is(err, envoy.ErrToken) {
					t.Fatalf("Open(%q): %v, want ErrToken", changed, err)
				}
			}
		}
	}
	for _, bad := range []string{"", "A", text + "A", text[:len(text)-1], text + "=", " " + text, strings.Repeat("A", 1<<20)} {
		if _, err := s.Open(bad); !errors.Is(err, envoy.ErrToken) {
			t.Errorf("Open(%.40q): %v, want ErrToken", bad, err)
		}
	}
}

func TestNewSealerWantsAWholeKey(t *testing.T) {
	for _, n := range []int{0, 16, 31, 33} {
		if _, err := envoy.NewSealer(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was accepted", n)
		}
	}
}

func TestSealerConcurrently(t *testing.T) {
	s := sealer(t, 1)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				want := envoy.Token{ID: uint64(i*1000 + n), Pin: strings.Repeat("p", n)}
				got, err := s.Open(s.Seal(want))
				if err != nil || got.ID != want.ID || got.Pin != want.Pin {
					t.Errorf("got %+v, %v; want %+v", got, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A defect anywhere is one, also where what follows can be read.
func TestTokenDefects(t *testing.T) {
	s := sealer(t, 1)
	const whole = "\x01\x07\x01\x02\x04\x06\x01k\x01t\x01m\x01p\x01x"
	if tok, err := s.Open(envoy.SealRaw(s, []byte(whole))); err != nil || tok.Accounts[0] != 1 || tok.Pin != "x" {
		t.Fatalf("%+v, %v", tok, err)
	}
	for name, payload := range map[string]string{
		"another version":                "\x02" + whole[1:],
		"an id without end":              "\x01" + strings.Repeat("\xff", 11) + whole[2:],
		"too many accounts":              "\x01\x07\x81\x20",
		"more accounts than there are":   "\x01\x07\x02\x02\x04\x06",
		"a key longer than what is left": "\x01\x07\x01\x02\x04\x06\x7f\x01t\x01m\x01p\x01x",
		"a pin longer than what is left": whole[:len(whole)-2] + "\x02x",
		"more behind it":                 whole + "x",
	} {
		if tok, err := s.Open(envoy.SealRaw(s, []byte(payload))); !errors.Is(err, envoy.ErrToken) {
			t.Errorf("%s: %+v, %v", name, tok, err)
		}
	}
}

// A token costs its text and no more memory: every call seals one.
func TestSealKeepsItsMemory(t *testing.T) {
	if raceDetector {
		t.Skip("with it, pools forget")
	}
	s := sealer(t, 1)
	tok := envoy.Token{ID: 1 << 40, Accounts: []int64{3, 9}, Pin: strings.Repeat("p", 2000)}
	if n := testing.AllocsPerRun(100, func() { s.Seal(tok) }); n > 2 { // its copy, and the text
		t.Errorf("%.0f allocations to seal", n)
	}
	text := s.Seal(envoy.Token{ID: 1})
	if n := testing.AllocsPerRun(100, func() { _, _ = s.Open(text) }); n > 2 { // its bytes
		t.Errorf("%.0f allocations to open", n)
	}
}

// FuzzTokenPayload opens arbitrary payloads under a correct MAC, so that the
// reader behind the MAC is exercised too.
func FuzzTokenPayload(f *testing.F) {
	s := sealer(f, 3)
	f.Add([]byte(s.Seal(envoy.Token{ID: 1, Accounts: []int64{-1, 2}, Tag: "a/b"})))
	f.Add([]byte("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tok, err := s.Open(string(b)); err == nil {
			if text := s.Seal(tok); text != string(b) {
				t.Fatalf("Open accepted %q, which Seal writes as %q", b, text)
			}
		}
		tok, err := s.Open(envoy.SealRaw(s, b))
		if err != nil {
			return
		}
		again, err := s.Open(s.Seal(tok))
		if err != nil {
			t.Fatalf("a decoded token does not survive sealing: %v", err)
		}
		if diff := cmp.Diff(tok, again); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	})
}

func TestTokenIsURLSafeText(t *testing.T) {
	text := sealer(t, 1).Seal(envoy.Token{Tag: "überall\x00\"", Pin: strings.Repeat("x", 200)})
	if _, err := base64.RawURLEncoding.DecodeString(text); err != nil {
		t.Error(err)
	}
}

func BenchmarkSeal(b *testing.B) {
	s := sealer(b, 1)
	tok := envoy.Token{ID: 1 << 40, Accounts: []int64{3, 9}, Bound: 322500000, ReservedAt: 1795491834000000000,
		KeyID: "key_1", Tag: "team/a/summarize", Model: "moonshot/kimi-k2.6", Provider: "moonshot", Pin: strings.Repeat("p", 120)}
	b.ReportAllocs()
	for b.Loop() {
		s.Seal(tok)
	}
}

func BenchmarkOpen(b *testing.B) {
	s := sealer(b, 1)
	text := s.Seal(envoy.Token{ID: 1 << 40, Accounts: []int64{3, 9}, Bound: 322500000, ReservedAt: 1795491834000000000,
		KeyID: "key_1", Tag: "team/a/summarize", Model: "moonshot/kimi-k2.6", Provider: "moonshot", Pin: strings.Repeat("p", 120)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Open(text); err != nil {
			b.Fatal(err)
		}
	}
}
