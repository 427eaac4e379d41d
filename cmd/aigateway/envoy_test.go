package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"aigateway/envoy"
)

func TestEnvoyBootstrap(t *testing.T) {
	file := writeFile(t, "aigateway.yaml", `
listen: {clients: "127.0.0.1:18080", control: "127.0.0.1:18083"}
data_dir: data
limits: {max_body_bytes: 1MiB}
providers: {openai: {api_key: "${NOT_SET}"}}
`)
	out := must(t, nil, "envoy", "bootstrap", "--config", file)
	if !json.Valid([]byte(out)) {
		t.Errorf("no JSON: %.200s", out)
	}
	dir := filepath.Join(filepath.Dir(file), "data")
	wantIn(t, out, "18080", "18083", filepath.Join(dir, envoy.FileSpool), filepath.Join(dir, envoy.FileAdminSocket), "1048576")
	if again := must(t, nil, "envoy", "bootstrap", "--config", file); again != out {
		t.Error("equal configurations give different bootstraps")
	}
}

func TestEnvoyBootstrapWithoutAFile(t *testing.T) {
	dir := t.TempDir()
	env := map[string]string{"XDG_DATA_HOME": dir, "OPENAI_API_KEY": "sk-secret"}
	r := runCLI(t, env, "envoy", "bootstrap")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	wantIn(t, r.stdout, filepath.Join(dir, "aigateway", envoy.FileSpool))
}

func TestEnvoyWrongUsage(t *testing.T) {
	wantError(t, runCLI(t, nil, "envoy", "bootstrap", "file"), exitUsage, `unexpected argument "file"`)
	wantError(t, runCLI(t, nil, "envoy", "instal"), exitUsage, "did you mean install?")
	// Without a home there is no folder for the socket: better none than a wrong one.
	wantError(t, runCLI(t, nil, "envoy", "bootstrap", "--config", writeFile(t, "c.yaml", "{}")), exitError, "data_dir")
}

// fakeEnvoy is a program that answers --version like an Envoy of that release.
func fakeEnvoy(t *testing.T, path, version string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho \"$0  version: 0123abc/" + version + "/Clean/RELEASE/BoringSSL\"\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEnvoyVersion(t *testing.T) {
	path := fakeEnvoy(t, filepath.Join(t.TempDir(), "envoy"), envoy.Version)
	wantIn(t, must(t, nil, "envoy", "version", "--envoy", path), envoy.Version, envoy.MinVersion, path)
	wantIn(t, must(t, nil, "envoy", "version", "--envoy", path, "-o", "json"), `"path": "`+path+`"`)
	old := fakeEnvoy(t, filepath.Join(t.TempDir(), "envoy"), "1.30.0")
	wantError(t, runCLI(t, nil, "envoy", "version", "--envoy", old), exitError, "1.30.0", envoy.MinVersion)
	wantError(t, runCLI(t, nil, "envoy", "version", "--envoy", old+".missing"), exitError, "missing")
}

func TestEnvoyVersionWithoutOne(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	wantError(t, runCLI(t, nil, "envoy", "version"), exitError, "no suitable envoy", "aigateway envoy install")
}

// TestEnvoyInstallTwice: with the pinned binary in place nothing is downloaded,
// and the path alone is on standard output.
func TestEnvoyInstallTwice(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path, err := envoy.CachePath()
	if err != nil {
		t.Fatal(err)
	}
	fakeEnvoy(t, path, envoy.Version)
	r := runCLI(t, nil, "envoy", "install")
	if r.code != 0 || r.stdout != path+"\n" || !strings.Contains(r.stderr, "is installed") {
		t.Errorf("%+v", r)
	}
}
