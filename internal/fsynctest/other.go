//go:build !linux

package fsynctest

// Main is for Linux, which alone has a way to fail fsyncs.
func Main() {}
