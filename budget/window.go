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
// loc: a day is as long as that day is there, also when clocks change.
func (p Period) WindowAt(t time.Time, loc *time.Location) Window {
	y, m, d := t.In(loc).Date()
	date := func(y int, m time.Month, d int) time.Time { return time.Date(y, m, d, 0, 0, 0, 0, loc) }
	switch p {
	case Month:
		return Window{date(y, m, 1), date(y, m+1, 1)}
	case Day:
		return Window{date(y, m, d), date(y, m, d+1)}
	case Week:
		monday := d - (int(date(y, m, d).Weekday())+6)%7
		return Window{date(y, m, monday), date(y, m, monday+7)}
	default:
		return Window{Start: time.Unix(0, 0).In(loc)}
	}
}

// ParseMonth reads "2026-04" as the month's window in loc; field is what the
// error names.
func ParseMonth(field, s string, loc *time.Location) (Window, error) {
	t, err := time.ParseInLocation("2006-01", s, loc)
	if err != nil || len(s) != len("2006-01") {
		return Window{}, Invalid("field_invalid", field, fmt.Sprintf("%s is %q; write a month as YYYY-MM, such as 2026-04", field, s))
	}
	return Month.WindowAt(t, loc), nil
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
