package gatewayconfig_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"aigateway/gatewayconfig"
	"aigateway/internal/goldentest"
)

// shellLike are files with values that a shell would replace, or that name what is
// not there, each with the place of its problem.
var shellLike = map[string]string{
	"providers: {openai: {api_key: $OPENAI_API_KEY}}":                 "1:31: providers.openai.api_key:",
	"providers: {openai: {api_key: $(cat key)}}":                      "providers.openai.api_key:",
	"providers: {openai: {api_key: '{{ .Key }}'}}":                    "providers.openai.api_key:",
	"providers: {openai: {api_key: env:OPENAI_API_KEY}}":              "providers.openai.api_key:",
	"providers: {openai: {api_key: '%OPENAI_API_KEY%'}}":              "providers.openai.api_key:",
	"providers: {openai: {api_key: <your key>}}":                      "providers.openai.api_key:",
	"providers: {openai: {api_key: Bearer sk-12345678}}":              "providers.openai.api_key:",
	"providers: {openai: {api_key: file:~/key}}":                      "providers.openai.api_key:",
	"providers: {openai: {api_key: file:$HOME/key}}":                  "providers.openai.api_key:",
	"providers: {vllm: {headers: {x-team: $TEAM}}}":                   "providers.vllm.headers.x-team:",
	"admin_key: $ADMIN_KEY":                                           "admin_key:",
	"data_dir: ~/x":                                                   "data_dir:",
	"data_dir: $HOME/x":                                               "data_dir:",
	"prices_file: ~/prices.yaml":                                      "prices_file:",
	"tls: {ca_file: ~/ca.pem}":                                        "tls.ca_file:",
	"providers: {vllm: {base_url: 'https://x', tls: {ca_file: ~/c}}}": "providers.vllm.tls.ca_file:",
	"listen: {control: 'unix:~/control.sock'}":                        "listen.control:",
	"listen: {envoy_admin: 'unix:$XDG_RUNTIME_DIR/a.sock'}":           "listen.envoy_admin:",
	"envoy: {path: ~/bin/envoy}":                                      "envoy.path:",
	"envoy: {path: /no/such/envoy}":                                   "envoy.path:",
	"envoy: {path: /tmp}":                                             "envoy.path:",
	"providers: {vllm: {}}\nmodels: [{model: vlm/x}]":                 "2:18: models[0].model:",
}

// TestWhatAShellWouldReplace: nothing but ${NAME} is replaced, and what looks
// like it should be is told, wherever it stands.
func TestWhatAShellWouldReplace(t *testing.T) {
	for text, place := range shellLike {
		if err := checkText(t, text); err == nil || !strings.Contains(err.Error(), place) {
			t.Errorf("%s: %v; want %s", text, err, place)
		}
	}
}

func checkText(t *testing.T, text string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "aigateway.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := gatewayconfig.Check(file, func(name string) string { return map[string]string{"HOME": "/home/u"}[name] })
	if err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), filepath.Dir(file)+"/", ""))
	}
	return err
}

// TestWording holds what is said of bad files; other tests look at the place only.
func TestWording(t *testing.T) {
	texts := append(slices.Sorted(maps.Keys(shellLike)), manyProblems)
	for _, listen := range slices.Sorted(maps.Keys(controls)) {
		if controls[listen] != "" {
			texts = append(texts, "listen: {"+listen+"}")
		}
	}
	var said strings.Builder
	for _, text := range texts {
		fmt.Fprintf(&said, "%s\n\t%s\n", strings.ReplaceAll(text, "\n", "\n\t\t"), strings.ReplaceAll(fmt.Sprint(checkText(t, text)), "\n", "\n\t"))
	}
	goldentest.Equal(t, "testdata/problems.golden", said.String())
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

const manyProblems = "timezone: UTC\ntime_zone: Mars\nstreams: {idle_timeout: soon, max_duration: 1ms}\ndata_dir: ~/x\nproviders:\n  opnai: {}\n  openai: {api_key: $KEY, apis: 7}\n"

// TestEveryProblemAtOnce: a key nobody knows hides nothing, and what follows
// from a value that cannot be read is not told.
func TestEveryProblemAtOnce(t *testing.T) {
	_, err := parse(t, manyProblems)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"1:1: timezone:", "2:12: time_zone:", "streams.idle_timeout:", "streams.max_duration:", "data_dir:",
		"providers.opnai:", "providers.opnai.base_url:", "providers.openai.api_key:", "providers.openai.apis:"} {
		if strings.Count(err.Error(), want) != 1 {
			t.Errorf("want %q once in:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 9 {
		t.Errorf("%d problems:\n%v", n, err)
	}
}

// TestDamagedCertificates: one that Envoy cannot read among those that it can would
// keep it from all of the configuration, at the next start if not now.
func TestDamagedCertificates(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	der := server.Certificate().Raw
	block := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	good := block(der)
	path := filepath.Join(t.TempDir(), "ca.pem")
	for text, damaged := range map[string]int{
		good: 0, "# ours\n" + good + "\n" + good: 0,
		good + block([]byte("no certificate")):                      1,
		good + block(der[:len(der)-1]):                              1,
		block(append(slices.Clone(der), 0)) + block(der[1:]) + good: 2,
		good + good[:len(good)/2]:                                   1,
		good + strings.Replace(good, "MII", "M!I", 1):               1,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"tls: {ca_file: %s}", "providers: {vllm: {base_url: 'https://x', tls: {ca_file: %s}}}"} {
			err := checkText(t, fmt.Sprintf(file, path))
			if damaged == 0 && err != nil || damaged > 0 && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("ca_file: %d of the certificates in %s are damaged", damaged, path))) {
				t.Errorf("%d damaged: %v", damaged, err)
			}
		}
	}
}

// TestFilesThatSayNothing: so looks a file of which only the beginning is written.
func TestFilesThatSayNothing(t *testing.T) {
	for _, text := range []string{"", " \n\t\n", "# comment", "---\n# The gateway's configuration\n#\n\n   # listen: x\n"} {
		if err := checkText(t, text); err == nil || !strings.Contains(err.Error(), "write {}") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := checkText(t, "# all defaults\n{}\n"); err != nil {
		t.Error(err)
	}
}
