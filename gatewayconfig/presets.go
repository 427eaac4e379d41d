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
	BaseURLExample      string                  `yaml:"base_url_example"`
	OAuth2              fileOAuth2              `yaml:"oauth2"`
	GCPMetadata         bool                    `yaml:"gcp_metadata"`
	AWSService          string                  `yaml:"aws_service"`
	Refuses             map[string]string       `yaml:"refuses"`
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
	CancelsOnDisconnect bool                    `yaml:"cancels_on_disconnect"`
	Deployments         bool                    `yaml:"deployments"`
	StreamsAllOutput    bool                    `yaml:"streams_all_output"`
	AllowPDF            bool                    `yaml:"allow_pdf"`
	MaxTokensPerSecond  int64                   `yaml:"max_tokens_per_second"`
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

// otherWays names what may stand in the place of a key.
func (p *preset) otherWays() string {
	switch {
	case p.OAuth2.TokenURL != "":
		return ", or oauth2: {tenant_id, client_id, client_secret}"
	case p.AWSService != "":
		return ", or aws: {region}"
	case p.GCPMetadata:
		return ", or gcp_metadata: true"
	}
	return ""
}

func presetNames(presets map[string]preset) []string { return slices.Sorted(maps.Keys(presets)) }
