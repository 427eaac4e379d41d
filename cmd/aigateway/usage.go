package main

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"aigateway/budget"

	"github.com/spf13/cobra"
)

// restTagUsage is one row of the published by-tag report.
type restTagUsage struct {
	Tag       string `json:"tag"`
	Requests  int64  `json:"requests"`
	CostCents int64  `json:"cost_cents"`
}

// restUsageRow is one group of a usage query; columns it is not grouped by
// are absent.
type restUsageRow struct {
	Tag              *string `json:"tag,omitzero"`
	Model            *string `json:"model,omitzero"`
	Provider         *string `json:"provider,omitzero"`
	KeyID            *string `json:"key_id,omitzero"`
	Time             *string `json:"time,omitzero"`
	Requests         int64   `json:"requests"`
	UnpricedRequests int64   `json:"unpriced_requests"`
	CostCents        int64   `json:"cost_cents"`
	CostUSD          string  `json:"cost_usd"`
	InputTokens      int64   `json:"input_tokens"`
	CacheReadTokens  int64   `json:"cache_read_tokens"`
	CacheWriteTokens int64   `json:"cache_write_tokens"`
	OutputTokens     int64   `json:"output_tokens"`

	EstimatedRequests int64  `json:"estimated_requests"`
	EstimatedCostUSD  string `json:"estimated_cost_usd"`
}

type restUsage struct {
	From     string         `json:"from"`
	To       string         `json:"to"`
	TimeZone string         `json:"time_zone"`
	GroupBy  []string       `json:"group_by"`
	Rows     []restUsageRow `json:"rows"`
	Total    *restUsageRow  `json:"total,omitzero"`
	AsOf     string         `json:"as_of,omitzero"`
	Behind   []string       `json:"behind,omitzero"`
}

func newUsageCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "usage", Short: "Read what tags cost",
		Long: `Reports what each tag cost in a month, the highest cost first. Costs are exact
sums, rounded up to the cent once per row; "usage query" shows them unrounded
and groups them in other ways.`,
		Example: `  aigateway usage
  aigateway usage --month 2026-04 --tag summarize
  aigateway usage --limit 20
  aigateway usage query --by tag,model --from 2026-04-01 --to 2026-04-08 -o csv`,
	}
	f := &clientFlags{}
	f.bind(c)
	month := c.Flags().String("month", "", "`month` as YYYY-MM, in the gateway's time zone (default this month)")
	tag := c.Flags().String("tag", "", "only this `tag`; TAG/** with all below it")
	limit := c.Flags().Int32("limit", 0, "only this `number` of tags, those with the highest cost (default all)")
	out := outputFlag(c)
	group(c, newUsageQueryCommand(a, f), newUsageTreeCommand(a, f))
	unknown := c.RunE // reports a word that is no subcommand
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(c, args)
		}
		return a.usageByTag(c, f, out, *month, *tag, *limit)
	}
	return c
}

func (a *app) usageByTag(c *cobra.Command, f *clientFlags, out *format, month, tag string, limit int32) error {
	if month != "" {
		if _, err := budget.ParseMonth("--month", month, time.UTC); err != nil {
			return usagef(c.CommandPath(), "%s", err)
		}
	}
	if c.Flags().Changed("limit") && limit < 1 {
		return usagef(c.CommandPath(), "--limit: %d is no number of tags; use 1 or more", limit)
	}
	cl, err := a.client(c, f)
	if err != nil {
		return err
	}
	// One row for each tag, however many there are.
	cl.limit, cl.http.Timeout = 1<<30, 10*time.Minute
	query := url.Values{}
	setQuery(query, "month", month)
	setQuery(query, "tag", tag)
	if limit > 0 {
		query.Set("limit", strconv.FormatInt(int64(limit), 10))
	}
	var rows []restTagUsage
	if err := cl.call(c.Context(), http.MethodGet, "/v1/usage/by-tag", query, nil, &rows); err != nil {
		return err
	}
	var behind []string
	if ids := cl.header.Get("X-Aig-Behind"); ids != "" {
		behind = strings.Split(ids, ",")
	}
	a.noteAsOf(cl.header.Get("X-Aig-As-Of"), behind)
	t := &table{
		columns: []column{left("TAG"), right("REQUESTS"), money("COST USD")},
		empty:   "no calls reached a provider in this month",
	}
	for _, r := range rows {
		t.add(r.Tag, strconv.FormatInt(r.Requests, 10), dollars(r.CostCents))
	}
	return a.print(out, rows, t)
}

func newUsageQueryCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "query", Short: "Report any span of time, grouped by any dimensions",
		Example: `  aigateway usage query --by tag,model --from 2026-04-01 --to 2026-04-08
  aigateway usage query --by day --tag 'team/a/**' --from 2026-04 -o csv
  aigateway usage query --by hour,provider --from 2026-04-01 --to 2026-04-02 --time-zone Europe/Berlin`,
		Args: arguments(),
	}
	by := c.Flags().StringSlice("by", nil, "`dimensions` to group by: tag, model, provider, key, day or hour (default one row)")
	filters := []string{"from", "to", "tag", "model", "provider", "key", "time-zone"}
	c.Flags().String("from", "", "start `time`: YYYY-MM, YYYY-MM-DD or RFC 3339 at a quarter of an hour (default start of this month)")
	c.Flags().String("to", "", "end `time`, not part of the span, in the same forms (default now)")
	c.Flags().String("tag", "", "only this `tag`; TAG/** with all below it")
	c.Flags().String("model", "", "only this `model`, PROVIDER/MODEL")
	c.Flags().String("provider", "", "only this `provider`")
	c.Flags().String("key", "", "only this key `id`")
	c.Flags().String("time-zone", "", "IANA time `zone` of the span, days and hours (default the gateway's)")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := checkDimensions(c, *by); err != nil {
			return err
		}
		query := url.Values{}
		setQuery(query, "group_by", strings.Join(*by, ","))
		for _, name := range filters {
			setQuery(query, restNames(name), c.Flag(name).Value.String())
		}
		answer, err := ask[restUsage](a, c, f, "/v1/usage", query)
		if err != nil {
			return err
		}
		a.noteAsOf(answer.AsOf, answer.Behind)
		return a.printUsage(out, *by, answer)
	}
	return c
}

// restNames turns a flag's name into the query parameter's.
func restNames(flag string) string {
	switch flag {
	case "key":
		return "key_id"
	case "time-zone":
		return "time_zone"
	}
	return flag
}

func checkDimensions(c *cobra.Command, by []string) error {
	known := []budget.Dimension{budget.ByTag, budget.ByModel, budget.ByProvider, budget.ByKey, budget.ByDay, budget.ByHour}
	for _, d := range by {
		if !slices.Contains(known, budget.Dimension(d)) {
			return usagef(c.CommandPath(), "--by: %q is no dimension; use tag, model, provider, key, day or hour", d)
		}
	}
	if slices.Contains(by, "day") && slices.Contains(by, "hour") {
		return usagef(c.CommandPath(), "--by: day and hour exclude each other")
	}
	return nil
}

func (a *app) printUsage(out *format, by []string, u restUsage) error {
	t := &table{empty: "no calls reached a provider from " + cleanCell(u.From) + " to " + cleanCell(u.To)}
	for _, d := range by {
		t.columns = append(t.columns, dimensionColumn(d))
	}
	t.columns = append(t.columns, // names in a csv are those of the API's csv
		column{title: "REQUESTS", right: true}, column{title: "UNPRICED", csv: "unpriced_requests", right: true},
		column{title: "INPUT", csv: "input_tokens", right: true}, column{title: "CACHE READ", csv: "cache_read_tokens", right: true},
		column{title: "CACHE WRITE", csv: "cache_write_tokens", right: true}, column{title: "OUTPUT", csv: "output_tokens", right: true},
		money("COST USD"), column{title: "ESTIMATED", csv: "estimated_requests", right: true},
		column{title: "ESTIMATED USD", csv: "estimated_cost_usd", right: true, money: true})
	for _, r := range u.Rows {
		cells := make([]string, 0, len(t.columns))
		for _, d := range by {
			cells = append(cells, r.dimension(d))
		}
		t.add(append(cells, r.numbers()...)...)
	}
	if out.name == "table" && len(u.Rows) > 0 {
		a.notef("%s to %s, %s", cleanCell(u.From), cleanCell(u.To), cleanCell(u.TimeZone))
		if len(by) > 0 && u.Total != nil { // in a csv it would be added up twice
			t.add(append(append([]string{"total"}, make([]string, len(by)-1)...), u.Total.numbers()...)...)
		}
	}
	return a.print(out, u, t)
}

func dimensionColumn(d string) column {
	switch budget.Dimension(d) {
	case budget.ByKey:
		return left("KEY ID")
	case budget.ByDay, budget.ByHour:
		return column{title: strings.ToUpper(d), csv: "time"}
	}
	return left(strings.ToUpper(d))
}

func (r restUsageRow) dimension(d string) string {
	switch budget.Dimension(d) {
	case budget.ByTag:
		return orElse(r.Tag, "")
	case budget.ByModel:
		return orElse(r.Model, "")
	case budget.ByProvider:
		return orElse(r.Provider, "")
	case budget.ByKey:
		return orElse(r.KeyID, "")
	default:
		return orElse(r.Time, "")
	}
}

func (r restUsageRow) numbers() []string {
	n := func(v int64) string { return strconv.FormatInt(v, 10) }
	return []string{n(r.Requests), n(r.UnpricedRequests), n(r.InputTokens), n(r.CacheReadTokens), n(r.CacheWriteTokens), n(r.OutputTokens), r.CostUSD,
		n(r.EstimatedRequests), r.EstimatedCostUSD}
}
