package adminapi

import (
	"cmp"
	"context"
	"slices"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// RefusedReader adds up the calls of w that were refused, by budget and reason.
type RefusedReader interface {
	Refused(ctx context.Context, w budget.Window) ([]budget.Refused, error)
}

type overviewService struct {
	aigatewayv1.UnimplementedOverviewServiceServer
	usage   *usageService
	budgets *budgetService
	peers   Peers // may be nil
	running kind[runningQuestion, runningAnswer]
	refused RefusedReader // may be nil
}

// straightLine is the method of a forecast, see budget.Status.Forecast.
const straightLine = "straight_line"

func (s *overviewService) GetOverview(ctx context.Context, _ *aigatewayv1.GetOverviewRequest) (*aigatewayv1.GetOverviewResponse, error) {
	key := caller(ctx)
	now, zone := s.usage.now(), s.usage.zone
	month := budget.Month.WindowAt(now, zone)
	resp := &aigatewayv1.GetOverviewResponse{
		From: month.Start.In(zone).Format(time.RFC3339), To: month.End.In(zone).Format(time.RFC3339), TimeZone: zone.String(), Method: straightLine,
	}
	rows, asOf, err := s.usage.rows(ctx, budget.UsageQuery{Window: month, Zone: zone})
	if err != nil {
		return nil, err
	}
	resp.AsOf, resp.Behind = timestamp(asOf.Time), asOf.Behind
	var total budget.UsageRow
	for _, r := range rows {
		total.Add(r)
	}
	resp.Spent = total.Cost.String()
	if p, ok := budget.Straight(total.Cost, month, now); ok {
		resp.Projected = new(p.String())
	}
	running, unreachable, err := s.running.ask(ctx, s.peers, runningQuestion{rights(key)})
	if err != nil {
		return nil, err
	}
	var reserved budget.Amount
	for _, r := range running {
		resp.RunningCalls += r.Calls
		reserved = reserved.Plus(r.Reserved)
	}
	resp.Unreachable = unreachable
	resp.Reserved = reserved.String()
	refused, err := s.refusals(ctx, month, "")
	if err != nil {
		return nil, err
	}
	all := sumRefused(refused)
	resp.RefusedCalls, resp.DistinctCalls, resp.Kept = all.Calls, all.Distinct, all.Kept.String()
	return resp, s.addBudgets(key, resp, now)
}

// addBudgets counts the budgets that key sees.
func (s *overviewService) addBudgets(key *budget.Key, resp *aigatewayv1.GetOverviewResponse, now time.Time) error {
	var next time.Time
	err := s.eachBudget(key, func(b budget.Status) {
		resp.Budgets++
		f, ok := b.Forecast(now)
		switch {
		case b.Spent >= b.Cap:
			resp.BudgetsFull++
		case ok && !f.FullAt.IsZero():
			resp.BudgetsFilling++
			if next.IsZero() || f.FullAt.Before(next) {
				next = f.FullAt
			}
		}
		if b.Target.Tags == budget.AllTags && b.Period == budget.Month {
			resp.Cap = new(b.Cap.String())
		}
	})
	resp.NextFullAt = timestamp(next)
	return err
}

func (s *overviewService) eachBudget(key *budget.Key, f func(budget.Status)) error {
	for last := ""; ; {
		batch, err := s.budgets.budgets.ListBudgets(last, maxPageSize)
		if err != nil {
			return err
		}
		for _, b := range batch {
			if seesBudget(key, b.Budget) {
				f(b)
			}
		}
		if len(batch) < maxPageSize {
			return nil
		}
		last = batch[len(batch)-1].ID
	}
}

func (s *overviewService) ListRefusals(ctx context.Context, req *aigatewayv1.ListRefusalsRequest) (*aigatewayv1.ListRefusalsResponse, error) {
	zone := s.usage.zone
	w, err := s.usage.span(&aigatewayv1.QueryUsageRequest{From: req.GetFrom(), To: req.GetTo()}, zone)
	if err != nil {
		return nil, err
	}
	rows, err := s.refusals(ctx, w, req.GetBudgetId())
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.ListRefusalsResponse{From: w.Start.In(zone).Format(time.RFC3339), To: w.End.In(zone).Format(time.RFC3339), TimeZone: zone.String()}
	byReason := map[string]int{}
	var reasons []budget.Refused
	for _, r := range rows {
		resp.Rows = append(resp.Rows, refusalRow(r))
		i, ok := byReason[r.Reason]
		if !ok {
			i = len(reasons)
			byReason[r.Reason] = i
			reasons = append(reasons, budget.Refused{Reason: r.Reason})
		}
		reasons[i].Add(r.RefusedSum)
	}
	slices.SortFunc(reasons, mostKept)
	for _, r := range reasons {
		resp.Reasons = append(resp.Reasons, refusalRow(r))
	}
	resp.Total = refusalRow(budget.Refused{RefusedSum: sumRefused(rows)})
	return resp, nil
}

// refusals are those that the caller may see: of the budgets it sees, and of none for
// who is not limited to tags.
func (s *overviewService) refusals(ctx context.Context, w budget.Window, id string) ([]budget.Refused, error) {
	if s.refused == nil {
		return nil, nil
	}
	rows, err := s.refused.Refused(ctx, w)
	if err != nil {
		return nil, err
	}
	key := caller(ctx)
	seen := map[string]bool{"": false}
	rows = slices.DeleteFunc(rows, func(r budget.Refused) bool {
		if id != "" && r.BudgetID != id {
			return true
		}
		if len(key.AllowedTags) == 0 { // a shared store is not asked about each budget
			return false
		}
		may, known := seen[r.BudgetID]
		if !known {
			b, problem := s.budgets.budgets.GetBudget(r.BudgetID)
			if problem != nil && !isNotFound(problem) {
				err = problem
			}
			may = problem == nil && seesBudget(key, b.Budget)
			seen[r.BudgetID] = may
		}
		return !may
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, mostKept)
	return rows, nil
}

func mostKept(a, b budget.Refused) int {
	return cmp.Or(cmp.Compare(b.Kept, a.Kept), cmp.Compare(b.Calls, a.Calls), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.BudgetID, b.BudgetID))
}

func sumRefused(rows []budget.Refused) (all budget.RefusedSum) {
	for _, r := range rows {
		all.Add(r.RefusedSum)
	}
	return all
}

func refusalRow(r budget.Refused) *aigatewayv1.RefusalRow {
	out := &aigatewayv1.RefusalRow{Reason: r.Reason, Calls: r.Calls, DistinctCalls: r.Distinct, Kept: r.Kept.String()}
	if r.BudgetID != "" {
		out.BudgetId = &r.BudgetID
	}
	return out
}
