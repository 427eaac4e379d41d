package gatewayconfig_test

import (
	"strings"
	"testing"
)

// The operator's order names configured providers, each once.
func TestProviderOrder(t *testing.T) {
	const providers = "providers: {openai: {api_key: k}, anthropic: {api_key: k}}\n"
	c := mustParse(t, providers+"provider_order: [openai, anthropic]\n")
	for _, p := range c.Providers {
		if want := map[string]int{"openai": 1, "anthropic": 2}[p.Name]; p.Upstream.Order != want {
			t.Errorf("%s has place %d, want %d", p.Name, p.Upstream.Order, want)
		}
	}
	for order, want := range map[string]string{"[openai, opnai]": "anthropic", "[openai, openai]": "twice", "openai": "provider_order", "[1]": "provider_order"} {
		_, err := parse(t, providers+"provider_order: "+order+"\n")
		if err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "did you mean") {
			t.Errorf("%s: %v", order, err)
		}
	}
}
