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
		{name: "one kill", cap: 4, calls: 3, crashes: 1, ends: kill},
		{name: "two kills", cap: 4, calls: 3, crashes: 2, ends: kill},
		{name: "a kill and a power loss, in any order", cap: 4, calls: 3, crashes: 2, ends: both},
		{name: "one kill, the cap cut to 3", cap: 5, calls: 3, crashes: 1, edits: []int8{3}, ends: kill},
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
		g := modelConfig{cap: 4, calls: modelCalls, crashes: 1, ends: m.ends}
		g.notices(t, m.name, m.how, "I4")
	}
}
