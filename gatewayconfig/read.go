package gatewayconfig

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"

	"aigateway/strictyaml"
)

// maxFileBytes bounds the configuration file; thousands of price rows fit.
const maxFileBytes = 4 << 20

// Read loads the file at path. getenv supplies ${VAR} and the presets' key
// variables, usually os.Getenv. The error is a Problems with every problem of
// the file and of its prices, each with line and column, or says why the file
// could not be read. Relative paths in the file are relative to its folder.
func Read(path string, getenv func(string) string) (*Config, error) {
	return read(path, newSecretSource(getenv))
}

// ReadWithoutSecrets is Read for commands that need the file's addresses and
// paths only, perhaps as a user who may not read the secrets: each is empty.
func ReadWithoutSecrets(path string, getenv func(string) string) (*Config, error) {
	secrets := newSecretSource(getenv)
	secrets.skip = true
	return read(path, secrets)
}

// ReadAdminKey is Read of admin_key alone, for a user who may not read other secrets;
// empty where there is none.
func ReadAdminKey(path string, getenv func(string) string) (Secret, error) {
	secrets := newSecretSource(getenv)
	secrets.skip, secrets.but = true, "admin_key"
	config, err := read(path, secrets)
	if err != nil {
		return Secret{}, err
	}
	return config.AdminKey, nil
}

// Check is Read for `aigateway config check`: it also refuses what works, but not
// as meant on this machine: prices of providers that there are not, and an
// envoy.path without a program.
func Check(path string, getenv func(string) string) (*Config, error) {
	secrets := newSecretSource(getenv)
	secrets.strict = true
	return read(path, secrets)
}

// read also notes in secrets which files it looked at, even when it fails: the
// Watcher must notice when one of them is put right.
func read(path string, secrets *secretSource) (*Config, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the configuration file: %w", err)
	}
	data, err := readLimited(path, maxFileBytes) // as given: messages name it so
	secrets.sources.note(absolute, maxFileBytes, data, err)
	if err != nil {
		return nil, Problems{{File: path, Line: 1, Column: 1, Message: err.Error()}}
	}
	if saysNothing(data) {
		// A file that is being rewritten is empty for a moment, or has its first
		// comments alone; taken as a configuration it would remove every provider.
		return nil, Problems{{File: path, Line: 1, Column: 1, Message: "the file is empty, but for comments; write {} to use all defaults"}}
	}
	return parse(path, data, secrets)
}

func saysNothing(data []byte) bool {
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			return false
		}
	}
	return true
}

func parse(path string, data []byte, secrets *secretSource) (*Config, error) {
	r := &report{file: path}
	d := &decoder{report: r, places: map[string]place{"": {1, 1}}}
	f := defaults()
	root := parseYAML(r, data)
	if root != nil {
		d.decode(root, "", reflect.ValueOf(&f).Elem())
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		r.add(place{1, 1}, "", "find the file's folder: %v", err)
	}
	secrets.dir = dir
	v := &validator{decoder: d, secrets: secrets, dir: dir}
	config := &Config{Path: path}
	for _, p := range r.list {
		d.broken = append(d.broken, p.Field)
	}
	if root != nil && (root.Kind == yaml.MappingNode || strictyaml.IsNull(root)) {
		v.config(&f, config)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	config.sources = secrets.sources
	return config, nil
}

// parseYAML returns the document's root, or nil after reporting why not.
func parseYAML(r *report, data []byte) *yaml.Node {
	root, faults := strictyaml.Parse(data)
	for _, f := range faults {
		r.add(place{f.Line, f.Column}, "", "%s", f.Message)
	}
	return root
}

// absolute resolves a path of the file; empty stays empty.
func (v *validator) absolute(field, path string) string {
	if path == "" || strings.ContainsRune(path, 0) {
		if path != "" {
			v.fail(field, "holds a zero byte; write a path")
		}
		return ""
	}
	if problem := unexpanded(path); problem != "" {
		v.fail(field, "%s", problem)
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(v.dir, path)
}
