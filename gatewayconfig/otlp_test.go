package gatewayconfig_test

import (
	"strings"
	"testing"

	"aigateway/gatewayconfig"
)

func TestOTLP(t *testing.T) {
	c := mustParse(t, "otlp: {endpoint: 'https://collector.example.com:4317', headers: {Authorization: 'Bearer ${TOKEN}'}}", "TOKEN", "s3cret").OTLP
	if c.Endpoint.Host != "collector.example.com:4317" || c.Protocol != gatewayconfig.ProtocolGRPC || len(c.Headers) != 1 || c.Headers[0].Name != "authorization" || c.Headers[0].Value.Reveal() != "Bearer s3cret" {
		t.Errorf("read %+v", c)
	}
	if c := mustParse(t, ""); c.OTLP.Endpoint != nil {
		t.Errorf("something is sent by default: %+v", c.OTLP)
	}
	for text, want := range map[string]string{
		"endpoint: 'http://10.0.0.1:4317'":                                                 "",
		"endpoint: 'http://127.0.0.1:4318/otel', protocol: http/protobuf, headers: {a: b}": "",
		"endpoint: 'collector:4317'":                                                       "is no address",
		"endpoint: 'https://user:pass@collector:4317'":                                     "is no address",
		"endpoint: 'https://collector:4317/x'":                                             "has a path",
		"endpoint: 'https://collector/v1/traces', protocol: http/protobuf":                 "ends in /v1/traces",
		"endpoint: 'https://collector:4317', protocol: thrift":                             "otlp.protocol",
		"endpoint: 'http://10.0.0.1:4317', headers: {a: s3cret}":                           "in clear",
		"headers: {a: b}": "otlp.endpoint",
		"endpoint: 'https://collector:4317', tls: {ca_file: none.pem}": "otlp.tls.ca_file",
		"endpoint: 'https://collector:4317', headers: {a: '${NONE}'}":  "NONE",
	} {
		_, err := parse(t, "otlp: {"+text+"}")
		if err != nil {
			got := err.Error()
			if want == "" || !strings.Contains(got, want) || strings.Contains(got, "s3cret") || strings.Contains(got, "pass@") {
				t.Errorf("%s: %s, want %q in it", text, got, want)
			}
		} else if want != "" {
			t.Errorf("%s is taken", text)
		}
	}
	a, b := mustParse(t, "otlp: {endpoint: 'http://10.0.0.1:4317'}"), mustParse(t, "otlp: {endpoint: 'http://10.0.0.2:4317'}")
	if fields := gatewayconfig.NeedsRestart(a, b); len(fields) != 1 || fields[0] != "otlp" {
		t.Errorf("a change needs a restart for %v", fields)
	}
}
