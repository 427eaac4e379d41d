package main

import (
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// restTree is a level of the tree of tags, as the REST API writes it.
type restTree struct {
	From       string       `json:"from"`
	To         string       `json:"to"`
	TimeZone   string       `json:"time_zone"`
	Parent     restNode     `json:"parent"`
	Nodes      []restNode   `json:"nodes"`
	NodeCount  int32        `json:"node_count"`
	KeyBudgets []restBudget `json:"key_budgets"`
}

type restNode struct {
	Tag          string       `json:"tag"`
	Requests     int64        `json:"requests"`
	Cost         string       `json:"cost_usd"`
	OwnCost      string       `json:"own_cost_usd"`
	TagsBelow    int32        `json:"tags_below"`
	Budgets      []restBudget `json:"budgets"`
	BudgetsBelow int32        `json:"budgets_below"`
	FullBelow    int32        `json:"full_below"`
}

func newUsageTreeCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "tree", Short: "Report a month by the paths of tags, one level at a time, with their budgets",
		Long: `Shows what is right below a tag: what each cost in the month with all below it, and
how many tags and budgets there are further below. The first row is the tag itself.`,
		Example: "  aigateway usage tree\n  aigateway usage tree --parent team/a --month 2026-04",
		Args:    arguments(),
	}
	parent := c.Flags().String("parent", "", "`tag` below which to look (default all tags)")
	month := c.Flags().String("month", "", "`month` as YYYY-MM, in the gateway's time zone (default this month)")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		query := url.Values{}
		setQuery(query, "parent", *parent)
		setQuery(query, "month", *month)
		r, err := ask[restTree](a, c, f, "/v1/usage/tree", query)
		if err != nil {
			return err
		}
		t := &table{columns: []column{left("TAG"), right("REQUESTS"), money("COST USD"), money("OF IT ITS OWN USD"), right("TAGS BELOW"), right("BUDGETS"), right("BUDGETS BELOW"), right("USED UP BELOW")}}
		for _, n := range append([]restNode{r.Parent}, r.Nodes...) {
			t.add(n.Tag, strconv.FormatInt(n.Requests, 10), n.Cost, n.OwnCost, strconv.Itoa(int(n.TagsBelow)), strconv.Itoa(len(n.Budgets)), strconv.Itoa(int(n.BudgetsBelow)), strconv.Itoa(int(n.FullBelow)))
		}
		return a.print(out, r, t)
	}
	return c
}
