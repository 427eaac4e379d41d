package ledger_test

import (
	"testing"

	"aigateway/ledger"
)

func TestSpaceFloor(t *testing.T) {
	if err := ledger.EnoughSpace("d", ledger.MinFree-1); err == nil {
		t.Error("a nearly full disk is accepted")
	}
	if err := ledger.EnoughSpace("d", ledger.MinFree); err != nil {
		t.Error(err)
	}
}
