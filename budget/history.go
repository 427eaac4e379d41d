package budget

import (
	"encoding/json"
	"fmt"
	"time"
)

// WindowReport is a budget's window, what it cost against its cap, and what the
// cap refused in it.
type WindowReport struct {
	Window
	Running bool
	Cap     *Amount // as the window ended, or now; nil: nobody knows any more
	Spent   Amount
	Refused RefusedSum
}

// RefusedSum counts calls that were refused.
type RefusedSum struct {
	Calls int64 // all of them
	// Distinct leaves out those that the same key sent again within ten minutes.
	Distinct int64
	// Kept is what the distinct ones could have cost, their bounds: at most what a
	// cap kept from being spent.
	Kept Amount
}

// Add adds o to s; Kept stays at MaxAmount.
func (s *RefusedSum) Add(o RefusedSum) {
	s.Calls += o.Calls
	s.Distinct += o.Distinct
	s.Kept = s.Kept.Plus(o.Kept)
}

// Refused is what one budget refused for one reason.
type Refused struct {
	BudgetID string    // empty: no budget did
	Reason   string    // as in the error that clients get
	Time     time.Time // in a quarter of an hour; zero in the sum of a longer time
	RefusedSum
}

// BudgetChange is an edit of a budget.
type BudgetChange struct {
	AuditEntry
	Reason string
	// Before and After are what the edit set, without counters. Nil: there was none.
	Before, After *Budget
}

// forecastAfter is the part of a window, 1 in so many, that must be over before its
// pace says anything: a day and a half of a month.
const forecastAfter = 20

// Forecast is what a running window comes to, at the pace of its beginning.
type Forecast struct {
	Projected Amount    // when the window ends, if no cap were there
	FullAt    time.Time // when the cap is used up; zero: not in this window
}

// Forecast goes on from s in a straight line: what was spent, times the length of
// the window, by how much of it is over. There is none without an end, and none
// before a twentieth of the window is over.
func (s *Status) Forecast(now time.Time) (f Forecast, ok bool) {
	f.Projected, ok = Straight(s.Spent, s.Window, now)
	if !ok {
		return f, false
	}
	if s.Spent >= s.Cap {
		f.FullAt = now
	} else if f.Projected >= s.Cap {
		over := now.Sub(s.Window.Start)
		f.FullAt = s.Window.Start.Add(time.Duration(s.Cap.MulDiv(int64(over), int64(s.Spent))))
	}
	return f, true
}

// Straight is what spent comes to at the end of w at the pace from its start to now.
func Straight(spent Amount, w Window, now time.Time) (Amount, bool) {
	length, over := w.End.Sub(w.Start), now.Sub(w.Start)
	if w.End.IsZero() || spent < 0 || !w.Contains(now) || over < length/forecastAfter || over <= 0 {
		return 0, false
	}
	return spent.MulDiv(int64(length), int64(over)), true
}

// ReadTerms reads what the audit log keeps of an edit of a budget: Terms, and why.
func ReadTerms(detail string) (b Budget, reason string, ok bool) {
	var d struct {
		Zone      string `json:"time_zone"`
		Cap       Amount `json:"cap_nano_usd"`
		MaxTokens int64  `json:"default_max_tokens"`
		MaxCalls  int64  `json:"default_max_tool_calls"`
		Reason    string `json:"reason"`
	}
	if json.Unmarshal([]byte(detail), &d) != nil {
		return b, "", false
	}
	return Budget{Zone: d.Zone, Cap: d.Cap, Defaults: Defaults{DefaultMaxTokens: d.MaxTokens, DefaultMaxToolCalls: d.MaxCalls}}, d.Reason, true
}

// ReadChanges are the edits of a budget that entries of the audit log tell, the last
// one first. The last of entries is only for what was before.
func ReadChanges(entries []AuditEntry, limit int) (out []BudgetChange, err error) {
	for _, e := range entries {
		b, reason, ok := ReadTerms(e.Detail)
		if !ok {
			return nil, fmt.Errorf("audit row %d cannot be read", e.ID)
		}
		b.ID = e.Subject
		out = append(out, BudgetChange{AuditEntry: e, Reason: reason, After: &b})
	}
	for i := range out { // the older one is the next
		if i+1 < len(out) {
			out[i].Before = out[i+1].After
		}
	}
	for i := range out {
		if out[i].Action == "delete_budget" {
			out[i].After = nil
		}
	}
	return out[:min(len(out), max(0, limit))], nil
}
