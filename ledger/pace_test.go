package ledger_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

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
