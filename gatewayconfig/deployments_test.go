package gatewayconfig_test

import "testing"

// The presets whose models are called as somebody called them.
func TestPresetsOfDeployments(t *testing.T) {
	c := mustParse(t, "providers:\n  az: {preset: azure, base_url: 'https://h/openai/v1', api_key: k}\n  foundry: {base_url: 'https://h/anthropic/v1', api_key: k}\n  openai: {api_key: k}\n")
	for _, p := range c.Providers {
		if want := p.Upstream.Provider != "openai"; p.Upstream.Deployments != want {
			t.Errorf("%s: deployments %t, want %t", p.Upstream.Provider, p.Upstream.Deployments, want)
		}
	}
}
