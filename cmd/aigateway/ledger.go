package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"aigateway/envoy"
	"aigateway/ledger"
)

func newLedgerCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "ledger", Short: "Check, prove, back up and restore the books",
		Long: `These commands read the data directory itself, beside a running gateway or
without one; repair, restore and release need the gateway to be stopped.`,
		Example: `  aigateway ledger check
  aigateway ledger verify
  aigateway ledger backup /backups/ledger-2026-04-01.db
  aigateway ledger restore /backups/ledger-2026-04-01.db`,
	}
	dir := a.dataDirFlags(c)
	return group(c, newLedgerCheckCommand(a, dir), newLedgerVerifyCommand(a, dir), newLedgerRepairCommand(a, dir), newLedgerBackupCommand(a, dir), newLedgerRestoreCommand(a, dir), newLedgerReleaseCommand(a, dir))
}

// checkedLedger is what `ledger check` found; the names are those of -o json.
type checkedLedger struct {
	Accounts     int      `json:"accounts"`
	Reservations int      `json:"open_reservations"`
	Rows         int64    `json:"rows"`
	Mismatches   []string `json:"mismatches"`
}

func newLedgerCheckCommand(a *app, dir *dataDir) *cobra.Command {
	c := &cobra.Command{
		Use: "check", Short: "Compute every total again from its rows and compare",
		Long: `Adds up every settled call, correction and open reservation and compares the
sums with what budgets have spent and reserved and with the usage reports. It
changes nothing. A running gateway does the same every hour, and refuses calls
on a budget whose sums differ.`,
		Example: "  aigateway ledger check\n  aigateway ledger check -o json",
		Args:    arguments(),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		path, err := dir.existing()
		if err != nil {
			return err
		}
		i, err := ledger.Inspect(c.Context(), path)
		if err != nil {
			return err
		}
		defer i.Close()
		r, err := i.Check(c.Context())
		if err != nil {
			return err
		}
		doc := checkedLedger{Accounts: r.Accounts, Reservations: r.Holds, Rows: r.Rows, Mismatches: []string{}}
		t := &table{columns: []column{left("MISMATCH")}}
		for _, m := range r.Mismatches {
			doc.Mismatches = append(doc.Mismatches, m.String())
			t.add(m.String())
		}
		if len(r.Mismatches) == 0 && out.name == "table" {
			a.notef("the books agree: %d accounts, %d open reservations, %d rows", r.Accounts, r.Holds, r.Rows)
			return nil
		}
		if err := a.print(out, doc, t); err != nil || len(r.Mismatches) == 0 {
			return err
		}
		return withHint(fmt.Errorf("%d totals differ from their rows", len(r.Mismatches)), "`aigateway ledger verify` tells whether the rows were changed; a backup from before has what they were; once you know why, stop the gateway and `aigateway ledger repair` accepts them")
	}
	return c
}

// verifiedLedger is what `ledger verify` found; the names are those of -o json.
type verifiedLedger struct {
	Head     string   `json:"head"`
	From     uint64   `json:"retained_from_link"`
	Links    int      `json:"links"`
	Rows     int      `json:"rows"`
	Audit    int      `json:"audit_entries"`
	Problems []string `json:"problems"`
}

func newLedgerVerifyCommand(a *app, dir *dataDir) *cobra.Command {
	c := &cobra.Command{
		Use: "verify", Short: "Prove that no settled call, correction or admin change was altered",
		Long: `Recomputes the hash chain from the rows. Whoever can write to the data directory
could also write a chain of their own, so note the head it prints somewhere else
(every statement carries one) and pass it to --expect later.`,
		Example: "  aigateway ledger verify\n  aigateway ledger verify --expect 42:9f86d0...",
		Args:    arguments(),
	}
	expect := c.Flags().StringArray("expect", nil, "`head` noted earlier that must be on the chain; may be repeated")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var heads []ledger.Head
		for _, s := range *expect {
			h, err := ledger.ParseHead(s)
			if err != nil {
				return usagef(c.CommandPath(), "--expect: %s", err)
			}
			heads = append(heads, h)
		}
		path, err := dir.existing()
		if err != nil {
			return err
		}
		i, err := ledger.Inspect(c.Context(), path)
		if err != nil {
			return err
		}
		defer i.Close()
		v, err := i.Verify(c.Context(), heads...)
		if err != nil {
			return err
		}
		return a.printVerified(out, v)
	}
	return c
}

func (a *app) printVerified(out *format, v *ledger.Verification) error {
	doc := verifiedLedger{Head: v.Head.String(), From: v.From, Links: v.Links, Rows: v.Rows, Audit: v.Audit, Problems: append([]string{}, v.Problems...)}
	t := &table{columns: []column{left("PROBLEM")}}
	for _, p := range v.Problems {
		t.add(p)
	}
	if len(v.Problems) == 0 && out.name == "table" {
		a.notef("the history is whole: %d rows on %d links, %d changes by administrators; its head is", v.Rows, v.Links, v.Audit)
		_, err := fmt.Fprintln(a.stdout, doc.Head)
		return err
	}
	if err := a.print(out, doc, t); err != nil || len(v.Problems) == 0 {
		return err
	}
	return errors.New("the history was altered, or is damaged")
}

func newLedgerBackupCommand(a *app, dir *dataDir) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Copy the ledger as of this moment into FILE",
		Long: `Writes one consistent copy, also while the gateway runs. Keep it as secret as the
data directory. Copy admin.key and statement.key once, too: they are not in it.`,
		Example: "  aigateway ledger backup /backups/ledger-2026-04-01.db",
		Args:    arguments("the backup's file"),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := dir.existing()
			if err != nil {
				return err
			}
			i, err := ledger.Inspect(c.Context(), path)
			if err != nil {
				return err
			}
			defer i.Close()
			if err := i.Backup(c.Context(), args[0]); err != nil {
				return err
			}
			a.notef("the ledger of %s is in %s", path, args[0])
			return nil
		},
	}
}

func newLedgerRestoreCommand(a *app, dir *dataDir) *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Replace the ledger by a backup; the gateway must be stopped",
		Long: `Puts the backup in place and keeps the database that was there. Calls made since
the backup are unknown to it, so every budget's current window is held up to its
cap. Start the gateway, which settles what the access log still tells; then
"aigateway ledger release" gives back the rest. Budgets and keys are as they were at the backup: delete again what was
deleted since.`,
		Example: "  aigateway ledger restore /backups/ledger-2026-04-01.db",
		Args:    arguments("the backup's file"),
		RunE: func(c *cobra.Command, args []string) error {
			path, err := dir.named()
			if err == nil && path == "" { // only what somebody chose may be new
				path, err = dir.existing()
			}
			if err != nil {
				return err
			}
			r, err := ledger.Restore(c.Context(), ledger.Config{Dir: path, Now: a.now, Log: a.log}, args[0])
			if err != nil {
				return err
			}
			a.notef("restored the ledger as of %s; %s is held on %d budgets", r.Taken.Format("2006-01-02 15:04:05 MST"), r.Held.Display(), r.Budget)
			if r.Held > 0 {
				a.notef("next: start the gateway, so that it settles what %s tells since then; if nothing else was spent, stop it, and `aigateway ledger release` gives the rest back", filepath.Join(path, envoy.FileSpool))
			}
			if r.Aside != "" {
				a.notef("the database that was there is now %s", r.Aside)
			}
			return nil
		},
	}
}

// readAll reads a file that a person named.
func readAll(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	return text, nil
}
