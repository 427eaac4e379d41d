package extauthz

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// explain completes a cap's refusal with what only this package knows: how the
// bound came about, and the largest output the same request could ask for and
// be admitted. Other errors pass unchanged. The ledger's error is copied, never
// written to: it gives the same one to every repeat of a request id.
func explain(err error, endpoint pricing.Endpoint, bound *pricing.Bound) error {
	var e *budget.Error
	if !errors.As(err, &e) || e == nil || e.Kind != budget.KindBudgetExceeded || e.Refusal == nil {
		return err
	}
	refusal := *e.Refusal
	refusal.MaxTokensThatFit, refusal.Lines = nil, bound.Lines()
	if most, ok := bound.LargestCap(refusal.Remaining()); ok && most > 0 && endpoint.CapField() != "" {
		refusal.MaxTokensThatFit = &most
	}
	out := *e
	out.Refusal = &refusal
	out.Message = sentence(e.Reason, endpoint, &refusal)
	return &out
}

// final ends the retries of clients that read neither the status nor
// x-should-retry, only the message: aider goes on, with waits that double, unless
// both words are in it (its exceptions.py, get_ex_info).
const final = ` (insufficient credits, "code":402)`

// sentence says how much is left, what was asked for and what would fit.
func sentence(reason string, endpoint pricing.Endpoint, r *budget.Refusal) string {
	name := string(r.Budget.Target.Tags)
	if name == "" {
		name = r.Budget.Target.KeyID
	}
	var b strings.Builder
	b.WriteString("Budget '" + name + "' has $" + r.Remaining().String() + " of $" + r.Budget.Cap.String() + " left")
	switch reason {
	case "cap_held_since_restore":
		b.WriteString(" since the gateway was restored from a backup, which holds $" + r.Restored.String() + " for calls that it may not know")
	case "cap_held":
		b.WriteString(" while calls in flight hold $" + r.Reserved.String())
	}
	b.WriteString("; this request could cost $" + r.Bound.String() + ".")
	switch {
	case r.Remaining() == 0: // nothing fits, however short
	case r.MaxTokensThatFit != nil:
		b.WriteString(" " + endpoint.CapField() + " " + strconv.FormatInt(*r.MaxTokensThatFit, 10) + " fits.")
	case endpoint.CapField() != "":
		b.WriteString(" No " + endpoint.CapField() + " fits: its input alone costs more.")
	default:
		b.WriteString(" Only a shorter input fits.")
	}
	switch reason {
	case "cap_held_since_restore":
		b.WriteString(" The gateway's operator can release it.")
	case "cap_held":
		b.WriteString(" It may fit once they have ended.")
	}
	if !r.ResetsAt.IsZero() {
		b.WriteString(" The budget starts anew at " + r.ResetsAt.UTC().Format(time.RFC3339) + ".")
	}
	b.WriteString(final)
	return b.String()
}
