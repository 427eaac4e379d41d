package fsynctest

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// socketEnv names the descriptor of the socket that takes the kernel's
// listener. A test binary that has it is to become its own first argument.
const socketEnv = "AIG_FSYNCTEST_SOCKET"

// What the kernel calls what is used of seccomp's user notification.
const (
	seccompSetModeFilter     = 1
	seccompNewListener       = 1 << 3
	prSetNoNewPrivs          = 38
	retAllow                 = 0x7fff0000
	retNotify                = 0x7fc00000
	bpfLoad, bpfJump, bpfRet = 0x20, 0x15, 0x06
)

// seccompCall is the number of the system call, which package syscall lacks.
func seccompCall() (uintptr, error) {
	switch runtime.GOARCH {
	case "amd64":
		return 317, nil
	case "arm64":
		return 277, nil
	}
	return 0, fmt.Errorf("the number of the system call seccomp is not known for %s", runtime.GOARCH)
}

// Main returns at once, except in a process that Disk.Attach had started: that
// one becomes the program under test, each of whose fsyncs, and those of its
// children, waits for the Disk's answer.
func Main() {
	socket := os.Getenv(socketEnv)
	if socket == "" {
		return
	}
	fmt.Fprintln(os.Stderr, become(socket))
	os.Exit(1)
}

// become returns only if it fails.
func become(socket string) error {
	fd, err := strconv.Atoi(socket)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	listener, err := filterFsyncs()
	if err != nil {
		return err
	}
	if err := syscall.Sendmsg(fd, []byte{1}, syscall.UnixRights(listener), nil, 0); err != nil {
		return fmt.Errorf("send the listener: %w", err)
	}
	env := []string{}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, socketEnv+"=") {
			env = append(env, v)
		}
	}
	// The victim may not keep the listener: while somebody has it, nobody learns
	// that the victim is gone.
	syscall.CloseOnExec(fd)
	syscall.CloseOnExec(listener)
	return fmt.Errorf("start %s: %w", os.Args[1], syscall.Exec(os.Args[1], os.Args[1:], env))
}

// filterFsyncs installs the filter in this thread and returns its listener.
func filterFsyncs() (int, error) {
	filter := []syscall.SockFilter{
		{Code: bpfLoad, K: 0}, // the number of the system call
		{Code: bpfJump, Jt: 2, K: syscall.SYS_FSYNC},
		{Code: bpfJump, Jt: 1, K: syscall.SYS_FDATASYNC},
		{Code: bpfRet, K: retAllow},
		{Code: bpfRet, K: retNotify},
	}
	program := syscall.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); e != 0 {
		return 0, fmt.Errorf("give up new privileges: %w", e)
	}
	number, err := seccompCall()
	if err != nil {
		return 0, err
	}
	listener, _, e := syscall.RawSyscall(number, seccompSetModeFilter, seccompNewListener, uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return 0, fmt.Errorf("install a seccomp filter, which this test needs Linux 5.5 and the permission for: %w", e)
	}
	return int(listener), nil
}
