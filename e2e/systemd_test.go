package e2e_test

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestSystemd runs the gateway as a service of Type=notify: it is ready once
// clients are served, gives signs of life, while it drains too, and says that it
// stops before it does.
func TestSystemd(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	socket := filepath.Join(g.dir, "notify")
	l, err := net.ListenPacket("unixgram", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	next := func(skip string) string {
		for {
			if err := l.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 100)
			n, _, err := l.ReadFrom(got)
			if err != nil {
				t.Fatalf("waiting for other than %q: %v", skip, err)
			}
			if text := string(got[:n]); text != skip {
				return text
			}
		}
	}
	g.program = startProcess(t, g.dir, "run", []string{"NOTIFY_SOCKET=" + socket, "WATCHDOG_USEC=200000"}, binary, "run", "--config", g.config)
	if got := next("WATCHDOG=1"); got != "READY=1" {
		t.Fatalf("the first word is %s", got)
	}
	end := g.running("fake", "systemd", "a call that is running")
	g.program.signal(syscall.SIGTERM)
	if got := next("WATCHDOG=1"); got != "STOPPING=1" {
		t.Errorf("at the end it says %s", got)
	}
	if got := next(""); got != "WATCHDOG=1" {
		t.Errorf("while it drains it says %s", got)
	}
	if r := end(); r.status != 200 {
		t.Errorf("the running call got %d %s", r.status, r.body)
	}
}
