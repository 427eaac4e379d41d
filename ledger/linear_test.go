package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"aigateway/budget"
	"aigateway/ledger"
)

// linearInput is an operation on one budget.
type linearInput struct {
	op     string // reserve, settle, cap, read
	amount budget.Amount
	bound  budget.Amount // of the call that settle ends
}

// linearOutput is what a caller saw.
type linearOutput struct {
	admitted bool
	used     budget.Amount
}

// linearState is the sequential ledger.
type linearState struct{ cap, used budget.Amount }

func sequentialLedger(limit budget.Amount) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return linearState{cap: limit} },
		Step: func(state, input, output any) (bool, any) {
			s, in, out := state.(linearState), input.(linearInput), output.(linearOutput)
			switch in.op {
			case "reserve":
				fits := s.used+in.amount <= s.cap
				if fits {
					s.used += in.amount
				}
				return out.admitted == fits, s
			case "settle":
				s.used += in.amount - in.bound
				return true, s
			case "cap":
				s.cap = in.amount
				return true, s
			default:
				return out.used == s.used, s
			}
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
	}
}

// TestLinearizable runs concurrent histories on the real ledger, disk
// included: to its callers it must look like a ledger that does one thing at a
// time, although money is freed late and marks rise behind the scenes.
func TestLinearizable(t *testing.T) {
	const clients, operations = 8, 200
	histories := 100
	if testing.Short() {
		histories = 10
	}
	b := start(t, func(c *ledger.Config) { c.Now = time.Now; c.JournalWait = 30 * time.Second })
	began := time.Now()
	for h := range histories {
		tag := budget.TagPattern(fmt.Sprint("t", h))
		st := b.budget(tag, budget.Total, 100)
		var mu sync.Mutex
		var history []porcupine.Operation
		var wg sync.WaitGroup
		for client := range clients {
			wg.Go(func() {
				c := linearClient{bench: b, st: st, rng: rand.New(rand.NewPCG(uint64(h), uint64(client))), name: fmt.Sprint(h, "-", client)}
				for range operations / clients {
					op := porcupine.Operation{ClientId: client}
					call := time.Now()
					op.Input, op.Output = c.do(t)
					op.Call, op.Return = int64(call.Sub(began)), int64(time.Since(began))
					mu.Lock()
					history = append(history, op)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		switch porcupine.CheckOperationsTimeout(sequentialLedger(100), history, 10*time.Second) {
		case porcupine.Illegal:
			t.Fatalf("history %d is not linearizable:\n%v", h, history)
		case porcupine.Unknown:
			t.Logf("history %d was too hard to check in time", h)
		}
		if err := b.DeleteBudget(t.Context(), st.ID, "", budget.Author{Actor: "test"}); err != nil {
			t.Fatal(err)
		}
		if time.Since(began) > time.Minute {
			t.Logf("stopped after %d histories", h+1)
			return
		}
	}
}

// linearClient is one caller of a history.
type linearClient struct {
	*bench
	st    budget.Status
	rng   *rand.Rand
	name  string
	made  int
	holds []budget.Reservation
}

func (c *linearClient) do(t *testing.T) (linearInput, linearOutput) {
	n := c.rng.IntN(20)
	switch {
	case n < 8 && len(c.holds) > 0:
		r := c.holds[0]
		c.holds = c.holds[1:]
		cost := budget.Amount(c.rng.Int64N(int64(r.Bound)/4 + 1))
		if err := c.Settle(context.Background(), settlement(r, cost)); err != nil {
			t.Error(err)
		}
		return linearInput{op: "settle", amount: cost, bound: r.Bound}, linearOutput{}
	case n == 18:
		limit := budget.Amount(40 + c.rng.IntN(120))
		_, err := c.UpdateBudget(context.Background(), c.st.ID, "", func(b *budget.Budget) error { b.Cap = limit; return nil }, budget.Author{Actor: "test"})
		if err != nil {
			t.Error(err)
		}
		return linearInput{op: "cap", amount: limit}, linearOutput{}
	case n == 19:
		st, err := c.GetBudget(c.st.ID)
		if err != nil {
			t.Error(err)
		}
		return linearInput{op: "read"}, linearOutput{used: st.Spent + st.Reserved}
	}
	c.made++
	bound := budget.Amount(1 + c.rng.IntN(30))
	r, err := c.Reserve(context.Background(), budget.Request{RequestID: fmt.Sprint(c.name, "-", c.made), Bound: bound,
		Attribution: budget.Attribution{KeyID: "key_a", Tag: budget.Tag(c.st.Target.Tags), Model: "p/m", Provider: "p"}})
	var e *budget.Error
	if err != nil && (!errors.As(err, &e) || e.Kind != budget.KindBudgetExceeded) {
		t.Error(err)
	}
	if err == nil {
		c.holds = append(c.holds, r)
	}
	return linearInput{op: "reserve", amount: bound}, linearOutput{admitted: err == nil}
}
