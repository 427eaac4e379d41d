package gatewayconfig_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// TestRejectedClusterKeepsTheOldRoutes stops a change at its first step: routes
// to clusters that Envoy refused must not replace those that work.
func TestRejectedClusterKeepsTheOldRoutes(t *testing.T) {
	old, next := newProvider(t, false), newProvider(t, false)
	file := func(p *provider) string {
		return fmt.Sprintf("providers: {up: {base_url: '%s/v1', api_key: k}}", p.URL)
	}
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", file(old)))
	good := snapshot(t, "127.0.0.1:1", file(next))
	bad, err := good.WithCluster(&clusterv3.Cluster{Name: "bad", TransportSocket: &corev3.TransportSocket{
		Name:       "no.such.socket",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: &anypb.Any{TypeUrl: "type.googleapis.com/no.such.Type"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.server.Set(bad); err != nil {
		t.Fatal(err)
	}
	poll(t, "the rejection", func() bool { nack, rejected := d.server.LastNack(); return rejected && nack.Type == "cluster" })
	for range 20 {
		if code, _, body, err := d.call("POST", "/v1/chat/completions", "up", ""); code != 200 || !strings.HasPrefix(body, old.host()) {
			t.Fatalf("after the rejection: %d %q %v", code, body, err)
		}
	}
	if d.server.Applied(bad.Version()) {
		t.Error("a rejected snapshot counts as applied")
	}
	d.set(t, good)
	poll(t, "the mended change", func() bool {
		_, _, body, _ := d.call("POST", "/v1/chat/completions", "up", "")
		return strings.HasPrefix(body, next.host()) && d.server.Ready() == nil
	})
}

// TestReloadUnderARequestBeingDecided moves a provider while a request is
// checked: Envoy sends it by the routes of before, so the old place must still
// be known, however long the request takes.
func TestReloadUnderARequestBeingDecided(t *testing.T) {
	old, next := newProvider(t, false), newProvider(t, false)
	file := func(p *provider) string {
		return fmt.Sprintf("providers: {up: {base_url: '%s/v1', api_key: k}}", p.URL)
	}
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", file(old)))
	deciding, decide := make(chan struct{}), make(chan struct{})
	d.mu.Lock()
	d.checked = func() {
		close(deciding)
		<-decide
	}
	d.mu.Unlock()
	type answer struct {
		code int
		body string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		code, _, body, err := d.call("POST", "/v1/chat/completions", "up", "")
		answered <- answer{code, body, err}
	}()
	<-deciding
	d.mu.Lock()
	d.checked = nil
	d.mu.Unlock()

	d.set(t, snapshot(t, "127.0.0.1:1", file(next)))
	poll(t, "the new place", func() bool {
		_, _, body, _ := d.call("POST", "/v1/chat/completions", "up", "")
		return strings.HasPrefix(body, next.host())
	})
	close(decide)
	if got := <-answered; got.code != 200 || !strings.HasPrefix(got.body, old.host()) {
		t.Errorf("the request under way: %d %q %v, want an answer of the old place", got.code, got.body, got.err)
	}
}

// TestOldClusterGoes sees the last step of a change.
func TestOldClusterGoes(t *testing.T) {
	old, next := newProvider(t, false), newProvider(t, false)
	file := func(p *provider) string {
		return fmt.Sprintf("providers: {up: {base_url: '%s/v1', api_key: k}}", p.URL)
	}
	d := startLingering(t, snapshot(t, "127.0.0.1:1", file(old)), time.Millisecond)
	d.set(t, snapshot(t, "127.0.0.1:1", file(next)))
	poll(t, "the old cluster's end", func() bool {
		clusters, err := d.admin.Get(t.Context(), "/clusters")
		return err == nil && strings.Contains(string(clusters), next.host()) && !strings.Contains(string(clusters), old.host())
	})
}
