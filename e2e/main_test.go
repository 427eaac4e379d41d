package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"aigateway/internal/fsynctest"
)

// binary is the aigateway that TestMain built, and workDir the short directory
// everything of this run lives in: a socket's path has at most 108 bytes.
var binary, workDir string

func TestMain(m *testing.M) {
	fsynctest.Main()
	os.Exit(testMain(m))
}

// testMain builds the binary once, with the race detector if E2E_RACE is set. It
// is the shipped one but for the tag faults: told to, it dies in a commit.
func testMain(m *testing.M) int {
	base := os.TempDir()
	if len(base) > 40 {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "aig")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	workDir, binary = dir, filepath.Join(dir, "aigateway")
	args := []string{"build", "-tags", "faults", "-o", binary}
	if os.Getenv("E2E_RACE") != "" {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "aigateway/cmd/aigateway")...)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build aigateway:", err)
		return 1
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		// Most of these tests wait: for deadlines, delays and restarts.
		if err := f.Value.Set("6"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return m.Run()
}
