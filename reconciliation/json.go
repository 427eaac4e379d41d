package reconciliation

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"aigateway/budget"
	"aigateway/pricing"
)

// page is one answer of a usage or cost API. Both vendors page alike: buckets
// of time in data, has_more and next_page; only the names in a bucket differ.
type page struct {
	Data     []jsonBucket `json:"data"`
	HasMore  bool         `json:"has_more"`
	NextPage string       `json:"next_page"`
}

type jsonBucket struct {
	StartTime  *int64       `json:"start_time"` // OpenAI: Unix seconds
	EndTime    *int64       `json:"end_time"`
	StartingAt string       `json:"starting_at"` // Anthropic: RFC 3339
	EndingAt   string       `json:"ending_at"`
	Results    []jsonResult `json:"results"`
}

// jsonResult has what is read of the results of all reports. Sources: the
// types in openai-python, src/openai/types/admin/organization (usage_costs_response.py,
// usage_completions_response.py), and Anthropic's API reference, "Get Cost
// Report" and "Get Messages Usage Report".
type jsonResult struct {
	Object string         `json:"object"` // OpenAI only; names the report
	Amount jsontext.Value `json:"amount"` // OpenAI: {value, currency}; Anthropic: decimal string of cents
	Model  string         `json:"model"`

	// OpenAI. input_tokens includes cached and written tokens of every kind,
	// input_audio_tokens is the uncached audio in it, output_tokens includes audio.
	LineItem    string `json:"line_item"`
	ProjectID   string `json:"project_id"`
	UserID      string `json:"user_id"`
	APIKeyID    string `json:"api_key_id"`
	Requests    int64  `json:"num_model_requests"`
	InputTokens *int64 `json:"input_tokens"`
	Cached      int64  `json:"input_cached_tokens"`
	CacheWrite  int64  `json:"input_cache_write_tokens"`
	InputAudio  int64  `json:"input_audio_tokens"`
	OutputAudio int64  `json:"output_audio_tokens"`
	Batch       bool   `json:"batch"`

	// Anthropic. The token counts are disjoint.
	Currency      string `json:"currency"`
	Description   string `json:"description"`
	CostType      string `json:"cost_type"`
	WorkspaceID   string `json:"workspace_id"`
	Uncached      *int64 `json:"uncached_input_tokens"`
	CacheRead     int64  `json:"cache_read_input_tokens"`
	CacheCreation struct {
		Long  int64 `json:"ephemeral_1h_input_tokens"`
		Short int64 `json:"ephemeral_5m_input_tokens"`
	} `json:"cache_creation"`
	ServerToolUse struct {
		WebSearches int64 `json:"web_search_requests"`
	} `json:"server_tool_use"`

	OutputTokens int64  `json:"output_tokens"` // both
	ServiceTier  string `json:"service_tier"`  // both
}

// readJSON reads pages, one value after the other or in arrays.
func (e *Export) readJSON(text []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	var pages []page
	for {
		kind := d.PeekKind()
		var err error
		if kind == '[' {
			var list []page
			err = json.UnmarshalDecode(d, &list)
			pages = append(pages, list...)
		} else {
			var p page
			err = json.UnmarshalDecode(d, &p)
			pages = append(pages, p)
		}
		if errors.Is(err, io.EOF) && kind == 0 {
			return e.addPages(pages[:len(pages)-1])
		}
		if err != nil {
			return jsonError(err)
		}
	}
}

// jsonError says where in the text the error is.
func jsonError(err error) error {
	var s *json.SemanticError
	if !errors.As(err, &s) {
		return fmt.Errorf("no JSON: %w", err)
	}
	what := "this is not what the report has here"
	if s.Err != nil {
		what = s.Err.Error()
	}
	return fmt.Errorf("at %s (byte %d): %s", orRoot(string(s.JSONPointer)), s.ByteOffset, what)
}

func orRoot(pointer string) string {
	if pointer == "" {
		return "/"
	}
	return pointer
}

// addPages turns pages into buckets. A bucket without results does not tell its
// report, so it takes that of the others.
func (e *Export) addPages(pages []page) error {
	kind := report("")
	for i := range pages {
		if pages[i].Data == nil {
			return fmt.Errorf("%s: member data is missing: this is no page of a usage or cost API", where(pages, i))
		}
		for j := range pages[i].Data {
			for k := range pages[i].Data[j].Results {
				r, err := pages[i].Data[j].Results[k].report()
				if err != nil {
					return fmt.Errorf("%s: %w", where(pages, i, "data", j, "results", k), err)
				}
				if kind != "" && r != kind {
					return fmt.Errorf("%s: the %s and the %s are in one file; give each its own", where(pages, i, "data", j, "results", k), r, kind)
				}
				kind = r
			}
		}
	}
	if kind == "" {
		return errors.New("no page has a result, so it cannot be told which report this is; a month without any bill needs no reconciliation")
	}
	return e.addPagesOf(kind, pages)
}

func (e *Export) addPagesOf(kind report, pages []page) error {
	for i := range pages {
		for j := range pages[i].Data {
			if err := e.addBucket(kind, &pages[i].Data[j], func(more ...any) string { return where(pages, i, append([]any{"data", j}, more...)...) }); err != nil {
				return err
			}
		}
		e.More = pages[i].HasMore
	}
	return nil
}

func (e *Export) addBucket(kind report, in *jsonBucket, at func(...any) string) error {
	start, end, err := in.span()
	if err == nil {
		err = checkSpan(start, end)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", at(), err)
	}
	b := bucket{report: kind, start: start, end: end}
	for k := range in.Results {
		it, member, err := in.Results[k].item(kind)
		if err != nil {
			return fmt.Errorf("%s: %w", at(append([]any{"results", k}, member...)...), err)
		}
		b.items = append(b.items, it)
	}
	e.buckets = append(e.buckets, b)
	return nil
}

// where is a JSON pointer, behind the number of the page when there are several.
func where(pages []page, i int, path ...any) string {
	var b strings.Builder
	if len(pages) > 1 {
		fmt.Fprintf(&b, "page %d: ", i+1)
	}
	b.WriteString("at ")
	if len(path) == 0 {
		b.WriteString("/")
	}
	for _, p := range path {
		fmt.Fprintf(&b, "/%v", p)
	}
	return b.String()
}

func (b *jsonBucket) span() (start, end time.Time, err error) {
	if b.StartTime != nil && b.EndTime != nil {
		return time.Unix(*b.StartTime, 0).UTC(), time.Unix(*b.EndTime, 0).UTC(), nil
	}
	if b.StartingAt == "" || b.EndingAt == "" {
		return start, end, errors.New("the bucket has neither start_time and end_time nor starting_at and ending_at")
	}
	if start, err = time.Parse(time.RFC3339, b.StartingAt); err != nil {
		return start, end, fmt.Errorf("starting_at: %w", err)
	}
	if end, err = time.Parse(time.RFC3339, b.EndingAt); err != nil {
		return start, end, fmt.Errorf("ending_at: %w", err)
	}
	return start.UTC(), end.UTC(), nil
}

// report tells which report a result is of.
func (r *jsonResult) report() (report, error) {
	switch {
	case r.Object == "organization.costs.result":
		return openaiCosts, nil
	case r.Object == "organization.usage.completions.result":
		return openaiCompletions, nil
	case r.Object == "organization.usage.embeddings.result":
		return openaiEmbeddings, nil
	case r.Object != "":
		return "", fmt.Errorf("%q is not compared; give the costs export, which includes it, or the usage of completions and embeddings", clip(r.Object))
	case len(r.Amount) > 0:
		return anthropicCosts, nil
	case r.Uncached != nil:
		return anthropicMessages, nil
	}
	return "", errors.New("this result is of no report that is known: OpenAI's costs and usage of completions or embeddings, Anthropic's cost report and usage of messages")
}

// item converts a result; member is where in it an error is.
func (r *jsonResult) item(kind report) (it item, member []any, err error) {
	it = item{model: r.Model, requests: r.Requests}
	for _, id := range []string{r.ProjectID, r.WorkspaceID, r.APIKeyID, r.UserID} {
		if id != "" {
			it.owners = append(it.owners, id)
		}
	}
	switch kind {
	case openaiCosts:
		it.model, it.label = splitLineItem(r.LineItem)
		it.cost, err = openAIAmount(r.Amount)
		member = []any{"amount"}
	case anthropicCosts:
		if it.model == "" {
			it.label = firstOf(r.Description, r.CostType)
		}
		it.cost, err = anthropicAmount(r.Amount, r.Currency)
		member = []any{"amount"}
	case anthropicMessages:
		it.counts = pricing.Counts{
			Input: *orZero(r.Uncached), CacheRead: r.CacheRead, CacheWrite: r.CacheCreation.Short, CacheWriteLong: r.CacheCreation.Long,
			Output: r.OutputTokens, WebSearches: r.ServerToolUse.WebSearches,
		}
		it.inexact = inexactTier(r.ServiceTier, false)
		err = checkCounts(it)
	default:
		input := *orZero(r.InputTokens)
		it.counts = openAICounts(input, r.Cached, r.CacheWrite, r.InputAudio, r.OutputTokens, r.OutputAudio)
		it.inexact = inexactTier(r.ServiceTier, r.Batch)
		err = checkCounts(it)
	}
	return it, member, err
}

func orZero(n *int64) *int64 {
	if n == nil {
		return new(int64)
	}
	return n
}

// openAICounts makes OpenAI's inclusive counts disjoint.
func openAICounts(input, cached, written, audio, output, outputAudio int64) pricing.Counts {
	return pricing.Counts{
		Input: max(input-cached-written-audio, min(input, 0)), CacheRead: cached, CacheWrite: written, InputAudio: audio,
		Output: max(output-outputAudio, min(output, 0)), OutputAudio: outputAudio,
	}
}

// inexactTier says why a catalog price, which is the standard tier's, is wrong.
func inexactTier(tier string, batch bool) string {
	switch tier {
	case "", "default", "standard", "auto", "not_available":
		if batch {
			return "batch"
		}
		return ""
	}
	return "tier " + clip(tier)
}

func checkCounts(it item) error {
	n := it.counts
	for _, v := range []int64{n.Input, n.CacheRead, n.CacheWrite, n.CacheWriteLong, n.InputAudio, n.Output, n.OutputAudio, n.WebSearches, it.requests} {
		if v < 0 || v > 1<<53 {
			return errors.New("a count is negative or too large")
		}
	}
	return nil
}

// openAIAmount reads {"value": 0.06, "currency": "usd"}. The value is a JSON
// number by the API's types; some answers had it as a string.
func openAIAmount(raw jsontext.Value) (*big.Rat, error) {
	var a struct {
		Value    jsontext.Value `json:"value"`
		Currency string         `json:"currency"`
	}
	if len(raw) == 0 || raw.Kind() != '{' {
		return nil, errors.New("the amount is missing")
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, errors.New("is no amount; want value and currency")
	}
	if err := checkCurrency(a.Currency); err != nil {
		return nil, err
	}
	text := string(a.Value)
	if a.Value.Kind() == '"' {
		if err := json.Unmarshal(a.Value, &text); err != nil {
			return nil, errAmount
		}
	}
	return dollars(text)
}

func anthropicAmount(raw jsontext.Value, currency string) (*big.Rat, error) {
	if err := checkCurrency(currency); err != nil {
		return nil, err
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return nil, errors.New("is no amount; want a decimal string of cents, such as \"123.45\"")
	}
	return cents(text)
}

func checkCurrency(c string) error {
	if !strings.EqualFold(c, "usd") {
		return fmt.Errorf("the currency is %q; only usd can be compared with the ledger", clip(c))
	}
	return nil
}

// splitLineItem finds the model in OpenAI's line items, which are text for
// people: "gpt-5.5-2026-04-23, cached input", "gpt-image-2 text, output",
// "priority | gpt-5.6-sol, output, long context". Others name none: "web search
// tool calls". No page documents them; these forms are in public billing tools.
func splitLineItem(s string) (model, label string) {
	head, _, comma := strings.Cut(s, ",")
	if _, after, ok := strings.Cut(head, " | "); ok {
		head = after
	}
	model, _, _ = strings.Cut(strings.TrimSpace(head), " ")
	if !comma || !strings.ContainsAny(model, "-0123456789") {
		return "", s
	}
	return model, ""
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// clip shortens what a message repeats of a file.
func clip(s string) string { return budget.Clip(s, 80) }
