package gatewayconfig

import (
	"net/url"
	"strings"
)

// OTLP is where metrics and traces are sent by OpenTelemetry's protocol.
type OTLP struct {
	Endpoint *url.URL // of the collector, https or http; nil: nothing is sent
	Protocol string   // ProtocolGRPC or ProtocolHTTP
	Headers  []Header // on every request; sorted by name
	CA       []byte   // PEM that verifies the collector; empty: the system's
}

// The protocols of OTLP, by the names that OTEL_EXPORTER_OTLP_PROTOCOL has for
// them.
const (
	ProtocolGRPC = "grpc"
	ProtocolHTTP = "http/protobuf"
)

type fileOTLP struct {
	Endpoint string                `yaml:"endpoint"`
	Protocol string                `yaml:"protocol"`
	Headers  map[string]secretText `yaml:"headers"`
	TLS      fileTLS               `yaml:"tls"`
}

func (v *validator) otlp(f fileOTLP) OTLP {
	out := OTLP{Protocol: f.Protocol, Headers: v.headers("otlp.headers", f.Headers), CA: v.caFile("otlp.tls.ca_file", f.TLS.CAFile)}
	v.oneOf("otlp.protocol", f.Protocol, ProtocolGRPC, ProtocolHTTP)
	if f.Endpoint == "" {
		if len(f.Headers) > 0 || f.TLS != (fileTLS{}) {
			v.fail("otlp.endpoint", "is missing; write the collector's address, such as https://collector.example.com:4317")
		}
		return out
	}
	u, err := url.Parse(f.Endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !validHost(u) || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.RawPath != "" {
		v.fail("otlp.endpoint", "is no address; write https://HOST:PORT, such as https://collector.example.com:4317, and what a collector wants to know of you under headers")
		return out
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if u.Path != "" && f.Protocol == ProtocolGRPC {
		v.fail("otlp.endpoint", "has a path, which gRPC has not; remove it, or set protocol: %s", ProtocolHTTP)
	}
	if strings.HasSuffix(u.Path, "/v1/traces") || strings.HasSuffix(u.Path, "/v1/metrics") {
		v.fail("otlp.endpoint", "ends in %s, which is added to it; write what stands before", u.Path[strings.LastIndex(u.Path, "/v1/"):])
	}
	if len(out.Headers) > 0 && u.Scheme == "http" && !loopback(u.Hostname()) {
		v.fail("otlp.headers", "would go in clear to %s; use https, or send to a collector on this machine", u.Host)
	}
	out.Endpoint = u
	return out
}
