package reconciliation_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"aigateway/budget"
	"aigateway/pricing"
	"aigateway/reconciliation"
)

// model is the catalog's answer, for both vendors.
func model(t testing.TB, provider string) func(string, time.Time) (pricing.Model, bool) {
	t.Helper()
	var overlay yaml.Node // the catalog's own prices change
	if err := yaml.Load([]byte(`
- {model: openai/gpt-5.5, prices: [{input: "5", cache_read: "0.50", output: "30"}]}
- {model: openai/gpt-5.4-mini, prices: [{input: "0.75", output: "4.50"}]}
`), &overlay); err != nil {
		t.Fatal(err)
	}
	c, err := pricing.Load(&overlay, []pricing.Upstream{{Provider: "openai"}, {Provider: "anthropic"}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string, at time.Time) (pricing.Model, bool) { return c.Invoiced(provider, name, at) }
}

// used is a ledger's row: "day model tag cost calls", the day in April 2026 and
// the cost in dollars.
func used(t testing.TB, day int, model, tag, cost string, calls int64) budget.UsageRow {
	t.Helper()
	a, err := budget.ParseAmount("cost", cost)
	if err != nil {
		t.Fatal(err)
	}
	return budget.UsageRow{
		Attribution: budget.Attribution{Tag: budget.Tag(tag), Model: model}, Time: time.Date(2026, 4, day, 0, 0, 0, 0, time.UTC), Requests: calls, Cost: a,
	}
}

// costLine is a line of an OpenAI costs bucket.
type costLine struct {
	day                  int
	item, project, value string
}

// costs is an OpenAI costs export; days without lines are covered, too.
func costs(t testing.TB, name string, days []int, lines ...costLine) *reconciliation.Export {
	t.Helper()
	var b strings.Builder
	b.WriteString(`{"object":"page","has_more":false,"next_page":null,"data":[`)
	for i, d := range days {
		start := time.Date(2026, 4, d, 0, 0, 0, 0, time.UTC).Unix()
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, `{"object":"bucket","start_time":%d,"end_time":%d,"results":[`, start, start+86400)
		first := true
		for _, l := range lines {
			if l.day != d {
				continue
			}
			if !first {
				b.WriteString(",")
			}
			first = false
			item := "null"
			if l.item != "" {
				item = `"` + l.item + `"`
			}
			fmt.Fprintf(&b, `{"object":"organization.costs.result","amount":{"value":%s,"currency":"usd"},"line_item":%s,"project_id":"%s"}`, l.value, item, l.project)
		}
		b.WriteString("]}")
	}
	b.WriteString("]}")
	e, err := reconciliation.Read(name, []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func april(days ...int) []reconciliation.Day {
	var out []reconciliation.Day
	for _, d := range days {
		out = append(out, reconciliation.Day(fmt.Sprintf("2026-04-%02d", d)))
	}
	return out
}

func compare(t testing.TB, in reconciliation.Input) *reconciliation.Report {
	t.Helper()
	if in.Provider == "" {
		in.Provider = "openai"
	}
	in.Model = model(t, in.Provider)
	r, err := reconciliation.Compare(in)
	if err != nil {
		t.Fatal(err)
	}
	checkAddsUp(t, r)
	return r
}

func checkAddsUp(t interface {
	Helper()
	Errorf(string, ...any)
}, r *reconciliation.Report) {
	t.Helper()
	var vendor, recorded, drift, corrected, open budget.Amount
	for _, row := range r.Rows {
		vendor, recorded, drift, corrected, open = vendor+row.Vendor, recorded+row.Recorded, drift+row.Drift, corrected+row.Corrected, open+row.Open
		if row.Vendor != row.Recorded+row.Drift || row.Open != row.Drift-row.Corrected {
			t.Errorf("row %+v does not add up", row)
		}
	}
	if x := r.Total; vendor != x.Vendor || recorded != x.Recorded || drift != x.Drift || corrected != x.Corrected || open != x.Open {
		t.Errorf("total %+v; the rows add up to %s, %s, %s, %s, %s", x, vendor, recorded, drift, corrected, open)
	}
}

// lines writes a report's rows for comparing by eye.
func lines(r *reconciliation.Report) []string {
	var out []string
	for _, row := range r.Rows {
		name := row.Model
		if name == "" {
			name = "(" + row.Item + ")"
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s - %s = %s %s", row.Day, name, row.Tag, row.Vendor, row.Recorded, row.Drift, strings.Join(row.Reasons, "; "))))
	}
	return out
}

func wantLines(t *testing.T, r *reconciliation.Report, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, lines(r)); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
}

func wantNote(t *testing.T, r *reconciliation.Report, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(strings.Join(r.Notes, "\n"), w) {
			t.Errorf("notes %q, want %q in them", r.Notes, w)
		}
	}
}

// TestCompare is one story, computed by hand.
func TestCompare(t *testing.T) {
	estimated := used(t, 1, "openai/gpt-5.5", "a", "3", 3)
	estimated.Estimated, estimated.EstimatedCost = 1, 2*budget.Dollar
	r := compare(t, reconciliation.Input{
		Days: april(1, 2, 3, 4, 5),
		Exports: []*reconciliation.Export{costs(t, "costs.json", []int{1, 2, 5},
			costLine{1, "gpt-5.5-2026-04-23, input", "p", "1.5"}, costLine{1, "gpt-5.5-2026-04-23, output", "p", "0.7"},
			costLine{1, "gpt-99-2026-01-01, input", "p", "0.25"}, costLine{1, "web search tool calls", "p", "0.04"},
			costLine{1, "alien-002, input", "p", "0.01"},
			costLine{2, "gpt-5.4-mini, input", "p", "0.5"})},
		Recorded: []budget.UsageRow{
			estimated, used(t, 1, "openai/gpt-5.5", "b", "1", 2), used(t, 1, "openai/gpt-99", "b", "0", 4), used(t, 1, "openai/gpt-5.6-sol", "a", "0.1", 1),
			used(t, 2, "openai/gpt-5.4-mini", "a", "0.500000003", 3), used(t, 4, "openai/gpt-5.5", "a", "7", 1),
		},
	})
	wantLines(t, r,
		"2026-04-01 openai/alien-002 a: 0.007560975 - 0.00 = 0.007560975 nothing recorded: calls around the gateway, or under another model's name",
		"2026-04-01 openai/alien-002 b: 0.002439025 - 0.00 = 0.002439025 nothing recorded: calls around the gateway, or under another model's name",
		"2026-04-01 openai/gpt-5.5 a: 1.65 - 3.00 = -1.35 1 of 5 calls charged without a usage report: 2.00 USD",
		"2026-04-01 openai/gpt-5.5 b: 0.55 - 1.00 = -0.45 1 of 5 calls charged without a usage report: 2.00 USD",
		"2026-04-01 openai/gpt-5.6-sol a: 0.00 - 0.10 = -0.10 the vendor has nothing under this name",
		"2026-04-01 openai/gpt-99 b: 0.25 - 0.00 = 0.25",
		"2026-04-01 (web search tool calls) a: 0.030243902 - 0.00 = 0.030243902 recorded with the models that caused it",
		"2026-04-01 (web search tool calls) b: 0.009756098 - 0.00 = 0.009756098 recorded with the models that caused it",
		"2026-04-02 openai/gpt-5.4-mini a: 0.50 - 0.500000003 = -0.000000003 rounding: each call is rounded up to a nano-dollar",
	)
	wantNote(t, r, "not in the exports, and not compared: 2026-04-03 to 2026-04-04; 7.00 USD are recorded there", "does not know: gpt-99-2026-01-01, alien-002")
	if d := cmp.Diff(april(3, 4), r.Missing); d != "" || r.Total.Vendor != 3*budget.Dollar {
		t.Errorf("missing %v, total %+v", r.Missing, r.Total)
	}
}

func TestCompareUngrouped(t *testing.T) {
	r := compare(t, reconciliation.Input{
		Days:     april(1),
		Exports:  []*reconciliation.Export{costs(t, "costs.json", []int{1}, costLine{1, "", "p", "5.00"})},
		Recorded: []budget.UsageRow{used(t, 1, "openai/gpt-5.5", "a", "3", 1), used(t, 1, "openai/gpt-5.4-mini", "a", "0", 1), used(t, 1, "openai/gpt-5.4-mini", "b", "1", 1)},
	})
	wantLines(t, r,
		"2026-04-01 (all models) a: 3.75 - 3.00 = 0.75 the export is not grouped by model",
		"2026-04-01 (all models) b: 1.25 - 1.00 = 0.25 the export is not grouped by model")
}

// TestCompareWithoutRecords: what nobody recorded has no tag.
func TestCompareWithoutRecords(t *testing.T) {
	r := compare(t, reconciliation.Input{Days: april(1), Exports: []*reconciliation.Export{costs(t, "costs.json", []int{1}, costLine{1, "gpt-5.5, input", "p", "5"})}})
	wantLines(t, r, "2026-04-01 openai/gpt-5.5 : 5.00 - 0.00 = 5.00 nothing recorded: calls around the gateway, or under another model's name")
	wantNote(t, r, "rows without a tag")
	if c := r.Corrections(1); c != nil {
		t.Errorf("corrections of nobody: %+v", c)
	}
}

// TestCompareTokens prices tokens where there are no amounts, and compares them
// where there are.
func TestCompareTokens(t *testing.T) {
	usage := read(t, "openai_usage.json") // gpt-5.5: 600+300 input, 4000 read, 100 written, 1000 out; gpt-5.4-mini: 10 and 1
	recorded := []budget.UsageRow{
		used(t, 1, "openai/gpt-5.5", "a", "0.0365", 5), used(t, 1, "openai/text-embedding-3-small", "a", "0.01", 1),
	}
	r := compare(t, reconciliation.Input{Days: april(1), Exports: []*reconciliation.Export{usage}, Recorded: recorded})
	// 1000 x $5 + 4000 x $0.50 + 1000 x $30 per million = 0.037; 10 x 0.75 + 1 x 4.50 per million = 0.000012.
	wantLines(t, r,
		"2026-04-01 openai/gpt-5.4-mini a: 0.000012 - 0.00 = 0.000012 nothing recorded: calls around the gateway, or under another model's name",
		"2026-04-01 openai/gpt-5.5 a: 0.037 - 0.0365 = 0.0005 the vendor counts other tokens: +900 input, +4000 cache read, +100 cache write, +1000 output")
	wantNote(t, r, "priced with the catalog", "batch", "do not have them (other endpoints?): openai/text-embedding-3-small")
	if c := r.Corrections(1); c != nil {
		t.Errorf("corrections from our own prices: %+v", c)
	}

	recorded[0].Tokens = budget.Tokens{Input: 900, CacheRead: 4000, CacheWrite: 100, Output: 1000}
	r = compare(t, reconciliation.Input{Days: april(1), Recorded: recorded[:1], Exports: []*reconciliation.Export{
		usage, costs(t, "costs.json", []int{1}, costLine{1, "gpt-5.5-2026-04-23, input", "p", "0.05"})}})
	wantLines(t, r, "2026-04-01 openai/gpt-5.5 a: 0.05 - 0.0365 = 0.0135 the tokens agree: another price")
}

func TestCompareAnthropic(t *testing.T) {
	recorded := []budget.UsageRow{used(t, 1, "anthropic/claude-sonnet-4.6", "a", "1", 1), used(t, 1, "anthropic/claude-haiku-4.5", "a", "0.04", 1),
		used(t, 2, "anthropic/claude-sonnet-4.6", "a", "0.296", 1)}
	in := reconciliation.Input{Provider: "anthropic", Days: april(1, 2), Recorded: recorded}
	in.Exports = []*reconciliation.Export{read(t, "anthropic_cost.json"), read(t, "anthropic_usage.json")}
	r := compare(t, in)
	wantLines(t, r,
		"2026-04-01 anthropic/claude-haiku-4.5 a: 0.00 - 0.04 = -0.04 the vendor has nothing under this name",
		"2026-04-01 anthropic/claude-sonnet-4.6 a: 1.2378912 - 1.00 = 0.2378912 the vendor counts other tokens: +1500 input, +200 cache read, +1500 cache write, +500 output",
		"2026-04-01 (Web Search Usage) a: 0.01 - 0.00 = 0.01 recorded with the models that caused it",
		"2026-04-02 anthropic/claude-sonnet-4.6 a: 0.00 - 0.296 = -0.296 the vendor has nothing under this name")
	wantNote(t, r, "anthropic_cost.json ends where another page follows", "Priority Tier")
	in.Exports = []*reconciliation.Export{read(t, "anthropic_cost.csv")}
	r = compare(t, in)
	wantLines(t, r,
		"2026-04-01 anthropic/claude-haiku-4.5 a: 0.05 - 0.04 = 0.01",
		"2026-04-01 anthropic/claude-sonnet-4.6 a: 0.00 - 1.00 = -1.00 the vendor has nothing under this name",
		"2026-04-01 (web_search) a: 0.01 - 0.00 = 0.01 recorded with the models that caused it",
		"2026-04-02 anthropic/claude-sonnet-4.6 a: 0.30 - 0.296 = 0.004 rounding: the export has each line in whole cents")
	if n := len(r.Corrections(1)); n != 3 {
		t.Errorf("%d corrections, want those of 1 April", n)
	}
}

func TestCompareOnly(t *testing.T) {
	e := costs(t, "costs.json", []int{1}, costLine{1, "gpt-5.5, input", "ours", "5"}, costLine{1, "gpt-5.5, input", "theirs", "90"})
	in := reconciliation.Input{Days: april(1), Exports: []*reconciliation.Export{e}, Recorded: []budget.UsageRow{used(t, 1, "openai/gpt-5.5", "a", "5", 1)}, Only: []string{"ours"}}
	r := compare(t, in)
	wantLines(t, r, "2026-04-01 openai/gpt-5.5 a: 5.00 - 5.00 = 0.00")
	wantNote(t, r, "were left out")
	in.Provider, in.Exports = "anthropic", []*reconciliation.Export{read(t, "openai_embeddings.json")}
	in.Model = model(t, "anthropic")
	if _, err := reconciliation.Compare(in); err == nil || !strings.Contains(err.Error(), "export them grouped by it") {
		t.Errorf("an export without owners: %v", err)
	}
}

func TestCompareRefuses(t *testing.T) {
	one := costs(t, "one.json", []int{1, 2}, costLine{1, "gpt-5.5, input", "p", "5"})
	for name, tc := range map[string]struct {
		exports []*reconciliation.Export
		words   string
	}{
		"a day twice":         {[]*reconciliation.Export{one, costs(t, "two.json", []int{2}, costLine{2, "gpt-5.5, input", "p", "5"})}, "the OpenAI costs of 2026-04-02T00:00:00Z is in one.json and in two.json"},
		"hours and a day":     {[]*reconciliation.Export{one, hour(t)}, "the buckets of the OpenAI costs on 2026-04-01 overlap (hour.json"},
		"json and csv":        {[]*reconciliation.Export{one, read(t, "openai_costs.csv")}, "is in one.json and in openai_costs.csv"},
		"two vendors":         {[]*reconciliation.Export{one, read(t, "anthropic_cost.csv")}, "one at a time"},
		"more than there can": {[]*reconciliation.Export{costs(t, "x", []int{1}, costLine{1, "gpt-5.5, input", "p", "4e9"}, costLine{1, "gpt-5.5, output", "p", "4e9"})}, "more than"},
	} {
		_, err := reconciliation.Compare(reconciliation.Input{Provider: "openai", Days: april(1, 2), Exports: tc.exports, Model: model(t, "openai")})
		if err == nil || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s: %v, want %q", name, err, tc.words)
		}
	}
}

// TestComparePartOfADay: a day of which only an hour was exported is missing.
func TestComparePartOfADay(t *testing.T) {
	r := compare(t, reconciliation.Input{Days: april(1), Exports: []*reconciliation.Export{hour(t)}, Recorded: []budget.UsageRow{used(t, 1, "openai/gpt-5.5", "a", "3", 1)}})
	if len(r.Rows) != 0 || len(r.Missing) != 1 {
		t.Errorf("rows %v, missing %v", lines(r), r.Missing)
	}
	wantNote(t, r, "2026-04-01; 3.00 USD are recorded there")
}

// hour is an export of a later hour of 1 April.
func hour(t *testing.T) *reconciliation.Export {
	t.Helper()
	e, err := reconciliation.Read("hour.json", []byte(`{"data":[{"start_time":1775005200,"end_time":1775008800,"results":[
		{"object":"organization.costs.result","amount":{"value":1,"currency":"usd"},"line_item":"gpt-5.5, input"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// book is the ledger's part of a correction.
func book(in *reconciliation.Input, cs []reconciliation.Correction) {
	for _, c := range cs {
		in.Booked = append(in.Booked, c.Adjustment)
	}
}

func TestCorrectionsAreMadeOnce(t *testing.T) {
	in := reconciliation.Input{
		Days:     april(1, 2),
		Exports:  []*reconciliation.Export{costs(t, "costs.json", []int{1, 2}, costLine{1, "gpt-5.5, input", "p", "6"})},
		Recorded: []budget.UsageRow{used(t, 1, "openai/gpt-5.5", "a", "2", 1), used(t, 1, "openai/gpt-5.5", "b", "2", 1), used(t, 2, "openai/gpt-5.5", "b", "0.004", 1)},
		Booked:   []budget.Adjustment{{RequestID: "mine", Tag: "a", Amount: 5}, {RequestID: "reconcile-", Tag: "a", Amount: 5}, {RequestID: "reconcile-x", BudgetID: "bud_1", Amount: 5}},
	}
	r := compare(t, in)
	cs := r.Corrections(budget.Cent)
	if len(cs) != 2 || cs[0].Adjustment.Tag != "a" || cs[0].Adjustment.Amount != budget.Dollar || cs[1].Adjustment.Amount != budget.Dollar {
		t.Fatalf("corrections %+v", cs)
	}
	a := cs[0].Adjustment
	for _, w := range []string{"provider openai", "day 2026-04-01 UTC", "model openai/gpt-5.5", "vendor 3.00", "recorded 2.00", "sha256 " + in.Exports[0].SHA256} {
		if !strings.Contains(a.Reason, w) {
			t.Errorf("reason %q, want %q in it", a.Reason, w)
		}
	}
	if len(a.Reason) > 500 || len(a.RequestID) > 128 || a.RequestID == cs[1].Adjustment.RequestID {
		t.Errorf("reason of %d bytes, request id %q", len(a.Reason), a.RequestID)
	}
	if again := compare(t, in).Corrections(budget.Cent); again[0].Adjustment != a {
		t.Errorf("the same reconciliation asks for %+v, then %+v", a, again[0].Adjustment)
	}
	book(&in, cs)
	r = compare(t, in)
	if cs := r.Corrections(budget.Cent); cs != nil || r.Total.Corrected != 2*budget.Dollar || r.Total.Open != -4_000_000 {
		t.Errorf("after booking: %+v, total %+v", cs, r.Total)
	}

	// The vendor restates: only the rest is corrected, under a new request id.
	in.Exports = []*reconciliation.Export{costs(t, "later.json", []int{1, 2}, costLine{1, "gpt-5.5, input", "p", "5"})}
	cs = compare(t, in).Corrections(budget.Cent)
	if len(cs) != 2 || cs[0].Adjustment.Amount != -50*budget.Cent || cs[0].Adjustment.RequestID == a.RequestID {
		t.Errorf("after a new export: %+v", cs)
	}
	book(&in, cs)

	// A late log moves the day's calls to another tag: what tag a got is taken back.
	in.Recorded = []budget.UsageRow{used(t, 1, "openai/gpt-5.5", "b", "4", 2)}
	r = compare(t, in)
	if r.Total.Open != 0 || len(r.Corrections(budget.Cent)) != 2 {
		t.Errorf("after the tags moved: %+v", r.Corrections(budget.Cent))
	}
	book(&in, r.Corrections(budget.Cent))
	if r = compare(t, in); len(r.Corrections(1)) != 0 {
		t.Errorf("not settled: %+v", r.Corrections(1))
	}

	// The same day from an export that is not grouped: other rows, so nothing.
	in.Exports = []*reconciliation.Export{costs(t, "sum.json", []int{1}, costLine{1, "", "p", "5"})}
	r = compare(t, in)
	wantNote(t, r, "corrected before in other rows")
	if cs := r.Corrections(1); cs != nil {
		t.Errorf("corrected twice: %+v", cs)
	}
	in.Provider = "research" // another provider's corrections are its own
	if cs := compare(t, in).Corrections(1); len(cs) == 0 {
		t.Error("another provider's day counts as corrected")
	}
}

func TestReasonsFit(t *testing.T) {
	long := strings.Repeat("ü", 300)
	r := compare(t, reconciliation.Input{Days: april(1), Recorded: []budget.UsageRow{used(t, 1, "openai/gpt-5.5", "a", "1", 1)},
		Exports: []*reconciliation.Export{costs(t, "costs.json", []int{1}, costLine{1, long + "\\u001b", "p", "4000000000"})}})
	for _, c := range r.Corrections(1) {
		if n := len(c.Adjustment.Reason); n > 500 || strings.ContainsFunc(c.Adjustment.Reason, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("reason of %d bytes: %q", n, c.Adjustment.Reason)
		}
	}
}

// TestRowsAddUpToTheVendorsTotal: whatever the export and the ledger say, the
// rows add up to the export's total, and what is booked settles every row.
func TestRowsAddUpToTheVendorsTotal(t *testing.T) {
	models := model(t, "openai")
	rapid.Check(t, func(rt *rapid.T) {
		var ls []costLine
		for range rapid.IntRange(1, 12).Draw(rt, "lines") {
			ls = append(ls, costLine{
				rapid.IntRange(1, 4).Draw(rt, "day"),
				rapid.SampledFrom([]string{"gpt-5.5-2026-04-23, input", "gpt-5.5, output", "gpt-5.4-mini, input", "gpt-99, input", "web search tool calls", "storage"}).Draw(rt, "item"), "p",
				rapid.SampledFrom([]string{"", "-"}).Draw(rt, "sign") + rapid.StringMatching(`(0|[1-9][0-9]{0,5})(\.[0-9]{1,20})?(e-[0-5]?[0-9])?`).Draw(rt, "value"),
			})
		}
		in := reconciliation.Input{Provider: "openai", Days: april(1, 2, 3, 4), Exports: []*reconciliation.Export{costs(t, "x", []int{1, 2, 3, 4}, ls...)}, Model: models}
		recorded := budget.Amount(0)
		seen := map[string]bool{}
		for range rapid.IntRange(0, 10).Draw(rt, "rows") {
			u := used(t, rapid.IntRange(1, 4).Draw(rt, "day"), rapid.SampledFrom([]string{"openai/gpt-5.5", "openai/gpt-5.4-mini", "openai/gpt-99", "openai/other"}).Draw(rt, "model"),
				rapid.SampledFrom([]string{"a", "b", "c/d", "untagged"}).Draw(rt, "tag"), "0", rapid.Int64Range(0, 9).Draw(rt, "calls"))
			u.Cost = budget.Amount(rapid.Int64Range(0, 1e12).Draw(rt, "cost"))
			if key := fmt.Sprint(u.Time, u.Model, u.Tag); !seen[key] {
				seen[key] = true
				in.Recorded = append(in.Recorded, u)
				recorded += u.Cost
			}
		}
		r, err := reconciliation.Compare(in)
		if err != nil {
			rt.Fatal(err)
		}
		checkAddsUp(rt, r)
		exact, _ := in.Exports[0].Billed()
		if want, _ := reconciliation.Nearest(exact); r.Total.Vendor != want || r.Total.Recorded != recorded {
			rt.Fatalf("the vendor billed %s and the rows say %s; recorded %s and %s", want, r.Total.Vendor, recorded, r.Total.Recorded)
		}
		book(&in, r.Corrections(1))
		r, err = reconciliation.Compare(in)
		if err != nil {
			rt.Fatal(err)
		}
		if i := slices.IndexFunc(r.Rows, func(row reconciliation.Row) bool { return row.Open != 0 && row.Tag != "" }); i >= 0 || r.Corrections(1) != nil {
			rt.Fatalf("a row is open after it was corrected: %v", lines(r))
		}
	})
}

// checkCompared compares what a fuzzer made of an export with nothing.
func checkCompared(t *testing.T, e *reconciliation.Export) {
	t.Helper()
	days, err := reconciliation.Days("2026-04")
	if err != nil {
		t.Fatal(err)
	}
	r, err := reconciliation.Compare(reconciliation.Input{
		Provider: "openai", Days: days, Exports: []*reconciliation.Export{e}, Model: func(string, time.Time) (pricing.Model, bool) { return pricing.Model{}, false },
	})
	if err != nil {
		return
	}
	checkAddsUp(t, r)
	if sum, n := e.Billed(); len(r.Missing) == 0 && n > 0 && sum.Cmp(new(big.Rat)) != 0 && len(r.Rows) == 0 {
		t.Fatal("amounts were lost")
	}
}
