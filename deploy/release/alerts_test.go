package main

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// TestAlerts has promtool, of Debian's prometheus, read the alerts and what
// Prometheus is started with, and see that each alert fires when it should, and
// none of a gateway that is well.
func TestAlerts(t *testing.T) {
	r := newRelease(t, t.TempDir())
	packages, err := fetch(t.Context(), r.lock.Tools, tools, runtime.GOARCH, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mustRun(t, exec.Command("dpkg-deb", "--extract", packages[0].path, dir))
	for _, args := range [][]string{
		{"check", "rules", "alerts.yaml"},
		{"test", "rules", "alerts_test.yaml"},
		{"check", "config", "--syntax-only", "prometheus.yaml"},
	} {
		promtool := exec.Command(filepath.Join(dir, "usr/bin/promtool"), args...)
		promtool.Dir = "../prometheus"
		mustRun(t, promtool)
	}
}
