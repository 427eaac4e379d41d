package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"text/template"
	"time"

	"aigateway/fakeprovider"
	"aigateway/internal/envoytest"
)

// Prices in pico-USD per token, with digits that a wrong bucket or a second
// rounding cannot leave alone. The configuration below says the same in
// dollars per million tokens.
var price = fakeprovider.Price{Input: 2_500_001, CacheRead: 300_007, Output: 10_000_003}

const adminKey = "sk-aig-e2e-0123456789abcdefghijklmnopqrstuvwxyz"
const providerKey = "sk-provider-secret"

// providers are the upstreams of every gateway: name -> how the fake behaves.
// The configuration tells the gateway the same.
var providers = map[string]fakeprovider.Config{
	"fake":  {},                                         // bills a stream to its end
	"quick": {CancelsOnDisconnect: true},                // stops when its client leaves
	"gem":   {RunningUsage: true},                       // usage in every chunk
	"mist":  {Refuses: []string{"stream_options", "z"}}, // 422 for what we would inject
}

var configTemplate = template.Must(template.New("config").Parse(`
listen: {clients: "127.0.0.1:{{.Clients}}", rest: "127.0.0.1:{{.REST}}", grpc: "127.0.0.1:{{.GRPC}}"{{.Listen}}}
data_dir: {{.DataDir}}
admin_key: {{.AdminKey}}
reservations: {timeout: {{.HoldTimeout}}, max_wait: {{.MaxWait}}}
drain: {{.Drain}}
envoy: {path: {{.Envoy}}, concurrency: 1}
providers:
  fake: {preset: openai_compatible, base_url: "{{.URL.fake}}/v1", api_key: {{.ProviderKey}}}
  quick: {preset: openai_compatible, base_url: "{{.URL.quick}}/v1", api_key: {{.ProviderKey}}, cancels_on_disconnect: true, max_tokens_per_second: 100}
  gem: {preset: openai_compatible, base_url: "{{.URL.gem}}/deep/er/v1", api_key: {{.ProviderKey}}, running_usage: true}
  mist: {preset: openai_compatible, base_url: "{{.URL.mist}}/v1", api_key: {{.ProviderKey}}, stream_usage: native}
  locked: {preset: openai_compatible, base_url: "{{.URL.fake}}/v1", api_key: sk-wrong}
  dead: {preset: openai_compatible, base_url: "http://127.0.0.1:1/v1", api_key: {{.ProviderKey}}}
{{.Extra}}
log_format: {{.LogFormat}}
models:
{{range .Models}}- model: {{.}}
  limits: {context: 4000000, max_output: 64000}
  prices:
  - {from: 2026-01-01, source: e2e, checked_at: 2026-01-01, input: "2.500001", cache_read: "0.300007", output: "10.000003"}
{{end}}`))

var pricedModels = []string{"fake/m1", "quick/m1", "gem/m1", "mist/m1", "locked/m1", "dead/m1"}

// gateway is one installation: its files, its processes, its providers.
type gateway struct {
	t        testing.TB
	dir      string
	config   string // path
	settings map[string]any
	url      string // for clients, through Envoy
	rest     string // the REST gateway itself: there while Envoy is down
	provider map[string]*fakeprovider.Server
	doors    map[string]*door // of the providers
	client   *http.Client

	aigateway string   // its program
	program   *process // run or serve
	env       []string // of its program, besides this process's
	envoy     *process // with serve
}

// newGateway starts the providers and writes a configuration.
func newGateway(t testing.TB) *gateway {
	t.Helper()
	dir, err := os.MkdirTemp(workDir, "")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, dir: dir, aigateway: binary, config: filepath.Join(dir, "aigateway.yaml"), provider: map[string]*fakeprovider.Server{}, doors: map[string]*door{}}
	urls := map[string]string{}
	for name, cfg := range providers {
		g.doors[name] = &door{arrived: map[string]int{}}
		g.provider[name], urls[name] = startProviderBehind(t, cfg, g.doors[name])
	}
	ports := freePorts(t, 3)
	g.settings = map[string]any{
		"Clients": ports[0], "REST": ports[1], "GRPC": ports[2], "DataDir": filepath.Join(dir, "data"),
		"AdminKey": adminKey, "ProviderKey": providerKey, "Envoy": envoytest.Find(t), "URL": urls, "Listen": "", "LogFormat": "text", "Extra": "", "Models": pricedModels, "HoldTimeout": time.Minute, "MaxWait": 50 * time.Millisecond, "Drain": "{accept: 0s, timeout: 30s}",
	}
	g.url, g.rest = fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	g.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}
	t.Cleanup(g.client.CloseIdleConnections)
	g.writeConfig()
	return g
}

// runGateway is the whole program: the control plane with Envoy as its child.
func runGateway(t *testing.T) *gateway {
	t.Helper()
	g := newGateway(t)
	g.startRun()
	return g
}

// serveGateway is the control plane alone, and an Envoy of the test's own.
func serveGateway(t *testing.T) *gateway {
	t.Helper()
	return serveWith(t, "")
}

// serveWith is that with more lines in the configuration.
func serveWith(t *testing.T, extra string) *gateway {
	t.Helper()
	g := newGateway(t)
	g.settings["Extra"] = extra
	g.writeConfig()
	g.startBoth()
	return g
}

func (g *gateway) startRun() {
	g.t.Helper()
	g.program = startProcess(g.t, g.dir, "run", g.env, g.aigateway, "run", "--config", g.config)
	g.waitReady()
}

func (g *gateway) startServe() {
	g.t.Helper()
	g.program = startProcess(g.t, g.dir, "serve", g.env, g.aigateway, "serve", "--config", g.config)
	g.waitStatus(g.rest+"/readyz", http.StatusOK)
}

// startBoth starts the control plane, and then an Envoy.
func (g *gateway) startBoth() {
	g.t.Helper()
	g.startServe()
	g.startEnvoy()
	g.waitReady()
}

func (g *gateway) startEnvoy() {
	g.t.Helper()
	bootstrap := filepath.Join(g.dir, "bootstrap.json")
	print := startProcess(g.t, g.dir, "bootstrap", nil, binary, "envoy", "bootstrap", "--config", g.config)
	print.wanted.Store(true)
	<-print.done
	if code := print.cmd.ProcessState.ExitCode(); code != 0 {
		g.t.Fatalf("aigateway envoy bootstrap: exit code %d\n%s", code, print.tail(20))
	}
	if err := os.WriteFile(bootstrap, []byte(print.output()), 0o600); err != nil {
		g.t.Fatal(err)
	}
	path, ok := g.settings["Envoy"].(string)
	if !ok {
		g.t.Fatal("no Envoy in the settings")
	}
	g.envoy = startProcess(g.t, g.dir, "envoy", nil, path, "-c", bootstrap, "--concurrency", "1",
		"--disable-hot-restart", "--file-flush-interval-msec", "200", "--log-level", "warning")
}

// writeConfig replaces the file in one step, as editors and config managers do.
func (g *gateway) writeConfig() {
	g.t.Helper()
	var text strings.Builder
	if err := configTemplate.Execute(&text, g.settings); err != nil {
		g.t.Fatal(err)
	}
	g.replaceConfig(text.String())
}

func (g *gateway) replaceConfig(text string) {
	g.t.Helper()
	if err := os.WriteFile(g.config+".new", []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	if err := os.Rename(g.config+".new", g.config); err != nil {
		g.t.Fatal(err)
	}
}

// waitReady waits until clients are served, Envoy and all.
func (g *gateway) waitReady() {
	g.t.Helper()
	g.waitStatus(g.rest+"/readyz", http.StatusOK)
	g.waitStatus(g.url+"/v1/models", http.StatusOK)
}

func (g *gateway) waitStatus(url string, want int) {
	g.t.Helper()
	last := ""
	eventually(g.t, time.Minute, url+" is ready", func() bool {
		if g.program.ended() {
			g.t.Fatalf("%s ended instead of becoming ready:\n%s", g.program.name, g.program.tail(30))
		}
		r := g.try(http.MethodGet, url, "", nil)
		last = fmt.Sprintf("%d %s %v", r.status, r.body, r.err)
		return r.err == nil && r.status == want
	})
	_ = last
}

// childEnvoy is the pid of the Envoy that run started.
func (g *gateway) childEnvoy() int {
	g.t.Helper()
	pids := children(g.t, g.program.pid())
	if len(pids) != 1 {
		g.t.Fatalf("run has children %v, want one Envoy", pids)
	}
	return pids[0]
}

// inFlight is how many calls the providers are answering.
func (g *gateway) inFlight() int {
	n := 0
	for _, p := range g.provider {
		n += p.InFlight()
	}
	return n
}

// bills are the providers' bills together, by the user member of the bodies.
func (g *gateway) bills() map[string]fakeprovider.Bill {
	all := map[string]fakeprovider.Bill{}
	for _, p := range g.provider {
		for user, b := range p.BillByUser() {
			sum := all[user]
			sum.Calls += b.Calls
			sum.NanoUSD += b.NanoUSD
			all[user] = sum
		}
	}
	return all
}

func startProvider(t *testing.T, cfg fakeprovider.Config) (*fakeprovider.Server, string) {
	t.Helper()
	return startProviderBehind(t, cfg, &door{arrived: map[string]int{}})
}

func startProviderBehind(t testing.TB, cfg fakeprovider.Config, d *door) (*fakeprovider.Server, string) {
	t.Helper()
	if cfg.Models == nil {
		cfg.Models = map[string]fakeprovider.Price{"m1": price}
	}
	cfg.Key, cfg.KeepCalls = providerKey, 100_000
	// One clock reading for all answers, so that two answers to the same bytes
	// are the same bytes.
	now := time.Now()
	cfg.Now = func() time.Time { return now }
	p := fakeprovider.New(cfg)
	d.inside = p
	srv := httptest.NewServer(d)
	t.Cleanup(func() {
		if err := srv.Config.Close(); err != nil { // which, unlike srv.Close, waits for nobody
			t.Error(err)
		}
	})
	return p, srv.URL
}

// lastPort is the last one that freePorts looked at.
var lastPort atomic.Int64

// freePorts finds ports nobody listens on. They are below those that the kernel
// gives to connections, which could take one while its gateway restarts.
func freePorts(t testing.TB, n int) []int {
	t.Helper()
	lastPort.CompareAndSwap(0, 10_000+rand.Int64N(12_000)) // other runs begin elsewhere
	var ports []int
	for range 10_000 {
		if len(ports) == n {
			return ports
		}
		port := int(lastPort.Add(1))
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		ports = append(ports, port)
	}
	t.Fatal("no free ports")
	return nil
}
