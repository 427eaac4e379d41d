package envoy_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"aigateway/envoy"
	"aigateway/internal/envoytest"
)

func TestProcessBadBootstrap(t *testing.T) {
	file := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(file, []byte(`{"nonsense": 1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := envoy.Start(envoy.ProcessConfig{
		Path: envoytest.Find(t), BootstrapPath: file, AdminAddress: "unix:/nowhere", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = p.Ready(ctx)
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("Ready: %v, want Envoy's own words", err)
	}
	<-p.Done()
	if p.Err() == nil || p.Restarts() != 0 {
		t.Errorf("Err %v, %d restarts", p.Err(), p.Restarts())
	}
	p.Stop() // harmless
}

func TestProcessMissingBinary(t *testing.T) {
	c := envoy.ProcessConfig{Path: "/does/not/exist", BootstrapPath: "x", AdminAddress: "unix:/x", Log: slog.New(slog.DiscardHandler)}
	if _, err := envoy.Start(c); err == nil || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Start: %v", err)
	}
	if _, err := envoy.Start(envoy.ProcessConfig{}); err == nil {
		t.Error("an empty configuration was accepted")
	}
}

func TestProcessLife(t *testing.T) {
	e := start(t, envoy.BootstrapConfig{}, nil)
	t.Run("killed, it comes back", func(t *testing.T) { testRestart(t, e) })
	t.Run("logs are reopened", func(t *testing.T) { testReopen(t, e) })
	t.Run("it drains", func(t *testing.T) { testDrain(t, e) })
}

func testRestart(t *testing.T, e *env) {
	old := e.PID()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, func() error {
		if pid := e.PID(); pid == old || pid == 0 {
			return errors.New("no new child")
		}
		return e.Admin().Ready(t.Context())
	})
	e.WaitReady(t)
	e.set(allow("fake", envoy.Decision{Token: "t"}), answerJSON("{}"))
	if r := e.do(t, "POST", chat, "{}"); r.status != 200 || e.Restarts() != 1 {
		t.Errorf("status %d after %d restarts", r.status, e.Restarts())
	}
}

func testReopen(t *testing.T, e *env) {
	e.logged(t, e.lastID(t))
	if err := os.Rename(e.SpoolPath, e.SpoolPath+".1"); err != nil {
		t.Fatal(err)
	}
	if err := e.ReopenLogs(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.do(t, "POST", chat, "{}")
	e.logged(t, e.lastID(t))
}

func testDrain(t *testing.T, e *env) {
	release, free := gate(t)
	e.set(allow("fake", envoy.Decision{Token: "t"}), func(w http.ResponseWriter, r *http.Request) {
		answerSSE(openaiStream[0])(w, r)
		<-release
	})
	answer, drained := make(chan result, 1), make(chan string, 1)
	go func() { answer <- e.do(t, "POST", chat, "{}") }()
	envoytest.Eventually(t, func() error {
		n, err := e.Admin().ActiveRequests(t.Context())
		if err == nil && n != 1 {
			err = fmt.Errorf("%d active requests", n)
		}
		return err
	})
	go func() {
		cut, err := e.Drain(context.Background(), time.Minute)
		drained <- fmt.Sprint(cut, err)
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	envoytest.Eventually(t, func() error {
		resp, err := client.Get(e.URL + "/v1/usage")
		if err == nil {
			resp.Body.Close()
			return errors.New("new connections are still accepted")
		}
		return nil
	})
	select {
	case got := <-drained:
		t.Fatalf("Drain did not wait: %s", got)
	default:
	}
	free()
	if r := <-answer; r.status != 200 || r.body != openaiStream[0] {
		t.Errorf("the running request ended with %d %q", r.status, r.body)
	}
	if got := <-drained; got != "0 <nil>" {
		t.Errorf("Drain = %s", got)
	}
	if e.Err() != nil || e.PID() != 0 {
		t.Errorf("after Drain: %v, pid %d", e.Err(), e.PID())
	}
}

func TestDrainCutsAtItsLimit(t *testing.T) {
	e := start(t, envoy.BootstrapConfig{}, nil)
	release, _ := gate(t)
	e.set(allow("fake", envoy.Decision{Token: "t"}), func(w http.ResponseWriter, r *http.Request) {
		answerSSE(openaiStream[0])(w, r)
		<-release
	})
	req, err := http.NewRequestWithContext(t.Context(), "POST", e.URL+chat, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	cut, err := e.Drain(t.Context(), 2*time.Second) // time enough to ask Envoy what runs
	if cut != 1 || err != nil {
		t.Errorf("Drain = %d, %v; want 1 request cut", cut, err)
	}
	// The file has the call that was cut: nothing else tells of it.
	text, err := os.ReadFile(e.SpoolPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(e.lastID(t))) {
		t.Errorf("the cut call is not in the file log:\n%s", text)
	}
}

// TestDiesWithItsParent kills -9 a process that runs an Envoy.
func TestDiesWithItsParent(t *testing.T) {
	dir := envoytest.Dir(t)
	text, err := envoy.Bootstrap(bootstrapConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, envoy.FileBootstrap), text, 0o600); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0], "-test.run=^TestAsParent$")
	parent.Env = append(os.Environ(), "AIG_TEST_PARENT="+dir, "AIG_TEST_ENVOY="+envoytest.Find(t))
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		t.Fatalf("child pid %q: %v", line, err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // "signal: killed"
	envoytest.Eventually(t, func() error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return nil
		}
		return fmt.Errorf("envoy %d still runs: %s", pid, stat)
	})
}

// TestAsParent is the process that TestDiesWithItsParent kills.
func TestAsParent(t *testing.T) {
	dir := os.Getenv("AIG_TEST_PARENT")
	if dir == "" {
		return
	}
	p, err := envoy.Start(envoy.ProcessConfig{
		Path: os.Getenv("AIG_TEST_ENVOY"), BootstrapPath: filepath.Join(dir, envoy.FileBootstrap),
		AdminAddress: bootstrapConfig(dir).AdminAddress, Concurrency: 1, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	envoytest.Eventually(t, func() error {
		_, err := p.Admin().Get(t.Context(), "/server_info")
		return err
	})
	fmt.Println(p.PID())
	<-p.Done()
}
