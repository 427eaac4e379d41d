package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/ledger"
)

// releasedBudget is a budget that `ledger release` gave back to; the names are
// those of -o json.
type releasedBudget struct {
	ID       string `json:"id"`
	Target   string `json:"target"`
	Period   string `json:"period"`
	Cap      string `json:"cap_usd"`
	Released string `json:"released_usd"`
	Before   string `json:"left_before_usd"`
	After    string `json:"left_usd"`
	Spent    string `json:"spent_usd"`
}

func newLedgerReleaseCommand(a *app, dir *dataDir) *cobra.Command {
	c := &cobra.Command{
		Use: "release --reason WHY", Short: "Give back what a restore held; the gateway must be stopped",
		Long: `A restore holds every budget up to its cap, because calls made since the backup
may have spent it. This gives all of that back in the windows that run, and
ASSUMES THAT NOTHING WAS SPENT between the backup and the restore but what the
access log has told since. It never touches what calls are known to have cost.

The gateway reads the access log since the backup when it starts, so start it
once between restore and release; while that file is not read to its end this
command refuses. Where the file was lost, compare with the provider's bill
afterwards: aigateway reconcile books what is missing.`,
		Example: `  aigateway ledger restore /backups/ledger-2026-04-01.db
  aigateway run            # settles what the access log tells; stop it again
  aigateway ledger release --reason "restored after the disk failure of 1 April"`,
		Args: arguments(),
	}
	reason := c.Flags().String("reason", "", "`why` nothing else was spent, for the audit log")
	actor := c.Flags().String("actor", "", "`name` of who releases it, for the audit log (default $USER)")
	ignore := c.Flags().Bool("ignore-log", false, "also while the access log is not read to its end: what it tells is charged at the next start")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *reason == "" {
			return usagef(c.CommandPath(), "--reason is missing; say why nothing else was spent")
		}
		path, err := dir.existing()
		if err != nil {
			return err
		}
		if !*ignore {
			if err := checkLogRead(c, path); err != nil {
				return err
			}
		}
		by := budget.Author{Actor: cmp.Or(*actor, a.getenv("USER"), "operator"), Reason: *reason}
		released, err := ledger.Release(c.Context(), ledger.Config{Dir: path, Now: a.now, Log: a.log}, by)
		if err != nil {
			return err
		}
		return a.printReleased(out, released)
	}
	return c
}

// checkLogRead refuses while the access log has lines that the ledger does not
// know: they are calls that did spend.
func checkLogRead(c *cobra.Command, dir string) error {
	file := filepath.Join(dir, envoy.FileSpool)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at the access log: %w", err)
	}
	i, err := ledger.Inspect(c.Context(), dir)
	if err != nil {
		return err
	}
	defer i.Close()
	position, err := i.SpoolPosition(c.Context())
	if err != nil || position.Offset >= info.Size() {
		return err
	}
	return withHint(fmt.Errorf("%s has %d bytes that the ledger has not read: calls that may have spent", file, info.Size()-position.Offset),
		"start the gateway until it is ready, stop it and release then; --ignore-log releases now")
}

func (a *app) printReleased(out *format, released []ledger.Released) error {
	doc := []releasedBudget{}
	t := &table{
		columns: []column{left("BUDGET"), left("TARGET"), left("PERIOD"), money("CAP USD"), money("LEFT BEFORE"), money("RELEASED"), money("LEFT NOW")},
		empty:   "no restore holds anything on a window that runs",
	}
	for _, r := range released {
		leftOf := func(s budget.Status) string { return max(0, s.Cap-s.Spent-s.Reserved).String() }
		target := cmp.Or(string(r.After.Target.Tags), r.After.Target.KeyID)
		b := releasedBudget{ID: r.After.ID, Target: target, Period: r.After.Period.String(), Cap: r.After.Cap.String(),
			Released: r.Amount.String(), Before: leftOf(r.Before), After: leftOf(r.After), Spent: r.After.Spent.String()}
		doc = append(doc, b)
		t.add(b.ID, b.Target, b.Period, b.Cap, b.Before, b.Released, b.After)
	}
	if err := a.print(out, doc, t); err != nil || len(doc) == 0 {
		return err
	}
	a.notef("assumed: nothing was spent between the backup and the restore but what logs have told; audit log: %q", "release_restored")
	return nil
}
