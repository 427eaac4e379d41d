package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"aigateway/budget"
)

// adminKeyID is the actor that changes made with the operator's key are
// recorded under.
const adminKeyID = "admin"

// authenticator accepts the operator's key, which exists before the ledger has
// any, and every key of the ledger. It is safe for concurrent use.
type authenticator struct {
	admin  [sha256.Size]byte
	ledger interface {
		Authenticate(secret string) (*budget.Key, error)
	}
}

// Authenticate returns the key that secret belongs to.
func (a authenticator) Authenticate(secret string) (*budget.Key, error) {
	sum := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(sum[:], a.admin[:]) == 1 {
		return &budget.Key{ID: adminKeyID, Name: "operator", Scopes: []budget.Scope{budget.ScopeAdmin}}, nil
	}
	return a.ledger.Authenticate(secret)
}

// loadAdminKey returns the operator's key: the configured one, else the one in
// the data directory, which it makes at the first start. Created reports that.
func loadAdminKey(configured, dataDir string) (key string, created bool, err error) {
	if configured != "" {
		return configured, false, nil
	}
	path := filepath.Join(dataDir, adminKeyFile)
	text, err := os.ReadFile(path)
	if err == nil {
		key = strings.TrimSpace(string(text))
		if !strings.HasPrefix(key, budget.KeyPrefix) || len(key) < len(budget.KeyPrefix)+32 {
			return "", false, fmt.Errorf("%s holds no admin key; delete it to get a new one at the next start", path)
		}
		return key, false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", false, fmt.Errorf("read the admin key: %w", err)
	}
	secret := make([]byte, 32)
	rand.Read(secret) // never fails: crypto/rand ends the process instead
	key = budget.KeyPrefix + "admin-" + base64.RawURLEncoding.EncodeToString(secret)
	// Only the owner may read it; O_EXCL so that two processes cannot both
	// believe theirs was kept.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", false, fmt.Errorf("write the admin key: %w", err)
	}
	_, err = f.WriteString(key + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return "", false, fmt.Errorf("write the admin key: %w", err)
	}
	return key, true, nil
}
