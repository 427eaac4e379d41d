package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"aigateway/budget"
	"aigateway/gatewayconfig"
	"aigateway/postgres"
)

// replica is a gateway of a store; the names are those of -o json.
type replica struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	State    string `json:"state"` // live, silent, or left
	Seen     string `json:"seen_time"`
	Pushed   string `json:"usage_complete_until,omitempty"`
	Leased   string `json:"leased_usd"`
	Rules    uint64 `json:"rules_version"`
	Behind   uint64 `json:"rules_behind"`
	Program  string `json:"program"`
	ConfigID string `json:"config"`
}

func newReplicasCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "replicas", Short: "Look after the gateways that share a store",
		Long: `Reads and changes the store itself, which has to be reached from here: it works
while gateways are down.`,
		Example: `  aigateway replicas list --config aigateway.yaml
  aigateway replicas forget rep_… --charge --reason "its machine is gone" --config aigateway.yaml`,
	}
	f := &storeFlags{}
	f.bind(c.PersistentFlags())
	return group(c, newReplicasListCommand(a, f), newReplicasForgetCommand(a, f))
}

// storeFlags say which store a command works on.
type storeFlags struct{ config, postgres string }

func (f *storeFlags) bind(on *pflag.FlagSet) {
	on.StringVar(&f.config, "config", "", "configuration `file` of a gateway that has a store (required)")
	on.StringVar(&f.postgres, "postgres", "", "address of the database, a postgres:// `URL` or file:PATH, where the one in the configuration cannot be read from here")
}

// withStore runs do with the store that f names.
func (a *app) withStore(c *cobra.Command, f *storeFlags, do func(ctx context.Context, s *postgres.Store) error) error {
	cfg, address, err := a.sharedConfig(c, f)
	if err != nil {
		return err
	}
	store, err := openStore(c.Context(), address, cfg)
	if err != nil {
		return err
	}
	defer store.Close()
	return do(c.Context(), store)
}

// sharedConfig reads a configuration file that must have a store, and the store's
// address. Where the address is told, no secret of the file is read: a service's are
// there for it alone, while it runs.
func (a *app) sharedConfig(c *cobra.Command, f *storeFlags) (cfg *gatewayconfig.Config, address string, err error) {
	if f.config == "" {
		return nil, "", usagef(c.CommandPath(), "--config is missing; name the configuration file of a gateway that has a store")
	}
	if f.postgres == "" {
		cfg, err = a.readConfig(f.config)
	} else {
		cfg, err = gatewayconfig.ReadWithoutSecrets(f.config, a.getenv)
	}
	if err != nil {
		return nil, "", configError(err)
	}
	if !cfg.Store.Set() {
		return nil, "", fmt.Errorf("%s has no store: its gateway is alone", f.config)
	}
	if f.postgres == "" {
		return cfg, cfg.Store.Postgres.Reveal(), nil
	}
	address, err = addressOf(f.postgres)
	return cfg, address, err
}

func newReplicasListCommand(a *app, f *storeFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List the gateways of a store, and what each may still spend",
		Long: `LEASED is what a gateway has of all budgets together: spent, reserved, and still
free there. One that is silent has not reached the store for max_stale and admits
nothing; its lease stays its own until it is back, or is forgotten. CONFIG differs
where configuration files do.`,
		Example: "  aigateway replicas list --config aigateway.yaml -o json",
		Args:    arguments(),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		return a.withStore(c, f, func(ctx context.Context, s *postgres.Store) error {
			all, err := s.Replicas(ctx)
			if err != nil {
				return fmt.Errorf("list the gateways: %w", err)
			}
			return a.printReplicas(out, all)
		})
	}
	return c
}

func (a *app) printReplicas(out *format, all []budget.ReplicaStatus) error {
	doc := []replica{}
	t := &table{
		columns: []column{left("ID"), left("NAME"), left("STATE"), left("SEEN"), left("USAGE UNTIL"), money("LEASED USD"), right("RULES"), right("BEHIND"), left("PROGRAM"), left("CONFIG")},
		empty:   "no gateway has joined this store",
	}
	for _, s := range all {
		r := replica{ID: s.ID, Name: s.Name, State: s.State(), Seen: s.Seen.UTC().Format(time.RFC3339), Leased: s.Leased.String(), Rules: s.Rules, Behind: s.Behind, Program: s.Program, ConfigID: s.ConfigHash}
		if !s.Pushed.IsZero() {
			r.Pushed = s.Pushed.UTC().Format(time.RFC3339)
		}
		doc = append(doc, r)
		t.add(r.ID, r.Name, r.State, r.Seen, r.Pushed, r.Leased, fmt.Sprint(r.Rules), fmt.Sprint(r.Behind), r.Program, r.ConfigID)
	}
	return a.print(out, doc, t)
}

func newReplicasForgetCommand(a *app, f *storeFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "forget ID --charge|--release --reason WHY", Short: "End the lease of a gateway whose data directory is lost",
		Long: `Only for a data directory that will not come back: what its calls cost is known up
to its last push. --charge counts all of its lease as spent: safe, whatever it
admitted. --release counts what it had told and gives the rest back, and ASSUMES
THAT IT ADMITTED NOTHING AFTER THAT, so it is refused while the gateway is live. A
gateway that comes back with the directory is refused; give it an empty one. With
store.forget_after in their configuration, gateways forget, and charge, each other.`,
		Example: `  aigateway replicas forget rep_… --charge --reason "its disk is gone" --config aigateway.yaml`,
		Args:    arguments("ID"),
	}
	charge := c.Flags().Bool("charge", false, "count all of its lease as spent")
	release := c.Flags().Bool("release", false, "give back what it had not told as spent or reserved")
	reason := c.Flags().String("reason", "", "`why` it will not come back, for the audit log")
	actor := c.Flags().String("actor", "", "`name` of who forgets it, for the audit log (default $USER)")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case *charge == *release:
			return usagef(c.CommandPath(), "give one of --charge and --release")
		case *reason == "":
			return usagef(c.CommandPath(), "--reason is missing; say why it will not come back")
		}
		return a.withStore(c, f, func(ctx context.Context, s *postgres.Store) error {
			by := budget.Author{Actor: cmp.Or(*actor, a.getenv("USER"), "operator"), Reason: *reason}
			err := s.Forget(ctx, args[0], *charge, by)
			var known *budget.Error
			if errors.As(err, &known) {
				return errors.New(known.Message)
			}
			if err != nil {
				return fmt.Errorf("forget the gateway: %w", err)
			}
			a.notef("%s is forgotten; a gateway that comes back with its data directory is refused", args[0])
			return nil
		})
	}
	return c
}
