package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"aigateway/e2e/loopback"
	"aigateway/envoy"
	"aigateway/fakeprovider"
)

const (
	adminKey = "sk-aig-clients-0123456789abcdefghijklmnopqrst"
	openTag  = "clients/open"  // with room in its budget
	spentTag = "clients/spent" // with none
)

// lab is the providers, the gateway, and where clients are sent: a relay
// before Envoy that sees what they ask for and get.
type lab struct {
	options
	dir       string
	providers map[string]*fakeprovider.Server
	gateway   *exec.Cmd
	relay     *http.Server
	url       string // of the relay

	mu       sync.Mutex
	requests []request // since the last reset
}

// request is one request of a client, as the relay saw it.
type request struct {
	method, path string
	status       int
}

// price is of every model: what they cost is not the question here.
var price = fakeprovider.Price{Input: 1_000_000, CacheRead: 1_000_000, CacheWrite: 1_000_000, Output: 2_000_000, SearchUnit: 2_000_000_000}

// providers are the fakes, with the models that clients are told to use.
var providers = map[string]fakeprovider.Config{
	"openai":    {Models: map[string]fakeprovider.Price{"gpt-5.5": price, "gpt-5.4-mini": price}},
	"anthropic": {Models: map[string]fakeprovider.Price{"claude-opus-5": price, "claude-haiku-4-5": price}},
	"cohere":    {Models: map[string]fakeprovider.Price{"rerank-v4.0-fast": price}, Dialect: fakeprovider.Cohere},
}

func newLab(ctx context.Context, o options) (*lab, error) {
	l := &lab{options: o, providers: map[string]*fakeprovider.Server{}}
	for _, path := range []*string{&l.binary, &l.clients} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", *path, err)
		}
		*path = absolute
	}
	if _, err := os.Stat(filepath.Join(l.clients, "installed")); err != nil {
		return nil, fmt.Errorf("the clients are missing; run: make clients (%w)", err)
	}
	var err error
	if l.dir, err = os.MkdirTemp("", "aig"); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	if err := l.start(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) start(ctx context.Context) error {
	bases := map[string]string{}
	for name, config := range providers {
		config.KeepAnswers = true
		l.providers[name] = fakeprovider.New(config)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		go func() { _ = l.providers[name].Serve(ctx, listener) }() // ends with the command
		bases[name] = "http://" + listener.Addr().String()
	}
	gateway, rest, err := l.startGateway(ctx, bases)
	if err != nil {
		return err
	}
	for _, ask := range []struct{ path, body string }{
		{"/v1/budgets", fmt.Sprintf(`{"tag":%q,"monthly_cap_cents":1000000}`, openTag)},
		// $500, a number that opencode must not see.
		{"/v1/budgets", fmt.Sprintf(`{"tag":%q,"monthly_cap_cents":50000}`, spentTag)},
		{"/v1/adjustments", fmt.Sprintf(`{"tag":%q,"amount":"500.00","reason":"spent","request_id":"spent"}`, spentTag)},
	} {
		if err := administer(ctx, rest+ask.path, ask.body); err != nil {
			return err
		}
	}
	return l.startRelay(gateway)
}

// startGateway starts aigateway with its Envoy, and returns the URLs for
// clients and for administrators.
func (l *lab) startGateway(ctx context.Context, bases map[string]string) (clients, rest string, err error) {
	var addresses [3]string
	for i := range addresses {
		if addresses[i], err = loopback.FreeAddress(); err != nil {
			return "", "", err
		}
	}
	path, err := envoy.Find("")
	if err != nil {
		return "", "", fmt.Errorf("find envoy (make envoy installs it): %w", err)
	}
	config := filepath.Join(l.dir, "aigateway.yaml")
	text := fmt.Sprintf(`listen: {clients: %q, rest: %q, grpc: %q}
data_dir: %s
admin_key: %s
envoy: {path: %s, concurrency: 1}
providers:
  openai: {base_url: "%s/v1", api_key: sk-fake}
  anthropic: {base_url: "%s/v1", api_key: sk-fake}
  cohere: {base_url: "%s", api_key: sk-fake}
`, addresses[0], addresses[1], addresses[2], filepath.Join(l.dir, "data"), adminKey, path, bases["openai"], bases["anthropic"], bases["cohere"])
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return "", "", fmt.Errorf("write config: %w", err)
	}
	log, err := os.Create(filepath.Join(l.dir, "gateway.log"))
	if err != nil {
		return "", "", fmt.Errorf("create log: %w", err)
	}
	defer log.Close() // the gateway has its own descriptor
	l.gateway = exec.Command(l.binary, "run", "--config", config)
	l.gateway.Stdout, l.gateway.Stderr = log, log
	l.gateway.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt reaches this command alone
	if err := l.gateway.Start(); err != nil {
		return "", "", fmt.Errorf("start aigateway: %w", err)
	}
	clients, rest = "http://"+addresses[0], "http://"+addresses[1]
	ready := func() bool { return loopback.Status(rest+"/readyz") == http.StatusOK && loopback.Status(clients) != 0 }
	if err := loopback.Poll(ctx, ready); err != nil {
		said, _ := os.ReadFile(log.Name()) // shown as far as there is any
		return "", "", fmt.Errorf("wait for the gateway: %w\n%s", err, said)
	}
	return clients, rest, nil
}

// administer posts to the REST API.
func administer(ctx context.Context, url, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("administer: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+adminKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("administer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("POST %s with %s: status %d", url, body, resp.StatusCode)
	}
	return nil
}

// startRelay listens before Envoy. It passes bytes on as they come.
func (l *lab) startRelay(gateway string) error {
	target, err := url.Parse(gateway)
	if err != nil {
		return fmt.Errorf("parse url: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		FlushInterval: -1,
		ModifyResponse: func(r *http.Response) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.requests = append(l.requests, request{r.Request.Method, r.Request.URL.Path, r.StatusCode})
			return nil
		},
	}
	l.relay = &http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = l.relay.Serve(listener) }() // ends with close
	l.url = "http://" + listener.Addr().String()
	return nil
}

func (l *lab) close() {
	if l.relay != nil {
		_ = l.relay.Close() // nobody is left to be served
	}
	if l.gateway != nil && l.gateway.Process != nil {
		_ = l.gateway.Process.Signal(syscall.SIGTERM) // it may have ended
		_ = l.gateway.Wait()                          // its exit code says nothing here
	}
	_ = os.RemoveAll(l.dir)
}
