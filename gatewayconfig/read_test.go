package gatewayconfig_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"aigateway/gatewayconfig"
	"aigateway/pricing"
)

// env is an environment with a home folder and the given variables.
func env(pairs ...string) func(string) string {
	vars := map[string]string{"HOME": "/home/u"}
	for i := 0; i+1 < len(pairs); i += 2 {
		vars[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return vars[name] }
}

func parse(t *testing.T, text string, pairs ...string) (*gatewayconfig.Config, error) {
	t.Helper()
	return gatewayconfig.Parse(filepath.Join(t.TempDir(), "aigateway.yaml"), []byte(text), env(pairs...))
}

func mustParse(t *testing.T, text string, pairs ...string) *gatewayconfig.Config {
	t.Helper()
	c, err := parse(t, text, pairs...)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return c
}

// builtIn is the catalog without a prices file or models.
func builtIn(t *testing.T) *pricing.Catalog {
	t.Helper()
	c, err := pricing.Load(nil, nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEmptyFileIsAllDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "{}\n", "---\n", "listen:\nproviders:\nmodels:\n"} {
		c := mustParse(t, text)
		want := gatewayconfig.Listen{
			Clients: "0.0.0.0:8080", REST: "127.0.0.1:8081", GRPC: "127.0.0.1:8082",
			Control:    "unix:/home/u/.local/share/aigateway/control.sock",
			EnvoyAdmin: "unix:/home/u/.local/share/aigateway/envoy-admin.sock",
		}
		if diff := cmp.Diff(want, c.Listen); diff != "" {
			t.Errorf("%q: listen (-want +got):\n%s", text, diff)
		}
		if c.MaxBodyBytes != 8<<20 || c.Streams.IdleTimeout != 10*time.Minute || c.Streams.MaxDuration != 30*time.Minute ||
			c.ReservationTimeout != 5*time.Minute || c.TimeZone != time.UTC || len(c.Providers) != 0 || c.Catalog.Version() != builtIn(t).Version() || !c.AdminKey.Empty() {
			t.Errorf("%q: defaults are %+v", text, c)
		}
	}
}

func TestExampleLoads(t *testing.T) {
	c := mustParse(t, gatewayconfig.Example(), "OPENAI_API_KEY", "sk-o", "ANTHROPIC_API_KEY", "sk-a", "RESEARCH_API_KEY", "sk-r",
		"AZURE_TENANT_ID", "t", "AZURE_CLIENT_ID", "c", "AZURE_CLIENT_SECRET", "s", "AWS_ACCESS_KEY_ID", "a", "AWS_SECRET_ACCESS_KEY", "s")
	var names []string
	for _, p := range c.Providers {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"anthropic", "azure", "bedrock", "local", "openai", "research", "vertex"}, names); diff != "" {
		t.Errorf("providers (-want +got):\n%s", diff)
	}
	if c.Catalog.Version() == builtIn(t).Version() {
		t.Error("the example's models are not in the catalog")
	}
	// What the example writes as defaults are the defaults.
	d := mustParse(t, "")
	if c.Streams != d.Streams || c.MaxBodyBytes != d.MaxBodyBytes || c.ReservationTimeout != d.ReservationTimeout || c.Listen != d.Listen || c.Envoy != d.Envoy {
		t.Errorf("the example differs from the defaults: %+v and %+v", c, d)
	}
}

func TestProviderFromPreset(t *testing.T) {
	c := mustParse(t, "providers:\n  mistral:\n  eu:\n    preset: openai\n    base_url: https://eu.example.com:8443/v1/\n    api_key: x${K}y\n    max_tokens_per_second: 300\n",
		"MISTRAL_API_KEY", "mk", "K", "secret")
	eu, mistral := c.Providers[0], c.Providers[1]
	if got := eu.APIKey.Reveal(); got != "xsecrety" {
		t.Errorf("key = %q", got)
	}
	if eu.BaseURL.String() != "https://eu.example.com:8443/v1" {
		t.Errorf("base URL = %v", eu.BaseURL)
	}
	want := pricing.Upstream{Provider: "eu", Dialect: "openai_chat", StreamUsage: "inject", CapField: "max_completion_tokens", CancelsOnDisconnect: true, MaxTokensPerSecond: 300, AllowPDF: true}
	if diff := cmp.Diff(want, eu.Upstream); diff != "" {
		t.Errorf("upstream (-want +got):\n%s", diff)
	}
	want = pricing.Upstream{Provider: "mistral", Dialect: "openai_chat", StreamUsage: "native", CapField: "max_tokens", Honours: []string{"max_tokens"}}
	if diff := cmp.Diff(want, mistral.Upstream); diff != "" {
		t.Errorf("upstream (-want +got):\n%s", diff)
	}
	if (mistral.Auth != gatewayconfig.Auth{Header: "authorization", Prefix: "Bearer "}) || len(c.SystemCA) == 0 {
		t.Errorf("auth of mistral: %q", mistral.Auth)
	}
}

func TestEveryPresetResolves(t *testing.T) {
	names, err := gatewayconfig.PresetNames()
	if err != nil {
		t.Fatal(err)
	}
	all := func(string) string { return "key-of-length-twenty" }
	for _, name := range names {
		text := fmt.Sprintf("data_dir: /d\nproviders: {%s: {base_url: https://h.example/v1, api_key: k}}", name)
		c, err := gatewayconfig.Parse("/etc/c.yaml", []byte(text), all)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p := c.Providers[0]
		if p.Preset != name || len(p.APIs) == 0 || p.Upstream.StreamUsage == "" || p.Upstream.CapField == "" {
			t.Errorf("%s resolves to %+v", name, p)
		}
	}
}

func TestDefaultFindsProviders(t *testing.T) {
	keys := []string{"OPENAI", "ANTHROPIC", "GEMINI", "MOONSHOT", "DEEPSEEK", "MISTRAL", "XAI", "GROQ", "OPENROUTER"}
	var pairs []string
	for _, k := range keys {
		pairs = append(pairs, k+"_API_KEY", "sk-"+k)
	}
	pairs = append(pairs, "OPENAI_BASE_URL", "https://proxy.example/openai/v1", "ANTHROPIC_BASE_URL", "https://proxy.example", "AZURE_OPENAI_API_KEY", "az")
	c, err := gatewayconfig.Default(env(pairs...))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, p := range c.Providers {
		got[p.Name] = p.BaseURL.String() + " " + p.APIKey.Reveal()
	}
	want := map[string]string{
		"openai":     "https://proxy.example/openai/v1 sk-OPENAI",
		"anthropic":  "https://proxy.example/v1 sk-ANTHROPIC",
		"gemini":     "https://generativelanguage.googleapis.com/v1beta/openai sk-GEMINI",
		"moonshot":   "https://api.moonshot.ai/v1 sk-MOONSHOT",
		"deepseek":   "https://api.deepseek.com sk-DEEPSEEK",
		"mistral":    "https://api.mistral.ai/v1 sk-MISTRAL",
		"xai":        "https://api.x.ai/v1 sk-XAI",
		"groq":       "https://api.groq.com/openai/v1 sk-GROQ",
		"openrouter": "https://openrouter.ai/api/v1 sk-OPENROUTER",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("providers (-want +got):\n%s", diff)
	}
}

func TestDefaultRefusesItself(t *testing.T) {
	_, err := gatewayconfig.Default(env("OPENAI_API_KEY", "sk-aig-abc", "OPENAI_BASE_URL", "http://localhost:8080/v1"))
	if err == nil || !strings.Contains(err.Error(), "OPENAI_BASE_URL: is this gateway's own address") || !strings.Contains(err.Error(), "OPENAI_API_KEY: is a key of this gateway") {
		t.Errorf("err = %v", err)
	}
	if strings.Contains(err.Error(), "sk-aig-abc") {
		t.Errorf("the error shows the key: %v", err)
	}
}

func TestSecretsFromFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "key"), "sk-file\r\n")
	path := filepath.Join(dir, "c.yaml")
	write(t, path, "providers: {openai: {api_key: 'file:key', headers: {x-a: 'file:key', x-b: plain}}}\n")
	c, err := gatewayconfig.Read(path, env())
	if err != nil {
		t.Fatal(err)
	}
	p := c.Providers[0]
	if p.APIKey.Reveal() != "sk-file" || p.Headers[1].Value.Reveal() != "plain" {
		t.Errorf("provider = %+v", p)
	}
	if len(c.Files()) < 2 || !slices.Contains(c.Files(), filepath.Join(dir, "key")) {
		t.Errorf("files to watch: %v", c.Files())
	}
}

func TestSecretsAreHidden(t *testing.T) {
	c := mustParse(t, "providers: {openai: {api_key: very-secret-key}}\nadmin_key: sk-aig-admin-admin-admin-admin\n")
	data, err := json.Marshal(c.Providers[0])
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "provider", c.Providers[0], "key", c.AdminKey)
	for _, shown := range []string{fmt.Sprintf("%v %+v %#v", c, c, c.Providers), string(data), log.String()} {
		if strings.Contains(shown, "very-secret") || strings.Contains(shown, "admin-admin") {
			t.Errorf("a secret is shown: %s", shown)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := parse(t, "listen:\n  client: 0.0.0.0:80\ntimezone: UTC\nproviders:\n  opnai:\n    apikey: x\n")
	var problems gatewayconfig.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("err = %v", err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, strings.TrimPrefix(p.Error(), filepath.Dir(p.File)+"/"))
	}
	want := []string{
		`aigateway.yaml:2:3: listen.client: unknown key; did you mean "clients"?`,
		`aigateway.yaml:3:1: timezone: unknown key; did you mean "time_zone"?`,
		`aigateway.yaml:6:5: providers.opnai.apikey: unknown key; did you mean "apis"?`,
		`aigateway.yaml:6:5: providers.opnai: is no preset's name, so it needs a preset or a base_url; did you mean "openai"?`,
		`aigateway.yaml:6:5: providers.opnai.base_url: is missing and the preset has none; write the address before /chat/completions, such as https://llm.example.com/v1`,
	}
	want[2] = strings.Replace(want[2], `"apis"`, `"api_key"`, 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	_, err = parse(t, "time_zone: Mars\nproviders:\n  opnai: {}\n  openai: {api_key: '${NOPE}'}\nstreams: {idle_timeout: 1ms}\n")
	if !errors.As(err, &problems) || len(problems) != 5 {
		t.Fatalf("err = %v", err)
	}
	for i, part := range []string{":1:12: time_zone:", `:3:10: providers.opnai: is no preset's name`, ":3:10: providers.opnai.base_url: is missing", ":4:21: providers.openai.api_key: the environment variable NOPE", ":5:25: streams.idle_timeout: is 1ms; write 1s to 1h0m0s"} {
		if !strings.Contains(problems[i].Error(), part) {
			t.Errorf("problem %d is %v, want %s", i, problems[i], part)
		}
	}
}

func TestReadNamesMissingFile(t *testing.T) {
	_, err := gatewayconfig.Read(filepath.Join(t.TempDir(), "none.yaml"), env())
	if err == nil || !strings.Contains(err.Error(), "none.yaml:1:1: read file") {
		t.Errorf("err = %v", err)
	}
	_, err = gatewayconfig.Read("/dev/zero", env())
	if err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("err = %v", err)
	}
}

// write puts a file in place at once: a reader never sees it empty.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestRetentionHasBounds(t *testing.T) {
	for text, want := range map[string]string{
		"": "35 13", "retention: {calls_days: 2, usage_months: 2}": "2 2", "retention: {calls_days: 3650, usage_months: 1200}": "3650 1200",
		"retention: {calls_days: 7}":      "7 13",
		"retention: {calls_days: 1}":      "retention.calls_days: is 1; write 2 to 3650",
		"retention: {calls_days: 0}":      "retention.calls_days: is 0; write 2 to 3650",
		"retention: {calls_days: 3651}":   "retention.calls_days: is 3651; write 2 to 3650",
		"retention: {usage_months: 1}":    "retention.usage_months: is 1; write 2 to 1200",
		"retention: {usage_months: 1201}": "retention.usage_months: is 1201; write 2 to 1200",
		"retention: {usage_months: -1}":   "retention.usage_months: is -1; write 2 to 1200",
		"retention: {days: 9}":            "retention.days: unknown key",
		"retention: {calls_days: 1.5}":    "retention.calls_days",
	} {
		c, err := parse(t, text)
		got := fmt.Sprint(err)
		if err == nil {
			got = fmt.Sprint(c.Retention.CallsDays, " ", c.Retention.UsageMonths)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
