package telemetry

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/credentials"

	"aigateway/budget"
	"aigateway/metricset"
)

// Config is where to send and what to say of ourselves. All but Endpoint, CA and
// Headers is required.
type Config struct {
	Endpoint *url.URL // of the collector: https, or http for clear text; nil: nothing is sent
	HTTP     bool     // the protocol is http/protobuf, else gRPC
	Headers  map[string]string
	CA       []byte // PEM that verifies the collector; empty: the system's
	Version  string // of this program
	// Preset is what a provider of the configuration is, such as "openai" for one
	// that is called "research". It answers from memory.
	Preset  func(provider string) string
	Metrics prometheus.Registerer
	Log     *slog.Logger
}

// Exporter sends to one collector. It is safe for concurrent use.
type Exporter struct {
	preset   func(string) string
	log      *slog.Logger
	endpoint string // empty: nothing is sent
	spans    *prometheus.CounterVec
	failures *prometheus.CounterVec

	queue   chan Decision
	stop    chan struct{} // closed: no decision is taken any more
	emptied chan struct{} // closed: all that were taken are given to traces
	tracer  trace.Tracer
	traces  *sdktrace.TracerProvider
	meters  *sdkmetric.MeterProvider
	calls   instruments

	mu     sync.Mutex
	told   time.Time // when the log said last that something failed
	untold int64     // failures since then
}

// Sizes and times that bound what a collector that is slow or gone can cost:
// some 2 MB of memory, and a few seconds when the program ends.
const (
	queueSize     = 2048
	exportTimeout = 10 * time.Second
	maxSeries     = 2000 // of a metric; more are counted together, with otel.metric.overflow
	tellEvery     = time.Minute
)

// Open connects to nobody yet: a collector may come later. Without an endpoint
// it returns an Exporter that is not On. Close ends it.
func Open(ctx context.Context, c Config) (*Exporter, error) {
	e := &Exporter{
		preset: c.Preset, log: c.Log,
		spans: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aig_otlp_spans_total",
			Help: "Spans of decisions for the OpenTelemetry collector, by outcome: sent, dropped (the queue was full), refused (the collector was not there, or did not take them).",
		}, []string{"outcome"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aig_otlp_failures_total", Help: "Requests to the OpenTelemetry collector that failed, by signal (traces, metrics).",
		}, []string{"signal"}),
	}
	set := metricset.New(c.Metrics)
	set.Add(e.spans, e.failures)
	if err := set.Done(); err != nil || c.Endpoint == nil {
		return e, err
	}
	e.endpoint = c.Endpoint.Host
	spans, metrics, err := exporters(ctx, &c)
	if err != nil {
		return nil, fmt.Errorf("otlp: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { e.failed("sdk", err) }))
	res := resource.NewSchemaless(
		attribute.String("service.name", "aigateway"), attribute.String("service.version", c.Version),
		attribute.String("service.instance.id", rand.Text()),
	)
	e.traces = sdktrace.NewTracerProvider(sdktrace.WithResource(res),
		// What a caller does not sample is not sampled here.
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())),
		// The queue that drops is ours, which counts.
		sdktrace.WithBatcher(countedSpans{spans, e}, sdktrace.WithBlocking(), sdktrace.WithExportTimeout(exportTimeout)))
	e.meters = sdkmetric.NewMeterProvider(sdkmetric.WithResource(res), sdkmetric.WithCardinalityLimit(maxSeries),
		sdkmetric.WithReader(sdkmetric.NewPeriodicReader(countedMetrics{metrics, e}, sdkmetric.WithTimeout(exportTimeout))))
	e.tracer = e.traces.Tracer(scope, trace.WithInstrumentationVersion(c.Version))
	e.calls, err = newInstruments(e.meters.Meter(scope))
	if err != nil {
		return nil, fmt.Errorf("otlp: %w", err)
	}
	e.queue, e.stop, e.emptied = make(chan Decision, queueSize), make(chan struct{}), make(chan struct{})
	go e.run()
	return e, nil
}

// scope names who measured.
const scope = "aigateway"

// On reports whether anything is sent.
func (e *Exporter) On() bool { return e.endpoint != "" }

// Close sends what there is, as far as ctx lets it; what a collector does not
// take by then is logged. Nothing may be told after it.
func (e *Exporter) Close(ctx context.Context) {
	if !e.On() {
		return
	}
	close(e.stop)
	select {
	case <-e.emptied:
	case <-ctx.Done():
	}
	err := errors.Join(e.traces.Shutdown(ctx), e.meters.Shutdown(ctx))
	if err != nil {
		e.log.Warn("not all was sent to the OpenTelemetry collector before the end", "err", err)
	}
}

func exporters(ctx context.Context, c *Config) (sdktrace.SpanExporter, sdkmetric.Exporter, error) {
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(c.CA) > 0 {
		secure.RootCAs = x509.NewCertPool()
		secure.RootCAs.AppendCertsFromPEM(c.CA)
	}
	headers := c.Headers
	if headers == nil {
		headers = map[string]string{} // and not those of OTEL_EXPORTER_OTLP_HEADERS
	}
	plain := c.Endpoint.Scheme == "http"
	if c.HTTP {
		t := []otlptracehttp.Option{otlptracehttp.WithEndpointURL(c.Endpoint.JoinPath("v1/traces").String()), otlptracehttp.WithHeaders(headers), otlptracehttp.WithTimeout(exportTimeout)}
		m := []otlpmetrichttp.Option{otlpmetrichttp.WithEndpointURL(c.Endpoint.JoinPath("v1/metrics").String()), otlpmetrichttp.WithHeaders(headers), otlpmetrichttp.WithTimeout(exportTimeout)}
		if !plain {
			t, m = append(t, otlptracehttp.WithTLSClientConfig(secure)), append(m, otlpmetrichttp.WithTLSClientConfig(secure))
		}
		spans, err := otlptracehttp.New(ctx, t...)
		if err != nil {
			return nil, nil, err
		}
		metrics, err := otlpmetrichttp.New(ctx, m...)
		return spans, metrics, err
	}
	t := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(c.Endpoint.Host), otlptracegrpc.WithHeaders(headers), otlptracegrpc.WithTimeout(exportTimeout)}
	m := []otlpmetricgrpc.Option{otlpmetricgrpc.WithEndpoint(c.Endpoint.Host), otlpmetricgrpc.WithHeaders(headers), otlpmetricgrpc.WithTimeout(exportTimeout)}
	if plain {
		t, m = append(t, otlptracegrpc.WithInsecure()), append(m, otlpmetricgrpc.WithInsecure())
	} else {
		t, m = append(t, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(secure))), append(m, otlpmetricgrpc.WithTLSCredentials(credentials.NewTLS(secure)))
	}
	spans, err := otlptracegrpc.New(ctx, t...)
	if err != nil {
		return nil, nil, err
	}
	metrics, err := otlpmetricgrpc.New(ctx, m...)
	return spans, metrics, err
}

// countedSpans and countedMetrics tell metrics and log what failed, in place of
// the SDK, whose own handler is one for the whole program.
type countedSpans struct {
	sdktrace.SpanExporter
	e *Exporter
}

func (c countedSpans) ExportSpans(ctx context.Context, list []sdktrace.ReadOnlySpan) error {
	outcome := "sent"
	if err := c.SpanExporter.ExportSpans(ctx, list); err != nil {
		outcome = "refused"
		c.e.failed("traces", err)
	}
	c.e.spans.WithLabelValues(outcome).Add(float64(len(list)))
	return nil
}

type countedMetrics struct {
	sdkmetric.Exporter
	e *Exporter
}

func (c countedMetrics) Export(ctx context.Context, data *metricdata.ResourceMetrics) error {
	if err := c.Exporter.Export(ctx, data); err != nil {
		c.e.failed("metrics", err)
	}
	return nil
}

// failed counts, and logs the first failure and then one a minute: a collector
// that is gone would fill the log.
func (e *Exporter) failed(signal string, err error) {
	e.failures.WithLabelValues(signal).Inc()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.untold++
	if now := time.Now(); now.Sub(e.told) >= tellEvery {
		e.log.Warn("the OpenTelemetry collector did not take what was sent", "collector", e.endpoint, "signal", signal, "failures_since_last_told", e.untold, "err", budget.Clip(err.Error(), 500))
		e.told, e.untold = now, 0
	}
}
