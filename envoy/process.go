package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ProcessConfig is how to run Envoy as a child. Path, BootstrapPath,
// AdminAddress and Log are required.
type ProcessConfig struct {
	Path          string    // the binary, from Find
	BootstrapPath string    // a file with what Bootstrap rendered
	AdminAddress  string    // as in the bootstrap
	Concurrency   int       // worker threads; 0: one per core
	LogLevel      string    // Envoy's --log-level; empty: warning
	Output        io.Writer // Envoy's own log; nil discards it
	Log           *slog.Logger
}

// Process is a supervised Envoy: when it dies it is started again, after a
// pause that grows from 100 ms to 10 s. It gets SIGTERM when our process dies,
// however that happens.
type Process struct {
	c        ProcessConfig
	admin    *Admin
	done     chan struct{}
	stop     chan struct{} // closed once by Stop
	stopOnce sync.Once
	restarts atomic.Int64
	tail     tailWriter

	mu  sync.Mutex // guards pid and err
	pid int        // of the running child, 0 between two
	err error      // why supervision ended
}

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	// stableAfter is the life that makes a process count as well. A first one
	// that exits sooner, by itself, cannot run with its configuration and is not
	// started again; any that lives longer resets the pause.
	stableAfter = 5 * time.Second
	// killAfter is how long a child may take to follow SIGTERM.
	killAfter = 5 * time.Second
)

// Start starts Envoy and watches over it until Stop or Drain. It returns once
// the first child runs; Ready tells when it serves. An Envoy that exits at once
// is not started again: see Done and Err.
func Start(c ProcessConfig) (*Process, error) {
	if c.Path == "" || c.BootstrapPath == "" || c.AdminAddress == "" || c.Log == nil {
		return nil, errors.New("start envoy: Path, BootstrapPath, AdminAddress and Log are required")
	}
	if c.Output == nil {
		c.Output = io.Discard
	}
	p := &Process{c: c, admin: NewAdmin(c.AdminAddress), done: make(chan struct{}), stop: make(chan struct{})}
	p.tail.w = c.Output
	started := make(chan error, 1)
	go p.supervise(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	return p, nil
}

// Admin is the child's admin interface.
func (p *Process) Admin() *Admin { return p.admin }

// Done is closed when no child runs any more and none will.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is why supervision ended; nil before that and after Stop or Drain.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Restarts counts the children started after the first.
func (p *Process) Restarts() int64 { return p.restarts.Load() }

// PID is the running child's; 0 between two children.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pid
}

func (p *Process) args() []string {
	level := p.c.LogLevel
	if level == "" {
		level = "warning"
	}
	args := []string{
		"-c", p.c.BootstrapPath, "--disable-hot-restart", "--log-level", level,
		"--file-flush-interval-msec", "200", // the spool must not lag behind what clients saw
	}
	if p.c.Concurrency > 0 {
		args = append(args, "--concurrency", strconv.Itoa(p.c.Concurrency))
	}
	return args
}

// supervise runs children one after the other. The kernel sends Pdeathsig when
// the thread that started the child ends, not the process: so this goroutine
// keeps one thread to itself until no child is left.
func (p *Process) supervise(started chan<- error) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	defer close(p.done)
	backoff := firstBackoff
	for first := true; ; first = false {
		born := time.Now()
		cmd, err := p.spawn()
		if first {
			started <- err
			if err != nil {
				return
			}
		}
		if err == nil {
			err = p.wait(cmd)
		}
		if p.stopping() {
			return
		}
		lived := time.Since(born)
		if err == nil {
			err = errors.New("exit status 0")
		}
		if exit := (*exec.ExitError)(nil); first && lived < stableAfter && errors.As(err, &exit) && exit.Exited() {
			p.fail(fmt.Errorf("envoy exited at start: %w%s", err, p.tail.last()))
			return
		}
		if lived >= stableAfter {
			backoff = firstBackoff
		}
		p.c.Log.Error("envoy exited, starting it again", "err", err, "lived", lived, "pause", backoff)
		select {
		case <-p.stop:
			return
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, maxBackoff)
		p.restarts.Add(1)
	}
}

func (p *Process) spawn() (*exec.Cmd, error) {
	cmd := exec.Command(p.c.Path, p.args()...)
	cmd.Stdout, cmd.Stderr = &p.tail, &p.tail
	cmd.WaitDelay = time.Second
	// Its own process group: a terminal's Ctrl-C is ours to handle, by draining.
	cmd.SysProcAttr = childAttr()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p.pid = cmd.Process.Pid
	return cmd, nil
}

// wait waits for the child to end and, once Stop was called, makes it.
func (p *Process) wait(cmd *exec.Cmd) error {
	exited := make(chan struct{})
	go func() {
		select {
		case <-exited:
			return
		case <-p.stop:
		}
		p.signal(cmd, syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(killAfter):
			p.c.Log.Warn("envoy did not stop, killing it")
			p.signal(cmd, syscall.SIGKILL)
		}
	}()
	err := cmd.Wait()
	close(exited)
	p.mu.Lock()
	p.pid = 0
	p.mu.Unlock()
	return err
}

func (p *Process) signal(cmd *exec.Cmd, s syscall.Signal) {
	// An error means that it has ended by itself, which is what we want.
	_ = cmd.Process.Signal(s)
}

func (p *Process) stopping() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

func (p *Process) fail(err error) {
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	p.c.Log.Error("envoy cannot run", "err", err)
}

const pollEvery = 25 * time.Millisecond

// Ready waits until Envoy serves clients, ctx ends or supervision ends.
func (p *Process) Ready(ctx context.Context) error {
	for {
		err := p.admin.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return errors.Join(p.Err(), errEnded)
		case <-ctx.Done():
			return fmt.Errorf("wait for envoy: %w: %w%s", ctx.Err(), err, p.tail.last())
		case <-time.After(pollEvery):
		}
	}
}

var errEnded = errors.New("envoy is not running")

// ReopenLogs makes Envoy reopen its access log files, after one was renamed.
func (p *Process) ReopenLogs(ctx context.Context) error { return p.admin.Post(ctx, "/reopen_logs") }

// Drain stops Envoy kindly: it takes no new connections, asks clients to close
// theirs, and ends when the running requests have ended, at the latest when
// timeout or ctx does. It returns how many requests it cut off.
func (p *Process) Drain(ctx context.Context, timeout time.Duration) (cut int, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	go func() {
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	cut, err = p.admin.Drain(ctx)
	select {
	case <-p.done:
		return cut, p.Err()
	default:
	}
	p.Stop()
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // the caller's limit, not a failure; cut says what it cost
	}
	if err != nil {
		return cut, fmt.Errorf("drain envoy: %w", err)
	}
	return cut, nil
}

// Stop ends Envoy with SIGTERM, or SIGKILL if it does not follow, and returns
// when it is gone. Running requests are cut; Drain first to avoid that.
func (p *Process) Stop() {
	p.stopOnce.Do(func() { close(p.stop) })
	<-p.done
}

// tailWriter passes Envoy's log on and remembers its end for error messages.
type tailWriter struct {
	mu   sync.Mutex
	w    io.Writer
	tail []byte
}

const tailSize = 2 << 10

func (t *tailWriter) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tail = append(t.tail, b[max(0, len(b)-tailSize):]...)
	t.tail = t.tail[max(0, len(t.tail)-tailSize):]
	// A full disk under our log must not block or kill Envoy.
	_, _ = t.w.Write(b)
	return len(b), nil
}

// last is the last lines written, for the end of an error message.
func (t *tailWriter) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.tail)), "\n")
	lines = lines[max(0, len(lines)-4):]
	if lines[0] == "" {
		return ""
	}
	return ": envoy says: " + strings.Join(lines, "\n")
}
