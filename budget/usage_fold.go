package budget

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// UsageFold is a time whose usage is kept by the day: the quarters of an hour from the
// fold before it up to Upto, which is exclusive, are added up to the parts of days that
// the borders of days in UTC and in Zone leave. So days and months of both zones are
// exact.
type UsageFold struct {
	Upto int64 // quarters of an hour since 1970
	Zone *time.Location
}

// UsageFolds are in the order of time; none: all usage is kept by the quarter of an
// hour.
type UsageFolds []UsageFold

// Upto is the first quarter of an hour that is not folded; 0: none is.
func (f UsageFolds) Upto() int64 {
	if len(f) == 0 {
		return 0
	}
	return f[len(f)-1].Upto
}

// at is the fold that a quarter of an hour is in, and where that begins; nil: in none.
func (f UsageFolds) at(quarter int64) (fold *UsageFold, from int64) {
	for i := range f {
		if quarter < f[i].Upto {
			return &f[i], from
		}
		from = f[i].Upto
	}
	return nil, from
}

// Part is what usage of a quarter of an hour is kept by: the first quarter of that and
// the first one behind it. Parts do not overlap: where one fold ends within a day of the
// next one's zone, a part does.
func (f UsageFolds) Part(quarter int64) (first, next int64) {
	fold, from := f.at(quarter)
	if fold == nil {
		return quarter, quarter + 1
	}
	t := time.Unix(0, quarter*int64(usageGrain))
	utc, local := Day.WindowAt(t, time.UTC), Day.WindowAt(t, fold.Zone)
	first = max(utc.Start.UnixNano(), local.Start.UnixNano()) / int64(usageGrain)
	next = min(utc.End.UnixNano(), local.End.UnixNano()) / int64(usageGrain)
	return max(first, from), min(next, fold.Upto)
}

// Exact is nil if a report of w is exact where it begins and ends, and where its days
// or hours do if by has ByDay, of zone, or ByHour; else why not. Nothing has to be told
// apart before the oldest usage, a quarter of an hour.
func (f UsageFolds) Exact(w Window, oldest int64, by []Dimension, zone *time.Location) error {
	for _, t := range []time.Time{w.Start, w.End} {
		if err := f.exact(t, oldest); err != nil {
			return err
		}
	}
	end := min(w.End.UnixNano(), f.Upto()*int64(usageGrain))
	t := time.Unix(0, max(w.Start.UnixNano(), oldest*int64(usageGrain)))
	switch {
	case slices.Contains(by, ByHour):
		if t.UnixNano() < end {
			return Invalid("usage_folded", "group_by", fmt.Sprintf("usage from before %s is kept by the day; group it by day, or take a later time", f.until()))
		}
	case slices.Contains(by, ByDay):
		for t = Day.WindowAt(t, zone).End; t.UnixNano() < end; t = Day.WindowAt(t, zone).End {
			if err := f.exact(t, oldest); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f UsageFolds) exact(t time.Time, oldest int64) error {
	quarter := t.UnixNano() / int64(usageGrain)
	if first, _ := f.Part(quarter); quarter <= oldest || first == quarter {
		return nil
	}
	zones := "UTC"
	fold, _ := f.at(quarter)
	if name := fold.Zone.String(); name != zones {
		zones += " and " + name
	}
	return Invalid("usage_folded", "from", fmt.Sprintf("usage from before %s is kept by the day of %s, so a report cannot be exact that has a border at %s; use whole days of these zones, or a later time",
		f.until(), zones, t.Format(time.RFC3339)))
}

func (f UsageFolds) until() string {
	return time.Unix(0, f.Upto()*int64(usageGrain)).UTC().Format(time.RFC3339)
}

// UsageFoldDue is up to which quarter of an hour usage is folded at now that is kept as
// it is for some months, and to the end of the month of zone that those begin in.
func UsageFoldDue(now time.Time, months int, zone *time.Location) int64 {
	return Month.WindowAt(now.UTC().AddDate(0, -months, 0), zone).Start.UnixNano() / int64(usageGrain)
}

// ErrUsageFolded is that a store keeps other usage by the day than is known to who
// tells it some: what was told is added up anew, and told again.
var ErrUsageFolded = errors.New("the store keeps other usage by the day than this gateway knew of")
