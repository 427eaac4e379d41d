package accounting_test

import (
	"testing"

	"aigateway/accounting"
	"aigateway/envoy"
)

// A call that no provider bills settles nothing, and nobody searches for it or
// takes it for forged.
func TestFreeCallsSettleNothing(t *testing.T) {
	l, err := envoy.ParseLogLine([]byte(line(t, 1, with("rsv", envoy.TokenFree))))
	if err != nil {
		t.Fatal(err)
	}
	cfg, metrics := config(t, &fakeLedger{})
	if got := accounting.Settlement(cfg, &l); got.RequestID != "" || got.Reservation != nil {
		t.Errorf("it settles %+v", got)
	}
	ledger := &fakeLedger{}
	cfg.Ledger, cfg.Metrics = ledger, metrics
	accounting.Heartbeat(cfg, &l)
	l.Token = ""
	accounting.Heartbeat(cfg, &l)
	if n := counted(t, metrics, "aig_log_tokens_rejected_total", "test"); n != 0 || len(ledger.heartbeats) > 0 {
		t.Errorf("%v tokens are counted as forged, %v go on", n, ledger.heartbeats)
	}
	r := newRig(t)
	r.write(line(t, 1, with("rsv", envoy.TokenFree)), line(t, 2))
	r.drain()
	r.want(2)
}
