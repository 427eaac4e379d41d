package ledger_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/budget"
)

func TestSettleBases(t *testing.T) {
	for _, tc := range []struct {
		name  string
		token bool
		basis budget.Basis
		cost  budget.Amount
		want  budget.Amount
	}{
		{"usage", true, budget.BasisUsage, 25, 25},
		{"elapsed", true, budget.BasisElapsed, 40, 40},
		{"bound", true, budget.BasisBound, 0, 60},
		{"provider error", true, budget.BasisProviderError, 0, 0},
		{"nothing sent", true, budget.BasisReleased, 0, 0},
		{"negative cost", true, budget.BasisUsage, -5, 60},
		{"no token, sent", false, budget.BasisUsage, 25, 60},
		{"no token, bound", false, budget.BasisBound, 0, 60},
		{"no token, nothing sent", false, budget.BasisReleased, 0, 0},
		{"above the bound", true, budget.BasisUsage, 150, 150},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := start(t)
			st := b.budget("a", budget.Month, 100)
			q := b.request("a", 60)
			r, err := b.Reserve(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			s := budget.Settlement{RequestID: q.RequestID, Basis: tc.basis, Cost: tc.cost}
			if tc.token {
				s.Reservation = &r
			}
			for range 3 { // repeats change nothing
				b.settle(s)
			}
			if tc.want > 60 {
				b.flush() // the mark has to follow a broken bound
			}
			b.want(st.ID, tc.want, 0)
			b.flush()
			b.settle(s)
			b.flush()
			b.want(st.ID, tc.want, 0)
			if b.IsOpen(r.ID) {
				t.Error("a settled reservation counts as open")
			}
		})
	}
}

func TestSettleWithoutReservation(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	b.settle(budget.Settlement{RequestID: "never seen", Basis: budget.BasisReleased})
	b.settle(budget.Settlement{RequestID: "never seen", Basis: budget.BasisBound})
	b.settle(budget.Settlement{Basis: budget.BasisUsage, Cost: 5})
	b.flush()
	b.want(st.ID, 0, 0)
	if n, err := b.Count(t.Context(), "SELECT count(*) FROM settle"); err != nil || n != 0 {
		t.Errorf("%d rows were written (%v), want none", n, err)
	}
}

func TestStray(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	r := budget.Reservation{ID: 99<<43 | 5, ReservedAt: april, Bound: 30, Accounts: []int64{1},
		Attribution: budget.Attribution{KeyID: "key_a", Tag: "a", Model: "p/m", Provider: "p"}}
	s := settlement(r, 20)
	s.RequestID = "foreign"
	if !b.IsOpen(r.ID) {
		t.Error("a reservation of another history must be read")
	}
	b.settle(s)
	b.want(st.ID, 20, 0) // counts at once
	b.flush()
	b.settle(s)
	b.flush()
	b.want(st.ID, 20, 0)
	released := s
	released.RequestID, released.Basis = "other", budget.BasisReleased
	b.settle(released)
	b.flush()
	b = b.crash()
	b.settle(s)
	b.flush()
	if got := b.Counters(st.ID).Spent; got != 20 {
		t.Errorf("spent %d after a repeat past a crash, want 20", got)
	}
}

func TestExpiryChargesThenRefundsOnce(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	r := b.reserve("a", 60)
	b.clock.add(4 * time.Minute)
	b.Heartbeat(r.ID, "")
	b.clock.add(4 * time.Minute)
	b.tick()
	b.want(st.ID, 0, 60)
	b.clock.add(2 * time.Minute)
	b.tick()
	b.want(st.ID, 60, 0)
	b.Heartbeat(r.ID, "")
	if !b.IsOpen(r.ID) {
		t.Error("an expired reservation can still be corrected")
	}
	b = b.crash()
	pool := b.Counters(st.ID).Orphan // what the mark allowed beyond the hold
	b.settle(settlement(r, 25))
	b.settle(settlement(r, 0))
	b.want(st.ID, 25, pool)
	b.flush()
	b.settle(settlement(r, 0))
	b.flush()
	b.want(st.ID, 25, pool)
	if b.IsOpen(r.ID) {
		t.Error("a corrected reservation counts as open")
	}
	rows, err := b.UsageByTag(t.Context(), april4(t), "")
	if err != nil {
		t.Fatal(err)
	}
	want := []budget.UsageRow{{Attribution: budget.Attribution{Tag: "a"}, Requests: 1, Cost: 25, Tokens: budget.Tokens{Input: 10, Output: 5}}}
	if d := cmp.Diff(want, rows); d != "" {
		t.Errorf("usage (-want +got):\n%s", d)
	}
	b = b.crash()
	b.settle(settlement(r, 0))
	b.flush()
	if c := b.Counters(st.ID); c.Spent != 25 {
		t.Errorf("counters %+v, want 25 spent", c)
	}
}

func TestExpiredInSameBatchAsLateLog(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	release := b.gate.Stall()
	// The mark must rise before anything is admitted: let one commit pass.
	release()
	r := b.reserve("a", 60)
	release = b.gate.Stall()
	b.clock.add(6 * time.Minute)
	b.Tick()
	b.want(st.ID, 60, 0)
	b.settle(settlement(r, 10))
	b.settle(settlement(r, 10))
	b.want(st.ID, 10, 0)
	release()
	b.flush()
	b.want(st.ID, 10, 0)
	if _, expired, requests, _ := b.Sizes(); expired+requests != 0 {
		t.Errorf("%d expired holds and %d request ids are left", expired, requests)
	}
}

func TestLateLogWithoutTokenReleasesExpired(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	q := b.request("a", 60)
	if _, err := b.Reserve(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	b.clock.add(6 * time.Minute)
	b.tick()
	b.settle(budget.Settlement{RequestID: q.RequestID, Basis: budget.BasisReleased})
	b.flush()
	b.want(st.ID, 0, 0)
	rows, err := b.UsageByTag(t.Context(), april4(t), "")
	if err != nil || len(rows) != 0 {
		t.Errorf("usage is %v (%v), want none: nothing was sent", rows, err)
	}
}

func TestCheckRetried(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 100)
	q := b.request("a", 60)
	first, err := b.Reserve(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Reserve(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(first, again); d != "" {
		t.Errorf("the repeat differs:\n%s", d)
	}
	b.want(st.ID, 0, 60)
	other := q
	other.Bound = 61
	_, err = b.Reserve(t.Context(), other)
	if e := asError(t, err); e.Kind != budget.KindUnavailable || e.Reason != "request_id_reused" {
		t.Errorf("another bound is refused with %v %s", e.Kind, e.Reason)
	}
	b.flush()
	b = b.crash()
	again, err = b.Reserve(t.Context(), q)
	if err != nil || again.ID != first.ID {
		t.Errorf("after a crash the repeat got %d (%v), want %d", again.ID, err, first.ID)
	}
}

func TestUnbounded(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 100)
	why := budget.Invalid("model_not_priced", "model", "no price")
	q := b.request("a", 7)
	q.Unbounded = why
	if _, err := b.Reserve(t.Context(), q); err != why {
		t.Errorf("under a budget: %v, want the request's own refusal", err)
	}
	for i, basis := range []budget.Basis{budget.BasisUnpriced, budget.BasisBound, budget.BasisProviderError, budget.BasisReleased} {
		q = b.request("free", 7)
		q.Unbounded = why
		r, err := b.Reserve(t.Context(), q)
		if err != nil || r.Bound != 0 || r.Tightest != nil {
			t.Fatalf("%d: %+v, %v", i, r, err)
		}
		b.settle(budget.Settlement{Reservation: &r, Basis: basis})
	}
	q = b.request("known", 7)
	q.Unbounded = why
	r, err := b.Reserve(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	b.settle(budget.Settlement{Reservation: &r, Basis: budget.BasisUsage, Cost: 50, Tokens: budget.Tokens{Input: 5}})
	q = b.request("free", 7)
	q.Unbounded = why
	if _, err := b.Reserve(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	b.clock.add(6 * time.Minute)
	b.tick()
	rows, err := b.UsageByTag(t.Context(), april4(t), "")
	want := []budget.UsageRow{
		{Attribution: budget.Attribution{Tag: "known"}, Requests: 1, Cost: 50, Tokens: budget.Tokens{Input: 5}}, // by its usage
		{Attribution: budget.Attribution{Tag: "free"}, Requests: 4, Unpriced: 3},
	}
	if d := cmp.Diff(want, rows); err != nil || d != "" {
		t.Errorf("usage (%v, -want +got):\n%s", err, d)
	}
}

func TestSpoolPositionCommitsWithEffects(t *testing.T) {
	b := start(t)
	st := b.budget("a", budget.Month, 1000)
	r0, r1, r2 := b.reserve("a", 60), b.reserve("a", 60), b.reserve("a", 60)
	b.flush()
	release := b.gate.Stall()
	b.settle(settlement(r0, 0))
	waitFor(t, func() bool { n, _ := b.Queue(); return n == 0 }) // a commit is under way
	done := make(chan error, 1)
	go func() {
		done <- b.SettleSpool(t.Context(), []budget.Settlement{settlement(r1, 10), settlement(r2, 10)}, budget.SpoolPosition{File: "1:2", Offset: 500})
	}()
	waitFor(t, func() bool { return !b.IsOpen(r2.ID) })
	if n, joined := b.Queue(); n != 3 || joined != 2 {
		t.Errorf("%d events wait, %d with the next; want both effects with the position, and nothing with it", n, joined)
	}
	dir := t.TempDir()
	if err := b.CopyFiles(dir); err != nil {
		t.Fatal(err)
	}
	if p := b.SpoolPosition(); p.Offset != 0 {
		t.Errorf("position is %+v before its commit", p)
	}
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if p := b.SpoolPosition(); p.File != "1:2" || p.Offset != 500 {
		t.Errorf("position is %+v", p)
	}
	before := reopen(t, dir, b.clock)
	if p := before.SpoolPosition(); p.Offset != 0 {
		t.Errorf("a crash before the commit kept position %+v", p)
	}
	before.want(st.ID, 0, before.Counters(st.ID).Used)
	after := b.crash()
	if p := after.SpoolPosition(); p.Offset != 500 {
		t.Errorf("a crash after the commit lost the position: %+v", p)
	}
	if got := after.Counters(st.ID).Spent; got != 20 {
		t.Errorf("spent %d, want 20", got)
	}
}

func TestOpenReservations(t *testing.T) {
	b := start(t)
	b.reserve("a", 1)
	b.clock.add(time.Second)
	all, own := b.budget("**", budget.Month, 100), b.budget("b", budget.Day, 100)
	r := b.reserve("b", 2)
	b.reserve("b", 3)
	got := b.OpenReservations(2)
	if len(got) != 2 || got[0].Bound != 1 || got[1].ID != r.ID {
		t.Fatalf("open: %+v", got)
	}
	// The first began before its budget was made, and is on it.
	if diff := cmp.Diff([][]string{{all.ID}, {all.ID, own.ID}}, [][]string{got[0].Budgets, got[1].Budgets}); diff != "" {
		t.Errorf("the budgets that hold them (-want +got):\n%s", diff)
	}
	if want := b.clock.now().Add(5 * time.Minute); !got[1].Deadline.Equal(want) {
		t.Errorf("deadline %v, want %v", got[1].Deadline, want)
	}
}

func april4(t testing.TB) budget.Window {
	t.Helper()
	w, err := budget.ParseMonth("month", "2026-04", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// waitFor polls until ok, for at most a minute.
func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("condition was not met in a minute")
		}
		<-time.After(time.Millisecond)
	}
}
