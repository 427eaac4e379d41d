package pricing

import (
	"time"

	"aigateway/budget"
)

// Bound is the most a call can cost, and what must change in its body.
type Bound struct {
	Amount      budget.Amount
	Edits       []Edit // ascending, not overlapping
	StripUsage  bool   // drop the usage-only chunk the client did not ask for
	InjectedCap int64  // output cap inserted into the body; 0: none
	Pin         string // opaque text for Charge
}

// Edit replaces Del bytes at offset At of the body by Ins.
type Edit struct {
	At, Del int
	Ins     string
}

// Line is one step of a bound's arithmetic.
type Line struct {
	Label       string
	Quantity    int64
	Unit        string
	PicoPerUnit int64
	Amount      budget.Amount
	Note        string
}

// Bound is the worst-case cost of c. The error is a *budget.Error.
func (m Model) Bound(c *Call, at time.Time) (*Bound, error) { return &Bound{}, nil }

// UnpricedEdits is Bound for a call that no budget watches and that has no bound.
func (m Model) UnpricedEdits(c *Call) *Bound { return &Bound{} }

// Lines is the arithmetic behind Amount.
func (b *Bound) Lines() []Line { return nil }

// LargestCap is the largest output cap whose bound is at most room.
func (b *Bound) LargestCap(room budget.Amount) (int64, bool) { return 0, false }
