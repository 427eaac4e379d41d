package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/blakesmith/ar"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// lockFile pins what comes from Debian; envoy's own pins are in package envoy,
// and those of Go in go.sum.
const lockFile = "deploy/release/lock.json"

// lock is what lock.json says.
type lock struct {
	Debian []debianPackage `json:"debian"` // what is in the images
	Tools  []debianPackage `json:"tools"`  // what only tests run

	// loose takes what Debian has today, which apt-get verified by Debian's
	// signature, where a pinned version is gone: tests are not to fail on the day
	// that Debian replaces a package. A release never is.
	loose bool
}

// debianPackage is one file of Debian's archive, which is known by its hash.
type debianPackage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"` // the GOARCH it is for
	File    string `json:"file"`
	SHA256  string `json:"sha256"`

	path string // once fetched
}

// wanted are the packages: what Envoy's binary is linked with, and authorities.
var wanted = []string{"libc6", "ca-certificates"}

// tools are the packages that tests run: promtool.
var tools = []string{"prometheus"}

func readLock(path string) (lock, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return lock{}, err
	}
	var l lock
	if err := json.Unmarshal(text, &l); err != nil {
		return lock{}, fmt.Errorf("read %s: %w", path, err)
	}
	return l, nil
}

// fetch returns arch's packages, from the user's cache or by apt-get.
func (l lock) fetch(ctx context.Context, arch string, log io.Writer) ([]debianPackage, error) {
	return l.get(ctx, l.Debian, wanted, arch, log)
}

// fetchTools returns what tests run on arch.
func (l lock) fetchTools(ctx context.Context, arch string, log io.Writer) ([]debianPackage, error) {
	return l.get(ctx, l.Tools, tools, arch, log)
}

func (l lock) get(ctx context.Context, pinned []debianPackage, wanted []string, arch string, log io.Writer) ([]debianPackage, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	cache = filepath.Join(cache, "aigateway", "debian")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	var found []debianPackage
	for _, p := range pinned {
		if p.Arch != arch {
			continue
		}
		p.path = filepath.Join(cache, p.SHA256+".deb")
		if sum, err := fileSum(p.path); err != nil || sum != p.SHA256 {
			p, err = p.download(ctx, cache, l.loose, log)
			if err != nil {
				return nil, err
			}
		}
		found = append(found, p)
	}
	if len(found) != len(wanted) {
		return nil, fmt.Errorf("%s pins %d packages for %s, want %d: run `make release-lock`", lockFile, len(found), arch, len(wanted))
	}
	return found, nil
}

// download puts the package into the cache: the pinned one, or, where that is gone
// and loose, today's.
func (p debianPackage) download(ctx context.Context, cache string, loose bool, log io.Writer) (debianPackage, error) {
	a, err := newApt(ctx, p.Arch, log)
	if err != nil {
		return p, err
	}
	defer os.RemoveAll(a.dir)
	_, err = a.run(ctx, "download", p.Name+"="+p.Version)
	gone := err != nil
	if gone && loose {
		fmt.Fprintf(log, "Debian has %s %s no more; today's is taken for this test: run `make release-lock`\n", p.Name, p.Version)
		_, err = a.run(ctx, "download", p.Name)
	}
	if err != nil {
		return p, fmt.Errorf("get %s %s: %w; if Debian has a newer one by now, run `make release-lock`", p.Name, p.Version, err)
	}
	files, err := filepath.Glob(filepath.Join(a.dir, "*.deb"))
	if err != nil || len(files) != 1 {
		return p, fmt.Errorf("apt-get left %d files of %s, want 1", len(files), p.Name)
	}
	sum, err := fileSum(files[0])
	if err != nil {
		return p, err
	}
	if sum != p.SHA256 && !gone {
		return p, fmt.Errorf("%s has SHA-256 %s, want %s: refusing it", p.File, sum, p.SHA256)
	}
	p.SHA256, p.path = sum, filepath.Join(cache, sum+".deb")
	return p, copyFile(files[0], p.path)
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to+".part", text, 0o644); err != nil {
		return err
	}
	return os.Rename(to+".part", to)
}

// apt is an apt-get with lists of its own, for any architecture, that needs no
// root and changes nothing on this machine. It reads the machine's sources.
type apt struct {
	dir, arch string
	log       io.Writer
}

var debianArch = map[string]string{"amd64": "amd64", "arm64": "arm64"}

func newApt(ctx context.Context, arch string, log io.Writer) (*apt, error) {
	dir, err := os.MkdirTemp("", "aigateway-apt-")
	if err != nil {
		return nil, err
	}
	a := &apt{dir: dir, arch: debianArch[arch], log: log}
	if _, err := a.run(ctx, "update"); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return a, nil
}

func (a *apt) run(ctx context.Context, args ...string) (string, error) {
	args = append([]string{
		"-qq", "-o", "Dir::State=" + a.dir, "-o", "Dir::Cache=" + a.dir, "-o", "Dir::State::status=" + filepath.Join(a.dir, "status"),
		"-o", "APT::Architecture=" + a.arch, "-o", "APT::Architectures=" + a.arch, "-o", "Acquire::Languages=none",
		"-o", "APT::Sandbox::User=", "-o", "APT::Update::Post-Invoke-Success=", "-o", "APT::Update::Post-Invoke=",
	}, args...)
	if err := os.WriteFile(filepath.Join(a.dir, "status"), nil, 0o644); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir, cmd.Stderr = a.dir, a.log
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("apt-get %s: %w; a Debian machine with its archive's sources is needed", strings.Join(args, " "), err)
	}
	return string(out), nil
}

// refreshLock pins the newest packages of Debian.
func refreshLock(ctx context.Context, path string, log io.Writer) error {
	var l lock
	for _, arch := range []string{"amd64", "arm64"} {
		a, err := newApt(ctx, arch, log)
		if err != nil {
			return err
		}
		defer os.RemoveAll(a.dir)
		for _, group := range []struct {
			names []string
			into  *[]debianPackage
		}{{wanted, &l.Debian}, {tools, &l.Tools}} {
			for _, name := range group.names {
				p, err := a.newest(ctx, name)
				if err != nil {
					return err
				}
				p.Name, p.Arch = name, arch
				*group.into = append(*group.into, p)
			}
		}
	}
	text, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func (a *apt) newest(ctx context.Context, name string) (debianPackage, error) {
	out, err := a.run(ctx, "--print-uris", "download", name)
	if err != nil {
		return debianPackage{}, err
	}
	return parseURI(out)
}

// parseURI reads a line of apt-get --print-uris: 'address' file size SHA256:hash.
func parseURI(line string) (debianPackage, error) {
	fields := strings.Fields(line)
	if len(fields) != 4 {
		return debianPackage{}, fmt.Errorf("apt-get says %q, want one address, a file, its size and its hash", line)
	}
	sum, ok := strings.CutPrefix(fields[3], "SHA256:")
	name := strings.Split(strings.TrimSuffix(fields[1], ".deb"), "_")
	if !ok || len(name) != 3 {
		return debianPackage{}, fmt.Errorf("apt-get says %q, want a file such as libc6_2.36-9_amd64.deb and its SHA256", line)
	}
	return debianPackage{Version: strings.ReplaceAll(name[1], "%3a", ":"), File: fields[1], SHA256: sum}, nil
}

// debFiles are the regular files and links of a Debian package, by their paths
// with a leading slash.
func debFiles(path string) (map[string]debFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	members := ar.NewReader(f)
	for {
		h, err := members.Next()
		if err != nil {
			return nil, fmt.Errorf("%s has no data: %w", filepath.Base(path), err)
		}
		if strings.HasPrefix(h.Name, "data.tar") {
			data, err := decompress(strings.TrimSuffix(h.Name, "/"), members)
			if err != nil {
				return nil, err
			}
			return tarFiles(data)
		}
	}
}

type debFile struct {
	content []byte
	link    string // where it leads; empty: a file
}

func decompress(name string, r io.Reader) (io.Reader, error) {
	switch {
	case strings.HasSuffix(name, ".xz"):
		return xz.NewReader(r)
	case strings.HasSuffix(name, ".zst"):
		return zstd.NewReader(r)
	case strings.HasSuffix(name, ".gz"):
		return gzip.NewReader(r)
	}
	return nil, fmt.Errorf("%s is compressed in a way that is not known here", name)
}

func tarFiles(r io.Reader) (map[string]debFile, error) {
	files := map[string]debFile{}
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(h.Name, ".")
		switch h.Typeflag {
		case tar.TypeReg:
			var b bytes.Buffer
			if _, err := io.Copy(&b, t); err != nil {
				return nil, err
			}
			files[name] = debFile{content: b.Bytes()}
		case tar.TypeSymlink:
			files[name] = debFile{link: h.Linkname}
		}
	}
}

// bundle is the file of authorities that programs read: the certificates of
// Debian's package, one after the other.
func bundle(files map[string]debFile) ([]byte, error) {
	var names []string
	for name := range files {
		if strings.HasPrefix(name, "/usr/share/ca-certificates/mozilla/") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("ca-certificates has no certificates")
	}
	slices.Sort(names)
	var b bytes.Buffer
	for _, name := range names {
		b.Write(bytes.TrimSpace(files[name].content))
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}
