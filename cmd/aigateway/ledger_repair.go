package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"aigateway/budget"
	"aigateway/ledger"
)

func newLedgerRepairCommand(a *app, dir *dataDir) *cobra.Command {
	c := &cobra.Command{
		Use: "repair --reason WHY", Short: "Accept totals that differ from their rows; the gateway must be stopped",
		Long: `Accepts what "ledger check" finds, once a person knows why, so that the budgets
concerned take calls again. No budget's spending is lowered: what rows do not
explain stays spent, what they have more is added; corrections
(aigateway adjustments create) give money back. Each is noted in the audit log.`,
		Example: `  aigateway ledger check
  aigateway ledger repair --reason "disk error of 3 May, see ticket 17"`,
		Args: arguments(),
	}
	reason := c.Flags().String("reason", "", "`why` they are accepted, for the audit log")
	actor := c.Flags().String("actor", "", "`name` of who accepts them, for the audit log (default $USER)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *reason == "" {
			return usagef(c.CommandPath(), "--reason is missing; say why the totals may be accepted")
		}
		path, err := dir.existing()
		if err != nil {
			return err
		}
		who := cmp.Or(*actor, a.getenv("USER"), "operator")
		accepted, err := ledger.Repair(c.Context(), ledger.Config{Dir: path, Now: a.now, Log: a.log}, budget.Author{Actor: who, Reason: *reason})
		if err != nil {
			return err
		}
		if len(accepted) == 0 {
			a.notef("the books agree; there is nothing to repair")
		}
		for _, m := range accepted {
			a.notef("accepted: %s", cleanCell(m.String()))
		}
		return nil
	}
	return c
}
