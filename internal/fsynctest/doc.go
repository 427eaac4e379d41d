// Package fsynctest lets tests fail the fsyncs of a real process, in the kernel
// (Linux 5.5): the process under test runs behind a seccomp filter that asks
// the test about each of them. It needs no privilege, no tool and no help from
// the program, see docs/decisions/0029.
//
// A test binary that uses it calls Main first thing in its TestMain.
package fsynctest
