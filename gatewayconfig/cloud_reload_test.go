package gatewayconfig_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// tokens is a token service whose answers wait for open, if there is one.
type tokens struct {
	*httptest.Server

	mu      sync.Mutex
	open    chan struct{}
	secrets []string // it was asked with
}

func newTokens(t *testing.T) *tokens {
	t.Helper()
	s := &tokens{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.secrets = append(s.secrets, r.FormValue("client_secret"))
		open := s.open
		s.mu.Unlock()
		if open != nil {
			select {
			case <-open:
			case <-r.Context().Done():
			}
		}
		fmt.Fprintf(w, `{"access_token":"token","expires_in":2,"token_type":"Bearer"}`)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *tokens) hold(open chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = open
}

func (s *tokens) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.secrets...)
}

// TestCloudsComeAndGo replaces and removes providers while tokens are asked for,
// while calls wait for one, and while a stream runs: Envoy lives, the stream ends
// as it should, and a new client secret is used without a new cluster.
func TestCloudsComeAndGo(t *testing.T) {
	up, service := newProvider(t, false), newTokens(t)
	file := func(client, secret string) string {
		return fmt.Sprintf("providers:\n  az: {preset: azure, base_url: '%s/v1', oauth2: {token_url: '%s/t', client_id: %s, client_secret: %s}}\n"+
			"  br: {preset: bedrock, base_url: '%s/v1', aws: {region: r, access_key_id: %s, secret_access_key: %s}}\n"+
			"  vx: {preset: vertex, base_url: '%s/v1'}\n", up.URL, service.URL, client, secret, up.URL, client, secret, up.URL)
	}
	metadata := strings.TrimPrefix(service.URL, "http://")
	d := startLingering(t, snapshot(t, "127.0.0.1:1", file("c", "first"), "GCE_METADATA_HOST", metadata), 10*time.Millisecond)
	answers := func(provider string) {
		t.Helper()
		poll(t, provider+" answers", func() bool {
			code, _, _, err := d.call("POST", "/v1/chat/completions", provider, "{}")
			return err == nil && code == 200
		})
	}
	for _, provider := range []string{"az", "br", "vx"} {
		answers(provider)
	}
	stream := make(chan string, 1)
	go func() {
		code, _, body, err := d.call("POST", "/v1/chat/completions", "br", "stream")
		stream <- fmt.Sprint(code, " ", body, err)
	}()
	up.send(t, "signed with the first keys")
	d.set(t, snapshot(t, "127.0.0.1:1", file("c", "second"), "GCE_METADATA_HOST", metadata))
	poll(t, "the new client secret is used", func() bool {
		s := service.asked()
		return s[len(s)-1] == "second" || len(s) > 1 && s[len(s)-2] == "second"
	})

	held := make(chan struct{})
	service.hold(held)
	var calls sync.WaitGroup
	for i := range 12 {
		for _, provider := range []string{"vx", "az"} {
			calls.Go(func() { _, _, _, _ = d.call("POST", "/v1/chat/completions", provider, "{}") })
		}
		next := file(fmt.Sprintf("c%d", i), "s")
		if i%3 == 2 {
			next = "providers: {other: {base_url: '" + up.URL + "/v1'}}"
		}
		d.set(t, snapshot(t, "127.0.0.1:1", next, "GCE_METADATA_HOST", metadata))
	}
	close(held)
	calls.Wait()
	service.hold(nil)
	d.set(t, snapshot(t, "127.0.0.1:1", file("c", "last"), "GCE_METADATA_HOST", metadata))
	for _, provider := range []string{"az", "br", "vx"} {
		answers(provider)
	}
	up.send(t, "and answered under the last")
	close(up.feed)
	if got := <-stream; got != "200 signed with the first keys\nand answered under the last\n<nil>" {
		t.Errorf("the stream: %s", got)
	}
	if _, err := d.admin.Get(t.Context(), "/ready"); err != nil {
		t.Errorf("Envoy: %v", err)
	}
}
