package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"aigateway/postgres"
)

func newStoreCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "store", Short: "Check the PostgreSQL that gateways share, or move books into it",
		Long: `A gateway keeps its books in its data directory; with store in the configuration
several share budgets and keys through a PostgreSQL. check tells whether yours
would do.`,
		Example: "  aigateway store check --postgres 'postgres://aigateway@db.example/aigateway?sslmode=verify-full' --durability single_node",
	}
	return group(c, newStoreCheckCommand(a), newStoreImportCommand(a))
}

// checkedStore is what `store check` found; the names are those of -o json.
type checkedStore struct {
	Problems []string `json:"problems"`
}

func newStoreCheckCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "check", Short: "Say what is wrong with a database, and what to do",
		Long: `Connects and asks the server about itself: its version, whether it is a standby,
may lose what it acknowledged, lets you create tables, is reached in the clear or
through a pooler. It changes nothing. The password is best in PGPASSWORD or in
~/.pgpass; an address with one can be in a file that only you can read.`,
		Example: `  aigateway store check --postgres 'postgres://aigateway@db.example/aigateway?sslmode=verify-full' --durability shared_storage
  aigateway store check --postgres file:/run/secrets/postgres --durability synchronous_standby`,
		Args: arguments(),
	}
	url := c.Flags().String("postgres", "", "address of the database, a postgres:// `URL`, or file:PATH of a file that has it (required)")
	declared := c.Flags().String("durability", "", "what keeps an acknowledged commit when the primary is lost: `WORD` is single_node, shared_storage or synchronous_standby (required)")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		d := postgres.Durability(*declared)
		switch {
		case *url == "":
			return usagef(c.CommandPath(), "--postgres is missing")
		case !slices.Contains(postgres.Durabilities(), d):
			return usagef(c.CommandPath(), "--durability is %q; use single_node, shared_storage or synchronous_standby", *declared)
		}
		address, err := addressOf(*url)
		if err != nil {
			return err
		}
		problems, err := postgres.Check(c.Context(), address, d)
		if err != nil {
			return err
		}
		if len(problems) == 0 && out.name == "table" {
			a.notef("nothing is wrong with it")
			return nil
		}
		t := &table{columns: []column{left("PROBLEM")}}
		for _, p := range problems {
			t.add(p)
		}
		if err := a.print(out, checkedStore{Problems: append([]string{}, problems...)}, t); err != nil || len(problems) == 0 {
			return err
		}
		return errors.New("the database would not do")
	}
	return c
}

// addressOf is what a --postgres flag names.
func addressOf(flag string) (string, error) {
	path, isFile := strings.CutPrefix(flag, "file:")
	if !isFile {
		return flag, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read --postgres: %w", err)
	}
	address := strings.TrimSpace(string(b))
	if address == "" || strings.ContainsAny(address, "\n\r") {
		return "", fmt.Errorf("read --postgres: %s must have one line, the address", path)
	}
	return address, nil
}
