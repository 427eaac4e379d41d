// Package envoytest runs the real, pinned Envoy in tests. It finds the binary,
// or fails the test with the command that installs it: a test that needs Envoy
// is never skipped. Envoy's log is printed when, and only when, the test fails.
package envoytest
