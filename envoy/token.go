package envoy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
)

// Token identifies a reservation to whoever reads the access log, and carries
// what settling it needs, so that a log entry is enough even after a crash that
// lost the reservation itself. It holds no secret, but a client must not be
// able to make one: hence the seal. Clients never see it either.
type Token struct {
	ID         uint64
	Accounts   []int64 // the ledger's accounts that hold the bound
	Bound      int64   // nano-USD
	ReservedAt int64   // Unix nanoseconds
	KeyID      string
	Tag        string
	Model      string
	Provider   string
	Pin        string // opaque to us: prices and rules the call is settled with
}

// KeySize is the size of a sealing key in bytes.
const KeySize = 32

// ErrToken is returned for every text that is not a token sealed with the key;
// it does not say why, for a forger has no use for the difference either.
var ErrToken = errors.New("not a valid reservation token")

const (
	tokenVersion = 1
	macSize      = 16 // HMAC-SHA256, truncated
	maxTokenText = 16 << 10
	maxAccounts  = 4096
)

// Sealer makes and checks token texts. It is safe for concurrent use.
type Sealer struct {
	macs sync.Pool // of *sealState
}

type sealState struct {
	mac  hash.Hash
	sum  [sha256.Size]byte
	buf  []byte
	text []byte
}

// NewSealer uses key, which must have KeySize bytes and is not retained.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != KeySize {
		return nil, errors.New("token key: want 32 bytes")
	}
	k := [KeySize]byte(key)
	s := &Sealer{}
	s.macs.New = func() any { return &sealState{mac: hmac.New(sha256.New, k[:])} }
	return s, nil
}

func (st *sealState) tag(payload []byte) []byte {
	st.mac.Reset()
	st.mac.Write(payload)
	return st.mac.Sum(st.sum[:0])[:macSize]
}

// Seal is the token's text: base64url of a version byte, the fields and a MAC.
func (s *Sealer) Seal(t Token) string {
	st := s.macs.Get().(*sealState)
	b := appendToken(st.buf[:0], &t)
	b = append(b, st.tag(b)...)
	st.buf = b
	st.text = base64.RawURLEncoding.AppendEncode(st.text[:0], b)
	text := string(st.text)
	s.macs.Put(st)
	return text
}

// Open checks and decodes a token's text. Its only error is ErrToken.
func (s *Sealer) Open(text string) (Token, error) {
	if len(text) > maxTokenText {
		return Token{}, ErrToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) <= macSize {
		return Token{}, ErrToken
	}
	payload, mac := raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	st := s.macs.Get().(*sealState)
	ok := hmac.Equal(st.tag(payload), mac)
	s.macs.Put(st)
	if !ok {
		return Token{}, ErrToken
	}
	return readToken(payload)
}

func appendToken(b []byte, t *Token) []byte {
	b = append(b, tokenVersion)
	b = binary.AppendUvarint(b, t.ID)
	b = binary.AppendUvarint(b, uint64(len(t.Accounts)))
	for _, a := range t.Accounts {
		b = binary.AppendVarint(b, a)
	}
	b = binary.AppendVarint(b, t.Bound)
	b = binary.AppendVarint(b, t.ReservedAt)
	for _, s := range [...]string{t.KeyID, t.Tag, t.Model, t.Provider, t.Pin} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func readToken(b []byte) (Token, error) {
	if b[0] != tokenVersion {
		return Token{}, ErrToken
	}
	r := tokenReader{b: b[1:]}
	t := Token{ID: r.uvarint()}
	if n := r.uvarint(); n > maxAccounts {
		return Token{}, ErrToken
	} else if n > 0 {
		t.Accounts = make([]int64, n)
	}
	for i := range t.Accounts {
		t.Accounts[i] = r.varint()
	}
	t.Bound, t.ReservedAt = r.varint(), r.varint()
	for _, s := range [...]*string{&t.KeyID, &t.Tag, &t.Model, &t.Provider, &t.Pin} {
		*s = r.text()
	}
	if r.bad || len(r.b) != 0 {
		return Token{}, ErrToken
	}
	return t, nil
}

// tokenReader consumes a payload; after any defect bad is set, and what is read
// means nothing.
type tokenReader struct {
	b   []byte
	bad bool
}

func (r *tokenReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return v * r.advance(n)
}

func (r *tokenReader) varint() int64 {
	v, n := binary.Varint(r.b)
	return v * int64(r.advance(n))
}

// advance skips n bytes and returns 1, or 0 after a defect.
func (r *tokenReader) advance(n int) uint64 {
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return 1
}

func (r *tokenReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad = true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
