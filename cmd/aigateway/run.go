package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"aigateway/gatewayconfig"
)

func newRunCommand(a *app) *cobra.Command {
	var config string
	c := &cobra.Command{
		Use: "run", Short: "Run the whole gateway on this machine, Envoy included",
		Long: `run starts the control plane and, as its child, the pinned Envoy, which it
restarts when it dies and drains on SIGTERM. Without --config it offers the
providers whose keys are in the environment (OPENAI_API_KEY, ANTHROPIC_API_KEY,
MOONSHOT_API_KEY, ...). A changed configuration file is applied at once, and on
SIGHUP.`,
		Example: `  export MOONSHOT_API_KEY=...
  aigateway run
  aigateway run --config aigateway.yaml`,
		Args: arguments(),
		RunE: func(c *cobra.Command, _ []string) error { return a.runWith(c.Context(), config, true) },
	}
	bindConfig(c, &config)
	return c
}

func newServeCommand(a *app) *cobra.Command {
	var config string
	c := &cobra.Command{
		Use: "serve", Short: "Run the control plane alone, beside an Envoy of your own",
		Long: `serve starts everything but Envoy. Start Envoy with the bootstrap that
"aigateway envoy bootstrap" prints, and with --file-flush-interval-msec 200.`,
		Args: arguments(),
		RunE: func(c *cobra.Command, _ []string) error { return a.runWith(c.Context(), config, false) },
	}
	bindConfig(c, &config)
	return c
}

func bindConfig(c *cobra.Command, path *string) {
	c.Flags().StringVar(path, "config", "", "configuration file (default: the providers of the environment)")
}

func (a *app) runWith(ctx context.Context, path string, withEnvoy bool) error {
	cfg, err := a.readConfig(path)
	if err != nil {
		return configError(err)
	}
	if cfg.LogFormat == "json" {
		a.log = slog.New(slog.NewJSONHandler(a.stderr, nil))
	}
	return a.runGateway(ctx, cfg, withEnvoy, func(_ context.Context, p *controlPlane, _ context.CancelFunc) error {
		l := p.cfg.Listen
		a.notef("aigateway is up: clients on %s://%s, REST on %s://%s, gRPC on %s", scheme(l.TLS), l.Clients, scheme(l.AdminTLS), l.REST, l.GRPC)
		if err := expiry(l, a.now()); err != nil {
			a.log.Warn("a certificate needs care", "error", err)
		}
		return nil
	})
}

func scheme(t gatewayconfig.ServerTLS) string {
	if t.Set() {
		return "https"
	}
	return "http"
}

// runGateway runs until ctx ends, a part fails, or up, which it calls once the
// gateway is ready, returns an error or calls stop. However it ends, it stops in
// order.
func (a *app) runGateway(ctx context.Context, cfg *gatewayconfig.Config, withEnvoy bool, up func(ctx context.Context, p *controlPlane, stop context.CancelFunc) error) error {
	if a.getenv("GOGC") == "" {
		// Decisions live for microseconds beside counters that live for ever, and
		// each collection walks the latter: fewer of them for more memory.
		debug.SetGCPercent(400)
	}
	if limit := ownMemory(""); limit > 0 && a.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit) // of a container, before its end
	}
	keepFilesPrivate()
	p, err := newControlPlane(ctx, a, cfg, withEnvoy)
	if err != nil {
		return err
	}
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	service, err := newSystemd(a.getenv, a.log)
	if err != nil {
		return errors.Join(err, p.Close(context.WithoutCancel(ctx)))
	}
	context.AfterFunc(running, func() { service.say("STOPPING=1") })
	ended := make(chan struct{})
	defer close(ended)                                       // it lives on while it drains
	go service.watch(ended, func() { _ = p.ledger.Ready() }) // which needs the ledger's lock
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	go func() {
		err := p.waitReady(running)
		if err == nil {
			service.say("READY=1")
			err = up(running, p, func() { stop(nil) })
		}
		if err != nil {
			stop(err)
			return
		}
		for range hangup {
			p.watcher.Reload()
		}
	}()
	err = p.Run(running)
	if cause := context.Cause(running); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return errors.Join(err, p.Close(context.WithoutCancel(ctx)))
}
