package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

// imageUser is who the image's program runs as: nobody else's number, by custom.
const imageUser = 65532

// dataFolder is where the image's gateway keeps its books.
const dataFolder = "/var/lib/aigateway"

// entry is one file, folder or link of a layer.
type entry struct {
	name   string // absolute
	kind   byte   // tar.TypeReg, TypeDir or TypeSymlink
	mode   int64
	uid    int
	link   string
	source string // path of the content; else:
	text   []byte
}

// base is what program and Envoy need besides themselves: authorities, a user, a
// folder for the data, and, with Envoy, the libraries that its binary names.
func (p *parts) base(withEnvoy bool) ([]entry, error) {
	debian := map[string]map[string]debFile{}
	for _, d := range p.packages {
		files, err := debFiles(d.path)
		if err != nil {
			return nil, err
		}
		debian[d.Name] = files
	}
	authorities, err := bundle(debian["ca-certificates"])
	if err != nil {
		return nil, err
	}
	entries := []entry{
		{name: "/etc/passwd", kind: tar.TypeReg, mode: 0o644, text: fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\naigateway:x:%d:%[1]d:aigateway:%s:/sbin/nologin\n", imageUser, dataFolder)},
		{name: "/etc/group", kind: tar.TypeReg, mode: 0o644, text: fmt.Appendf(nil, "root:x:0:\naigateway:x:%d:\n", imageUser)},
		{name: "/etc/ssl/certs/ca-certificates.crt", kind: tar.TypeReg, mode: 0o644, text: authorities},
		{name: "/usr/share/doc/ca-certificates/copyright", kind: tar.TypeReg, mode: 0o644, text: debian["ca-certificates"]["/usr/share/doc/ca-certificates/copyright"].content},
		{name: "/usr/bin/aigateway", kind: tar.TypeSymlink, mode: 0o777, link: libFolder + "/aigateway"},
		{name: dataFolder, kind: tar.TypeDir, mode: 0o700, uid: imageUser},
		{name: "/tmp", kind: tar.TypeDir, mode: 0o1777},
	}
	if !withEnvoy {
		return entries, nil
	}
	libraries, err := libraries(p.envoy, debian["libc6"])
	if err != nil {
		return nil, err
	}
	return append(append(entries, libraries...),
		entry{name: "/etc/nsswitch.conf", kind: tar.TypeReg, mode: 0o644, text: []byte("hosts: files dns\n")},
		entry{name: "/usr/share/doc/libc6/copyright", kind: tar.TypeReg, mode: 0o644, text: debian["libc6"]["/usr/share/doc/libc6/copyright"].content},
	), nil
}

// libraries are the loader and the shared libraries that binary is linked with,
// and those that they are, out of Debian's glibc.
func libraries(binary string, glibc map[string]debFile) ([]entry, error) {
	f, err := elf.Open(binary)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	waiting, err := f.ImportedLibraries()
	if err != nil {
		return nil, err
	}
	loader, err := interpreter(f)
	if err != nil {
		return nil, err
	}
	entries, folder, err := loaderEntries(loader, glibc)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{path.Base(loader): true}
	for len(waiting) > 0 {
		name := waiting[0]
		waiting = waiting[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		text := glibc[path.Join(folder, name)].content
		library, err := elf.NewFile(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("%s needs %s, which libc6 has not: %w", filepath.Base(binary), name, err)
		}
		more, err := library.ImportedLibraries()
		if err != nil {
			return nil, err
		}
		waiting = append(waiting, more...)
		entries = append(entries, entry{name: path.Join(folder, name), kind: tar.TypeReg, mode: 0o755, text: text})
	}
	return entries, nil
}

// loaderEntries are the loader, at the path that binaries name, which may be a
// link, and the folder that it looks for libraries in.
func loaderEntries(loader string, glibc map[string]debFile) (entries []entry, folder string, err error) {
	target := loader
	if link := glibc[loader].link; link != "" {
		target = path.Join(path.Dir(loader), link)
		if path.IsAbs(link) {
			target = link
		}
		entries = append(entries, entry{name: loader, kind: tar.TypeSymlink, mode: 0o777, link: target})
	}
	text := glibc[target].content
	if len(text) == 0 {
		return nil, "", fmt.Errorf("libc6 has no %s", target)
	}
	return append(entries, entry{name: target, kind: tar.TypeReg, mode: 0o755, text: text}), path.Dir(target), nil
}

func interpreter(f *elf.File) (string, error) {
	section := f.Section(".interp")
	if section == nil {
		return "", errors.New("the Envoy binary names no loader")
	}
	text, err := section.Data()
	return string(bytes.TrimRight(text, "\x00")), err
}

// packed is a layer, made once where it is one file that both images have.
func (p *parts) packed(entries []entry, at time.Time) ([]byte, error) {
	if len(entries) != 1 {
		return layer(entries, at)
	}
	if p.layers == nil {
		p.layers = map[string][]byte{}
	}
	name := entries[0].name
	if p.layers[name] == nil {
		var err error
		p.layers[name], err = layer(entries, at)
		if err != nil {
			return nil, err
		}
	}
	return p.layers[name], nil
}

// layer is the compressed tar of entries and the folders above them. Equal
// entries give equal bytes.
func layer(entries []entry, at time.Time) ([]byte, error) {
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t := tar.NewWriter(z)
	made := map[string]bool{"/": true}
	for _, e := range entries {
		if err := folders(t, made, path.Dir(e.name), at); err != nil {
			return nil, err
		}
		if err := e.write(t, at); err != nil {
			return nil, fmt.Errorf("%s: %w", e.name, err)
		}
		made[e.name] = made[e.name] || e.kind == tar.TypeDir
	}
	if err := errors.Join(t.Close(), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func folders(t *tar.Writer, made map[string]bool, dir string, at time.Time) error {
	if made[dir] {
		return nil
	}
	made[dir] = true
	if err := folders(t, made, path.Dir(dir), at); err != nil {
		return err
	}
	return entry{name: dir, kind: tar.TypeDir, mode: 0o755}.write(t, at)
}

func (e entry) write(t *tar.Writer, at time.Time) error {
	text := e.text
	if e.source != "" {
		var err error
		text, err = os.ReadFile(e.source)
		if err != nil {
			return err
		}
	}
	name := strings.TrimPrefix(e.name, "/")
	if e.kind == tar.TypeDir {
		name += "/"
	}
	err := t.WriteHeader(&tar.Header{Typeflag: e.kind, Name: name, Linkname: e.link, Size: int64(len(text)), Mode: e.mode, Uid: e.uid, Gid: e.uid, ModTime: at, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	_, err = t.Write(text)
	return err
}
