package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"aigateway/budget"
	"aigateway/gatewayconfig"
	"aigateway/ledger"
)

// makeLedger makes a data directory whose ledger has one budget.
func makeLedger(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	l, err := ledger.Open(t.Context(), ledger.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.SetBudget(t.Context(), budget.Budget{Target: budget.Target{Tags: "a"}, Period: budget.Month, Cap: budget.Dollar}, budget.Author{Actor: "admin"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestCommandsFindTheDataDirectory: a command reads the books that the
// configuration names, those of the gateway that runs, or none.
func TestCommandsFindTheDataDirectory(t *testing.T) {
	dir, home := makeLedger(t), t.TempDir()
	config := filepath.Join(t.TempDir(), "aigateway.yaml")
	if err := os.WriteFile(config, []byte("data_dir: "+dir+"\nadmin_key: ${NOT_SET_HERE}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"HOME": home}
	for _, args := range [][]string{{"ledger", "check"}, {"ledger", "verify"}, {"ledger", "repair", "--reason", "r"},
		{"ledger", "backup", filepath.Join(t.TempDir(), "b.db")}, {"statement", "export", "--month", "2026-04", "--tag", "a"}} {
		if r := runCLI(t, env, append(args, "--config", config)...); r.code != 0 {
			t.Errorf("%v with --config: %s", args, r.stderr)
		}
		for _, where := range [][]string{{"--data-dir", filepath.Join(home, "typo")}} {
			wantError(t, runCLI(t, env, append(args, where...)...), exitError, "there is no ledger in "+filepath.Join(home, "typo"), "--config")
		}
		wantError(t, runCLI(t, env, append(args, "--config", config, "--data-dir", dir)...), exitUsage, "give one")
		wantError(t, runCLI(t, map[string]string{gatewayconfig.EnvDataDir: filepath.Join(home, "typo")}, args...), exitError, "there is no ledger in")
	}
	if made, err := os.ReadDir(home); err != nil || len(made) > 0 {
		t.Errorf("the commands made %v (%v)", made, err)
	}
}

// TestRunningGatewayIsFound plays /proc.
func TestRunningGatewayIsFound(t *testing.T) {
	const ours, other = "/data/ours", "/data/other"
	process := func(proc, pid, cmdline string, files ...string) {
		t.Helper()
		dir := filepath.Join(proc, pid)
		if err := os.MkdirAll(filepath.Join(dir, "fd"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cmdline"), []byte(strings.ReplaceAll(cmdline, " ", "\x00")), 0o600); err != nil {
			t.Fatal(err)
		}
		for i, file := range files {
			if err := os.Symlink(file, filepath.Join(dir, "fd", string(rune('0'+i)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	proc := t.TempDir()
	process(proc, "11", "/usr/bin/aigateway run --config x", "/dev/null", ours+"/ledger.lock", ours+"/ledger.db")
	process(proc, "12", "/usr/bin/aigateway ledger repair", other+"/ledger.lock")
	process(proc, "13", "vim ledger.lock run", other+"/ledger.lock")
	process(proc, "self", "aigateway run", other+"/ledger.lock")
	if dirs, hidden := runningGateways(proc); !slices.Equal(dirs, []string{ours}) || hidden != nil {
		t.Errorf("found %q and %q", dirs, hidden)
	}
	find := func(proc string, env map[string]string) (string, string, error) {
		var notes strings.Builder
		a := newApp(nil, &notes, func(name string) string { return env[name] })
		a.proc = proc
		d := &dataDir{a: a}
		dir, err := d.find()
		return dir, notes.String(), err
	}
	home := map[string]string{"HOME": "/home/u"}
	if dir, notes, err := find(proc, home); err != nil || dir != ours || !strings.Contains(notes, ours) {
		t.Errorf("with one gateway running: %s, %q, %v", dir, notes, err)
	}
	if dir, _, err := find(proc, map[string]string{gatewayconfig.EnvDataDir: other}); err != nil || dir != other {
		t.Errorf("with a directory chosen: %s, %v", dir, err)
	}
	process(proc, "14", "aigateway serve", other+"/ledger.lock")
	if _, _, err := find(proc, home); err == nil || !strings.Contains(err.Error(), ours) || !strings.Contains(hintOf(err), "--data-dir") {
		t.Errorf("with two gateways running: %v", err)
	}
	process(proc, "15", "aigateway serve", "/home/u/.local/share/aigateway/ledger.lock")
	if dir, _, err := find(proc, home); err != nil || dir != "/home/u/.local/share/aigateway" {
		t.Errorf("with the default's gateway among them: %s, %v", dir, err)
	}
	proc = t.TempDir()
	process(proc, "21", "aigateway run")
	if err := os.Remove(filepath.Join(proc, "21", "fd")); err != nil { // as one of another user, which may not be read
		t.Fatal(err)
	}
	if _, _, err := find(proc, home); err == nil || !strings.Contains(err.Error(), "process 21") {
		t.Errorf("beside another user's gateway: %v", err)
	}
	if dir, _, err := find(t.TempDir(), home); err != nil || dir != "/home/u/.local/share/aigateway" {
		t.Errorf("with none running: %s, %v", dir, err)
	}
}

// TestPatternIsNoTag: a statement of a pattern would sign what nobody spent.
func TestPatternIsNoTag(t *testing.T) {
	dir := makeLedger(t)
	for _, tag := range []string{"team/**", "**", "/**"} {
		args := []string{"statement", "export", "--data-dir", dir, "--month", "2026-04", "--tag", tag}
		wantError(t, runCLI(t, nil, args...), exitUsage, "is a pattern", "--literal")
		if r := runCLI(t, nil, append(args, "--literal")...); r.code != 0 || !strings.Contains(r.stdout, `"tag": "`+tag+`"`) {
			t.Errorf("%s, literally: %s", tag, r.stderr)
		}
		wantError(t, runCLI(t, nil, "adjustments", "create", "--tag", tag, "--amount", "-1", "--reason", "r"), exitUsage, "is a pattern")
	}
	wantError(t, runCLI(t, nil, "statement", "export", "--data-dir", dir, "--month", "2026-04"), exitUsage, "--tag is missing")
	wantError(t, runCLI(t, nil, "statement", "export", "--data-dir", dir, "--month", "2026-04", "--tag", strings.Repeat("x", 65)), exitUsage, "65 bytes long")
}
