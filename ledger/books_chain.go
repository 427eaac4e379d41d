package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"slices"
)

// digest is a SHA-256.
type digest = [sha256.Size]byte

// chain is where the hash chain stands. One link covers everything that one
// commit booked, so its cost is one hash over some 60 bytes per call and one
// row per commit.
type chain struct {
	commits uint64 // of the journal, ever
	link    uint64 // number of the last link
	hash    digest // of the last link
	audit   digest // of the last audit row
}

// The first byte of an entry.
const (
	entrySettle byte = iota + 1
	entryLate
	entryStray
	entryAdjust
	entryAudit
	entryCheckpoint
)

// entry encodes one booked row without ambiguity: fixed-width numbers and
// texts that are preceded by their lengths.
type entry []byte

func newEntry(buf []byte, kind byte) entry { return append(buf, kind) }

func (e entry) number(n int64) entry { return binary.BigEndian.AppendUint64(e, uint64(n)) }

func (e entry) text(s string) entry {
	return append(binary.AppendUvarint(e, uint64(len(s))), s...)
}

func (e entry) bytes(b []byte) entry {
	return append(binary.AppendUvarint(e, uint64(len(b))), b...)
}

// The entries of settle and stray end with the tag, but for those up to the link
// that meta names tagged_after.

// settleEntry is a row of settle. An expiry is booked without its time,
// because a late correction replaces it in the row.
func settleEntry(buf []byte, kind byte, rid, at int64, status int, basis string, bound, actual int64, accounts []byte) entry {
	return newEntry(buf, kind).number(rid).number(at).number(int64(status)).text(basis).number(bound).number(actual).bytes(accounts)
}

func expiredEntry(buf []byte, rid, bound int64, accounts []byte) entry {
	return settleEntry(buf, entrySettle, rid, 0, statusExpired, "expired", bound, bound, accounts)
}

func strayEntry(buf []byte, requestID string, at int64, basis string, actual int64, accounts []byte) entry {
	return newEntry(buf, entryStray).text(requestID).number(at).text(basis).number(actual).bytes(accounts)
}

func auditEntry(at int64, actor, action, subject, detail string) entry {
	return newEntry(nil, entryAudit).number(at).text(actor).text(action).text(subject).text(detail)
}

func checkpointEntry(no uint64, hash []byte, at int64) entry {
	return newEntry(nil, entryCheckpoint).number(int64(no)).bytes(hash).number(at)
}

// linkPage collects the entries of one link.
type linkPage struct {
	buf  []byte
	ends []int
}

func (p *linkPage) reset() { p.buf, p.ends = p.buf[:0], p.ends[:0] }

// add appends what f encodes behind buf.
func (p *linkPage) add(f func(buf []byte) entry) {
	p.buf = f(p.buf)
	p.ends = append(p.ends, len(p.buf))
}

// sorted are the entries in an order that does not depend on the one in which
// they were added: whoever reads the rows back gets them in another one.
func (p *linkPage) sorted() [][]byte {
	entries := make([][]byte, len(p.ends))
	start := 0
	for i, end := range p.ends {
		entries[i], start = p.buf[start:end], end
	}
	slices.SortFunc(entries, bytes.Compare)
	return entries
}

// digestOf is the content of a link whose sorted entries these are.
func digestOf(entries [][]byte) digest {
	h := sha256.New()
	var size [binary.MaxVarintLen64]byte
	for _, e := range entries {
		h.Write(size[:binary.PutUvarint(size[:], uint64(len(e)))])
		h.Write(e)
	}
	var d digest
	h.Sum(d[:0])
	return d
}

// extend is the hash of the link that follows prev.
func extend(prev digest, no uint64, at int64, rows int, content digest) digest {
	b := append([]byte("aigateway link 1\x00"), prev[:]...)
	b = binary.BigEndian.AppendUint64(b, no)
	b = binary.BigEndian.AppendUint64(b, uint64(at))
	b = binary.BigEndian.AppendUint64(b, uint64(rows))
	return sha256.Sum256(append(b, content[:]...))
}

// extendAudit is the hash of the audit row that follows prev.
func extendAudit(prev digest, e entry) digest {
	return sha256.Sum256(append(append([]byte("aigateway audit 1\x00"), prev[:]...), e...))
}

// loadChain reads where the chain stands.
func (s *store) loadChain(ctx context.Context) error {
	var hash []byte
	err := s.write.QueryRowContext(ctx, `SELECT commits, link, hash FROM head`).Scan(&s.chain.commits, &s.chain.link, &hash)
	if err != nil {
		return fmt.Errorf("read head of the hash chain: %w", err)
	}
	if copy(s.chain.hash[:], hash) != len(s.chain.hash) {
		return fmt.Errorf("the head of the hash chain is damaged; restore a backup of %s", databaseFile)
	}
	err = s.write.QueryRowContext(ctx, `SELECT hash FROM audit ORDER BY id DESC LIMIT 1`).Scan(&hash)
	if err != nil && err != sql.ErrNoRows {
		return fmt.Errorf("read head of the audit chain: %w", err)
	}
	if err == nil {
		copy(s.chain.audit[:], hash) // empty before the chain began
	}
	return nil
}

// seal ends the page of this commit with its link and moves the head.
func (w *writer) seal(at int64) {
	next := &w.next
	next.commits++
	if n := len(w.page.ends); n > 0 {
		next.link++
		entries := w.page.sorted()
		next.hash = extend(next.hash, next.link, at, n, digestOf(entries))
		w.exec(w.s.link, int64(next.link), at, n, next.hash[:], encodeCalls(entries))
	}
	w.exec(w.s.head, int64(next.commits), int64(next.link), next.hash[:])
}

// book adds a query's row to the chain and returns the query to run.
func (w *writer) book(st query) query {
	if st.booked == nil {
		return st
	}
	w.page.add(func(b []byte) entry { return append(b, st.booked...) })
	args := append(slices.Clip(st.args), w.no)
	if st.booked[0] == entryAudit {
		w.next.audit = extendAudit(w.next.audit, st.booked)
		args = append(args, w.next.audit[:])
	}
	return query{sql: st.sql, args: args}
}
