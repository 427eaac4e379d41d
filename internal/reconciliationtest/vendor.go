package reconciliationtest

import (
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Line is what a vendor billed for one model on one UTC day.
type Line struct {
	Day     string // YYYY-MM-DD
	Model   string // the vendor's name; empty: something that is of no model
	USD     string // a decimal
	Project string
	// Tokens: Input without the other two.
	Input, Cached, Written, Output int64
	Calls                          int64
}

// Vendor is both vendors' admin APIs over the same lines. Set its fields before
// it serves.
type Vendor struct {
	OpenAIKey, AnthropicKey string
	Lines                   []Line
	// PageDays is the most buckets of a page, below what was asked for; 0: no limit.
	PageDays int
	// Busy are answers given before the real ones, such as 429 or 500.
	Busy []int
	// RetryAfter is the header that goes with them.
	RetryAfter string

	mu    sync.Mutex
	asked []string
}

// Asked are the requests that were answered, method, path and query.
func (v *Vendor) Asked() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.asked)
}

// ServeHTTP answers one request.
func (v *Vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	v.asked = append(v.asked, r.Method+" "+r.URL.RequestURI())
	busy := 0
	if len(v.Busy) > 0 {
		busy, v.Busy = v.Busy[0], v.Busy[1:]
	}
	v.mu.Unlock()
	status, answer := busy, failure("overloaded", "Try again later.")
	if busy == 0 {
		status, answer = v.answer(r)
	} else if v.RetryAfter != "" {
		w.Header().Set("Retry-After", v.RetryAfter)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // fails only when the client left
}

func failure(kind, message string) any {
	return map[string]any{"error": map[string]any{"type": kind, "message": message}}
}

func (v *Vendor) answer(r *http.Request) (int, any) {
	q := r.URL.Query()
	switch path := r.URL.Path; {
	case r.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, failure("invalid_request_error", "GET only")
	case strings.HasPrefix(path, "/v1/organization/"):
		if key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); key != v.OpenAIKey {
			return http.StatusUnauthorized, failure("invalid_request_error", "Incorrect API key provided: "+key+".")
		}
		return v.openAI(strings.TrimPrefix(path, "/v1/organization/"), q)
	case strings.HasPrefix(path, "/v1/organizations/"):
		if r.Header.Get("Anthropic-Version") == "" {
			return http.StatusBadRequest, failure("invalid_request_error", "anthropic-version: header is required")
		}
		if r.Header.Get("X-Api-Key") != v.AnthropicKey {
			return http.StatusUnauthorized, failure("authentication_error", "invalid x-api-key")
		}
		return v.anthropic(strings.TrimPrefix(path, "/v1/organizations/"), q)
	}
	return http.StatusNotFound, failure("not_found_error", "no such path")
}

// known refuses parameters that the API does not have, and groups likewise.
func known(q url.Values, groupBy string, groups []string, names ...string) error {
	for name := range q {
		if name != groupBy && !slices.Contains(names, name) {
			return fmt.Errorf("unknown parameter %s", name)
		}
	}
	for _, g := range q[groupBy] {
		if !slices.Contains(groups, g) {
			return fmt.Errorf("%s: cannot group by %s", groupBy, g)
		}
	}
	return nil
}

func (v *Vendor) openAI(report string, q url.Values) (int, any) {
	groups := map[string][]string{
		"costs":             {"project_id", "line_item", "api_key_id"},
		"usage/completions": {"project_id", "user_id", "api_key_id", "model", "batch", "service_tier"},
		"usage/embeddings":  {"project_id", "user_id", "api_key_id", "model"},
	}[report]
	if groups == nil {
		return http.StatusNotFound, failure("invalid_request_error", "Unknown request URL")
	}
	most := int64(31)
	if report == "costs" {
		most = 180
	}
	err := known(q, "group_by", groups, "start_time", "end_time", "bucket_width", "limit", "page")
	start, err2 := strconv.ParseInt(q.Get("start_time"), 10, 64)
	end, err3 := strconv.ParseInt(q.Get("end_time"), 10, 64)
	limit, err4 := strconv.ParseInt(q.Get("limit"), 10, 64)
	if err != nil || err2 != nil || err3 != nil || err4 != nil || limit < 1 || limit > most {
		return http.StatusBadRequest, failure("invalid_request_error", fmt.Sprint("bad query: ", err, err2, err3, err4))
	}
	p := v.page(time.Unix(start, 0).UTC(), time.Unix(end, 0).UTC(), limit, q.Get("page"))
	out := map[string]any{"object": "page", "has_more": p.next != "", "next_page": orNull(p.next)}
	data := []any{}
	for _, day := range p.days {
		results := []any{}
		for _, l := range v.on(day) {
			results = append(results, l.openAI(report, q["group_by"])...)
		}
		data = append(data, map[string]any{"object": "bucket", "start_time": day.Unix(), "end_time": day.AddDate(0, 0, 1).Unix(), "results": results})
	}
	out["data"] = data
	return http.StatusOK, out
}

func (l Line) openAI(report string, groups []string) []any {
	embeds := strings.Contains(l.Model, "embedding")
	group := func(name, value string) any {
		if value == "" || !slices.Contains(groups, name) {
			return nil
		}
		return value
	}
	switch {
	case report == "costs":
		item := l.Model + ", input"
		if l.Model == "" {
			item = "web search tool calls"
		}
		return []any{map[string]any{
			"object": "organization.costs.result", "amount": map[string]any{"value": json.RawMessage(l.USD), "currency": "usd"},
			"line_item": group("line_item", item), "project_id": group("project_id", l.Project), "api_key_id": group("api_key_id", "key_1"),
		}}
	case l.Model == "" || embeds != (report == "usage/embeddings"):
		return nil
	case embeds:
		return []any{map[string]any{
			"object": "organization.usage.embeddings.result", "input_tokens": l.Input, "num_model_requests": l.Calls,
			"model": group("model", l.Model), "project_id": group("project_id", l.Project), "api_key_id": nil, "user_id": nil,
		}}
	}
	return []any{map[string]any{
		"object": "organization.usage.completions.result", "input_tokens": l.Input + l.Cached + l.Written, "input_cached_tokens": l.Cached,
		"input_cache_write_tokens": l.Written, "output_tokens": l.Output, "num_model_requests": l.Calls,
		"model": group("model", l.Model), "project_id": group("project_id", l.Project), "api_key_id": nil, "user_id": nil, "batch": false, "service_tier": "default",
	}}
}

func (v *Vendor) anthropic(report string, q url.Values) (int, any) {
	groups := map[string][]string{
		"cost_report":           {"workspace_id", "description"},
		"usage_report/messages": {"api_key_id", "workspace_id", "model", "service_tier", "context_window"},
	}[report]
	if groups == nil {
		return http.StatusNotFound, failure("not_found_error", "Not found")
	}
	err := known(q, "group_by[]", groups, "starting_at", "ending_at", "bucket_width", "limit", "page")
	start, err2 := time.Parse(time.RFC3339, q.Get("starting_at"))
	end, err3 := time.Parse(time.RFC3339, q.Get("ending_at"))
	limit, err4 := strconv.ParseInt(q.Get("limit"), 10, 64)
	if err != nil || err2 != nil || err3 != nil || err4 != nil || limit < 1 || limit > 31 {
		return http.StatusBadRequest, failure("invalid_request_error", fmt.Sprint("bad query: ", err, err2, err3, err4))
	}
	p := v.page(start, end, limit, q.Get("page"))
	data := []any{}
	for _, day := range p.days {
		results := []any{}
		for _, l := range v.on(day) {
			results = append(results, l.anthropic(report)...)
		}
		data = append(data, map[string]any{"starting_at": day.Format(time.RFC3339), "ending_at": day.AddDate(0, 0, 1).Format(time.RFC3339), "results": results})
	}
	return http.StatusOK, map[string]any{"data": data, "has_more": p.next != "", "next_page": orNull(p.next)}
}

func (l Line) anthropic(report string) []any {
	workspace := orNull(l.Project)
	switch {
	case report == "cost_report":
		cents, _ := new(big.Rat).SetString(l.USD)
		cents.Mul(cents, big.NewRat(100, 1))
		kind, description := "tokens", l.Model+" Usage - Input Tokens"
		if l.Model == "" {
			kind, description = "web_search", "Web Search Usage"
		}
		return []any{map[string]any{"amount": cents.FloatString(8), "currency": "USD", "model": orNull(l.Model), "description": description, "cost_type": kind, "workspace_id": workspace}}
	case l.Model == "":
		return nil
	}
	return []any{map[string]any{
		"uncached_input_tokens": l.Input, "cache_read_input_tokens": l.Cached, "output_tokens": l.Output, "model": l.Model, "workspace_id": workspace,
		"cache_creation":  map[string]any{"ephemeral_5m_input_tokens": l.Written, "ephemeral_1h_input_tokens": 0},
		"server_tool_use": map[string]any{"web_search_requests": 0}, "service_tier": "standard", "api_key_id": nil,
	}}
}

// page is the days of one answer, and the token of the next.
type page struct {
	days []time.Time
	next string
}

func (v *Vendor) page(start, end time.Time, limit int64, token string) page {
	const prefix = "page_"
	if after, ok := strings.CutPrefix(token, prefix); ok {
		if t, err := time.Parse(time.DateOnly, after); err == nil {
			start = t
		}
	}
	if v.PageDays > 0 {
		limit = min(limit, int64(v.PageDays))
	}
	var p page
	for day := start.Truncate(24 * time.Hour); day.Before(end); day = day.AddDate(0, 0, 1) {
		if int64(len(p.days)) == limit {
			p.next = prefix + day.Format(time.DateOnly)
			break
		}
		p.days = append(p.days, day)
	}
	return p
}

func (v *Vendor) on(day time.Time) []Line {
	return slices.DeleteFunc(slices.Clone(v.Lines), func(l Line) bool { return l.Day != day.Format(time.DateOnly) })
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
