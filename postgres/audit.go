package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// audit adds the row that says who did what, and why. Edits hold the lock of
// aig_state, so rows are one chain.
func audit(ctx context.Context, c *conn, now time.Time, by budget.Author, action, subject string, detail map[string]any) error {
	if by.Reason != "" {
		detail["reason"] = by.Reason
	}
	return addAudits(ctx, c, c, budget.AuditEntry{Time: now, Actor: by.Actor, Action: action, Subject: subject, Detail: marshal(detail)})
}

// addAudits puts entries behind those that c finds, by way of to.
func addAudits(ctx context.Context, c *conn, to sender, log ...budget.AuditEntry) error {
	var id int64
	var hash []byte
	err := c.QueryRow(ctx, `SELECT id, hash FROM aig_audit ORDER BY id DESC LIMIT 1`).Scan(&id, &hash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	for _, e := range log {
		id++
		e.ID = id
		hash = auditHash(hash, e)
		if _, err := to.Exec(ctx, `INSERT INTO aig_audit (id, at, actor, action, subject, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			e.ID, e.Time.UnixNano(), e.Actor, e.Action, e.Subject, e.Detail, hash); err != nil {
			return err
		}
	}
	return nil
}

// auditHash covers the row and, by the hash before it, all older ones: numbers of
// fixed width and texts behind their lengths, so that no two rows read the same.
func auditHash(prev []byte, e budget.AuditEntry) []byte {
	b := append([]byte("aigateway store audit 1\x00"), prev...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.ID))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixNano()))
	for _, s := range []string{e.Actor, e.Action, e.Subject, e.Detail} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// AuditLog returns up to limit changes by administrators, oldest first, with ids
// above after.
func (s *Store) AuditLog(ctx context.Context, after int64, limit int) ([]budget.AuditEntry, error) {
	out := []budget.AuditEntry{}
	err := s.eachAudit(ctx, after, limit, func(e budget.AuditEntry, _ []byte) error { out = append(out, e); return nil })
	return out, err
}

func (s *Store) eachAudit(ctx context.Context, after int64, limit int, f func(e budget.AuditEntry, hash []byte) error) error {
	return s.read(ctx, func(ctx context.Context, c *conn) error {
		return scanAudit(ctx, c, f, `WHERE id > $1 ORDER BY id LIMIT $2`, after, max(0, limit))
	})
}

// readAudit reads the rows that clause selects.
func readAudit(ctx context.Context, c *conn, clause string, args ...any) (out []budget.AuditEntry, err error) {
	err = scanAudit(ctx, c, func(e budget.AuditEntry, _ []byte) error { out = append(out, e); return nil }, clause, args...)
	return out, err
}

func scanAudit(ctx context.Context, c *conn, f func(e budget.AuditEntry, hash []byte) error, clause string, args ...any) error {
	rows, err := c.Query(ctx, `SELECT id, at, actor, action, subject, detail, hash FROM aig_audit `+clause, args...)
	if err != nil {
		return err
	}
	var e budget.AuditEntry
	var at int64
	var hash []byte
	_, err = pgx.ForEachRow(rows, []any{&e.ID, &at, &e.Actor, &e.Action, &e.Subject, &e.Detail, &hash}, func() error {
		e.Time = time.Unix(0, at).UTC()
		return f(e, hash)
	})
	return err
}

// VerifyAudit checks the chain of the audit rows and returns their number and the
// last hash, or an error that names the first row that was changed.
func (s *Store) VerifyAudit(ctx context.Context) (rows int64, head []byte, err error) {
	for {
		before := rows
		err = s.eachAudit(ctx, rows, 1000, func(e budget.AuditEntry, hash []byte) error {
			head = auditHash(head, e)
			if e.ID != rows+1 || string(hash) != string(head) {
				return &budget.Error{Kind: budget.KindInternal, Reason: "audit_changed", Message: fmt.Sprintf("audit row %d of the store, or one before it, was changed or deleted", e.ID)}
			}
			rows = e.ID
			return nil
		})
		if err != nil || rows == before {
			return rows, head, err
		}
	}
}
