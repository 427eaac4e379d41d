package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// restCall is a call as the REST API writes it.
type restCall struct {
	ID             string            `json:"id"`
	RequestID      string            `json:"request_id"`
	State          string            `json:"state"`
	KeyID          string            `json:"key_id"`
	Tag            string            `json:"tag"`
	Model          string            `json:"model"`
	Provider       string            `json:"provider"`
	DecideTime     *string           `json:"decide_time,omitzero"`
	BoundUSD       string            `json:"bound_usd"`
	Unpriced       bool              `json:"unpriced"`
	Lines          []restExplanation `json:"lines"`
	Budgets        []string          `json:"budgets"`
	EndTime        *string           `json:"end_time,omitzero"`
	LatencyMS      *int64            `json:"latency_ms,omitzero"`
	ProviderStatus *int              `json:"provider_status,omitzero"`
	CostUSD        *string           `json:"cost_usd,omitzero"`
	Basis          string            `json:"basis"`
	Input          int64             `json:"input_tokens"`
	CacheRead      int64             `json:"cache_read_tokens"`
	CacheWrite     int64             `json:"cache_write_tokens"`
	Output         int64             `json:"output_tokens"`
	ServedModel    string            `json:"served_model"`
	Reason         string            `json:"reason"`
	Refusal        *restCallRefusal  `json:"refusal,omitzero"`
	Repeats        int64             `json:"repeats"`
	Replica        string            `json:"replica,omitzero"`
}

type restExplanation struct {
	Label       string `json:"label"`
	Quantity    int64  `json:"quantity"`
	Unit        string `json:"unit"`
	PicoPerUnit int64  `json:"pico_usd_per_unit"`
	AmountUSD   string `json:"amount_usd"`
	Note        string `json:"note"`
}

type restCallRefusal struct {
	CapUSD           string  `json:"cap_usd"`
	SpentUSD         string  `json:"spent_usd"`
	ReservedUSD      string  `json:"reserved_usd"`
	RemainingUSD     string  `json:"remaining_usd"`
	MaxTokensThatFit *int64  `json:"max_tokens_that_fit,omitzero"`
	ResetsAt         *string `json:"resets_at,omitzero"`
}

type restCalls struct {
	Calls         []restCall `json:"calls"`
	NextPageToken string     `json:"next_page_token"`
	Cursor        string     `json:"cursor"`
	Unreachable   []string   `json:"unreachable,omitzero"`
}

func newCallsCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "calls", Short: "Find single calls: what was decided, and what they cost",
		Example: `  aigateway calls list --tag summarize
  aigateway calls tail
  aigateway calls show 5f2c1a0e-…`,
	}
	f := &clientFlags{}
	f.bind(c)
	return group(c, newCallsListCommand(a, f), newCallsTailCommand(a, f), newCallsShowCommand(a, f))
}

// callFilter are the flags that select calls.
type callFilter struct{ tag, key, model, since, state string }

func (f *callFilter) bind(c *cobra.Command) {
	c.Flags().StringVar(&f.tag, "tag", "", "only this `tag`, or it and all below with /** at the end")
	c.Flags().StringVar(&f.key, "key", "", "only the key with this `id`")
	c.Flags().StringVar(&f.model, "model", "", "only this `model`, provider/model")
	c.Flags().StringVar(&f.state, "state", "", "only calls that are `running`, settled, expired or refused")
}

func (f *callFilter) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"tag": f.tag, "key": f.key, "model": f.model, "since": f.since, "state": f.state} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

func newCallsListCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List calls, the newest first",
		Long: `Lists calls that run, that ended (for as long as the gateway keeps them), and of
those that were refused the last of each budget since the gateway started.`,
		Example: `  aigateway calls list --tag 'team/**' --since 2026-04-20
  aigateway calls list --state refused -o json`,
		Args: arguments(),
	}
	filter := &callFilter{}
	filter.bind(c)
	c.Flags().StringVar(&filter.since, "since", "", "only calls decided `then` or later: YYYY-MM, YYYY-MM-DD or RFC 3339")
	limit := c.Flags().Int("limit", 100, "`number` to list at most")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *limit < 1 {
			return usagef(c.CommandPath(), "--limit is %d; use 1 or more", *limit)
		}
		cl, err := a.client(c, f)
		if err != nil {
			return err
		}
		calls, unreachable, err := cl.calls(c.Context(), filter.query(), *limit)
		if err != nil {
			return err
		}
		a.noteUnreachable(unreachable)
		return a.print(out, calls, callTable(calls))
	}
	return c
}

// calls reads pages until limit calls are there, or all. unreachable are the gateways
// of which some may be missing.
func (c *client) calls(ctx context.Context, query url.Values, limit int) (all []restCall, unreachable []string, err error) {
	all = []restCall{}
	for {
		query.Set("page_size", strconv.Itoa(min(pageSize, limit-len(all))))
		var page restCalls
		if err := c.call(ctx, http.MethodGet, "/v1/calls", query, nil, &page); err != nil {
			return nil, nil, err
		}
		all = append(all, page.Calls...)
		for _, id := range page.Unreachable {
			if !slices.Contains(unreachable, id) {
				unreachable = append(unreachable, id)
			}
		}
		if page.NextPageToken == "" || len(all) >= limit {
			return all, unreachable, nil
		}
		if page.NextPageToken == query.Get("page_token") {
			return nil, nil, errors.New("the server's answer names the same next page again")
		}
		query.Set("page_token", page.NextPageToken)
	}
}

// callColumns are those of a list.
func callColumns() []column {
	return []column{left("DECIDED AT"), left("STATE"), left("TAG"), left("MODEL"), left("KEY ID"), money("BOUND USD"), money("COST USD"), left("BASIS"),
		right("STATUS"), right("MS"), left("REASON"), right("REPEATS"), left("REQUEST ID")}
}

func (r *restCall) cells() []string {
	return []string{orElse(r.DecideTime, ""), r.State, r.Tag, r.Model, r.KeyID, r.BoundUSD, orElse(r.CostUSD, ""), r.Basis,
		number(r.ProviderStatus), number(r.LatencyMS), r.Reason, strconv.FormatInt(r.Repeats, 10), r.RequestID}
}

func number[T int | int64](n *T) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(int64(*n), 10)
}

func callTable(calls []restCall) *table {
	t := &table{columns: callColumns(), empty: "no calls"}
	for i := range calls {
		t.add(calls[i].cells()...)
	}
	return t
}

const (
	// tailEvery is how often tail asks.
	tailEvery = time.Second
	// tailFirst is how many calls tail begins with.
	tailFirst = 10
)

func newCallsTailCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "tail", Short: "Print calls as they end or are refused, until it is interrupted",
		Long: `Prints the last calls, then each call when it has ended or was refused, one a line:
when it was decided, how it ended, its tag and model, what it cost or why it was
refused, the provider's status, how long it took, and its request id.`,
		Example: `  aigateway calls tail --tag 'team/**'
  aigateway calls tail -o json`,
		Args: arguments(),
	}
	filter := &callFilter{}
	filter.bind(c)
	out := &format{name: "table"}
	c.Flags().VarP(out, "output", "o", "how to print: table or json, an object a line")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if out.name != "table" && out.name != "json" {
			return usagef(c.CommandPath(), "tail prints table or json, not %s", out.name)
		}
		cl, err := a.client(c, f)
		if err != nil {
			return err
		}
		return a.tail(c.Context(), cl, filter.query(), out)
	}
	return c
}

func (a *app) tail(ctx context.Context, cl *client, query url.Values, out *format) error {
	query.Set("page_size", strconv.Itoa(tailFirst))
	var page restCalls
	if err := cl.call(ctx, http.MethodGet, "/v1/calls", query, nil, &page); err != nil {
		return err
	}
	for i := len(page.Calls) - 1; i >= 0; i-- {
		if page.Calls[i].State == "running" { // told of when it ends
			continue
		}
		if err := a.printCall(out, &page.Calls[i]); err != nil {
			return err
		}
	}
	query.Set("page_size", strconv.Itoa(pageSize))
	cursor, missed := page.Cursor, page.Unreachable
	a.noteUnreachable(missed)
	for {
		query.Set("after", cursor)
		page = restCalls{}
		if err := cl.call(ctx, http.MethodGet, "/v1/calls", query, nil, &page); err != nil {
			return err
		}
		for i := range page.Calls {
			if err := a.printCall(out, &page.Calls[i]); err != nil {
				return err
			}
		}
		if !slices.Equal(page.Unreachable, missed) {
			missed = page.Unreachable
			a.noteUnreachable(missed)
		}
		if page.Cursor != cursor {
			cursor = page.Cursor
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tailEvery):
		}
	}
}

// printCall writes one call as a line.
func (a *app) printCall(out *format, r *restCall) error {
	if out.name == "json" {
		return writeJSONLine(a.stdout, r)
	}
	what := "cost $" + orElse(r.CostUSD, "0") + " by " + r.Basis
	if r.State == "refused" {
		what = r.Reason
		if r.Repeats > 0 {
			what += fmt.Sprintf(" (%d more)", r.Repeats)
		}
	}
	line := []string{orElse(r.DecideTime, ""), r.State, r.Tag, r.Model, what}
	if r.ProviderStatus != nil {
		line = append(line, "status "+number(r.ProviderStatus))
	}
	if r.LatencyMS != nil {
		line = append(line, number(r.LatencyMS)+" ms")
	}
	for i := range line {
		line[i] = cleanCell(line[i])
	}
	_, err := fmt.Fprintln(a.stdout, strings.Join(append(line, r.RequestID), "  "))
	if err != nil {
		return fmt.Errorf("write a call: %w", err)
	}
	return nil
}

func newCallsShowCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "show REQUEST_ID", Short: "Show one call: decided, bound line by line, ended, on which evidence",
		Long: `Shows the call with an x-request-id. The gateway looks for it from the newest call
back, so an old one takes a moment.`,
		Example: "  aigateway calls show 5f2c1a0e-1b7d-4a52-9d0e-0d6f8a7c3b21", Args: arguments("the request id"),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		cl, err := a.client(c, f)
		if err != nil {
			return err
		}
		calls, unreachable, err := cl.calls(c.Context(), url.Values{"request_id": {args[0]}}, 1)
		if err != nil {
			return err
		}
		if len(calls) == 0 {
			a.noteUnreachable(unreachable)
			return withHint(fmt.Errorf("no call with the request id %q is known", args[0]),
				"calls are kept for retention.calls_days, and of refused ones the last of each budget since the gateway started")
		}
		return a.print(out, calls[0], calls[0].timeline())
	}
	return c
}

// timeline is a call as a story.
func (r *restCall) timeline() *table {
	t := &table{columns: []column{left("WHAT"), money("USD"), right("QUANTITY"), left("UNIT"), left("NOTE")}}
	say := func(what, note string) { t.add(what, "", "", "", note) }
	say("request", r.RequestID)
	say("tag", r.Tag)
	say("model", r.Model)
	say("key", r.KeyID)
	if r.Replica != "" {
		say("gateway", r.Replica)
	}
	decided := "admitted"
	if r.State == "refused" {
		decided = "refused"
	}
	say(decided, orElse(r.DecideTime, ""))
	for _, l := range r.Lines {
		t.add(l.Label, l.AmountUSD, strconv.FormatInt(l.Quantity, 10), l.Unit, l.Note)
	}
	if len(r.Lines) == 0 && !r.Unpriced {
		t.add("bound", r.BoundUSD, "1", "request", "its arithmetic was not kept")
	}
	say("budgets", strings.Join(r.Budgets, " "))
	if r.State == "refused" {
		r.refused(t)
		return t
	}
	if r.State == "running" {
		say("running", "its end is not known yet")
		return t
	}
	say("ended", orElse(r.EndTime, "nobody told when"))
	if r.LatencyMS != nil {
		t.add("took", "", number(r.LatencyMS), "ms", "")
	}
	if r.ProviderStatus != nil {
		say("provider", "answered "+number(r.ProviderStatus))
	}
	if r.ServedModel != "" {
		say("answered by", r.ServedModel)
	}
	for _, b := range []struct {
		name string
		n    int64
	}{{"input", r.Input}, {"cache read", r.CacheRead}, {"cache write", r.CacheWrite}, {"output", r.Output}} {
		t.add(b.name+" reported", "", strconv.FormatInt(b.n, 10), "tokens", "")
	}
	t.add("cost", orElse(r.CostUSD, ""), "1", "request", "by "+r.Basis)
	return t
}

// refused adds why, and what would have fit.
func (r *restCall) refused(t *table) {
	t.add("reason", "", "", "", r.Reason)
	if ref := r.Refusal; ref != nil {
		t.add("cap", ref.CapUSD, "", "", "")
		t.add("spent", ref.SpentUSD, "", "", "")
		t.add("reserved", ref.ReservedUSD, "", "", "by running calls")
		t.add("remaining", ref.RemainingUSD, "", "", "")
		if ref.MaxTokensThatFit != nil {
			t.add("would have fit", "", number(ref.MaxTokensThatFit), "max_tokens", "")
		}
		t.add("starts anew", "", "", "", orElse(ref.ResetsAt, "never"))
	}
	t.add("repeats", "", strconv.FormatInt(r.Repeats, 10), "", "the same body by the same key, within ten minutes")
}
