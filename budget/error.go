package budget

import (
	"fmt"
	"time"
)

// Kind is the class of an error; each edge maps kinds to its own codes in one
// place (package apierror).
type Kind int

// The closed set of kinds, with the HTTP status each becomes.
const (
	KindInternal        Kind = iota // 500, a bug of ours
	KindInvalid                     // 400 invalid_request_error
	KindUnauthenticated             // 401 authentication_error
	KindBudgetExceeded              // 402 budget_exceeded
	KindPermission                  // 403 permission_error
	KindModelNotFound               // 404 model_not_found
	KindNotFound                    // 404 not_found
	KindConflict                    // 409 conflict: an etag that no longer matches
	KindTooLarge                    // 413 request_too_large
	KindRateLimited                 // 429 rate_limit_error
	KindProvider                    // 502 provider_error
	KindUnavailable                 // 503 service_unavailable
	KindTimeout                     // 504 timeout_error
)

// Error is the one error type that reaches users.
type Error struct {
	Kind Kind
	// Reason is a stable snake_case code, such as duplicate_key.
	Reason string
	// Field names the header, body member or config key at fault; may be empty.
	Field string
	// Message says what is wrong and what to do about it. It never holds a secret.
	Message string
	// Refusal carries the numbers of a KindBudgetExceeded, and of budget_contended.
	Refusal *Refusal
	// Err is the cause, for logs only; it is never shown to a client.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Message + ": " + e.Err.Error()
	}
	return e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Refusal is why a cap refused a request, in exact numbers. Of several
// refusing budgets it describes the one with the least room.
type Refusal struct {
	Budget   Budget
	Spent    Amount
	Reserved Amount // open reservations and what a crash left undecided
	// Restored is the part of Spent and Reserved that stands for calls which a
	// restored backup does not know; an operator can release it.
	Restored Amount
	Bound    Amount    // the worst-case cost of the refused request
	ResetsAt time.Time // zero for a total budget
	// MaxTokensThatFit is an output cap this request could ask for and be admitted
	// now, the largest or up to a hundredth less; nil when not even its input fits.
	MaxTokensThatFit *int64
	// Waited is how long the request waited for running calls to end.
	Waited time.Duration
	// Lines is the arithmetic of Bound; empty where nobody worked it out.
	Lines []Line
}

// Line is one step of a bound's arithmetic, for people. Each amount is rounded
// up by itself; the bound rounds up once, so the lines may sum to a little more.
type Line struct {
	Label       string
	Quantity    int64
	Unit        string
	PicoPerUnit int64 // 1e-12 US dollars
	Amount      Amount
	Note        string
}

// Remaining is what the cap leaves, at least 0.
func (r *Refusal) Remaining() Amount { return max(0, r.Budget.Cap-r.Spent-r.Reserved) }

// Invalid is a KindInvalid error.
func Invalid(reason, field, message string) *Error {
	return &Error{Kind: KindInvalid, Reason: reason, Field: field, Message: message}
}

// NotFound is a KindNotFound error.
func NotFound(reason, message string) *Error {
	return &Error{Kind: KindNotFound, Reason: reason, Message: message}
}

// NoBudget and NoKey are the errors for an id that nothing has.
func NoBudget(id string) *Error {
	return NotFound("budget_not_found", fmt.Sprintf("there is no budget %q", id))
}

func NoKey(id string) *Error {
	return NotFound("key_not_found", fmt.Sprintf("there is no key %q", id))
}

// Contended is the answer while there is room below a cap, but other replicas hold
// it: they give it back within a second, so a retry after that helps.
func Contended(r *Refusal) *Error {
	return &Error{
		Kind: KindRateLimited, Reason: "budget_contended", Refusal: r,
		Message: "what is left of the budget is lent to other gateways at this moment; retry in a second",
	}
}

// Unavailable is a KindUnavailable error: nothing was decided, a retry may help.
func Unavailable(reason, message string, err error) *Error {
	return &Error{Kind: KindUnavailable, Reason: reason, Message: message, Err: err}
}
