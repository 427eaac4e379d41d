package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// systemd is told how this process is, by the datagrams of sd_notify(3). A nil
// one is told nothing: nobody asked.
type systemd struct {
	conn  net.Conn
	log   *slog.Logger
	every time.Duration // between signs of life; 0: nobody waits for them
}

// newSystemd reads what systemd says in the environment of a service.
func newSystemd(getenv func(string) string, log *slog.Logger) (*systemd, error) {
	socket := getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil, nil
	}
	conn, err := net.Dial("unixgram", socket) // Go too writes @ for an abstract one
	if err != nil {
		return nil, fmt.Errorf("reach systemd at $NOTIFY_SOCKET: %w", err)
	}
	s := &systemd{conn: conn, log: log}
	if pid := getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return s, nil // another's watchdog
	}
	usec, err := strconv.ParseInt(getenv("WATCHDOG_USEC"), 10, 64)
	if err == nil && usec > 0 {
		s.every = time.Duration(usec) * time.Microsecond / 2 // as sd_watchdog_enabled(3) says
	}
	return s, nil
}

func (s *systemd) say(state string) {
	if s == nil {
		return
	}
	if _, err := s.conn.Write([]byte(state)); err != nil {
		s.log.Warn("systemd was not told", "state", state, "error", err)
	}
}

// watch gives signs of life until done is closed, each once alive has returned:
// a process that hangs there gives none, and is started again.
func (s *systemd) watch(done <-chan struct{}, alive func()) {
	if s == nil || s.every == 0 {
		return
	}
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		alive()
		s.say("WATCHDOG=1")
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}
