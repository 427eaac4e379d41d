package gatewayconfig_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"

	"aigateway/gatewayconfig"
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
	var nack gatewayconfig.Nack
	if err := d.server.Apply(t.Context(), bad); !errors.As(err, &nack) || nack.Type != "cluster" {
		t.Fatalf("the rejection: %v", err)
	}
	for range 20 {
		if code, _, body, err := d.call("POST", "/v1/chat/completions", "up", ""); code != 200 || !strings.HasPrefix(body, old.host()) {
			t.Fatalf("after the rejection: %d %q %v", code, body, err)
		}
	}
	if err := d.server.Lagging(); err != error(nack) || d.server.Ready() != nil {
		t.Errorf("after the rejection: ready %v, lagging %v", d.server.Ready(), err)
	}
	d.set(t, good)
	if err := d.server.Lagging(); err != nil {
		t.Errorf("mended, but: %v", err)
	}
	poll(t, "the mended change", func() bool {
		_, _, body, _ := d.call("POST", "/v1/chat/completions", "up", "")
		return strings.HasPrefix(body, next.host())
	})
}

// TestEverySnapshotHasItsOwnAnswer follows each rejected configuration at once
// by another, good and bad in turn: an answer is never the one before.
func TestEverySnapshotHasItsOwnAnswer(t *testing.T) {
	up, other := newProvider(t, false), newProvider(t, false)
	file := func(p *provider, i int) string {
		return fmt.Sprintf("providers: {up: {base_url: '%s/v%d', api_key: k}}", p.URL, i)
	}
	d := startDataPlane(t, snapshot(t, "127.0.0.1:1", file(up, 0)))
	for i := 1; i <= 6; i++ {
		place := []*provider{up, other}[i%2] // with new clusters, so in steps
		bad, err := snapshot(t, "127.0.0.1:1", file(place, 100+i)).WithRoute(rejectedRoute())
		if err != nil {
			t.Fatal(err)
		}
		var nack gatewayconfig.Nack
		if err := d.server.Apply(t.Context(), bad); !errors.As(err, &nack) || nack.Type != "route" {
			t.Fatalf("%d: answer to a bad configuration: %v", i, err)
		}
		if err := d.server.Ready(); err != nil {
			t.Errorf("%d: not ready, though the last good configuration serves: %v", i, err)
		}
		d.set(t, snapshot(t, "127.0.0.1:1", file(place, i)))
		if err := d.server.Lagging(); err != nil {
			t.Errorf("%d: accepted, but %v", i, err)
		}
		poll(t, "the mended configuration", func() bool {
			_, _, body, _ := d.call("POST", "/v1/chat/completions", "up", "")
			return body == fmt.Sprintf("%s /v%d/chat/completions", place.host(), i)
		})
	}
}

// TestWaitingEndsWithItsContext: an Envoy that says nothing holds nobody up, and
// what it was sent is in force once it says yes.
func TestWaitingEndsWithItsContext(t *testing.T) {
	server, stream := silentEnvoy(t)
	ctx, stop := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() { answered <- server.Apply(ctx, snapshot(t, "127.0.0.1:1", "providers: {vllm: {api_key: k}}")) }()
	var sent []*discoveryv3.DeltaDiscoveryResponse
	for _, typeURL := range []string{resource.ClusterType, resource.RouteType} {
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "silent"}, TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}}); err != nil {
			t.Fatal(err)
		}
		response, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, response)
	}
	stop()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("answer %v, want one that says that waiting was ended", err)
	}
	if server.Ready() == nil || server.Lagging() == nil {
		t.Error("nobody accepted anything, and it is ready")
	}
	for _, response := range sent {
		if err := stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: response.GetTypeUrl(), ResponseNonce: response.GetNonce(), ErrorDetail: &status.Status{Message: "no"}}); err != nil {
			t.Fatal(err)
		}
	}
	poll(t, "the late rejection", func() bool {
		var nack gatewayconfig.Nack
		return errors.As(server.Lagging(), &nack) && nack.Node == "silent" && nack.Message == "no"
	})
	server.Close()
	if _, err := stream.Recv(); err == nil {
		t.Error("Close left the stream open")
	}
}

// silentEnvoy is a server with one client, which the test speaks for.
func silentEnvoy(t *testing.T) (*gatewayconfig.Server, discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient) {
	t.Helper()
	server, err := gatewayconfig.NewServer(gatewayconfig.ServerConfig{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	control := grpc.NewServer()
	server.Register(control)
	go control.Serve(listener)
	t.Cleanup(control.Stop)
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(connection).DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	poll(t, "the connection", func() bool { return !server.Alone() })
	return server, stream
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
	deciding, hold := make(chan struct{}), make(chan struct{})
	decide := sync.OnceFunc(func() { close(hold) })
	defer decide() // the server's end waits for it
	d.mu.Lock()
	d.checked = func() {
		close(deciding)
		<-hold
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
	decide()
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
