package adminapi

import (
	"context"
	"fmt"
	"slices"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// BillStore keeps what providers billed, under the contract of KeyStore. Bills are the
// last ones of each provider and month, by month and provider.
type BillStore interface {
	ImportBill(ctx context.Context, b budget.Bill, by budget.Author) error
	Bills(ctx context.Context) ([]budget.Bill, error)
}

type billService struct {
	aigatewayv1.UnimplementedBillServiceServer
	bills BillStore
	usage *usageService
}

func (s *billService) ImportBill(ctx context.Context, req *aigatewayv1.ImportBillRequest) (*aigatewayv1.ImportBillResponse, error) {
	key, in := caller(ctx), req.GetBill()
	if in == nil {
		return nil, budget.Invalid("field_invalid", "bill", "bill is missing; send provider, month and days")
	}
	b := budget.Bill{Provider: in.GetProvider(), Month: in.GetMonth(), Exports: in.GetExports()}
	for _, d := range in.GetDays() {
		billed, err := budget.ParseAmount("days.billed_usd", d.GetBilledUsd())
		if err != nil {
			return nil, err
		}
		corrected := budget.Amount(0)
		if d.GetCorrectedUsd() != "" {
			if corrected, err = budget.ParseAmount("days.corrected_usd", d.GetCorrectedUsd()); err != nil {
				return nil, err
			}
		}
		b.Days = append(b.Days, budget.BillDay{Day: d.GetDay(), Billed: billed, Corrected: corrected})
	}
	return &aigatewayv1.ImportBillResponse{}, s.bills.ImportBill(ctx, b, budget.Author{Actor: key.ID})
}

func (s *billService) ListBills(ctx context.Context, req *aigatewayv1.ListBillsRequest) (*aigatewayv1.ListBillsResponse, error) {
	if err := seesAll(caller(ctx)); err != nil {
		return nil, err
	}
	all, err := s.bills.Bills(ctx)
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.ListBillsResponse{Month: req.GetMonth(), TimeZone: "UTC"}
	for _, b := range slices.Backward(all) {
		if !slices.Contains(resp.Months, b.Month) {
			resp.Months = append(resp.Months, b.Month)
		}
	}
	if resp.Month == "" {
		if len(all) == 0 {
			return resp, nil
		}
		resp.Month = resp.Months[0]
	}
	window, err := budget.ParseMonth("month", resp.Month, time.UTC)
	if err == nil {
		err = checkSpan("month", window)
	}
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(b budget.Bill) bool { return b.Month != resp.Month })
	recorded, err := s.recorded(ctx, window, len(all) > 0)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		total := billRow{provider: b.Provider, bill: &b}
		for _, d := range b.Days {
			row := billRow{b.Provider, d.Day, d.Billed, recorded[b.Provider+" "+d.Day], d.Corrected, &b}
			resp.Rows = append(resp.Rows, row.proto())
			total.billed, total.recorded, total.corrected = total.billed.Plus(row.billed), total.recorded.Plus(row.recorded), total.corrected.Plus(row.corrected)
		}
		resp.Providers = append(resp.Providers, total.proto())
	}
	return resp, nil
}

// recorded is what calls cost, by "provider YYYY-MM-DD".
func (s *billService) recorded(ctx context.Context, w budget.Window, needed bool) (map[string]budget.Amount, error) {
	out := map[string]budget.Amount{}
	if !needed {
		return out, nil
	}
	rows, _, err := s.usage.rows(ctx, budget.UsageQuery{Window: w, Zone: time.UTC, GroupBy: []budget.Dimension{budget.ByDay, budget.ByProvider}})
	for _, r := range rows {
		out[fmt.Sprint(r.Provider, " ", r.Time.Format(time.DateOnly))] = r.Cost
	}
	return out, err
}

// billRow is theirs beside ours.
type billRow struct {
	provider, day               string
	billed, recorded, corrected budget.Amount
	bill                        *budget.Bill
}

func (r billRow) proto() *aigatewayv1.BillRow {
	difference := r.billed.Plus(-r.recorded)
	return &aigatewayv1.BillRow{
		Provider: r.provider, Day: r.day, BilledUsd: r.billed.String(), RecordedUsd: r.recorded.String(), DifferenceUsd: difference.String(),
		CorrectedUsd: r.corrected.String(), OpenUsd: difference.Plus(-r.corrected).String(), ImportTime: timestamp(r.bill.Time), Actor: r.bill.Actor,
	}
}
