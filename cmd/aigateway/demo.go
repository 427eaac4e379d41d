package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"aigateway/fakeprovider"
	"aigateway/gatewayconfig"
)

func newDemoCommand(a *app) *cobra.Command {
	var exit bool
	var address string
	var replicas int
	c := &cobra.Command{
		Use: "demo", Short: "Show the gateway at work: a fake provider, a real Envoy, a one-cent budget",
		Long: `demo starts the whole gateway on a real Envoy with a built-in fake provider,
caps a tag at one cent, and shows an answered call, a streamed call, the usage
by tag, and a refusal. The page has a made-up week before it. It needs no provider
key and keeps nothing: its data directory is removed at the end.

With --replicas it starts several gateways, each on an Envoy of its own, and a
PostgreSQL that they share, and shows one cap held across all of them.`,
		Args: arguments(),
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case replicas < 1 || replicas > 9:
				return usagef(c.CommandPath(), "--replicas is %d; use 1 to 9", replicas)
			case replicas > 1:
				return a.demoReplicas(c.Context(), replicas, exit)
			}
			return a.demo(c.Context(), address, exit)
		},
	}
	c.Flags().IntVar(&replicas, "replicas", 1, "`number` of gateways; more than one share a PostgreSQL, which installs itself")
	c.Flags().BoolVar(&exit, "exit", false, "stop after the story; the exit code is 0 only if every step did what it should")
	c.Flags().StringVar(&address, "listen", "127.0.0.1:8080", "address for clients; another free port is taken when it is in use")
	return c
}

func (a *app) demo(ctx context.Context, address string, exit bool) error {
	started := a.now()
	path, err := a.demoEnvoy(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "aigateway-demo-")
	if err != nil {
		return fmt.Errorf("make the demo's data directory: %w", err)
	}
	defer os.RemoveAll(dir)
	provider, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen for the fake provider: %w", err)
	}
	cfg, err := a.demoConfig(dir, address, provider.Addr().String(), path)
	if err == nil {
		err = week(ctx, cfg.DataDir, started)
	}
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	fake := demoProvider()
	var providerDone sync.WaitGroup
	providerDone.Go(func() {
		if err := fake.Serve(ctx, provider); err != nil {
			a.log.Error("the fake provider ended", "error", err)
		}
	})
	defer providerDone.Wait()
	defer stop()

	// The story is the demo's output; the log is shown when the story fails.
	log := new(lockedBuffer)
	quiet := *a
	quiet.stderr, quiet.log = log, slog.New(slog.NewTextHandler(log, nil))
	err = quiet.runGateway(ctx, cfg, true, func(ctx context.Context, p *controlPlane, stop context.CancelFunc) error {
		s := &story{out: a.stdout, base: "http://" + cfg.Listen.Clients, key: p.adminKey, page: "http://" + cfg.Listen.REST + "/ui/"}
		fmt.Fprintf(a.stdout, "aigateway is up on a real Envoy, with a fake provider behind it: %s (%.1f s)\n", s.base, a.now().Sub(started).Seconds())
		err := s.tell(ctx)
		if err != nil {
			return err
		}
		if exit { // nobody answers the commands by hand any more
			fmt.Fprintln(a.stdout, "\nEvery step did what it should.")
			stop()
			return nil
		}
		return s.curls(ctx)
	})
	if err != nil {
		fmt.Fprintf(a.stderr, "The demo's log:\n%s\n", log)
	}
	return err
}

// demoProvider charges what the real provider does for the demo's model.
func demoProvider() *fakeprovider.Server {
	return fakeprovider.New(fakeprovider.Config{
		Models:              map[string]fakeprovider.Price{"kimi-k2.6": {Input: 950_000, CacheRead: 160_000, Output: 4_000_000}},
		CancelsOnDisconnect: true,
	})
}

// lockedBuffer is a log in memory that several goroutines write to.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// demoConfig is a configuration file like any other, so that the demo runs
// what users run.
func (a *app) demoConfig(dir, clients, provider, envoyPath string) (*gatewayconfig.Config, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	if l, err := net.Listen("tcp", clients); err == nil {
		l.Close()
	} else {
		other, err := freePorts(1)
		if err != nil {
			return nil, err
		}
		a.notef("%s is in use; the demo takes %s.", clients, other[0])
		clients = other[0]
	}
	path := filepath.Join(dir, "aigateway.yaml")
	text := fmt.Sprintf(`listen: {clients: %q, rest: %q, grpc: %q}
data_dir: data
drain: {accept: 0s, timeout: 10s}
envoy: {path: %q, concurrency: 1}
providers:
  moonshot: {base_url: "http://%s/v1", api_key: sk-fake}
`, clients, ports[0], ports[1], envoyPath, provider)
	err = os.WriteFile(path, []byte(text), 0o600)
	if err != nil {
		return nil, fmt.Errorf("write the demo's configuration: %w", err)
	}
	return gatewayconfig.Read(path, a.getenv)
}

// freePorts finds n loopback addresses that nobody listens on right now.
func freePorts(n int) ([]string, error) {
	addresses := make([]string, n)
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() // only now, so that none is found twice
		addresses[i] = l.Addr().String()
	}
	return addresses, nil
}
