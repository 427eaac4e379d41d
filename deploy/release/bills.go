package main

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"aigateway/envoy"
)

// spdx is the bill of materials of what is made for one architecture, in SPDX
// 2.3's JSON: the modules in the program, Envoy, and what came from Debian.
func (r *release) spdx(p *parts, withEnvoy bool) ([]byte, error) {
	info, err := buildinfo.ReadFile(p.binary)
	if err != nil {
		return nil, err
	}
	b := bill{version: r.version}
	b.add("aigateway", r.version, "pkg:golang/aigateway@"+r.version, p.binary)
	b.add("go", strings.TrimPrefix(info.GoVersion, "go"), "pkg:golang/stdlib@"+strings.TrimPrefix(info.GoVersion, "go"), "")
	for _, m := range info.Deps {
		b.add(m.Path, m.Version, "pkg:golang/"+m.Path+"@"+m.Version, "")
	}
	for _, d := range p.packages {
		if withEnvoy || d.Name != "libc6" {
			b.add(d.Name, d.Version, fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s", d.Name, strings.ReplaceAll(d.Version, "+", "%2B"), debianArch[d.Arch]), d.path)
		}
	}
	if withEnvoy {
		b.add("envoy", envoy.Version, "pkg:github/envoyproxy/envoy@v"+envoy.Version, p.envoy)
	}
	if b.err != nil {
		return nil, b.err
	}
	return json.MarshalIndent(map[string]any{
		"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
		"name":              fmt.Sprintf("aigateway-%s-%s", r.version, p.arch),
		"documentNamespace": fmt.Sprintf("urn:aigateway:spdx:%s:%s:%t", r.commit, p.arch, withEnvoy),
		"creationInfo":      map[string]any{"created": r.time.Format(time.RFC3339), "creators": []string{"Tool: aigateway-release"}},
		"documentDescribes": []string{"SPDXRef-Package-0"}, "packages": b.packages, "relationships": b.relations,
	}, "", "  ")
}

type bill struct {
	version             string
	packages, relations []map[string]any
	err                 error
}

// add lists a package, with the hash of its file if it is one.
func (b *bill) add(name, version, purl, file string) {
	id := fmt.Sprintf("SPDXRef-Package-%d", len(b.packages))
	p := map[string]any{
		"SPDXID": id, "name": name, "versionInfo": version, "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
		"licenseConcluded": "NOASSERTION", "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION",
		"externalRefs": []map[string]string{{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}},
	}
	if file != "" {
		sum, err := fileSum(file)
		if err != nil && b.err == nil {
			b.err = err
		}
		p["checksums"] = []map[string]string{{"algorithm": "SHA256", "checksumValue": sum}}
	}
	b.packages = append(b.packages, p)
	from, kind := "SPDXRef-Package-0", "CONTAINS"
	if len(b.packages) == 1 {
		from, kind = "SPDXRef-DOCUMENT", "DESCRIBES"
	}
	b.relations = append(b.relations, map[string]any{"spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": id})
}

// subjectDigest is an artefact, as in-toto names it.
type subjectDigest struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// provenance says of what the subjects were made, as an in-toto statement with
// SLSA's predicate. It is not signed: who publishes the artefacts signs them.
func (r *release) provenance(all []*parts, subjects []subjectDigest) ([]byte, error) {
	materials := []map[string]any{{"uri": "git+aigateway", "digest": map[string]string{"gitCommit": r.commit}}}
	for _, p := range all {
		sum, err := fileSum(p.envoy)
		if err != nil {
			return nil, err
		}
		materials = append(materials, map[string]any{"uri": fmt.Sprintf("pkg:github/envoyproxy/envoy@v%s?arch=%s", envoy.Version, p.arch), "digest": map[string]string{"sha256": sum}})
		for _, d := range p.packages {
			materials = append(materials, map[string]any{"uri": fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s", d.Name, d.Version, debianArch[d.Arch]), "digest": map[string]string{"sha256": d.SHA256}})
		}
	}
	return json.MarshalIndent(map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1", "subject": subjects,
		"predicate": map[string]any{
			"buildDefinition": map[string]any{
				"buildType": "urn:aigateway:make-release", "externalParameters": map[string]string{"version": r.version}, "resolvedDependencies": materials,
			},
			"runDetails": map[string]any{"builder": map[string]string{"id": "urn:aigateway:make-release"}},
		},
	}, "", "  ")
}

// bills writes the bill of materials of each architecture's packages. The images
// carry their own.
func (r *release) bills(all []*parts) error {
	for _, p := range all {
		text, err := r.spdx(p, true)
		if err != nil {
			return err
		}
		err = r.write(fmt.Sprintf("aigateway_%s_linux_%s.spdx.json", strings.TrimPrefix(r.version, "v"), p.arch), func(w io.Writer) error {
			_, err := w.Write(append(text, '\n'))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
