package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// variants are the two images: with Envoy for `run`, and without for `serve`
// beside an Envoy of others.
var variants = []struct {
	suffix    string // of the tag
	withEnvoy bool
	command   string
}{{"", true, "run"}, {"-serve", false, "serve"}}

// images writes an OCI layout with an index for each variant, the layout as a
// tarball, and a tarball for `docker load` and `podman load` for each image.
func (r *release) images(ctx context.Context, all []*parts) error {
	folder := filepath.Join(r.out, "oci")
	if err := os.RemoveAll(folder); err != nil { // the layout has nothing but this release
		return err
	}
	oci, err := layout.Write(folder, empty.Index)
	if err != nil {
		return err
	}
	for _, v := range variants {
		index := v1.ImageIndex(mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
		tag := r.tag() + v.suffix
		for _, p := range all {
			if err := ctx.Err(); err != nil {
				return err
			}
			image, err := r.image(p, v.withEnvoy, v.command)
			if err != nil {
				return err
			}
			index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: p.arch}}})
			if index, err = r.attach(index, image, p, v.withEnvoy); err != nil {
				return err
			}
			if err := r.dockerTarball(tag, p.arch, image); err != nil {
				return err
			}
		}
		if err := oci.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag})); err != nil {
			return err
		}
		digest, err := index.Digest()
		if err != nil {
			return err
		}
		r.notef("image aigateway:%s is %s", tag, digest)
	}
	return r.write("aigateway_"+r.tag()+"_oci.tar", func(w io.Writer) error { return r.tarFolder(w, folder) })
}

// tag is the version as an image's tag, which has no plus sign.
func (r *release) tag() string {
	return strings.ReplaceAll(strings.TrimPrefix(r.version, "v"), "+", "_")
}

func (r *release) image(p *parts, withEnvoy bool, command string) (v1.Image, error) {
	base, err := p.base(withEnvoy)
	if err != nil {
		return nil, err
	}
	layers := [][]entry{base, {{name: libFolder + "/aigateway", kind: tar.TypeReg, mode: 0o755, source: p.binary}}}
	if withEnvoy { // before the program, which changes more often
		layers = [][]entry{base, {{name: libFolder + "/envoy", kind: tar.TypeReg, mode: 0o755, source: p.envoy}}, layers[1]}
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, entries := range layers {
		text, err := p.packed(entries, r.time)
		if err != nil {
			return nil, err
		}
		l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		image, err = mutate.Append(image, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: "make image", Created: v1.Time{Time: r.time}}})
		if err != nil {
			return nil, err
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", p.arch, v1.Time{Time: r.time}
	config.Config = v1.Config{
		User: fmt.Sprintf("%d:%[1]d", imageUser), WorkingDir: dataFolder,
		Env:        []string{"PATH=/usr/bin", "AIGATEWAY_DATA_DIR=" + dataFolder},
		Entrypoint: []string{"/usr/bin/aigateway"}, Cmd: []string{command},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}}, StopSignal: "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.title": "aigateway", "org.opencontainers.image.version": r.version,
			"org.opencontainers.image.revision": r.commit,
		},
	}
	return mutate.ConfigFile(image, config)
}

// attach adds what an image is made of and how, as manifests that refer to it.
func (r *release) attach(index v1.ImageIndex, image v1.Image, p *parts, withEnvoy bool) (v1.ImageIndex, error) {
	subject, err := descriptor(image)
	if err != nil {
		return nil, err
	}
	spdx, err := r.spdx(p, withEnvoy)
	if err != nil {
		return nil, err
	}
	provenance, err := r.provenance([]*parts{p}, []subjectDigest{{Name: "aigateway:" + r.tag(), Digest: map[string]string{"sha256": subject.Digest.Hex}}})
	if err != nil {
		return nil, err
	}
	for _, a := range []struct {
		kind string
		text []byte
	}{{"application/spdx+json", spdx}, {"application/vnd.in-toto+json", provenance}} {
		referrer := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.MediaType(a.kind))
		referrer, err = mutate.AppendLayers(referrer, static.NewLayer(a.text, types.MediaType(a.kind)))
		if err != nil {
			return nil, err
		}
		referring, ok := mutate.Subject(referrer, subject).(v1.Image)
		if !ok {
			return nil, errors.New("a referrer is no image")
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: referring, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}})
	}
	return index, nil
}

func descriptor(image v1.Image) (v1.Descriptor, error) {
	digest, err := image.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := image.Size()
	return v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size}, err
}

func (r *release) dockerTarball(tag, arch string, image v1.Image) error {
	ref, err := name.NewTag("aigateway:" + tag)
	if err != nil {
		return err
	}
	return r.write(fmt.Sprintf("aigateway_%s_image_%s.tar", tag, arch), func(w io.Writer) error { return tarball.Write(ref, image, w) })
}

func (r *release) tarFolder(w io.Writer, folder string) error {
	t := tar.NewWriter(w)
	err := filepath.WalkDir(folder, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		relative, err := filepath.Rel(folder, p)
		if err != nil {
			return err
		}
		return addFile(t, p, filepath.ToSlash(relative), 0o644, r.time)
	})
	return errors.Join(err, t.Close())
}
