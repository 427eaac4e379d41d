package ledger_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/budget"
	"aigateway/ledger"
)

// list is every call that q selects, read in pages of n.
func (b *bench) list(q budget.CallQuery, n int) []budget.Call {
	b.t.Helper()
	var all []budget.Call
	for q.Limit = n; ; {
		page, err := b.Calls(b.t.Context(), q)
		if err != nil {
			b.t.Fatal(err)
		}
		if len(page.Calls) > n {
			b.t.Fatalf("a page of %d calls, want at most %d", len(page.Calls), n)
		}
		all = append(all, page.Calls...)
		if page.Before == 0 {
			return all
		}
		if q.Before != 0 && page.Before >= q.Before {
			b.t.Fatalf("the page before %d is followed by the one before %d", q.Before, page.Before)
		}
		q.Before = page.Before
	}
}

func requestIDs(calls []budget.Call) []string {
	var ids []string
	for _, c := range calls {
		ids = append(ids, c.RequestID)
	}
	return ids
}

// TestCalls follows calls to their ends: each is found in its state, with what was
// told of it, also after a crash.
func TestCalls(t *testing.T) {
	b := start(t)
	limit := b.budget("a/**", budget.Month, budget.Dollar)
	reserve := func(tag budget.Tag, bound budget.Amount) budget.Reservation {
		r := b.request(tag, bound)
		r.Arithmetic = []byte("how " + r.RequestID)
		res, err := b.Reserve(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	expires := reserve("a", 70)
	b.clock.add(6 * time.Minute)
	b.tick()
	ends := reserve("a/b", 60)
	s := settlement(ends, 20)
	s.RequestID, s.At, s.Status, s.Served = "req-2", ends.ReservedAt.Add(1234*time.Millisecond), 200, "p/other"
	s.Tokens = budget.Tokens{Input: 1, CacheRead: 2, CacheWrite: 3, Output: 4}
	b.settle(s)
	runs := reserve("c", 50)
	b.flush()

	want := []budget.Call{
		{ID: runs.ID, RequestID: "req-3", State: budget.CallRunning, Attribution: runs.Attribution, DecidedAt: runs.ReservedAt, Bound: 50,
			Budgets: []string{}, Arithmetic: []byte("how req-3")},
		{ID: ends.ID, RequestID: "req-2", State: budget.CallSettled, Attribution: ends.Attribution, DecidedAt: ends.ReservedAt, Bound: 60,
			Budgets: []string{limit.ID}, Arithmetic: []byte("how req-2"), EndedAt: s.At, Basis: budget.BasisUsage, Cost: 20,
			Tokens: s.Tokens, Served: "p/other", Status: 200},
		{ID: expires.ID, RequestID: "req-1", State: budget.CallExpired, Attribution: expires.Attribution, DecidedAt: expires.ReservedAt, Bound: 70,
			Budgets: []string{limit.ID}, Arithmetic: []byte("how req-1"), Basis: budget.BasisExpired, Cost: 70},
	}
	for name, ledger := range map[string]*bench{"running": b, "after a crash": b.crash()} {
		for n := 1; n <= 4; n++ {
			if diff := cmp.Diff(want, ledger.list(budget.CallQuery{}, n)); diff != "" {
				t.Errorf("%s, pages of %d (-want +got):\n%s", name, n, diff)
			}
		}
	}
	for query, want := range map[*budget.CallQuery][]string{
		{Tags: []budget.TagPattern{"a/**"}}:       {"req-2", "req-1"},
		{Tags: []budget.TagPattern{"a", "c"}}:     {"req-3", "req-1"},
		{Tags: []budget.TagPattern{"**"}}:         {"req-3", "req-2", "req-1"},
		{KeyID: "key_a", Model: "p/m"}:            {"req-3", "req-2", "req-1"},
		{KeyID: "key_b"}:                          nil,
		{Model: "p/other"}:                        nil,
		{RequestID: "req-1"}:                      {"req-1"},
		{RequestID: "req-3"}:                      {"req-3"},
		{State: budget.CallRunning}:               {"req-3"},
		{State: budget.CallSettled}:               {"req-2"},
		{State: budget.CallExpired}:               {"req-1"},
		{State: budget.CallRefused}:               nil,
		{Since: ends.ReservedAt}:                  {"req-3", "req-2"},
		{Since: runs.ReservedAt.Add(time.Second)}: nil,
	} {
		if got := requestIDs(b.list(*query, 2)); !slices.Equal(got, want) {
			t.Errorf("%+v selects %v, want %v", query, got, want)
		}
	}

	late := settlement(expires, 5)
	late.RequestID, late.At, late.Status = "req-1", expires.ReservedAt.Add(time.Minute), 200
	b.settle(late)
	got := b.list(budget.CallQuery{RequestID: "req-1"}, 1)[0]
	if got.State != budget.CallSettled || got.Cost != 5 || got.EndedAt != late.At || got.Status != 200 || string(got.Arithmetic) != "how req-1" {
		t.Errorf("corrected by a late log: %+v", got)
	}
	b.agree()
}

// TestEndedCalls reads calls in the order of their ends, from cursors that hold
// over a restart.
func TestEndedCalls(t *testing.T) {
	b := start(t)
	from, err := b.LastEnded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []budget.Reservation
	for range 6 {
		all = append(all, b.reserve("a", 10))
	}
	for _, i := range []int{3, 0, 5, 1} {
		b.settle(settlement(all[i], 1))
		b.flush()
	}
	read := func(b *bench, q budget.CallQuery) (ids []budget.ReservationID) {
		at := from
		for q.Limit = 1; ; {
			calls, next, err := b.EndedCalls(t.Context(), q, at)
			if err != nil {
				t.Fatal(err)
			}
			if next == at {
				return ids
			}
			for _, c := range calls {
				ids = append(ids, c.ID)
			}
			at = next
		}
	}
	want := []budget.ReservationID{all[3].ID, all[0].ID, all[5].ID, all[1].ID}
	for name, ledger := range map[string]*bench{"running": b, "after a crash": b.crash()} {
		if got := read(ledger, budget.CallQuery{}); !slices.Equal(got, want) {
			t.Errorf("%s: ended %v, want %v", name, got, want)
		}
		if got := read(ledger, budget.CallQuery{State: budget.CallExpired}); len(got) != 0 {
			t.Errorf("%s: expired %v, want none", name, got)
		}
	}
	if calls, next, err := b.EndedCalls(t.Context(), budget.CallQuery{Limit: 1}, budget.CallCursor{Link: 1 << 40}); err != nil || len(calls) != 0 || next.Link > 100 {
		t.Errorf("a cursor of another history: %v, %+v, %v", calls, next, err)
	}
}

// TestCallsReadABoundedNumberOfRows looks for one call among many: each page ends
// soon, names a next one, and the call is found.
func TestCallsReadABoundedNumberOfRows(t *testing.T) {
	if ledger.RaceDetector {
		t.Skip("SQLite reads half a million rows in one goroutine; it does so without the race detector")
	}
	b := start(t)
	const rows = 450_000
	b.settle(settlement(b.reserve("a", 10), 1))
	b.flush()
	if err := b.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	tamper(t, b.dir, fmt.Sprintf(`INSERT INTO settle (rid, at, status, basis, bound, actual, accounts, request_id, reserved_at, unpriced, key_id, tag, model, provider, link)
		WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		SELECT (SELECT max(rid) FROM settle) + i, %d, 0, 'usage', 10, 1, x'', 'other', %[2]d, 0, 'key_a', 'a', 'p/m', 'p', 0 FROM n`, rows, april.UnixNano()+1))
	b = reopen(t, b.dir, b.clock)
	q := budget.CallQuery{RequestID: "req-1", Limit: 10}
	for page := 1; ; page++ {
		got, err := b.Calls(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if page < 3 && (len(got.Calls) != 0 || got.Before == 0 || got.Reached.IsZero()) {
			t.Fatalf("page %d has %d calls before %d: it read more than a page may", page, len(got.Calls), got.Before)
		}
		if page == 3 {
			if len(got.Calls) != 1 || got.Before != 0 {
				t.Errorf("the last page: %d calls before %d", len(got.Calls), got.Before)
			}
			break
		}
		q.Before = got.Before
	}
	q = budget.CallQuery{RequestID: "req-1", Since: april.Add(time.Hour), Limit: 10}
	if got, err := b.Calls(t.Context(), q); err != nil || got.Before != 0 || len(got.Calls) != 0 {
		t.Errorf("nothing is younger, and the list goes on: %+v, %v", got, err)
	}
}

// BenchmarkFindCall looks for a request id that nobody has: the time for a million
// rows.
func BenchmarkFindCall(b *testing.B) {
	l := start(b)
	for range 20 {
		for range 50 {
			l.settle(settlement(l.reserve("a", 10), 1))
		}
	}
	l.flush()
	if err := l.Exec(b.Context(), fmt.Sprintf(`INSERT INTO settle SELECT rid + n.i * 1000, at, status, basis, bound, actual, accounts, request_id || n.i, reserved_at, unpriced, key_id, tag, model, provider, link, late_link, detail
		FROM settle, (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT i FROM n) n`, 999)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		q := budget.CallQuery{RequestID: "nobody", Limit: 1}
		for {
			page, err := l.Calls(b.Context(), q)
			if err != nil {
				b.Fatal(err)
			}
			if q.Before = page.Before; page.Before == 0 {
				break
			}
		}
	}
}
