package pgtest

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

//go:embed pgbouncer/install.sh
var installPgBouncer string

// pgBouncer is the folder of its files.
var pgBouncer = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("bash", "-c", installPgBouncer)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("get PgBouncer from Debian's archive: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
})

// PgBouncer starts one in front of s, until the test ends, and returns the address of
// s's superuser there. mode is its pool_mode; settings are more lines of its
// configuration.
func (s *Server) PgBouncer(mode string, settings ...string) (address string) {
	s.t.Helper()
	home, err := pgBouncer()
	s.must(err)
	server := filepath.Dir(s.Socket())
	dir, err := os.MkdirTemp(server, "b")
	s.must(err)
	s.must(os.Chmod(dir, 0o777)) // it runs as a user without rights
	lines := []string{"[databases]", "* = host=" + server, "[pgbouncer]", "listen_port = 5432", "unix_socket_dir = " + dir,
		"auth_type = trust", "auth_file = " + filepath.Join(dir, "users"), "pool_mode = " + mode}
	s.must(os.WriteFile(filepath.Join(dir, "users"), []byte(`"admin" ""`+"\n"), 0o644))
	s.must(os.WriteFile(filepath.Join(dir, "ini"), []byte(strings.Join(append(lines, settings...), "\n")+"\n"), 0o644))
	cmd := s.Command(context.Background(), "pgbouncer", filepath.Join(dir, "ini"))
	cmd.Path = filepath.Join(home, "usr/sbin/pgbouncer")
	libraries, err := filepath.Glob(filepath.Join(home, "usr/lib/*-linux-gnu"))
	s.must(err)
	cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
	cmd.Stdout, cmd.Stderr = s.t.Output(), s.t.Output()
	s.must(cmd.Start())
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("unix", filepath.Join(dir, ".s.PGSQL.5432"))
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			s.must(fmt.Errorf("PgBouncer does not listen: %w", err))
		}
	}
	return strings.Replace(s.URL("admin"), url.QueryEscape(server), url.QueryEscape(dir), 1)
}
