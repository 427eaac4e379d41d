package adminapi_test

import (
	"context"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
)

const anyExplain = "/aigateway.v1.ExplainService/Explain"

// cut is a message that never ends: its prefix promises more than is sent.
type cut struct{ encoding.CodecV2 }

func (cut) Marshal(any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(make([]byte, 8<<20))}, nil
}

// begin opens streams that send 8 MiB each as far as they are let, and end
// nothing; it returns their statuses so far.
func begin(t *testing.T, conn *grpc.ClientConn, method string, n int, headers ...string) []codes.Code {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), headers...), 20*time.Second)
	t.Cleanup(cancel)
	var got []codes.Code
	for range n {
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, grpc.ForceCodecV2(cut{encoding.GetCodecV2("proto")}))
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SendMsg(nil) // an end of the stream shows below
		got = append(got, status.Code(s.RecvMsg(nil)))
	}
	return got
}

// TestKeyBeforeTheMessage: who has no key, or not the right one, is answered
// while their message is on its way, and it is not kept.
func TestKeyBeforeTheMessage(t *testing.T) {
	w := newWorld(t)
	conn := w.dial()
	for name, headers := range map[string][]string{
		"no key":              nil,
		"an unknown key":      {"authorization", "Bearer sk-aig-nobody"},
		"no bearer":           {"authorization", admin},
		"a key without scope": {"authorization", "Bearer " + reporter},
		"two keys":            {"authorization", "Bearer " + admin, "x-api-key", finance},
	} {
		want := codes.Unauthenticated
		if strings.HasSuffix(name, "scope") {
			want = codes.PermissionDenied
		}
		// The message is never sent: only its answer can end this.
		ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), headers...), 20*time.Second)
		s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, anyExplain)
		if err == nil {
			err = s.RecvMsg(&aigatewayv1.ExplainResponse{})
		}
		if status.Code(err) != want {
			t.Errorf("%s: %v before the message, want %v", name, err, want)
		}
		cancel()
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for _, code := range begin(t, conn, anyExplain, 50) {
		if code != codes.Unauthenticated {
			t.Fatalf("a stranger got %v", code)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 64<<20 {
		t.Errorf("50 strangers left %d MiB", grown>>20)
	}
	// Who has a key is read, once the message is whole.
	explained, err := aigatewayv1.NewExplainServiceClient(conn).Explain(with(inference), &aigatewayv1.ExplainRequest{Body: `{"model":"moonshot/kimi-k2.6"}`})
	if err != nil || explained.GetBoundUsd() == "" {
		t.Errorf("explain: %v, %v", explained, err)
	}
}

// Whoever watches health needs no key, and stays.
func TestFewWatchHealth(t *testing.T) {
	conn := newWorld(t).dial()
	health := healthpb.NewHealthClient(conn)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var last context.CancelFunc
	watch := func() (context.CancelFunc, error) {
		ctx, leave := context.WithCancel(ctx)
		w, err := health.Watch(ctx, &healthpb.HealthCheckRequest{})
		if err == nil {
			_, err = w.Recv()
		}
		return leave, err
	}
	for i := range 64 {
		var err error
		if last, err = watch(); err != nil {
			t.Fatalf("%d watch: %v", i, err)
		}
	}
	if _, err := watch(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	if _, err := health.Check(ctx, &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("a check beside them: %v", err)
	}
	last()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := watch(); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("one left, and nobody may take its place: %v", err)
		}
	}
}

// TestMessagesOnTheirWayAreCounted: open methods need no key, and a key may begin
// as many messages as it likes; neither holds more than a number of them.
func TestMessagesOnTheirWayAreCounted(t *testing.T) {
	hold := func(conn *grpc.ClientConn, n int, method string, headers ...string) (cancel func(), refused int) {
		ctx, stop := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), headers...))
		answers := make(chan error, n)
		for range n {
			s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
			if err != nil {
				t.Fatal(err)
			}
			go func() { answers <- s.RecvMsg(&aigatewayv1.ExplainResponse{}) }()
		}
		for {
			select {
			case err := <-answers:
				if status.Code(err) != codes.ResourceExhausted {
					t.Errorf("%s: %v", method, err)
				}
				refused++
			case <-time.After(time.Second):
				return stop, refused
			}
		}
	}
	const health = "/grpc.health.v1.Health/Check"
	for _, tt := range []struct {
		method  string
		headers []string
		most    int
	}{
		{health, nil, 16}, {"/grpc.health.v1.Health/Watch", nil, 16}, {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", nil, 16},
		{anyExplain, []string{"x-api-key", inference}, 64},
	} {
		conn := newWorld(t).dial()
		cancel, refused := hold(conn, tt.most+5, tt.method, tt.headers...)
		if refused != 5 {
			t.Errorf("%s: %d refused, want 5", tt.method, refused)
		}
		if _, err := aigatewayv1.NewModelServiceClient(conn).ListModels(with(finance), &aigatewayv1.ListModelsRequest{}); err != nil {
			t.Errorf("another key waits for the callers of %s: %v", tt.method, err)
		}
		cancel()
		for deadline := time.Now().Add(20 * time.Second); ; { // its turns come back
			stop, refused := hold(conn, 1, tt.method, tt.headers...)
			stop()
			if refused == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s stays refused", tt.method)
			}
		}
	}
}

// TestHeadersOfAStrangerAreSmall: they are read before any key.
func TestHeadersOfAStrangerAreSmall(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = w.server.GRPC().Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "x-large", strings.Repeat("x", 1<<20)), 20*time.Second)
	defer cancel()
	if _, err := aigatewayv1.NewModelServiceClient(conn).ListModels(ctx, &aigatewayv1.ListModelsRequest{}); err == nil || status.Code(err) == codes.Unauthenticated {
		t.Errorf("a megabyte of headers: %v", err)
	}
}
