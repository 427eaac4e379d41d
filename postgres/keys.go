package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// CreateKey makes a key with k's name, scopes, tags, models and expiry, and returns
// it with its secret, which is shown once and not stored.
func (s *Store) CreateKey(ctx context.Context, k budget.Key, by budget.Author) (key budget.Key, secret string, version uint64, err error) {
	if err := by.Check(); err != nil {
		return budget.Key{}, "", 0, err
	}
	if err := k.Check(); err != nil {
		return budget.Key{}, "", 0, err
	}
	id := strings.ToLower(rand.Text()[:16])
	secret = budget.KeyPrefix + id + "-" + strings.ToLower(rand.Text()[:26])
	k.ID = "key_" + id
	version, err = s.edit(ctx, func(ctx context.Context, c *conn, now time.Time) error {
		k.CreateTime = now
		if err := insertKey(ctx, c, budget.SharedKey{Key: k, Hash: sha256.Sum256([]byte(secret))}); err != nil {
			return err
		}
		return audit(ctx, c, now, by, "create_key", k.ID, map[string]any{"name": k.Name, "scopes": k.Scopes})
	})
	if err != nil {
		return budget.Key{}, "", 0, err
	}
	return k, secret, version, nil
}

func insertKey(ctx context.Context, c sender, k budget.SharedKey) error {
	expires := int64(0)
	if !k.ExpireTime.IsZero() {
		expires = k.ExpireTime.UnixNano()
	}
	_, err := c.Exec(ctx, `INSERT INTO aig_key (id, hash, name, scopes, allowed_tags, default_tag, allowed_models, create_time, expire_time, default_max_tokens, default_max_tool_calls, max_wait)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		k.ID, k.Hash[:], k.Name, marshal(k.Scopes), marshal(k.AllowedTags), string(k.DefaultTag), marshal(k.AllowedModels),
		k.CreateTime.UnixNano(), expires, k.DefaultMaxTokens, k.DefaultMaxToolCalls, (*int64)(k.MaxWait))
	return err
}

// DeleteKey revokes a key: refused everywhere once AwaitVersion of version returns.
func (s *Store) DeleteKey(ctx context.Context, id string, by budget.Author) (version uint64, err error) {
	if err := by.Check(); err != nil {
		return 0, err
	}
	return s.edit(ctx, func(ctx context.Context, c *conn, now time.Time) error {
		tag, err := c.Exec(ctx, `DELETE FROM aig_key WHERE id = $1`, id)
		if err == nil && tag.RowsAffected() == 0 {
			err = budget.NoKey(id)
		}
		if err != nil {
			return err
		}
		return audit(ctx, c, now, by, "delete_key", id, map[string]any{})
	})
}

// Key returns a key; the error is KindNotFound.
func (s *Store) Key(ctx context.Context, id string) (k budget.Key, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		found, err := readKeys(ctx, c, `WHERE id = $1`, id)
		if err == nil && len(found) == 0 {
			err = budget.NoKey(id)
		}
		if err == nil {
			k = found[0].Key
		}
		return err
	})
	return k, err
}

// Keys returns up to limit keys in order of id, after the given one.
func (s *Store) Keys(ctx context.Context, after string, limit int) ([]budget.Key, error) {
	out := []budget.Key{}
	err := s.read(ctx, func(ctx context.Context, c *conn) error {
		found, err := readKeys(ctx, c, `WHERE id > $1 ORDER BY id LIMIT $2`, after, max(0, limit))
		for _, k := range found {
			out = append(out, k.Key)
		}
		return err
	})
	return out, err
}

func readKeys(ctx context.Context, c *conn, clause string, args ...any) (out []budget.SharedKey, err error) {
	rows, err := c.Query(ctx, `SELECT id, hash, name, scopes, allowed_tags, default_tag, allowed_models, create_time, expire_time, default_max_tokens, default_max_tool_calls, max_wait
		FROM aig_key `+clause, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (k budget.SharedKey, err error) {
		var hash []byte
		var scopes, tags, models string
		var created, expires int64
		var wait *int64
		if err := row.Scan(&k.ID, &hash, &k.Name, &scopes, &tags, &k.DefaultTag, &models, &created, &expires, &k.DefaultMaxTokens, &k.DefaultMaxToolCalls, &wait); err != nil {
			return k, err
		}
		if len(hash) != len(k.Hash) {
			return k, fmt.Errorf("key %s has a damaged hash", k.ID)
		}
		copy(k.Hash[:], hash)
		for _, v := range []struct {
			text string
			to   any
		}{{scopes, &k.Scopes}, {tags, &k.AllowedTags}, {models, &k.AllowedModels}} {
			if err := json.Unmarshal([]byte(v.text), v.to); err != nil {
				return k, fmt.Errorf("key %s: %w", k.ID, err)
			}
		}
		k.MaxWait, k.CreateTime = (*time.Duration)(wait), time.Unix(0, created).UTC()
		if expires != 0 {
			k.ExpireTime = time.Unix(0, expires).UTC()
		}
		return k, nil
	})
}
