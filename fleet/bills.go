package fleet

import (
	"context"

	"aigateway/budget"
)

// ImportBill keeps what a provider billed, for all gateways.
func (f *Fleet) ImportBill(ctx context.Context, b budget.Bill, by budget.Author) error {
	return unreachable(f.c.Store.ImportBill(ctx, b, by))
}

// Bills are what all gateways were told that providers billed.
func (f *Fleet) Bills(ctx context.Context) ([]budget.Bill, error) {
	bills, err := f.c.Store.Bills(ctx)
	return bills, unreachable(err)
}
