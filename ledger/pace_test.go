package ledger_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/ledger"
)

// TestEditsDoNotWaitForThePace makes and changes budgets while calls come, whose
// commits nobody waits for and which are paced: no edit waits for that pace. Time
// passes here only while everybody waits.
func TestEditsDoNotWaitForThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := ledger.Open(t.Context(), ledger.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for i := range 50 {
			tag := fmt.Sprintf("a/%d", i)
			r, err := l.Reserve(t.Context(), budget.Request{RequestID: tag, Bound: 10, Attribution: budget.Attribution{KeyID: "key_a", Tag: budget.Tag(tag), Model: "m", Provider: "p"}})
			if err != nil {
				t.Fatal(err)
			}
			st, err := l.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: budget.TagPattern(tag)}, Period: budget.Month, Cap: 100}, byTest)
			if err != nil {
				t.Fatal(err)
			}
			if st.Reserved != r.Bound {
				t.Errorf("the new budget has %d reserved, want %d", st.Reserved, r.Bound)
			}
			if _, err := l.UpdateBudget(t.Context(), st.ID, "", func(b *budget.Budget) error { b.Cap = 50; return nil }, byTest); err != nil {
				t.Fatal(err)
			}
			if err := l.DeleteBudget(t.Context(), st.ID, "", byTest); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("150 edits waited %v in all, want 0: nobody else was to be waited for", waited)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRoomIsFreeAtOnce settles a call right after a commit while another waits for
// its room: that one does not wait for the pace of commits too.
func TestRoomIsFreeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := ledger.Open(t.Context(), ledger.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Month, Cap: 100}, byTest); err != nil {
			t.Fatal(err)
		}
		request := func(id string) budget.Request {
			return budget.Request{RequestID: id, Bound: 80, Wait: time.Minute, Attribution: budget.Attribution{KeyID: "key_a", Tag: "a", Model: "m", Provider: "p"}}
		}
		running, err := l.Reserve(t.Context(), request("running"))
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan error)
		go func() {
			_, err := l.Reserve(t.Context(), request("waiting"))
			answered <- err
		}()
		synctest.Wait()
		if err := l.Flush(t.Context()); err != nil { // whatever is paced waits from now on
			t.Fatal(err)
		}
		began := time.Now()
		if err := l.Settle(t.Context(), budget.Settlement{Reservation: &running, RequestID: "running", Basis: budget.BasisUsage, Cost: 10, At: began}); err != nil {
			t.Fatal(err)
		}
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited > 0 {
			t.Errorf("a call got its room %v after it was free, want at once", waited)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestWhoWaitsElsewhereLeavesThePace lets a call wait for room on one budget while others
// come and end on another one: their commits keep their pace.
func TestWhoWaitsElsewhereLeavesThePace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		l, err := ledger.Open(t.Context(), ledger.Config{Dir: t.TempDir(), Metrics: reg})
		if err != nil {
			t.Fatal(err)
		}
		for tag, most := range map[budget.TagPattern]budget.Amount{"full": 100, "busy": 1_000_000} {
			if _, err := l.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: tag}, Period: budget.Month, Cap: most}, byTest); err != nil {
				t.Fatal(err)
			}
		}
		request := func(tag budget.Tag, id string, bound budget.Amount) budget.Request {
			return budget.Request{RequestID: id, Bound: bound, Wait: time.Hour, Attribution: budget.Attribution{KeyID: "key_a", Tag: tag, Model: "m", Provider: "p"}}
		}
		settle := func(r budget.Reservation, id string) {
			t.Helper()
			if err := l.Settle(t.Context(), budget.Settlement{Reservation: &r, RequestID: id, Basis: budget.BasisUsage, At: time.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		running, err := l.Reserve(t.Context(), request("full", "running", 80))
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan error)
		go func() {
			_, err := l.Reserve(t.Context(), request("full", "waiting", 80))
			answered <- err
		}()
		synctest.Wait()
		before := commits(t, reg)
		for i := range 1000 {
			id := fmt.Sprint(i)
			r, err := l.Reserve(t.Context(), request("busy", id, 1))
			if err != nil {
				t.Fatal(err)
			}
			settle(r, id)
			time.Sleep(time.Millisecond)
		}
		if n := commits(t, reg) - before; n < 15 || n > 100 {
			t.Errorf("%d commits in a second of calls, want one every 50 ms, and some for marks", n)
		}
		settle(running, "running")
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// commits is how many commits a ledger has made.
func commits(t *testing.T, g prometheus.Gatherer) (n uint64) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "aig_sync_seconds" {
			n = f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	return n
}
