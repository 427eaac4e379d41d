package gatewayconfig

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v4"
)

//go:embed presets.yaml
var presetsYAML []byte

// preset is what we know of a kind of provider.
type preset struct {
	BaseURL             string                  `yaml:"base_url"`
	APIKeyEnv           string                  `yaml:"api_key_env"`
	BaseURLEnv          string                  `yaml:"base_url_env"`
	BaseURLPath         string                  `yaml:"base_url_path"`
	Key                 string                  `yaml:"key"`
	AuthHeader          *string                 `yaml:"auth_header"`
	AuthPrefix          *string                 `yaml:"auth_prefix"`
	APIs                []string                `yaml:"apis"`
	Endpoints           map[string]fileEndpoint `yaml:"endpoints"`
	ListedBetas         bool                    `yaml:"listed_betas"`
	Dialect             string                  `yaml:"dialect"`
	StreamUsage         string                  `yaml:"stream_usage"`
	CapField            string                  `yaml:"cap_field"`
	Honours             []string                `yaml:"honours"`
	RunningUsage        bool                    `yaml:"running_usage"`
	CancelsOnDisconnect bool                    `yaml:"cancels_on_disconnect"`
}

// loadPresets reads the embedded table. Its error is a bug of ours, which a
// test excludes.
func loadPresets() (map[string]preset, error) {
	var presets map[string]preset
	err := yaml.Load(presetsYAML, &presets, yaml.WithKnownFields())
	if err != nil {
		return nil, fmt.Errorf("load presets: %w", err)
	}
	return presets, nil
}

func presetNames(presets map[string]preset) []string { return slices.Sorted(maps.Keys(presets)) }
