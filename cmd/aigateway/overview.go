package main

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// restOverview is where a month stands, as the REST API writes it.
type restOverview struct {
	From           string  `json:"from"`
	To             string  `json:"to"`
	TimeZone       string  `json:"time_zone"`
	Spent          string  `json:"spent"`
	Reserved       string  `json:"reserved"`
	RunningCalls   int64   `json:"running_calls"`
	Projected      *string `json:"projected,omitzero"`
	Method         string  `json:"method"`
	RefusedCalls   int64   `json:"refused_calls"`
	DistinctCalls  int64   `json:"distinct_calls"`
	Kept           string  `json:"kept"`
	Cap            *string `json:"cap,omitzero"`
	Budgets        int32   `json:"budgets"`
	BudgetsFull    int32   `json:"budgets_full"`
	BudgetsFilling int32   `json:"budgets_filling"`
	NextFullAt     *string `json:"next_full_at,omitzero"`

	Unreachable []string `json:"unreachable,omitzero"`
	AsOf        string   `json:"as_of,omitzero"`
	Behind      []string `json:"behind,omitzero"`
}

func newOverviewCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "overview", Short: "Show where this month stands",
		Example: "  aigateway overview\n  aigateway overview -o json", Args: arguments(),
	}
	f := &clientFlags{}
	f.bind(c)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		o, err := ask[restOverview](a, c, f, "/v1/overview", nil)
		if err != nil {
			return err
		}
		a.noteUnreachable(o.Unreachable)
		a.noteAsOf(o.AsOf, o.Behind)
		t := &table{columns: []column{money("SPENT USD"), money("RESERVED USD"), money("PROJECTED USD"), money("CAP USD"), money("KEPT USD"),
			right("REFUSED CALLS"), right("BUDGETS"), right("FULL"), right("FILLING"), left("NEXT FULL AT")}}
		t.add(o.Spent, o.Reserved, orElse(o.Projected, ""), orElse(o.Cap, ""), o.Kept, strconv.FormatInt(o.RefusedCalls, 10),
			fmt.Sprint(o.Budgets), fmt.Sprint(o.BudgetsFull), fmt.Sprint(o.BudgetsFilling), orElse(o.NextFullAt, ""))
		return a.print(out, o, t)
	}
	return c
}

// restRefusals counts refused calls, as the REST API writes it.
type restRefusals struct {
	From     string       `json:"from"`
	To       string       `json:"to"`
	TimeZone string       `json:"time_zone"`
	Rows     []restRefRow `json:"rows"`
	Reasons  []restRefRow `json:"reasons"`
	Total    restRefRow   `json:"total"`
}

type restRefRow struct {
	BudgetID      *string `json:"budget_id,omitzero"`
	Reason        string  `json:"reason"`
	Calls         int64   `json:"calls"`
	DistinctCalls int64   `json:"distinct_calls"`
	Kept          string  `json:"kept"`
}

func newRefusalsCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "refusals", Short: "Count refused calls by budget and reason, and what that kept from being spent",
		Long: `Counts the calls that were refused, for as long as finished calls are kept. What
was kept is the sum of what the different ones could have cost: a call that the same
key sends again within ten minutes of the last time counts once.`,
		Example: "  aigateway refusals\n  aigateway refusals --from 2026-04-01 --to 2026-04-08 --budget bud_7", Args: arguments(),
	}
	f := &clientFlags{}
	f.bind(c)
	from := c.Flags().String("from", "", "start `time`: YYYY-MM, YYYY-MM-DD or RFC 3339 (default this month)")
	to := c.Flags().String("to", "", "end `time`, not part of it (default now)")
	id := c.Flags().String("budget", "", "only what the budget with this `id` refused")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		query := url.Values{}
		setQuery(query, "from", *from)
		setQuery(query, "to", *to)
		setQuery(query, "budget_id", *id)
		r, err := ask[restRefusals](a, c, f, "/v1/refusals", query)
		if err != nil {
			return err
		}
		t := &table{columns: []column{left("BUDGET ID"), left("REASON"), right("CALLS"), right("DISTINCT CALLS"), money("KEPT USD")}, empty: "no call was refused"}
		for _, row := range r.Rows {
			t.add(orElse(row.BudgetID, ""), row.Reason, strconv.FormatInt(row.Calls, 10), strconv.FormatInt(row.DistinctCalls, 10), row.Kept)
		}
		return a.print(out, r, t)
	}
	return c
}
