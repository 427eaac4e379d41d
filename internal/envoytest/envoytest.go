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
	var b strings.Builder
	add := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s %d:%s", name, len(value), value)
		}
	}
	flag := func(name string, is bool) {
		if is {
			add(name, "true")
		}
	}
	count := func(name string, n int) {
		if n != 0 {
			add(name, strconv.Itoa(n))
		}
	}
	add("usage", r.Usage)
	add("model", r.Model)
	add("service_tier", r.ServiceTier)
	add("tool_usage", r.ToolUsage)
	count("finished", r.Finished)
	flag("done", r.Done)
	flag("output", r.Output)
	flag("many", r.Many)
	add("framing", r.Framing)
	flag("unread", r.Unread)
	add("id", r.AnswerID)
	count("upstream_status", r.UpstreamStatus)
	add("first_usage", r.FirstUsage)
	for _, usage := range r.OtherUsage {
		add("other_usage", usage)
	}
	for _, id := range r.ItemIDs {
		add("item", id)
	}
	return b.String()
}
