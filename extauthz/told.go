package extauthz

import (
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// Decided is one decision, for those who trace. It holds no prompt and no key.
type Decided struct {
	RequestID   string
	TraceParent string // W3C's header as the client sent it; empty: it sent none, or more than one
	// What was understood of the call until it was decided; empty: not so far.
	Endpoint        pricing.Endpoint
	KeyID           string
	Tag             budget.Tag
	Model, Provider string
	Start, End      time.Time
	Status          int    // HTTP status of a refusal; 0: admitted
	Reason          string // of a refusal
	Failed          bool   // it is refused for a fault of ours
	Bounded         bool   // Bound is reserved
	Bound           budget.Amount
	Waited          time.Duration // for running calls, of the whole
}

func decided(r *request, c *call, a *answer, start, end time.Time) Decided {
	d := Decided{
		RequestID: a.requestID, Endpoint: c.endpoint, Tag: c.tag, Model: c.quote.Model.Slug, Provider: c.quote.Model.Provider,
		Start: start, End: end, Status: a.status, Reason: a.reason, Failed: a.failed, Bounded: a.bounded, Bound: a.bound, Waited: a.waited,
	}
	if c.key != nil {
		d.KeyID = c.key.ID
	}
	if t := r.Headers.TraceParent; t.N == 1 && len(t.Value) <= maxTraceParent {
		d.TraceParent = string(t.Value)
	}
	return d
}

// maxTraceParent is far above the 55 bytes of version 00.
const maxTraceParent = 256
