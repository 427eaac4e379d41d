package gatewayconfig

import (
	"cmp"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// EnvDataDir is the variable that moves the data directory.
const EnvDataDir = "AIGATEWAY_DATA_DIR"

// DataDir is the data directory that a configuration without data_dir gets:
// the variable's, else the user's data folder as XDG defines it. It does not
// depend on the working folder, for money must be found again from any. It is
// empty when the environment names no folder at all.
func DataDir(getenv func(string) string) string {
	if dir := getenv(EnvDataDir); dir != "" {
		return dir
	}
	if base := getenv("XDG_DATA_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "aigateway")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "aigateway")
	}
	return ""
}

// Default is the configuration without a file: every provider whose usual
// variable is set (OPENAI_API_KEY, ANTHROPIC_API_KEY, …), moved by its usual
// address variable (OPENAI_BASE_URL, …), and the defaults for the rest. With no
// variable set it has no providers, which is valid: the REST API works. The
// error is a Problems that names the variable.
func Default(getenv func(string) string) (*Config, error) {
	return environment(newSecretSource(getenv))
}

func environment(secrets *secretSource) (*Config, error) {
	r := &report{file: "environment"}
	d := &decoder{report: r, places: map[string]place{"": {}}}
	dir, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("find the working folder: %w", err)
	}
	secrets.dir = dir
	v := &validator{decoder: d, secrets: secrets, dir: dir}
	presets, err := loadPresets()
	if err != nil {
		return nil, err
	}
	f := defaults()
	f.Providers = map[string]fileProvider{}
	for name, p := range presets {
		// Addresses that are a customer's own, or have a region, need a file.
		if p.APIKeyEnv != "" && p.BaseURL != "" && !strings.Contains(p.BaseURL, "{") && secrets.getenv(p.APIKeyEnv) != "" {
			f.Providers[name] = fileProvider{BaseURL: baseURLFromEnv(p, secrets.getenv)}
		}
	}
	config := &Config{}
	v.config(&f, config)
	nameVariables(r, presets)
	if err := r.err(); err != nil {
		return nil, err
	}
	config.sources = secrets.sources
	return config, nil
}

// baseURLFromEnv is the address of the preset's variable, or empty. SDKs
// disagree whether such a variable ends in /v1; without any path the preset's
// own is meant.
func baseURLFromEnv(p preset, getenv func(string) string) string {
	if p.BaseURLEnv == "" {
		return ""
	}
	text := getenv(p.BaseURLEnv)
	u, err := url.Parse(text)
	if text == "" || err != nil || strings.TrimRight(u.Path, "/") != "" {
		return text
	}
	return strings.TrimRight(text, "/") + p.BaseURLPath
}

// nameVariables replaces the fields of a file that does not exist by the
// variables a user has set.
func nameVariables(r *report, presets map[string]preset) {
	for i, problem := range r.list {
		for name, p := range presets {
			switch problem.Field {
			case "providers." + name + ".api_key":
				r.list[i].Field = p.APIKeyEnv
			case "providers." + name + ".base_url":
				r.list[i].Field = cmp.Or(p.BaseURLEnv, problem.Field)
			}
		}
	}
}
