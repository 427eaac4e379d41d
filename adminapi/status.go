package adminapi

import (
	"context"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// StateReader tells how the ledger is, and what was corrected last.
type StateReader interface {
	State(ctx context.Context) (budget.LedgerState, error)
	LastAdjustments(ctx context.Context, limit int) ([]budget.Adjustment, error)
}

type statusService struct {
	aigatewayv1.UnimplementedStatusServiceServer
	state     StateReader
	providers func() []budget.ProviderState // may be nil
	ready     func() []Condition
	catalog   func() Catalog
	usage     *usageService
}

func (s *statusService) GetHealth(ctx context.Context, _ *aigatewayv1.GetHealthRequest) (*aigatewayv1.GetHealthResponse, error) {
	if err := seesAll(caller(ctx)); err != nil {
		return nil, err
	}
	state, err := s.state.State(ctx)
	if err != nil {
		return nil, err
	}
	ready := readinessOf(s.ready())
	catalog, now := s.catalog(), s.usage.now()
	resp := &aigatewayv1.GetHealthResponse{
		Ready: ready.Ready, CatalogVersion: catalog.Version, PricesCheckedAt: timestamp(catalog.CheckedAt),
		ClockAheadMs: state.ClockAhead.Milliseconds(), DatabaseBytes: state.DatabaseBytes, DiskFreeBytes: state.FreeBytes, DiskFullDays: state.FullDays,
	}
	if !catalog.CheckedAt.IsZero() {
		resp.PricesAgeDays = max(0, int64(now.Sub(catalog.CheckedAt)/(24*time.Hour)))
	}
	for _, c := range ready.Conditions {
		resp.Conditions = append(resp.Conditions, &aigatewayv1.HealthCondition{Name: c.Name, Ready: c.Ready, Message: c.Message, Warning: c.Warning})
	}
	if s.providers != nil {
		for _, p := range s.providers() {
			out := &aigatewayv1.ProviderHealth{Provider: p.Name, Calls: p.Calls, Faults: p.Faults, LastFault: p.LastFault}
			if p.Calls > 0 {
				out.MeanMs = new(p.Took.Milliseconds() / p.Calls)
			}
			resp.Providers = append(resp.Providers, out)
		}
	}
	rows, err := s.usage.rows(ctx, budget.UsageQuery{Window: budget.Month.WindowAt(now, s.usage.zone), Zone: s.usage.zone, GroupBy: []budget.Dimension{budget.ByModel}})
	for _, r := range rows {
		if r.Unpriced > 0 {
			resp.UnpricedModels = append(resp.UnpricedModels, &aigatewayv1.UnpricedModel{Model: r.Model, Calls: r.Unpriced})
		}
	}
	return resp, err
}

// lastCorrections is how many corrections the books show.
const lastCorrections = 100

func (s *statusService) GetBooks(ctx context.Context, _ *aigatewayv1.GetBooksRequest) (*aigatewayv1.GetBooksResponse, error) {
	if err := seesAll(caller(ctx)); err != nil {
		return nil, err
	}
	state, err := s.state.State(ctx)
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.GetBooksResponse{Head: state.Head, CheckedAt: timestamp(state.CheckedAt), Mismatches: int32(state.Mismatches)} // a few
	all, err := s.state.LastAdjustments(ctx, lastCorrections)
	for _, a := range all {
		subject := a.BudgetID
		if subject == "" {
			subject = string(a.Tag)
		}
		resp.Corrections = append(resp.Corrections, &aigatewayv1.BookedCorrection{CreateTime: timestamp(a.Time), Subject: subject, Amount: a.Amount.String(), Reason: a.Reason, Actor: a.Actor})
	}
	return resp, err
}

func seesAll(key *budget.Key) error {
	if len(key.AllowedTags) == 0 {
		return nil
	}
	return &budget.Error{Kind: budget.KindPermission, Reason: "key_not_allowed", Message: "this key is limited to some tags, and this concerns all; use a key without that limit"}
}
