package gatewayconfig_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"aigateway/gatewayconfig"
	"aigateway/internal/envoytest"
)

// xdsClients dials a Server as many Envoys would.
func xdsClients(t *testing.T) (*gatewayconfig.Server, discoveryv3.AggregatedDiscoveryServiceClient) {
	t.Helper()
	server, err := gatewayconfig.NewServer(gatewayconfig.ServerConfig{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(envoytest.Dir(t), "xds.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	control := grpc.NewServer()
	server.Register(control)
	go control.Serve(listener)
	t.Cleanup(control.Stop)
	connection, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return server, discoveryv3.NewAggregatedDiscoveryServiceClient(connection)
}

// reloader returns a function that applies one of a few configurations, in turn,
// and waits for no answers.
func reloader(t *testing.T, server *gatewayconfig.Server) func(i int) {
	t.Helper()
	var all []*gatewayconfig.Snapshot
	for i := range 4 {
		all = append(all, snapshot(t, "127.0.0.1:1", fmt.Sprintf("providers: {vllm: {base_url: 'http://127.0.0.1:%d/v1', api_key: k}}", 1000+i)))
	}
	done, stop := context.WithCancel(t.Context())
	stop()
	return func(i int) { _ = server.Apply(done, all[i%len(all)]) }
}

// TestEnvoysThatLeaveAreForgotten: hundreds of Envoys connect, each by a name of its
// own, take configurations that change, answer or not, and leave.
func TestEnvoysThatLeaveAreForgotten(t *testing.T) {
	server, client := xdsClients(t)
	reload := reloader(t, server)
	visit := func(i int) {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		stream, err := client.DeltaAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, typeURL := range []string{resource.ClusterType, resource.RouteType} {
			q := &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: fmt.Sprint("envoy-", i)}, TypeUrl: typeURL, ResourceNamesSubscribe: []string{"*"}}
			if err := stream.Send(q); err != nil {
				t.Fatal(err)
			}
			r, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURL, ResponseNonce: r.GetNonce()})
			}
		}
	}
	round := func(first, last int) (goroutines int) {
		for i := first; i < last; i++ {
			if i%25 == 0 {
				reload(i)
			}
			visit(i)
		}
		poll(t, "the last Envoy's end", func() bool { return server.Alone() })
		if n := server.Held(); n != 0 {
			t.Errorf("%d entries of Envoys are left after %d", n, last)
		}
		return runtime.NumGoroutine()
	}
	before := round(0, 50)
	if after := round(50, 250); after > before+20 {
		t.Errorf("%d goroutines after 50 Envoys, %d after 250", before, after)
	}
}

// TestWhoNeverAnswersIsCut: a stream that asks for every change, and never says
// what became of any, ends.
func TestWhoNeverAnswersIsCut(t *testing.T) {
	server, client := xdsClients(t)
	stream, err := client.DeltaAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reload := reloader(t, server)
	ended, got := make(chan struct{}), make(chan struct{}, 1000)
	go func() {
		defer close(ended)
		for {
			if _, err := stream.Recv(); err != nil {
				return
			}
			got <- struct{}{}
		}
	}()
	for i := range 300 {
		reload(i)
		_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: resource.ClusterType, ResourceNamesSubscribe: []string{"*"}}) // its end shows below
		select {
		case <-got:
		case <-ended:
			return
		case <-time.After(time.Minute):
			t.Fatalf("change %d was not sent", i)
		}
		if n := server.Held(); n > 150 {
			t.Fatalf("%d entries after %d changes", n, i)
		}
	}
	t.Error("the stream goes on")
}
