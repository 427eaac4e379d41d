package budget

import (
	"fmt"
	"time"
)

// Period is how often a budget starts anew.
type Period int

// The periods. The zero value is invalid, so that a forgotten one is noticed.
const (
	Month Period = iota + 1 // calendar month
	Day                     // calendar day
	Week                    // Monday to Sunday
	Total                   // never resets
)

var periodNames = map[Period]string{Month: "month", Day: "day", Week: "week", Total: "total"}

func (p Period) String() string { return periodNames[p] }

// Window is one run of a period: from Start up to but not including End. A
// Total window has a zero End.
type Window struct{ Start, End time.Time }

// Contains reports whether t is in the window.
func (w Window) Contains(t time.Time) bool {
	return !t.Before(w.Start) && (w.End.IsZero() || t.Before(w.End))
}

// WindowAt returns the window of p that t falls in, on the civil calendar of
// loc: a day is as long as that day is there, also when clocks change. The
// windows of a period tile time: each begins where the one before it ends, and
// Start <= t < End.
func (p Period) WindowAt(t time.Time, loc *time.Location) Window {
	y, m, d := t.In(loc).Date()
	tomorrow := StartOfDay(y, m, d+1, loc)
	for ; !tomorrow.After(t); tomorrow = StartOfDay(y, m, d+1, loc) {
		d++ // clocks were turned back over midnight: the new day has begun already
	}
	// The date itself, without what d is past the month's end.
	y, m, d = time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Date()
	start := func(y int, m time.Month, d int) time.Time { return StartOfDay(y, m, d, loc) }
	switch p {
	case Month:
		return Window{start(y, m, 1), start(y, m+1, 1)}
	case Day:
		return Window{start(y, m, d), tomorrow}
	case Week:
		monday := d - (int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Weekday())+6)%7
		return Window{start(y, m, monday), start(y, m, monday+7)}
	default:
		return Window{Start: time.Unix(0, 0).In(loc)}
	}
}

// maxOffset is more than a zone is ever from UTC: RFC 9636 has 26 hours.
const maxOffset = 27 * time.Hour

// StartOfDay is the first instant at which the clocks of loc show the date, or
// a later one where they skip it: midnight, unless clocks change then. Like
// time.Date it takes a day or month beyond the end of its month or year.
func StartOfDay(year int, month time.Month, day int, loc *time.Location) time.Time {
	midnight := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	// time.Date itself is no help: of a midnight that there is not, or twice, it
	// promises no particular one. So this looks at one offset after the other.
	for t := midnight.Add(-maxOffset).In(loc); ; {
		_, offset := t.Zone()
		shown := midnight.Add(-time.Duration(offset) * time.Second).In(loc)
		_, change := t.ZoneBounds()
		if !change.IsZero() && !change.After(t) {
			change = t.Add(time.Hour) // package time ends every year after 365 days; no zone's clocks change on the 366th
		}
		switch {
		case shown.Before(t):
			return t // the clocks were put ahead, over midnight
		case change.IsZero() || shown.Before(change):
			return shown
		}
		t = change
	}
}

// ParseMonth reads "2026-04" as the month's window in loc; field is what the
// error names.
func ParseMonth(field, s string, loc *time.Location) (Window, error) {
	t, err := time.Parse("2006-01", s)
	if err != nil || len(s) != len("2006-01") {
		return Window{}, Invalid("field_invalid", field, fmt.Sprintf("%s is %q; write a month as YYYY-MM, such as 2026-04", field, s))
	}
	return Window{StartOfDay(t.Year(), t.Month(), 1, loc), StartOfDay(t.Year(), t.Month()+1, 1, loc)}, nil
}

// ParseZone loads an IANA time zone; the empty name is UTC.
func ParseZone(field, name string) (*time.Location, error) {
	if name == "Local" { // the machine's zone is not a name others can check
		return nil, Invalid("field_invalid", field, field+" is \"Local\"; name an IANA time zone, such as Europe/Berlin")
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, Invalid("field_invalid", field, fmt.Sprintf("%s is %q, which is no IANA time zone; write one such as UTC or Europe/Berlin", field, name))
	}
	return loc, nil
}
