package budget

import "time"

// CallState is how far a call has come.
type CallState string

// The states of a call.
const (
	CallRunning CallState = "running" // admitted, its end is not known yet
	CallSettled CallState = "settled" // its end was reported, and decided its cost
	CallExpired CallState = "expired" // no report of its end came in time: charged its bound
	CallRefused CallState = "refused" // never sent
)

// Call is what is known of one call: never a word of its prompt or its answer.
type Call struct {
	ID        ReservationID // of one that was refused, its number among those
	RequestID string        // empty where only the time of its end is known
	State     CallState
	Attribution
	DecidedAt time.Time
	Bound     Amount
	Unpriced  bool     // no bound could be computed, and no budget watched the call
	Budgets   []string // ids of those that held the bound, or of the one that refused
	// Arithmetic is how Bound came about, see Request.
	Arithmetic []byte

	// Of one that ended.
	EndedAt time.Time // zero: nobody told
	Basis   Basis
	Cost    Amount
	Tokens
	Served string // slug of the model that answered where it is another
	Status int    // HTTP status of the provider; 0: it gave none

	// Of one that was refused.
	Reason  string   // as in the error that the client got
	Refusal *Refusal // of a cap's; without Lines
	Repeats int64    // how often the same call was refused again
}

// CallQuery selects calls, the newest first. Empty fields select all. Gateways of two
// versions send it to each other: its names in JSON stay.
type CallQuery struct {
	Tags      []TagPattern `json:"tags"` // any of these
	KeyID     string       `json:"key_id"`
	Model     string       `json:"model"` // slug
	RequestID string       `json:"request_id"`
	State     CallState    `json:"state"`
	Since     time.Time    `json:"since"` // decided then or later
	// Before continues a list behind a call: only older ones.
	Before ReservationID `json:"before"`
	Limit  int           `json:"limit"` // of calls in a page, 1 or more
}

// Selects reports whether q selects a call, but for Before and Limit.
func (q *CallQuery) Selects(a *Attribution, requestID string, state CallState, decidedAt time.Time) bool {
	return (q.KeyID == "" || q.KeyID == a.KeyID) && (q.Model == "" || q.Model == a.Model) &&
		(q.RequestID == "" || q.RequestID == requestID) && (q.State == "" || q.State == state) &&
		!decidedAt.Before(q.Since) && q.selectsTag(a.Tag)
}

func (q *CallQuery) selectsTag(t Tag) bool {
	for _, p := range q.Tags {
		if p.Matches(t) {
			return true
		}
	}
	return len(q.Tags) == 0
}

// CallPage is a part of a list of calls. It may be shorter than asked for, or
// empty, before the end of the list: what a page may read is bounded.
type CallPage struct {
	Calls []Call // the newest first
	// Before is where the next page begins; 0: this is the last one.
	Before ReservationID
	// Reached is when the oldest call was decided that was looked at; zero on the
	// last page.
	Reached time.Time
}

// CallCursor is a place in the order in which calls ended. The zero one is before
// all that are kept.
type CallCursor struct {
	Link  uint64 // of the hash chain: all calls up to it
	Calls int    // … and so many of the next one
}
