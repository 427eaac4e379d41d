package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"aigateway/budget"
	"aigateway/ledger"
)

func newStatementCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "statement", Short: "Export and verify signed monthly statements",
		Example: `  aigateway statement export --month 2026-04 --tag summarize > april.json
  aigateway statement verify april.json`,
	}
	return group(c, newStatementExportCommand(a), newStatementVerifyCommand(a))
}

func newStatementExportCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "export", Short: "Print what a tag cost in a month, signed",
		Long: `Prints a statement as JSON: every model and key, every correction, the totals, the
head of the ledger's hash chain, and an Ed25519 signature made with statement.key
of the data directory. It reads the data directory itself. It is of one tag, not
of those a pattern covers: a tag that is spelt like one needs --literal. The month is that of
the time zone which the gateway was last started with, as in budgets and usage
reports, unless --time-zone names another.`,
		Example: "  aigateway statement export --month 2026-04 --tag summarize > april.json",
		Args:    arguments(),
	}
	dir := a.dataDirFlags(c)
	month := c.Flags().String("month", "", "month, `YYYY-MM` (required)")
	tag := c.Flags().String("tag", "", "the `tag`, no pattern (required)")
	literal := c.Flags().Bool("literal", false, "--tag is a tag even if it is spelt like a pattern")
	zone := c.Flags().String("time-zone", "", "IANA time `zone` in which the month begins (default the gateway's)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		loc, err := budget.ParseZone("--time-zone", *zone)
		if err != nil {
			return usagef(c.CommandPath(), "%s", err)
		}
		w, err := budget.ParseMonth("--month", *month, loc)
		if err != nil {
			return usagef(c.CommandPath(), "%s", err)
		}
		t, err := oneTag(c, *tag, *literal)
		if err != nil {
			return err
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
		if *zone == "" {
			if loc, err = i.Zone(c.Context()); err != nil {
				return err
			}
			if w, err = budget.ParseMonth("--month", *month, loc); err != nil {
				return err
			}
		}
		text, err := i.Statement(c.Context(), path, t, w, a.now())
		if err != nil {
			return err
		}
		if _, err := a.stdout.Write(text); err != nil {
			return fmt.Errorf("write the statement: %w", err)
		}
		return nil
	}
	return c
}

// oneTag reads a flag that names one tag. A call may carry a tag that is spelt
// like a pattern, but who writes a pattern rarely means that one.
func oneTag(c *cobra.Command, text string, literal bool) (budget.Tag, error) {
	if text == "" {
		return "", usagef(c.CommandPath(), "--tag is missing")
	}
	if err := budget.CheckTag("--tag", text); err != nil {
		return "", usagef(c.CommandPath(), "%s", err)
	}
	pattern := budget.TagPattern(text)
	if _, tree := pattern.Subtree(); literal || !tree && pattern != budget.AllTags {
		return budget.Tag(text), nil
	}
	return "", usagef(c.CommandPath(), "--tag %q is a pattern, and this takes one tag: name each, \"aigateway usage --tag '%s'\" lists those it covers; --literal takes the tag that is spelt so", text, text)
}

func newStatementVerifyCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "verify FILE", Short: "Check a statement's signature and sums",
		Long: `Needs the file alone. Compare the key it prints with the one that the gateway's
operator published, or pass that to --key: anybody can sign with a key of their
own.`,
		Example: "  aigateway statement verify april.json",
		Args:    arguments("the statement's file"),
	}
	key := c.Flags().String("key", "", "`fingerprint` of the key that must have signed it")
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := readAll(args[0])
		if err != nil {
			return err
		}
		s, fingerprint, err := ledger.VerifyStatement(text)
		if err != nil {
			return err
		}
		if *key != "" && *key != fingerprint {
			return fmt.Errorf("the statement is signed with key %s, not %s", fingerprint, *key)
		}
		a.notef("signed with key %s by gateway %s", fingerprint, s.Ledger)
		if !s.Complete {
			a.notef("the month was not over, or calls of it were still running, when it was made")
		}
		_, err = fmt.Fprintf(a.stdout, "tag %s, %s (%s): %s USD for %d requests, %s of it corrections\n",
			cleanCell(s.Tag), cleanCell(s.Month), cleanCell(s.TimeZone), s.Total, s.Requests, s.Adjusted)
		return err
	}
	return c
}
