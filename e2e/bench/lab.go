package main

import (
	"context"
	"fmt"
	"io"
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
)

const adminKey = "sk-aig-bench-0123456789abcdefghijklmnopqrstuv"

// chain is one thing that is measured: an Envoy, and perhaps a service that
// decides for it.
type chain struct {
	name    string
	address string
	envoy   *exec.Cmd
	service *exec.Cmd // nil for Envoy alone
	start   func(ctx context.Context) error
}

// lab is everything the measurements need, in one temporary directory.
type lab struct {
	options
	dir     string
	envoy   string
	backend net.Listener
	request []byte
	chains  []*chain
	filled  bool
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
	go func() { _ = http.Serve(l.backend, http.HandlerFunc(answer)) }() // ends with the listener
	l.request = request()
	l.chains = []*chain{
		{name: "Envoy alone", start: l.starter(0, "")},
		{name: "+ no-op ext_authz, stock gRPC", start: l.starter(1, "stock")},
		{name: "+ no-op ext_authz, our options", start: l.starter(2, "tuned")},
		{name: "aigateway", start: l.startGateway(3)},
	}
	for i, c := range l.chains {
		if c.address, err = loopback.FreeAddress(); err != nil {
			return nil, err
		}
		if c.name == "aigateway" {
			continue // after the ledger is filled
		}
		if err := c.start(ctx); err != nil {
			l.close()
			return nil, fmt.Errorf("start chain %d: %w", i, err)
		}
	}
	return l, nil
}

// answer is a provider's answer of a usual size, with usage to settle.
func answer(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // a broken request shows at the client
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"m1","choices":[{"index":0,"message":{"role":"assistant","content":"`+
		strings.Repeat("some text ", 60)+`"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":250,"completion_tokens":120,"total_tokens":370}}`)
}

// request is a chat call of 1 KiB under a tag with a budget.
func request() []byte {
	head, tail := `{"model":"bench/m1","max_tokens":200,"messages":[{"role":"user","content":"`, `"}]}`
	body := head + strings.Repeat("x", 1024-len(head)-len(tail)) + tail
	return fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\nX-Aig-Tag: b/7\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", adminKey, len(body), body)
}

// fill stops the gateway, fills its ledger, and starts it again.
func (l *lab) fill(ctx context.Context, budgets, calls int) error {
	g := l.chains[len(l.chains)-1]
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
	for _, p := range []*exec.Cmd{c.envoy, c.service} {
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
func (l *lab) starter(i int, role string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, service := l.chains[i], ""
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
			if c.service, err = l.command(ctx, self, "-role", role, "-listen", address); err != nil {
				return err
			}
		}
		path := filepath.Join(l.dir, fmt.Sprintf("envoy-%d.yaml", i))
		if err := os.WriteFile(path, []byte(plainBootstrap(c.address, service, l.backend.Addr().String())), 0o600); err != nil {
			return fmt.Errorf("write bootstrap: %w", err)
		}
		var err error
		if c.envoy, err = l.startEnvoy(ctx, path); err != nil {
			return err
		}
		return l.await(ctx, c)
	}
}

// startGateway starts the control plane and an Envoy of ours, so that each
// one's CPU time can be read.
func (l *lab) startGateway(i int) func(context.Context) error {
	return func(ctx context.Context) error {
		c := l.chains[i]
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
		if c.service, err = l.command(ctx, l.binary, "serve", "--config", config); err != nil {
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
		if one, last = dial(c.address, l.request); last != nil {
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
