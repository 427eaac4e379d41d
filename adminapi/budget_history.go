package adminapi

import (
	"context"
	"slices"
	"strconv"
	"time"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// BudgetHistory tells what became of budgets; the last one comes first.
type BudgetHistory interface {
	// Windows are those that began before a moment; zero: all.
	Windows(ctx context.Context, id string, before time.Time, limit int) ([]budget.WindowReport, error)
	// BudgetChanges are those with ids below before; 0: all.
	BudgetChanges(ctx context.Context, id string, before int64, limit int) ([]budget.BudgetChange, error)
}

// older reads a page of a list that begins with its last entry: size entries, and the
// token of those before them.
func older[T any](token string, size int, list func(before int64, limit int) ([]T, error), at func(T) int64) ([]T, string, error) {
	text, err := after(token)
	if err != nil {
		return nil, "", err
	}
	before := int64(0)
	if text != "" {
		if before, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, "", badPageToken()
		}
	}
	all, err := list(before, size+1)
	if err != nil || len(all) <= size {
		return all, "", err
	}
	return all[:size], pageToken(strconv.FormatInt(at(all[size-1]), 10)), nil
}

func (s *budgetService) ListBudgetWindows(ctx context.Context, req *aigatewayv1.ListBudgetWindowsRequest) (*aigatewayv1.ListBudgetWindowsResponse, error) {
	size, err := pageSize(req.GetPageSize())
	if err == nil {
		_, err = s.find(caller(ctx), req.GetId())
	}
	if err != nil {
		return nil, err
	}
	list := func(before int64, limit int) ([]budget.WindowReport, error) {
		var t time.Time
		if before != 0 {
			t = time.Unix(0, before)
		}
		return s.history.Windows(ctx, req.GetId(), t, limit)
	}
	found, next, err := older(req.GetPageToken(), size, list, func(w budget.WindowReport) int64 { return w.Start.UnixNano() })
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.ListBudgetWindowsResponse{NextPageToken: next}
	for _, w := range found {
		out := &aigatewayv1.BudgetWindow{
			Running: w.Running, Spent: w.Spent.String(),
			RefusedCalls: w.Refused.Calls, DistinctCalls: w.Refused.Distinct, Kept: w.Refused.Kept.String(),
		}
		if !w.End.IsZero() {
			out.Start, out.End = timestamp(w.Start), timestamp(w.End)
		}
		if w.Cap != nil {
			out.Cap = new(w.Cap.String())
		}
		resp.Windows = append(resp.Windows, out)
	}
	return resp, nil
}

func (s *budgetService) ListBudgetChanges(ctx context.Context, req *aigatewayv1.ListBudgetChangesRequest) (*aigatewayv1.ListBudgetChangesResponse, error) {
	size, err := pageSize(req.GetPageSize())
	if err == nil {
		_, err = s.find(caller(ctx), req.GetId())
	}
	if err != nil {
		return nil, err
	}
	list := func(before int64, limit int) ([]budget.BudgetChange, error) {
		return s.history.BudgetChanges(ctx, req.GetId(), before, limit)
	}
	found, next, err := older(req.GetPageToken(), size, list, func(c budget.BudgetChange) int64 { return c.ID })
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.ListBudgetChangesResponse{NextPageToken: next}
	for _, c := range found {
		resp.Changes = append(resp.Changes, &aigatewayv1.BudgetChange{
			Id: strconv.FormatInt(c.ID, 10), CreateTime: timestamp(c.Time), Actor: c.Actor, Action: c.Action, Reason: c.Reason,
			Before: termsProto(c.Before), After: termsProto(c.After),
		})
	}
	return resp, nil
}

func termsProto(b *budget.Budget) *aigatewayv1.BudgetTerms {
	if b == nil {
		return nil
	}
	return &aigatewayv1.BudgetTerms{
		Cap: b.Cap.String(), TimeZone: zoneName(b.Zone), DefaultMaxTokens: int32(b.DefaultMaxTokens), DefaultMaxToolCalls: int32(b.DefaultMaxToolCalls), // their maxima fit
	}
}

// curvePoints is how many points a curve has at most, and how far back the one of a
// budget without an end goes, in days.
const curvePoints = 400

func (s *budgetService) GetBudgetCurve(ctx context.Context, req *aigatewayv1.GetBudgetCurveRequest) (*aigatewayv1.GetBudgetCurveResponse, error) {
	status, err := s.find(caller(ctx), req.GetId())
	if err != nil {
		return nil, err
	}
	now := s.now()
	zone, err := budget.ParseZone("time_zone", status.Zone)
	if err != nil {
		return nil, err
	}
	from := status.Window.Start
	if earliest := now.AddDate(0, 0, -curvePoints+2); status.Window.End.IsZero() || from.Before(earliest) {
		from = budget.Day.WindowAt(earliest, zone).Start
	}
	q := budget.UsageQuery{
		Window: budget.Window{Start: from, End: now.Add(quarter - 1).Truncate(quarter)}, Zone: zone, GroupBy: []budget.Dimension{budget.ByDay},
		Tags: status.Target.Tags, KeyID: status.Target.KeyID,
	}
	window := func(t time.Time) budget.Window { return budget.Day.WindowAt(t, zone) }
	if status.Period == budget.Day || status.Period == budget.Week {
		q.GroupBy[0] = budget.ByHour
		window = func(t time.Time) budget.Window { return budget.Window{Start: t, End: t.Add(time.Hour)} }
	}
	var rows []budget.UsageRow
	if q.Window.Start.Before(q.Window.End) {
		if _, err = s.usage.asOf(ctx); err == nil {
			rows, err = s.usage.usage.Usage(ctx, q)
		}
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(rows, func(a, b budget.UsageRow) int { return a.Time.Compare(b.Time) })
	return &aigatewayv1.GetBudgetCurveResponse{Points: curve(rows, window, from, now, status.Spent)}, nil
}

// curve goes back from what is spent now: what no call in the reports explains, such
// as a correction, is there from the start.
func curve(rows []budget.UsageRow, window func(time.Time) budget.Window, from, now time.Time, spent budget.Amount) []*aigatewayv1.CurvePoint {
	at := spent
	for _, r := range rows {
		at -= r.Cost
	}
	at = max(at, 0)
	var points []*aigatewayv1.CurvePoint
	last := time.Time{}
	add := func(t time.Time) {
		if t.After(last) {
			points, last = append(points, &aigatewayv1.CurvePoint{Time: timestamp(t), Spent: at.String()}), t
		}
	}
	add(from)
	for _, r := range rows { // what a row cost was spent between its beginning and its end
		add(r.Time)
		at += r.Cost
		if end := window(r.Time).End; end.Before(now) {
			add(end)
		}
	}
	at = spent
	add(now)
	return points
}
