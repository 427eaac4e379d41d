package main

import (
	"crypto/rand"
	"net/http"

	"github.com/spf13/cobra"
)

// restAdjustment is an adjustment as the REST API writes it.
type restAdjustment struct {
	ID         string  `json:"id,omitzero"`
	RequestID  string  `json:"request_id"`
	BudgetID   *string `json:"budget_id,omitzero"`
	Tag        *string `json:"tag,omitzero"`
	Amount     string  `json:"amount"`
	Reason     string  `json:"reason"`
	Actor      string  `json:"actor,omitzero"`
	CreateTime *string `json:"create_time,omitzero"`
}

type restAdjustmentPage struct {
	Adjustments   []restAdjustment `json:"adjustments"`
	NextPageToken string           `json:"next_page_token"`
}

func (p restAdjustmentPage) items() ([]restAdjustment, string) { return p.Adjustments, p.NextPageToken }

func newAdjustmentsCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "adjustments", Short: "Book refunds and charges, and list them",
		Example: `  aigateway adjustments create --tag summarize --amount -3.20 --reason "invoice 4711"
  aigateway adjustments list`,
	}
	f := &clientFlags{}
	f.bind(c)
	return group(c, newAdjustmentsCreateCommand(a, f), newAdjustmentsListCommand(a, f))
}

func newAdjustmentsCreateCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "create", Short: "Correct what was charged",
		Long: `Books a charge (a positive amount) or a refund (a negative one). --tag corrects the
tag's usage and every budget that watches it; --budget corrects one budget's
current window alone, such as what a crash left on it. What is corrected stays
on record. To retry safely after a lost answer, pass the same --request-id.`,
		Example: `  aigateway adjustments create --tag summarize --amount -3.20 --reason "invoice 4711"
  aigateway adjustments create --budget bud_7 --amount=-1.00 --reason "not billed"`,
		Args: arguments(),
	}
	budgetID := c.Flags().String("budget", "", "`id` of the budget to correct")
	tag := c.Flags().String("tag", "", "`tag` to correct, no pattern")
	literal := c.Flags().Bool("literal", false, "--tag is a tag even if it is spelt like a pattern")
	amount := c.Flags().String("amount", "", "US `dollars`; negative is a refund (required)")
	reason := c.Flags().String("reason", "", "`text` that says why (required)")
	requestID := c.Flags().String("request-id", "", "`text` that makes a retry safe (default: a random one)")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case (*budgetID == "") == (*tag == ""):
			return usagef(c.CommandPath(), "name either --budget or --tag")
		case *amount == "":
			return usagef(c.CommandPath(), "--amount is missing")
		case *reason == "":
			return usagef(c.CommandPath(), "--reason is missing")
		}
		if *tag != "" {
			if _, err := oneTag(c, *tag, *literal); err != nil {
				return err
			}
		}
		body := restAdjustment{RequestID: *requestID, Amount: *amount, Reason: *reason}
		if body.RequestID == "" {
			body.RequestID = rand.Text()
		}
		if *budgetID != "" {
			body.BudgetID = budgetID
		} else {
			body.Tag = tag
		}
		cl, err := a.client(c, f)
		if err != nil {
			return err
		}
		var answer restAdjustment
		if err := cl.call(c.Context(), http.MethodPost, "/v1/adjustments", nil, body, &answer); err != nil {
			return err
		}
		return a.print(out, answer, adjustmentTable(answer))
	}
	return c
}

func newAdjustmentsListCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List adjustments, oldest first",
		Example: "  aigateway adjustments list -o csv", Args: arguments(),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		all, err := askAll[restAdjustmentPage](a, c, f, "/v1/adjustments", nil)
		if err != nil {
			return err
		}
		return a.print(out, all, adjustmentTable(all...))
	}
	return c
}

func adjustmentTable(rows ...restAdjustment) *table {
	t := &table{
		columns: []column{left("ID"), left("TIME"), left("TAG"), left("BUDGET ID"), money("AMOUNT USD"), left("ACTOR"), left("REASON")},
		empty:   "no adjustments",
	}
	for _, r := range rows {
		t.add(r.ID, orElse(r.CreateTime, ""), orElse(r.Tag, ""), orElse(r.BudgetID, ""), r.Amount, r.Actor, r.Reason)
	}
	return t
}
