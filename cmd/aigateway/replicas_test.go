package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aigateway/internal/pgtest"
)

// TestReplicas lists the gateways of a store that has none, and forgets none.
func TestReplicas(t *testing.T) {
	t.Parallel()
	config := writeFile(t, "aigateway.yaml", "data_dir: /nowhere\nstore: {postgres: '"+pgtest.Start(t).URL("admin")+"', durability: single_node}\n")
	if r := runCLI(t, nil, "replicas", "list", "--config", config); r.code != 0 || !strings.Contains(r.stderr, "no gateway has joined") {
		t.Errorf("%+v", r)
	}
	if r := runCLI(t, nil, "replicas", "list", "--config", config, "-o", "json"); r.code != 0 || strings.TrimSpace(r.stdout) != "[]" {
		t.Errorf("%+v", r)
	}
	// A service's address is there for the service alone, while it runs.
	unreadable := writeFile(t, "unreadable.yaml", "data_dir: /nowhere\nadmin_key: file:/nowhere\nstore: {postgres: 'file:/nowhere/keys_postgres', durability: single_node}\n")
	wantError(t, runCLI(t, nil, "replicas", "list", "--config", unreadable), exitError, "/nowhere/keys_postgres")
	told := "file:" + writeFile(t, "postgres", pgtest.Start(t).URL("admin")+"\n")
	if r := runCLI(t, nil, "replicas", "list", "--config", unreadable, "--postgres", told); r.code != 0 || !strings.Contains(r.stderr, "no gateway has joined") {
		t.Errorf("%+v", r)
	}
	alone := writeFile(t, "alone.yaml", "data_dir: /nowhere\n")
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"list"}, exitUsage, "--config is missing"},
		{[]string{"list", "--config", alone}, exitError, "has no store"},
		{[]string{"forget", "--config", config}, exitUsage, "ID is missing"},
		{[]string{"forget", "rep_x", "--config", config}, exitUsage, "give one of --charge and --release"},
		{[]string{"forget", "rep_x", "--charge", "--release", "--reason", "x", "--config", config}, exitUsage, "give one of --charge and --release"},
		{[]string{"forget", "rep_x", "--charge", "--config", config}, exitUsage, "--reason is missing"},
		{[]string{"forget", "rep_x", "--charge", "--reason", "gone", "--config", config}, exitError, "rep_x"},
	} {
		wantError(t, runCLI(t, nil, append([]string{"replicas"}, tc.args...)...), tc.code, tc.want)
	}
}

// TestReplicaID stays the same, and is not guessed anew where it cannot be read.
func TestReplicaID(t *testing.T) {
	dir := t.TempDir()
	first, err := replicaID(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := replicaID(dir); err != nil || again != first {
		t.Errorf("%q, then %q (%v)", first, again, err)
	}
	if other, err := replicaID(t.TempDir()); err != nil || other == first {
		t.Errorf("two directories have %q and %q (%v)", first, other, err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileReplica), []byte("rep_torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := replicaID(dir); err == nil || !strings.Contains(err.Error(), "replicas forget") {
		t.Errorf("a damaged file gives %q, %v", id, err)
	}
}
