package main

import (
	"cmp"
	"context"

	"aigateway/accounting"
	"aigateway/extauthz"
	"aigateway/gatewayconfig"
	"aigateway/telemetry"
)

// openTelemetry returns whom decisions and ended calls are told; nobody, where no
// collector is configured.
func (c *controlPlane) openTelemetry() (decided func(extauthz.Decided), ended func(accounting.Ended), err error) {
	o := c.cfg.OTLP
	headers := map[string]string{}
	for _, h := range o.Headers {
		headers[h.Name] = h.Value.Reveal()
	}
	c.telemetry, err = telemetry.Open(context.Background(), telemetry.Config{
		Endpoint: o.Endpoint, HTTP: o.Protocol == gatewayconfig.ProtocolHTTP, Headers: headers, CA: o.CA,
		Version: buildInfo().Version,
		// Of a provider that has left the configuration, the name.
		Preset:  func(provider string) string { return cmp.Or((*c.presets.Load())[provider], provider) },
		Metrics: c.metrics, Log: c.log,
	})
	if err != nil || !c.telemetry.On() {
		return nil, nil, err
	}
	return func(d extauthz.Decided) { c.telemetry.Decision(telemetry.Decision(d)) },
		func(e accounting.Ended) { c.telemetry.Call(telemetry.Call(e)) }, nil
}
