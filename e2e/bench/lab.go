package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"

	"aigateway/e2e/loopback"
	"aigateway/envoy"
	"aigateway/internal/ledgerfill"
)

const adminKey = "sk-aig-bench-0123456789abcdefghijklmnopqrstuv"

// chain is one thing that is measured: an Envoy, and perhaps a service that
// decides for it.
type chain struct {
	name    string
	address string
	envoy   *exec.Cmd
	service []*exec.Cmd // none for Envoy alone; some services need another
	start   func(ctx context.Context) error
}

// Names of the chains that are compared with each other.
const (
	nameTuned   = "+ no-op ext_authz, our options"
	nameGateway = "aigateway"
)

// lab is everything the measurements need, in one temporary directory.
type lab struct {
	options
	dir     string
	envoy   string
	backend net.Listener
	loads   []load
	chains  []*chain
	filled  bool
}

// chain returns the chain of that name.
func (l *lab) chain(name string) *chain {
	return l.chains[slices.IndexFunc(l.chains, func(c *chain) bool { return c.name == name })]
}

func newLab(ctx context.Context, o options) (*lab, error) {
	l := &lab{options: o}
	path, err := envoy.Find("")
	if err != nil {
		return nil, fmt.Errorf("find envoy (make envoy installs it): %w", err)
	}
	l.envoy = path
	l.binary, err = filepath.Abs(o.binary)
	if err != nil {
		return nil, fmt.Errorf("find aigateway: %w", err)
	}
	if l.dir, err = os.MkdirTemp("", "aig"); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	if l.backend, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	go func() { _ = http.Serve(l.backend, answers{chunks: o.chunks}) }() // ends with the listener
	if l.loads, err = loads(o); err != nil {
		return nil, err
	}
	if err := l.startChains(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) startChains(ctx context.Context) (err error) {
	l.add("Envoy alone", func(c *chain) func(context.Context) error { return l.starter(c, "") })
	l.add("+ no-op ext_authz, stock gRPC", func(c *chain) func(context.Context) error { return l.starter(c, "stock") })
	l.add(nameTuned, func(c *chain) func(context.Context) error { return l.starter(c, "tuned") })
	if hasRatelimit() {
		l.add("+ ratelimit and Redis", l.ratelimitStarter)
	}
	l.add(nameGateway, l.gatewayStarter)
	for _, c := range l.chains {
		if c.address, err = loopback.FreeAddress(); err != nil {
			return err
		}
		if c.name == nameGateway {
			continue // after the ledger is filled
		}
		if err := c.start(ctx); err != nil {
			return fmt.Errorf("start %s: %w", c.name, err)
		}
	}
	return nil
}

func (l *lab) add(name string, starter func(*chain) func(context.Context) error) {
	c := &chain{name: name}
	c.start = starter(c)
	l.chains = append(l.chains, c)
}

// fill stops the gateway, fills its ledger, and starts it again.
func (l *lab) fill(ctx context.Context, budgets, calls int) error {
	g := l.chain(nameGateway)
	l.stop(g)
	if l.filled {
		budgets = min(budgets, 1) // they are there already
	}
	if err := os.MkdirAll(l.dataDir(), 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if err := ledgerfill.Fill(ctx, l.dataDir(), budgets, calls); err != nil {
		return fmt.Errorf("fill ledger: %w", err)
	}
	l.filled = true
	return g.start(ctx)
}

func (l *lab) dataDir() string { return filepath.Join(l.dir, "data") }

func (l *lab) stop(c *chain) {
	for _, p := range append([]*exec.Cmd{c.envoy}, c.service...) {
		if p != nil {
			_ = p.Process.Signal(syscall.SIGTERM) // it may have ended
			_ = p.Wait()                          // its exit code says nothing here
		}
	}
	c.envoy, c.service = nil, nil
}

func (l *lab) close() {
	for _, c := range l.chains {
		l.stop(c)
	}
	_ = l.backend.Close()
	_ = os.RemoveAll(l.dir)
}

func (l *lab) command(ctx context.Context, path string, args ...string) (*exec.Cmd, error) {
	p := exec.CommandContext(ctx, path, args...)
	p.Dir, p.Stderr = l.dir, os.Stderr
	p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt reaches this command alone
	if err := p.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	return p, nil
}

func (l *lab) startEnvoy(ctx context.Context, bootstrap string) (*exec.Cmd, error) {
	return l.command(ctx, l.envoy, "-c", bootstrap, "--concurrency", "1", "--disable-hot-restart",
		"--file-flush-interval-msec", "200", "--log-level", "error")
}

// starter starts a plain Envoy, with a no-op service unless role is empty.
func (l *lab) starter(c *chain, role string) func(context.Context) error {
	return func(ctx context.Context) error {
		service := ""
		if role != "" {
			address, err := loopback.FreeAddress()
			if err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			service = address
			if err := l.serve(ctx, c, self, "-role", role, "-listen", address); err != nil {
				return err
			}
		}
		return l.startPlain(ctx, c, authzFilter(service))
	}
}

// serve starts one of a chain's services.
func (l *lab) serve(ctx context.Context, c *chain, path string, args ...string) error {
	p, err := l.command(ctx, path, args...)
	if err == nil {
		c.service = append(c.service, p)
	}
	return err
}

// startPlain starts an Envoy of its own with one more filter.
func (l *lab) startPlain(ctx context.Context, c *chain, f filter) error {
	_, port, err := net.SplitHostPort(c.address)
	if err != nil {
		return fmt.Errorf("read an address: %w", err)
	}
	path := filepath.Join(l.dir, "envoy-"+port+".yaml")
	if err := os.WriteFile(path, []byte(plainBootstrap(c.address, f, l.backend.Addr().String())), 0o600); err != nil {
		return fmt.Errorf("write bootstrap: %w", err)
	}
	if c.envoy, err = l.startEnvoy(ctx, path); err != nil {
		return err
	}
	return l.await(ctx, c)
}

// gatewayStarter starts the control plane and an Envoy of ours, so that each
// one's CPU time can be read.
func (l *lab) gatewayStarter(c *chain) func(context.Context) error {
	return func(ctx context.Context) error {
		config, bootstrap := filepath.Join(l.dir, "aigateway.yaml"), filepath.Join(l.dir, "bootstrap.json")
		rest, err := loopback.FreeAddress()
		if err != nil {
			return err
		}
		grpc, err := loopback.FreeAddress()
		if err != nil {
			return err
		}
		text := gatewayConfig(c.address, rest, grpc, l.dataDir(), l.envoy, l.backend.Addr().String())
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write config: %w", err)
		}
		if err := l.serve(ctx, c, l.binary, "serve", "--config", config); err != nil {
			return err
		}
		if err := loopback.Poll(ctx, func() bool { return loopback.Status("http://"+rest+"/readyz") == http.StatusOK }); err != nil {
			return fmt.Errorf("wait for the control plane: %w", err)
		}
		rendered, err := exec.CommandContext(ctx, l.binary, "envoy", "bootstrap", "--config", config).Output()
		if err != nil {
			return fmt.Errorf("render bootstrap: %w", err)
		}
		if err := os.WriteFile(bootstrap, rendered, 0o600); err != nil {
			return fmt.Errorf("write bootstrap: %w", err)
		}
		if c.envoy, err = l.startEnvoy(ctx, bootstrap); err != nil {
			return err
		}
		return l.await(ctx, c)
	}
}

// await calls until a call succeeds.
func (l *lab) await(ctx context.Context, c *chain) error {
	var last error
	err := loopback.Poll(ctx, func() bool {
		var one *client
		if one, last = dial(c.address, l.loads[0].request); last != nil {
			return false
		}
		defer one.conn.Close()
		last = one.call()
		return last == nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w (last: %w)", c.name, err, last)
	}
	return nil
}
