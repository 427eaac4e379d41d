package accounting_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/accounting"
	"aigateway/envoy"
)

// TestProviderOutcomes: whose doing an end was is told by flags and status.
func TestProviderOutcomes(t *testing.T) {
	for _, tc := range []struct {
		line envoy.LogLine
		want string
	}{
		{envoy.LogLine{Code: 200, Details: "via_upstream"}, "ok"},
		{envoy.LogLine{Code: 200, Flags: "DC"}, "client_left"},
		{envoy.LogLine{Code: 0, Flags: "DC"}, "client_left"},
		{envoy.LogLine{Code: 200, Flags: "UC"}, "cut"},
		{envoy.LogLine{Code: 503, Flags: "UF,URX", Details: "upstream_reset_before_response_started"}, "unreachable"},
		{envoy.LogLine{Code: 503, Flags: "UC"}, "unreachable"},
		{envoy.LogLine{Code: 504, Flags: "UT"}, "timeout"},
		{envoy.LogLine{Code: 200, Flags: "SI"}, "timeout"},
		{envoy.LogLine{Code: 502, Report: envoy.Report{UpstreamStatus: 401}}, "denied"},
		{envoy.LogLine{Code: 429, Details: "via_upstream"}, "rate_limited"},
		{envoy.LogLine{Code: 500, Details: "via_upstream"}, "server_error"},
		{envoy.LogLine{Code: 400, Details: "via_upstream"}, "request_error"},
	} {
		if got := accounting.OutcomeOf(&tc.line); got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.line, got, tc.want)
		}
	}
}

// TestProvidersFailing: readiness names a provider that fails most of its calls,
// for two minutes at most; the log tells of it once in ten seconds; a client that
// leaves or is wrong is no fault of a provider.
func TestProvidersFailing(t *testing.T) {
	const span = time.Minute
	var log bytes.Buffer
	p, err := accounting.NewProviders(prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	call := func(provider string, l envoy.LogLine, at time.Time) {
		l.RequestID = "request-7"
		accounting.ObserveProvider(p, &l, provider, at)
	}
	down := envoy.LogLine{Code: 503, Flags: "UF", Details: "upstream_reset_before_response_started{remote_connection_failure}"}
	for i := range 4 {
		call("good", envoy.LogLine{Code: 200, Details: "via_upstream"}, noon)
		call("left", envoy.LogLine{Code: 200, Flags: "DC"}, noon)
		call("asked", envoy.LogLine{Code: 400, Details: "via_upstream"}, noon)
		if i == 3 && p.Failing(noon) != nil {
			t.Errorf("two faults are told: %v", p.Failing(noon))
		}
		if i > 0 {
			call("bad", down, noon.Add(time.Duration(i)*time.Second))
		}
	}
	told := fmt.Sprint(p.Failing(noon.Add(span + time.Second)))
	if !strings.Contains(told, "bad failed 3 of its last 3 calls, the last by unreachable (upstream_reset") || strings.Contains(told, ";") {
		t.Errorf("readiness says %s", told)
	}
	if err := p.Failing(noon.Add(2*span + 2*time.Second)); err != nil {
		t.Errorf("two minutes later: %v", err)
	}
	if text := log.String(); strings.Count(text, "a provider failed") != 1 || !strings.Contains(text, "provider=bad") || !strings.Contains(text, "request_id=request-7") {
		t.Errorf("the log says %s", text)
	}
	log.Reset()
	call("bad", down, noon.Add(3*span))
	if text := log.String(); !strings.Contains(text, "faults_since_last_told=3") {
		t.Errorf("later the log says %q", text)
	}
}
