package ledger_test

import (
	"strings"
	"testing"

	"aigateway/budget"
)

// An absurd bill is listed once in the audit log, whichever channel tells it and
// however often, and also after a restart.
func TestAbsurdBillsAreListed(t *testing.T) {
	b := start(t)
	b.budget("a", budget.Month, 1000)
	var settled []budget.Settlement
	for range 3 {
		q := b.request("a", 60)
		r, err := b.Reserve(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		settled = append(settled, budget.Settlement{RequestID: q.RequestID, Reservation: &r, Basis: budget.BasisUsage, Cost: 600, Billed: 1 << 60})
	}
	settled[2].Billed, settled[2].Cost = 0, 50
	b.settle(settled[0])
	b.flush()
	for range 2 {
		if err := b.SettleSpool(t.Context(), settled, budget.SpoolPosition{File: "f", Offset: 9}); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := b.AuditLog(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var subjects []string
	for _, e := range entries {
		if e.Action == "absurd_bill" {
			subjects = append(subjects, e.Subject)
			for _, want := range []string{`"billed_nano_usd":1152921504606846976`, `"charged_nano_usd":600`, `"bound_nano_usd":60`, `"tag":"a"`} {
				if !strings.Contains(e.Detail, want) {
					t.Errorf("%s lacks %s: %s", e.Subject, want, e.Detail)
				}
			}
		}
	}
	if got, want := strings.Join(subjects, " "), settled[0].RequestID+" "+settled[1].RequestID; got != want {
		t.Errorf("listed are %q, want %q", got, want)
	}
}
