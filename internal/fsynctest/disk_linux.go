package fsynctest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

// What the kernel calls what is used of a listener.
const (
	notifReceive  = 0xc0502100
	notifSend     = 0xc0182101
	notifContinue = 1
	pollIn        = 1
)

// Disk answers the fsyncs of one process: those of its database, in the files
// ledger.db and ledger.db-wal, in turn; all others succeed.
type Disk struct {
	dir     string // of the database
	durable string // has the database as the last good fsync before the first failed one left it

	ours, theirs *os.File // the socket that the listener comes over

	mu     sync.Mutex
	failAt int // 0: none
	once   bool
	seen   int
	failed int
}

// NewDisk is a disk with a database in dir that fails no fsync. It keeps what is
// durable in a folder of its own, durable, which must exist.
func NewDisk(dir, durable string) (*Disk, error) {
	d := &Disk{dir: dir, durable: durable}
	return d, copyDatabase(dir, durable)
}

// FailAt makes the n-th fsync from now on fail with EIO, n counted from 1, and
// all after it unless once: kernels forget an error that they have told.
func (d *Disk) FailAt(n int, once bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failAt, d.once = d.seen+n, once
}

// Counts are how many fsyncs there were, and how many of them have failed.
func (d *Disk) Counts() (seen, failed int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen, d.failed
}

// Lose makes a dead process's database in dir the one that is durable: what was
// written since the last fsync that succeeded is gone.
func (d *Disk) Lose(dir string) error {
	err := os.Remove(filepath.Join(dir, "ledger.db-wal"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return copyDatabase(d.durable, dir)
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

// Attach makes cmd, which is not started yet, ask d about its fsyncs. Once it is
// started, Serve must follow.
func (d *Disk) Attach(cmd *exec.Cmd) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	d.ours, d.theirs = os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	cmd.Args = append([]string{self, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = self
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, d.theirs)
	cmd.Env = append(cmd.Env, socketEnv+"="+strconv.Itoa(2+len(cmd.ExtraFiles)))
	return nil
}

// Serve answers until the process and its children have ended.
func (d *Disk) Serve() error {
	defer d.ours.Close()
	if err := d.theirs.Close(); err != nil { // so that the end of the process ends the wait for its listener
		return err
	}
	listener, err := receiveListener(d.ours)
	if err != nil {
		return err
	}
	return errors.Join(d.answer(listener), syscall.Close(listener))
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

func (d *Disk) answer(listener int) error {
	for {
		poll := struct {
			fd              int32
			events, revents int16
		}{fd: int32(listener), events: pollIn}
		if _, _, e := syscall.Syscall(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, 0); e == syscall.EINTR {
			continue
		} else if e != 0 {
			return e
		}
		if poll.revents&pollIn == 0 { // the last process of the filter is gone
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
func (d *Disk) fsync() (fail bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen++
	if d.failAt > 0 && (d.seen == d.failAt || d.seen > d.failAt && !d.once) {
		d.failed++
		return true, nil
	}
	if d.failed == 0 { // later ones do not bring back what the failed one lost
		err = copyDatabase(d.dir, d.durable)
	}
	return false, err
}
