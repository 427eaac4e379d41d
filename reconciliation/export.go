package reconciliation

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// Vendor is whose exports are read.
type Vendor string

// The vendors.
const (
	OpenAI    Vendor = "openai"
	Anthropic Vendor = "anthropic"
)

// Day is a UTC day, YYYY-MM-DD. Both vendors bill by UTC days: OpenAI's cost
// buckets are Unix times of midnight UTC, Anthropic snaps buckets "to the start
// of the minute/hour/day in UTC".
type Day string

func dayOf(t time.Time) Day { return Day(t.UTC().Format(time.DateOnly)) }

// Start is the day's first instant.
func (d Day) Start() time.Time {
	t, _ := time.Parse(time.DateOnly, string(d)) // a Day is made from a time
	return t
}

// Days lists the days of a month, YYYY-MM.
func Days(month string) ([]Day, error) {
	start, err := time.Parse("2006-01", month)
	if err != nil || len(month) != len("2006-01") {
		return nil, fmt.Errorf("month is %q; write YYYY-MM, such as 2026-04", month)
	}
	var out []Day
	for t := start; t.Month() == start.Month(); t = t.AddDate(0, 0, 1) {
		out = append(out, dayOf(t))
	}
	return out, nil
}

// report is one kind of export.
type report string

const (
	openaiCosts       report = "OpenAI costs"
	openaiCompletions report = "OpenAI usage of completions"
	openaiEmbeddings  report = "OpenAI usage of embeddings"
	anthropicCosts    report = "Anthropic cost report"
	anthropicMessages report = "Anthropic usage of messages"
)

func (r report) vendor() Vendor {
	if r == anthropicCosts || r == anthropicMessages {
		return Anthropic
	}
	return OpenAI
}

// billed reports whether the export holds amounts, not only tokens.
func (r report) billed() bool { return r == openaiCosts || r == anthropicCosts }

// Export is what one file, or one download, says. It is immutable.
type Export struct {
	Name   string // of the file, or what was downloaded
	SHA256 string // of its bytes, in hex
	// More is set when the last page says that another one follows.
	More    bool
	buckets []bucket
}

// Vendor is whose export it is.
func (e *Export) Vendor() Vendor {
	for _, b := range e.buckets {
		return b.report.vendor()
	}
	return ""
}

// Reports names the kinds of reports in it.
func (e *Export) Reports() []string {
	var out []string
	for _, b := range e.buckets {
		if len(out) == 0 || out[len(out)-1] != string(b.report) {
			out = append(out, string(b.report))
		}
	}
	return out
}

// bucket is a report's span of time, within one UTC day. Without items nothing
// was billed in it.
type bucket struct {
	report     report
	start, end time.Time
	items      []item
}

// item is one line of a report.
type item struct {
	model    string // the vendor's name; empty: the line is of no single model
	label    string // what it is for; empty with an empty model: the report is not grouped
	owners   []string
	cost     *big.Rat // dollars; nil: tokens only
	counts   pricing.Counts
	requests int64
	// slack is how far cost may be off because the export rounds it.
	slack budget.Amount
	// inexact says why a catalog price cannot be right, such as a batch.
	inexact string
}

// maxExportBytes bounds one file: a month of one line for each day, model, key
// and kind of token is far below.
const maxExportBytes = 256 << 20

// Read reads an export; name is what errors and the Export call it. Which
// report of which vendor it is, is told from its content: JSON pages of the
// usage and cost APIs, any number one after the other, or the CSV that their
// web pages offer.
func Read(name string, data []byte) (*Export, error) {
	if len(data) > maxExportBytes {
		return nil, fmt.Errorf("%s: larger than %d MiB", name, maxExportBytes>>20)
	}
	sum := sha256.Sum256(data)
	e := &Export{Name: name, SHA256: hex.EncodeToString(sum[:])}
	text := bytes.TrimPrefix(data, []byte("\ufeff")) // Excel's mark
	trimmed := bytes.TrimLeft(text, " \t\r\n")
	var err error
	switch {
	case len(trimmed) == 0:
		err = errors.New("the file is empty")
	case trimmed[0] == '{' || trimmed[0] == '[':
		err = e.readJSON(text)
	default:
		err = e.readCSV(text)
	}
	if err == nil && len(e.buckets) == 0 {
		err = errors.New("holds no days")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return e, nil
}

// checkSpan refuses buckets that are not within a UTC day.
func checkSpan(start, end time.Time) error {
	switch {
	case start.Year() < 2000 || start.Year() > 2200:
		return fmt.Errorf("the bucket's start %s is out of range", start.UTC().Format(time.RFC3339))
	case !end.After(start):
		return fmt.Errorf("the bucket from %s ends before it starts", start.UTC().Format(time.RFC3339))
	case end.After(dayOf(start).Start().AddDate(0, 0, 1)):
		return fmt.Errorf("the bucket from %s to %s is not within one UTC day; export days (bucket_width=1d) that start at midnight UTC",
			start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339))
	}
	return nil
}
