package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// app is what the commands share with the process they run in.
type app struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
	log            *slog.Logger // to stderr
	proc           string       // where running gateways are looked for
}

func newApp(stdout, stderr io.Writer, getenv func(string) string) *app {
	return &app{
		stdout: stdout, stderr: stderr, getenv: getenv, now: clockOf(getenv), proc: "/proc",
		log: slog.New(slog.NewTextHandler(stderr, nil)),
	}
}

// notef tells the user something that is not data.
func (a *app) notef(format string, args ...any) {
	fmt.Fprintf(a.stderr, format+"\n", args...)
}

// The environment variables the commands read, besides the providers' keys.
const (
	envServer = "AIGATEWAY_URL"
	envAPIKey = "AIGATEWAY_API_KEY"
)

const rootLong = `aigateway puts hard spending caps on LLM traffic. Every call carries one
header, x-aig-tag; a tag with a budget can never spend more than its cap,
because a call that could cross it is refused before it reaches the provider.`

const rootExample = `  # See it work in a minute, without any provider key
  aigateway demo

  # Run the gateway with the provider keys of this environment
  export OPENAI_API_KEY=...
  aigateway run

  # Cap a tag, and read what tags cost
  aigateway budgets set --tag summarize --monthly 500.00
  aigateway usage --month 2026-04

  # Why is this request expensive? (offline, sends nothing)
  aigateway explain -f body.json --room 0.30`

const rootHelp = `
Environment:
  AIGATEWAY_URL       server the client commands talk to (default ` + defaultServer + `)
  AIGATEWAY_API_KEY   key they use; else --api-key-file, admin_key of --config, or admin.key of the data directory
  AIGATEWAY_DATA_DIR  data directory (default ~/.local/share/aigateway)
`

// newRootCommand builds the whole command tree.
func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use: "aigateway", Short: "hard spending caps for LLM traffic",
		Long: rootLong, Example: rootExample,
		Version:       buildInfo().Version,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	group(root)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetVersionTemplate("aigateway {{.Version}}\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef(c.CommandPath(), "%s", err.Error())
	})
	root.SetUsageTemplate(root.UsageTemplate() + "{{if not .HasParent}}" + rootHelp + "{{end}}")
	addGroup(root, "serve", "Serve:", newRunCommand(a), newServeCommand(a), newDemoCommand(a))
	addGroup(root, "money", "Budgets and usage (talk to a running gateway):",
		newUICommand(a), newOverviewCommand(a), newHealthCommand(a), newBudgetsCommand(a), newUsageCommand(a), newCallsCommand(a), newRefusalsCommand(a), newKeysCommand(a), newReservationsCommand(a),
		newAdjustmentsCommand(a), newReconcileCommand(a), newBillsCommand(a), newBooksCommand(a), newAuditCommand(a))
	addGroup(root, "books", "Books (read the data directory):", newLedgerCommand(a), newStatementCommand(a))
	addGroup(root, "offline", "Understand and configure (offline):",
		newExplainCommand(a), newCatalogCommand(a), newConfigCommand(a), newEnvoyCommand(a), newVersionCommand(a))
	addGroup(root, "fleet", "Several gateways with the same budgets (talk to their PostgreSQL):", newReplicasCommand(a), newStoreCommand(a))
	root.SetHelpCommand(newHelpCommand(root))
	return root
}

func addGroup(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, c := range commands {
		c.GroupID = id
	}
	root.AddCommand(commands...)
}

// group makes c a command that only has subcommands: alone it prints its help,
// and a word it does not know is wrong usage (cobra alone would print the help
// and succeed).
func group(c *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return c.Help()
		}
		for c.SuggestionsMinimumDistance = 1; c.SuggestionsMinimumDistance <= 2; c.SuggestionsMinimumDistance++ {
			if near := c.SuggestionsFor(args[0]); len(near) > 0 {
				return usagef(c.CommandPath(), "unknown command %q; did you mean %s?", args[0], strings.Join(near, " or "))
			}
		}
		return usagef(c.CommandPath(), "unknown command %q", args[0])
	}
	c.AddCommand(subcommands...)
	return c
}

// arguments checks the number of positional arguments; names describes them.
func arguments(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) > len(names):
			return usagef(c.CommandPath(), "unexpected argument %q", args[len(names)])
		case len(args) < len(names):
			return usagef(c.CommandPath(), "%s is missing", names[len(args)])
		}
		return nil
	}
}

func newHelpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: "help [command]", Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			c, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usagef("aigateway", "no help for %q: there is no such command", strings.Join(args, " "))
			}
			c.InitDefaultHelpFlag()
			c.InitDefaultVersionFlag()
			return c.Help()
		},
	}
}
