package postgres_test

import (
	"fmt"

	"aigateway/budget"
)

// testBills keeps the last bill of a provider and month, and every import in the log.
func testBills(w *world) {
	ctx := w.Context()
	bill := func(provider, month string, cents ...budget.Amount) budget.Bill {
		b := budget.Bill{Provider: provider, Month: month}
		for i, c := range cents {
			b.Days = append(b.Days, budget.BillDay{Day: fmt.Sprintf("%s-%02d", month, i+1), Billed: c * budget.Cent})
		}
		return b
	}
	for _, b := range []budget.Bill{bill("openai", "2026-04", 1, 2), bill("openai", "2026-04", 1, 3), bill("openai", "2026-04", 1, 3), bill("openai-eu", "2026-04", 9), bill("anthropic", "2026-03", -4)} {
		if err := w.store.ImportBill(ctx, b, by); err != nil {
			w.Fatal(err)
		}
	}
	got, err := w.store.Bills(ctx)
	if err != nil || len(got) != 3 || got[0].Provider != "anthropic" || got[0].Days[0].Billed != -4*budget.Cent || got[1].Provider != "openai" || got[1].Days[1].Billed != 3*budget.Cent || got[2].Provider != "openai-eu" || got[1].Actor != by.Actor || got[1].Time.IsZero() {
		w.Errorf("%+v, %v", got, err)
	}
	if n, _, err := w.store.VerifyAudit(ctx); n != 4 || err != nil {
		w.Errorf("%d entries, %v; want each import once", n, err)
	}
	if err := w.store.ImportBill(ctx, bill("", "2026-04", 1), by); err == nil {
		w.Error("a bill of nobody is kept")
	}
}
