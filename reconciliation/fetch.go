package reconciliation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// API downloads exports from a vendor's admin API. It is used by one goroutine
// at a time.
type API struct {
	Vendor Vendor
	Base   *url.URL // scheme and host
	Key    string   // an admin key; it goes into a header, never into an error
	HTTP   *http.Client
	Now    func() time.Time
	// Wait passes the time before a retry; its error ends the download.
	Wait func(context.Context, time.Duration) error
}

// Where each vendor's admin API is.
const (
	OpenAIBase    = "https://api.openai.com"
	AnthropicBase = "https://api.anthropic.com"
)

const (
	maxTries     = 6
	firstWait    = time.Second
	longestWait  = time.Minute
	maxPageBytes = 64 << 20
	// maxPages is far above a month's 31 buckets, even one for each page.
	maxPages = 200
	// pageDays is a month: OpenAI allows up to 180 buckets of costs and 31 of
	// usage, Anthropic 31 of either.
	pageDays = 31
)

// Fetch downloads the days from first to last: the costs, and the usage of
// tokens that tells why costs differ. A month without any bill gives no export.
func (a *API) Fetch(ctx context.Context, first, last Day) ([]*Export, error) {
	var out []*Export
	for _, q := range a.queries(first, last) {
		e, err := a.download(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("download %s: %w", q.report, err)
		}
		if e != nil {
			out = append(out, e)
		}
	}
	return out, nil
}

type query struct {
	report report
	path   string
	values url.Values
}

func (a *API) queries(first, last Day) []query {
	from, to := first.Start(), last.Start().AddDate(0, 0, 1)
	if a.Vendor == Anthropic {
		span := func(groups ...string) url.Values {
			return url.Values{"starting_at": {from.Format(time.RFC3339)}, "ending_at": {to.Format(time.RFC3339)}, "bucket_width": {"1d"},
				"limit": {strconv.Itoa(pageDays)}, "group_by[]": groups}
		}
		return []query{
			{anthropicCosts, "/v1/organizations/cost_report", span("description", "workspace_id")},
			{anthropicMessages, "/v1/organizations/usage_report/messages", span("model", "service_tier", "workspace_id")},
		}
	}
	span := func(groups ...string) url.Values {
		return url.Values{"start_time": {strconv.FormatInt(from.Unix(), 10)}, "end_time": {strconv.FormatInt(to.Unix(), 10)}, "bucket_width": {"1d"},
			"limit": {strconv.Itoa(pageDays)}, "group_by": groups}
	}
	return []query{
		{openaiCosts, "/v1/organization/costs", span("line_item", "project_id", "api_key_id")},
		{openaiCompletions, "/v1/organization/usage/completions", span("model", "project_id", "api_key_id", "service_tier", "batch")},
		{openaiEmbeddings, "/v1/organization/usage/embeddings", span("model", "project_id", "api_key_id")},
	}
}

// download reads all pages of a query. The export's hash is of the pages' bytes.
func (a *API) download(ctx context.Context, q query) (*Export, error) {
	sum := sha256.New()
	var pages []page
	for len(pages) < maxPages {
		text, err := a.get(ctx, q)
		if err != nil {
			return nil, err
		}
		sum.Write(text)
		var p page
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, fmt.Errorf("page %d: %w", len(pages)+1, jsonError(err))
		}
		if p.Data == nil {
			return nil, fmt.Errorf("page %d: member data is missing", len(pages)+1)
		}
		pages = append(pages, p)
		if !p.HasMore {
			e := &Export{Name: string(q.report) + " API", SHA256: hex.EncodeToString(sum.Sum(nil))}
			if err := e.addPagesOf(q.report, pages); err != nil || len(e.buckets) == 0 {
				return nil, err
			}
			return e, nil
		}
		if p.NextPage == "" || p.NextPage == q.values.Get("page") {
			return nil, fmt.Errorf("page %d says that more follows and does not name it", len(pages))
		}
		q.values.Set("page", p.NextPage)
	}
	return nil, fmt.Errorf("more than %d pages", maxPages)
}

// get asks for one page, again after 429 and 5xx and when no answer came.
func (a *API) get(ctx context.Context, q query) ([]byte, error) {
	for try := 1; ; try++ {
		text, again, err := a.once(ctx, q)
		if err == nil || again < 0 || try == maxTries || ctx.Err() != nil {
			return text, err
		}
		if again == 0 {
			again = firstWait << (try - 1)
		}
		if err := a.Wait(ctx, min(again, longestWait)); err != nil {
			return nil, err
		}
	}
}

// once asks once. Again is how long to wait before the next try: 0 for no word
// from the vendor, negative if another try cannot help.
func (a *API) once(ctx context.Context, q query) (text []byte, again time.Duration, err error) {
	const never = -1
	u := a.Base.JoinPath(q.path)
	u.RawQuery = q.values.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, never, fmt.Errorf("make the request: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "aigateway")
	if a.Vendor == Anthropic {
		req.Header.Set("X-Api-Key", a.Key)
		req.Header.Set("Anthropic-Version", "2023-06-01")
	} else {
		req.Header.Set("Authorization", "Bearer "+a.Key)
	}
	resp, err := a.HTTP.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) { // its text repeats the whole URL
			err = ue.Err
		}
		return nil, 0, fmt.Errorf("no answer from %s: %w", a.Base.Host, err)
	}
	defer resp.Body.Close()
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxPageBytes+1))
	switch {
	case err != nil:
		return nil, 0, fmt.Errorf("read the answer of %s: %w", a.Base.Host, err)
	case len(text) > maxPageBytes:
		return nil, never, fmt.Errorf("a page is larger than %d MiB", maxPageBytes>>20)
	case resp.StatusCode == http.StatusOK:
		return text, 0, nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return nil, a.retryAfter(resp.Header.Get("Retry-After")), a.refused(resp.StatusCode, text)
	}
	return nil, never, a.refused(resp.StatusCode, text)
}

// retryAfter reads seconds or a date; 0 is neither.
func (a *API) retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return time.Duration(min(n, 3600)) * time.Second
	}
	if t, err := http.ParseTime(s); err == nil {
		return max(0, t.Sub(a.Now()))
	}
	return 0
}

// refused is the vendor's own word on a failed request. Both put it into
// error.message. Vendors repeat a part of a wrong key in it: that is cut out.
func (a *API) refused(status int, text []byte) error {
	var body struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	said := ""
	if err := json.Unmarshal(text, &body); err == nil && body.Error.Message != "" {
		said = ": " + clip(withoutKeys(body.Error.Message))
	}
	hint := ""
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		hint = "; usage and costs need an admin key of the organization"
	}
	return fmt.Errorf("%s answered %d%s%s", a.Base.Host, status, said, hint)
}

// withoutKeys replaces words that look like a key, whole or shortened.
func withoutKeys(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		if strings.Contains(w, "sk-") || strings.Contains(w, "***") {
			words[i] = "(key)"
		}
	}
	return strings.Join(words, " ")
}
