package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
	"github.com/klauspost/compress/gzip" // pinned, unlike Go's, whose bytes may change with Go
)

// content is one file of a package.
type content struct {
	source, target string
	mode           os.FileMode
	config         bool // what its owner changed stays at an upgrade
}

// folder of the program and of Envoy, which it finds there.
const libFolder = "/usr/lib/aigateway"

// contents of the packages; the documents are those a machine without network
// needs at 3 a.m.
func (r *release) contents(p *parts) []content {
	own := filepath.Join(r.root, "deploy/release/files")
	docs := "/usr/share/doc/aigateway"
	return []content{
		{p.binary, libFolder + "/aigateway", 0o755, false},
		{p.envoy, libFolder + "/envoy", 0o755, false},
		{filepath.Join(own, "aigateway.service"), "/usr/lib/systemd/system/aigateway.service", 0o644, false},
		{filepath.Join(own, "sysusers.conf"), "/usr/lib/sysusers.d/aigateway.conf", 0o644, false},
		{filepath.Join(own, "aigateway.yaml"), "/etc/aigateway/aigateway.yaml", 0o644, true},
		{filepath.Join(r.root, "README.md"), docs + "/README.md", 0o644, false},
		{filepath.Join(r.root, "docs/operations.md"), docs + "/operations.md", 0o644, false},
		{filepath.Join(r.root, "docs/metrics.md"), docs + "/metrics.md", 0o644, false},
		{filepath.Join(r.root, "deploy/prometheus/alerts.yaml"), docs + "/alerts.yaml", 0o644, false},
		{filepath.Join(r.root, "deploy/grafana/aigateway.json"), docs + "/grafana.json", 0o644, false},
		{filepath.Join(r.root, "gatewayconfig/example.yaml"), docs + "/example.yaml", 0o644, false},
	}
}

func (r *release) packages(p *parts) error {
	err := r.tarball(p)
	for _, format := range []string{"deb", "rpm"} {
		err = errors.Join(err, r.systemPackage(p, format))
	}
	return err
}

func (r *release) systemPackage(p *parts, format string) error {
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	own := filepath.Join(r.root, "deploy/release/files")
	info := nfpm.WithDefaults(&nfpm.Info{
		Name: "aigateway", Arch: p.arch, Platform: "linux", Version: r.version, VersionSchema: "semver",
		Section: "net", Priority: "optional", Maintainer: "aigateway <aigateway@localhost>",
		Description:     "hard spending caps for LLM traffic\nA gateway beside a stock Envoy, which is in the package: calls that could\ncross a budget's cap are refused before they reach a provider.",
		DisableGlobbing: true, MTime: r.time,
		Overridables: nfpm.Overridables{
			Scripts: nfpm.Scripts{PostInstall: filepath.Join(own, "postinstall.sh"), PreRemove: filepath.Join(own, "preremove.sh")},
			RPM:     nfpm.RPM{BuildHost: "localhost", Compression: "zstd"},
			Deb:     nfpm.Deb{Compression: "zstd"},
		},
	})
	if format == "deb" {
		info.Depends, info.Recommends = []string{"libc6 (>= 2.31)"}, []string{"ca-certificates", "systemd"}
	} else {
		info.Depends, info.Recommends = []string{"glibc >= 2.31"}, []string{"ca-certificates", "systemd"}
	}
	info.Contents = append(info.Contents,
		&files.Content{Source: libFolder + "/aigateway", Destination: "/usr/bin/aigateway", Type: files.TypeSymlink, FileInfo: &files.ContentFileInfo{MTime: r.time}},
		&files.Content{Destination: "/etc/aigateway/keys", Type: files.TypeDir, FileInfo: &files.ContentFileInfo{Mode: 0o700, MTime: r.time}})
	for _, c := range r.contents(p) {
		kind := files.TypeFile
		if c.config {
			kind = files.TypeConfigNoReplace
		}
		info.Contents = append(info.Contents, &files.Content{Source: c.source, Destination: c.target, Type: kind,
			FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: c.mode, MTime: r.time}})
	}
	if err := nfpm.PrepareForPackager(info, format); err != nil {
		return fmt.Errorf("prepare the %s package: %w", format, err)
	}
	return r.write(packager.ConventionalFileName(info), func(w io.Writer) error { return packager.Package(info, w) })
}

// tarball holds program and Envoy in one folder, to run from wherever it is
// unpacked.
func (r *release) tarball(p *parts) error {
	folder := fmt.Sprintf("aigateway_%s_linux_%s", strings.TrimPrefix(r.version, "v"), p.arch)
	return r.write(folder+".tar.gz", func(w io.Writer) error {
		z := gzip.NewWriter(w)
		t := tar.NewWriter(z)
		for _, c := range r.contents(p) {
			if err := addFile(t, c.source, folder+"/"+filepath.Base(c.target), c.mode, r.time); err != nil {
				return err
			}
		}
		return errors.Join(t.Close(), z.Close())
	})
}

func addFile(t *tar.Writer, source, name string, mode os.FileMode, at time.Time) error {
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	err = t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: int64(mode), ModTime: at, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// write makes a file in the release's folder, whole or not at all.
func (r *release) write(name string, fill func(io.Writer) error) error {
	path := filepath.Join(r.out, name)
	f, err := os.Create(path + ".part")
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(path+".part", path); err != nil {
		return err
	}
	r.notef("wrote %s", path)
	return nil
}
