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
	if n := counted(t, metrics, "aig_log_tokens_rejected_total", "test"); n != 0 {
		t.Errorf("%v tokens are counted as forged", n)
	}
}
