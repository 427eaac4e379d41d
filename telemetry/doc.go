// Package telemetry sends what the gateway does to an OpenTelemetry collector,
// by OTLP: a span for each decision, and the metrics of calls that the semantic
// conventions for generative AI name, in their version 0.1.0
// (https://github.com/open-telemetry/semantic-conventions-genai, docs/gen-ai).
// It never sees a prompt, an answer or a key.
//
// Nothing here may hold up a decision: spans wait in a queue of fixed size, and
// what finds it full is dropped and counted.
package telemetry
