package adminapi

import (
	"fmt"
	"slices"
	"strings"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// quarter is the grain of the ledger's rollup.
const quarter = 15 * time.Minute

// span reads from and to. The defaults are this month until now.
func (s *usageService) span(req *aigatewayv1.QueryUsageRequest, zone *time.Location) (budget.Window, error) {
	now := s.now()
	w := budget.Window{
		Start: budget.Month.WindowAt(now, zone).Start,
		End:   now.Add(quarter - 1).Truncate(quarter),
	}
	if !w.Start.Before(w.End) { // the first instant of a month
		w.End = w.Start.Add(quarter)
	}
	if req.GetFrom() != "" {
		t, err := parseTime("from", req.GetFrom(), zone)
		if err != nil {
			return budget.Window{}, err
		}
		w.Start = t
	}
	if req.GetTo() != "" {
		t, err := parseTime("to", req.GetTo(), zone)
		if err != nil {
			return budget.Window{}, err
		}
		w.End = t
	}
	if !w.Start.Before(w.End) {
		return budget.Window{}, budget.Invalid("field_invalid", "from", fmt.Sprintf("from is %s and to is %s; from must be earlier", w.Start.Format(time.RFC3339), w.End.Format(time.RFC3339)))
	}
	if err := checkSpan("from", w); err != nil {
		return budget.Window{}, err
	}
	return w, nil
}

// checkSpan keeps times where a count of nanoseconds fits 64 bits.
func checkSpan(field string, w budget.Window) error {
	if w.Start.Year() < 2000 || w.End.Year() > 2200 {
		return budget.Invalid("field_invalid", field, field+" is out of range; use times from 2000 to 2199")
	}
	return nil
}

// parseTime reads a border of a report.
func parseTime(field, s string, zone *time.Location) (time.Time, error) {
	t, err := parseMoment(field, s, zone)
	if err == nil && !t.Truncate(quarter).Equal(t) {
		return time.Time{}, budget.Invalid("field_invalid", field, fmt.Sprintf("%s is %s; usage is kept by quarter of an hour, use :00, :15, :30 or :45", field, s))
	}
	return t, err
}

// parseMoment reads YYYY-MM, YYYY-MM-DD or RFC 3339.
func parseMoment(field, s string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{"2006-01", time.DateOnly, time.RFC3339} {
		t, err := time.ParseInLocation(layout, s, zone)
		if err != nil {
			continue
		}
		if layout != time.RFC3339 { // a day may have no midnight, or two
			t, _ = time.Parse(layout, s)
			t = budget.StartOfDay(t.Year(), t.Month(), t.Day(), zone)
		}
		if err := checkSpan(field, budget.Window{Start: t, End: t}); err != nil {
			return time.Time{}, err // the zone's clock may have been odd then, by minutes
		}
		return t, nil
	}
	return time.Time{}, budget.Invalid("field_invalid", field, fmt.Sprintf("%s is %q; write YYYY-MM, YYYY-MM-DD or RFC 3339, such as 2026-04-01T08:00:00Z", field, clip(s)))
}

// dimensions reads group_by, whose elements may hold several names.
func dimensions(groups []string) ([]budget.Dimension, error) {
	known := []budget.Dimension{budget.ByTag, budget.ByModel, budget.ByProvider, budget.ByKey, budget.ByDay, budget.ByHour}
	invalid := func(message string) error { return budget.Invalid("field_invalid", "group_by", message) }
	var out []budget.Dimension
	for _, group := range groups {
		for name := range strings.SplitSeq(group, ",") {
			d := budget.Dimension(name)
			if !slices.Contains(known, d) {
				return nil, invalid(fmt.Sprintf("group_by has %q; use tag, model, provider, key, day or hour", clip(name)))
			}
			if slices.Contains(out, d) {
				return nil, invalid(fmt.Sprintf("group_by has %s twice", name))
			}
			out = append(out, d)
		}
	}
	if slices.Contains(out, budget.ByDay) && slices.Contains(out, budget.ByHour) {
		return nil, invalid("group_by has day and hour; an hour tells its day, use one")
	}
	return out, nil
}
