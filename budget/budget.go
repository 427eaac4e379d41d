package budget

import (
	"fmt"
	"time"
)

// Budget is a hard cap on what a target may cost in each window of a period.
// At most one budget exists for a target and a period.
type Budget struct {
	ID         string // "bud_…", made by the ledger
	Target     Target
	Period     Period
	Zone       string // IANA time zone of the windows; "" is UTC
	Cap        Amount // 0..MaxAmount; 0 refuses every priced call
	Defaults          // of the calls it watches
	CreateTime time.Time
	UpdateTime time.Time
}

// Target is what a budget watches: the tags of a pattern, or one key. Exactly
// one field is set.
type Target struct {
	Tags  TagPattern
	KeyID string
}

// Label is what t watches, in one word: tags or a key's id.
func (t Target) Label() string {
	if t.KeyID != "" {
		return t.KeyID
	}
	return string(t.Tags)
}

// Watches reports whether a call with this tag and key is on t's budget.
func (t Target) Watches(tag Tag, keyID string) bool {
	if t.KeyID != "" {
		return t.KeyID == keyID
	}
	return t.Tags.Matches(tag)
}

// Etag identifies the version of the budget that a client last saw.
func (b Budget) Etag() string { return etag(b.UpdateTime) }

// Status is a budget with its counters in the window that is open now.
type Status struct {
	Budget
	Window   Window
	Spent    Amount
	Reserved Amount // open reservations and what a crash left undecided
	AsOf     AsOf
}

// Remaining is what the cap leaves, at least 0.
func (s Status) Remaining() Amount { return max(0, s.Cap-s.Spent-s.Reserved) }

// Check validates what a caller chose and returns the zone.
func (b *Budget) Check() (*time.Location, error) {
	switch {
	case (b.Target.Tags == "") == (b.Target.KeyID == ""):
		return nil, Invalid("field_invalid", "target", "a budget watches either tags or one key; name exactly one")
	case b.Period < Month || b.Period > Total:
		return nil, Invalid("field_invalid", "period", "period is unknown; use month, day, week or total")
	case b.Cap < 0 || b.Cap > MaxAmount:
		return nil, Invalid("field_invalid", "cap", fmt.Sprintf("cap must be from 0 to %d cents", MaxCents))
	}
	if err := b.Defaults.Check(); err != nil {
		return nil, err
	}
	if b.Target.Tags != "" {
		if _, err := ParseTagPattern("tag", string(b.Target.Tags)); err != nil {
			return nil, err
		}
	}
	return ParseZone("time_zone", b.Zone)
}

// CheckEtag refuses an edit of b by who read it before another edit; an empty etag is
// of who did not look.
func (b *Budget) CheckEtag(etag string) error {
	if etag == "" || etag == b.Etag() {
		return nil
	}
	return &Error{Kind: KindConflict, Reason: "etag_mismatch", Field: "etag",
		Message: "the budget has changed since it was read; read it again and retry"}
}

// Edited is what change makes of a copy of b, with its zone. Only Cap, Zone and
// Defaults may change: another target or period is another budget.
func (b Budget) Edited(change func(*Budget) error) (Budget, *time.Location, error) {
	next := b
	if err := change(&next); err != nil {
		return b, nil, err
	}
	if next.Target != b.Target || next.Period != b.Period || next.ID != b.ID {
		return b, nil, Invalid("field_immutable", "target", "target and period of a budget cannot change; set another budget and delete this one")
	}
	next.CreateTime = b.CreateTime
	loc, err := next.Check()
	return next, loc, err
}

// Terms are what the audit log keeps of an edit that made b.
func (b *Budget) Terms() map[string]any {
	return map[string]any{
		"target": b.Target.Label(), "period": b.Period.String(), "time_zone": b.Zone, "cap_nano_usd": int64(b.Cap), "default_max_tokens": b.DefaultMaxTokens, "default_max_tool_calls": b.DefaultMaxToolCalls,
	}
}
