package envoytest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"aigateway/envoy"
)

// Find returns the Envoy binary, or fails the test with what installs it.
func Find(t testing.TB) string {
	t.Helper()
	path, err := envoy.Find("")
	if err != nil {
		t.Fatalf("this test needs Envoy %s: run `make envoy` first (%v)", envoy.Version, err)
	}
	return path
}

// Dir is a temporary directory with a path short enough for Unix sockets,
// which t.TempDir, named after the test, may not be.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "aig")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove %s: %v", dir, err)
		}
	})
	return dir
}

// Log is a writer whose content is printed if the test fails.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// NewLog prints the log under title at the end of a failed test.
func NewLog(t testing.TB, title string) *Log {
	l := &Log{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("--- %s ---\n%s", title, l.String())
		}
	})
	return l
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// String is what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Envoy is a running Envoy.
type Envoy struct {
	*envoy.Process
	URL       string // of the client listener, when that is TCP; waits for WaitReady
	SpoolPath string
	Dir       string
	log       *Log
}

// Config says what to start.
type Config struct {
	// Bootstrap is rendered with free addresses: the client listener on a free
	// loopback port, the admin interface on a Unix socket, the spool in Dir.
	// ControlAddress must be set; other fields as wished.
	Bootstrap envoy.BootstrapConfig
	// Render replaces envoy.Bootstrap; nil for the real one.
	Render func(envoy.BootstrapConfig) ([]byte, error)
	// Dir holds the files; empty: a new Dir.
	Dir string
}

// Start starts an Envoy that is stopped at the end of the test. It does not
// wait until it serves: WaitReady does.
func Start(t testing.TB, c Config) *Envoy {
	t.Helper()
	path := Find(t)
	e := &Envoy{Dir: c.Dir, log: NewLog(t, "envoy")}
	if e.Dir == "" {
		e.Dir = Dir(t)
	}
	b := c.Bootstrap
	if b.NodeID == "" {
		b.NodeID = "test"
	}
	if b.ClientsAddress == "" {
		b.ClientsAddress = "127.0.0.1:0"
	}
	b.AdminAddress = "unix:" + filepath.Join(e.Dir, envoy.FileAdminSocket)
	b.SpoolPath = filepath.Join(e.Dir, envoy.FileSpool)
	e.SpoolPath = b.SpoolPath
	render := c.Render
	if render == nil {
		render = envoy.Bootstrap
	}
	text, err := render(b)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(e.Dir, envoy.FileBootstrap)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	e.Process, err = envoy.Start(envoy.ProcessConfig{
		Path: path, BootstrapPath: file, AdminAddress: b.AdminAddress, Concurrency: 1,
		Output: e.log, Log: slog.New(slog.NewTextHandler(io.Writer(e.log), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

// WaitReady waits until Envoy serves clients and fills in URL.
func (e *Envoy) WaitReady(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := e.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	addr, err := e.Admin().ClientsAddress(ctx)
	if err != nil {
		t.Fatal(err)
	}
	e.URL = "http://" + addr
}

// EnvoyLog is what Envoy has logged.
func (e *Envoy) EnvoyLog() string { return e.log.String() }

// Eventually polls until ok returns nil, and fails the test with its last
// error after a generous deadline.
func Eventually(t testing.TB, ok func() error) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("in time it did not happen: %v", err)
		case <-tick.C:
		}
	}
}

// ReportText is r as the Lua filter writes it into metadata.
func ReportText(r envoy.Report) string {
	status, done := "", ""
	if r.UpstreamStatus != 0 {
		status = strconv.Itoa(r.UpstreamStatus)
	}
	if r.Done {
		done = "true"
	}
	var b strings.Builder
	for _, m := range [...][2]string{
		{"usage", r.Usage}, {"first_usage", r.FirstUsage}, {"model", r.Model}, {"service_tier", r.ServiceTier},
		{"tool_usage", r.ToolUsage}, {"type", r.Type}, {"done", done}, {"upstream_status", status},
	} {
		if m[1] != "" {
			fmt.Fprintf(&b, "%s %d:%s", m[0], len(m[1]), m[1])
		}
	}
	return b.String()
}
