package reconciliation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"aigateway/budget"
)

// rows turns cells into rows and adds them up.
func (c *comparison) rows() error {
	var round rounder
	for _, at := range c.cells {
		vendor, ok := round.next(&at.billed)
		if !ok {
			return fmt.Errorf("the exports add up to more than %s", budget.MaxAmount.Display())
		}
		var recorded budget.Amount
		for _, r := range at.recorded {
			recorded += r.Cost
		}
		c.addRows(at, vendor, recorded)
	}
	c.block()
	for i := range c.report.Rows {
		r, t := &c.report.Rows[i], &c.report.Total
		r.Open = r.Drift - r.Corrected
		t.Vendor += r.Vendor
		t.Recorded += r.Recorded
		t.Drift += r.Drift
		t.Estimated += r.Estimated
		t.Corrected += r.Corrected
		t.Open += r.Open
		t.Requests += r.Requests
		t.EstimatedRequests += r.EstimatedRequests
		t.UnpricedRequests += r.UnpricedRequests
	}
	return nil
}

// addRows divides a cell's drift over the tags it was recorded with; what was
// recorded with none, over those of the day.
func (c *comparison) addRows(at *cell, vendor, recorded budget.Amount) {
	id := cellID(c.in.Provider, at)
	past := c.past[at.day][id]
	byTag := at.recorded
	if len(byTag) == 0 {
		byTag = c.tagsOf(at.day)
	}
	tags := slices.Sorted(maps.Keys(byTag))
	if len(tags) == 0 {
		tags = []string{""}
	}
	parts := split(vendor-recorded, weights(tags, byTag))
	for _, tag := range slices.Sorted(maps.Keys(past)) {
		if !slices.Contains(tags, tag) { // corrected before, recorded with other tags since
			tags, parts = append(tags, tag), append(parts, 0)
		}
	}
	why := explain(at, vendor, recorded)
	open := vendor - recorded
	for _, p := range past {
		open -= p.sum
	}
	rounded := at.slack > 0 && max(open, -open) <= at.slack
	for i, tag := range tags {
		own := at.recorded[tag]
		c.report.Rows = append(c.report.Rows, Row{
			Day: at.day, Model: at.model, Item: at.item, Tag: tag,
			Vendor: own.Cost + parts[i], Recorded: own.Cost, Drift: parts[i], Estimated: own.EstimatedCost, Corrected: past[tag].sum,
			Requests: own.Requests, EstimatedRequests: own.Estimated, UnpricedRequests: own.Unpriced,
			Priced: at.priced, Rounded: rounded, Exports: at.exports, Reasons: why, cell: id, past: past[tag].count,
		})
	}
}

// weights are the tags' shares of a drift: what they cost, else their calls.
func weights(tags []string, recorded map[string]budget.UsageRow) []int64 {
	for _, of := range []func(budget.UsageRow) int64{
		func(r budget.UsageRow) int64 { return max(0, int64(r.Cost)) },
		func(r budget.UsageRow) int64 { return max(0, r.Requests) },
		func(budget.UsageRow) int64 { return 1 },
	} {
		out := make([]int64, len(tags))
		some := false
		for i, tag := range tags {
			out[i] = of(recorded[tag])
			some = some || out[i] > 0
		}
		if some {
			return out
		}
	}
	return nil // unreachable: each weighs 1
}

// block marks the rows of days that were corrected in other rows: an export
// grouped otherwise, or a model listed under another name since.
func (c *comparison) block() {
	known := map[Day]map[string]bool{}
	for _, r := range c.report.Rows {
		if known[r.Day] == nil {
			known[r.Day] = map[string]bool{}
		}
		known[r.Day][r.cell] = true
	}
	for i := range c.report.Rows {
		r := &c.report.Rows[i]
		for id := range c.past[r.Day] {
			r.Blocked = r.Blocked || !known[r.Day][id]
		}
	}
}

// explain lists what may explain a cell's drift, the likeliest first.
func explain(at *cell, vendor, recorded budget.Amount) []string {
	if vendor == recorded {
		return nil
	}
	var sum budget.UsageRow
	for _, r := range at.recorded {
		sum.Add(r)
	}
	if drift := vendor - recorded; drift <= 0 && -drift <= budget.Amount(sum.Requests) {
		return []string{"rounding: each call is rounded up to a nano-dollar"}
	}
	if max(vendor-recorded, recorded-vendor) <= at.slack {
		return []string{"rounding: the export has each line in whole cents"}
	}
	var why []string
	add := func(format string, args ...any) { why = append(why, fmt.Sprintf(format, args...)) }
	if sum.Estimated > 0 {
		add("%d of %d calls charged without a usage report: %s USD", sum.Estimated, sum.Requests, sum.EstimatedCost)
	}
	if sum.Unpriced > 0 {
		add("%d calls had no price", sum.Unpriced)
	}
	switch {
	case at.item == allModels:
		add("the export is not grouped by model")
	case at.item != "":
		add("recorded with the models that caused it")
	case len(at.recorded) == 0:
		add("nothing recorded: calls around the gateway, or under another model's name")
	case len(at.exports) == 0:
		add("the vendor has nothing under this name")
	}
	return append(why, at.compareTokens(sum.Tokens)...)
}

func (at *cell) compareTokens(ours budget.Tokens) []string {
	if at.tokens == nil || len(at.recorded) == 0 {
		return nil
	}
	t := at.tokens
	theirs := budget.Tokens{Input: t.Input + t.InputAudio, CacheRead: t.CacheRead, CacheWrite: t.CacheWrite + t.CacheWriteLong, Output: t.Output + t.OutputAudio}
	if theirs == ours {
		return []string{"the tokens agree: another price"}
	}
	var parts []string
	for _, d := range []struct {
		name string
		n    int64
	}{
		{"input", theirs.Input - ours.Input}, {"cache read", theirs.CacheRead - ours.CacheRead},
		{"cache write", theirs.CacheWrite - ours.CacheWrite}, {"output", theirs.Output - ours.Output},
	} {
		if d.n != 0 {
			parts = append(parts, fmt.Sprintf("%+d %s", d.n, d.name))
		}
	}
	return []string{"the vendor counts other tokens: " + strings.Join(parts, ", ")}
}

// notes says what is not in the rows.
func (c *comparison) notes() {
	add := func(format string, args ...any) {
		c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
	}
	if n := len(c.report.Missing); n > 0 {
		add("not in the exports, and not compared: %s; %s USD are recorded there", daySpans(c.report.Missing), c.skipped)
	}
	for _, e := range c.in.Exports {
		if e.More {
			add("%s ends where another page follows (has_more)", e.Name)
		}
	}
	if c.filtered {
		add("lines of other projects, workspaces and keys were left out")
	}
	if c.catalog {
		add("without a cost export, tokens are priced with the catalog at the lowest tier: such rows show other tokens, not other prices, and are not corrected")
	}
	if len(c.inexact) > 0 {
		add("tokens with other prices than the catalog's are among them: %s", strings.Join(c.inexact, ", "))
	}
	if c.priority && c.in.Exports[0].Vendor() == Anthropic {
		add("tokens of the Priority Tier are among the usage; Anthropic's cost report leaves its costs out")
	}
	if len(c.unpriced) > 0 {
		add("not compared, since these have no price: %s", strings.Join(slices.Sorted(slices.Values(c.unpriced)), ", "))
	}
	if len(c.unlisted) > 0 {
		add("not compared, since the usage exports do not have them (other endpoints?): %s", strings.Join(slices.Sorted(slices.Values(c.unlisted)), ", "))
	}
	if len(c.unknown) > 0 {
		add("models that the price catalog does not know: %s", strings.Join(c.unknown, ", "))
	}
	if c.report.Rows != nil && slices.ContainsFunc(c.report.Rows, func(r Row) bool { return r.Blocked }) {
		add("some days were corrected before in other rows than these; they are not corrected again")
	}
	if slices.ContainsFunc(c.report.Rows, func(r Row) bool { return r.Tag == "" }) {
		add("rows without a tag: nothing is recorded on that day that the amount could be divided by; they are not corrected")
	}
}

// daySpans writes consecutive days as one span.
func daySpans(days []Day) string {
	var out []string
	for i := 0; i < len(days); {
		j := i
		for j+1 < len(days) && dayOf(days[j].Start().AddDate(0, 0, 1)) == days[j+1] {
			j++
		}
		if i == j {
			out = append(out, string(days[i]))
		} else {
			out = append(out, fmt.Sprintf("%s to %s", days[i], days[j]))
		}
		i = j + 1
	}
	return strings.Join(out, ", ")
}
