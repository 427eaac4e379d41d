package ledger

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"

	"aigateway/budget"
)

// settledRow is a row of settle. Its texts are valid until the next row is read.
type settledRow struct {
	rid, at, bound, actual int64
	status                 int
	basis, accounts, tag   sql.RawBytes
	link, late             int64
}

const settledColumns = `rid, at, status, basis, bound, actual, accounts, tag, link, late_link`

func (s *settledRow) scan(r *sql.Rows) error {
	return r.Scan(&s.rid, &s.at, &s.status, &s.basis, &s.bound, &s.actual, &s.accounts, &s.tag, &s.link, &s.late)
}

// booking is what a row did to the books on one link.
type booking struct{ requests, amount int64 }

// first is what the row did on its link: a call that a late log corrected had
// been charged its bound there.
func (s *settledRow) first() booking {
	if s.status == statusLate {
		return booking{1, s.bound}
	}
	return booking{sent(s.basis), s.actual}
}

// second is what a late log changed, on the row's late link.
func (s *settledRow) second() booking {
	if s.status != statusLate {
		return booking{}
	}
	return booking{sent(s.basis) - 1, s.actual - s.bound}
}

func sent(basis []byte) int64 { return boolInt(budget.Basis(basis).Sent()) }

// covered is what the row did on links that covers selects.
func (s *settledRow) covered(covers func(rid, link int64) bool) (sum booking, any bool) {
	if covers(s.rid, s.link) {
		sum, any = s.first(), true
	}
	if s.status == statusLate && covers(s.rid, s.late) {
		more := s.second()
		sum, any = booking{sum.requests + more.requests, sum.amount + more.amount}, true
	}
	return sum, any
}

// settled counts what a row did on the links that covers selects.
func (b *booked) settled(s *settledRow, covers func(rid, link int64) bool) error {
	sum, any := s.covered(covers)
	if !any {
		return nil
	}
	b.rows++
	if s.tag != nil {
		b.report(s.tag, sum.requests, sum.amount)
	}
	return b.charge(sum.amount, s.accounts)
}

// strays counts rows of stray that a query selects, if their link is covered.
func (b *booked) strays(ctx context.Context, q querier, where string, args []any, covers func(rid, link int64) bool) error {
	return each(ctx, q, `SELECT basis, actual, accounts, tag, link FROM stray `+where, args, func(r *sql.Rows) error {
		var basis, accounts, tag sql.RawBytes
		var actual, link int64
		if err := r.Scan(&basis, &actual, &accounts, &tag, &link); err != nil || !covers(0, link) {
			return err
		}
		return b.add(basis, actual, accounts, tag)
	})
}

// adjusts is strays for rows of adjust.
func (b *booked) adjusts(ctx context.Context, q querier, where string, args []any, covers func(rid, link int64) bool) error {
	return each(ctx, q, `SELECT tag, amount, amount + residue, accounts, link FROM adjust `+where, args, func(r *sql.Rows) error {
		var amount, net, link int64
		var tag, accounts sql.RawBytes
		if err := r.Scan(&tag, &amount, &net, &accounts, &link); err != nil || !covers(0, link) {
			return err
		}
		b.rows++
		if len(tag) > 0 {
			b.report(tag, 0, amount)
		}
		return b.charge(net, accounts)
	})
}

// sliceRows is about how many rows one read takes: a moment, in which the journal
// cannot be checkpointed.
const sliceRows = 2000

// errEnough ends each early.
var errEnough = errors.New("enough rows")

// span is a run of links and the calls that they name.
type span struct {
	after, last int64 // last is after if there are none
	calls       []int64
	rows        int
	full        bool // there may be more
}

// nextSpan reads which calls the links behind after name, up to some rows.
func nextSpan(ctx context.Context, q querier, after, upTo int64) (span, error) {
	s := span{after: after, last: after}
	err := each(ctx, q, `SELECT no, rows, calls FROM link WHERE no > ? AND no <= ? ORDER BY no`, []any{after, upTo}, func(r *sql.Rows) error {
		var no int64
		var rows int
		var calls sql.RawBytes
		if err := r.Scan(&no, &rows, &calls); err != nil {
			return err
		}
		s.last, s.calls, s.rows = no, append(s.calls, decodeCalls(calls)...), s.rows+rows
		if s.rows >= sliceRows {
			s.full = true
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return s, err
}

func (s *span) covers(_, link int64) bool { return link > s.after && link <= s.last }

// eachCall calls f with the rows of the calls that s names.
func (s *span) eachCall(ctx context.Context, q querier, f func(*settledRow) error) error {
	list, err := json.Marshal(s.calls)
	if err != nil || len(s.calls) == 0 {
		return err
	}
	return eachSettled(ctx, q, `WHERE rid IN (SELECT value FROM json_each(?))`, []any{string(list)}, f)
}

// eachLate calls f with the rows that late logs corrected on links of s.
func (s *span) eachLate(ctx context.Context, q querier, f func(*settledRow) error) error {
	return eachSettled(ctx, q, `WHERE late_link > 0 AND late_link > ? AND late_link <= ?`, []any{s.after, s.last}, f)
}

func eachSettled(ctx context.Context, q querier, where string, args []any, f func(*settledRow) error) error {
	return each(ctx, q, `SELECT `+settledColumns+` FROM settle `+where, args, func(r *sql.Rows) error {
		var row settledRow
		if err := row.scan(r); err != nil {
			return err
		}
		return f(&row)
	})
}

// span counts what the links of s booked.
func (b *booked) span(ctx context.Context, q querier, s *span) error {
	if s.last == s.after {
		return nil
	}
	first := func(_, link int64) bool { return s.covers(0, link) }
	where, args := `WHERE link > ? AND link <= ?`, []any{s.after, s.last}
	return errors.Join(
		s.eachCall(ctx, q, func(r *settledRow) error {
			late := r.late
			r.late = math.MaxInt64 // eachLate's
			err := b.settled(r, first)
			r.late = late
			return err
		}),
		s.eachLate(ctx, q, func(r *settledRow) error {
			r.link = math.MaxInt64
			return b.settled(r, first)
		}),
		b.strays(ctx, q, where, args, first),
		b.adjusts(ctx, q, where, args, first),
	)
}

// since counts all links behind after, a few commits' worth.
func (b *booked) since(ctx context.Context, q querier, after int64) (last int64, err error) {
	for {
		s, err := nextSpan(ctx, q, after, math.MaxInt64)
		if err != nil {
			return after, err
		}
		if err := b.span(ctx, q, &s); err != nil {
			return after, err
		}
		after = s.last
		if !s.full {
			return after, nil
		}
	}
}

// encodeCalls encodes the ids of the settled calls among sorted entries, which
// are sorted by id, too.
func encodeCalls(entries [][]byte) []byte {
	out := []byte{} // NULL is a link that does not tell
	last := uint64(0)
	for _, e := range entries {
		if e[0] == entrySettle {
			rid := binary.BigEndian.Uint64(e[1:])
			out = binary.AppendUvarint(out, rid-last)
			last = rid
		}
	}
	return out
}

// decodeCalls reads a list as far as it is whole: what a damaged one does not
// name is missing on its link.
func decodeCalls(b []byte) []int64 {
	var out []int64
	last := uint64(0)
	for len(b) > 0 {
		d, n := binary.Uvarint(b)
		if n <= 0 {
			break
		}
		last, b = last+d, b[n:]
		out = append(out, int64(last))
	}
	return out
}
