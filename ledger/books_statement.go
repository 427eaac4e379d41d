package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aigateway/budget"
)

// statementKeyFile holds the seed of the Ed25519 key that signs statements.
const statementKeyFile = "statement.key"

// statementFormat is what a statement says it is.
const statementFormat = "aigateway statement 1"

// Statement is what one tag cost in one month. Amounts are exact decimal US
// dollars. Times are RFC 3339.
type Statement struct {
	Format   string `json:"format"`
	Ledger   string `json:"ledger"` // the instance
	Tag      string `json:"tag"`
	Month    string `json:"month"` // YYYY-MM
	TimeZone string `json:"time_zone"`
	From     string `json:"from"`
	To       string `json:"to"` // exclusive
	// Complete is whether the month was over and no call of it was running.
	Complete bool   `json:"complete"`
	Created  string `json:"created"`
	// Chain is the head of the hash chain when the statement was made:
	// `aigateway ledger verify --expect` proves that the ledger still has the
	// history it rests on.
	Chain       string                `json:"chain"`
	Lines       []StatementLine       `json:"lines"`
	Adjustments []StatementAdjustment `json:"adjustments"`
	Requests    int64                 `json:"requests"`
	Unpriced    int64                 `json:"unpriced_requests"` // of Requests, without a known cost
	Calls       string                `json:"calls"`             // sum of Lines
	Adjusted    string                `json:"adjusted"`          // sum of Adjustments
	Total       string                `json:"total"`             // Calls and Adjusted
}

// StatementLine sums the calls of one model made with one key.
type StatementLine struct {
	Model      string `json:"model"`
	Provider   string `json:"provider"`
	KeyID      string `json:"key_id"`
	Requests   int64  `json:"requests"`
	Unpriced   int64  `json:"unpriced_requests"`
	Input      int64  `json:"input_tokens"`
	CacheRead  int64  `json:"cache_read_tokens"`
	CacheWrite int64  `json:"cache_write_tokens"`
	Output     int64  `json:"output_tokens"`
	Cost       string `json:"cost"`
}

// StatementAdjustment is a correction of the tag booked in the month.
type StatementAdjustment struct {
	ID     string `json:"id"`
	Time   string `json:"time"`
	Actor  string `json:"actor"`
	Reason string `json:"reason"`
	Amount string `json:"amount"`
}

// signedStatement is the file. The signature covers the bytes of the member
// statement exactly as they are in the file.
type signedStatement struct {
	Statement json.RawMessage `json:"statement"`
	PublicKey string          `json:"public_key"` // base64
	Signature string          `json:"signature"`  // base64
}

// Zone is the Zone of the Config that the ledger was last opened with, UTC if
// none was ever named. A database of before it was kept has none, either.
func (i *Inspector) Zone(ctx context.Context) (*time.Location, error) {
	var name string
	err := i.db.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'zone'`).Scan(&name)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("read the time zone: %w", err)
	}
	return budget.ParseZone("time_zone", name)
}

// Statement makes the signed statement of a tag and a month, whose window the
// caller has computed in zone. It can be made while the gateway runs. The
// signing key is in dir, and made there the first time.
func (i *Inspector) Statement(ctx context.Context, dir string, tag budget.Tag, w budget.Window, now time.Time) ([]byte, error) {
	s := Statement{
		Format: statementFormat, Tag: string(tag), Month: w.Start.Format("2006-01"), TimeZone: w.Start.Location().String(),
		From: w.Start.Format(time.RFC3339), To: w.End.Format(time.RFC3339), Created: now.UTC().Format(time.RFC3339),
		Lines: []StatementLine{}, Adjustments: []StatementAdjustment{},
	}
	if err := i.snapshot(ctx, func(q querier) error { return s.read(ctx, q, w, now) }); err != nil {
		return nil, fmt.Errorf("read statement: %w", err)
	}
	key, err := statementKey(dir)
	if err != nil {
		return nil, err
	}
	body, err := json.MarshalIndent(s, "  ", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode statement: %w", err)
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "{\n  \"statement\": %s,\n  \"public_key\": %q,\n  \"signature\": %q\n}\n", body,
		base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)),
		base64.StdEncoding.EncodeToString(ed25519.Sign(key, signedBytes(body))))
	return out.Bytes(), nil
}

// signedBytes keeps a signature from meaning anything but a statement.
func signedBytes(body []byte) []byte {
	return append([]byte(statementFormat+"\x00"), body...)
}

func (s *Statement) read(ctx context.Context, q querier, w budget.Window, now time.Time) error {
	var calls, adjusted budget.Amount
	first, last := w.Start.UnixNano(), w.End.UnixNano()
	err := each(ctx, q, `SELECT (SELECT value FROM meta WHERE name = 'instance'), link, hash FROM head`, nil, func(r *sql.Rows) error {
		var h Head
		var hash []byte
		err := r.Scan(&s.Ledger, &h.Link, &hash)
		copy(h.Hash[:], hash)
		s.Chain = h.String()
		return err
	})
	if err != nil {
		return err
	}
	if err := exactUsage(ctx, q, w, nil, nil); err != nil {
		return err
	}
	// By bucket, so that other tags' rows are not read: the state is held for a moment.
	err = each(ctx, q, `WITH RECURSIVE b (bucket) AS (SELECT ?2 UNION ALL SELECT bucket + 1 FROM b WHERE bucket + 1 < ?3)
		SELECT model, provider, key_id, sum(requests), sum(unpriced), sum(input), sum(cache_read), sum(cache_write), sum(output), sum(cost)
		FROM b CROSS JOIN usage u ON u.bucket = b.bucket AND u.tag = ?1 AND model <> ?4 GROUP BY model, provider, key_id ORDER BY model, provider, key_id`,
		[]any{s.Tag, first / bucketNanos, last / bucketNanos, budget.AdjustmentModel}, func(r *sql.Rows) error {
			var l StatementLine
			var cost int64
			err := r.Scan(&l.Model, &l.Provider, &l.KeyID, &l.Requests, &l.Unpriced, &l.Input, &l.CacheRead, &l.CacheWrite, &l.Output, &cost)
			l.Cost = budget.Amount(cost).String()
			calls += budget.Amount(cost)
			s.Requests += l.Requests
			s.Unpriced += l.Unpriced
			s.Lines = append(s.Lines, l)
			return err
		})
	if err != nil {
		return err
	}
	err = each(ctx, q, `SELECT `+adjustColumns+` FROM adjust WHERE tag = ? AND at >= ? AND at < ? ORDER BY id`, []any{s.Tag, first, last}, func(r *sql.Rows) error {
		var a adjustment
		err := a.scan(r)
		adjusted += a.Amount
		s.Adjustments = append(s.Adjustments, StatementAdjustment{
			ID: a.ID, Time: a.Time.Format(time.RFC3339Nano), Actor: a.Actor, Reason: a.Reason, Amount: a.Amount.String(),
		})
		return err
	})
	if err != nil {
		return err
	}
	s.Calls, s.Adjusted, s.Total = calls.String(), adjusted.String(), (calls + adjusted).String()
	return each(ctx, q, `SELECT count(*) FROM hold WHERE tag = ? AND reserved_at < ?`, []any{s.Tag, last}, func(r *sql.Rows) error {
		var running int
		err := r.Scan(&running)
		s.Complete = running == 0 && !now.Before(w.End)
		return err
	})
}

// statementKey reads the signing key of dir, or makes it.
func statementKey(dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, statementKeyFile)
	text, err := os.ReadFile(path)
	if err == nil {
		seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
		if err != nil || len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("%s holds no signing key; put the right one back, or remove it to get a new one", path)
		}
		return ed25519.NewKeyFromSeed(seed), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed) // never fails
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write the signing key: %w", err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(seed) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("write the signing key: %w", err)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// VerifyStatement checks a statement by itself: its signature and that its sums
// add up. It returns the fingerprint of the key that signed it, which must be
// compared with the one the gateway's operator published: anybody can sign
// with a key of their own.
func VerifyStatement(text []byte) (*Statement, string, error) {
	var file signedStatement
	if err := strictJSON(text, &file); err != nil {
		return nil, "", fmt.Errorf("the file is no statement: %w", err)
	}
	public, err := base64.StdEncoding.DecodeString(file.PublicKey)
	if err != nil || len(public) != ed25519.PublicKeySize {
		return nil, "", errors.New("the file is no statement: public_key is damaged")
	}
	signature, err := base64.StdEncoding.DecodeString(file.Signature)
	if err != nil || !ed25519.Verify(public, signedBytes(file.Statement), signature) {
		return nil, "", errors.New("the signature does not match: the statement was changed after it was signed")
	}
	var s Statement
	if err := strictJSON(file.Statement, &s); err != nil {
		return nil, "", fmt.Errorf("the statement is of another version: %w", err)
	}
	if err := s.check(); err != nil {
		return nil, "", err
	}
	return &s, fingerprint(public), nil
}

// Fingerprint names a public key: the first 128 bits of its SHA-256.
func fingerprint(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:16])
}

func strictJSON(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if d.More() {
		return errors.New("there is more behind its end")
	}
	return nil
}

// check adds up what the statement sums.
func (s *Statement) check() error {
	if s.Format != statementFormat {
		return fmt.Errorf("the statement says that it is %q; this program reads %q", s.Format, statementFormat)
	}
	var calls, adjusted budget.Amount
	var requests, unpriced int64
	for _, l := range s.Lines {
		a, err := budget.ParseAmount("cost", l.Cost)
		if err != nil {
			return err
		}
		calls += a
		requests += l.Requests
		unpriced += l.Unpriced
	}
	for _, c := range s.Adjustments {
		a, err := budget.ParseAmount("amount", c.Amount)
		if err != nil {
			return err
		}
		adjusted += a
	}
	if calls.String() != s.Calls || adjusted.String() != s.Adjusted || (calls+adjusted).String() != s.Total || requests != s.Requests || unpriced != s.Unpriced {
		return errors.New("the statement's lines do not add up to its totals")
	}
	return nil
}
