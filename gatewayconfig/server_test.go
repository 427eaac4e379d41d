package gatewayconfig_test

import (
	"bufio"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"aigateway/envoy"
	"aigateway/gatewayconfig"
)

// provider records what it receives. A request for /stream… is answered line
// by line, as the test feeds it.
type provider struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
	feed chan string
}

func newProvider(t *testing.T, tls bool) *provider {
	t.Helper()
	p := &provider{feed: make(chan string)}
	p.Server = httptest.NewUnstartedServer(p)
	p.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are expected
	if tls {
		p.EnableHTTP2 = true
		p.StartTLS()
	} else {
		p.Start()
	}
	t.Cleanup(p.Close)
	return p
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.seen = append(p.seen, r)
	p.mu.Unlock()
	w.Header().Set("Set-Cookie", "a=b")
	if string(body) != "stream" {
		fmt.Fprintf(w, "%s %s", r.Host, r.URL.Path)
		return
	}
	for {
		select {
		case line, more := <-p.feed:
			if !more {
				return
			}
			fmt.Fprintln(w, line)
			w.(http.Flusher).Flush()
		case <-r.Context().Done(): // the end of a test that failed
			return
		}
	}
}

// send feeds a line to the open stream.
func (p *provider) send(t *testing.T, line string) {
	t.Helper()
	select {
	case p.feed <- line:
	case <-time.After(time.Minute):
		t.Fatalf("nobody takes %q", line)
	}
}

func (p *provider) requests() []*http.Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*http.Request(nil), p.seen...)
}

func (p *provider) last(t *testing.T) *http.Request {
	t.Helper()
	seen := p.requests()
	if len(seen) == 0 {
		t.Fatal("the provider received nothing")
	}
	return seen[len(seen)-1]
}

func (p *provider) host() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.URL, "http://"), "https://")
}

func TestRoutesInEnvoy(t *testing.T) {
	up, rest := newProvider(t, false), newProvider(t, false)
	text := fmt.Sprintf("providers:\n  up: {base_url: '%s/base/v1', api_key: provider-key, headers: {x-plain: '100%%', x-literal: literal-value, x-hidden: '${HIDDEN}', openai-organization: ours}, apis: [chat]}\n  az: {preset: azure, base_url: 'http://localhost:%s/v1', api_key: azure-key}\n",
		up.URL, up.host()[strings.LastIndexByte(up.host(), ':')+1:])
	d := startDataPlane(t, snapshot(t, rest.host(), text, "HIDDEN", "hidden-value"))

	t.Run("provider", func(t *testing.T) { callsProvider(t, d, up) })
	t.Run("other header for the key, name instead of address", func(t *testing.T) {
		code, _, body, err := d.call("POST", "/v1/embeddings", "az", "{}")
		if err != nil || code != 200 || !strings.HasSuffix(body, "/v1/embeddings") || !strings.HasPrefix(body, "localhost:") {
			t.Fatalf("answer: %d %q %v", code, body, err)
		}
		if got := up.last(t); got.Header.Get("Api-Key") != "azure-key" || got.Header.Get("Authorization") != "" {
			t.Errorf("headers: %v", got.Header)
		}
	})
	t.Run("no secret in the dump, literal headers included", func(t *testing.T) {
		dump, err := d.admin.Get(t.Context(), "/config_dump?include_eds")
		if err != nil || !strings.Contains(string(dump), "x-plain") {
			t.Fatalf("config dump: %v", err)
		}
		for _, secret := range []string{"provider-key", "hidden-value", "literal-value", "azure-key"} {
			if strings.Contains(string(dump), secret) {
				t.Errorf("the dump has %s", secret)
			}
		}
	})
	t.Run("context extension", func(t *testing.T) {
		if got := strings.Join(d.checks(), " "); got != "chat embeddings" {
			t.Errorf("checks: %s", got)
		}
	})
	t.Run("rest", func(t *testing.T) {
		for _, path := range []string{"/v1/usage/by-tag?month=2026-04", "/v1/budgets", "/v1/keys/key_1", "/v1/models", "/v1/explain", "/openapi.json"} {
			code, _, body, err := d.call("GET", path, "", "")
			if err != nil || code != 200 || !strings.HasSuffix(body, strings.Split(path, "?")[0]) {
				t.Errorf("%s: %d %q %v", path, code, body, err)
			}
			if got := rest.last(t).Header.Get("Authorization"); got != "Bearer sk-aig-client" {
				t.Errorf("%s: the REST gateway got %q", path, got)
			}
		}
	})
	t.Run("refused in Envoy", func(t *testing.T) { refusedInEnvoy(t, d, up) })
}

// callsProvider calls with every header that a client must not decide.
func callsProvider(t *testing.T, d *dataPlane, up *provider) {
	t.Helper()
	code, header, body, err := d.call("POST", "/v1/chat/completions?q=1", "up", "{}", "X-Api-Key", "sk-aig-x", "Cookie", "c=d", "X-Aig-Other", "y",
		"Openai-Organization", "theirs", "X-Goog-Api-Key", "z", "Accept-Encoding", "gzip", envoy.HeaderUpstream, "az")
	if err != nil || code != 200 || body != up.host()+" /base/v1/chat/completions" || header.Get("Set-Cookie") != "" {
		t.Fatalf("answer: %d %q %v %v", code, body, header, err)
	}
	got := up.last(t)
	for name, want := range map[string]string{
		"Authorization": "Bearer provider-key", "X-Plain": "100%", "X-Hidden": "hidden-value", "X-Literal": "literal-value", "Openai-Organization": "ours", "Accept-Encoding": "identity",
		"X-Api-Key": "", "Cookie": "", "X-Aig-Tag": "", "X-Aig-Other": "", "X-Goog-Api-Key": "", "X-Forwarded-For": "", envoy.HeaderUpstream: "",
	} {
		if v := strings.Join(got.Header.Values(name), ","); v != want {
			t.Errorf("header %s = %q, want %q", name, v, want)
		}
	}
	if got.URL.RawQuery != "q=1" {
		t.Errorf("query = %q", got.URL.RawQuery)
	}
}

// refusedInEnvoy calls what no provider serves: Envoy answers by itself.
func refusedInEnvoy(t *testing.T, d *dataPlane, up *provider) {
	t.Helper()
	before := len(up.requests())
	for _, c := range []struct {
		method, path, provider string
		status                 int
		kind, message          string
	}{
		{"POST", "/v1/responses/x/y", "up", 404, "not_found", "only POST /v1/responses is"},
		{"GET", "/v1/responses", "up", 404, "not_found", "only POST"},
		{"POST", "/v1/completions", "up", 404, "not_found", "provider up has no completions"},
		{"POST", "/v1/rerank", "up", 404, "not_found", "provider up has no rerank"},
		{"POST", "/v1/responses", "up", 404, "not_found", "provider up has no responses"},
		{"GET", "/v1/chat/completions", "up", 404, "not_found", "only POST"},
		{"GET", "/v1/budgetsx", "", 404, "not_found", "nothing is served"},
		{"GET", "/", "", 404, "not_found", "nothing is served"},
		{"POST", "/v1/chat/completionsx", "up", 404, "not_found", "nothing is served"},
		{"POST", "/v1/embeddings", "up", 404, "not_found", "provider up has no embeddings"},
		{"POST", "/v1/chat/completions", "gone", 503, "service_unavailable", "nothing was sent"},
	} {
		code, header, body, err := d.call(c.method, c.path, c.provider, "")
		var envelope struct {
			Error struct {
				Message, Type string
				Code          int
			}
		}
		if err != nil || json.Unmarshal([]byte(body), &envelope) != nil || code != c.status || envelope.Error.Code != c.status ||
			envelope.Error.Type != c.kind || !strings.Contains(envelope.Error.Message, c.message) ||
			header.Get("Content-Type") != "application/json" || header.Get(envoy.HeaderClientRequestID) == "" {
			t.Errorf("%s %s: %d %s %v %v", c.method, c.path, code, body, header, err)
		}
		if (header.Get(envoy.HeaderShouldRetry) == "true") != (code == 503) {
			t.Errorf("%s %s: should-retry is %q", c.method, c.path, header.Get(envoy.HeaderShouldRetry))
		}
	}
	if len(up.requests()) != before {
		t.Errorf("the provider received a refused request")
	}
}

// TestEveryPresetIsAcceptedByEnvoy needs no network: names need not resolve.
func TestEveryPresetIsAcceptedByEnvoy(t *testing.T) {
	text := "providers: {openai: {}, anthropic: {}, gemini: {}, moonshot: {}, deepseek: {}, mistral: {}, xai: {}, groq: {}, openrouter: {}, vllm: {}, ollama: {}, azure: {base_url: 'https://r.openai.azure.com/openai/v1'}, " +
		"entra: {preset: azure, base_url: 'https://r.openai.azure.com/openai/v1', oauth2: {tenant_id: t, client_id: c, client_secret: s}}, foundry: {base_url: 'https://r.services.ai.azure.com/anthropic/v1', oauth2: {tenant_id: t, client_id: c, client_secret: s}}, " +
		"vertex: {base_url: 'https://l-aiplatform.googleapis.com/v1/projects/p/locations/l/endpoints/openapi'}, bedrock: {aws: {region: us-east-1, access_key_id: a, secret_access_key: s}}, bedrock-mantle: {aws: {region: us-east-1, access_key_id: a, secret_access_key: s}}, " +
		" ip: {base_url: 'https://192.0.2.1/v1'}, six: {base_url: 'https://[2001:db8::1]:8443/v1'}}"
	var pairs []string
	for _, k := range []string{"OPENAI", "ANTHROPIC", "GEMINI", "MOONSHOT", "DEEPSEEK", "MISTRAL", "XAI", "GROQ", "OPENROUTER", "AZURE_OPENAI"} {
		pairs = append(pairs, k+"_API_KEY", "k")
	}
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", text, pairs...))
	if err := errors.Join(d.server.Ready(), d.server.Lagging()); err != nil {
		t.Error(err)
	}
}

func TestReloadUnderAnOpenStream(t *testing.T) {
	old, next := newProvider(t, false), newProvider(t, false)
	file := func(base, key string) string {
		return fmt.Sprintf("providers: {up: {base_url: '%s', api_key: %s}}", base, key)
	}
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", file(old.URL+"/v1", "key-1")))
	response := d.openStream(t, old)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("stream: %q, %v; want %q", lines.Text(), lines.Err(), want)
		}
	}
	expect("first")

	// A new key for the same place, and a new prefix.
	d.set(t, snapshot(t, "127.0.0.1:1", file(old.URL+"/v2", "key-2")))
	poll(t, "the new key and prefix", func() bool {
		_, _, body, err := d.call("POST", "/v1/chat/completions", "up", "")
		return err == nil && body == old.host()+" /v2/chat/completions" && old.last(t).Header.Get("Authorization") == "Bearer key-2"
	})
	old.send(t, "second")
	expect("second")

	// A new place: no call fails while it happens, none mixes old and new.
	stop := make(chan struct{})
	failed := d.callUntil(stop)
	d.set(t, snapshot(t, "127.0.0.1:1", file(next.URL+"/v3", "key-3")))
	close(stop)
	if failure, bad := <-failed; bad {
		t.Errorf("a call failed during the change: %s", failure)
	}
	poll(t, "the new place", func() bool {
		_, _, body, _ := d.call("POST", "/v1/chat/completions", "up", "")
		return body == next.host()+" /v3/chat/completions"
	})
	wantNoMixture(t, old, next)
	old.send(t, "third")
	expect("third")
	close(old.feed)
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("end of the stream: %q %v", lines.Text(), lines.Err())
	}
}

// wantNoMixture compares what two places received with what was meant for each.
func wantNoMixture(t *testing.T, old, next *provider) {
	t.Helper()
	for _, r := range old.requests() {
		if key := r.Header.Get("Authorization"); key == "Bearer key-3" || !strings.HasPrefix(r.Host, old.host()) {
			t.Errorf("the old place received %s for %s", key, r.Host)
		}
	}
	for _, r := range next.requests() {
		if r.Header.Get("Authorization") != "Bearer key-3" || r.URL.Path != "/v3/chat/completions" {
			t.Errorf("the new place received %s %s", r.Header.Get("Authorization"), r.URL.Path)
		}
	}
}

// callUntil calls until it is told to stop or a call fails, which it then tells.
func (d *dataPlane) callUntil(stop <-chan struct{}) <-chan string {
	failed := make(chan string, 1)
	go func() {
		defer close(failed)
		for {
			select {
			case <-stop:
				return
			default:
			}
			code, _, body, err := d.call("POST", "/v1/chat/completions", "up", "")
			if code != 200 {
				failed <- fmt.Sprintf("%d %s %v", code, body, err)
				return
			}
		}
	}()
	return failed
}

// openStream begins an answer of the provider up, which ends when its feed does.
func (d *dataPlane) openStream(t *testing.T, old *provider) *http.Response {
	t.Helper()
	request, err := http.NewRequest("POST", d.url+"/v1/chat/completions", strings.NewReader("stream"))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set(envoy.HeaderTag, "up")
	stream := make(chan *http.Response, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Errorf("open stream: %v", err)
		}
		stream <- response
	}()
	old.send(t, "first")
	response := <-stream
	if response == nil {
		t.FailNow()
	}
	return response
}

func TestRejectedSnapshotIsReported(t *testing.T) {
	up := newProvider(t, false)
	text := fmt.Sprintf("providers: {up: {base_url: '%s/v1', api_key: the-provider-key}}", up.URL)
	good := snapshot(t, "127.0.0.1:1", text)
	d := startDataPlane(t, good)
	bad, err := good.WithRoute(rejectedRoute())
	if err != nil {
		t.Fatal(err)
	}
	err = d.server.Apply(t.Context(), bad)
	var nack gatewayconfig.Nack
	if !errors.As(err, &nack) || nack.Type != "route" || nack.Node != "test-envoy" || nack.Message == "" || strings.Contains(nack.Message, "the-provider-key") {
		t.Errorf("rejection = %+v", nack)
	}
	if d.server.Lagging() == nil || d.server.Ready() != nil {
		t.Errorf("the last good configuration serves, the newest was rejected: ready %v, lagging %v", d.server.Ready(), d.server.Lagging())
	}
	if text := d.log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "type=route") || strings.Contains(text, "the-provider-key") {
		t.Errorf("log: %s", text)
	}
	if n := counter(t, d.metrics, "aig_xds_nacks_total", "route"); n != 1 {
		t.Errorf("aig_xds_nacks_total{type=route} = %v, want 1", n)
	}
	if code, _, _, err := d.call("POST", "/v1/chat/completions", "up", ""); code != 200 {
		t.Errorf("the last good configuration does not serve: %d %v", code, err)
	}
	d.startEnvoy(t)
	if code, _, _, err := d.call("POST", "/v1/chat/completions", "up", ""); code != 200 {
		t.Errorf("an Envoy that starts after the rejection does not serve: %d %v", code, err)
	}
	if d.server.Lagging() == nil {
		t.Error("going back to the last good configuration hides the rejection")
	}
	d.set(t, good)
	if err := d.server.Lagging(); err != nil {
		t.Errorf("mended, but: %v", err)
	}
	// The next change arrives, though the rejection cut the stream.
	d.set(t, snapshot(t, "127.0.0.1:1", strings.Replace(text, "/v1", "/v9", 1)))
	poll(t, "the next change", func() bool {
		_, _, body, _ := d.call("POST", "/v1/chat/completions", "up", "")
		return strings.HasSuffix(body, "/v9/chat/completions")
	})
}

// rejectedRoute is one that Envoy refuses, in words that quote a secret.
func rejectedRoute() *routev3.Route {
	return &routev3.Route{
		Match:                &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/x"}},
		Action:               &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 200}},
		ResponseHeadersToAdd: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x-a", Value: "%NO_SUCH_COMMAND%the-provider-key"}}},
	}
}

func TestProviderIsVerified(t *testing.T) {
	up := newProvider(t, true)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: up.Certificate().Raw})
	dir := t.TempDir()
	path := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(path, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	port := up.host()[strings.LastIndexByte(up.host(), ':')+1:]
	// httptest's certificate names 127.0.0.1 and example.com, not localhost.
	text := fmt.Sprintf("providers:\n  system: {base_url: '%[1]s/v1', api_key: k}\n  own: {base_url: '%[1]s/v1', api_key: k, tls: {ca_file: %[2]s}}\n  misnamed: {base_url: 'https://localhost:%[3]s/v1', api_key: k, tls: {ca_file: %[2]s}}\n", up.URL, path, port)
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", text))
	for _, name := range []string{"system", "misnamed"} {
		if code, _, body, err := d.call("POST", "/v1/chat/completions", name, ""); code != 503 && code != 502 {
			t.Errorf("%s: %d %q %v", name, code, body, err)
		}
	}
	if n := len(up.requests()); n != 0 {
		t.Fatalf("%d requests reached a provider that was not verified", n)
	}
	code, _, body, err := d.call("POST", "/v1/chat/completions", "own", "")
	if code != 200 || err != nil {
		t.Fatalf("own CA: %d %q %v", code, body, err)
	}
	if got := up.last(t); got.ProtoMajor != 2 || got.Header.Get("Authorization") != "Bearer k" {
		t.Errorf("request: %s %v", got.Proto, got.Header)
	}
	// The whole file may name the CA instead.
	d.set(t, snapshot(t, "127.0.0.1:1", fmt.Sprintf("tls: {ca_file: %s}\nproviders: {system: {base_url: '%s/v1', api_key: k}}", path, up.URL)))
	poll(t, "a call verified by tls.ca_file", func() bool {
		code, _, _, _ := d.call("POST", "/v1/chat/completions", "system", "")
		return code == 200
	})
}
