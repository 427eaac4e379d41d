package main

import "github.com/spf13/cobra"

// restAuditEntry is an entry of the audit log as the REST API writes it.
type restAuditEntry struct {
	ID         string  `json:"id"`
	CreateTime *string `json:"create_time,omitzero"`
	Actor      string  `json:"actor"`
	Action     string  `json:"action"`
	Subject    string  `json:"subject"`
	Detail     string  `json:"detail"`
}

type restAuditPage struct {
	Entries       []restAuditEntry `json:"entries"`
	NextPageToken string           `json:"next_page_token"`
}

func (p restAuditPage) items() ([]restAuditEntry, string) { return p.Entries, p.NextPageToken }

func newAuditCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "audit", Short: "Show who changed budgets, keys and charges",
		Example: "  aigateway audit list",
	}
	f := &clientFlags{}
	f.bind(c)
	return group(c, newAuditListCommand(a, f))
}

func newAuditListCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List changes by administrators, oldest first",
		Example: "  aigateway audit list -o csv", Args: arguments(),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		all, err := askAll[restAuditPage](a, c, f, "/v1/audit", nil)
		if err != nil {
			return err
		}
		t := &table{
			columns: []column{left("ID"), left("TIME"), left("ACTOR"), left("ACTION"), left("SUBJECT"), left("DETAIL")},
			empty:   "no changes",
		}
		for _, e := range all {
			t.add(e.ID, orElse(e.CreateTime, ""), e.Actor, e.Action, e.Subject, e.Detail)
		}
		return a.print(out, all, t)
	}
	return c
}
