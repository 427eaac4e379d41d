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
