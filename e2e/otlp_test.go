package e2e_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// collector keeps what is sent to it.
type collector struct {
	collectortraces.UnimplementedTraceServiceServer
	mu   sync.Mutex
	sent []proto.Message
}

type metricsCollector struct {
	collectormetrics.UnimplementedMetricsServiceServer
	*collector
}

func (c *collector) take(m proto.Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, m)
}

func (c *collector) Export(_ context.Context, in *collectortraces.ExportTraceServiceRequest) (*collectortraces.ExportTraceServiceResponse, error) {
	c.take(in)
	return &collectortraces.ExportTraceServiceResponse{}, nil
}

func (c metricsCollector) Export(_ context.Context, in *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	c.take(in)
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

// TestOTLP: a collector gets a span of an admitted and of a refused call, the
// first within the caller's trace, and the metrics of the call; no prompt, no
// answer, no key. It is not there at first, which holds nobody up.
func TestOTLP(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	port := freePorts(t, 1)[0]
	g.settings["Extra"] = fmt.Sprintf("otlp: {endpoint: 'http://127.0.0.1:%d', headers: {x-team: s3cret-header}}\n", port)
	g.writeConfig()
	g.startRun()
	g.setBudget("traced", 1)
	g.setBudget("capped", 0)
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	header := tagged("traced")
	header["traceparent"] = []string{"00-" + trace + "-" + parent + "-01"}
	if r := g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "traced", "private words", `,"max_tokens":9`), header); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := g.chat("fake/m1", "capped", "private words", `,"max_tokens":9`); r.status != http.StatusPaymentRequired {
		t.Fatalf("%d %s", r.status, r.body)
	}
	g.settle(time.Minute)
	var c collector
	s := grpc.NewServer()
	collectortraces.RegisterTraceServiceServer(s, &c)
	collectormetrics.RegisterMetricsServiceServer(s, metricsCollector{collector: &c})
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	defer s.Stop()
	// A second call, for the first one's span may have been given up by now.
	if r := g.insist(http.MethodPost, g.url+"/v1/chat/completions", chatBody("fake/m1", "traced", "private words", `,"max_tokens":9`), header); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if r := g.chat("fake/m1", "capped", "private words", `,"max_tokens":9`); r.status != http.StatusPaymentRequired {
		t.Fatalf("%d %s", r.status, r.body)
	}
	g.settle(time.Minute)
	g.program.stop()
	c.check(t, trace, parent)
}

func (c *collector) check(t *testing.T, trace, parent string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	var admitted, refused bool
	metrics := map[string]bool{}
	for _, m := range c.sent {
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"private words", adminKey, providerKey, "s3cret-header"} {
			if strings.Contains(string(raw), secret) {
				t.Errorf("%q is sent", secret)
			}
		}
		switch in := m.(type) {
		case *collectortraces.ExportTraceServiceRequest:
			for _, s := range in.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans() {
				text := fmt.Sprint(s.GetAttributes())
				admitted = admitted || s.GetName() == "decide chat" && strings.Contains(text, "admitted") && inTrace(s, trace, parent)
				refused = refused || strings.Contains(text, "cap_reached") && len(s.GetParentSpanId()) == 0
			}
		case *collectormetrics.ExportMetricsServiceRequest:
			for _, m := range in.GetResourceMetrics()[0].GetScopeMetrics()[0].GetMetrics() {
				metrics[m.GetName()] = strings.Contains(fmt.Sprint(m), `string_value:"chat"`)
			}
		}
	}
	if !admitted || !refused || !metrics["gen_ai.client.inference.duration"] || !metrics["gen_ai.client.inference.usage.output_tokens"] {
		t.Errorf("of the admitted call: %v, of the refused one: %v, metrics: %v, in %d messages", admitted, refused, metrics, len(c.sent))
	}
}

func inTrace(s *tracepb.Span, trace, parent string) bool {
	return hex.EncodeToString(s.GetTraceId()) == trace && hex.EncodeToString(s.GetParentSpanId()) == parent
}
