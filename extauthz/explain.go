package extauthz

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"aigateway/apierror"
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
		most = unretried(most)
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

// unretried is n, or the next number below it that no client takes for a status
// (apierror.Retried): at most a hundredth less.
func unretried(n int64) int64 {
	for {
		digits := strconv.FormatInt(n, 10)
		at := apierror.Retried(digits)
		if at < 0 {
			return n
		}
		unit := int64(1)
		for range len(digits) - at - len("500") {
			unit *= 10
		}
		n = n/unit*unit - 1
	}
}

// dollars is an exact amount as clients can be told it: "$0.30", "50,000 cents"
// for five hundred dollars, or "$0.025_04" where cents do not help either.
func dollars(a budget.Amount) string {
	text := "$" + a.String()
	if apierror.Retried(text) >= 0 && a%budget.Cent == 0 {
		cents := strconv.FormatInt(int64(a/budget.Cent), 10)
		for i := len(cents) - 3; i > 0; i -= 3 {
			cents = cents[:i] + "," + cents[i:]
		}
		if apierror.Retried(cents) < 0 {
			return cents + " cents"
		}
	}
	for at := apierror.Retried(text); at >= 0; at = apierror.Retried(text) {
		text = text[:at+1] + "_" + text[at+1:]
	}
	return text
}

// sentence says how much is left, what was asked for and what would fit, without
// a number that makes a client ask again.
func sentence(reason string, endpoint pricing.Endpoint, r *budget.Refusal) string {
	name := string(r.Budget.Target.Tags)
	if name == "" {
		name = r.Budget.Target.KeyID
	}
	var b strings.Builder
	if apierror.Retried(name) < 0 {
		b.WriteString("Budget '" + name + "'")
	} else {
		b.WriteString("The budget of this call") // its name is in the metadata
	}
	b.WriteString(" has " + dollars(r.Remaining()) + " of " + dollars(r.Budget.Cap) + " left")
	switch reason {
	case "cap_held_since_restore":
		b.WriteString(" since the gateway was restored from a backup, which holds " + dollars(r.Restored) + " for calls that it may not know")
	case "cap_held":
		b.WriteString(" while calls in flight hold " + dollars(r.Reserved))
	}
	b.WriteString("; this request could cost " + dollars(r.Bound) + ".")
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
