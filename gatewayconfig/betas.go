package gatewayconfig

import (
	_ "embed"
	"fmt"

	"go.yaml.in/yaml/v4"
)

//go:embed betas.yaml
var betasYAML []byte

// beta is a value of anthropic-beta, and what it has to do with money.
type beta struct {
	Name  string   `yaml:"name"`
	From  []string `yaml:"from"` // where the name was read
	Allow bool     `yaml:"allow"`
	Money string   `yaml:"money"`
}

// loadBetas reads the embedded list. Its error is a bug of ours, which a test
// excludes.
func loadBetas() ([]beta, error) {
	var betas []beta
	if err := yaml.Load(betasYAML, &betas, yaml.WithKnownFields()); err != nil {
		return nil, fmt.Errorf("load betas: %w", err)
	}
	return betas, nil
}

// allowedBetas are those that may reach a provider, whoever asks for them.
func allowedBetas() ([]string, error) {
	betas, err := loadBetas()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, b := range betas {
		if b.Allow {
			out = append(out, b.Name)
		}
	}
	return out, nil
}
