package gatewayconfig_test

import (
	"fmt"
	"strings"
	"testing"

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
