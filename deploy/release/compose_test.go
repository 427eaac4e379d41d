package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"

	"aigateway/internal/pgtest"
)

const composeFolder = "../compose"

// TestCompose reads the compose file as engines do: what it mounts is there, its
// images have versions, and others reach clients' port alone.
func TestCompose(t *testing.T) {
	project := compose(t)
	for name, s := range project.Services {
		_, version, _ := strings.Cut(s.Image, ":")
		if version == "" || version == "latest" || s.Restart == "" {
			t.Errorf("%s: image %s, restart %q", name, s.Image, s.Restart)
		}
		for _, v := range s.Volumes {
			switch _, err := os.Stat(v.Source); {
			case v.Type == types.VolumeTypeBind && (err != nil || !v.ReadOnly):
				t.Errorf("%s mounts %s: %v, read only: %v", name, v.Source, err, v.ReadOnly)
			case v.Type == types.VolumeTypeVolume && project.Volumes[v.Source].Name == "":
				t.Errorf("%s mounts %s, which is no volume", name, v.Source)
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" && p.Published != "8080" {
				t.Errorf("%s: port %s is open to %q", name, p.Published, p.HostIP)
			}
		}
	}
	var sources struct {
		Datasources []struct{ Name, Type, URL string }
	}
	var boards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	readYAML(t, "grafana/datasources.yaml", &sources)
	readYAML(t, "grafana/dashboards.yaml", &boards)
	grafana := project.Services["grafana"]
	if len(sources.Datasources) != 1 || sources.Datasources[0].URL != "http://prometheus:"+project.Services["prometheus"].Ports[0].Published || len(boards.Providers) != 1 ||
		!slices.ContainsFunc(grafana.Volumes, func(v types.ServiceVolumeConfig) bool {
			return filepath.Dir(v.Target) == boards.Providers[0].Options.Path
		}) {
		t.Errorf("Grafana has %+v and looks in %+v", sources, boards)
	}
}

// TestComposeShape starts what the compose file starts, as far as there are
// programs for it here: a PostgreSQL, the gateway, and Debian's Prometheus, which reads it with
// the key that the documents make, and evaluates every alert.
func TestComposeShape(t *testing.T) {
	project := compose(t)
	dir, err := os.MkdirTemp("", "aig-") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary := filepath.Join(dir, "aigateway")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/aigateway")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	mustRun(t, build)
	mustRun(t, exec.Command(binary, "envoy", "install"))
	clients, rest, grpc, web := freeAddress(t), freeAddress(t), freeAddress(t), freeAddress(t)
	paths := strings.NewReplacer("postgres://aigateway:${POSTGRES_PASSWORD}@/aigateway?host=/run/postgresql", pgtest.Start(t).URL("admin"),
		"0.0.0.0:8080", clients, "0.0.0.0:8081", rest, "127.0.0.1:8082", grpc, "aigateway:8081", rest,
		"/etc/prometheus", dir+"/prometheus", "/etc/aigateway", dir+"/etc", "=/prometheus", "="+dir+"/series", "/run/secrets", dir)
	for _, s := range project.Services {
		for _, v := range s.Volumes {
			if to := paths.Replace(v.Target); v.Type == types.VolumeTypeBind && to != v.Target {
				text, err := os.ReadFile(v.Source)
				if err := errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, []byte(paths.Replace(string(text))), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	gateway := project.Services["aigateway"]
	env := []string{"AIGATEWAY_DATA_DIR=" + dir + "/data", "HOME=" + os.Getenv("HOME"), "OPENAI_API_KEY=" + *gateway.Environment["OPENAI_API_KEY"]}
	if *gateway.Environment["POSTGRES_PASSWORD"] != *project.Services["postgres"].Environment["POSTGRES_PASSWORD"] {
		t.Error("the gateway does not know the database's password")
	}
	start(t, env, append([]string{binary}, replaced(paths, gateway.Command)...)...)
	await(t, "the gateway", func() error { _, err := getText("http://" + rest + "/readyz"); return err })
	create := exec.Command(binary, "keys", "create", "--name", "prometheus", "--scope", "usage")
	create.Env = append(env, "AIGATEWAY_URL=http://"+rest) // the container has its port
	key, err := create.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/prometheus_key", key, 0o600); err != nil {
		t.Fatal(err)
	}
	program := debianProgram(t, dir, "prometheus")
	start(t, nil, append([]string{program, "--web.listen-address=" + web}, replaced(paths, project.Services["prometheus"].Command)...)...)
	await(t, "Prometheus reads the gateway", func() error {
		text, err := getText("http://" + web + "/api/v1/query?query=aig_ledger_up")
		if err == nil && !strings.Contains(text, `"job":"aigateway"`) {
			err = fmt.Errorf("it says %s", text)
		}
		return err
	})
	text, err := getText("http://" + web + "/api/v1/rules")
	if err != nil {
		t.Fatal(err)
	}
	alerts, err := os.ReadFile("../prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Count(text, `"type":"alerting"`), strings.Count(string(alerts), "alert: "); got != want || want == 0 {
		t.Errorf("Prometheus has %d alerts, want %d: %s", got, want, text)
	}
}

func compose(t *testing.T) *types.Project {
	t.Helper()
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: composeFolder, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(composeFolder, "docker-compose.yaml")}},
		Environment: types.Mapping{"AIGATEWAY_TAG": "1.2.3", "OPENAI_API_KEY": "sk-test", "GRAFANA_PASSWORD": "x", "POSTGRES_PASSWORD": "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(composeFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func replaced(r *strings.Replacer, args []string) []string {
	var out []string
	for _, a := range args {
		out = append(out, r.Replace(a))
	}
	return out
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// debianProgram is a program of the package prometheus.
func debianProgram(t *testing.T, dir, name string) string {
	t.Helper()
	r := newRelease(t, t.TempDir())
	packages, err := r.lock.fetchTools(t.Context(), runtime.GOARCH, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, exec.Command("dpkg-deb", "--extract", packages[0].path, dir))
	return filepath.Join(dir, "usr/bin", name)
}

func start(t *testing.T, env []string, args ...string) {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
}

// await tries for as long as a slow machine may take.
func await(t *testing.T, what string, try func() error) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); ; {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		<-time.After(100 * time.Millisecond)
	}
}

func getText(url string) (string, error) {
	resp, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return string(text), err
}
