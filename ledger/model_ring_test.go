package ledger

import (
	"testing"
)

// readRing gives the disk what only the ring has, as the server's recovery does
// in one transaction with the new epoch.
func (w *modelWorld) readRing(s *modelState) {
	newest := -1
	for i := range s.calls {
		if c := &s.calls[i]; c.epoch == s.epoch && !c.journaled {
			c.row, c.journaled = holdRow, true
			newest = i
		}
	}
	if w.how == publishedEarly && newest >= 0 {
		s.calls[newest].row = noRow // its seq was there, its record was not
	}
}

// TestModelRing is TestModel when only the process ends. Then nothing is
// undecided: I7 demands that spending is the bill.
func TestModelRing(t *testing.T) {
	t.Parallel()
	kill, both := []modelOp{stepKill}, []modelOp{stepKill, stepCrash}
	for _, g := range []modelConfig{
		{"one kill", 4, 3, 1, nil, kill, false, 0, false},
		{"two kills", 4, 3, 2, nil, kill, false, 0, false},
		{"a kill and a power loss, in any order", 4, 3, 2, nil, both, false, 0, false},
		{"one kill, the cap cut to 3", 5, 3, 1, []int8{3}, kill, false, 0, false},
	} {
		g.holds(t)
	}
}

func TestModelRingMutants(t *testing.T) {
	for _, m := range []struct {
		name string
		how  sabotage
		ends []modelOp
	}{
		{"the ring is believed after a power loss", ringAfterPowerLoss, nil},
		{"a reservation is published before its record", publishedEarly, []modelOp{stepKill}},
	} {
		g := modelConfig{"", 4, modelCalls, 1, nil, m.ends, false, 0, false}
		g.notices(t, m.name, m.how, "I4")
	}
}
