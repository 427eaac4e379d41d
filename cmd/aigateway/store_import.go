package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"aigateway/budget"
	"aigateway/gatewayconfig"
	"aigateway/ledger"
)

func newStoreImportCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "import --config FILE", Short: "Move the books of a gateway that was alone into an empty store",
		Long: `Takes the budgets, keys, corrections and audit log of data_dir into the store, with what is spent
and reserved of each budget; usage follows when the gateway starts. The gateway
must be stopped, and the store empty. Afterwards start it with the same file, and
others on empty data directories.`,
		Example: "  aigateway store import --config aigateway.yaml",
		Args:    arguments(),
	}
	f := &storeFlags{}
	f.bind(c.Flags())
	actor := c.Flags().String("actor", "", "`name` of who imports them, for the audit log (default $USER)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, address, err := a.sharedConfig(c, f)
		if err != nil {
			return err
		}
		if !ledger.Exists(cfg.DataDir) {
			return fmt.Errorf("there is no ledger in %s, and nothing to import: just start the gateway", cfg.DataDir)
		}
		return a.importBooks(c.Context(), cfg, address, budget.Author{Actor: cmp.Or(*actor, a.getenv("USER"), "operator")})
	}
	return c
}

// importBooks moves the books of cfg's data directory into its store, at address.
func (a *app) importBooks(ctx context.Context, cfg *gatewayconfig.Config, address string, by budget.Author) (err error) {
	store, err := openStore(ctx, address, cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	l, err := ledger.Open(ctx, ledger.Config{Dir: cfg.DataDir, Now: a.now, Zone: cfg.TimeZone, Log: a.log})
	if err != nil {
		return fmt.Errorf("open the ledger in %s: %w", cfg.DataDir, err)
	}
	defer func() { err = errors.Join(err, l.Close(context.WithoutCancel(ctx))) }()
	if l.AppliedVersion() > 0 {
		return fmt.Errorf("the ledger in %s has its budgets from a store already: just start the gateway", cfg.DataDir)
	}
	id, err := replicaID(cfg.DataDir)
	if err != nil {
		return fmt.Errorf("read the replica's id: %w", err)
	}
	audit, err := wholeAudit(ctx, l)
	if err != nil {
		return err
	}
	rules, accounts, err := l.Own(ctx)
	if err != nil {
		return err
	}
	corrections, err := l.Adjustments(ctx, "", math.MaxInt32)
	if err != nil {
		return err
	}
	_, err = store.Import(ctx, budget.Replica{ID: id, Program: buildInfo().Version}, rules, accounts, audit, corrections, by)
	var known *budget.Error
	if errors.As(err, &known) && known.Kind == budget.KindConflict {
		return errors.New(known.Message)
	}
	if err != nil {
		return fmt.Errorf("import into the store: %w", err)
	}
	a.notef("%d budgets, %d keys, %d corrections and %d entries of the audit log are in the store; start the gateway with the same configuration", len(rules.Budgets), len(rules.Keys), len(corrections), len(audit))
	return nil
}

func wholeAudit(ctx context.Context, l *ledger.Ledger) (all []budget.AuditEntry, err error) {
	for after := int64(0); ; after = all[len(all)-1].ID {
		page, err := l.AuditLog(ctx, after, 1000)
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
	}
}
