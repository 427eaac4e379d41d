package gatewayconfig_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aigateway/envoy"
	"aigateway/gatewayconfig"
	"aigateway/pricing"
)

func TestEndpointsOfPresets(t *testing.T) {
	c := mustParse(t, "providers: {anthropic: {api_key: k}, deepseek: {api_key: k, endpoints: {messages: {path: /x}, chat: {auth_header: X-Key}}}, cohere: {api_key: k}}")
	bearer, key := gatewayconfig.Auth{Header: "authorization", Prefix: "Bearer "}, gatewayconfig.Auth{Header: "x-api-key"}
	for i, want := range []map[gatewayconfig.API]gatewayconfig.Endpoint{
		{"messages": {Path: "/messages", Auth: key}, "count_tokens": {Path: "/messages/count_tokens", Auth: key}},
		{"rerank": {Path: "/v2/rerank", Auth: bearer}, "embeddings": {Path: "/compatibility/v1/embeddings", Auth: bearer}},
		// The file's words go over the preset's, one by one.
		{"messages": {Path: "/x", Auth: key}, "chat": {Path: "/chat/completions", Auth: gatewayconfig.Auth{Header: "x-key", Prefix: "Bearer "}}},
	} {
		if diff := cmp.Diff(want, c.Providers[i].Endpoints); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.Providers[i].Name, diff)
		}
	}
	if len(c.Providers[0].AllowedBetas) == 0 || len(c.Providers[1].AllowedBetas) != 0 {
		t.Errorf("betas of anthropic %q, of cohere %q", c.Providers[0].AllowedBetas, c.Providers[1].AllowedBetas)
	}
	for _, b := range c.Providers[0].AllowedBetas {
		if strings.HasPrefix(b, "context-1m") || strings.HasPrefix(b, "compact") || strings.HasPrefix(b, "mcp-") || strings.HasPrefix(b, "files-") {
			t.Errorf("%s is allowed, and it changes what is billed", b)
		}
	}
}

func TestWireSettings(t *testing.T) {
	c := mustParse(t, `providers:
  own:
    base_url: http://h/v1
    dialect: custom
    extractor: {input: a.b, output: c, cost: d, cache_outside: true}
    endpoints: {rerank: {dialect: cohere_rerank}}
    default_geo: us
    price_multiplier: "1.10"
    require_max_tokens: true
    strict_body: true
    deny_omitted_image_detail: true
    allow_pdf: true
    allow_stored_input: true
`)
	want := pricing.Upstream{
		Provider: "own", Dialect: "custom", Dialects: map[gatewayconfig.API]string{"rerank": "cohere_rerank"}, StreamUsage: "inject", CapField: "max_tokens",
		Extractor: &pricing.Extractor{Input: "a.b", Output: "c", Cost: "d", CacheOutside: true}, DefaultGeo: "us", PriceMultiplier: "1.10",
		RequireMaxTokens: true, StrictBody: true, DenyOmittedImageDetail: true, AllowPDF: true, AllowStoredInput: true,
	}
	if diff := cmp.Diff(want, c.Providers[0].Upstream); diff != "" {
		t.Errorf("upstream (-want +got):\n%s", diff)
	}
}

// A provider whose APIs take its key in different headers, in a real Envoy.
func TestEveryAPIInEnvoy(t *testing.T) {
	up := newProvider(t, false)
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", fmt.Sprintf(`providers:
  claude: {preset: anthropic, base_url: '%[1]s/v1', api_key: provider-key}
  all: {preset: vllm, base_url: '%[1]s/v1', api_key: other-key, headers: {anthropic-version: ours}, apis: %[2]s}
  co: {preset: cohere, base_url: '%[1]s', api_key: co-key}
`, up.URL, strings.ReplaceAll(fmt.Sprint(pricing.Endpoints()), " ", ", "))))
	t.Run("messages", func(t *testing.T) { callsMessages(t, d, up) })
	t.Run("count_tokens", func(t *testing.T) {
		code, _, body, err := d.call("POST", "/v1/messages/count_tokens?beta=true", "claude", "{}", "X-Api-Key", "sk-aig-x")
		if v := up.last(t).Header; err != nil || code != 200 || !strings.HasSuffix(body, " /v1/messages/count_tokens") || v.Get("X-Api-Key") != "provider-key" {
			t.Errorf("%d %q %v, %v", code, body, err, v)
		}
	})
	t.Run("headers of the client and of the file", func(t *testing.T) {
		_, _, _, err := d.call("POST", "/v1/messages", "claude", "{}", "Anthropic-Version", "2099-01-01")
		if v := up.last(t).Header; err != nil || v.Get("Anthropic-Version") != "2099-01-01" || v.Values("Anthropic-Beta") != nil {
			t.Errorf("%v, %v", v, err)
		}
		_, _, _, err = d.call("POST", "/v1/messages", "all", "{}", "Anthropic-Version", "2099-01-01")
		if v := up.last(t).Header; err != nil || strings.Join(v.Values("Anthropic-Version"), "|") != "ours" || v.Get("Authorization") != "Bearer other-key" || v.Values("X-Api-Key") != nil {
			t.Errorf("%v, %v", v, err)
		}
	})
	t.Run("chat of the same provider", func(t *testing.T) {
		_, _, _, err := d.call("POST", "/v1/chat/completions", "claude", "{}", "Anthropic-Beta", "good", "X-Api-Key", "sk-aig-x")
		v := up.last(t).Header
		if err != nil || v.Get("Authorization") != "Bearer provider-key" || v.Values("X-Api-Key") != nil || v.Values("Anthropic-Beta") != nil || v.Values("Anthropic-Version") != nil {
			t.Errorf("%v, %v", v, err)
		}
	})
	t.Run("paths and context extensions", func(t *testing.T) {
		before := len(d.checks())
		var want []string
		for _, api := range pricing.Endpoints() {
			for _, path := range api.Paths() {
				want = append(want, string(api))
				code, _, body, err := d.call("POST", path, "all", "{}")
				if err != nil || code != 200 || !strings.HasSuffix(body, " /v1"+api.Path()) {
					t.Errorf("%s: %d %q %v", path, code, body, err)
				}
			}
		}
		if diff := cmp.Diff(want, d.checks()[before:]); diff != "" {
			t.Errorf("checks (-want +got):\n%s", diff)
		}
		for path, want := range map[string]string{"/v1/rerank": "/v2/rerank", "/v2/rerank": "/v2/rerank", "/v1/embeddings": "/compatibility/v1/embeddings"} {
			if code, _, body, err := d.call("POST", path, "co", "{}"); err != nil || code != 200 || !strings.HasSuffix(body, " "+want) {
				t.Errorf("cohere %s: %d %q %v", path, code, body, err)
			}
		}
	})
	t.Run("refused in Anthropic's envelope", func(t *testing.T) { refusedAsAnthropicDoes(t, d, up) })
}

func callsMessages(t *testing.T, d *dataPlane, up *provider) {
	t.Helper()
	code, _, body, err := d.call("POST", "/v1/messages?beta=true", "claude", "{}", "X-Api-Key", "sk-aig-x", "Anthropic-Beta", "good,context-1m")
	got := up.last(t)
	if err != nil || code != 200 || !strings.HasSuffix(body, " /v1/messages") {
		t.Fatalf("answer: %d %q %v", code, body, err)
	}
	for name, want := range map[string]string{
		"X-Api-Key": "provider-key", "Authorization": "", "Anthropic-Version": "2023-06-01", "Anthropic-Beta": "good", "Accept-Encoding": "identity",
	} {
		if v := strings.Join(got.Header.Values(name), "|"); v != want {
			t.Errorf("header %s = %q, want %q", name, v, want)
		}
	}
}

// refusedAsAnthropicDoes calls what no provider serves of the Messages API.
func refusedAsAnthropicDoes(t *testing.T, d *dataPlane, up *provider) {
	t.Helper()
	before := len(up.requests())
	for _, c := range []struct {
		method, path, provider string
		status                 int
		kind                   string
	}{
		{"POST", "/v1/messages", "co", 404, "not_found_error"},
		{"POST", "/v1/messages", "gone", 503, "api_error"},
		{"GET", "/v1/messages", "claude", 404, "not_found_error"},
		{"POST", "/v1/messages/count_tokens", "co", 404, "not_found_error"},
		{"GET", "/v1/messages/count_tokens", "claude", 404, "not_found_error"},
		{"POST", "/v1/messages/batches", "claude", 404, "not_found_error"},
	} {
		code, header, body, err := d.call(c.method, c.path, c.provider, "")
		var e struct {
			Type  string
			Error struct {
				Type, Message string
				Code          *int
				Metadata      struct{ Reason string }
			}
		}
		if err != nil || json.Unmarshal([]byte(body), &e) != nil || code != c.status || e.Type != "error" || e.Error.Type != c.kind ||
			e.Error.Message == "" || e.Error.Metadata.Reason == "" || e.Error.Code != nil || header.Get(envoy.HeaderClientRequestID) == "" {
			t.Errorf("%s %s: %d %s %v", c.method, c.path, code, body, err)
		}
	}
	if len(up.requests()) != before {
		t.Error("the provider received a refused request")
	}
}
