package chart

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// pod is what the chart renders, as processes of this machine: the same programs
// and arguments in the same order, with other folders and ports.
type pod struct {
	paths     *strings.Replacer
	rest, url string // of the admin API and of clients
	set       appsv1.StatefulSet
	job       batchv1.Job
}

const adminKey = "sk-aig-0123456789abcdefghijklmnop"

// TestPodShape starts the pod's containers as a kubelet does, has Envoy validate
// its bootstrap, makes calls, kills the sidecar, drains while a call runs, and starts
// again: every call is in the usage, and the budget was set.
func TestPodShape(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); bytes.Contains(body, []byte("slow")) {
			close(begun)
			<-end
		}
		w.Header().Set("content-type", "application/json")
		io.WriteString(w, `{"id":"1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}`)
	}))
	defer provider.Close()
	p := newPod(t, provider.URL)

	bootstrap, sidecar, envoy := p.set.Spec.Template.Spec.InitContainers[0], p.set.Spec.Template.Spec.InitContainers[1], p.set.Spec.Template.Spec.Containers[0]
	p.mustRun(t, bootstrap)
	gateway := p.start(t, sidecar)
	p.ready(t)
	validate := envoy
	validate.Args = append([]string{"--mode", "validate"}, envoy.Args...)
	p.mustRun(t, validate)
	proxy := p.start(t, envoy)
	p.clients(t)
	for _, c := range append(p.job.Spec.Template.Spec.InitContainers, p.job.Spec.Template.Spec.Containers...) {
		p.mustRun(t, c)
	}

	p.call(t, "first")
	gateway.Process.Kill() // as an engine does with who takes too much memory
	gateway.Wait()
	gateway = p.start(t, sidecar)
	p.ready(t)
	p.call(t, "second")

	slow := make(chan error, 1)
	go func() { slow <- p.try("slow") }()
	<-begun
	preStop := p.command(t, envoy.Lifecycle.PreStop.Exec.Command, nil)
	if err := preStop.Start(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- preStop.Wait() }()
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
	stop(t, proxy)
	stop(t, gateway)

	gateway = p.start(t, sidecar)
	p.ready(t)
	if usage := p.get(t, "/v1/usage/by-tag"); !strings.Contains(usage, `"requests":3`) || !strings.Contains(usage, `"tag":"team/a"`) {
		t.Errorf("usage: %s", usage)
	}
	if budgets := p.get(t, "/v1/budgets"); !strings.Contains(budgets, "team/**") {
		t.Errorf("budgets: %s", budgets)
	}
	stop(t, gateway)
}

func newPod(t *testing.T, provider string) *pod {
	t.Helper()
	dir, err := os.MkdirTemp("", "aig-") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary := filepath.Join(dir, "aigateway")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/aigateway")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	run(t, build)
	found, err := exec.Command(binary, "envoy", "install").Output()
	if err != nil {
		t.Fatal(err)
	}
	ports := freePorts(t, 3)
	p := &pod{rest: "http://" + ports[1], url: "http://" + ports[0]}
	p.paths = strings.NewReplacer("/usr/bin/aigateway", binary, "/usr/lib/aigateway/envoy", strings.TrimSpace(string(found)),
		"/etc/aigateway", dir+"/etc", "/var/lib/aigateway", dir+"/data", "/run/aigateway", dir+"/run",
		"0.0.0.0:8080", ports[0], "0.0.0.0:8081", ports[1], "127.0.0.1:8082", ports[2], "http://gateway-aigateway-admin:8081", p.rest)
	for _, folder := range []string{"etc", "data", "run"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var values map[string]any
	err = yaml.Unmarshal(fmt.Appendf(nil, `
config:
  providers: {fake: {base_url: "%s/v1", api_key: k}}
  models: [{model: fake/m, limits: {context: 1000, max_output: 100}, prices: [{input: "1", output: "1"}]}]
  drain: {accept: 1s, timeout: 1m}
adminKey: {existingSecret: s}
budgets: [{tag: "team/**", monthly: "500.00"}]
`, provider), &values)
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range strings.Split(render(t, values), "\n---\n") {
		switch o := readStrictly(t, object).(type) {
		case *appsv1.StatefulSet:
			p.set = *o
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

// command has the container's environment and nothing else. Every variable that
// comes from a Secret is the admin key here.
func (p *pod) command(t *testing.T, args []string, env []corev1.EnvVar) *exec.Cmd {
	t.Helper()
	for i := range args {
		args[i] = p.paths.Replace(args[i])
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{}
	for _, e := range env {
		if e.ValueFrom != nil {
			e.Value = adminKey
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
	eventually(t, "startup probe", func() error { return expect(http.Get(p.rest + "/readyz")) })
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
		return expect(http.DefaultClient.Do(req))
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
	}
	return err
}

func (p *pod) try(text string) error {
	req, err := http.NewRequest(http.MethodPost, p.url+"/v1/chat/completions", strings.NewReader(`{"model":"fake/m","max_tokens":50,"messages":[{"role":"user","content":"`+text+`"}]}`))
	if err != nil {
		return err
	}
	req.Header.Set("authorization", "Bearer "+adminKey)
	req.Header.Set("content-type", "application/json")
	req.Header.Set("x-aig-tag", "team/a")
	return expect(http.DefaultClient.Do(req))
}

func (p *pod) call(t *testing.T, text string) {
	t.Helper()
	eventually(t, "call "+text, func() error { return p.try(text) })
}

func (p *pod) get(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, p.rest+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("authorization", "Bearer "+adminKey)
	resp, err := http.DefaultClient.Do(req)
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
