package chart

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"aigateway/internal/pgtest"
)

// programs are what the image has.
type programs struct{ aigateway, envoy string }

// pod is one of what the chart renders, as processes of this machine: the same
// programs and arguments in the same order, with other folders and ports.
type pod struct {
	dir       string
	paths     *strings.Replacer
	secrets   map[string]string // by the entry of the Secret
	rest, url string            // of the admin API and of clients
	http      *http.Client
	spec      corev1.PodSpec
	job       batchv1.Job

	sidecar, envoy *exec.Cmd
}

const adminKey = "sk-aig-0123456789abcdefghijklmnop"

// shapeValues are the values of all pods here; more is appended.
const shapeValues = `
config:
  providers: {fake: {base_url: "%s/v1", api_key: k}}
  models: [{model: fake/m, limits: {context: 1000, max_output: 100}, prices: [{input: "1", output: "1"}]}]
  drain: {accept: 1s, timeout: 1m}
  envoy: {concurrency: 1}
adminKey: {existingSecret: s, key: admin-key}
budgets: [{tag: "team/**", monthly: "500.00"}]
`

// TestPodShape starts the pod's containers as a kubelet does, has Envoy validate
// its bootstrap, makes calls, kills the sidecar, renews the admin API's certificate,
// drains while a call runs, and starts again: every call is in the usage, and the
// budget was set.
func TestPodShape(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	provider := newProvider(t, func(body []byte) {
		if bytes.Contains(body, []byte("slow")) {
			close(begun)
			<-end
		}
	})
	ca := newCA(t)
	p := newPod(t, build(t), map[string]string{"admin-key": adminKey}, fmt.Sprintf(shapeValues, provider.url)+`
adminTLS: {existingSecret: c}
`)
	ca.issue(t, p.dir+"/etc-admin-tls")
	p.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool}, DisableKeepAlives: true}}

	envoy := p.spec.Containers[0]
	p.boot(t)
	validate := envoy
	validate.Args = append([]string{"--mode", "validate"}, envoy.Args...)
	p.mustRun(t, validate)
	p.serve(t)
	p.setBudgets(t)

	p.call(t, "first")
	p.sidecar.Process.Kill() // as an engine does with who takes too much memory
	p.sidecar.Wait()
	p.sidecar = p.start(t, p.spec.InitContainers[1])
	p.ready(t)
	p.call(t, "second")

	before := p.serial(t)
	ca.issue(t, p.dir+"/etc-admin-tls")
	if after := p.serial(t); after.Cmp(before) == 0 {
		t.Error("the admin API has its certificate of before")
	}
	p.get(t, p.url, "/v1/usage/by-tag") // through Envoy, which knows who signed it

	slow := make(chan error, 1)
	go func() { slow <- p.try("slow") }()
	<-begun
	drained := make(chan error, 1)
	preStop := p.preStop(t)
	go func() { drained <- preStop.Run() }()
	select {
	case err := <-drained:
		t.Errorf("preStop did not wait for the running call: %v", err)
		drained <- err
	case <-time.After(1500 * time.Millisecond): // past drain.accept, so that the call is what it waits for
	}
	close(end)
	if err := errors.Join(<-slow, <-drained); err != nil {
		t.Errorf("the call that ran while the pod was stopped, and preStop: %v", err)
	}
	stop(t, p.envoy)
	stop(t, p.sidecar)

	p.sidecar = p.start(t, p.spec.InitContainers[1])
	p.ready(t)
	if usage := p.get(t, p.rest, "/v1/usage/by-tag"); !strings.Contains(usage, `"requests":3`) || !strings.Contains(usage, `"tag":"team/a"`) {
		t.Errorf("usage: %s", usage)
	}
	if budgets := p.get(t, p.rest, "/v1/budgets"); !strings.Contains(budgets, "team/**") {
		t.Errorf("budgets: %s", budgets)
	}
	stop(t, p.sidecar)
}

// TestPodsShape rolls two pods on one PostgreSQL under load, as their kind does: no
// call fails and each is in the usage once, though a Deployment's volumes end with
// its pods. Then a sidecar is killed: calls are told to come again. At last a
// Deployment loses a pod with its volume: the cap holds, what it was lent is charged,
// and nothing stays reserved.
func TestPodsShape(t *testing.T) {
	image := build(t)
	for _, kind := range []string{"StatefulSet", "Deployment"} {
		t.Run(kind, func(t *testing.T) {
			provider := newProvider(t, func([]byte) { <-time.After(20 * time.Millisecond) })
			secrets := map[string]string{"admin-key": adminKey, "url": pgtest.Start(t).URL("admin")}
			add := func() *pod {
				return newPod(t, image, secrets, fmt.Sprintf(shapeValues, provider.url)+`
kind: `+kind+`
replicas: 2
postgres: {existingSecret: p, durability: single_node, maxStale: 5s, forgetAfter: 10s}
`)
			}
			all := &endpoints{}
			for range 2 {
				p := add()
				p.boot(t)
				p.serve(t)
				all.add(p)
			}
			all.pods()[0].setBudgets(t)

			load := all.load(t, 4)
			for _, old := range all.pods() {
				load.more(t, 40)
				if kind == "StatefulSet" {
					all.end(t, old)
					old.boot(t) // on the volume that it had
					old.serve(t)
					all.add(old)
				} else {
					next := add()
					next.boot(t)
					next.serve(t)
					all.add(next)
					all.end(t, old)
					if err := os.RemoveAll(old.dir); err != nil {
						t.Error(err)
					}
				}
			}
			load.more(t, 40)
			killed := all.pods()[0]
			killed.sidecar.Process.Kill()
			killed.sidecar.Wait()
			killed.sidecar = killed.start(t, killed.spec.InitContainers[1])
			killed.ready(t)
			load.more(t, 40)
			load.end()
			all.settled(t, provider.calls.Load())

			if kind == "StatefulSet" {
				return
			}
			load = all.load(t, 4)
			load.lost.Store(true) // its calls break off
			load.more(t, 40)
			lost, stays := all.pods()[0], all.pods()[1]
			all.remove(lost)
			lost.envoy.Process.Kill()
			lost.sidecar.Process.Kill()
			lost.envoy.Wait()
			lost.sidecar.Wait()
			if err := os.RemoveAll(lost.dir); err != nil {
				t.Error(err)
			}
			next := add()
			next.boot(t)
			next.serve(t)
			all.add(next)
			load.more(t, 40)
			load.end()
			eventually(t, "who is gone is forgotten", func() error {
				if list := stays.replicas(t); strings.Count(list, `"id":`) != 2 || strings.Count(list, `"live"`) != 2 {
					return errors.New(list)
				}
				return nil
			})
			eventually(t, "nothing is reserved", func() error {
				spent, reserved := stays.budget(t)
				if bill := provider.calls.Load() * costOfACall; spent < bill || spent+reserved > 500e9 {
					t.Fatalf("spent %d, reserved %d; the bill is %d", spent, reserved, bill)
				}
				if reserved != 0 {
					return fmt.Errorf("reserved %d", reserved)
				}
				return nil
			})
			next.call(t, "after")
			for _, p := range all.pods() {
				all.end(t, p)
			}
		})
	}
}

// endpoints are the pods that a Service has.
type endpoints struct {
	mu   sync.Mutex
	list []*pod
	next atomic.Int64
}

func (e *endpoints) pods() []*pod {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]*pod(nil), e.list...)
}

func (e *endpoints) add(p *pod) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, p)
}

func (e *endpoints) remove(p *pod) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, q := range e.list {
		if p == q {
			e.list = append(e.list[:i:i], e.list[i+1:]...)
			return
		}
	}
}

// end stops a pod as a kubelet does: preStop, then Envoy, then the sidecar, while
// the Service still sends connections for a moment.
func (e *endpoints) end(t *testing.T, p *pod) {
	t.Helper()
	preStop := p.preStop(t)
	if err := preStop.Start(); err != nil {
		t.Fatal(err)
	}
	<-time.After(300 * time.Millisecond)
	e.remove(p)
	if err := preStop.Wait(); err != nil {
		t.Errorf("preStop: %v", err)
	}
	stop(t, p.envoy)
	stop(t, p.sidecar)
}

// load makes calls until end.
type load struct {
	answered atomic.Int64
	lost     atomic.Bool // a pod dies: its calls may break off
	ended    chan struct{}
	all      sync.WaitGroup
}

func (e *endpoints) load(t *testing.T, workers int) *load {
	l := &load{ended: make(chan struct{})}
	for range workers {
		l.all.Go(func() {
			for {
				select {
				case <-l.ended:
					return
				default:
				}
				pods := e.pods()
				err := pods[e.next.Add(1)%int64(len(pods))].try("under load")
				switch {
				case err == nil:
					l.answered.Add(1)
				case errors.Is(err, errAgain):
					<-time.After(50 * time.Millisecond)
				case !l.lost.Load():
					t.Errorf("a call failed: %v", err)
				}
			}
		})
	}
	return l
}

// more waits for n more answers.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	want := l.answered.Load() + n
	eventually(t, "calls are answered", func() error {
		if got := l.answered.Load(); got < want {
			return fmt.Errorf("%d answers, want %d", got, want)
		}
		return nil
	})
}

func (l *load) end() {
	close(l.ended)
	l.all.Wait()
}

// settled waits until every pod tells the same: so many calls, each paid once, and
// nothing reserved.
func (e *endpoints) settled(t *testing.T, calls int64) {
	t.Helper()
	for _, p := range e.pods() {
		eventually(t, "each call is in the usage once", func() error {
			spent, reserved := p.budget(t)
			usage := p.get(t, p.rest, "/v1/usage/by-tag")
			if spent != calls*costOfACall || reserved != 0 || !strings.Contains(usage, fmt.Sprintf(`"requests":%d,`, calls)) {
				return fmt.Errorf("%d calls; spent %d, reserved %d; usage %s", calls, spent, reserved, usage)
			}
			return nil
		})
	}
}

// budget is what the one budget has spent and reserved, in nano-USD.
func (p *pod) budget(t *testing.T) (spent, reserved int64) {
	t.Helper()
	var list struct {
		Budgets []struct{ Spent, Reserved json.Number }
	}
	if err := json.Unmarshal([]byte(p.get(t, p.rest, "/v1/budgets")), &list); err != nil || len(list.Budgets) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	nano := func(dollars json.Number) int64 {
		r, ok := new(big.Rat).SetString(dollars.String())
		if !ok {
			t.Fatalf("%q is no amount", dollars)
		}
		return r.Mul(r, big.NewRat(1e9, 1)).Num().Int64()
	}
	return nano(list.Budgets[0].Spent), nano(list.Budgets[0].Reserved)
}

// replicas is what the store's gateways are, as JSON.
func (p *pod) replicas(t *testing.T) string {
	t.Helper()
	c := p.spec.InitContainers[1]
	c.Args = []string{"replicas", "list", "--config", "/etc/aigateway/aigateway.yaml", "-o", "json"}
	cmd := p.container(t, c)
	cmd.Stdout = nil
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), `": "`, `":"`)
}

// costOfACall is what the fake provider bills, in nano-USD.
const costOfACall = 15_000

// fakeProvider answers every call alike and counts them.
type fakeProvider struct {
	url   string
	calls atomic.Int64
}

func newProvider(t *testing.T, during func(body []byte)) *fakeProvider {
	t.Helper()
	f := &fakeProvider{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.calls.Add(1)
		during(body)
		w.Header().Set("content-type", "application/json")
		io.WriteString(w, `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`)
	}))
	t.Cleanup(s.Close)
	f.url = s.URL
	return f
}

// authority signs the certificates of an admin API.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	made int64
}

func newCA(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool(), made: 1}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "the authority of a test"}, SerialNumber: big.NewInt(a.made), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour)}
	text, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(text); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// issue renames a new certificate for the chart's service into place.
func (a *authority) issue(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.made++
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(a.made), DNSNames: []string{"gateway-aigateway-admin"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
	}, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name  string
		block pem.Block
	}{{"ca.crt", pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}}, {"tls.key", pem.Block{Type: "PRIVATE KEY", Bytes: private}}, {"tls.crt", pem.Block{Type: "CERTIFICATE", Bytes: cert}}} {
		path := filepath.Join(dir, f.name)
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(path+".new", pem.EncodeToMemory(&f.block), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
}

// serial is that of the admin API's certificate.
func (p *pod) serial(t *testing.T) *big.Int {
	t.Helper()
	resp, err := p.http.Get(p.rest + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.TLS.PeerCertificates[0].SerialNumber
}

// build makes the programs of the image.
func build(t *testing.T) programs {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "aigateway")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/aigateway")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	found, err := exec.Command(binary, "envoy", "install").Output()
	if err != nil {
		t.Fatal(err)
	}
	return programs{binary, strings.TrimSpace(string(found))}
}

func newPod(t *testing.T, image programs, secrets map[string]string, text string) *pod {
	t.Helper()
	dir, err := os.MkdirTemp("", "aig-") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var values map[string]any
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatal(err)
	}
	scheme := "http://"
	if values["adminTLS"] != nil {
		scheme = "https://"
	}
	ports := freePorts(t, 3)
	p := &pod{dir: dir, secrets: secrets, rest: scheme + ports[1], url: "http://" + ports[0], http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	p.paths = strings.NewReplacer("/usr/bin/aigateway", image.aigateway, "/usr/lib/aigateway/envoy", image.envoy,
		"/etc/aigateway-admin-tls", dir+"/etc-admin-tls", "/etc/aigateway", dir+"/etc", "/var/lib/aigateway", dir+"/data", "/run/aigateway", dir+"/run",
		"0.0.0.0:8080", ports[0], "0.0.0.0:8081", ports[1], "127.0.0.1:8082", ports[2], scheme+"gateway-aigateway-admin:8081", p.rest)
	for _, folder := range []string{"etc", "data"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, object := range strings.Split(render(t, values), "\n---\n") {
		switch o := readStrictly(t, object).(type) {
		case *appsv1.StatefulSet:
			p.spec = o.Spec.Template.Spec
		case *appsv1.Deployment:
			p.spec = o.Spec.Template.Spec
		case *batchv1.Job:
			p.job = *o
		case *corev1.ConfigMap:
			if err := os.WriteFile(filepath.Join(dir, "etc/aigateway.yaml"), []byte(p.paths.Replace(o.Data["aigateway.yaml"])), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// boot starts what stands before Envoy, with an empty /run.
func (p *pod) boot(t *testing.T) {
	t.Helper()
	run := filepath.Join(p.dir, "run")
	if err := errors.Join(os.RemoveAll(run), os.Mkdir(run, 0o700)); err != nil {
		t.Fatal(err)
	}
	p.mustRun(t, p.spec.InitContainers[0])
	p.sidecar = p.start(t, p.spec.InitContainers[1])
	p.ready(t)
}

// serve starts Envoy, and waits until clients are served.
func (p *pod) serve(t *testing.T) {
	t.Helper()
	p.envoy = p.start(t, p.spec.Containers[0])
	p.clients(t)
}

func (p *pod) setBudgets(t *testing.T) {
	t.Helper()
	for _, c := range append(p.job.Spec.Template.Spec.InitContainers, p.job.Spec.Template.Spec.Containers...) {
		p.mustRun(t, c)
	}
}

func (p *pod) preStop(t *testing.T) *exec.Cmd {
	t.Helper()
	return p.command(t, p.spec.Containers[0].Lifecycle.PreStop.Exec.Command, nil)
}

func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}

// command has the container's environment and nothing else.
func (p *pod) command(t *testing.T, args []string, env []corev1.EnvVar) *exec.Cmd {
	t.Helper()
	var replaced []string
	for _, a := range args {
		replaced = append(replaced, p.paths.Replace(a))
	}
	cmd := exec.Command(replaced[0], replaced[1:]...)
	cmd.Env = []string{}
	for _, e := range env {
		if e.ValueFrom != nil {
			e.Value = p.secrets[e.ValueFrom.SecretKeyRef.Key]
		}
		cmd.Env = append(cmd.Env, e.Name+"="+p.paths.Replace(e.Value))
	}
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (p *pod) container(t *testing.T, c corev1.Container) *exec.Cmd {
	t.Helper()
	command := c.Command
	if len(command) == 0 {
		command = []string{"/usr/bin/aigateway"} // the image's
	}
	return p.command(t, append(append([]string(nil), command...), c.Args...), c.Env)
}

func (p *pod) start(t *testing.T, c corev1.Container) *exec.Cmd {
	t.Helper()
	cmd := p.container(t, c)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd
}

func (p *pod) mustRun(t *testing.T, c corev1.Container) {
	t.Helper()
	if err := p.container(t, c).Run(); err != nil {
		t.Fatalf("%s: %v", c.Name, err)
	}
}

func stop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v", cmd.Args[0], err)
	}
}

// eventually tries until it works, for as long as a slow machine may take.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *pod) ready(t *testing.T) {
	t.Helper()
	eventually(t, "startup probe", func() error { return expect(p.http.Get(p.rest + "/readyz")) })
}

// clients waits for the first answered call of no budget.
func (p *pod) clients(t *testing.T) {
	t.Helper()
	eventually(t, "clients", func() error {
		req, err := http.NewRequest(http.MethodGet, p.url+"/v1/models", nil)
		if err != nil {
			return err
		}
		req.Header.Set("authorization", "Bearer "+adminKey)
		return expect(p.http.Do(req))
	})
}

func expect(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
		if resp.Header.Get("X-Should-Retry") == "true" {
			err = fmt.Errorf("%w: %w", errAgain, err)
		}
	}
	return err
}

// errAgain is an answer that tells clients to come again, which SDKs do.
var errAgain = errors.New("told to come again")

func (p *pod) try(text string) error {
	req, err := http.NewRequest(http.MethodPost, p.url+"/v1/chat/completions", strings.NewReader(`{"model":"fake/m","max_tokens":50,"messages":[{"role":"user","content":"`+text+`"}]}`))
	if err != nil {
		return err
	}
	req.Header.Set("authorization", "Bearer "+adminKey)
	req.Header.Set("content-type", "application/json")
	req.Header.Set("x-aig-tag", "team/a")
	return expect(p.http.Do(req))
}

func (p *pod) call(t *testing.T, text string) {
	t.Helper()
	eventually(t, "call "+text, func() error { return p.try(text) })
}

func (p *pod) get(t *testing.T, at, path string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, at+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("authorization", "Bearer "+adminKey)
	resp, err := p.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", path, resp.Status, err)
	}
	return string(text)
}

func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, text)
	}
}
