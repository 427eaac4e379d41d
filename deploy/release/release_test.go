package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/klauspost/compress/gzip"
)

// newRelease is one of this machine's architecture, of a made-up commit.
func newRelease(t *testing.T, out string) *release {
	t.Helper()
	l, err := readLock("../../" + lockFile)
	if err != nil {
		t.Fatal(err)
	}
	l.loose = true
	return &release{root: "../..", out: out, version: "v1.2.3-test", time: time.Unix(1_700_000_000, 0).UTC(), commit: strings.Repeat("a", 40), lock: l, log: t.Output()}
}

// TestRelease makes everything, and starts what it made: the tarball, the Debian
// package and the images, the first two as a user without rights.
func TestRelease(t *testing.T) {
	out := t.TempDir()
	open(t, out)
	r := newRelease(t, out)
	if err := r.make(t.Context(), []string{runtime.GOARCH}, []string{"packages", "image"}); err != nil {
		t.Fatal(err)
	}
	t.Run("checksums", func(t *testing.T) {
		cmd := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
		cmd.Dir = out
		if text, err := cmd.CombinedOutput(); err != nil || bytes.Count(text, []byte(": OK")) != 7 {
			t.Errorf("%v\n%s", err, text)
		}
	})
	t.Run("tarball", func(t *testing.T) {
		dir := folder(t)
		mustRun(t, exec.Command("tar", "-xzf", one(t, out, "*.tar.gz"), "-C", dir, "--no-same-owner", "--strip-components=1"))
		demo(t, filepath.Join(dir, "aigateway"))
	})
	t.Run("deb", func(t *testing.T) {
		dir := folder(t)
		mustRun(t, exec.Command("dpkg-deb", "--extract", one(t, out, "*.deb"), dir))
		demo(t, filepath.Join(dir, "usr/lib/aigateway/aigateway"))
		checkUnit(t, dir)
		config := exec.Command(filepath.Join(dir, "usr/lib/aigateway/aigateway"), "config", "check", filepath.Join(dir, "etc/aigateway/aigateway.yaml"))
		mustRun(t, config)
	})
	t.Run("installed by root", func(t *testing.T) { installedByRoot(t, one(t, out, "*.deb")) })
	t.Run("image", func(t *testing.T) {
		dir := folder(t)
		image := unpack(t, filepath.Join(out, "oci"), "1.2.3-test", dir)
		config, err := image.ConfigFile()
		if err != nil || config.Config.User != "65532:65532" || config.Config.Entrypoint[0] != "/usr/bin/aigateway" {
			t.Fatalf("%+v, %v", config, err)
		}
		contained := container(t, dir, config.Config.Entrypoint[0], "demo", "--exit")
		contained.Env = config.Config.Env
		wantStory(t, contained)
	})
	t.Run("image without Envoy", func(t *testing.T) {
		dir := folder(t)
		unpack(t, filepath.Join(out, "oci"), "1.2.3-test-serve", dir)
		text, err := container(t, dir, "/usr/bin/aigateway", "version").CombinedOutput()
		if err != nil || !strings.Contains(string(text), "aigateway v1.2.3-test ") {
			t.Errorf("%v: %s", err, text)
		}
		for _, not := range []string{"usr/lib/aigateway/envoy", "lib", "lib64", "bin"} {
			if _, err := os.Lstat(filepath.Join(dir, not)); err == nil {
				t.Errorf("there is a %s", not)
			}
		}
	})
}

// container starts a program of an image's file system as engines do: as the
// image's user without capabilities, with /proc and /dev, in name spaces of its own,
// which a user without rights may have, too.
func container(t *testing.T, root string, command ...string) *exec.Cmd {
	t.Helper()
	id := strconv.Itoa(imageUser)
	return exec.Command("unshare", append([]string{"--user", "--map-user=" + id, "--map-group=" + id, "--keep-caps", "--mount", "--pid", "--fork", "/bin/sh", "-c",
		`mkdir "$1/proc" "$1/dev" && mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec /usr/bin/unshare --user --map-user="$0" --map-group="$0" --root="$@"`, id, root}, command...)...)
}

// TestTwice: the same parts give the same bytes, whatever the folder and the day.
func TestTwice(t *testing.T) {
	var first []byte
	for range 2 {
		r := newRelease(t, t.TempDir())
		packages, err := r.lock.fetch(t.Context(), runtime.GOARCH, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		envoy, err := r.pinnedEnvoy(t.Context(), runtime.GOARCH)
		if err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		p := &parts{arch: runtime.GOARCH, binary: self, envoy: envoy, packages: packages}
		base, err := p.base(true)
		if err != nil {
			t.Fatal(err)
		}
		text, err := layer(base, r.time)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.out, "base.tar.gz"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		p.envoy = filepath.Join(r.root, "README.md") // soon compressed
		if err := errors.Join(r.packages(p), r.bills([]*parts{p}), r.sums()); err != nil {
			t.Fatal(err)
		}
		sums, err := os.ReadFile(filepath.Join(r.out, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = sums
		}
		if !bytes.Equal(sums, first) {
			t.Errorf("the second time:\n%s\nthe first time:\n%s", sums, first)
		}
		<-time.After(1100 * time.Millisecond) // past any second that a format keeps
	}
}

// TestLibraries: what Envoy is linked with is in the image, and nothing else of
// glibc is.
func TestLibraries(t *testing.T) {
	r := newRelease(t, t.TempDir())
	for _, arch := range []string{"amd64", "arm64"} {
		packages, err := r.lock.fetch(t.Context(), arch, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		envoy, err := r.pinnedEnvoy(t.Context(), arch)
		if err != nil {
			t.Fatal(err)
		}
		base, err := (&parts{arch: arch, envoy: envoy, packages: packages}).base(true)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, e := range base {
			names[path.Base(e.name)] = true
		}
		for _, want := range []string{"libc.so.6", "libm.so.6", "ca-certificates.crt", "copyright"} {
			if !names[want] {
				t.Errorf("%s: no %s", arch, want)
			}
		}
		for _, not := range []string{"libnss_compat.so.2", "libthread_db.so.1", "ldd", "sh"} {
			if names[not] {
				t.Errorf("%s: there is %s", arch, not)
			}
		}
	}
}

// TestReplacedPackage: a version that Debian has no more stops a release, which
// says what to do, and no test.
func TestReplacedPackage(t *testing.T) {
	gone := lock{Tools: []debianPackage{{Name: "ca-certificates", Version: "0", Arch: runtime.GOARCH, SHA256: strings.Repeat("0", 64)}}}
	_, err := gone.fetchTools(t.Context(), runtime.GOARCH, t.Output())
	if err == nil || !strings.Contains(err.Error(), "make release-lock") {
		t.Errorf("a release takes what is not pinned: %v", err)
	}
	gone.loose = true
	found, err := gone.fetchTools(t.Context(), runtime.GOARCH, t.Output())
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	if _, err := os.Stat(found[0].path); err != nil {
		t.Error(err)
	}
}

// checkUnit has systemd read the unit, beside the binary that it starts.
func checkUnit(t *testing.T, root string) {
	t.Helper()
	unit := filepath.Join(root, "usr/lib/systemd/system/aigateway.service")
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	started := strings.ReplaceAll(string(text), "ExecStart=/usr/bin/aigateway", "ExecStart="+filepath.Join(root, "usr/lib/aigateway/aigateway"))
	started = strings.ReplaceAll(started, "file:/usr/share/doc", "file:"+root+"/usr/share/doc")
	copied := filepath.Join(t.TempDir(), "aigateway.service")
	if err := os.WriteFile(copied, []byte(started), 0o600); err != nil {
		t.Fatal(err)
	}
	verify := exec.Command("systemd-analyze", "verify", "--recursive-errors=no", copied)
	if text, err := verify.CombinedOutput(); err != nil || len(bytes.TrimSpace(text)) > 0 {
		t.Errorf("systemd-analyze verify (of the package systemd): %v\n%s", err, text)
	}
	// 0.0 is a service that may do nothing, 9.6 one without any of this.
	mustRun(t, exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", copied))
}

// demo runs the story of `aigateway demo`, which makes calls through Envoy.
func demo(t *testing.T, program string) {
	t.Helper()
	cmd := exec.Command(program, "demo", "--exit")
	cmd.Env = []string{"PATH=/nonexistent", "HOME=/nonexistent"}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	wantStory(t, cmd)
}

func wantStory(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Dir = "/"
	text, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(text), "Every step did what it should.") {
		t.Errorf("%v\n%s", err, text)
	}
}

// folder is a temporary one that other users may enter.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	open(t, dir)
	return dir
}

func open(t *testing.T, dir string) {
	t.Helper()
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
		t.Fatal(err)
	}
}

func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v; want one", pattern, found, err)
	}
	return found[0]
}

func mustRun(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, text)
	}
}

// unpack puts the file system of a tag's image, for this machine, into dir.
func unpack(t *testing.T, oci, tag, dir string) v1.Image {
	t.Helper()
	p, err := layout.FromPath(oci)
	if err != nil {
		t.Fatal(err)
	}
	all, err := p.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := all.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range manifest.Manifests {
		if d.Annotations["org.opencontainers.image.ref.name"] != tag {
			continue
		}
		index, err := all.ImageIndex(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		inner, err := index.IndexManifest()
		if err != nil || len(inner.Manifests) != 3 {
			t.Fatalf("%+v, %v; want an image, its bill of materials and its provenance", inner, err)
		}
		image, err := index.Image(inner.Manifests[0].Digest)
		if err != nil {
			t.Fatal(err)
		}
		extract(t, image, dir)
		return image
	}
	t.Fatalf("no %s in %+v", tag, manifest)
	return nil
}

func extract(t *testing.T, image v1.Image, dir string) {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		compressed, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		text, err := gzip.NewReader(compressed)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("tar", "-x", "--no-same-owner", "-C", dir) // whoever runs this is the image's user
		cmd.Stdin = text
		mustRun(t, cmd)
	}
}
