package wheel_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"aigateway/wheel"
)

// packed is a wheel with one member.
func packed(t *testing.T, member, content string) (path, sum string) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(member)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "tool.whl")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	h := sha256.Sum256(b.Bytes())
	return path, hex.EncodeToString(h[:])
}

func TestInstall(t *testing.T) {
	dest := filepath.Join(t.TempDir(), "a", "b", "tool")
	path, _ := packed(t, "bin/tool", "binary")
	if err := wheel.Install(path, "bin/tool", dest); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dest)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	path, _ = packed(t, "other", "x")
	if err := wheel.Install(path, "bin/tool", dest); err == nil || !strings.Contains(err.Error(), "bin/tool") {
		t.Errorf("a package without the binary: %v", err)
	}
	if got, err := os.ReadFile(dest); err != nil || string(got) != "binary" {
		t.Errorf("%q, %v", got, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(dest), ".tool-*")); err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestUnpack(t *testing.T) {
	dest := filepath.Join(t.TempDir(), "a", "tool")
	path, _ := packed(t, "lib/bin/tool", "binary")
	var all sync.WaitGroup
	for range 8 { // one is the first, for some it is there
		all.Go(func() {
			if err := wheel.Unpack(path, dest); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := os.ReadFile(filepath.Join(dest, "lib", "bin", "tool")); err != nil || string(got) != "binary" {
		t.Errorf("%q, %v", got, err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	path, _ = packed(t, "../evil", "x")
	if err := wheel.Unpack(path, outside); err == nil || !strings.Contains(err.Error(), "evil") {
		t.Errorf("a member outside: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(outside), "*")); err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// fakePip delivers files, whatever it is asked for.
func fakePip(t *testing.T, files ...string) {
	t.Helper()
	bin := t.TempDir()
	script := "#!/bin/sh\nwhile [ \"$1\" != --dest ]; do shift; done\n"
	for _, f := range files {
		script += "/bin/cp '" + f + "' \"$2/\"\n"
	}
	if err := os.WriteFile(filepath.Join(bin, "python3"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
}

func TestDownload(t *testing.T) {
	path, sum := packed(t, "bin/tool", "binary")
	pin := wheel.Pin{Project: "tool", Version: "1.2.3", SHA256: sum}
	download := func() (string, string, error) {
		dir, log := t.TempDir(), bytes.Buffer{}
		got, err := wheel.Download(t.Context(), pin, dir, &log)
		if err != nil {
			if left, err := filepath.Glob(filepath.Join(dir, "*.whl")); err != nil || len(left) == 1 {
				t.Errorf("a refused package is left: %v, %v", left, err)
			}
		}
		return got, log.String(), err
	}
	fakePip(t, path)
	got, log, err := download()
	if err != nil || filepath.Base(got) != "tool.whl" || !strings.Contains(log, "downloading tool==1.2.3") {
		t.Errorf("Download = %q, %v, log %q", got, err, log)
	}
	evil, _ := packed(t, "bin/tool", "evil")
	fakePip(t, evil)
	if _, _, err := download(); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("another package: %v, want a refused hash", err)
	}
	second := filepath.Join(t.TempDir(), "second.whl")
	if err := os.Link(path, second); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][]string{nil, {path, second}} {
		fakePip(t, files...)
		if _, _, err := download(); err == nil || !strings.Contains(err.Error(), "want 1") {
			t.Errorf("%d packages: %v", len(files), err)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if _, _, err := download(); err == nil || !strings.Contains(err.Error(), "python3 with pip is needed") {
		t.Errorf("without python3: %v", err)
	}
}
