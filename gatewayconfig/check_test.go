package gatewayconfig_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aigateway/gatewayconfig"
)

// TestWhatAShellWouldReplace: nothing but ${NAME} is replaced, and what looks
// like it should be is told, wherever it stands.
func TestWhatAShellWouldReplace(t *testing.T) {
	for text, want := range map[string]string{
		"providers: {openai: {api_key: $OPENAI_API_KEY}}":                 "1:31: providers.openai.api_key: begins like a variable",
		"providers: {openai: {api_key: $(cat key)}}":                      "providers.openai.api_key: begins like a variable",
		"providers: {openai: {api_key: '{{ .Key }}'}}":                    "providers.openai.api_key: begins like a variable",
		"providers: {openai: {api_key: env:OPENAI_API_KEY}}":              "providers.openai.api_key: begins like a variable",
		"providers: {openai: {api_key: file:~/key}}":                      "providers.openai.api_key: file: has ~ or $",
		"providers: {openai: {api_key: file:$HOME/key}}":                  "providers.openai.api_key: file: has ~ or $",
		"providers: {vllm: {headers: {x-team: $TEAM}}}":                   "providers.vllm.headers.x-team: begins like a variable",
		"admin_key: $ADMIN_KEY":                                           "admin_key: begins like a variable",
		"data_dir: ~/x":                                                   "data_dir: has ~ or $",
		"data_dir: $HOME/x":                                               "data_dir: has ~ or $",
		"prices_file: ~/prices.yaml":                                      "prices_file: has ~ or $",
		"tls: {ca_file: ~/ca.pem}":                                        "tls.ca_file: has ~ or $",
		"providers: {vllm: {base_url: 'https://x', tls: {ca_file: ~/c}}}": "providers.vllm.tls.ca_file: has ~ or $",
		"listen: {control: 'unix:~/control.sock'}":                        "listen.control: has ~ or $",
		"listen: {envoy_admin: 'unix:$XDG_RUNTIME_DIR/a.sock'}":           "listen.envoy_admin: has ~ or $",
		"envoy: {path: ~/bin/envoy}":                                      "envoy.path: has ~ or $",
		"envoy: {path: /no/such/envoy}":                                   "envoy.path: stat /no/such/envoy",
		"envoy: {path: /tmp}":                                             "envoy.path: /tmp is no program",
		"providers: {vllm: {}}\nmodels: [{model: vlm/x}]":                 `2:18: models[0].model: is of the provider "vlm", which is not under providers; did you mean "vllm"?`,
	} {
		file := filepath.Join(t.TempDir(), "aigateway.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := gatewayconfig.Check(file, func(name string) string { return map[string]string{"HOME": "/home/u"}[name] })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}

// TestDrainWaitsForTheLongestAnswer unless told otherwise.
func TestDrainWaitsForTheLongestAnswer(t *testing.T) {
	if got := mustParse(t, "streams: {max_duration: 2h}").Drain; got != (gatewayconfig.Drain{Accept: 2 * time.Second, Timeout: 2 * time.Hour}) {
		t.Errorf("%+v", got)
	}
	if got := mustParse(t, "drain: {accept: 0s, timeout: 20s}").Drain; got != (gatewayconfig.Drain{Timeout: 20 * time.Second}) {
		t.Errorf("%+v", got)
	}
}

// TestEveryProblemAtOnce: a key nobody knows hides nothing, and what follows
// from a value that cannot be read is not told.
func TestEveryProblemAtOnce(t *testing.T) {
	_, err := parse(t, "timezone: UTC\ntime_zone: Mars\nstreams: {idle_timeout: soon, max_duration: 1ms}\ndata_dir: ~/x\nproviders:\n  opnai: {}\n  openai: {api_key: $KEY, apis: 7}\n")
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"1:1: timezone: unknown key", "time_zone: is \"Mars\"", "streams.idle_timeout", "streams.max_duration: is 1ms", "data_dir: has ~",
		"providers.opnai: is no preset's name", "providers.opnai.base_url", "providers.openai.api_key: begins like", "providers.openai.apis"} {
		if strings.Count(err.Error(), want) != 1 {
			t.Errorf("want %q once in:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 9 {
		t.Errorf("%d problems:\n%v", n, err)
	}
}
