package adminapi

import (
	"context"
	"strconv"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// AdjustmentStore books corrections of what was charged, under the contract of
// KeyStore. Adjust does nothing when its RequestID was used for the same
// adjustment, and fails with kind conflict when it was used for another.
type AdjustmentStore interface {
	Adjust(ctx context.Context, a budget.Adjustment, actor string) (budget.Adjustment, error)
	Adjustments(ctx context.Context, after string, limit int) ([]budget.Adjustment, error)
}

type adjustmentService struct {
	aigatewayv1.UnimplementedAdjustmentServiceServer
	adjustments AdjustmentStore
}

func (s *adjustmentService) CreateAdjustment(ctx context.Context, req *aigatewayv1.CreateAdjustmentRequest) (*aigatewayv1.Adjustment, error) {
	in := req.GetAdjustment()
	if in == nil {
		return nil, budget.Invalid("field_invalid", "adjustment", "adjustment is missing; send budget_id or tag, amount, reason and request_id")
	}
	if err := refuseReadOnly(in); err != nil {
		return nil, err
	}
	key := caller(ctx)
	if in.BudgetId != nil && in.Tag != nil {
		return nil, budget.Invalid("field_invalid", "budget_id", "budget_id and tag are both set; an adjustment corrects one of them")
	}
	amount, err := budget.ParseAmount("amount", in.GetAmount())
	if err != nil {
		return nil, err
	}
	a, err := s.adjustments.Adjust(ctx, budget.Adjustment{
		RequestID: in.GetRequestId(), BudgetID: in.GetBudgetId(), Tag: budget.Tag(in.GetTag()), Amount: amount, Reason: in.GetReason(),
	}, key.ID)
	if err != nil {
		return nil, err
	}
	return adjustmentProto(a), nil
}

func (s *adjustmentService) ListAdjustments(ctx context.Context, req *aigatewayv1.ListAdjustmentsRequest) (*aigatewayv1.ListAdjustmentsResponse, error) {
	size, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	list := func(after string, limit int) ([]budget.Adjustment, error) {
		return s.adjustments.Adjustments(ctx, after, limit)
	}
	all := func(budget.Adjustment) bool { return true }
	found, next, err := page(req.GetPageToken(), size, list, func(a budget.Adjustment) string { return a.ID }, all)
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.ListAdjustmentsResponse{NextPageToken: next}
	for _, a := range found {
		resp.Adjustments = append(resp.Adjustments, adjustmentProto(a))
	}
	return resp, nil
}

func adjustmentProto(a budget.Adjustment) *aigatewayv1.Adjustment {
	out := &aigatewayv1.Adjustment{
		Id: a.ID, RequestId: a.RequestID, Amount: a.Amount.String(), Reason: a.Reason, Actor: a.Actor, CreateTime: timestamp(a.Time),
	}
	if a.BudgetID != "" {
		out.BudgetId = &a.BudgetID
	} else {
		tag := string(a.Tag)
		out.Tag = &tag
	}
	return out
}

// AuditReader lists changes by administrators with ids above after, oldest
// first, at most limit.
type AuditReader interface {
	AuditLog(ctx context.Context, after int64, limit int) ([]budget.AuditEntry, error)
}

type auditService struct {
	aigatewayv1.UnimplementedAuditServiceServer
	audit AuditReader
}

func (s *auditService) ListAuditEntries(ctx context.Context, req *aigatewayv1.ListAuditEntriesRequest) (*aigatewayv1.ListAuditEntriesResponse, error) {
	size, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	list := func(after string, limit int) ([]budget.AuditEntry, error) {
		id := int64(0)
		if after != "" {
			n, err := strconv.ParseInt(after, 10, 64)
			if err != nil {
				return nil, badPageToken()
			}
			id = n
		}
		return s.audit.AuditLog(ctx, id, limit)
	}
	id := func(e budget.AuditEntry) string { return strconv.FormatInt(e.ID, 10) }
	found, next, err := page(req.GetPageToken(), size, list, id, func(budget.AuditEntry) bool { return true })
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.ListAuditEntriesResponse{NextPageToken: next}
	for _, e := range found {
		resp.Entries = append(resp.Entries, &aigatewayv1.AuditEntry{
			Id: id(e), CreateTime: timestamp(e.Time), Actor: e.Actor, Action: e.Action, Subject: e.Subject, Detail: e.Detail,
		})
	}
	return resp, nil
}
