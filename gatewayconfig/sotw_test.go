package gatewayconfig_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"aigateway/envoy"
	"aigateway/gatewayconfig"
)

// TestStateOfTheWorld drives the ADS of clients that do not speak delta.
func TestStateOfTheWorld(t *testing.T) {
	server, err := gatewayconfig.NewServer(gatewayconfig.ServerConfig{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	if server.Ready() == nil {
		t.Error("ready without a configuration")
	}
	s := snapshot(t, "127.0.0.1:1", "providers: {vllm: {api_key: k}}")
	if err := server.Set(s); err != nil {
		t.Fatal(err)
	}
	stream := dialADS(t, server)
	var names []string
	for name := range s.Resources(resource.SecretType) {
		names = append(names, name)
	}
	ask := func(typeURL string, names []string) *discoveryv3.DiscoveryResponse {
		t.Helper()
		if err := stream.Send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: "old"}, TypeUrl: typeURL, ResourceNames: names}); err != nil {
			t.Fatal(err)
		}
		response, err := stream.Recv()
		if err != nil || response.GetTypeUrl() != typeURL {
			t.Fatalf("answer: %v %v", response, err)
		}
		return response
	}
	answer := func(r *discoveryv3.DiscoveryResponse, names []string, rejection *status.Status) {
		t.Helper()
		err := stream.Send(&discoveryv3.DiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResourceNames: names, VersionInfo: r.GetVersionInfo(), ResponseNonce: r.GetNonce(), ErrorDetail: rejection})
		if err != nil {
			t.Fatal(err)
		}
	}
	answer(ask(resource.ClusterType, nil), nil, nil)
	answer(ask(resource.SecretType, names), names, nil)
	route := ask(resource.RouteType, []string{envoy.RouteConfig})
	if server.Applied(s.Version()) {
		t.Error("applied before the routes were accepted")
	}
	answer(route, []string{envoy.RouteConfig}, nil)
	poll(t, "acceptance", func() bool { return server.Applied(s.Version()) && server.Ready() == nil })

	next := snapshot(t, "127.0.0.1:1", "providers: {vllm: {api_key: k, base_url: 'http://127.0.0.1:8000/v2'}}")
	if err := server.Set(next); err != nil {
		t.Fatal(err)
	}
	response, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	answer(response, []string{envoy.RouteConfig}, &status.Status{Message: "no"})
	poll(t, "the rejection", func() bool { nack, bad := server.LastNack(); return bad && nack.Node == "old" && nack.Message == "no" })
	back, err := stream.Recv()
	if err != nil || back.GetVersionInfo() != route.GetVersionInfo() {
		t.Errorf("after the rejection: %v %v, want the routes of before", back, err)
	}

	server.Close()
	if _, err := stream.Recv(); err == nil {
		t.Error("Close left the stream open")
	}
	poll(t, "the stream's end", func() bool { return server.Connected() == 0 })
}

func dialADS(t *testing.T, server *gatewayconfig.Server) discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient {
	t.Helper()
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
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(connection).StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}
