package reconciliation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"aigateway/budget"
)

// Correction is an adjustment that settles one row.
type Correction struct {
	Row        Row
	Adjustment budget.Adjustment // RequestID, Tag, Amount and Reason
}

// requestPrefix starts the request id of every correction. What follows is
// fixed in length: the provider's hash, the day, the row's hash (all but its
// tag), the tag's hash, and how many corrections the row had before. So the
// same reconciliation made twice at once books once: the second is the same
// request, or, if the ledger changed in between, a conflict.
const requestPrefix = "reconcile-"

func shortHash(length int, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))[:length]
}

func cellID(provider string, at *cell) string {
	return shortHash(24, provider, string(at.day), at.model, at.item)
}

func requestID(provider string, r Row) string {
	return fmt.Sprintf("%s%s-%s-%s-%s-%d", requestPrefix, shortHash(8, provider), r.Day, r.cell, shortHash(8, r.Tag), r.past)
}

// pastDay is what was corrected on a day, by row and tag.
type pastDay map[string]map[string]pastSum

type pastSum struct {
	sum   budget.Amount
	count int
}

// pastCorrections finds a provider's corrections among all adjustments.
func pastCorrections(provider string, booked []budget.Adjustment) map[Day]pastDay {
	out := map[Day]pastDay{}
	prefix := requestPrefix + shortHash(8, provider) + "-"
	for _, a := range booked {
		rest, ok := strings.CutPrefix(a.RequestID, prefix)
		if !ok || len(rest) < len("2006-01-02-")+24 || a.Tag == "" {
			continue
		}
		day, id := Day(rest[:10]), rest[11:35]
		if _, err := time.Parse(time.DateOnly, string(day)); err != nil {
			continue
		}
		if out[day] == nil {
			out[day] = pastDay{}
		}
		if out[day][id] == nil {
			out[day][id] = map[string]pastSum{}
		}
		p := out[day][id][string(a.Tag)]
		out[day][id][string(a.Tag)] = pastSum{p.sum + a.Amount, p.count + 1}
	}
	return out
}

// Corrections are the adjustments that would bring every row's Open to 0, of at
// least that size. Rows that were priced by us, that have no tag, whose day
// was corrected in other rows or that are within the export's rounding have none.
func (r *Report) Corrections(least budget.Amount) []Correction {
	var out []Correction
	for _, row := range r.Rows {
		if row.Tag == "" || row.Priced || row.Blocked || row.Rounded || row.Open == 0 || max(row.Open, -row.Open) < least {
			continue
		}
		out = append(out, Correction{row, budget.Adjustment{
			RequestID: requestID(r.Provider, row), Tag: budget.Tag(row.Tag), Amount: row.Open, Reason: r.reason(row),
		}})
	}
	return out
}

// reason names what a correction rests on, within the 500 bytes of a reason.
func (r *Report) reason(row Row) string {
	hashes := "none"
	if len(row.Exports) > 0 {
		hashes = strings.Join(row.Exports[:min(2, len(row.Exports))], " ")
	} else if days := r.exportsOf(row.Day); len(days) > 0 {
		hashes = strings.Join(days[:min(2, len(days))], " ")
	}
	what := row.Model
	if what == "" {
		what = row.Item
	}
	printable := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, what)
	return fmt.Sprintf("reconciliation: provider %s, day %s UTC, model %s: vendor %s, recorded %s, corrected before %s; export sha256 %s",
		r.Provider, row.Day, printable[:min(len(printable), 100)], row.Vendor, row.Recorded, row.Corrected, hashes)
}

// exportsOf are the cost exports that cover a day: a row that the vendor has
// nothing of rests on them as well.
func (r *Report) exportsOf(d Day) []string {
	var out []string
	for _, e := range r.Exports {
		if slices.ContainsFunc(e.buckets, func(b bucket) bool { return b.report.billed() && dayOf(b.start) == d }) {
			out = addOnce(out, e.SHA256)
		}
	}
	return out
}
