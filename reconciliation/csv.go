package reconciliation

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"aigateway/budget"
	"aigateway/pricing"
)

// table is a CSV being read.
type table struct {
	*csv.Reader
	columns map[string]int
	record  []string
}

// get is a field of the current record; "" when the export has no such column.
func (t *table) get(column string) string {
	if i, ok := t.columns[column]; ok && i < len(t.record) {
		return strings.TrimSpace(t.record[i])
	}
	return ""
}

func (t *table) has(columns ...string) bool {
	return !slices.ContainsFunc(columns, func(c string) bool { _, ok := t.columns[c]; return !ok })
}

// csvForm is how one export writes a record. Vendors document none of them; the
// columns are those of exports and importers in public repositories.
type csvForm struct {
	report  report
	columns []string // that tell it apart, and that it cannot do without
	read    func(t *table) (start, end time.Time, it *item, column string, err error)
}

func csvForms() []csvForm {
	return []csvForm{
		{openaiCosts, []string{"start_time", "end_time", "amount_value", "amount_currency"}, openAICostRecord},
		{openaiCompletions, []string{"start_time", "end_time", "num_model_requests", "input_tokens", "output_tokens", "model"}, openAIUsageRecord},
		{openaiEmbeddings, []string{"start_time", "end_time", "num_model_requests", "input_tokens", "model"}, openAIUsageRecord},
		{anthropicCosts, []string{"usage_date_utc", "cost_usd"}, anthropicCostRecord},
		{anthropicMessages, []string{"usage_date_utc", "model_version", "usage_input_tokens_no_cache", "usage_output_tokens"}, anthropicUsageRecord},
	}
}

// readCSV reads an export of a web page, comma or tab separated.
func (e *Export) readCSV(text []byte) error {
	r := csv.NewReader(bytes.NewReader(text))
	if line, _, _ := bytes.Cut(text, []byte("\n")); bytes.ContainsRune(line, '\t') && !bytes.ContainsRune(line, ',') {
		r.Comma = '\t'
	}
	header, err := r.Read()
	if err != nil {
		return fmt.Errorf("neither JSON nor CSV: %w", err)
	}
	t := &table{Reader: r, columns: map[string]int{}}
	for i, name := range header {
		name = strings.TrimSpace(name)
		if _, twice := t.columns[name]; twice && name != "" {
			return fmt.Errorf("line 1: the column %q appears twice", clip(name))
		}
		t.columns[name] = i
	}
	for _, f := range csvForms() {
		if t.has(f.columns...) {
			return e.readRecords(t, f)
		}
	}
	return fmt.Errorf("line 1: these columns are of no export that is known: %s; give OpenAI's costs or usage, or Anthropic's cost or usage, as JSON or CSV",
		clip(strings.Join(header, ", ")))
}

func (e *Export) readRecords(t *table, f csvForm) error {
	at := map[time.Time]int{} // start -> bucket
	for {
		var err error
		t.record, err = t.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err // names line and column
		}
		line, _ := t.FieldPos(0)
		start, end, it, column, err := f.read(t)
		if err == nil {
			column, err = "", checkSpan(start, end)
		}
		if err == nil && it != nil {
			err = checkCounts(*it)
		}
		if err != nil {
			if column != "" {
				column = ", column " + column
			}
			return fmt.Errorf("line %d%s: %w", line, column, err)
		}
		i, ok := at[start]
		if !ok {
			i = len(e.buckets)
			at[start] = i
			e.buckets = append(e.buckets, bucket{report: f.report, start: start, end: end})
		}
		if e.buckets[i].end != end {
			return fmt.Errorf("line %d: the bucket from %s ends at %s here and at %s above", line, start.Format(time.RFC3339), end.Format(time.RFC3339), e.buckets[i].end.Format(time.RFC3339))
		}
		if it != nil {
			e.buckets[i].items = append(e.buckets[i].items, *it)
		}
	}
}

func (t *table) owners(columns ...string) []string {
	var out []string
	for _, c := range columns {
		if v := t.get(c); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// unixSpan reads start_time and end_time.
func (t *table) unixSpan() (start, end time.Time, column string, err error) {
	var times [2]time.Time
	for i, c := range []string{"start_time", "end_time"} {
		n, err := t.count(c)
		if err != nil {
			return start, end, c, err
		}
		times[i] = time.Unix(n, 0).UTC()
	}
	return times[0], times[1], "", nil
}

// count reads a whole number, which spreadsheets and OpenAI write as "10.0".
func (t *table) count(column string) (int64, error) {
	s := t.get(column)
	if s == "" {
		return 0, nil
	}
	whole, frac, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || strings.Trim(frac, "0") != "" {
		return 0, fmt.Errorf("%q is no whole number", clip(s))
	}
	return n, nil
}

// counts reads whole numbers into what columns name.
func (t *table) counts(to map[string]*int64) (string, error) {
	for column, n := range to {
		v, err := t.count(column)
		if err != nil {
			return column, err
		}
		*n = v
	}
	return "", nil
}

// openAICostRecord: a day without costs is a record without an amount.
func openAICostRecord(t *table) (start, end time.Time, it *item, column string, err error) {
	start, end, column, err = t.unixSpan()
	if err != nil || t.get("amount_value") == "" {
		return start, end, nil, column, err
	}
	if err := checkCurrency(t.get("amount_currency")); err != nil {
		return start, end, nil, "amount_currency", err
	}
	it = &item{owners: t.owners("project_id", "project_name", "api_key_id", "user_id")}
	it.model, it.label = splitLineItem(t.get("line_item"))
	it.cost, err = dollars(t.get("amount_value"))
	return start, end, it, "amount_value", err
}

func openAIUsageRecord(t *table) (start, end time.Time, it *item, column string, err error) {
	start, end, column, err = t.unixSpan()
	if err != nil || t.get("input_tokens") == "" && t.get("num_model_requests") == "" {
		return start, end, nil, column, err
	}
	it = &item{model: t.get("model"), owners: t.owners("project_id", "project_name", "api_key_id", "user_id")}
	var input, cached, written, audio, output, outputAudio int64
	column, err = t.counts(map[string]*int64{
		"num_model_requests": &it.requests, "input_tokens": &input, "input_cached_tokens": &cached, "input_cache_write_tokens": &written,
		"input_audio_tokens": &audio, "output_tokens": &output, "output_audio_tokens": &outputAudio,
	})
	it.counts = openAICounts(input, cached, written, audio, output, outputAudio)
	it.inexact = inexactTier(t.get("service_tier"), strings.EqualFold(t.get("batch"), "true"))
	return start, end, it, column, err
}

func (t *table) utcDay() (start, end time.Time, err error) {
	s := t.get("usage_date_utc")
	start, err = time.Parse(time.DateOnly, s)
	if err != nil {
		return start, end, fmt.Errorf("%q is no day; want YYYY-MM-DD", clip(s))
	}
	return start, start.AddDate(0, 0, 1), nil
}

// anthropicCostRecord: the Console writes dollars, not cents, rounds each line
// to a cent, and names models by their display names ("Claude Haiku 4.5").
func anthropicCostRecord(t *table) (start, end time.Time, it *item, column string, err error) {
	if start, end, err = t.utcDay(); err != nil {
		return start, end, nil, "usage_date_utc", err
	}
	it = &item{model: t.get("model"), owners: t.owners("workspace", "workspace_id", "api_key", "api_key_id"), slack: budget.Cent / 2}
	if it.model == "" {
		it.label = firstOf(t.get("cost_type"), t.get("token_type"))
	}
	it.cost, err = dollars(t.get("cost_usd"))
	return start, end, it, "cost_usd", err
}

func anthropicUsageRecord(t *table) (start, end time.Time, it *item, column string, err error) {
	if start, end, err = t.utcDay(); err != nil {
		return start, end, nil, "usage_date_utc", err
	}
	it = &item{model: t.get("model_version"), owners: t.owners("workspace", "workspace_id", "api_key", "api_key_id")}
	var n pricing.Counts
	column, err = t.counts(map[string]*int64{
		"usage_input_tokens_no_cache": &n.Input, "usage_input_tokens_cache_read": &n.CacheRead,
		"usage_input_tokens_cache_write_5m": &n.CacheWrite, "usage_input_tokens_cache_write_1h": &n.CacheWriteLong,
		"usage_output_tokens": &n.Output, "web_search_count": &n.WebSearches,
	})
	it.counts = n
	it.inexact = inexactTier(t.get("usage_type"), false)
	return start, end, it, column, err
}
