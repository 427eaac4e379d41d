package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aigateway/internal/envoytest"
)

// TestOpenDataDirectoryIsTold starts the program, which ends at a port that is
// taken, on data directories of all kinds: it says which ones others may enter,
// and makes one that nobody else may.
func TestOpenDataDirectoryIsTold(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, tc := range []struct {
		mode os.FileMode // 0: not there
		told string      // empty: nothing
	}{
		{0, ""}, {0o700, ""}, {0o750, "mode=0750"}, {0o705, "mode=0705"}, {0o711, "mode=0711"}, {0o777, "mode=0777"},
	} {
		t.Run(fmt.Sprintf("%04o", tc.mode), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			if tc.mode != 0 {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(dir, tc.mode); err != nil { // which no umask changes
					t.Fatal(err)
				}
			}
			config := writeFile(t, "aigateway.yaml", fmt.Sprintf(`
listen: {control: "unix:%s/control.sock", rest: %q}
data_dir: %s
providers:
  openai: {preset: openai, api_key: sk-x}
`, envoytest.Dir(t), taken.Addr(), dir))
			r := runCLI(t, nil, "serve", "--config", config)
			wantError(t, r, exitError, "listen.rest", "free the port")
			const warning = "other users may enter the data directory"
			told := strings.Contains(r.stderr, warning)
			if told != (tc.told != "") || told && !(strings.Contains(r.stderr, tc.told) && strings.Contains(r.stderr, "data_dir="+dir)) {
				t.Errorf("a directory of mode %04o: %s", tc.mode, r.stderr)
			}
			info, err := os.Stat(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); tc.mode == 0 && got != 0o700 {
				t.Errorf("the directory was made with mode %04o", got)
			}
		})
	}
}

// TestSocketsReplaceNothingElse starts listeners where something is: a socket that
// nobody listens at any more makes way, and nothing else does.
func TestSocketsReplaceNothingElse(t *testing.T) {
	dir := envoytest.Dir(t)
	kept := writeFile(t, "notes.txt", "kept")
	makes := map[string]func(path string) error{
		"a file":             func(path string) error { return os.WriteFile(path, []byte("kept"), 0o600) },
		"a link to a file":   func(path string) error { return os.Symlink(kept, path) },
		"an empty directory": func(path string) error { return os.Mkdir(path, 0o700) },
	}
	for name, put := range makes {
		path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		l, err := listen("listen.control", "unix:"+path)
		if err == nil {
			l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "listen.control") || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("%s: %v", name, err)
		}
		if at, err := os.Lstat(path); err != nil || at.Mode().Type() == os.ModeSocket {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
	path := filepath.Join(dir, "live.sock")
	live, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if l, err := listen("listen.control", "unix:"+path); err == nil || !strings.Contains(err.Error(), "another process listens") {
		t.Errorf("a socket of another: %v, %v", l, err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("its listener has lost it: %v", err)
	} else {
		c.Close()
	}
	path = filepath.Join(dir, "stale.sock")
	stale, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	stale.(*net.UnixListener).SetUnlinkOnClose(false) // as one that was killed leaves it
	stale.Close()
	l, err := listen("listen.control", "unix:"+path)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// TestStatementsHaveTheGatewaysZone starts the program, which ends at a port
// that is taken, with a time zone: statements of its data directory begin their
// months there.
func TestStatementsHaveTheGatewaysZone(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := filepath.Join(t.TempDir(), "data")
	for _, zone := range []string{"Asia/Kolkata", "America/New_York"} { // the last start counts
		config := writeFile(t, "aigateway.yaml", fmt.Sprintf("listen: {control: \"unix:%s/control.sock\", rest: %q}\ndata_dir: %s\ntime_zone: %s\n", envoytest.Dir(t), taken.Addr(), dir, zone))
		wantError(t, runCLI(t, nil, "serve", "--config", config), exitError, "listen.rest", "free the port")
		r := runCLI(t, nil, "statement", "export", "--data-dir", dir, "--month", "2026-04", "--tag", "a")
		if r.code != 0 || !strings.Contains(r.stdout, fmt.Sprintf(`"time_zone": %q`, zone)) {
			t.Errorf("%s: %+v", zone, r)
		}
	}
}
