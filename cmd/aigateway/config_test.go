package main

import (
	"strings"
	"testing"

	"aigateway/gatewayconfig"
)

func TestConfigSchemaAndExample(t *testing.T) {
	if r := runCLI(t, nil, "config", "schema"); r.code != 0 || r.stdout != gatewayconfig.Schema() || r.stderr != "" {
		t.Errorf("schema: %+v", r)
	}
	if r := runCLI(t, nil, "config", "example"); r.code != 0 || r.stdout != gatewayconfig.Example() || r.stderr != "" {
		t.Errorf("example: %+v", r)
	}
}

// TestConfigExampleIsRight: what we hand out passes our own check, prices
// included.
func TestConfigExampleIsRight(t *testing.T) {
	file := writeFile(t, "aigateway.yaml", gatewayconfig.Example())
	env := map[string]string{"XDG_DATA_HOME": t.TempDir(), "OPENAI_API_KEY": "sk-secret-1", "ANTHROPIC_API_KEY": "sk-secret-2", "RESEARCH_API_KEY": "sk-secret-3"}
	for _, format := range []string{"table", "json", "yaml"} {
		r := runCLI(t, env, "config", "check", file, "-o", format)
		if r.code != 0 || !strings.Contains(r.stderr, "is right") {
			t.Fatalf("%s: %+v", format, r)
		}
		if strings.Contains(r.stdout+r.stderr, "sk-secret") {
			t.Errorf("%s shows a secret", format)
		}
	}
}

func TestConfigCheckOfTheEnvironment(t *testing.T) {
	env := map[string]string{"XDG_DATA_HOME": t.TempDir(), "MOONSHOT_API_KEY": "sk-secret"}
	r := runCLI(t, env, "config", "check")
	if r.code != 0 || !strings.Contains(r.stdout, "moonshot  moonshot  set  chat  https://api.moonshot.ai/v1") || !strings.Contains(r.stderr, "the environment's configuration is right") {
		t.Errorf("%+v", r)
	}
	delete(env, "MOONSHOT_API_KEY")
	if r = runCLI(t, env, "config", "check"); r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "no providers") {
		t.Errorf("%+v", r)
	}
}

func TestConfigCheckProblems(t *testing.T) {
	env := map[string]string{"XDG_DATA_HOME": t.TempDir()}
	file := writeFile(t, "aigateway.yaml", "provders: {}\nlisten: {clients: nowhere}\nproviders: {openai: {api_key: \"sk-secret\\e[2J\", \"\\e[2J\": 1}}\n")
	r := runCLI(t, env, "config", "check", file)
	wantError(t, r, exitError, "the configuration has", file+":1:1: provders: unknown key", "config example")
	if strings.Contains(r.stderr, "sk-secret") || strings.Contains(r.stderr, "\x1b") {
		t.Errorf("stderr shows the secret or a raw escape: %q", r.stderr)
	}
	file = writeFile(t, "prices.yaml", "models:\n  - model: openai/x\n    prices: [{input: \"-1\", output: \"1\"}]\n")
	wantError(t, runCLI(t, env, "config", "check", file), exitError, "prices.yaml", "line 3")
	wantError(t, runCLI(t, env, "config", "check", "--config", file), exitError, "prices.yaml", "line 3")
	wantError(t, runCLI(t, env, "config", "check", file, "--config", file), exitUsage, "both given")
	wantError(t, runCLI(t, env, "config", "check", "a", "b"), exitUsage, `unexpected argument "b"`)
	wantError(t, runCLI(t, env, "config", "check", file+".missing"), exitError, "read file")
}
