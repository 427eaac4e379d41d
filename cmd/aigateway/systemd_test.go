package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"aigateway/internal/envoytest"
)

// TestSystemd: what is said arrives, at a path or in the abstract name space;
// signs of life come while nothing hangs, and only to whom they belong.
func TestSystemd(t *testing.T) {
	for _, socket := range []string{filepath.Join(envoytest.Dir(t), "notify"), fmt.Sprintf("@aigateway-test-%d", os.Getpid())} {
		l, err := net.ListenPacket("unixgram", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		env := map[string]string{"NOTIFY_SOCKET": socket, "WATCHDOG_USEC": "2000"}
		s, err := newSystemd(func(name string) string { return env[name] }, slog.New(slog.DiscardHandler))
		if err != nil || s.every != time.Millisecond {
			t.Fatalf("%+v, %v", s, err)
		}
		s.say("READY=1")
		wantDatagram(t, l, "READY=1")
		hang, done, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
		go func() { s.watch(done, func() { <-hang }); close(ended) }()
		s.say("STILL")
		wantDatagram(t, l, "STILL") // and no sign of life before it
		close(hang)
		wantDatagram(t, l, "WATCHDOG=1")
		wantDatagram(t, l, "WATCHDOG=1")
		close(done)
		<-ended

		env["WATCHDOG_PID"] = "1"
		s, err = newSystemd(func(name string) string { return env[name] }, slog.New(slog.DiscardHandler))
		if err != nil || s.every != 0 {
			t.Errorf("the watchdog of another process: %+v, %v", s, err)
		}
	}
	env := map[string]string{"NOTIFY_SOCKET": "/nonexistent"}
	if _, err := newSystemd(func(name string) string { return env[name] }, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a socket that is not there is no error")
	}
}

func wantDatagram(t *testing.T, l net.PacketConn, want string) {
	t.Helper()
	if err := l.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	n, _, err := l.ReadFrom(got)
	if err != nil || string(got[:n]) != want {
		t.Fatalf("systemd was told %q, %v; want %s", got[:n], err, want)
	}
}
