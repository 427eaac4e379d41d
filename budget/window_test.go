package budget_test

import (
	"archive/zip"
	"crypto/sha256"
	"go/build"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/budget"
)

// zones are the zones of the database that Go brings, each of those that are
// alike once; with -short an eighth of them.
func zones(t *testing.T) []*time.Location {
	t.Helper()
	r, err := zip.OpenReader(filepath.Join(build.Default.GOROOT, "lib", "time", "zoneinfo.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []*time.Location
	seen := map[[sha256.Size]byte]bool{}
	for _, f := range r.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		if seen[sum] {
			continue
		}
		seen[sum] = true
		loc, err := time.LoadLocationFromTZData(f.Name, data)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		out = append(out, loc)
	}
	if len(out) < 300 {
		t.Fatalf("only %d zones", len(out))
	}
	if testing.Short() {
		for i := range len(out) / 8 {
			out[i] = out[8*i]
		}
		out = out[:len(out)/8]
	}
	return out
}

// TestWindowsTileTime walks ten years of every zone, and every change of its
// clocks since 1900, whatever it did to the calendar: Havana, Santiago and the
// Azores skip midnight, Apia a whole day, Newfoundland went back over midnight.
func TestWindowsTileTime(t *testing.T) {
	first := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, loc := range zones(t) {
		for _, p := range []budget.Period{budget.Day, budget.Week, budget.Month} {
			for w := p.WindowAt(first, loc); w.Start.Before(first.AddDate(10, 0, 0)); {
				next := p.WindowAt(w.End, loc)
				checkBegin(t, p, w.Start, loc)
				if !next.Start.Equal(w.End) || !next.Start.Before(next.End) {
					t.Fatalf("%s %s: after the window %s to %s comes %s to %s", loc, p, w.Start, w.End, next.Start, next.End)
				}
				w = next
			}
			for at := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).In(loc); at.Year() < 2038; {
				_, change := at.ZoneBounds()
				if change.IsZero() {
					break
				}
				if !change.After(at) { // on the last day of a leap year, where StartOfDay has the reason
					at = at.Add(24 * time.Hour)
					continue
				}
				for _, d := range []time.Duration{-25 * time.Hour, -time.Hour, -1, 0, time.Hour, 25 * time.Hour} {
					checkWindow(t, p, change.Add(d), loc)
				}
				at = change
			}
			if t.Failed() {
				return
			}
		}
	}
}

// checkWindow checks the window at an instant, and where it meets the next one.
func checkWindow(t *testing.T, p budget.Period, at time.Time, loc *time.Location) {
	t.Helper()
	w := p.WindowAt(at, loc)
	if !w.Contains(at) {
		t.Fatalf("%s %s: the window at %s is %s to %s", loc, p, at, w.Start, w.End)
	}
	if got := p.WindowAt(w.Start, loc); got != w {
		t.Fatalf("%s %s: at its start the window %s to %s is %s to %s", loc, p, w.Start, w.End, got.Start, got.End)
	}
	if next := p.WindowAt(w.End, loc); !next.Start.Equal(w.End) {
		t.Fatalf("%s %s: after the window %s to %s comes %s to %s", loc, p, w.Start, w.End, next.Start, next.End)
	}
	checkBegin(t, p, w.Start, loc)
}

// checkBegin wants a window to begin with the first moment of its first day;
// where clocks skip that day, with the next one.
func checkBegin(t *testing.T, p budget.Period, start time.Time, loc *time.Location) {
	t.Helper()
	y, m, d := start.Date()
	day := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	before := start.Add(-1)
	if sameDay(before, day) {
		t.Fatalf("%s %s: %s is on the day that was before it", loc, p, start)
	}
	skipped := !sameDay(before, day.AddDate(0, 0, -1))
	if p == budget.Week && day.Weekday() != time.Monday && !skipped || p == budget.Month && d != 1 && !skipped {
		t.Fatalf("%s %s: begins on %s", loc, p, start.Format("Mon 2006-01-02 15:04"))
	}
}

func sameDay(t, day time.Time) bool {
	y, m, d := t.Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Equal(day)
}

// TestWindowsWhereMidnightIsSpecial has the known days by name.
func TestWindowsWhereMidnightIsSpecial(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tc := range []struct {
		zone       string
		period     budget.Period
		at         string // on the zone's clock and in UTC
		start, end string
	}{
		{"America/Havana", budget.Day, "2026-03-08T05:30:00Z", "2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"}, // 00:00 is 01:00
		{"America/Havana", budget.Day, "2026-03-08T04:30:00Z", "2026-03-07T05:00:00Z", "2026-03-08T05:00:00Z"},
		{"America/Havana", budget.Week, "2026-03-08T04:30:00Z", "2026-03-02T05:00:00Z", "2026-03-09T04:00:00Z"},
		{"America/Havana", budget.Day, "2026-11-01T04:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"}, // 00:00 to 01:00 twice
		{"America/Havana", budget.Day, "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"America/Santiago", budget.Day, "2026-09-06T03:30:00Z", "2026-09-05T04:00:00Z", "2026-09-06T04:00:00Z"},
		{"America/Santiago", budget.Day, "2026-04-05T03:30:00Z", "2026-04-04T03:00:00Z", "2026-04-05T04:00:00Z"}, // 24:00 is 23:00
		{"Atlantic/Azores", budget.Day, "2026-03-29T00:30:00Z", "2026-03-28T01:00:00Z", "2026-03-29T01:00:00Z"},
		{"Pacific/Apia", budget.Day, "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"}, // the 30th was not
		{"Pacific/Apia", budget.Day, "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"Pacific/Apia", budget.Month, "2011-12-30T10:00:00Z", "2011-12-01T10:00:00Z", "2011-12-31T10:00:00Z"},
		{"Pacific/Kwajalein", budget.Day, "1969-09-30T12:59:59Z", "1969-09-29T13:00:00Z", "1969-10-01T12:00:00Z"}, // the 30th was twice
		{"America/St_Johns", budget.Day, "2006-10-29T02:30:30Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},  // 00:01 is 23:01
		{"America/St_Johns", budget.Day, "2006-10-29T03:00:00Z", "2006-10-29T02:30:00Z", "2006-10-30T03:30:00Z"},
		{"America/St_Johns", budget.Month, "2009-11-01T03:00:00Z", "2009-11-01T02:30:00Z", "2009-12-01T03:30:00Z"}, // October's clock, but November
		{"Australia/Lord_Howe", budget.Day, "2026-10-03T16:00:00Z", "2026-10-03T13:30:00Z", "2026-10-04T13:00:00Z"},
		{"Asia/Kathmandu", budget.Day, "2026-10-03T18:15:00Z", "2026-10-03T18:15:00Z", "2026-10-04T18:15:00Z"},
	} {
		loc, err := time.LoadLocation(tc.zone)
		if err != nil {
			t.Fatal(err)
		}
		w := tc.period.WindowAt(at(tc.at), loc)
		if !w.Start.Equal(at(tc.start)) || !w.End.Equal(at(tc.end)) {
			t.Errorf("%s %s at %s: %s to %s, want %s to %s", tc.zone, tc.period, tc.at, w.Start.UTC(), w.End.UTC(), tc.start, tc.end)
		}
	}
}

// TestParseMonthWhereItBeginsAtOne: the first of a month may have no midnight.
func TestParseMonthWhereItBeginsAtOne(t *testing.T) {
	for _, loc := range zones(t) {
		for m := time.Date(1970, 1, 15, 0, 0, 0, 0, time.UTC); m.Year() < 2030; m = m.AddDate(0, 1, 0) {
			w, err := budget.ParseMonth("month", m.Format("2006-01"), loc)
			if err != nil || w != budget.Month.WindowAt(m, loc) {
				t.Fatalf("%s in %s is %s to %s, %v", m.Format("2006-01"), loc, w.Start, w.End, err)
			}
		}
	}
}
