package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"aigateway/ledger"
)

// fsyncEnv makes the test binary hand its fsyncs to the test, see fsyncVictim:
// it names the socket that takes the kernel's listener.
const fsyncEnv = "LEDGER_FSYNC_SOCKET"

// What the kernel calls what is used of seccomp's user notification (Linux 5.5);
// it needs no privilege, and no tool.
const (
	seccompSetModeFilter     = 1
	seccompNewListener       = 1 << 3
	prSetNoNewPrivs          = 38
	notifReceive             = 0xc0502100
	notifSend                = 0xc0182101
	notifContinue            = 1
	retAllow                 = 0x7fff0000
	retNotify                = 0x7fc00000
	bpfLoad, bpfJump, bpfRet = 0x20, 0x15, 0x06
)

var seccompCall = map[string]uintptr{"amd64": 317, "arm64": 277}[runtime.GOARCH]

// fsyncVictim becomes TestFaultVictim, each of whose fsyncs waits for the
// answer of whoever listens at the socket.
func fsyncVictim() error {
	runtime.LockOSThread()
	filter := []syscall.SockFilter{
		{Code: bpfLoad, K: 0}, // the number of the system call
		{Code: bpfJump, Jt: 2, K: syscall.SYS_FSYNC},
		{Code: bpfJump, Jt: 1, K: syscall.SYS_FDATASYNC},
		{Code: bpfRet, K: retAllow},
		{Code: bpfRet, K: retNotify},
	}
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("give up new privileges: %w", e)
	}
	listener, _, e := syscall.RawSyscall(seccompCall, seccompSetModeFilter, seccompNewListener, uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return fmt.Errorf("install a seccomp filter, which this test needs Linux 5.5 and the permission for: %w", e)
	}
	socket, err := strconv.Atoi(os.Getenv(fsyncEnv))
	if err != nil {
		return err
	}
	if err := syscall.Sendmsg(socket, []byte{1}, syscall.UnixRights(int(listener)), nil, 0); err != nil {
		return fmt.Errorf("send the listener: %w", err)
	}
	env := []string{}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, fsyncEnv+"=") {
			env = append(env, v)
		}
	}
	return syscall.Exec("/proc/self/exe", os.Args, env)
}

type notification struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type answer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// disk answers a process's fsyncs. From the failing one on, all fail or, if
// once, that one only, as a kernel does that forgets an error it has told.
type disk struct {
	dir, durable string // durable has the database as the last good fsync left it
	failAt       int
	once         bool
	seen         int
	failed       int
}

// serve answers until the process has ended.
func (d *disk) serve(listener int) error {
	for {
		poll := struct {
			fd              int32
			events, revents int16
		}{fd: int32(listener), events: 1}
		if _, _, e := syscall.Syscall(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, 0); e == syscall.EINTR {
			continue
		} else if e != 0 {
			return e
		}
		if poll.revents&1 == 0 { // the last process of the filter is gone
			return nil
		}
		var n notification
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(listener), notifReceive, uintptr(unsafe.Pointer(&n))); e == syscall.ENOENT || e == syscall.EINTR {
			continue
		} else if e != 0 {
			return e
		}
		a := answer{id: n.id, flags: notifContinue}
		if file, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, n.args[0])); err == nil && strings.HasPrefix(filepath.Base(file), "ledger.db") {
			fail, err := d.fsync()
			if err != nil {
				return err
			}
			if fail {
				a.flags, a.errno = 0, -int32(syscall.EIO)
			}
		}
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(listener), notifSend, uintptr(unsafe.Pointer(&a))); e != 0 && e != syscall.ENOENT {
			return e
		}
	}
}

// fsync decides on one fsync of the database, whose process waits for it.
func (d *disk) fsync() (fail bool, err error) {
	d.seen++
	if d.seen == d.failAt || d.seen > d.failAt && !d.once {
		d.failed++
		return true, nil
	}
	if d.failed == 0 { // later ones do not bring back what the failed one lost
		err = copyDatabase(d.dir, d.durable)
	}
	return false, err
}

func copyDatabase(from, to string) error {
	for _, name := range []string{"ledger.db", "ledger.db-wal"} {
		in, err := os.ReadFile(filepath.Join(from, name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := errors.Join(err, os.WriteFile(filepath.Join(to, name), in, 0o600)); err != nil {
			return err
		}
	}
	return nil
}

// live runs a victim on d until it ends, and returns what it said at last.
func (d *disk) live(t *testing.T, o *oracle) (stopped string) {
	t.Helper()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFaultVictim$")
	cmd.Env = append(os.Environ(), faultDir+"="+d.dir, fsyncEnv+"=3")
	cmd.ExtraFiles = []*os.File{theirs}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	err = cmd.Start()
	if err := errors.Join(err, theirs.Close()); err != nil {
		t.Fatal(err)
	}
	listener, err := receiveListener(ours)
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		t.Fatalf("%v: %s", err, stderr.String())
	}
	served := make(chan error, 1)
	go func() { served <- d.serve(listener) }()
	deadline := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	stopped = o.listen(out)
	if !deadline.Stop() {
		t.Errorf("the victim went on for a minute after %d failed fsyncs of %d", d.failed, d.seen)
	}
	_ = cmd.Wait()
	if err := errors.Join(<-served, syscall.Close(listener)); err != nil {
		t.Fatal(err)
	}
	return stopped
}

func receiveListener(from *os.File) (int, error) {
	rights := make([]byte, syscall.CmsgSpace(4))
	_, n, _, _, err := syscall.Recvmsg(int(from.Fd()), make([]byte, 1), rights, syscall.MSG_CMSG_CLOEXEC)
	if err != nil {
		return 0, err
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return 0, fmt.Errorf("the victim sent no listener: %v", err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return 0, fmt.Errorf("the victim sent no listener: %v", err)
	}
	return fds[0], nil
}

// TestFailedFsync fails an fsync of a serving process in the kernel, early and
// late, once or for good. It must stop without another try. Then what it wrote
// is there, or is lost up to the last fsync that succeeded, with the machine
// running on or without its memory: each call that was granted is held, and
// each billed one is charged once.
func TestFailedFsync(t *testing.T) {
	for _, failAt := range []int{1, 2, 3, 5, 8, 13, 21, 34} {
		for _, once := range []bool{false, true} {
			t.Run(fmt.Sprintf("fsync %d, once %v", failAt, once), func(t *testing.T) {
				dir, id := faultBudget(t)
				d := &disk{dir: dir, durable: t.TempDir(), failAt: failAt, once: once}
				if err := copyDatabase(dir, d.durable); err != nil {
					t.Fatal(err)
				}
				o := &oracle{}
				if said := d.live(t, o); !strings.Contains(said, "disk I/O error") {
					t.Errorf("the victim said %q after %d fsyncs", said, d.seen)
				}
				if d.failed == 0 {
					t.Fatalf("only %d fsyncs of the database", d.seen)
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
		if err := os.Remove(filepath.Join(dir, "ledger.db-wal")); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if err := copyDatabase(d.durable, dir); err != nil {
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
