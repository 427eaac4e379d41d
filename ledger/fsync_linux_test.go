package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/internal/fsynctest"
	"aigateway/ledger"
)

// disk is a victim's directory on a disk whose fsyncs fail.
type disk struct {
	*fsynctest.Disk
	dir string
}

// live runs a victim on d until it ends, and returns what it said at last.
func (d *disk) live(t *testing.T, o *oracle) (stopped string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaultVictim$")
	cmd.Env = append(os.Environ(), faultDir+"="+d.dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err := errors.Join(err, d.Attach(cmd)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- d.Serve() }()
	deadline := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	stopped = o.listen(out)
	if !deadline.Stop() {
		seen, failed := d.Counts()
		t.Errorf("the victim went on for a minute after %d failed fsyncs of %d", failed, seen)
	}
	_ = cmd.Wait()
	if err := <-served; err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return stopped
}

// TestFailedFsync fails an fsync of a serving process in the kernel, early and
// late, once or for good. It must stop without another try. Then what it wrote
// is there, or is lost up to the last fsync that succeeded, with the machine
// running on or without its memory: each call that was granted is held, and
// each billed one is charged once.
func TestFailedFsync(t *testing.T) {
	t.Parallel()
	at := []int{1, 2, 3, 5, 8, 13, 21, 34}
	if testing.Short() {
		at = []int{1, 8}
	}
	for _, failAt := range at {
		for _, once := range []bool{false, true} {
			t.Run(fmt.Sprintf("fsync %d, once %v", failAt, once), func(t *testing.T) {
				dir, id := faultBudget(t)
				on, err := fsynctest.NewDisk(dir, t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				on.FailAt(failAt, once)
				d, o := &disk{on, dir}, &oracle{}
				said := d.live(t, o)
				seen, failed := d.Counts()
				if !strings.Contains(said, "disk I/O error") || !strings.Contains(said, "make room on the disk, or check it, and start again") {
					t.Errorf("the victim said %q after %d fsyncs", said, seen)
				}
				if failed == 0 {
					t.Fatalf("only %d fsyncs of the database", seen)
				}
				for _, lost := range []bool{false, true} {
					for _, reboot := range []bool{false, true} {
						d.restart(t, o, id, lost, reboot)
					}
				}
			})
		}
	}
}

// restart recovers a copy of what the failure left.
func (d *disk) restart(t *testing.T, o *oracle, id string, lost, reboot bool) {
	t.Helper()
	dir := t.TempDir()
	files, err := os.ReadDir(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), "-shm") { // as SQLite's own recovery has it
			continue
		}
		text, err := os.ReadFile(filepath.Join(d.dir, f.Name()))
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, f.Name()), text, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if lost {
		if err := d.Lose(dir); err != nil {
			t.Fatal(err)
		}
	}
	what := fmt.Sprintf("lost %v, reboot %v", lost, reboot)
	b := reopen(t, dir, &clock{t: time.Now()}, func(c *ledger.Config) {
		if reboot {
			ledger.WithBoot(c, "another")
		}
	})
	if c := b.Counters(id); c.Used < o.exposure() || c.Used > victimCap {
		t.Errorf("%s: exposure %d, recovered %+v", what, o.exposure(), c)
	}
	if c := b.Counters(id); !reboot && c.Orphan > 0 {
		t.Errorf("%s: %+v: undecided, though the ring has every call", what, c)
	}
	if o.billed > 0 {
		o.settledExactly(t, b, id)
	}
	b.agree()
	b.shut()
}
