package webui

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
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

// Store keeps sessions where several gateways see them. Its errors are *budget.Error.
type Store interface {
	// KeepSession keeps a text under a hash until ends.
	KeepSession(ctx context.Context, hash string, sealed []byte, now, ends time.Time) error
	// Session is that text, and until when; nil: there is none.
	Session(ctx context.Context, hash string) (sealed []byte, ends time.Time, err error)
	// EndSession drops it, and reports whether it was there.
	EndSession(ctx context.Context, hash string) (was bool, err error)
}

const (
	// storeWithin is how long the store may take to say who is signed in.
	storeWithin = 2 * time.Second
	// seenFor is how long its word is good: a session that ended at another gateway
	// ends here by then.
	seenFor = time.Second
)

// sessions are kept by hashes of their ids, each sealed with its id: in memory and in a
// file that outlives a restart, or in a store for several gateways, of whose word memory
// has the last. Who has file or store can neither act as anybody nor read a key: for
// that one needs the browser's cookie.
type sessions struct {
	what  string // they are; an id of one kind is none of another
	most  int    // in memory
	path  string // "": in memory alone
	store Store  // nil: this gateway is alone

	writing sync.Mutex // taken before mu, which nobody holds for a write
	mu      sync.Mutex
	byHash  map[string]sealed
}

// sealed is a session without its id.
type sealed struct {
	Until time.Time `json:"until"`
	Text  []byte    `json:"text"`
	seen  time.Time // when the store said so, or was asked in vain
}

// openSessions reads those of before. A file that cannot be read is none: who was signed
// in signs in again.
func openSessions(path string, store Store) (*sessions, error) {
	s := &sessions{what: "session", most: maxSessions, path: path, store: store, byHash: map[string]sealed{}}
	if store != nil {
		s.path = ""
	}
	if s.path == "" {
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

func hashOf(what, id string) string {
	sum := sha256.Sum256([]byte(what + " of the page: " + id))
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
func (s *sessions) add(ctx context.Context, of session, now, until time.Time) (id string, err error) {
	text, err := json.Marshal(of)
	if err != nil {
		return "", fmt.Errorf("keep the session: %w", err)
	}
	id = rand.Text()
	hash, text := hashOf(s.what, id), sealOf(id).Seal(nil, nil, text, nil)
	if s.store != nil {
		if err := s.store.KeepSession(ctx, hash, text, now, until); err != nil {
			return "", err
		}
	}
	s.put(hash, sealed{until, text, now}, now)
	s.save()
	return id, nil
}

func (s *sessions) put(as string, in sealed, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.byHash[as]; !known {
		makeRoom(s.byHash, s.most, func(have sealed) time.Time { return have.Until }, now)
	}
	s.byHash[as] = in
}

// get is the session of an id, and when it ends. An error is the store's: whether there
// is one is unknown.
func (s *sessions) get(ctx context.Context, id string, now time.Time) (of session, until time.Time, ok bool, err error) {
	if id == "" {
		return session{}, time.Time{}, false, nil
	}
	have, ok, err := s.look(ctx, hashOf(s.what, id), now)
	if err != nil || !ok || !now.Before(have.Until) {
		return session{}, time.Time{}, false, err
	}
	text, err := sealOf(id).Open(nil, nil, have.Text, nil)
	if err != nil || json.Unmarshal(text, &of) != nil {
		return session{}, time.Time{}, false, nil
	}
	return of, have.Until, true, nil
}

// look is what memory has under a hash, and where there is a store its word, that is not
// older than seenFor. While it does not answer, who was signed in here stays so.
func (s *sessions) look(ctx context.Context, hash string, now time.Time) (have sealed, ok bool, err error) {
	s.mu.Lock()
	have, ok = s.byHash[hash]
	s.mu.Unlock()
	if ago := now.Sub(have.seen); s.store == nil || ok && ago >= 0 && ago < seenFor {
		return have, ok, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeWithin)
	defer cancel()
	began := time.Now()
	text, until, err := s.store.Session(ctx, hash)
	switch {
	case err != nil && !ok:
		return sealed{}, false, err
	case err != nil:
		have.seen = now.Add(time.Since(began)) // nobody waits for it again for as long
	case text == nil:
		s.mu.Lock()
		delete(s.byHash, hash)
		s.mu.Unlock()
		return sealed{}, false, nil
	default:
		have = sealed{until, text, now}
	}
	s.put(hash, have, now)
	return have, true, nil
}

// end ends a session, and reports whether there was one. Strangers send ids that are
// none: they cost no write. An error is the store's: other gateways may still know it.
func (s *sessions) end(ctx context.Context, id string) (was bool, err error) {
	if id == "" {
		return false, nil
	}
	hash := hashOf(s.what, id)
	s.mu.Lock()
	_, was = s.byHash[hash]
	delete(s.byHash, hash)
	s.mu.Unlock()
	if s.store != nil {
		if !was {
			text, _, err := s.store.Session(ctx, hash)
			if err != nil || text == nil {
				return false, err
			}
		}
		return s.store.EndSession(ctx, hash)
	}
	if was {
		s.save()
	}
	return was, nil
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

// write replaces the file of a path. It is on the disk on return: a session that ended
// does not come back with the power.
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
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
