package e2e_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestProviderDownIsSeen: a provider that cannot be reached is in the metrics, in
// readiness, which stays ready, and in the log, which is JSON here and has the
// request id; refusals and tokens are counted by tag, key and model.
func TestProviderDownIsSeen(t *testing.T) {
	t.Parallel()
	g := newGateway(t)
	g.settings["LogFormat"] = "json"
	g.writeConfig()
	g.startRun()
	for range 4 {
		if r := g.chat("dead/m1", "seen", "hello", `,"max_tokens":9`); r.status != http.StatusServiceUnavailable && r.status != http.StatusBadGateway {
			t.Fatalf("a provider that is down: %d %s", r.status, r.body)
		}
	}
	if r := g.chat("fake/m1", "seen", "hello", `,"max_tokens":9`); r.status != http.StatusOK {
		t.Fatalf("%d %s", r.status, r.body)
	}
	g.setBudget("capped", 0)
	if r := g.chat("fake/m1", "capped", "hello", `,"max_tokens":9`); r.status != http.StatusPaymentRequired {
		t.Fatalf("%d %s", r.status, r.body)
	}
	g.settle(time.Minute)
	eventually(t, time.Minute, "readiness tells of it", func() bool {
		return strings.Contains(g.told(), "dead failed 4 of its last 4 calls, the last by unreachable")
	})
	metrics := string(g.try(http.MethodGet, g.rest+"/metrics", "", nil).body)
	for _, want := range []string{
		`aig_provider_calls_total{outcome="unreachable",provider="dead"} 4`, `aig_provider_calls_total{outcome="ok",provider="fake"} 1`,
		`aig_provider_seconds_count{provider="dead"} 4`, `aig_model_tokens_total{kind="input",model="fake/m1"} `,
		`aig_tag_refusals_total{reason="cap_reached",tag="capped"} 1`, `aig_key_refusals_total{key="admin",reason="cap_reached"} 1`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s:\n%s", want, metrics)
		}
	}
	g.wantJSONLog("a provider failed")
}

// wantJSONLog looks for a message in the log, with the provider and a request id.
func (g *gateway) wantJSONLog(message string) {
	g.t.Helper()
	for line := range strings.Lines(g.program.output()) {
		var entry struct {
			Msg       string `json:"msg"`
			Provider  string `json:"provider"`
			RequestID string `json:"request_id"`
		}
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == message {
			if entry.Provider != "dead" || len(entry.RequestID) != 36 {
				g.t.Errorf("the log says %s", line)
			}
			return
		}
	}
	g.t.Errorf("the log lacks %q:\n%s", message, g.program.output())
}
