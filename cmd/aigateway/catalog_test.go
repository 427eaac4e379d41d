package main

import (
	"strings"
	"testing"
	"time"

	"aigateway/budget"
	"aigateway/gatewayconfig"
	"aigateway/pricing"
)

func TestCatalogList(t *testing.T) {
	r := runCLI(t, nil, "catalog", "list")
	if r.code != 0 || !strings.Contains(r.stdout, "openai/gpt-6-sol") || !strings.Contains(r.stdout, "moonshot/kimi-k2.6") {
		t.Fatalf("%+v", r)
	}
	for _, word := range []string{"newest price checked 20", "US dollars per million tokens"} {
		if !strings.Contains(r.stderr, word) {
			t.Errorf("stderr %q lacks %q", r.stderr, word)
		}
	}
	r = runCLI(t, nil, "catalog", "list", "--provider", "moonshot", "-o", "csv")
	if !strings.HasPrefix(r.stdout, "model,input,cache_read,cache_write,output,tiers,context,max_output,checked,age_days\nmoonshot/") || strings.Contains(r.stdout, "openai") {
		t.Errorf("%+v", r)
	}
	r = runCLI(t, nil, "catalog", "list", "--provider", "acme", "-o", "json")
	if r.code != 0 || r.stdout != "[]\n" || !strings.Contains(r.stderr, "no model") {
		t.Errorf("%+v", r)
	}
}

func TestCatalogShow(t *testing.T) {
	r := runCLI(t, nil, "catalog", "show", "openai/gpt-6-sol")
	if r.code != 0 {
		t.Fatalf("%+v", r)
	}
	golden(t, "catalog_show.table.golden", r.stdout)
	for _, word := range []string{"openai/gpt-6-sol, sent as gpt-6-sol", "checked 20", "days ago"} {
		if !strings.Contains(r.stderr, word) {
			t.Errorf("stderr %q lacks %q", r.stderr, word)
		}
	}
	r = runCLI(t, nil, "catalog", "show", "anthropic/claude-sonnet-4.6", "-o", "yaml")
	if r.code != 0 || !strings.Contains(r.stdout, "upstream_model: claude-sonnet-4-6") {
		t.Errorf("%+v", r)
	}
	wantError(t, runCLI(t, nil, "catalog", "show", "acme/x"), exitError, "provider_unknown", "catalog list")
	wantError(t, runCLI(t, nil, "catalog", "show", "openai/no-such"), exitError, "has no price", "config example")
	wantError(t, runCLI(t, nil, "catalog", "show"), exitUsage, "the model, as PROVIDER/MODEL, is missing")
}

// TestCatalogOfAConfiguration: secrets need not be set to look at prices, and
// the file's prices are on top.
func TestCatalogOfAConfiguration(t *testing.T) {
	file := writeFile(t, "aigateway.yaml", `
providers:
  local: {preset: vllm, base_url: "http://127.0.0.1:8000/v1", api_key: "${NOT_SET}"}
models:
  - model: local/llama-4
    limits: {context: 131072, max_output: 16384}
    prices: [{from: 2026-01-01, checked_at: 2026-01-01, source: our own, input: "0.0375", output: "0"}]
`)
	r := runCLI(t, nil, "catalog", "list", "--config", file)
	if r.code != 0 || !strings.Contains(r.stdout, "local/llama-4  0.0375") || strings.Contains(r.stdout, "openai") {
		t.Errorf("%+v", r)
	}
}

func TestPricesWithoutADate(t *testing.T) {
	file := writeFile(t, "aigateway.yaml", `
providers:
  local: {preset: vllm, base_url: "http://127.0.0.1:8000/v1"}
models:
  - model: local/llama-4
    limits: {context: 131072, max_output: 16384}
    prices: [{from: 2026-01-01, source: our own, input: "0.0375", output: "0"}]
`)
	r := runCLI(t, nil, "catalog", "show", "local/llama-4", "--config", file)
	if r.code != 0 || !strings.Contains(r.stderr, "prices of our own, since 2026-01-01, nobody wrote down when they were checked") {
		t.Errorf("%+v", r)
	}
}

func TestDecimal(t *testing.T) {
	for _, tc := range []struct {
		n      int64
		places int
		want   string
	}{{0, 6, "0.00"}, {37_500, 6, "0.0375"}, {2_500_000, 6, "2.50"}, {1, 12, "0.000000000001"}, {1 << 62, 6, "4611686018427.387904"}} {
		if got := decimal(tc.n, tc.places); got != tc.want {
			t.Errorf("decimal(%d, %d) = %s, want %s", tc.n, tc.places, got, tc.want)
		}
	}
}

// Bounds look as far ahead for dearer hours as a call may run.
func TestCatalogLooksAheadForTheLongestCall(t *testing.T) {
	bound := func(longest string) budget.Amount {
		file := writeFile(t, "aigateway.yaml", "data_dir: .\nstreams: {max_duration: "+longest+"}\nproviders:\n  deepseek: {api_key: k}\n")
		config, err := gatewayconfig.Read(file, func(string) string { return "" })
		if err != nil {
			t.Fatal(err)
		}
		noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) // the next peak begins at 01:00
		model, err := config.Catalog.Resolve("deepseek/deepseek-v4-pro", noon)
		if err != nil {
			t.Fatal(err)
		}
		call, err := pricing.ParseCall(pricing.Chat, []byte(`{"model":"deepseek/deepseek-v4-pro","max_tokens":10}`))
		if err != nil {
			t.Fatal(err)
		}
		b, err := model.Bound(call, noon)
		if err != nil {
			t.Fatal(err)
		}
		return b.Amount
	}
	if short, long := bound("12h59m"), bound("13h"); long != 2*short {
		t.Errorf("a call of at most 12 h 59 min is bounded by %s, one of 13 h by %s; want twice as much", short, long)
	}
}
