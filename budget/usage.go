package budget

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// usageGrain is what usage is kept by.
const usageGrain = 15 * time.Minute

// CheckUsageWindow refuses a window that no report of usage covers exactly.
func CheckUsageWindow(w Window) error {
	if w.End.IsZero() || !w.Start.Before(w.End) {
		return Invalid("field_invalid", "end", "the period of a usage report must end after it starts")
	}
	if w.Start.UnixNano()%int64(usageGrain) != 0 || w.End.UnixNano()%int64(usageGrain) != 0 {
		return Invalid("field_invalid", "start", "usage is kept by quarters of an hour; start and end must be on one")
	}
	return nil
}

// UsageColumns maps dimensions to columns; days and hours group by bucket.
func UsageColumns(by []Dimension) (map[string]bool, error) {
	columns := map[string]bool{}
	for _, d := range by {
		switch d {
		case ByTag, ByModel, ByProvider:
			columns[string(d)] = true
		case ByKey:
			columns["key_id"] = true
		case ByDay, ByHour:
			columns["bucket"] = true
		default:
			return nil, Invalid("field_invalid", "group_by", fmt.Sprintf("group_by is %q; use tag, model, provider, key, day or hour", string(d)))
		}
	}
	return columns, nil
}

// FoldUsage sums rows of quarter hours into the days or hours of zone.
func FoldUsage(rows []UsageRow, hours bool, zone *time.Location) []UsageRow {
	type group struct {
		at   int64
		attr Attribution
	}
	index := map[group]int{}
	out := []UsageRow{}
	for _, r := range rows {
		t := r.Time.In(zone)
		if hours {
			t = startOfHour(t)
		} else {
			t = Day.WindowAt(t, zone).Start
		}
		g := group{t.UnixNano(), r.Attribution}
		i, ok := index[g]
		if !ok {
			i = len(out)
			index[g] = i
			out = append(out, UsageRow{Attribution: r.Attribution, Time: t})
		}
		out[i].Add(r)
	}
	return out
}

// startOfHour is the begin of the hour that t's clock shows. Where clocks change
// within it, by half an hour say, what comes after the change is an hour of its
// own: hours tile time.
func startOfHour(t time.Time) time.Time {
	hour := t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	_, before := hour.Zone()
	if _, now := t.Zone(); now != before {
		change, _ := t.ZoneBounds()
		return change
	}
	return hour
}

// SortUsage orders rows by time, then the highest cost first.
func SortUsage(rows []UsageRow) {
	slices.SortFunc(rows, func(a, b UsageRow) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		if a.Cost != b.Cost {
			if a.Cost > b.Cost {
				return -1
			}
			return 1
		}
		for _, p := range [][2]string{{string(a.Tag), string(b.Tag)}, {a.Model, b.Model}, {a.Provider, b.Provider}, {a.KeyID, b.KeyID}} {
			if c := strings.Compare(p[0], p[1]); c != 0 {
				return c
			}
		}
		return 0
	})
}
