package ledger_test

import (
	"fmt"
	"testing"

	"aigateway/budget"
)

// TestBills keeps the last bill of a provider and month over a crash, and every import
// in the log, which the chain covers.
func TestBills(t *testing.T) {
	b := start(t)
	bill := func(provider, month string, cents ...budget.Amount) budget.Bill {
		out := budget.Bill{Provider: provider, Month: month}
		for i, c := range cents {
			out.Days = append(out.Days, budget.BillDay{Day: fmt.Sprintf("%s-%02d", month, i+1), Billed: c * budget.Cent, Corrected: c})
		}
		return out
	}
	before, err := b.AuditLog(t.Context(), 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []budget.Bill{bill("openai", "2026-04", 1, 2), bill("openai", "2026-04", 1, 3), bill("openai", "2026-04", 1, 3), bill("openai-eu", "2026-04", 9), bill("anthropic", "2026-03", -4)} {
		if err := b.ImportBill(t.Context(), x, budget.Author{Actor: "key_1"}); err != nil {
			t.Fatal(err)
		}
	}
	b = b.crash()
	got, err := b.Bills(t.Context())
	if err != nil || len(got) != 3 || got[0].Provider != "anthropic" || got[0].Days[0].Billed != -4*budget.Cent || got[1].Provider != "openai" || got[1].Days[1] != (budget.BillDay{Day: "2026-04-02", Billed: 3 * budget.Cent, Corrected: 3}) || got[2].Provider != "openai-eu" || got[1].Actor != "key_1" || !got[1].Time.Equal(b.clock.now()) {
		t.Errorf("%+v, %v", got, err)
	}
	log, err := b.AuditLog(t.Context(), 0, 100)
	if err != nil || len(log) != len(before)+4 || log[len(log)-1].Action != "import_bill" || log[len(log)-1].Subject != "bill/2026-03/anthropic" {
		t.Errorf("%+v, %v; want each import once", log, err)
	}
	b.agree()
	if err := b.ImportBill(t.Context(), bill("", "2026-04", 1), budget.Author{}); asError(t, err).Field != "provider" {
		t.Errorf("a bill of nobody: %v", err)
	}
}
