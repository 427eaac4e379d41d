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
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"aigateway/budget"
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
// chain. It reads in slices that are each of one state, as Check does. It needs
// some 100 bytes of memory for each account, and for each tag and month, and 150 for
// each retained row of links that do not name their calls, which are those from
// before version 6 of the schema.
func (i *Inspector) Verify(ctx context.Context, expect ...Head) (*Verification, error) {
	v := &verifier{Verification: &Verification{}, i: i, expect: expect, adjust: map[string]string{}}
	err := i.reading(func() error {
		for _, step := range []func(context.Context) error{v.begin, v.readAudit, v.readCalls, v.readStrays, v.readAdjusts, v.readSealed, v.readLinks} {
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
	i      *Inspector
	expect []Head
	end    int64  // the last link at the start; rows of later ones are read with them
	listed int64  // links up to here do not name their calls
	last   digest // of the link before the next
	begun  genesis
	tagged int               // entries of later links have the tag
	adjust map[string]string // per adjustment, the hash that the audit chain has
	buf    []byte
	refs   []entryRef // of links that do not name their calls
	sealed *sealedRows
}

// entryRef is an entry in buf.
type entryRef struct{ link, start, end int }

// begin reads where the chain begins and ends, and from which link on entries
// have a tag. To move that would change how entries are read, and so break their
// links.
func (v *verifier) begin(ctx context.Context) error {
	return v.i.snapshot(ctx, func(q querier) error {
		var err error
		if v.sealed, err = readSealedRows(ctx, q); err != nil {
			return err
		}
		v.listed = v.sealed.seal.listed
		return errors.Join(
			each(ctx, q, `SELECT no, hash, at, link FROM checkpoint ORDER BY no DESC LIMIT 1`, nil, func(r *sql.Rows) error {
				var hash []byte
				var at, link int64
				err := r.Scan(&v.From, &hash, &at, &link)
				copy(v.last[:], hash)
				v.FromTime = time.Unix(0, at).UTC()
				if link <= int64(v.From) {
					v.problem("the checkpoint at link %d is on no link that is retained", v.From)
				}
				return err
			}),
			each(ctx, q, `SELECT no FROM link ORDER BY no LIMIT 1`, nil, func(r *sql.Rows) error {
				var no uint64
				err := r.Scan(&no)
				if no <= v.From {
					v.problem("link %d is there, and a checkpoint at %d says that it was pruned", no, v.From)
				}
				return err
			}),
			each(ctx, q, `SELECT value FROM meta WHERE name = 'tagged_after'`, nil, func(r *sql.Rows) error { return r.Scan(&v.tagged) }),
			each(ctx, q, `SELECT link FROM head`, nil, func(r *sql.Rows) error { return r.Scan(&v.end) }))
	})
}

func (v *verifier) withTag(e entry, link int, tag string) entry {
	if link <= v.tagged {
		return e
	}
	return e.text(tag)
}

// add notes an entry of a link that does not name its calls; links up to From are
// gone.
func (v *verifier) add(link int, f func(buf []byte) entry) {
	if link > int(v.From) && link <= int(v.listed) {
		start := len(v.buf)
		v.buf = f(v.buf)
		v.refs = append(v.refs, entryRef{link, start, len(v.buf)})
	}
}

// eachAudit calls f with rows of the audit log.
func eachAudit(ctx context.Context, q querier, where string, args []any, f func(id int64, link int, e budget.AuditEntry, entry entry, hash []byte) error) (n int, err error) {
	err = each(ctx, q, `SELECT id, at, actor, action, subject, detail, link, hash FROM audit `+where, args, func(r *sql.Rows) error {
		var e budget.AuditEntry
		var at int64
		var link int
		var hash []byte
		if err := r.Scan(&e.ID, &at, &e.Actor, &e.Action, &e.Subject, &e.Detail, &link, &hash); err != nil {
			return err
		}
		n++
		return f(e.ID, link, e, auditEntry(at, e.Actor, e.Action, e.Subject, e.Detail), hash)
	})
	return n, err
}

// readAudit walks the audit chain from its first row; every row also belongs
// to a link.
func (v *verifier) readAudit(ctx context.Context) error {
	var last digest
	lastID, n := int64(math.MinInt64), sliceRows
	var err error
	for err == nil && n == sliceRows {
		n, err = eachAudit(ctx, v.i.db, `WHERE id > ? ORDER BY id LIMIT ?`, []any{lastID, sliceRows}, func(id int64, link int, a budget.AuditEntry, e entry, hash []byte) error {
			lastID = id
			if v.Audit == 0 && len(hash) == 0 || int64(link) > v.end {
				return nil // from before the chain, whose first row says how many, or from after the start
			}
			if v.Audit == 0 {
				v.genesis(a)
			}
			if last = extendAudit(last, e); !bytes.Equal(last[:], hash) {
				v.problem("audit row %d (%s by %s) was changed, or a row before it was added or removed", id, a.Action, a.Actor)
				copy(last[:], hash)
			}
			var adjusted adjustDetail
			if a.Action == actionAdjust && json.Unmarshal([]byte(a.Detail), &adjusted) == nil {
				v.adjust[a.Subject] = adjusted.SHA256
			}
			v.Audit++
			v.add(link, func(b []byte) entry { return append(b, e...) })
			return nil
		})
	}
	if err == nil && v.Audit == 0 {
		v.problem("the audit chain has no first row")
	}
	return err
}

func (v *verifier) genesis(a budget.AuditEntry) {
	if a.Action != actionGenesis {
		v.problem("audit row %d: the audit chain does not begin with %s", a.ID, actionGenesis)
	} else if err := json.Unmarshal([]byte(a.Detail), &v.begun); err != nil {
		v.problem("audit row %d: its detail is damaged", a.ID)
	} else if a.ID != v.begun.Audit+1 {
		v.problem("audit row %d begins the chain, but %d should", a.ID, v.begun.Audit+1)
	}
}

// readCalls looks at every finished call: it must be on a link, and that must
// name it. Whether it is what the link says is readLinks's to see.
func (v *verifier) readCalls(ctx context.Context) error {
	last, n := int64(math.MinInt64), sliceRows
	for n == sliceRows {
		v.i.between()
		n = 0
		err := v.i.snapshot(ctx, func(q querier) error {
			named := map[int64][]int64{} // calls by the link they are on
			err := eachSettled(ctx, q, `WHERE rid > ? ORDER BY rid LIMIT ?`, []any{last, sliceRows}, func(r *settledRow) error {
				n++
				last = r.rid
				v.call(r)
				if err := v.sealed.rows.settled(r, v.sealed.seal.covers); err != nil {
					return err
				}
				if r.link > v.listed && r.link > int64(v.From) {
					named[r.link] = append(named[r.link], r.rid)
				}
				return nil
			})
			return errors.Join(err, v.named(ctx, q, named))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// call checks one row by itself.
func (v *verifier) call(r *settledRow) {
	if r.link == 0 && r.rid > v.begun.Settle {
		v.problem("settled call %d is on no link", r.rid)
	}
	if r.status == statusExpired && (string(r.basis) != "expired" || r.actual != r.bound) {
		v.problem("expired call %d was charged %d of %d as %q", r.rid, r.actual, r.bound, r.basis)
	}
	v.add(int(r.link), func(b []byte) entry { return v.firstEntry(b, r) })
	if r.status == statusLate {
		v.add(int(r.late), func(b []byte) entry { return v.lateEntry(b, r) })
	}
}

func (v *verifier) firstEntry(b []byte, r *settledRow) entry {
	if r.status == statusExpired || r.status == statusLate {
		return v.withTag(expiredEntry(b, r.rid, r.bound, r.accounts), int(r.link), string(r.tag))
	}
	return v.withTag(settleEntry(b, entrySettle, r.rid, r.at, r.status, string(r.basis), r.bound, r.actual, r.accounts), int(r.link), string(r.tag))
}

func (v *verifier) lateEntry(b []byte, r *settledRow) entry {
	return v.withTag(settleEntry(b, entryLate, r.rid, r.at, r.status, string(r.basis), r.bound, r.actual, r.accounts), int(r.late), string(r.tag))
}

// named compares the calls on some links with the lists of these.
func (v *verifier) named(ctx context.Context, q querier, calls map[int64][]int64) error {
	list, err := json.Marshal(slices.Collect(maps.Keys(calls)))
	if err != nil || len(calls) == 0 {
		return err
	}
	err = each(ctx, q, `SELECT no, calls FROM link WHERE no IN (SELECT value FROM json_each(?))`, []any{string(list)}, func(r *sql.Rows) error {
		var no int64
		var text sql.RawBytes
		if err := r.Scan(&no, &text); err != nil {
			return err
		}
		names := decodeCalls(text)
		for _, rid := range calls[no] {
			if _, ok := slices.BinarySearch(names, rid); !ok {
				v.problem("settled call %d names link %d, which does not name it", rid, no)
			}
		}
		delete(calls, no)
		return nil
	})
	for no, rids := range calls {
		v.problem("%d rows name link %d, which does not exist", len(rids), no)
	}
	return err
}

func (v *verifier) readStrays(ctx context.Context) error {
	return v.eachStray(ctx, v.i.db, "", nil, func(row int64, id string, link int, f func(b []byte) entry) {
		if link == 0 && row > v.begun.Stray {
			v.problem("call %q of unknown origin is on no link", id)
		}
		v.add(link, f)
	})
}

func (v *verifier) eachStray(ctx context.Context, q querier, where string, args []any, f func(row int64, id string, link int, f func(b []byte) entry)) error {
	return each(ctx, q, `SELECT rowid, request_id, at, basis, actual, accounts, coalesce(tag, ''), link FROM stray `+where, args, func(r *sql.Rows) error {
		var row, at, actual int64
		var id, basis, tag string
		var accounts sql.RawBytes
		var link int
		if err := r.Scan(&row, &id, &at, &basis, &actual, &accounts, &tag, &link); err != nil {
			return err
		}
		f(row, id, link, func(b []byte) entry { return v.withTag(strayEntry(b, id, at, basis, actual, accounts), link, tag) })
		return nil
	})
}

func (v *verifier) readAdjusts(ctx context.Context) error {
	err := eachAdjust(ctx, v.i.db, "", nil, func(a *adjustment, link int) {
		if int64(link) > v.end {
			return
		}
		sum := sha256.Sum256(a.entry())
		if v.adjust[a.ID] != hex.EncodeToString(sum[:]) {
			v.problem("adjustment %s is not what the audit chain says", a.ID)
		}
		delete(v.adjust, a.ID)
		v.add(link, func(b []byte) entry { return append(b, a.entry()...) })
	})
	for id := range v.adjust {
		v.problem("adjustment %s is in the audit chain, and its row is missing", id)
	}
	return errors.Join(err, eachCheckpoint(ctx, v.i.db, "", nil, func(link int, e entry) {
		v.add(link, func(b []byte) entry { return append(b, e...) })
	}))
}

func eachAdjust(ctx context.Context, q querier, where string, args []any, f func(a *adjustment, link int)) error {
	return each(ctx, q, `SELECT `+adjustColumns+`, link FROM adjust `+where, args, func(r *sql.Rows) error {
		var a adjustment
		var link int
		err := a.scan(r, &link)
		if err == nil {
			f(&a, link)
		}
		return err
	})
}

func eachCheckpoint(ctx context.Context, q querier, where string, args []any, f func(link int, e entry)) error {
	return each(ctx, q, `SELECT no, hash, at, link FROM checkpoint `+where, args, func(r *sql.Rows) error {
		var no uint64
		var at int64
		var link int
		var hash []byte
		err := r.Scan(&no, &hash, &at, &link)
		if err == nil {
			f(link, checkpointEntry(no, hash, at))
		}
		return err
	})
}

// readSealed compares the sealed sums with the rows, which the links prove: so the
// chain covers what is checked only once.
func (v *verifier) readSealed(ctx context.Context) error {
	err := v.i.eachUsage(ctx, func(bucket int64, tag string, sum *tagSum) { v.sealed.addUsage(bucket, tag, sum) })
	if err = errors.Join(err, v.sealed.others(ctx, v.i.db)); err != nil {
		return err
	}
	return v.i.snapshot(ctx, func(q querier) error {
		c := &counting{Recount: &Recount{}, q: q}
		err := c.compareSealed(ctx, v.sealed)
		for _, m := range c.Mismatches {
			v.problem("%s", m)
		}
		return err
	})
}

// readLinks recomputes the links, some at a time, to the head.
func (v *verifier) readLinks(ctx context.Context) error {
	slices.SortFunc(v.refs, func(a, b entryRef) int { return a.link - b.link })
	no := int64(v.From)
	for more := true; more; {
		v.i.between()
		err := v.i.snapshot(ctx, func(q querier) error {
			s, err := nextSpan(ctx, q, no, math.MaxInt64)
			if err != nil {
				return err
			}
			if err := v.links(ctx, q, &s); err != nil {
				return err
			}
			if no, more = s.last, s.full; more {
				return nil
			}
			return v.readHead(ctx, q)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// links recomputes the links of s.
func (v *verifier) links(ctx context.Context, q querier, s *span) error {
	pages, err := v.pages(ctx, q, s)
	if err != nil {
		return err
	}
	no := uint64(s.after)
	err = each(ctx, q, `SELECT no, at, rows, hash FROM link WHERE no > ? AND no <= ? ORDER BY no`, []any{s.after, s.last}, func(r *sql.Rows) error {
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
		p := pages[int(link)]
		if p == nil {
			p = &linkPage{}
		}
		for ; len(v.refs) > 0 && v.refs[0].link <= int(link); v.refs = v.refs[1:] {
			p.add(func(b []byte) entry { return append(b, v.buf[v.refs[0].start:v.refs[0].end]...) })
		}
		sum := extend(v.last, link, at, rows, digestOf(p.sorted()))
		switch {
		case len(p.ends) != rows:
			v.problem("link %d of %s covers %d rows, and %d are there", link, time.Unix(0, at).UTC().Format(time.RFC3339), rows, len(p.ends))
		case !bytes.Equal(sum[:], hash):
			v.problem("link %d of %s does not match its rows: one of them, or the link, was changed", link, time.Unix(0, at).UTC().Format(time.RFC3339))
		}
		if len(hash) != len(v.last) {
			v.problem("link %d has no hash", link)
			return nil
		}
		copy(v.last[:], hash)
		v.Links++
		v.Rows += len(p.ends)
		v.compare(Head{Link: link, Hash: digest(hash)})
		return nil
	})
	v.Head = Head{Link: no, Hash: v.last}
	return err
}

// pages are the entries of those links of s that name their calls.
func (v *verifier) pages(ctx context.Context, q querier, s *span) (map[int]*linkPage, error) {
	pages := map[int]*linkPage{}
	add := func(link int, f func(b []byte) entry) {
		if link <= int(v.listed) || !s.covers(0, int64(link)) {
			return
		}
		if pages[link] == nil {
			pages[link] = &linkPage{}
		}
		pages[link].add(f)
	}
	where, args := `WHERE link > ? AND link <= ?`, []any{s.after, s.last}
	_, err := eachAudit(ctx, q, where, args, func(_ int64, link int, _ budget.AuditEntry, e entry, _ []byte) error {
		add(link, func(b []byte) entry { return append(b, e...) })
		return nil
	})
	return pages, errors.Join(err,
		s.eachCall(ctx, q, func(r *settledRow) error {
			add(int(r.link), func(b []byte) entry { return v.firstEntry(b, r) })
			return nil
		}),
		s.eachLate(ctx, q, func(r *settledRow) error {
			add(int(r.late), func(b []byte) entry { return v.lateEntry(b, r) })
			return nil
		}),
		v.eachStray(ctx, q, where, args, func(_ int64, _ string, link int, f func(b []byte) entry) { add(link, f) }),
		eachAdjust(ctx, q, where, args, func(a *adjustment, link int) { add(link, func(b []byte) entry { return append(b, a.entry()...) }) }),
		eachCheckpoint(ctx, q, where, args, func(link int, e entry) { add(link, func(b []byte) entry { return append(b, e...) }) }),
	)
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

// readHead compares the last link with the head, in the state that it was read in.
func (v *verifier) readHead(ctx context.Context, q querier) error {
	for _, e := range v.expect {
		if e.Link <= v.From {
			v.problem("link %d, which was noted, is older than what is retained (%d)", e.Link, v.From)
		} else {
			v.problem("link %d, which was noted, does not exist: the end of the history is missing", e.Link)
		}
	}
	var beyond int
	for _, table := range []string{"stray", "adjust", "audit"} {
		err := each(ctx, q, `SELECT count(*) FROM `+table+` WHERE link > ?`, []any{v.Head.Link}, func(r *sql.Rows) error {
			var n int
			err := r.Scan(&n)
			beyond += n
			return err
		})
		if err != nil {
			return err
		}
	}
	if beyond += len(v.refs); beyond > 0 {
		v.problem("%d rows name links that do not exist", beyond)
	}
	return each(ctx, q, `SELECT link, hash FROM head`, nil, func(r *sql.Rows) error {
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
