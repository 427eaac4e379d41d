//go:build !linux

package envoy

import "syscall"

// childAttr has no way here to end the child when we are killed outright.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
