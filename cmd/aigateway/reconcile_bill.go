package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"aigateway/budget"
	"aigateway/reconciliation"
)

// restBill is a Bill of the API.
type restBill struct {
	Provider string        `json:"provider"`
	Month    string        `json:"month"`
	Days     []restBillDay `json:"days"`
	Exports  []string      `json:"exports"`
}

type restBillDay struct {
	Day       string `json:"day"`
	Billed    string `json:"billed_usd"`
	Corrected string `json:"corrected_usd"`
}

// keepBill has the server keep what the provider billed for the days that the exports
// have amounts for. Tokens that the catalog priced are no bill.
func keepBill(ctx context.Context, cl *client, month string, days []reconciliation.Day, report *reconciliation.Report) error {
	type sums struct {
		billed, corrected budget.Amount
		priced            bool
	}
	byDay := map[reconciliation.Day]sums{}
	for i := range report.Rows {
		row := &report.Rows[i]
		s := byDay[row.Day]
		byDay[row.Day] = sums{s.billed.Plus(row.Vendor), s.corrected.Plus(row.Corrected), s.priced || row.Priced}
	}
	bill := restBill{Provider: report.Provider, Month: month, Exports: []string{}}
	for _, d := range days {
		if s := byDay[d]; !s.priced && !slices.Contains(report.Missing, d) {
			bill.Days = append(bill.Days, restBillDay{string(d), s.billed.String(), s.corrected.String()})
		}
	}
	for _, e := range report.Exports {
		bill.Exports = append(bill.Exports, e.SHA256)
	}
	if len(bill.Days) == 0 {
		return nil
	}
	if err := cl.call(ctx, http.MethodPost, "/v1/bills", nil, bill, nil); err != nil {
		return fmt.Errorf("keep the bill beside the books: %w", err)
	}
	return nil
}
