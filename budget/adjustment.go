package budget

import (
	"fmt"
	"strconv"
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

// AdjustmentModel is the model and the provider of a correction in the usage reports:
// no call has it.
const AdjustmentModel = "adjustment"

const adjustmentPrefix = "adj_"

// AdjustmentID is the id of the num-th correction.
func AdjustmentID(num int64) string { return adjustmentPrefix + strconv.FormatInt(num, 10) }

// AdjustmentNumber is AdjustmentID backwards; of the empty id it is 0.
func AdjustmentNumber(id string) (int64, error) {
	if id == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.TrimPrefix(id, adjustmentPrefix), 10, 64)
	if err != nil || !strings.HasPrefix(id, adjustmentPrefix) {
		return 0, Invalid("field_invalid", "page_token", "page_token is none of ours; leave it out to start at the front")
	}
	return n, nil
}

// Check validates what a caller chose.
func (a *Adjustment) Check() error {
	switch {
	case (a.BudgetID == "") == (a.Tag == ""):
		return Invalid("field_invalid", "budget_id", "an adjustment corrects one budget or one tag; name exactly one of budget_id and tag")
	case a.Amount == 0 || a.Amount > MaxAmount || a.Amount < -MaxAmount:
		return Invalid("field_invalid", "amount", "amount must be a charge above 0 or a refund below 0, within the range of amounts")
	case !Printable(a.Reason, MaxReasonBytes):
		return Invalid("field_invalid", "reason", "reason must say why, in 1 to 500 bytes of printable text")
	case !Printable(a.RequestID, 128):
		return Invalid("field_invalid", "request_id", "request_id must have 1 to 128 bytes of printable text; make one up for each adjustment and repeat it when retrying")
	}
	if a.Tag != "" {
		return CheckTag("tag", string(a.Tag))
	}
	return nil
}

// Same is nil if again, which has the request id of a, is the same correction, else
// KindConflict.
func (a *Adjustment) Same(again *Adjustment) error {
	if a.BudgetID == again.BudgetID && a.Tag == again.Tag && a.Amount == again.Amount && a.Reason == again.Reason {
		return nil
	}
	return &Error{Kind: KindConflict, Reason: "request_id_reused", Field: "request_id",
		Message: fmt.Sprintf("request_id was used for adjustment %s, which is another one; use a new request_id", a.ID)}
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
