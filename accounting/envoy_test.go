package accounting_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"aigateway/accounting"
	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/envoy/wire"
	"aigateway/extauthz"
	"aigateway/fakeprovider"
	"aigateway/gatewayconfig"
	"aigateway/internal/envoytest"
	"aigateway/ledger"
	"aigateway/pricing"
)

// plant is everything a call passes: a real Envoy, the decision, a real
// provider's habits, and both log channels.
type plant struct {
	t        *testing.T
	provider *fakeprovider.Server
	ledger   *ledger.Ledger
	metrics  *prometheus.Registry
	catalog  *pricing.Catalog
	url      string
	key      string
	budget   string
	streams  string // of the configuration
	rate     int64  // tokens a second the provider is known for; 0: it goes on when a client leaves
}

func newPlant(t *testing.T, streams string, rate int64) *plant {
	t.Helper()
	p := &plant{t: t, metrics: prometheus.NewRegistry(), streams: streams, rate: rate}
	p.provider = fakeprovider.New(fakeprovider.Config{Models: map[string]fakeprovider.Price{
		"kimi-k2.6": {Input: 950_000, CacheRead: 160_000, Output: 4_000_000},
	}})
	upstream := httptest.NewServer(p.provider)
	t.Cleanup(upstream.Close)
	p.openLedger()
	dir := envoytest.Dir(t)
	p.serveControl(dir, upstream.URL)
	e := envoytest.Start(t, envoytest.Config{Dir: dir, Bootstrap: envoy.BootstrapConfig{
		ControlAddress: "unix:" + filepath.Join(dir, envoy.FileControlSocket),
	}})
	e.WaitReady(t)
	p.url = e.URL
	p.follow(e)
	return p
}

func (p *plant) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *plant) openLedger() {
	p.t.Helper()
	l, err := ledger.Open(p.t.Context(), ledger.Config{Dir: p.t.TempDir()})
	p.must(err)
	p.t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			p.t.Errorf("close the ledger: %v", err)
		}
	})
	st, err := l.SetBudget(p.t.Context(), budget.Budget{Target: budget.Target{Tags: "**"}, Period: budget.Month, Cap: 100 * budget.Dollar}, budget.Author{Actor: "test"})
	p.must(err)
	_, secret, err := l.CreateKey(p.t.Context(), budget.Key{Name: "test", Scopes: []budget.Scope{budget.ScopeInference}}, budget.Author{Actor: "test"})
	p.must(err)
	p.ledger, p.budget, p.key = l, st.ID, secret
}

func (p *plant) config() accounting.Config {
	sealer, err := envoy.NewSealer(p.ledger.TokenKey())
	p.must(err)
	return accounting.Config{Ledger: p.ledger, Sealer: sealer, Catalog: func() *pricing.Catalog { return p.catalog }, Now: time.Now, Log: slog.New(slog.NewTextHandler(envoytest.NewLog(p.t, "accounting"), nil)), Metrics: p.metrics}
}

// serveControl starts what Envoy talks to.
func (p *plant) serveControl(dir, upstream string) {
	p.t.Helper()
	path := filepath.Join(dir, "aigateway.yaml")
	text := fmt.Sprintf("data_dir: .\nstreams: %s\nproviders:\n  moonshot:\n    base_url: %s/v1\n    api_key: provider-key\n", p.streams, upstream)
	p.must(os.WriteFile(path, []byte(text), 0o600))
	c, err := gatewayconfig.Read(path, func(string) string { return "" })
	p.must(err)
	snapshot, err := gatewayconfig.Render(c, "127.0.0.1:1")
	p.must(err)
	log := slog.New(slog.NewTextHandler(envoytest.NewLog(p.t, "control plane"), nil))
	ads, err := gatewayconfig.NewServer(gatewayconfig.ServerConfig{Log: log, Metrics: p.metrics})
	p.must(err)
	p.must(ads.Apply(p.t.Context(), snapshot))
	w := c.Providers[0].Upstream
	p.catalog, err = pricing.Load(nil, []pricing.Upstream{{
		Provider: "moonshot", StreamUsage: w.StreamUsage, CapField: w.CapField,
		CancelsOnDisconnect: p.rate > 0, MaxTokensPerSecond: p.rate,
	}}, c.Streams.MaxDuration)
	p.must(err)
	g := grpc.NewServer(wire.ServerOptions()...)
	ads.Register(g)
	check, err := extauthz.New(extauthz.Config{
		Keys: p.ledger, Ledger: p.ledger, Catalog: func() *pricing.Catalog { return p.catalog },
		Sealer: p.config().Sealer, Now: time.Now, Log: log, Metrics: p.metrics,
	})
	p.must(err)
	check.Register(g)
	newStream(p.t, p.config()).Register(g)
	healthpb.RegisterHealthServer(g, health.NewServer())
	lis, err := net.Listen("unix", filepath.Join(dir, envoy.FileControlSocket))
	p.must(err)
	done := make(chan error, 1)
	go func() { done <- g.Serve(lis) }()
	p.t.Cleanup(func() {
		ads.Close()
		g.Stop()
		if err := <-done; err != nil {
			p.t.Errorf("serve: %v", err)
		}
	})
}

// follow tails the file, rotating it all the time.
func (p *plant) follow(e *envoytest.Envoy) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	spool := newSpool(p.t, p.config(), accounting.File{Path: e.SpoolPath, MaxBytes: 4096, Reopen: e.ReopenLogs})
	done := make(chan error, 1)
	go func() { done <- spool.Run(ctx) }()
	p.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("spool: %v", err)
		}
	})
}

// post makes a chat call and reads its answer, or leaves after some bytes.
func (p *plant) post(body string, leaveAfter int) (status int, answer string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/chat/completions", strings.NewReader(body))
	p.must(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.key)
	req.Header.Set("X-Aig-Tag", "team/a")
	resp, err := http.DefaultClient.Do(req)
	p.must(err)
	defer resp.Body.Close()
	if leaveAfter > 0 {
		b := make([]byte, leaveAfter)
		n, err := io.ReadFull(resp.Body, b)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			p.t.Errorf("read the start of an answer: %v", err)
		}
		return resp.StatusCode, string(b[:n])
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		p.t.Logf("read an answer: %v", err)
	}
	return resp.StatusCode, string(b)
}

func (p *plant) status() budget.Status {
	p.t.Helper()
	st, err := p.ledger.GetBudget(p.budget)
	p.must(err)
	return st
}

// settled waits until nothing is reserved and returns what was spent.
func (p *plant) settled() budget.Amount {
	p.t.Helper()
	envoytest.Eventually(p.t, func() error {
		if st := p.status(); st.Reserved != 0 {
			return fmt.Errorf("%s still reserved", st.Reserved)
		}
		return nil
	})
	return p.status().Spent
}

// What the ledger charges for whole answers is what the provider bills, to the
// nano-dollar; for broken ones it is never less.
func TestRealEnvoy(t *testing.T) {
	p := newPlant(t, "{}", 0)
	tests := []struct {
		name, fault string
		stream      bool
		leave       int
		exact       bool
	}{
		{name: "answer", fault: "out=40", exact: true},
		{name: "cached", fault: "out=10 cached=5", exact: true},
		{name: "stream", fault: "out=40", stream: true, exact: true},
		{name: "stream in pieces", fault: "out=20 split=7 crlf comments", stream: true, exact: true},
		{name: "imitated usage", fault: "out=30 hostile", stream: true, exact: true},
		{name: "thoughts", fault: "out=10 thoughts=9", exact: true},
		{name: "provider's error", fault: "status=500", exact: true},
		{name: "provider's account is empty", fault: "status=402", exact: true},
		{name: "no report", fault: "out=40 no_usage"},
		{name: "cut", fault: "out=40 cut_after=3", stream: true},
		{name: "reset before the answer", fault: "reset_before_headers"},
		{name: "client leaves", fault: "out=50 delay=20ms", stream: true, leave: 200},
		{name: "the most it can cost", fault: "max"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.provider.Reset()
			before := p.settled()
			body := fmt.Sprintf(`{"model":"moonshot/kimi-k2.6","stream":%v,"max_tokens":64,"messages":[{"role":"user","content":"fault:%s"}]}`, tt.stream, tt.fault)
			status, answer := p.post(body, tt.leave)
			if status == 0 || status == 500 && tt.fault != "status=500" {
				t.Errorf("answered %d: %s", status, answer)
			}
			if strings.Contains(answer, `"choices":[]`) {
				t.Error("the client got the usage chunk it did not ask for")
			}
			if st := p.status(); st.Spent+st.Reserved == before && tt.fault[:6] != "status" {
				t.Error("nothing was reserved")
			}
			envoytest.Eventually(t, func() error {
				if n := p.provider.InFlight(); n > 0 {
					return fmt.Errorf("%d calls in flight", n)
				}
				return nil
			})
			got, billed := p.settled()-before, budget.Amount(p.provider.Bill().NanoUSD)
			if got < billed || tt.exact && got != billed {
				t.Errorf("charged %s, the provider billed %s", got, billed)
			}
		})
	}
	envoytest.Eventually(t, func() error { // the file repeats what the stream said
		ended := counted(t, p.metrics, "aig_log_entries_total", "file", "end")
		if ended != float64(len(tests)) {
			return fmt.Errorf("%v lines read of %d calls", ended, len(tests))
		}
		return nil
	})
	if n := counted(t, p.metrics, "aig_log_malformed_total", "file") + counted(t, p.metrics, "aig_log_malformed_total", "stream"); n != 0 {
		t.Errorf("%v malformed entries", n)
	}
}

// A refusal arrives at the client as it was written, is not sent to the
// provider, and leaves nothing reserved.
func TestRealEnvoyRefuses(t *testing.T) {
	p := newPlant(t, "{}", 0)
	_, err := p.ledger.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "poor"}, Period: budget.Day, Cap: 1000}, budget.Author{Actor: "test"})
	p.must(err)
	body := `{"model":"moonshot/kimi-k2.6","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}`
	bearer := "Bearer " + p.key
	tests := []struct {
		name, body string
		headers    [][2]string
		status     int
		reason     string
	}{
		{"no key", body, nil, 401, "key_missing"},
		{"wrong key", body, [][2]string{{"Authorization", "Bearer sk-aig-nobody"}}, 401, "key_invalid"},
		{"two keys", body, [][2]string{{"Authorization", bearer}, {"Authorization", bearer}}, 401, "key_invalid"},
		{"two tags", body, [][2]string{{"Authorization", bearer}, {"X-Aig-Tag", "a"}, {"X-Aig-Tag", "b"}}, 400, "tag_repeated"},
		{"empty tag", body, [][2]string{{"Authorization", bearer}, {"X-Aig-Tag", ""}}, 400, "tag_invalid"},
		{"no body", "", [][2]string{{"Authorization", bearer}}, 400, "body_missing"},
		{"compressed", body, [][2]string{{"Authorization", bearer}, {"Content-Encoding", "gzip"}}, 400, "content_encoding_unsupported"},
		{"over the cap", body, [][2]string{{"Authorization", bearer}, {"X-Aig-Tag", "poor"}}, 402, "cap_would_be_crossed"},
		{"unknown provider", strings.Replace(body, "moonshot/", "nobody/", 1), [][2]string{{"Authorization", bearer}}, 404, "provider_unknown"},
		{"forged decision", body, [][2]string{{"X-Aig-Int-Upstream", "moonshot"}}, 401, "key_missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/v1/chat/completions", strings.NewReader(tt.body))
			p.must(err)
			req.Header.Set("Content-Type", "application/json")
			for _, h := range tt.headers {
				req.Header.Add(h[0], h[1])
			}
			resp, err := http.DefaultClient.Do(req)
			p.must(err)
			defer resp.Body.Close()
			var e struct {
				Error struct {
					Code     int
					Metadata map[string]any
				}
			}
			if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
				t.Fatalf("%d with a body that is no JSON: %v", resp.StatusCode, err)
			}
			if resp.StatusCode != tt.status || e.Error.Code != tt.status || e.Error.Metadata["reason"] != tt.reason {
				t.Errorf("%d %+v, want %d %s", resp.StatusCode, e.Error, tt.status, tt.reason)
			}
			if got := resp.Header.Get("X-Should-Retry"); (tt.status == 402) != (got == "false") {
				t.Errorf("x-should-retry is %q", got)
			}
			if id, _ := e.Error.Metadata["request_id"].(string); id == "" || id != resp.Header.Get("X-Aig-Request-Id") {
				t.Errorf("request id %q in the body, %q in the header", id, resp.Header.Get("X-Aig-Request-Id"))
			}
		})
	}
	if n := len(p.provider.Calls()); n != 0 {
		t.Errorf("%d refused calls reached the provider", n)
	}
	if open := p.ledger.OpenReservations(10); len(open) != 0 {
		t.Errorf("refused calls hold %+v", open)
	}
	envoytest.Eventually(t, func() error {
		if n := counted(t, p.metrics, "aig_log_untokened_total", "stream", "refused"); n != float64(len(tests)) {
			return fmt.Errorf("%v refusals in the stream, want %d", n, len(tests))
		}
		return nil
	})
}

// A client that leaves is charged by time where the provider is known to stop;
// a timer of ours that runs out is not the provider stopping.
func TestRealEnvoyTimers(t *testing.T) {
	tests := []struct {
		name   string
		config string
		fault  string
		stream bool
		leave  int
		whole  bool
	}{
		{"client leaves", "{}", "out=500 delay=10ms", true, 300, false},
		{"silence before the answer", "{idle_timeout: 1s}", "hang", false, 0, true},
		{"silence within the answer", "{idle_timeout: 1s}", "hang_after=3", true, 0, true},
		{"too long an answer", "{max_duration: 1s}", "out=5000 delay=10ms", true, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlant(t, tt.config, 100)
			body := fmt.Sprintf(`{"model":"moonshot/kimi-k2.6","stream":%v,"max_tokens":5000,"messages":[{"role":"user","content":"fault:%s"}]}`, tt.stream, tt.fault)
			p.post(body, tt.leave)
			spent := p.settled()
			const output = 5000 * 4000 * budget.Amount(1) // the cap's part of the bound
			if spent == 0 || (spent >= output) != tt.whole {
				t.Errorf("charged %s, of an output bound of %s; want all of it: %v", spent, output, tt.whole)
			}
		})
	}
}
