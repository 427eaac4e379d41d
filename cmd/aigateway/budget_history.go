package main

import (
	"net/http"
	"strconv"

	"github.com/spf13/cobra"
)

// restWindow is a budget's window as the REST API writes it.
type restWindow struct {
	Start         *string `json:"start,omitzero"`
	End           *string `json:"end,omitzero"`
	Running       bool    `json:"running"`
	Cap           *string `json:"cap,omitzero"`
	Spent         string  `json:"spent"`
	RefusedCalls  int64   `json:"refused_calls"`
	DistinctCalls int64   `json:"distinct_calls"`
	Kept          string  `json:"kept"`
}

type restWindowPage struct {
	Windows       []restWindow `json:"windows"`
	NextPageToken string       `json:"next_page_token"`
}

func (p restWindowPage) items() ([]restWindow, string) { return p.Windows, p.NextPageToken }

// restChange is an edit of a budget as the REST API writes it.
type restChange struct {
	ID         string     `json:"id"`
	CreateTime *string    `json:"create_time,omitzero"`
	Actor      string     `json:"actor"`
	Action     string     `json:"action"`
	Reason     string     `json:"reason"`
	Before     *restTerms `json:"before,omitzero"`
	After      *restTerms `json:"after,omitzero"`
}

type restTerms struct {
	Cap          string `json:"cap"`
	TimeZone     string `json:"time_zone"`
	DefaultMax   int32  `json:"default_max_tokens"`
	DefaultTools int32  `json:"default_max_tool_calls"`
}

type restChangePage struct {
	Changes       []restChange `json:"changes"`
	NextPageToken string       `json:"next_page_token"`
}

func (p restChangePage) items() ([]restChange, string) { return p.Changes, p.NextPageToken }

func newBudgetsWindowsCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "windows BUDGET_ID", Short: "List a budget's windows against its cap, the last one first",
		Long: `Lists the window that runs and those that ended since the budget was made: the cap
it ended with, what calls cost, how many it refused, and what the different ones
among those could have cost, which is at most what the cap kept from being spent.`,
		Example: "  aigateway budgets windows bud_7",
		Args:    arguments("the budget's id"),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		all, err := listOfBudget[restWindowPage](a, c, f, args[0], "/windows")
		if err != nil {
			return err
		}
		t := &table{columns: []column{left("START"), left("END"), money("CAP USD"), money("SPENT USD"), right("REFUSED CALLS"), right("DISTINCT CALLS"), money("KEPT USD")}}
		for _, w := range all {
			end := orElse(w.End, "")
			if w.Running && out.name == "table" {
				end = "runs until " + orElse(w.End, "it is deleted")
			}
			t.add(orElse(w.Start, ""), end, orElse(w.Cap, ""), w.Spent, strconv.FormatInt(w.RefusedCalls, 10), strconv.FormatInt(w.DistinctCalls, 10), w.Kept)
		}
		return a.print(out, all, t)
	}
	return c
}

func newBudgetsChangesCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "changes BUDGET_ID", Short: "List who changed a budget and why, the last change first",
		Example: "  aigateway budgets changes bud_7",
		Args:    arguments("the budget's id"),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		all, err := listOfBudget[restChangePage](a, c, f, args[0], "/changes")
		if err != nil {
			return err
		}
		t := &table{columns: []column{left("TIME"), left("ACTOR"), left("ACTION"), money("CAP BEFORE USD"), money("CAP AFTER USD"), left("TIME ZONE"), left("REASON")}}
		for _, x := range all {
			before, after := restTerms{}, restTerms{}
			if x.Before != nil {
				before = *x.Before
			}
			if x.After != nil {
				after = *x.After
			}
			t.add(orElse(x.CreateTime, ""), x.Actor, x.Action, before.Cap, after.Cap, after.TimeZone, x.Reason)
		}
		return a.print(out, all, t)
	}
	return c
}

// restCurve is what a budget has spent by when, as the REST API writes it.
type restCurve struct {
	Points []struct {
		Time  string `json:"time"`
		Spent string `json:"spent"`
	} `json:"points"`
}

func newBudgetsCurveCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "curve BUDGET_ID", Short: "Show what a budget has spent by when in its window, and where that leads",
		Long: `Lists what was spent by the end of each hour or day of the window that runs. The
last rows are the forecast: a straight line from the start of the window through what
is spent, when it reaches the cap and where it is at the window's end.`,
		Example: "  aigateway budgets curve bud_7\n  aigateway budgets curve bud_7 -o csv",
		Args:    arguments("the budget's id"),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		path, err := idPath(c, "/v1/budgets/", "bud_", args[0])
		if err != nil {
			return err
		}
		cl, err := a.client(c, f)
		if err != nil {
			return err
		}
		var r struct {
			restCurve
			Budget restBudget `json:"budget"`
		}
		err = cl.call(c.Context(), http.MethodGet, path, nil, nil, &r.Budget)
		if err == nil {
			err = cl.call(c.Context(), http.MethodGet, path+"/curve", nil, nil, &r.restCurve)
		}
		if err != nil {
			return hintUnknownID(err, "aigateway budgets list")
		}
		t := &table{columns: []column{left("BY"), money("SPENT USD"), left("WHAT")}}
		for _, p := range r.Points {
			t.add(p.Time, p.Spent, "spent")
		}
		if f := r.Budget.Forecast; f != nil {
			if f.FullAt != nil {
				t.add(*f.FullAt, r.Budget.Cap, "the cap, at this pace")
			}
			t.add(orElse(r.Budget.ResetsAt, ""), f.Projected, "at this pace")
		}
		return a.print(out, r, t)
	}
	return c
}

// listOfBudget reads every page of a list of one budget.
func listOfBudget[P page[T], T any](a *app, c *cobra.Command, f *clientFlags, id, part string) ([]T, error) {
	path, err := idPath(c, "/v1/budgets/", "bud_", id)
	if err != nil {
		return nil, err
	}
	all, err := askAll[P](a, c, f, path+part, nil)
	return all, hintUnknownID(err, "aigateway budgets list")
}
