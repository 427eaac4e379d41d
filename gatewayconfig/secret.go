package gatewayconfig

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
)

// Secret is a credential. Printing, logging or marshalling one shows only
// "[redacted]"; Reveal gives the text.
type Secret struct{ text string }

// Reveal returns the credential itself.
func (s Secret) Reveal() string { return s.text }

// Empty reports whether no credential is set.
func (s Secret) Empty() bool { return s.text == "" }

// String hides the credential.
func (s Secret) String() string { return "[redacted]" }

// GoString hides the credential from %#v.
func (s Secret) GoString() string { return "[redacted]" }

// LogValue hides the credential from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText hides the credential from JSON and YAML encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// maxSecretBytes is far above any key and far below Envoy's header limit.
const maxSecretBytes = 16 << 10

// secretSource resolves the text of a secret field: "${VAR}" anywhere in it, or
// "file:PATH" as a whole, or the literal text.
type secretSource struct {
	getenv  func(string) string
	dir     string  // what a relative path is relative to
	skip    bool    // nobody needs the secrets: they are empty
	but     string  // the field of one that is needed all the same
	strict  bool    // see Check
	sources sources // every file read or tried, for the Watcher
}

func newSecretSource(getenv func(string) string) *secretSource {
	return &secretSource{getenv: getenv, sources: sources{}}
}

// resolve returns the secret. Its errors name the variable or the path, never the
// value.
func (s *secretSource) resolve(text string) (value string, err error) {
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		value, err = s.read(path)
	} else {
		value, err = s.expand(text)
	}
	if err != nil {
		return "", err
	}
	return value, checkSecret(value)
}

func (s *secretSource) read(path string) (string, error) {
	if path == "" || strings.ContainsRune(path, 0) {
		return "", fmt.Errorf("file: needs a path, as in file:/run/secrets/openai")
	}
	if problem := unexpanded(path); problem != "" {
		return "", fmt.Errorf("file: %s", problem)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(s.dir, path)
	}
	data, err := s.sources.read(path, maxSecretBytes)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(data), "\r\n")
	if text == "" {
		return "", fmt.Errorf("%s is empty; put the secret in it", path)
	}
	return text, nil
}

func (s *secretSource) expand(text string) (string, error) {
	// What shells and templates replace would be sent as it stands; no key looks
	// like that.
	if last := len(text) - 1; last > 0 && (text[0] == '<' && text[last] == '>' || text[0] == '%' && text[last] == '%') {
		return "", fmt.Errorf("stands for something, and is not replaced when written so; write ${NAME} or file:PATH")
	}
	if strings.HasPrefix(text, "$") && !strings.HasPrefix(text, "${") || strings.HasPrefix(text, "{{") || strings.HasPrefix(text, "env:") {
		return "", fmt.Errorf("begins like a variable, which is not replaced when written so; write ${NAME} or file:PATH")
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", fmt.Errorf("${ is not closed; write ${NAME}")
		}
		if !isVariableName(name) {
			return "", fmt.Errorf("${…} holds no variable name; use letters, digits and _, not starting with a digit")
		}
		value := s.getenv(name)
		if value == "" {
			return "", fmt.Errorf("the environment variable %s is not set (or empty); export it or use file:PATH", name)
		}
		b.WriteString(value)
		text = after
	}
}

// unexpanded says what is wrong with a path that only a shell would understand.
func unexpanded(path string) string {
	if strings.HasPrefix(path, "~") || strings.Contains(path, "$") {
		return "has ~ or $, which are not replaced in paths; write the path out"
	}
	return ""
}

func isVariableName(s string) bool {
	for i, c := range []byte(s) {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 256
}

// checkSecret refuses what cannot be an HTTP header value: a line break in a
// pasted key would otherwise only show as refused requests.
func checkSecret(s string) error {
	if len(s) > maxSecretBytes {
		return fmt.Errorf("is longer than %d bytes", maxSecretBytes)
	}
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7e {
			return fmt.Errorf("holds a control or non-ASCII character; check for a line break or quotes pasted with it")
		}
	}
	if strings.TrimSpace(s) != s {
		return fmt.Errorf("starts or ends with a space; remove it")
	}
	return nil
}
