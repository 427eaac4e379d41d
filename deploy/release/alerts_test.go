package main

import (
	"os/exec"
	"testing"
)

// TestAlerts has promtool, of Debian's prometheus, read the alerts and what
// Prometheus is started with, and see that each alert fires when it should, and
// none of a gateway that is well.
func TestAlerts(t *testing.T) {
	program := debianProgram(t, t.TempDir(), "promtool")
	for _, args := range [][]string{
		{"check", "rules", "alerts.yaml"},
		{"test", "rules", "alerts_test.yaml"},
		{"check", "config", "--syntax-only", "prometheus.yaml"},
		{"check", "config", "--syntax-only", "../compose/prometheus.yaml"},
	} {
		promtool := exec.Command(program, args...)
		promtool.Dir = "../prometheus"
		mustRun(t, promtool)
	}
}
