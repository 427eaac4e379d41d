package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// process is a child whose output goes to a file, shown when the test fails.
type process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	log    string
	done   chan struct{} // closed when it has ended
	wanted atomic.Bool   // its end is the test's doing
}

var logs atomic.Int64

func startProcess(t testing.TB, dir, name string, env []string, path string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), env...)
	return startCommand(t, dir, name, cmd)
}

func startCommand(t testing.TB, dir, name string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: cmd, log: filepath.Join(dir, fmt.Sprintf("%s-%d.log", name, logs.Add(1))), done: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the state below says how it ended
		close(p.done)
	}()
	t.Cleanup(func() {
		if p.ended() && !p.wanted.Load() {
			t.Errorf("%s ended by itself: %v", name, p.cmd.ProcessState)
		}
		p.stop()
		if out := p.output(); strings.Contains(out, "DATA RACE") || strings.Contains(out, "panic: ") {
			t.Errorf("%s raced or panicked:\n%s", name, out)
		}
		if out := p.output(); strings.Contains(out, "a call cost more than its bound") {
			t.Errorf("%s charged a call above its bound:\n%s", name, out)
		}
		if t.Failed() {
			t.Logf("last output of %s:\n%s", name, p.tail(40))
		}
	})
	return p
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// signal sends sig; the process may end from now on.
func (p *process) signal(sig syscall.Signal) {
	p.wanted.Store(true)
	_ = p.cmd.Process.Signal(sig) // fails when it has ended already
}

// freeze is SIGSTOP, and returns when no thread runs any more.
func (p *process) freeze() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, time.Minute, p.name+" stands still", func() bool {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.pid()))
		for _, file := range stats {
			stat, err := os.ReadFile(file)
			if err != nil || !bytes.Contains(stat, []byte(") T ")) {
				return false
			}
		}
		return err == nil && len(stats) > 0
	})
}

// kill is kill -9, and returns when the process is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop is SIGTERM, then SIGKILL after half a minute; it returns the exit code.
func (p *process) stop() int {
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		p.t.Errorf("%s did not stop within a minute of SIGTERM", p.name)
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) output() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(data)
}

func (p *process) tail(lines int) string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// children are the pids of a process's direct children.
func children(t testing.TB, pid int) []int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue // it ended meanwhile
		}
		// The fields after the command's name, which is in parentheses: state, parent.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			found = append(found, child)
		}
	}
	return found
}

// eventually polls until ok, or fails the test.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", within, what)
		}
		<-tick.C
	}
}

// pause lets the world go on for d, for tests that need a stretch of load.
func pause(d time.Duration) { <-time.After(d) }
