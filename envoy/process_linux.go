package envoy

import "syscall"

// childAttr asks the kernel to end the child with us, even after a SIGKILL.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
