package gatewayconfig_test

import (
	"strings"
	"testing"

	"aigateway/gatewayconfig"
)

const controlTLS = ", control_tls: {ca_file: a, cert_file: b, key_file: c, envoy_cert_file: d, envoy_key_file: e}"

// controls are listen blocks and the place of their problem, if there is one.
var controls = map[string]string{
	"":                                   "",
	"control: '127.0.0.1:8083'":          "",
	"control: '[::1]:8083'":              "",
	"control: '127.8.9.1:8083'":          "",
	"control: '0.0.0.0:8083'":            "listen.control:",
	"control: '[::]:8083'":               "listen.control:",
	"control: '10.0.0.5:8083'":           "listen.control:",
	"control: '0.0.0.0:0'":               "listen.control:",
	"envoy_admin: '0.0.0.0:8084'":        "listen.envoy_admin:",
	"envoy_admin: '[fd00::5]:8084'":      "listen.envoy_admin:",
	"envoy_admin: '127.0.0.1:8084'":      "",
	"control: '10.0.0.5:1'" + controlTLS: "",
	"control: '10.0.0.5:1', control_tls: {ca_file: a, cert_file: b}": "listen.control_tls",
	"control: '127.0.0.1:1', control_group: envoy":                   "listen.control_group:",
	"control: 'unix:/run/x.sock', control_group: envoy":              "",
	"control: '[::ffff:10.0.0.5]:8083'":                              "listen.control:",
}

// TestControlIsForEnvoyOnly: an address that strangers reach needs certificates.
func TestControlIsForEnvoyOnly(t *testing.T) {
	for listen, problem := range controls {
		_, err := gatewayconfig.Parse("c.yaml", []byte("data_dir: /data\nlisten: {"+listen+"}\n"), env())
		if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%s: %v, want %q", listen, err, problem)
		}
	}
}
