package telemetry_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"aigateway/budget"
	"aigateway/pricing"
	"aigateway/telemetry"
)

// collector is what an OpenTelemetry collector is to its senders.
type collector struct {
	collectortraces.UnimplementedTraceServiceServer
	collectormetrics.UnimplementedMetricsServiceServer

	mu      sync.Mutex
	spans   []*tracepb.Span
	metrics map[string]*metricspb.Metric
	auth    []string
	hold    chan struct{} // nil, or no answer before it is closed
}

func (c *collector) Export(ctx context.Context, in *collectortraces.ExportTraceServiceRequest) (*collectortraces.ExportTraceServiceResponse, error) {
	if c.hold != nil {
		select {
		case <-c.hold:
		case <-ctx.Done():
		}
	}
	md, _ := metadata.FromIncomingContext(ctx)
	c.takeSpans(in, md.Get("authorization"))
	return &collectortraces.ExportTraceServiceResponse{}, nil
}

func (c *collector) takeSpans(in *collectortraces.ExportTraceServiceRequest, auth []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.auth = append(c.auth, auth...)
	for _, r := range in.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			c.spans = append(c.spans, s.GetSpans()...)
		}
	}
}

func (c *collector) takeMetrics(in *collectormetrics.ExportMetricsServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.metrics = map[string]*metricspb.Metric{}
	for _, r := range in.GetResourceMetrics() {
		for _, s := range r.GetScopeMetrics() {
			for _, m := range s.GetMetrics() {
				c.metrics[m.GetName()] = m
			}
		}
	}
}

// metricsOf is the collector's other service, whose method has the same name.
type metricsOf struct {
	collectormetrics.UnimplementedMetricsServiceServer
	c *collector
}

func (m metricsOf) Export(_ context.Context, in *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	m.c.takeMetrics(in)
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

// serve listens on loopback by gRPC, in clear without a certificate.
func (c *collector) serve(t *testing.T, certificate *tls.Certificate) string {
	t.Helper()
	var options []grpc.ServerOption
	if certificate != nil {
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(certificate)))
	}
	s := grpc.NewServer(options...)
	collectortraces.RegisterTraceServiceServer(s, c)
	collectormetrics.RegisterMetricsServiceServer(s, metricsOf{c: c})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

func open(t *testing.T, endpoint string, more func(*telemetry.Config)) (*telemetry.Exporter, *prometheus.Registry, *bytes.Buffer) {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	registry, log := prometheus.NewRegistry(), new(bytes.Buffer)
	c := telemetry.Config{
		Endpoint: u, Version: "v1.2.3", Metrics: registry, Log: slog.New(slog.NewTextHandler(log, nil)),
		Preset: func(name string) string { return map[string]string{"research": "moonshot"}[name] },
	}
	if more != nil {
		more(&c)
	}
	e, err := telemetry.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return e, registry, log
}

// text is what a value says.
func text(list []*commonpb.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			out[kv.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			out[kv.GetKey()] = big.NewInt(v.IntValue).String()
		}
	}
	return out
}

var began = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func decisions() []telemetry.Decision {
	return []telemetry.Decision{
		{
			RequestID: "r-1", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Endpoint: pricing.Responses, KeyID: "k1", Tag: "team/a",
			Model: "research/kimi-k2.6", Provider: "research", Start: began, End: began.Add(time.Millisecond), Bounded: true, Bound: budget.Cent, Waited: 20 * time.Millisecond,
		},
		{RequestID: "r-2", Endpoint: pricing.Embeddings, Model: "research/e", Provider: "research", Start: began, End: began, Status: 402, Reason: "cap_reached"},
		{RequestID: "r-3", Start: began, End: began, Status: 503, Reason: "journal_slow", Failed: true},
		{RequestID: "r-4", TraceParent: "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", Start: began, End: began}, // its caller samples it not
		{RequestID: "r-5", TraceParent: "nonsense", Start: began, End: began},
	}
}

func TestDecisionsAreSpans(t *testing.T) {
	var c collector
	e, registry, _ := open(t, "http://"+c.serve(t, nil), nil)
	for _, d := range decisions() {
		e.Decision(d)
	}
	e.Close(t.Context())
	byID := map[string]*tracepb.Span{}
	for _, s := range c.spans {
		byID[text(s.GetAttributes())["aigateway.request_id"]] = s
	}
	if len(c.spans) != 4 || byID["r-4"] != nil {
		t.Fatalf("%d spans, %v", len(c.spans), c.spans)
	}
	first := byID["r-1"]
	if hex.EncodeToString(first.GetTraceId()) != "0af7651916cd43dd8448eb211c80319c" || hex.EncodeToString(first.GetParentSpanId()) != "b7ad6b7169203331" {
		t.Errorf("the trace is not the caller's: %v", first)
	}
	if first.GetName() != "decide chat" || first.GetKind() != tracepb.Span_SPAN_KIND_SERVER || first.GetEndTimeUnixNano()-first.GetStartTimeUnixNano() != uint64(time.Millisecond) {
		t.Errorf("the span is %v", first)
	}
	for key, want := range map[string]string{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "moonshot_ai", "gen_ai.request.model": "kimi-k2.6", "aigateway.tag": "team/a",
		"aigateway.key_id": "k1", "aigateway.outcome": "admitted", "aigateway.bound_usd": "0.01", "aigateway.waited_ms": "20", "error.type": "",
	} {
		if got := text(first.GetAttributes())[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	refused, failed := byID["r-2"], byID["r-3"]
	if a := text(refused.GetAttributes()); a["error.type"] != "cap_reached" || a["http.response.status_code"] != "402" || a["aigateway.outcome"] != "refused" || refused.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_UNSET {
		t.Errorf("a refusal, which is no error, is %v", refused)
	}
	if a := text(failed.GetAttributes()); a["aigateway.outcome"] != "failed" || failed.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("a failure is %v", failed)
	}
	if len(byID["r-5"].GetParentSpanId()) != 0 {
		t.Errorf("nonsense is a parent: %v", byID["r-5"])
	}
	if n := testutil.ToFloat64(counter(t, registry, "aig_otlp_spans_total", "sent")); n != 4 {
		t.Errorf("%v spans are counted", n)
	}
}

// TestCallsAreMetrics holds the names, units and buckets to the conventions.
func TestCallsAreMetrics(t *testing.T) {
	var c collector
	e, _, _ := open(t, "http://"+c.serve(t, nil), nil)
	call := telemetry.Call{Endpoint: pricing.Chat, Model: "research/kimi-k2.6", Provider: "research", Duration: 1500 * time.Millisecond, Tokens: budget.Tokens{Input: 10, CacheRead: 20, CacheWrite: 5, Output: 7}}
	e.Call(call)
	call.Fault, call.Tokens = "timeout", budget.Tokens{}
	e.Call(call)
	e.Call(telemetry.Call{Endpoint: pricing.Embeddings, Model: "research/e", Provider: "research", Tokens: budget.Tokens{Input: 3}})
	e.Call(telemetry.Call{Endpoint: pricing.Rerank, Model: "research/r", Provider: "research"})
	e.Close(t.Context())
	for name, want := range map[string]int64{"input_tokens": 35, "output_tokens": 7, "cache_read.input_tokens": 20, "cache_write.input_tokens": 5} {
		m := c.metrics["gen_ai.client.inference.usage."+name]
		points := m.GetSum().GetDataPoints()
		if len(points) != 1 || points[0].GetAsInt() != want || !m.GetSum().GetIsMonotonic() || m.GetUnit() != "{token}" {
			t.Errorf("%s is %v, want %d", name, m, want)
			continue
		}
		if a := text(points[0].GetAttributes()); a["gen_ai.token.modality"] != "unknown" || a["gen_ai.operation.name"] != "chat" || a["gen_ai.provider.name"] != "moonshot_ai" || a["gen_ai.request.model"] != "kimi-k2.6" {
			t.Errorf("%s has %v", name, a)
		}
	}
	for name, want := range map[string]string{
		"gen_ai.client.inference.duration": "chat", "gen_ai.client.embeddings.duration": "embeddings", "gen_ai.client.operation.duration": "rerank",
	} {
		m := c.metrics[name]
		points := m.GetHistogram().GetDataPoints()
		if len(points) == 0 || m.GetUnit() != "s" || len(points[0].GetExplicitBounds()) != 14 || points[0].GetExplicitBounds()[13] != 81.92 || text(points[0].GetAttributes())["gen_ai.operation.name"] != want {
			t.Errorf("%s is %v", name, m)
		}
	}
	var faults []string
	for _, p := range c.metrics["gen_ai.client.inference.duration"].GetHistogram().GetDataPoints() {
		faults = append(faults, text(p.GetAttributes())["error.type"])
	}
	if slices.Sort(faults); !slices.Equal(faults, []string{"", "timeout"}) {
		t.Errorf("faults are %q", faults)
	}
	if p := c.metrics["gen_ai.client.inference.operation.input_tokens"].GetHistogram().GetDataPoints(); len(p) != 2 || p[0].GetExplicitBounds()[13] != 67108864 {
		t.Errorf("tokens of a call are %v", p)
	}
}

// TestCollectorIsVerified sends a header that is a secret to a collector whose
// certificate is known, and nothing to one whose is not.
func TestCollectorIsVerified(t *testing.T) {
	certificate, ca := selfSigned(t)
	var c collector
	address := c.serve(t, &certificate)
	secret := func(config *telemetry.Config) {
		config.CA, config.Headers = ca, map[string]string{"authorization": "Bearer s3cret"}
	}
	e, _, _ := open(t, "https://"+address, secret)
	e.Decision(decisions()[0])
	e.Close(t.Context())
	if len(c.spans) != 1 || !slices.Equal(c.auth, []string{"Bearer s3cret"}) {
		t.Fatalf("%d spans, headers %q", len(c.spans), c.auth)
	}
	_, other := selfSigned(t)
	e, registry, log := open(t, "https://"+address, func(config *telemetry.Config) { secret(config); config.CA = other })
	e.Decision(decisions()[0])
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	e.Close(short)
	if len(c.spans) != 1 || len(c.auth) != 1 {
		t.Errorf("a collector that nobody vouches for got %d spans", len(c.spans)-1)
	}
	if strings.Contains(log.String(), "s3cret") || !strings.Contains(log.String(), "collector") {
		t.Errorf("the log says %s", log)
	}
	if n := testutil.ToFloat64(counter(t, registry, "aig_otlp_spans_total", "sent")); n != 0 {
		t.Errorf("%v spans count as sent", n)
	}
}

func TestHTTPProtobuf(t *testing.T) {
	var c collector
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		switch r.URL.Path {
		case "/base/v1/traces":
			var in collectortraces.ExportTraceServiceRequest
			if err := proto.Unmarshal(body, &in); err != nil {
				t.Error(err)
			}
			c.takeSpans(&in, r.Header.Values("authorization"))
		case "/base/v1/metrics":
			var in collectormetrics.ExportMetricsServiceRequest
			if err := proto.Unmarshal(body, &in); err != nil {
				t.Error(err)
			}
			c.takeMetrics(&in)
		default:
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.Header().Set("content-type", "application/x-protobuf")
	}))
	defer s.Close()
	e, _, _ := open(t, s.URL+"/base", func(config *telemetry.Config) {
		config.HTTP, config.Headers = true, map[string]string{"authorization": "Basic x"}
	})
	e.Decision(decisions()[0])
	e.Call(telemetry.Call{Endpoint: pricing.Chat, Model: "research/m", Provider: "research"})
	e.Close(t.Context())
	if len(c.spans) != 1 || len(c.metrics) < 5 || !slices.Equal(c.auth, []string{"Basic x"}) {
		t.Errorf("%d spans, %d metrics, headers %q", len(c.spans), len(c.metrics), c.auth)
	}
}

// TestSlowCollectorHoldsNobodyUp: a collector that never answers costs a queue of
// fixed size; more is dropped and counted, and whoever decides goes on.
func TestSlowCollectorHoldsNobodyUp(t *testing.T) {
	c := collector{hold: make(chan struct{})}
	e, registry, _ := open(t, "http://"+c.serve(t, nil), nil)
	const told = 20_000
	for range told {
		e.Decision(decisions()[0])
	}
	dropped := testutil.ToFloat64(counter(t, registry, "aig_otlp_spans_total", "dropped"))
	// Ours, the SDK's of the same size, and what is on its way.
	if kept := told - dropped; kept < 2048 || kept > 2*2048+2*512+1 {
		t.Errorf("%v are kept, %v dropped", kept, dropped)
	}
	close(c.hold)
	e.Close(t.Context())
}

// TestOffSendsNothing: without an endpoint there is nobody to tell.
func TestOffSendsNothing(t *testing.T) {
	e, err := telemetry.Open(t.Context(), telemetry.Config{Metrics: prometheus.NewRegistry()})
	if err != nil || e.On() {
		t.Fatal(err, e.On())
	}
	e.Close(t.Context())
}

func counter(t *testing.T, r *prometheus.Registry, name, label string) prometheus.Collector {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := prometheus.NewCounter(prometheus.CounterOpts{Name: name})
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				out.Add(m.GetCounter().GetValue())
			}
		}
	}
	return out
}

// selfSigned is a certificate of 127.0.0.1, and in PEM.
func selfSigned(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
