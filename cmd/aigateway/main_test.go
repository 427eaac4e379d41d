package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aigateway/internal/goldentest"
)

// result is what one invocation left behind.
type result struct {
	stdout, stderr string
	code           int
}

// runCLI runs the program in this process with exactly the environment env.
func runCLI(t *testing.T, env map[string]string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	err := run(context.Background(), args, &stdout, &stderr, func(name string) string { return env[name] })
	code := report(&stderr, err)
	return result{stdout: stdout.String(), stderr: stderr.String(), code: code}
}

// golden compares got with testdata/name; -update rewrites the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	goldentest.Equal(t, filepath.Join("testdata", name), got)
}

// wantError checks a failed invocation: nothing on standard output, and all
// words in the message.
func wantError(t *testing.T, r result, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d; stderr: %s", r.code, code, r.stderr)
	}
	if r.stdout != "" {
		t.Errorf("stdout %q, want none", r.stdout)
	}
	for _, w := range words {
		if !strings.Contains(r.stderr, w) {
			t.Errorf("stderr %q lacks %q", r.stderr, w)
		}
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHelpNamesEveryCommand(t *testing.T) {
	r := runCLI(t, nil)
	if r.code != 0 || r.stderr != "" {
		t.Fatalf("code %d, stderr %q", r.code, r.stderr)
	}
	golden(t, "help.golden", r.stdout)
	if same := runCLI(t, nil, "help"); same.stdout != r.stdout {
		t.Errorf("`help` prints something else than no arguments:\n%s", cmp.Diff(r.stdout, same.stdout))
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	root := newRootCommand(newApp(nil, nil, os.Getenv))
	all := root.Commands()
	for len(all) > 0 {
		c := all[0]
		all = append(all[1:], c.Commands()...)
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short help %q; want a phrase without a period", c.CommandPath(), c.Short)
		}
		if c.RunE == nil {
			t.Errorf("%s does nothing", c.CommandPath())
		}
		if !c.HasSubCommands() && c.Example == "" && c.Long == "" && c.Name() != "help" {
			t.Errorf("%s has neither an example nor a description", c.CommandPath())
		}
	}
}

func TestVersion(t *testing.T) {
	r := runCLI(t, nil, "version")
	if r.code != 0 || !strings.HasPrefix(r.stdout, "aigateway ") || strings.Count(r.stdout, "\n") != 1 {
		t.Errorf("got %+v", r)
	}
	r = runCLI(t, nil, "version", "-o", "json")
	if r.code != 0 || !strings.Contains(r.stdout, `"version": "`) {
		t.Errorf("got %+v", r)
	}
	r = runCLI(t, nil, "version", "-o", "csv")
	if r.code != 0 || !strings.HasPrefix(r.stdout, "version,revision,time,go,platform\n") {
		t.Errorf("got %+v", r)
	}
	if r = runCLI(t, nil, "--version"); r.code != 0 || !strings.HasPrefix(r.stdout, "aigateway ") {
		t.Errorf("got %+v", r)
	}
}
