package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"aigateway/budget"
	"aigateway/pricing"
)

// Decision is what a span tells of one decision.
type Decision struct {
	RequestID   string
	TraceParent string // W3C's header as the client sent it; empty: a trace begins here
	// What was understood of the call until it was decided; empty: not so far.
	Endpoint        pricing.Endpoint
	KeyID           string
	Tag             budget.Tag
	Model, Provider string
	Start, End      time.Time
	Status          int    // HTTP status of a refusal; 0: admitted
	Reason          string // of a refusal
	Failed          bool   // it is refused for a fault of ours
	Bounded         bool   // Bound is reserved
	Bound           budget.Amount
	Waited          time.Duration // for running calls, of the whole
}

// Decision makes a span of d. It neither waits nor fails.
func (e *Exporter) Decision(d Decision) {
	select {
	case e.queue <- d:
	default:
		e.spans.WithLabelValues("dropped").Inc()
	}
}

// run makes spans of what is in the queue, until stop is closed and it is empty.
func (e *Exporter) run() {
	defer close(e.emptied)
	for {
		select {
		case d := <-e.queue:
			e.span(&d)
		case <-e.stop:
			for {
				select {
				case d := <-e.queue:
					e.span(&d)
				default:
					return
				}
			}
		}
	}
}

func (e *Exporter) span(d *Decision) {
	ctx := context.Background()
	if d.TraceParent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": d.TraceParent})
	}
	name := "decide"
	attributes := make([]attribute.KeyValue, 0, 12)
	text := func(key, value string) {
		if value != "" {
			attributes = append(attributes, attribute.String(key, value))
		}
	}
	if d.Endpoint != "" {
		operation, _ := operationOf(d.Endpoint)
		name += " " + operation
		text("gen_ai.operation.name", operation)
	}
	if d.Provider != "" {
		text("gen_ai.provider.name", providerName(e.preset(d.Provider)))
	}
	text("gen_ai.request.model", modelName(d.Model, d.Provider))
	text("aigateway.request_id", d.RequestID)
	text("aigateway.tag", string(d.Tag))
	text("aigateway.key_id", d.KeyID)
	outcome := "admitted"
	if d.Status != 0 {
		outcome = "refused"
		if d.Failed {
			outcome = "failed"
		}
		text("error.type", d.Reason)
		attributes = append(attributes, attribute.Int("http.response.status_code", d.Status))
	}
	text("aigateway.outcome", outcome)
	if d.Bounded {
		text("aigateway.bound_usd", d.Bound.String())
	}
	if d.Waited > 0 {
		attributes = append(attributes, attribute.Int64("aigateway.waited_ms", d.Waited.Milliseconds()))
	}
	_, span := e.tracer.Start(ctx, name, trace.WithTimestamp(d.Start), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...))
	if d.Failed { // a refusal is what was asked for
		span.SetStatus(codes.Error, d.Reason)
	}
	span.End(trace.WithTimestamp(d.End))
}
