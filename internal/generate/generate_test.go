package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestCommittedIsFresh regenerates everything elsewhere and compares.
func TestCommittedIsFresh(t *testing.T) {
	t.Chdir("../..")
	if err := haveBuf(); err != nil {
		t.Fatal(err)
	}
	fresh := t.TempDir()
	if err := run(t.Context(), []string{"-o", fresh}, io.Discard); err != nil {
		t.Fatal(err)
	}
	const remedy = "; run: go run ./internal/generate"
	for _, dir := range []string{"api/gen", "adminapi"} {
		for name := range files(t, os.DirFS(fresh), dir) {
			want, err := os.ReadFile(filepath.Join(fresh, name))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is stale%s", name, remedy)
			}
		}
	}
	want := files(t, os.DirFS(fresh), "api/gen")
	for name := range files(t, os.DirFS("."), "api/gen") {
		if !want[name] {
			t.Errorf("nothing generates %s%s", name, remedy)
		}
	}
}

func files(t *testing.T, root fs.FS, dir string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	err := fs.WalkDir(root, dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out[path] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestBreakingNeedsARevision(t *testing.T) {
	t.Chdir("../..")
	if err := haveBuf(); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"-breaking", "no-such-revision"}, io.Discard); err == nil {
		t.Error("a revision that does not exist was accepted")
	}
}

func TestRunRefusesArguments(t *testing.T) {
	if err := run(context.Background(), []string{"api"}, io.Discard); err == nil {
		t.Error("an argument was ignored")
	}
}
