package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Head names a point of the hash chain. Kept outside of the ledger, such as in
// a statement or a log, it lets Verify notice a history that was rewritten
// whole.
type Head struct {
	Link uint64
	Hash digest
}

func (h Head) String() string { return fmt.Sprintf("%d:%s", h.Link, hex.EncodeToString(h.Hash[:])) }

// ParseHead reads what Head.String wrote.
func ParseHead(s string) (Head, error) {
	no, text, ok := strings.Cut(s, ":")
	link, err := strconv.ParseUint(no, 10, 63)
	hash, err2 := hex.DecodeString(text)
	h := Head{Link: link}
	if !ok || err != nil || err2 != nil || copy(h.Hash[:], hash) != len(h.Hash) || len(hash) != len(h.Hash) {
		return Head{}, fmt.Errorf("%q is no head of a chain; it looks like 42:9f86d0…, a number and 64 hexadecimal digits", s)
	}
	return h, nil
}

// Verification is what Verify found.
type Verification struct {
	Head     Head
	From     uint64    // links up to here were pruned, with their rows
	FromTime time.Time // when; zero: never
	Links    int
	Rows     int // covered by the links
	Audit    int // rows of the audit chain
	Problems []string
}

func (v *Verification) problem(format string, args ...any) {
	const enough = 100
	if len(v.Problems) < enough {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// Verify recomputes the hash chain from the rows: every settled call,
// adjustment and change by an administrator that is retained, and the whole
// audit log. expect are heads that somebody noted earlier; they must be on the
// chain. It needs some 150 bytes of memory for each retained row.
func (i *Inspector) Verify(ctx context.Context, expect ...Head) (*Verification, error) {
	v := &verifier{Verification: &Verification{}, expect: expect, adjust: map[string]string{}}
	err := i.snapshot(ctx, func(q querier) error {
		v.q = q
		for _, step := range []func(context.Context) error{v.readBase, v.readTagged, v.readAudit, v.readRows, v.readLinks, v.readHead} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("verify the hash chain: %w", err)
	}
	return v.Verification, nil
}

type verifier struct {
	*Verification
	q      querier
	expect []Head
	last   digest // of the link before the next
	begun  genesis
	tagged int               // entries of later links have the tag
	adjust map[string]string // per adjustment, the hash that the audit chain has
	buf    []byte
	refs   []entryRef
}

// entryRef is an entry in buf.
type entryRef struct{ link, start, end int }

func (v *verifier) readBase(ctx context.Context) error {
	return each(ctx, v.q, `SELECT no, hash, at FROM checkpoint ORDER BY no DESC LIMIT 1`, nil, func(r *sql.Rows) error {
		var hash []byte
		var at int64
		err := r.Scan(&v.From, &hash, &at)
		copy(v.last[:], hash)
		v.FromTime = time.Unix(0, at).UTC()
		return err
	})
}

// readTagged reads from which link on entries have a tag. To move it would
// change how entries are read, and so break their links.
func (v *verifier) readTagged(ctx context.Context) error {
	return each(ctx, v.q, `SELECT value FROM meta WHERE name = 'tagged_after'`, nil, func(r *sql.Rows) error { return r.Scan(&v.tagged) })
}

func (v *verifier) withTag(e entry, link int, tag string) entry {
	if link <= v.tagged {
		return e
	}
	return e.text(tag)
}

// add notes an entry of a link; links up to From are gone.
func (v *verifier) add(link int, f func(buf []byte) entry) {
	if link > int(v.From) {
		start := len(v.buf)
		v.buf = f(v.buf)
		v.refs = append(v.refs, entryRef{link, start, len(v.buf)})
	}
}

// readAudit walks the audit chain from its first row; every row also belongs
// to a link.
func (v *verifier) readAudit(ctx context.Context) error {
	var last digest
	err := each(ctx, v.q, `SELECT id, at, actor, action, subject, detail, link, hash FROM audit ORDER BY id`, nil, func(r *sql.Rows) error {
		var id, at int64
		var link int
		var actor, action, subject, detail string
		var hash []byte
		if err := r.Scan(&id, &at, &actor, &action, &subject, &detail, &link, &hash); err != nil {
			return err
		}
		if v.Audit == 0 && len(hash) == 0 {
			return nil // from before the chain; the first row of it says how many
		}
		e := auditEntry(at, actor, action, subject, detail)
		if v.Audit == 0 {
			if action != actionGenesis {
				v.problem("audit row %d: the audit chain does not begin with %s", id, actionGenesis)
			} else if err := json.Unmarshal([]byte(detail), &v.begun); err != nil {
				v.problem("audit row %d: its detail is damaged", id)
			} else if id != v.begun.Audit+1 {
				v.problem("audit row %d begins the chain, but %d should", id, v.begun.Audit+1)
			}
		}
		if last = extendAudit(last, e); !bytes.Equal(last[:], hash) {
			v.problem("audit row %d (%s by %s) was changed, or a row before it was added or removed", id, action, actor)
			copy(last[:], hash)
		}
		var adjusted adjustDetail
		if action == actionAdjust && json.Unmarshal([]byte(detail), &adjusted) == nil {
			v.adjust[subject] = adjusted.SHA256
		}
		v.Audit++
		v.add(link, func(b []byte) entry { return append(b, e...) })
		return nil
	})
	if err == nil && v.Audit == 0 {
		v.problem("the audit chain has no first row")
	}
	return err
}

func (v *verifier) readRows(ctx context.Context) error {
	return errors.Join(
		each(ctx, v.q, `SELECT rid, at, status, basis, bound, actual, accounts, coalesce(tag, ''), link, late_link FROM settle`, nil, func(r *sql.Rows) error {
			var rid, at, bound, actual int64
			var status, link, late int
			var basis, accounts sql.RawBytes
			var tag string
			if err := r.Scan(&rid, &at, &status, &basis, &bound, &actual, &accounts, &tag, &link, &late); err != nil {
				return err
			}
			if link == 0 && rid > v.begun.Settle {
				v.problem("settled call %d is on no link", rid)
			}
			v.add(link, func(b []byte) entry {
				if status == statusExpired || status == statusLate {
					return v.withTag(expiredEntry(b, rid, bound, accounts), link, tag)
				}
				return v.withTag(settleEntry(b, entrySettle, rid, at, status, string(basis), bound, actual, accounts), link, tag)
			})
			switch {
			case status == statusLate:
				v.add(late, func(b []byte) entry {
					return v.withTag(settleEntry(b, entryLate, rid, at, status, string(basis), bound, actual, accounts), late, tag)
				})
			case status == statusExpired && (string(basis) != "expired" || actual != bound):
				v.problem("expired call %d was charged %d of %d as %q", rid, actual, bound, basis)
			}
			return nil
		}),
		each(ctx, v.q, `SELECT rowid, request_id, at, basis, actual, accounts, coalesce(tag, ''), link FROM stray`, nil, func(r *sql.Rows) error {
			var row, at, actual int64
			var id, basis, tag string
			var accounts sql.RawBytes
			var link int
			if err := r.Scan(&row, &id, &at, &basis, &actual, &accounts, &tag, &link); err != nil {
				return err
			}
			if link == 0 && row > v.begun.Stray {
				v.problem("call %q of unknown origin is on no link", id)
			}
			v.add(link, func(b []byte) entry { return v.withTag(strayEntry(b, id, at, basis, actual, accounts), link, tag) })
			return nil
		}),
		each(ctx, v.q, `SELECT `+adjustColumns+`, link FROM adjust`, nil, func(r *sql.Rows) error {
			var a adjustment
			var link int
			if err := a.scan(r, &link); err != nil {
				return err
			}
			sum := sha256.Sum256(a.entry())
			if v.adjust[a.ID] != hex.EncodeToString(sum[:]) {
				v.problem("adjustment %s is not what the audit chain says", a.ID)
			}
			delete(v.adjust, a.ID)
			v.add(link, func(b []byte) entry { return append(b, a.entry()...) })
			return nil
		}),
		each(ctx, v.q, `SELECT no, hash, at, link FROM checkpoint`, nil, func(r *sql.Rows) error {
			var no uint64
			var at int64
			var link int
			var hash []byte
			if err := r.Scan(&no, &hash, &at, &link); err != nil {
				return err
			}
			v.add(link, func(b []byte) entry { return append(b, checkpointEntry(no, hash, at)...) })
			return nil
		}),
	)
}

func (v *verifier) readLinks(ctx context.Context) error {
	for id := range v.adjust {
		v.problem("adjustment %s is in the audit chain, and its row is missing", id)
	}
	slices.SortFunc(v.refs, func(a, b entryRef) int { return a.link - b.link })
	no, refs := v.From, v.refs
	err := each(ctx, v.q, `SELECT no, at, rows, hash FROM link ORDER BY no`, nil, func(r *sql.Rows) error {
		var link uint64
		var at int64
		var rows int
		var hash []byte
		if err := r.Scan(&link, &at, &rows, &hash); err != nil {
			return err
		}
		if link != no+1 {
			v.problem("link %d follows link %d", link, no)
		}
		no = link
		var p linkPage
		for ; len(refs) > 0 && refs[0].link <= int(link); refs = refs[1:] {
			p.add(func(b []byte) entry { return append(b, v.buf[refs[0].start:refs[0].end]...) })
		}
		sum := extend(v.last, link, at, rows, p.digest())
		switch {
		case len(p.ends) != rows:
			v.problem("link %d of %s covers %d rows, and %d are there", link, time.Unix(0, at).UTC().Format(time.RFC3339), rows, len(p.ends))
		case !bytes.Equal(sum[:], hash):
			v.problem("link %d of %s does not match its rows: one of them, or the link, was changed", link, time.Unix(0, at).UTC().Format(time.RFC3339))
		}
		copy(v.last[:], hash)
		v.Links++
		v.Rows += len(p.ends)
		v.compare(Head{Link: link, Hash: digest(hash)})
		return nil
	})
	v.Head = Head{Link: no, Hash: v.last}
	if len(refs) > 0 {
		v.problem("%d rows name links that do not exist", len(refs))
	}
	return err
}

// compare takes h off the expected heads, or reports that it differs.
func (v *verifier) compare(h Head) {
	v.expect = slices.DeleteFunc(slices.Clone(v.expect), func(e Head) bool {
		if e.Link == h.Link && e.Hash != h.Hash {
			v.problem("link %d is %s, and %s was noted: the history was rewritten", h.Link, h, e)
		}
		return e.Link == h.Link
	})
}

func (v *verifier) readHead(ctx context.Context) error {
	for _, e := range v.expect {
		if e.Link <= v.From {
			v.problem("link %d, which was noted, is older than what is retained (%d)", e.Link, v.From)
		} else {
			v.problem("link %d, which was noted, does not exist: the end of the history is missing", e.Link)
		}
	}
	return each(ctx, v.q, `SELECT link, hash FROM head`, nil, func(r *sql.Rows) error {
		var h Head
		var hash []byte
		err := r.Scan(&h.Link, &hash)
		copy(h.Hash[:], hash)
		if err == nil && h != v.Head {
			v.problem("the chain ends with link %d, and its head is link %d", v.Head.Link, h.Link)
		}
		return err
	})
}
