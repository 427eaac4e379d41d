package budget

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Adjustment corrects what was charged: a refund or an extra charge, by a
// person, with a reason. It is a record of its own; what it corrects stays.
type Adjustment struct {
	ID        string // "adj_…", made by the ledger
	RequestID string // made by the caller; a repeat changes nothing
	// BudgetID names one budget, whose open window alone is corrected. Tag
	// names a tag, whose usage and every budget that watches it are. Exactly
	// one is set.
	BudgetID string
	Tag      Tag
	Amount   Amount // positive: a charge; negative: a refund; never 0
	Reason   string // for people, 1-500 printable bytes
	Actor    string // who, such as a key's id
	Time     time.Time
}

// AuditEntry is one change by an administrator.
type AuditEntry struct {
	ID      int64 // grows with time
	Time    time.Time
	Actor   string
	Action  string // such as create_budget, delete_key, adjust
	Subject string // id of what was changed
	Detail  string // JSON
}

// Author says who makes a change by hand, and why.
type Author struct {
	Actor  string // a key's id, or who runs the command
	Reason string // up to MaxReasonBytes of printable text; may be empty
}

// MaxReasonBytes is the longest reason.
const MaxReasonBytes = 500

// Check refuses a reason that cannot be kept.
func (a Author) Check() error {
	if a.Reason != "" && !Printable(a.Reason, MaxReasonBytes) {
		return Invalid("field_invalid", "reason", fmt.Sprintf("reason must be up to %d bytes of printable text, or absent", MaxReasonBytes))
	}
	return nil
}

// Printable reports whether s is 1 to limit bytes of printable text, more than blanks.
func Printable(s string, limit int) bool {
	return s != "" && len(s) <= limit && utf8.ValidString(s) && strings.TrimSpace(s) != "" &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
