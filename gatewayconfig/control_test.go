package gatewayconfig_test

import (
	"strings"
	"testing"

	"aigateway/gatewayconfig"
)

// TestControlIsForEnvoyOnly: an address that strangers reach needs certificates.
func TestControlIsForEnvoyOnly(t *testing.T) {
	const tls = ", control_tls: {ca_file: a, cert_file: b, key_file: c, envoy_cert_file: d, envoy_key_file: e}"
	for listen, problem := range map[string]string{
		"":                            "",
		"control: '127.0.0.1:8083'":   "",
		"control: '[::1]:8083'":       "",
		"control: '127.8.9.1:8083'":   "",
		"control: '0.0.0.0:8083'":     "whoever connects there",
		"control: '[::]:8083'":        "whoever connects there",
		"control: '10.0.0.5:8083'":    "whoever connects there",
		"control: '0.0.0.0:0'":        "whoever connects there",
		"control: '10.0.0.5:1'" + tls: "",
		"control: '10.0.0.5:1', control_tls: {ca_file: a, cert_file: b}": "needs all of",
		"control: '127.0.0.1:1', control_group: envoy":                   "is for a socket",
		"control: 'unix:/run/x.sock', control_group: envoy":              "",
		"control: '[::ffff:10.0.0.5]:8083'":                              "whoever connects there",
	} {
		_, err := gatewayconfig.Parse("c.yaml", []byte("data_dir: /data\nlisten: {"+listen+"}\n"), env())
		if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%s: %v, want %q", listen, err, problem)
		}
	}
}
