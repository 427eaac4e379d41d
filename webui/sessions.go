package webui

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"aigateway/budget"
)

// session is what somebody who signed in acts with: the secret of a key, which is asked
// about at each request, or rights that an issuer's word gave by the rules of then.
type session struct {
	Secret string      `json:"secret,omitempty"`
	Person *budget.Key `json:"person,omitempty"`
	Rules  string      `json:"rules,omitempty"` // of Person: Issuer.rules
}

// sessions are kept by hashes of their ids, each sealed with its id, in memory and in a
// file that outlives a restart. Who has the file can neither act as anybody nor read a
// key: for that one needs the browser's cookie.
type sessions struct {
	path string // "": in memory alone

	writing sync.Mutex // taken before mu, which nobody holds for a write
	mu      sync.Mutex
	byHash  map[string]sealed
}

// sealed is a session without its id.
type sealed struct {
	Until time.Time `json:"until"`
	Text  []byte    `json:"text"`
}

// openSessions reads those of before. A file that cannot be read is none: who was signed
// in signs in again.
func openSessions(path string) (*sessions, error) {
	s := &sessions{path: path, byHash: map[string]sealed{}}
	if path == "" {
		return s, nil
	}
	text, err := os.ReadFile(path)
	if err == nil && (json.Unmarshal(text, &s.byHash) != nil || s.byHash == nil) { // null is no error
		s.byHash = map[string]sealed{}
	}
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("webui: sessions: %w", err)
	}
	return s, nil
}

func hashOf(id string) string {
	sum := sha256.Sum256([]byte("session of the page: " + id))
	return hex.EncodeToString(sum[:])
}

// sealOf is the cipher of a session: its id has 130 bits of chance.
func sealOf(id string) cipher.AEAD {
	key := sha256.Sum256([]byte("what the session acts with: " + id))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the length of the key is right
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // as is that of a block
	}
	return aead
}

// add keeps a session until then and returns its id.
func (s *sessions) add(of session, now, until time.Time) (id string, err error) {
	text, err := json.Marshal(of)
	if err != nil {
		return "", fmt.Errorf("keep the session: %w", err)
	}
	id = rand.Text()
	s.put(hashOf(id), sealed{until, sealOf(id).Seal(nil, nil, text, nil)}, now)
	s.save()
	return id, nil
}

func (s *sessions) put(as string, in sealed, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	makeRoom(s.byHash, maxSessions, func(have sealed) time.Time { return have.Until }, now)
	s.byHash[as] = in
}

// get is the session of an id, and when it ends.
func (s *sessions) get(id string, now time.Time) (of session, until time.Time, ok bool) {
	s.mu.Lock()
	have, ok := s.byHash[hashOf(id)]
	s.mu.Unlock()
	if !ok || !now.Before(have.Until) {
		return session{}, time.Time{}, false
	}
	text, err := sealOf(id).Open(nil, nil, have.Text, nil)
	if err != nil || json.Unmarshal(text, &of) != nil {
		return session{}, time.Time{}, false
	}
	return of, have.Until, true
}

// end ends a session. Strangers send ids that are none: they cost no write.
func (s *sessions) end(id string) {
	hash := hashOf(id)
	s.mu.Lock()
	_, ok := s.byHash[hash]
	delete(s.byHash, hash)
	s.mu.Unlock()
	if ok {
		s.save()
	}
}

// save writes the file. Where it cannot, on a full disk, sessions end with the process:
// somebody must be able to sign in and see why, and nobody who signed out may be signed
// in by the file of before.
func (s *sessions) save() {
	if s.path == "" {
		return
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	now := maps.Clone(s.byHash)
	s.mu.Unlock()
	if err := write(s.path, now); err != nil {
		_ = os.Remove(s.path)
	}
}

// write replaces the file of a path.
func write(path string, byHash map[string]sealed) error {
	text, err := json.Marshal(byHash)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
