package extauthz_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"aigateway/envoy/wire"
)

// serve runs a control server on a socket and returns a connection to it.
func serve(t testing.TB, register func(*grpc.Server)) *grpc.ClientConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.sock")
	lis, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(wire.ServerOptions()...)
	register(g)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := g.Serve(lis); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(func() {
		g.Stop()
		wg.Wait()
	})
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return conn
}

func TestOverGRPC(t *testing.T) {
	ledger := &fakeLedger{}
	s := newServer(t, keysWith(nil), ledger)
	conn := serve(t, func(g *grpc.Server) {
		s.Register(g)
		healthpb.RegisterHealthServer(g, health.NewServer())
	})
	client := authv3.NewAuthorizationClient(conn)

	t.Run("yes", func(t *testing.T) {
		out, err := client.Check(t.Context(), authorized("req-1", goodBody))
		if err != nil || out.GetOkResponse() == nil || len(ledger.take()) != 1 {
			t.Errorf("%v, %v", out, err)
		}
	})
	t.Run("no", func(t *testing.T) {
		out, err := client.Check(t.Context(), newCheck("req-2", goodBody))
		if err != nil {
			t.Fatal(err)
		}
		if e, err := refusal(out); err != nil || e.Error.Code != 401 {
			t.Errorf("%v, %v", out, err)
		}
	})
	t.Run("a body of 8 MiB", func(t *testing.T) {
		body := strings.Replace(goodBody, "hi", strings.Repeat("a", 8<<20-len(goodBody)), 1)
		out, err := client.Check(t.Context(), authorized("req-3", body))
		if err != nil || len(ledger.take()) != 1 || out.GetOkResponse() == nil {
			t.Errorf("%v, %v", out, err)
		}
	})
	t.Run("other services keep the generated types", func(t *testing.T) {
		out, err := healthpb.NewHealthClient(conn).Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil || out.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%v, %v", out, err)
		}
	})
	t.Run("many at once share no memory", func(t *testing.T) { manyAtOnce(t, client, ledger) })
}

// manyAtOnce checks 200 calls at once: what one is asked is not what another says.
func manyAtOnce(t *testing.T, client authv3.AuthorizationClient, ledger *fakeLedger) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			id := fmt.Sprintf("req-%d", 1000+i)
			out, err := client.Check(t.Context(), authorized(id, goodBody, "x-aig-tag", id))
			if err != nil || headerOf(out.GetOkResponse().GetResponseHeadersToAdd(), "x-aig-request-id") != id {
				t.Errorf("%s: %v, %v", id, out, err)
			}
		})
	}
	wg.Wait()
	tags := map[string]bool{}
	for _, r := range ledger.take() {
		if r.RequestID != string(r.Tag) {
			t.Errorf("request %s was reserved for tag %s", r.RequestID, r.Tag)
		}
		tags[r.RequestID] = true
	}
	if len(tags) != 200 {
		t.Errorf("%d distinct reservations, want 200", len(tags))
	}
}

func TestInterceptorSeesTheCall(t *testing.T) {
	s := newServer(t, keysWith(nil), &fakeLedger{})
	lis, err := net.Listen("unix", filepath.Join(t.TempDir(), "c.sock"))
	if err != nil {
		t.Fatal(err)
	}
	var method string
	g := grpc.NewServer(append(wire.ServerOptions(), grpc.UnaryInterceptor(
		func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			method = info.FullMethod
			return next(ctx, req)
		}))...)
	s.Register(g)
	done := make(chan error, 1)
	go func() { done <- g.Serve(lis) }()
	conn, err := grpc.NewClient("unix:"+lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	out, err := authv3.NewAuthorizationClient(conn).Check(t.Context(), authorized("r", goodBody))
	g.Stop()
	if err != nil || out.GetOkResponse() == nil || method != authv3.Authorization_Check_FullMethodName || <-done != nil {
		t.Errorf("%v, %v through %q", out, err, method)
	}
}
