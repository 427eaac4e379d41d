package gatewayconfig_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/structpb"

	"aigateway/envoy"
	"aigateway/gatewayconfig"
	"aigateway/internal/envoytest"
)

// dataPlane is a real Envoy under a real Server, with a Check that lets every
// call pass to the provider its tag names.
type dataPlane struct {
	server  *gatewayconfig.Server
	metrics *prometheus.Registry
	log     *envoytest.Log
	control string // address of the gRPC server
	url     string // of the client listener
	admin   *envoy.Admin
	pid     int

	mu      sync.Mutex
	keys    int      // questions that were only for the key
	apis    []string // context extension of each other Check
	checked func()   // while a Check waits for its answer; nil: nothing
}

// Check implements ext_authz.
func (d *dataPlane) Check(_ context.Context, q *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	d.mu.Lock()
	if q.GetAttributes().GetContextExtensions()[envoy.ContextStep] == envoy.StepKey {
		d.keys++
		d.mu.Unlock()
		return &authv3.CheckResponse{Status: &status.Status{}}, nil
	}
	d.apis = append(d.apis, q.GetAttributes().GetContextExtensions()[envoy.ContextAPI])
	checked := d.checked
	d.mu.Unlock()
	if checked != nil {
		checked()
	}
	provider, betas := "", &structpb.Struct{Fields: map[string]*structpb.Value{
		envoy.KeyToken: structpb.NewStringValue("t"),
		"anthropic":    structpb.NewBoolValue(q.GetAttributes().GetContextExtensions()[envoy.ContextAPI] == "messages"),
	}}
	for _, h := range q.GetAttributes().GetRequest().GetHttp().GetHeaderMap().GetHeaders() {
		if h.GetKey() == envoy.HeaderTag {
			provider = string(h.GetRawValue())
		}
		if h.GetKey() == envoy.HeaderBeta { // allows the first
			first, _, _ := strings.Cut(string(h.GetRawValue()), ",")
			betas.Fields[envoy.KeyBetas] = structpb.NewStringValue(first)
		}
	}
	return &authv3.CheckResponse{Status: &status.Status{}, DynamicMetadata: betas, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
		Headers: []*corev3.HeaderValueOption{{
			Header:       &corev3.HeaderValue{Key: envoy.HeaderUpstream, Value: provider},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}},
	}}}, nil
}

func (d *dataPlane) checks() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.apis...)
}

// startDataPlane serves the snapshot to a new Envoy and waits until it is
// accepted.
func startDataPlane(t *testing.T, first *gatewayconfig.Snapshot) *dataPlane {
	t.Helper()
	return startLingering(t, first, 0)
}

func startLingering(t *testing.T, first *gatewayconfig.Snapshot, linger time.Duration) *dataPlane {
	t.Helper()
	d := &dataPlane{metrics: prometheus.NewRegistry(), log: envoytest.NewLog(t, "control plane")}
	var err error
	d.server, err = gatewayconfig.NewServer(gatewayconfig.ServerConfig{
		Log: slog.New(slog.NewTextHandler(d.log, nil)), Metrics: d.metrics, Warm: 100 * time.Millisecond, Linger: linger,
	})
	if err != nil {
		t.Fatal(err)
	}
	if d.server.Ready() == nil {
		t.Error("ready without a configuration")
	}
	if err := d.server.Apply(t.Context(), first); err != nil { // nobody there to ask
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	control := grpc.NewServer(grpc.MaxRecvMsgSize(32 << 20))
	d.server.Register(control)
	authv3.RegisterAuthorizationServer(control, d)
	healthpb.RegisterHealthServer(control, health.NewServer())
	go control.Serve(listener)
	t.Cleanup(func() {
		d.server.Close()
		control.Stop()
	})
	d.control = listener.Addr().String()
	d.startEnvoy(t)
	poll(t, "the snapshot to be accepted", func() bool { return d.server.Ready() == nil && d.server.Lagging() == nil })
	return d
}

// startEnvoy starts an Envoy, which calls then go to.
func (d *dataPlane) startEnvoy(t *testing.T) {
	t.Helper()
	e := envoytest.Start(t, envoytest.Config{Bootstrap: envoy.BootstrapConfig{
		NodeID: "test-envoy", ControlAddress: d.control, CheckTimeout: time.Minute,
	}})
	e.WaitReady(t)
	d.url, d.admin, d.pid = e.URL, e.Admin(), e.PID()
}

func (d *dataPlane) set(t *testing.T, s *gatewayconfig.Snapshot) {
	t.Helper()
	if err := d.server.Apply(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// poll waits for a condition with a deadline.
func poll(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// call sends one request; provider may be empty.
func (d *dataPlane) call(method, path, provider, body string, headers ...string) (code int, header http.Header, text string, err error) {
	request, err := http.NewRequest(method, d.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	request.Header.Set(envoy.HeaderTag, provider)
	request.Header.Set("Authorization", "Bearer sk-aig-client")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Add(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, string(data), err
}

// snapshot renders a file's text.
func snapshot(t *testing.T, rest, text string, pairs ...string) *gatewayconfig.Snapshot {
	t.Helper()
	s, err := gatewayconfig.Render(mustParse(t, text, pairs...), rest)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// counter is the value of the counter with this name and label value.
func counter(t *testing.T, g prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
