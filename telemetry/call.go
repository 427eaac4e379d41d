package telemetry

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"aigateway/budget"
	"aigateway/pricing"
)

// Call is a call to a provider that ended.
type Call struct {
	Endpoint        pricing.Endpoint // empty: an older version admitted it
	Model, Provider string           // asked for
	Served          string           // the model that answered, where it is another; else empty
	Fault           string           // how it failed; empty: it did not
	Duration        time.Duration    // to the last byte
	Tokens          budget.Tokens    // as reported
}

// kind says which of the conventions' instruments an operation has.
type kind int

const (
	inference kind = iota
	embeddings
	other
)

// operationOf is the name that the conventions have for what an endpoint does,
// else its own.
func operationOf(e pricing.Endpoint) (string, kind) {
	switch e {
	case "":
		return "unknown", inference
	case pricing.Chat, pricing.Responses, pricing.Messages, pricing.Compact:
		return "chat", inference
	case pricing.Completions:
		return "text_completion", inference
	case pricing.Images, pricing.ImageEdits, pricing.Speech:
		return "generate_content", inference
	case pricing.Transcriptions, pricing.Translations:
		return string(e), inference
	case pricing.Embeddings:
		return "embeddings", embeddings
	}
	return string(e), other
}

// wellKnown are the conventions' names of providers, by our presets, where they
// are not the same.
var wellKnown = map[string]string{
	"azure": "azure.ai.openai", "foundry": "azure.ai.inference", "vertex": "gcp.vertex_ai", "gemini": "gcp.gemini",
	"bedrock": "aws.bedrock", "bedrock-mantle": "aws.bedrock", "moonshot": "moonshot_ai", "mistral": "mistral_ai", "xai": "x_ai",
}

func providerName(preset string) string {
	if name, ok := wellKnown[preset]; ok {
		return name
	}
	return preset
}

// modelName is a model without the provider before it.
func modelName(slug, provider string) string { return strings.TrimPrefix(slug, provider+"/") }

// instruments are those of the conventions that a gateway can fill. The chunks of
// a stream pass it unseen.
type instruments struct {
	duration                             [other + 1]metric.Float64Histogram
	input, output, cacheRead, cacheWrite metric.Int64Counter
	inputs, outputs, embedded            metric.Int64Histogram
}

// seconds and tokens are the boundaries that the conventions ask for.
var (
	seconds = metric.WithExplicitBucketBoundaries(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
	tokens  = metric.WithExplicitBucketBoundaries(1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
)

func newInstruments(m metric.Meter) (instruments, error) {
	var errs []error
	duration := func(name string) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription("How long calls took, to the last byte."), seconds)
		errs = append(errs, err)
		return h
	}
	total := func(name, what string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit("{token}"), metric.WithDescription(what))
		errs = append(errs, err)
		return c
	}
	each := func(name, what string) metric.Int64Histogram {
		h, err := m.Int64Histogram(name, metric.WithUnit("{token}"), metric.WithDescription(what), tokens)
		errs = append(errs, err)
		return h
	}
	i := instruments{
		duration: [...]metric.Float64Histogram{
			duration("gen_ai.client.inference.duration"), duration("gen_ai.client.embeddings.duration"), duration("gen_ai.client.operation.duration"),
		},
		input:      total("gen_ai.client.inference.usage.input_tokens", "Input tokens that providers reported, cached ones included."),
		output:     total("gen_ai.client.inference.usage.output_tokens", "Output tokens that providers reported, reasoning included."),
		cacheRead:  total("gen_ai.client.inference.usage.cache_read.input_tokens", "Of the input tokens, those from a cache."),
		cacheWrite: total("gen_ai.client.inference.usage.cache_write.input_tokens", "Of the input tokens, those written to a cache."),
		inputs:     each("gen_ai.client.inference.operation.input_tokens", "Input tokens of a call."),
		outputs:    each("gen_ai.client.inference.operation.output_tokens", "Output tokens of a call."),
		embedded:   each("gen_ai.client.embeddings.operation.input_tokens", "Input tokens of a call."),
	}
	return i, errors.Join(errs...)
}

// Call counts c. It neither waits nor fails.
func (e *Exporter) Call(c Call) {
	ctx := context.Background()
	operation, k := operationOf(c.Endpoint)
	common := []attribute.KeyValue{
		attribute.String("gen_ai.operation.name", operation),
		attribute.String("gen_ai.provider.name", providerName(e.preset(c.Provider))),
		attribute.String("gen_ai.request.model", modelName(c.Model, c.Provider)),
	}
	if c.Served != "" {
		common = append(common, attribute.String("gen_ai.response.model", modelName(c.Served, c.Provider)))
	}
	// Which of a call's tokens are text, an image or sound is not kept.
	usage := metric.WithAttributeSet(attribute.NewSet(append([]attribute.KeyValue{attribute.String("gen_ai.token.modality", "unknown")}, common...)...))
	if c.Fault != "" {
		common = append(common, attribute.String("error.type", c.Fault))
	}
	set := metric.WithAttributeSet(attribute.NewSet(common...))
	e.calls.duration[k].Record(ctx, c.Duration.Seconds(), set)
	input := c.Tokens.Input + c.Tokens.CacheRead + c.Tokens.CacheWrite
	switch k {
	case inference:
		e.calls.input.Add(ctx, input, usage)
		e.calls.output.Add(ctx, c.Tokens.Output, usage)
		e.calls.cacheRead.Add(ctx, c.Tokens.CacheRead, usage)
		e.calls.cacheWrite.Add(ctx, c.Tokens.CacheWrite, usage)
		e.calls.inputs.Record(ctx, input, set)
		e.calls.outputs.Record(ctx, c.Tokens.Output, set)
	case embeddings:
		e.calls.embedded.Record(ctx, input, set)
	}
}
