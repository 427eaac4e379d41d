package gatewayconfig

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// sources are the files a configuration was read from: its own, and the secret,
// CA and price files it names, each by its absolute path.
type sources map[string]source

// source is what a file held when it was read.
type source struct {
	limit int64  // what was read at most
	hash  string // empty: it could not be read
}

// read reads a file and notes what it held, even if nothing could be read: one
// that is put right later is a change.
func (s sources) read(path string, limit int64) ([]byte, error) {
	data, err := readLimited(path, limit)
	s.note(path, limit, data, err)
	return data, err
}

func (s sources) note(path string, limit int64, data []byte, err error) {
	s[path] = source{limit: limit}
	if err == nil {
		sum := sha256.Sum256(data)
		s[path] = source{limit, string(sum[:])}
	}
}

// now are the same files as they are at this moment.
func (s sources) now() sources {
	out := make(sources, len(s))
	for path, was := range s {
		_, _ = out.read(path, was.limit) // an unreadable file is noted as one
	}
	return out
}

// digest tells two configurations apart; no secret can be read from it.
func (s sources) digest() string {
	var hashes []string
	for _, file := range s {
		hashes = append(hashes, file.hash)
	}
	slices.Sort(hashes) // and no paths: machines may have the same files elsewhere
	sum := sha256.Sum256([]byte(strings.Join(hashes, "")))
	return hex.EncodeToString(sum[:6])
}

// changed reports whether a file is no longer what was read.
func (s sources) changed() bool { return !maps.Equal(s, s.now()) }

// readLimited reads a regular file of at most limit bytes, so that a path to a
// device or a huge file cannot hang or fill the process.
func readLimited(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read file: %s is not a regular file", path)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("read file: %s is larger than %d bytes", path, limit)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	return data, nil
}
