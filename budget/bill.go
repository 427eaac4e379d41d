package budget

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Bill is what a provider says it billed for a month, by UTC day. It is kept as an entry
// of the audit log, so the chain covers it; the last entry of a provider and month
// counts.
type Bill struct {
	Provider string
	Month    string    // UTC, YYYY-MM
	Days     []BillDay // ascending; days that no export covers are missing
	Exports  []string  // SHA-256 of what it was read from
	Time     time.Time // of the import; made by the store
	Actor    string    // who imported it
}

// BillDay is a UTC day of a Bill.
type BillDay struct {
	Day       string // YYYY-MM-DD
	Billed    Amount // by the provider
	Corrected Amount // booked here as corrections of the day
}

// The entries of bills in the audit log.
const (
	BillAction        = "import_bill"
	billSubjectPrefix = "bill/"
	// BillSubjects and BillSubjectsEnd are around their subjects.
	BillSubjects, BillSubjectsEnd = billSubjectPrefix, "bill0"
)

// billDetail is a Bill in an entry.
type billDetail struct {
	Days    []billDayDetail `json:"days"`
	Exports []string        `json:"exports"`
}

type billDayDetail struct {
	Day       string `json:"day"`
	Billed    int64  `json:"billed_nano_usd"`
	Corrected int64  `json:"corrected_nano_usd"`
}

var sha256Text = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Check validates what a caller sent.
func (b *Bill) Check() error {
	if !Printable(b.Provider, 64) || strings.Contains(b.Provider, "/") {
		return Invalid("field_invalid", "provider", "provider must be its name in the configuration")
	}
	start, err := time.Parse("2006-01", b.Month)
	if err != nil {
		return Invalid("field_invalid", "month", "month must be YYYY-MM, in UTC")
	}
	if len(b.Days) == 0 {
		return Invalid("field_invalid", "days", "days is empty; send the days that the provider's export covers")
	}
	last := ""
	for _, d := range b.Days {
		day, err := time.Parse(time.DateOnly, d.Day)
		if err != nil || day.Year() != start.Year() || day.Month() != start.Month() || d.Day <= last {
			return Invalid("field_invalid", "days.day", fmt.Sprintf("day is %q; send days of the month, each once, in order, as YYYY-MM-DD", Clip(d.Day, 20)))
		}
		if d.Billed > MaxAmount || d.Billed < -MaxAmount || d.Corrected > MaxAmount || d.Corrected < -MaxAmount {
			return Invalid("field_invalid", "days.billed_usd", "billed_usd and corrected_usd must be within the range of amounts")
		}
		last = d.Day
	}
	if len(b.Exports) > 100 || slices.ContainsFunc(b.Exports, func(s string) bool { return !sha256Text.MatchString(s) }) {
		return Invalid("field_invalid", "exports", "exports must be up to 100 SHA-256 sums, as 64 hexadecimal digits")
	}
	return nil
}

// Same reports whether o says the same of the same month.
func (b *Bill) Same(o *Bill) bool {
	return b.Provider == o.Provider && b.Month == o.Month && slices.Equal(b.Days, o.Days) && slices.Equal(b.Exports, o.Exports)
}

// Subject names the provider and month in the audit log.
func (b *Bill) Subject() string { return billSubjectPrefix + b.Month + "/" + b.Provider }

// Detail is the bill in its entry.
func (b *Bill) Detail() map[string]any {
	days := make([]billDayDetail, len(b.Days))
	for i, d := range b.Days {
		days[i] = billDayDetail{d.Day, int64(d.Billed), int64(d.Corrected)}
	}
	return map[string]any{"days": days, "exports": b.Exports}
}

// Bills are those of entries, which are in their order: the last one of each provider
// and month, by month and provider.
func Bills(entries []AuditEntry) ([]Bill, error) {
	last := map[string]Bill{}
	for _, e := range entries {
		month, provider, ok := strings.Cut(strings.TrimPrefix(e.Subject, billSubjectPrefix), "/")
		if e.Action != BillAction || !ok {
			continue
		}
		var d billDetail
		if err := json.Unmarshal([]byte(e.Detail), &d); err != nil {
			return nil, fmt.Errorf("audit row %d holds no bill: %w", e.ID, err)
		}
		b := Bill{Provider: provider, Month: month, Exports: d.Exports, Time: e.Time, Actor: e.Actor}
		for _, day := range d.Days {
			b.Days = append(b.Days, BillDay{day.Day, Amount(day.Billed), Amount(day.Corrected)})
		}
		last[e.Subject] = b
	}
	out := make([]Bill, 0, len(last))
	for _, b := range last {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b Bill) int { return strings.Compare(a.Subject(), b.Subject()) })
	return out, nil
}
