package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// restHealth is how the gateway is, as the REST API writes it.
type restHealth struct {
	Ready      bool            `json:"ready"`
	Conditions []restCondition `json:"conditions"`
	Providers  []struct {
		Provider  string `json:"provider"`
		Calls     int64  `json:"calls"`
		Faults    int64  `json:"faults"`
		MeanMS    *int64 `json:"mean_ms,omitzero"`
		LastFault string `json:"last_fault"`
	} `json:"providers"`
	UnpricedModels []struct {
		Model string `json:"model"`
		Calls int64  `json:"calls"`
	} `json:"unpriced_models"`
	CatalogVersion  string  `json:"catalog_version"`
	PricesCheckedAt *string `json:"prices_checked_at,omitzero"`
	PricesAgeDays   int64   `json:"prices_age_days"`
	ClockAheadMS    int64   `json:"clock_ahead_ms"`
	DatabaseBytes   int64   `json:"database_bytes"`
	DiskFreeBytes   int64   `json:"disk_free_bytes"`
	DiskFullDays    int64   `json:"disk_full_days"`

	Replicas    []restReplica `json:"replicas,omitzero"`
	Unreachable []string      `json:"unreachable,omitzero"`
}

// restCondition is a part of a gateway.
type restCondition struct {
	Name    string `json:"name"`
	Ready   bool   `json:"ready"`
	Message string `json:"message"`
	Warning string `json:"warning"`
}

// restReplicaHealth is what a gateway says of itself.
type restReplicaHealth struct {
	Ready           bool            `json:"ready"`
	Conditions      []restCondition `json:"conditions"`
	CatalogVersion  string          `json:"catalog_version"`
	ClockAheadMS    int64           `json:"clock_ahead_ms"`
	DatabaseBytes   int64           `json:"database_bytes"`
	DiskFreeBytes   int64           `json:"disk_free_bytes"`
	DiskFullDays    int64           `json:"disk_full_days"`
	BooksHead       string          `json:"books_head"`
	BooksCheckedAt  *string         `json:"books_checked_at,omitzero"`
	BooksMismatches int32           `json:"books_mismatches"`
}

// restReplica is one of gateways that share a store.
type restReplica struct {
	ID           string             `json:"id"`
	Name         string             `json:"name"`
	State        string             `json:"state"`
	SeenTime     *string            `json:"seen_time,omitzero"`
	SilentMS     int64              `json:"silent_ms"`
	UsageTime    *string            `json:"usage_time,omitzero"`
	UsageLagMS   int64              `json:"usage_lag_ms"`
	Leased       string             `json:"leased"`
	RulesVersion int64              `json:"rules_version"`
	RulesBehind  int64              `json:"rules_behind"`
	Program      string             `json:"program"`
	Config       string             `json:"config"`
	Asked        bool               `json:"asked"`
	Health       *restReplicaHealth `json:"health,omitzero"`
}

func newHealthCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "health", Short: "Show what of the gateway works and what somebody should look at",
		Example: "  aigateway health\n  aigateway health -o json", Args: arguments(),
	}
	f := &clientFlags{}
	f.bind(c)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		h, err := ask[restHealth](a, c, f, "/v1/health", nil)
		if err != nil {
			return err
		}
		a.noteUnreachable(h.Unreachable)
		return a.print(out, h, h.table())
	}
	return c
}

func (h *restHealth) table() *table {
	t := &table{columns: []column{left("PART"), left("STATE"), left("DETAIL")}}
	state := func(ready bool, warning string) string {
		switch {
		case !ready:
			return "fails"
		case warning != "":
			return "warns"
		}
		return "works"
	}
	t.add("gateway", state(h.Ready, ""), "")
	for _, r := range h.Replicas {
		how := ""
		switch {
		case r.Health != nil:
			how = state(r.Health.Ready, "")
		case r.State == "silent":
			how = "silent"
		case r.State != "left":
			how = "no answer"
		}
		t.add("replica "+r.Name, how, r.detail())
	}
	for _, c := range h.Conditions {
		t.add(c.Name, state(c.Ready, c.Warning), c.Message+c.Warning)
	}
	for _, p := range h.Providers {
		detail := fmt.Sprintf("%d calls lately, %d failed", p.Calls, p.Faults)
		if p.MeanMS != nil {
			detail += fmt.Sprintf(", %d ms on average", *p.MeanMS)
		}
		if p.LastFault != "" {
			detail += ", the last failure " + p.LastFault
		}
		warning := ""
		if p.Faults > 0 {
			warning = "some failed"
		}
		t.add("provider "+p.Provider, state(true, warning), detail)
	}
	for _, m := range h.UnpricedModels {
		t.add("model "+m.Model, "warns", fmt.Sprintf("%d calls without a price this month", m.Calls))
	}
	checked := "never checked, as far as is known"
	if h.PricesCheckedAt != nil {
		checked = fmt.Sprintf("checked %d days ago", h.PricesAgeDays)
	}
	t.add("prices", "", h.CatalogVersion+", "+checked)
	t.add("clock", "", fmt.Sprintf("%d ms ahead of the time that windows go by", h.ClockAheadMS))
	t.add("database", "", strconv.FormatInt(h.DatabaseBytes, 10)+" bytes")
	lasts := fmt.Sprintf("for %d days", h.DiskFullDays)
	if h.DiskFullDays > 3650 {
		lasts = "for ten years and more"
	}
	t.add("disk", "", fmt.Sprintf("%d bytes free, %s", h.DiskFreeBytes, lasts))
	return t
}

// detail is what the store knows of r, or that nobody does.
func (r *restReplica) detail() string {
	if r.State == "" {
		return "nobody knows more of it now"
	}
	told := "has told no usage yet"
	if r.UsageTime != nil {
		told = fmt.Sprintf("its usage is %d ms old", r.UsageLagMS)
	}
	text := fmt.Sprintf("%s, holds %s USD, %s, obeys version %d of budgets and keys", r.State, r.Leased, told, r.RulesVersion)
	if r.RulesBehind > 0 {
		text += fmt.Sprintf(", %d behind", r.RulesBehind)
	}
	return text
}

// restBooks is where the books stand, as the REST API writes it.
type restBooks struct {
	Head        string  `json:"head"`
	CheckedAt   *string `json:"checked_at,omitzero"`
	Mismatches  int32   `json:"mismatches"`
	Corrections []struct {
		CreateTime *string `json:"create_time,omitzero"`
		Subject    string  `json:"subject"`
		Amount     string  `json:"amount"`
		Reason     string  `json:"reason"`
		Actor      string  `json:"actor"`
	} `json:"corrections"`

	Replicas    []restReplica `json:"replicas,omitzero"`
	Unreachable []string      `json:"unreachable,omitzero"`
}

func newBooksCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "books", Short: "Show the head of the hash chain, the last check and the last corrections",
		Long: `Shows the head of the hash chain, when all totals were last compared with their
rows and how many differed, and with -o json the last hundred corrections. The
providers' side is in aigateway bills.`,
		Example: "  aigateway books\n  aigateway books -o json", Args: arguments(),
	}
	f := &clientFlags{}
	f.bind(c)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		b, err := ask[restBooks](a, c, f, "/v1/books", nil)
		if err != nil {
			return err
		}
		a.noteUnreachable(b.Unreachable)
		t := &table{columns: []column{left("HEAD"), left("CHECKED AT"), right("MISMATCHES"), right("CORRECTIONS")}}
		t.add(b.Head, orElse(b.CheckedAt, ""), fmt.Sprint(b.Mismatches), strconv.Itoa(len(b.Corrections)))
		return a.print(out, b, t)
	}
	return c
}

// restBills is a month of bills, as the REST API writes it.
type restBills struct {
	Month     string        `json:"month"`
	TimeZone  string        `json:"time_zone"`
	Rows      []restBillRow `json:"rows"`
	Providers []restBillRow `json:"providers"`
	Months    []string      `json:"months"`
}

type restBillRow struct {
	Provider   string  `json:"provider"`
	Day        string  `json:"day"`
	Billed     string  `json:"billed_usd"`
	Recorded   string  `json:"recorded_usd"`
	Difference string  `json:"difference_usd"`
	Corrected  string  `json:"corrected_usd"`
	Open       string  `json:"open_usd"`
	ImportTime *string `json:"import_time,omitzero"`
	Actor      string  `json:"actor"`
}

func newBillsCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "bills", Short: "Compare what providers billed, day by day, with what was recorded",
		Long: `Sets what aigateway reconcile was told that providers billed beside what is
recorded of the same UTC days. OPEN is the difference without what was corrected:
0.00 where the books tie.`,
		Example: "  aigateway bills\n  aigateway bills --month 2026-04 -o csv", Args: arguments(),
	}
	f := &clientFlags{}
	f.bind(c)
	month := c.Flags().String("month", "", "`month` as YYYY-MM, in UTC (default the latest that there is a bill of)")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		query := url.Values{}
		setQuery(query, "month", *month)
		b, err := ask[restBills](a, c, f, "/v1/bills", query)
		if err != nil {
			return err
		}
		t := &table{
			columns: []column{left("PROVIDER"), left("DAY"), money("BILLED USD"), money("RECORDED USD"), money("DIFFERENCE USD"), money("CORRECTED USD"), money("OPEN USD"), left("IMPORTED")},
			empty:   "no bill of this month was imported; aigateway reconcile does it",
		}
		add := func(r restBillRow, day string) {
			t.add(r.Provider, day, r.Billed, r.Recorded, r.Difference, r.Corrected, r.Open, orElse(r.ImportTime, ""))
		}
		for _, r := range b.Rows {
			add(r, r.Day)
		}
		if out.name == "table" {
			for _, r := range b.Providers {
				add(r, "all")
			}
		}
		return a.print(out, b, t)
	}
	return c
}
