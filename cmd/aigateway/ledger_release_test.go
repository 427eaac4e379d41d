package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRestoreHasAWayBack: restore says what comes next, and release does it.
func TestRestoreHasAWayBack(t *testing.T) {
	dir := makeLedger(t)
	saved := filepath.Join(t.TempDir(), "backup.db")
	command := func(args ...string) result { return runCLI(t, nil, append(args, "--data-dir", dir)...) }
	if r := command("ledger", "backup", saved); r.code != 0 {
		t.Fatal(r.stderr)
	}
	if r := command("ledger", "release", "--reason", "x"); r.code != 0 || !strings.Contains(r.stdout+r.stderr, "no restore holds anything") {
		t.Errorf("release without a restore: %+v", r)
	}
	if r := command("ledger", "restore", saved); r.code != 0 || !strings.Contains(r.stderr, "$1.00 is held on 1 budgets") || !strings.Contains(r.stderr, "aigateway ledger release") {
		t.Fatal(r.stderr)
	}
	wantError(t, command("ledger", "release"), exitUsage, "--reason is missing")
	log := filepath.Join(dir, "access.jsonl")
	if err := os.WriteFile(log, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, command("ledger", "release", "--reason", "x"), exitError, "3 bytes that the ledger has not read", "--ignore-log")
	r := command("ledger", "release", "--reason", "x", "--ignore-log")
	if r.code != 0 || !strings.Contains(r.stdout, "1.00") || !strings.Contains(r.stderr, "assumed: nothing was spent") {
		t.Errorf("release: %+v", r)
	}
	if r := command("ledger", "check"); r.code != 0 {
		t.Error(r.stderr)
	}
}
