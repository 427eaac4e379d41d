//go:build unix

package main

import "syscall"

// keepFilesPrivate makes every file of this process and of its Envoy its user's
// alone, whatever the umask was: the database, the logs, and what rotation opens.
func keepFilesPrivate() { syscall.Umask(0o077) }
