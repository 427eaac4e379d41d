package ledger

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"aigateway/budget"
)

// keyEntry is a key and the SHA-256 of its secret. The secret has 130 random
// bits, so a fast hash is enough: there is nothing to guess.
type keyEntry struct {
	budget.Key
	hash [sha256.Size]byte
}

// keyring holds every key in memory. Entries never change once in it.
type keyring struct {
	mu   sync.RWMutex
	byID map[string]*keyEntry
	ids  []string // sorted
}

func (k *keyring) set(entries []keyEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byID = make(map[string]*keyEntry, len(entries))
	for i := range entries {
		e := &entries[i]
		k.byID[e.ID] = e
		k.ids = append(k.ids, e.ID)
	}
	slices.Sort(k.ids)
}

func (k *keyring) add(e *keyEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byID[e.ID] = e
	i, _ := slices.BinarySearch(k.ids, e.ID)
	k.ids = slices.Insert(k.ids, i, e.ID)
}

func (k *keyring) remove(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byID[id] == nil {
		return false
	}
	delete(k.byID, id)
	i, _ := slices.BinarySearch(k.ids, id)
	k.ids = slices.Delete(k.ids, i, i+1)
	return true
}

func (k *keyring) get(id string) *keyEntry {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.byID[id]
}

func (k *keyring) list() []string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return slices.Clone(k.ids)
}

const (
	keyIDPrefix  = "key_"
	keyIDLen     = 16
	keySecretLen = 26
)

// Authenticate returns the key a secret belongs to. It reads memory only and
// takes the same time for a wrong secret as for an unknown key. The result is
// shared: do not change it. The error is KindUnauthenticated with reason
// key_missing, key_invalid or key_expired.
func (l *Ledger) Authenticate(secret string) (*budget.Key, error) {
	if secret == "" {
		return nil, unauthenticated("key_missing", "no API key; send Authorization: Bearer "+budget.KeyPrefix+"…")
	}
	rest, ok := strings.CutPrefix(secret, budget.KeyPrefix)
	if !ok || len(rest) != keyIDLen+1+keySecretLen || rest[keyIDLen] != '-' {
		return nil, unauthenticated("key_invalid", "the API key is not one of this gateway's; they start with "+budget.KeyPrefix)
	}
	var id [len(keyIDPrefix) + keyIDLen]byte
	copy(id[copy(id[:], keyIDPrefix):], rest)
	var text [len(budget.KeyPrefix) + keyIDLen + 1 + keySecretLen]byte
	copy(text[:], secret)
	hash := sha256.Sum256(text[:])
	l.keys.mu.RLock()
	e := l.keys.byID[string(id[:])]
	l.keys.mu.RUnlock()
	var want [sha256.Size]byte
	if e != nil {
		want = e.hash
	}
	if subtle.ConstantTimeCompare(hash[:], want[:]) != 1 || e == nil {
		return nil, unauthenticated("key_invalid", "the API key is not valid; it may have been deleted")
	}
	if !e.ExpireTime.IsZero() && !l.Now().Before(e.ExpireTime) {
		return nil, unauthenticated("key_expired", "the API key expired on "+e.ExpireTime.UTC().Format(time.RFC3339)+"; ask for a new one")
	}
	return &e.Key, nil
}

func unauthenticated(reason, message string) *budget.Error {
	return &budget.Error{Kind: budget.KindUnauthenticated, Reason: reason, Field: "authorization", Message: message}
}

// CreateKey makes a key with k's name, scopes, tags, models and expiry, and
// returns it with its secret, which is shown once and not stored. It is
// durable on return.
func (l *Ledger) CreateKey(ctx context.Context, k budget.Key, by budget.Author) (budget.Key, string, error) {
	if err := by.Check(); err != nil {
		return budget.Key{}, "", err
	}
	if err := k.Check(); err != nil {
		return budget.Key{}, "", err
	}
	k.Scopes, k.AllowedTags, k.AllowedModels = slices.Clone(k.Scopes), slices.Clone(k.AllowedTags), slices.Clone(k.AllowedModels)
	l.admin.Lock()
	defer l.admin.Unlock()
	id := randomText(keyIDLen)
	secret := budget.KeyPrefix + id + "-" + randomText(keySecretLen)
	e := &keyEntry{Key: k, hash: sha256.Sum256([]byte(secret))}
	e.ID, e.CreateTime = keyIDPrefix+id, l.config.Now().UTC()
	st, err := keySQL("INSERT", e)
	if err != nil {
		return budget.Key{}, "", err
	}
	audit := l.audit(by, "create_key", e.ID, map[string]any{"name": e.Name, "scopes": e.Scopes})
	if err := l.edit(ctx, []query{st, audit}, func() { l.keys.add(e) }); err != nil {
		return budget.Key{}, "", err
	}
	return e.Key, secret, nil
}

// keySQL writes e's row; verb is INSERT, or what replaces an older one.
func keySQL(verb string, e *keyEntry) (query, error) {
	lists, err := encodeLists(&e.Key)
	if err != nil {
		return query{}, err
	}
	expires := int64(0)
	if !e.ExpireTime.IsZero() {
		expires = e.ExpireTime.UnixNano()
	}
	return query{sql: verb + ` INTO key (id, hash, name, scopes, allowed_tags, default_tag, allowed_models, create_time, expire_time, default_max_tokens, default_max_tool_calls, max_wait)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		args: []any{e.ID, e.hash[:], e.Name, lists[0], lists[1], string(e.DefaultTag), lists[2], e.CreateTime.UnixNano(), expires, e.DefaultMaxTokens, e.DefaultMaxToolCalls, (*int64)(e.MaxWait)}}, nil
}

func encodeLists(k *budget.Key) (lists [3]string, err error) {
	for i, v := range []any{k.Scopes, k.AllowedTags, k.AllowedModels} {
		b, err := json.Marshal(v)
		if err != nil {
			return lists, fmt.Errorf("encode key: %w", err)
		}
		lists[i] = string(b)
	}
	return lists, nil
}

func (s *store) loadKeys(ctx context.Context) ([]keyEntry, error) {
	var keys []keyEntry
	query := `SELECT id, hash, name, scopes, allowed_tags, default_tag, allowed_models, create_time, expire_time, default_max_tokens, default_max_tool_calls, max_wait FROM key`
	err := s.each(ctx, query, nil, func(r *sql.Rows) error {
		var e keyEntry
		var hash []byte
		var scopes, tags, models string
		var created, expires int64
		var wait *int64
		if err := r.Scan(&e.ID, &hash, &e.Name, &scopes, &tags, (*string)(&e.DefaultTag), &models, &created, &expires, &e.DefaultMaxTokens, &e.DefaultMaxToolCalls, &wait); err != nil {
			return err
		}
		if len(hash) != len(e.hash) {
			return fmt.Errorf("key %s has a damaged hash", e.ID)
		}
		copy(e.hash[:], hash)
		for _, v := range []struct {
			text string
			to   any
		}{{scopes, &e.Scopes}, {tags, &e.AllowedTags}, {models, &e.AllowedModels}} {
			if err := json.Unmarshal([]byte(v.text), v.to); err != nil {
				return fmt.Errorf("key %s: %w", e.ID, err)
			}
		}
		e.MaxWait = (*time.Duration)(wait)
		e.CreateTime = time.Unix(0, created).UTC()
		if expires != 0 {
			e.ExpireTime = time.Unix(0, expires).UTC()
		}
		keys = append(keys, e)
		return nil
	})
	return keys, err
}

// GetKey returns a key; the error is KindNotFound.
func (l *Ledger) GetKey(id string) (budget.Key, error) {
	if e := l.keys.get(id); e != nil {
		return e.Key, nil
	}
	return budget.Key{}, budget.NoKey(id)
}

// ListKeys returns up to limit keys in order of id, after the given one; the
// empty id starts at the front.
func (l *Ledger) ListKeys(after string, limit int) ([]budget.Key, error) {
	l.keys.mu.RLock()
	defer l.keys.mu.RUnlock()
	ids := page(l.keys.ids, after, limit)
	keys := make([]budget.Key, 0, len(ids))
	for _, id := range ids {
		keys = append(keys, l.keys.byID[id].Key)
	}
	return keys, nil
}

// page is up to limit of the sorted ids behind after.
func page(ids []string, after string, limit int) []string {
	i, found := slices.BinarySearch(ids, after)
	if found {
		i++
	}
	return ids[i:min(len(ids), i+max(0, limit))]
}

// DeleteKey revokes a key: at once for new calls, and durable on return.
func (l *Ledger) DeleteKey(ctx context.Context, id string, by budget.Author) error {
	if err := by.Check(); err != nil {
		return err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	if !l.keys.remove(id) {
		return budget.NoKey(id)
	}
	return l.edit(ctx, []query{{sql: `DELETE FROM key WHERE id = ?`, args: []any{id}}, l.audit(by, "delete_key", id, map[string]any{})}, nil)
}
