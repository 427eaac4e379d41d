package gatewayconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
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
	if len(bytes.TrimSpace(data)) == 0 {
		// A file that is being rewritten is empty for a moment; taken as a
		// configuration it would remove every provider.
		return nil, Problems{{File: path, Line: 1, Column: 1, Message: "the file is empty; write {} to use all defaults"}}
	}
	return parse(path, data, secrets)
}

func parse(path string, data []byte, secrets *secretSource) (*Config, error) {
	r := &report{file: path}
	d := &decoder{report: r, places: map[string]place{"": {1, 1}}}
	f := defaults()
	root := parseYAML(r, data)
	if root != nil && checkAliases(r, root) {
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
	if root != nil && (root.Kind == yaml.MappingNode || isNull(root)) {
		v.config(&f, config)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	config.sources = secrets.sources
	return config, nil
}

// parseYAML returns the document's root, or nil after reporting why not. An
// empty file is an empty mapping.
func parseYAML(r *report, data []byte) *yaml.Node {
	if at, ok := firstInvalidUTF8(data); ok {
		r.add(at, "", "the file is not UTF-8 text here; save it as UTF-8")
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		r.add(place{1, 1}, "", "read YAML: %v", err)
		return nil
	}
	var document, second yaml.Node
	err = loader.Load(&document)
	if errors.Is(err, io.EOF) {
		return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1}
	}
	if err != nil {
		reportYAML(r, data, err)
		return nil
	}
	err = loader.Load(&second)
	switch {
	case errors.Is(err, io.EOF):
	case err != nil:
		reportYAML(r, data, err)
		return nil
	default:
		r.add(placeOf(&second), "", "a second document starts here (---); keep one")
		return nil
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) != 1 {
		r.add(place{1, 1}, "", "is no YAML document; write key: value lines")
		return nil
	}
	return document.Content[0]
}

// reportYAML turns the library's syntax errors into problems with a place.
func reportYAML(r *report, data []byte, err error) {
	var many *yaml.LoadErrors
	list := []*yaml.LoadError{}
	if errors.As(err, &many) {
		list = many.Errors
	}
	var one *yaml.LoadError
	if len(list) == 0 && errors.As(err, &one) {
		list = []*yaml.LoadError{one}
	}
	for _, e := range list {
		at := place{e.Mark.Line, e.Mark.Column}
		if at.line == 0 {
			at = firstControl(data)
		}
		remedy := "check indentation, brackets and quotes"
		if bytes.Contains(lineOf(data, at.line), []byte("${")) {
			remedy = `put ${NAME} in quotes, as braces need it: "${NAME}"; else ` + remedy
		}
		r.add(at, "", "YAML syntax: %s; %s", e.Message, remedy)
	}
	if len(list) == 0 {
		r.add(place{1, 1}, "", "YAML syntax: %v", err)
	}
}

// lineOf is a line of the file, counted from 1; nil for none.
func lineOf(data []byte, n int) []byte {
	lines := bytes.Split(data, []byte("\n"))
	if n < 1 || n > len(lines) {
		return nil
	}
	return lines[n-1]
}

func firstInvalidUTF8(data []byte) (place, bool) {
	at := place{1, 1}
	for len(data) > 0 {
		c, size := utf8.DecodeRune(data)
		if c == utf8.RuneError && size <= 1 {
			return at, true
		}
		at = advance(at, c)
		data = data[size:]
	}
	return place{}, false
}

// firstControl finds the character the YAML reader refuses without saying
// where.
func firstControl(data []byte) place {
	at := place{1, 1}
	for _, c := range string(data) {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' || c >= 0x7f && c < 0xa0 && c != 0x85 || c == 0xfffe || c == 0xffff {
			return at
		}
		at = advance(at, c)
	}
	return place{1, 1}
}

func advance(at place, c rune) place {
	if c == '\n' {
		return place{at.line + 1, 1}
	}
	return place{at.line, at.column + 1}
}

// maxNodes bounds a document with its aliases expanded: nine lines of nested
// aliases can mean a billion nodes.
const maxNodes = 500_000

// checkAliases refuses aliases that contain themselves or blow up.
func checkAliases(r *report, root *yaml.Node) bool {
	var open []*yaml.Node // anchors being expanded
	count := 0
	var walk func(n *yaml.Node, depth int) bool
	walk = func(n *yaml.Node, depth int) bool {
		count++
		if count > maxNodes || depth > 100 {
			r.add(placeOf(n), "", "the document is too deep or too large once its aliases are expanded; write less")
			return false
		}
		if n.Kind == yaml.AliasNode {
			if n.Alias == nil || slices.Contains(open, n.Alias) {
				r.add(placeOf(n), "", "the alias *%s contains itself; write the value out", shown(n.Value))
				return false
			}
			return walk(n.Alias, depth+1)
		}
		if n.Anchor != "" {
			open = append(open, n)
			defer func() { open = open[:len(open)-1] }()
		}
		for _, c := range n.Content {
			if !walk(c, depth+1) {
				return false
			}
		}
		return true
	}
	return walk(root, 0)
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
