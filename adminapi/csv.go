package adminapi

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

const (
	formatParam = "format"
	csvType     = "text/csv"
)

// wantsCSV reads format=, or else Accept: of JSON and CSV, the one named first.
func wantsCSV(r *http.Request, formats []string) (bool, error) {
	if len(formats) > 1 {
		return false, budget.Invalid("duplicate_key", formatParam, "format is sent twice; send it once")
	}
	if len(formats) == 1 {
		if formats[0] != "csv" && formats[0] != "json" {
			return false, budget.Invalid("field_invalid", formatParam, fmt.Sprintf("format is %q; use json or csv", clip(strings.ToValidUTF8(formats[0], "?"))))
		}
		return formats[0] == "csv", nil
	}
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		media, _, err := mime.ParseMediaType(part)
		switch {
		case err != nil:
		case media == csvType:
			return true, nil
		case media == "application/json" || media == "*/*":
			return false, nil
		}
	}
	return false, nil
}

// csvMarshaler writes usage reports as CSV. It reads nothing: the inbound side
// stays the embedded one.
type csvMarshaler struct{ *numbers }

func (*csvMarshaler) ContentType(any) string { return csvType + "; charset=utf-8" }

// Marshal writes the header line and one line for each row; totals are left to
// the reader, who can add up the column cost_usd.
func (m *csvMarshaler) Marshal(v any) ([]byte, error) {
	report, ok := v.(*aigatewayv1.QueryUsageResponse)
	if !ok {
		return m.numbers.Marshal(v)
	}
	var out bytes.Buffer
	w := csv.NewWriter(&out)
	if err := w.Write(csvHeader(report.GetGroupBy())); err != nil {
		return nil, err
	}
	for _, r := range report.GetRows() {
		if err := w.Write(csvRow(report.GetGroupBy(), r)); err != nil {
			return nil, err
		}
	}
	w.Flush()
	return out.Bytes(), w.Error()
}

func csvHeader(groups []string) []string {
	var out []string
	for _, g := range groups {
		switch budget.Dimension(g) {
		case budget.ByKey:
			g = "key_id"
		case budget.ByDay, budget.ByHour:
			g = "time"
		}
		out = append(out, g)
	}
	return append(out, "requests", "unpriced_requests", "cost_cents", "cost_usd",
		"input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens",
		"estimated_requests", "estimated_cost_usd")
}

func csvRow(groups []string, r *aigatewayv1.UsageRow) []string {
	var out []string
	for _, g := range groups {
		switch budget.Dimension(g) {
		case budget.ByTag:
			out = append(out, Inert(r.GetTag()))
		case budget.ByModel:
			out = append(out, Inert(r.GetModel()))
		case budget.ByProvider:
			out = append(out, Inert(r.GetProvider()))
		case budget.ByKey:
			out = append(out, Inert(r.GetKeyId()))
		default:
			out = append(out, r.GetTime())
		}
	}
	out = append(out, whole(r.GetRequests()), whole(r.GetUnpricedRequests()), whole(r.GetCostCents()), r.GetCostUsd())
	return append(out, whole(r.GetInputTokens()), whole(r.GetCacheReadTokens()), whole(r.GetCacheWriteTokens()), whole(r.GetOutputTokens()),
		whole(r.GetEstimatedRequests()), r.GetEstimatedCostUsd())
}

func whole(n int64) string { return strconv.FormatInt(n, 10) }

// Inert keeps a spreadsheet from running text as a formula: whoever may send a
// call chooses its tag, and whoever reads costs opens the file. A quote goes
// before what starts a formula, at the start of the cell and after what may be
// taken for a separator of cells, as spreadsheets split at ; or | by their
// settings. What they skip before a formula counts as not there.
func Inert(s string) string {
	const (
		// Beside the ASCII signs the forms that are taken for them: full-width,
		// small, raised and lowered, and the minus of mathematics.
		formula   = "=\uff1d\ufe66\u207c\u208c\u2a75\u2a76" + "+\uff0b\ufe62\u207a\u208a\ufb29" + "-\uff0d\ufe63\u207b\u208b\u2212" + "@\uff20\ufe6b"
		separator = ";|\t\r\n；｜"
	)
	var out []byte // nil: as s
	starts := true
	for i, c := range s {
		if starts && (strings.ContainsRune(formula, c) || i == 0 && strings.ContainsRune("\t\r\n", c)) {
			if out == nil {
				out = append(make([]byte, 0, len(s)+8), s[:i]...)
			}
			out = append(out, '\'')
		}
		starts = strings.ContainsRune(separator, c) || starts && (c == '"' || unicode.IsSpace(c) || unicode.Is(unicode.Cf, c))
		if out != nil {
			out = utf8.AppendRune(out, c)
		}
	}
	if out == nil {
		return s
	}
	return string(out)
}
