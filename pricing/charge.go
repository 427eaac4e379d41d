package pricing

import (
	"time"

	"aigateway/budget"
)

// Evidence is what an access log entry proves about a call.
type Evidence struct {
	Sent     bool // the first byte went upstream
	Status   int  // the upstream's status where known, else the client's; 0: none
	Cut      bool // did not end normally
	Stream   bool // the answer was text/event-stream
	Duration time.Duration
	// Raw JSON text copied from the answer; empty when absent.
	Usage, FirstUsage, Model, ServiceTier, Type, ToolUsage string
	Done                                                   bool // the answer ended as its format says
}

// Outcome is what a call is charged, and why.
type Outcome struct {
	Basis  budget.Basis
	Cost   budget.Amount
	Tokens budget.Tokens
	Flags  []string
}

// Charge decides what a call cost from its pin, its bound and the evidence.
func Charge(pin string, bound budget.Amount, ev Evidence) Outcome { return Outcome{} }
