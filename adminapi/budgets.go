package adminapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// BudgetStore keeps budgets, under the contract of KeyStore. SetBudget creates,
// or replaces by target and period. UpdateBudget fails with kind conflict if
// etag is neither empty nor the budget's; change may run more than once.
type BudgetStore interface {
	SetBudget(ctx context.Context, b budget.Budget, by budget.Author) (budget.Status, error)
	UpdateBudget(ctx context.Context, id, etag string, change func(*budget.Budget) error, by budget.Author) (budget.Status, error)
	GetBudget(id string) (budget.Status, error)
	ListBudgets(after string, limit int) ([]budget.Status, error)
	DeleteBudget(ctx context.Context, id, etag string, by budget.Author) error
}

type budgetService struct {
	aigatewayv1.UnimplementedBudgetServiceServer
	keys    KeyStore
	budgets BudgetStore
	history BudgetHistory
	usage   *usageService
	now     func() time.Time
	zone    string // of budgets that name none; empty is UTC
}

func (s *budgetService) SetBudget(ctx context.Context, req *aigatewayv1.SetBudgetRequest) (*aigatewayv1.Budget, error) {
	in := req.GetBudget()
	if in == nil {
		return nil, budget.Invalid("field_invalid", "budget", "budget is missing; send a tag and a cap")
	}
	if err := refuseReadOnly(in); err != nil {
		return nil, err
	}
	if in.GetEtag() != "" {
		return nil, budget.Invalid("field_invalid", "etag", "etag has no meaning here: this replaces whatever is set; use PATCH to change one version")
	}
	key := caller(ctx)
	target, err := s.target(key, in)
	if err != nil {
		return nil, err
	}
	period, limit, err := theCap(in)
	if err != nil {
		return nil, err
	}
	zone := cmp.Or(in.GetTimeZone(), s.zone)
	if _, err := budget.ParseZone("time_zone", zone); err != nil {
		return nil, err
	}
	defaults := defaultsOf(in)
	if err := defaults.Check(); err != nil {
		return nil, err
	}
	status, err := s.budgets.SetBudget(ctx, budget.Budget{Target: target, Period: period, Zone: zone, Cap: limit, Defaults: defaults}, author(key, req))
	if err != nil {
		return nil, err
	}
	return s.proto(&status), nil
}

// target reads tag or key_id, and checks that the caller may limit it.
func (s *budgetService) target(key *budget.Key, in *aigatewayv1.Budget) (budget.Target, error) {
	switch {
	case in.Tag != nil && in.KeyId != nil:
		return budget.Target{}, budget.Invalid("field_invalid", "key_id", "tag and key_id are both set; a budget limits one of them")
	case in.Tag != nil:
		p, err := budget.ParseTagPattern("tag", in.GetTag())
		if err != nil {
			return budget.Target{}, err
		}
		if !sees(key, p) {
			return budget.Target{}, tagNotAllowed(p)
		}
		return budget.Target{Tags: p}, nil
	case in.KeyId != nil:
		return s.keyTarget(key, in.GetKeyId())
	default:
		return budget.Target{}, budget.Invalid("field_invalid", "tag", `tag is missing; name what the budget limits, such as "tag":"summarize"`)
	}
}

func (s *budgetService) keyTarget(key *budget.Key, id string) (budget.Target, error) {
	if len(key.AllowedTags) > 0 {
		return budget.Target{}, &budget.Error{
			Kind: budget.KindPermission, Reason: "key_not_allowed", Field: "key_id",
			Message: "this key is limited to some tags and may not limit keys; ask an admin",
		}
	}
	_, err := s.keys.GetKey(id)
	if isNotFound(err) {
		return budget.Target{}, budget.Invalid("field_invalid", "key_id", fmt.Sprintf("key_id is %q, and there is no such key; GET /v1/keys lists them", clip(id)))
	}
	if err != nil {
		return budget.Target{}, err
	}
	return budget.Target{KeyID: id}, nil
}

// capField is one of the four caps of a Budget message.
type capField struct {
	name   string
	period budget.Period
	cents  *int64
}

func capFields(in *aigatewayv1.Budget) []capField {
	return []capField{
		{"monthly_cap_cents", budget.Month, in.MonthlyCapCents},
		{"daily_cap_cents", budget.Day, in.DailyCapCents},
		{"weekly_cap_cents", budget.Week, in.WeeklyCapCents},
		{"total_cap_cents", budget.Total, in.TotalCapCents},
	}
}

// theCap is the one cap that is set; absent is an error, never 0.
func theCap(in *aigatewayv1.Budget) (budget.Period, budget.Amount, error) {
	set := slices.DeleteFunc(capFields(in), func(f capField) bool { return f.cents == nil })
	switch len(set) {
	case 0:
		return 0, 0, budget.Invalid("field_invalid", "monthly_cap_cents", `monthly_cap_cents is missing; send it, or one of daily_cap_cents, weekly_cap_cents, total_cap_cents, such as "monthly_cap_cents":50000 for $500`)
	case 1:
		limit, err := budget.FromCents(set[0].name, *set[0].cents)
		return set[0].period, limit, err
	default:
		return 0, 0, budget.Invalid("field_invalid", set[1].name, fmt.Sprintf("%s and %s are both set; a budget has one cap, set a second budget for the other", set[0].name, set[1].name))
	}
}

func (s *budgetService) ListBudgets(ctx context.Context, req *aigatewayv1.ListBudgetsRequest) (*aigatewayv1.ListBudgetsResponse, error) {
	size, err := pageSize(req.GetPageSize())
	if err != nil {
		return nil, err
	}
	key := caller(ctx)
	keep := func(b budget.Status) bool {
		return seesBudget(key, b.Budget) &&
			(req.GetTag() == "" || b.Target.Tags == budget.TagPattern(req.GetTag())) &&
			(req.GetKeyId() == "" || b.Target.KeyID == req.GetKeyId())
	}
	found, next, err := page(req.GetPageToken(), size, s.budgets.ListBudgets, func(b budget.Status) string { return b.ID }, keep)
	if err != nil {
		return nil, err
	}
	resp := &aigatewayv1.ListBudgetsResponse{NextPageToken: next}
	for _, b := range found {
		resp.Budgets = append(resp.Budgets, s.proto(&b))
	}
	return resp, nil
}

func (s *budgetService) GetBudget(ctx context.Context, req *aigatewayv1.GetBudgetRequest) (*aigatewayv1.Budget, error) {
	status, err := s.find(caller(ctx), req.GetId())
	if err != nil {
		return nil, err
	}
	return s.proto(&status), nil
}

// find answers for a budget that the key may not see as for one that does not
// exist: 403 would tell that it does.
func (s *budgetService) find(key *budget.Key, id string) (budget.Status, error) {
	status, err := s.budgets.GetBudget(id)
	if isNotFound(err) || err == nil && !seesBudget(key, status.Budget) {
		return budget.Status{}, notFound("budget", id) // the same words for both
	}
	return status, err
}

func (s *budgetService) UpdateBudget(ctx context.Context, req *aigatewayv1.UpdateBudgetRequest) (*aigatewayv1.Budget, error) {
	in, err := masked(req.GetBudget(), req.GetUpdateMask())
	if err != nil {
		return nil, err
	}
	if in.Tag != nil || in.KeyId != nil {
		return nil, budget.Invalid("field_invalid", "tag", "a budget's target cannot change; set another budget and delete this one")
	}
	key := caller(ctx)
	if _, err := s.find(key, req.GetId()); err != nil {
		return nil, err
	}
	change, err := changeOf(in, req.GetUpdateMask().GetPaths(), s.zone)
	if err != nil {
		return nil, err
	}
	status, err := s.budgets.UpdateBudget(ctx, req.GetId(), in.GetEtag(), change, author(key, req))
	if err != nil {
		return nil, err
	}
	return s.proto(&status), nil
}

// changeOf checks a change as far as it can without the budget; the function it
// returns does the rest with it.
func changeOf(in *aigatewayv1.Budget, paths []string, defaultZone string) (func(*budget.Budget) error, error) {
	zone := in.GetTimeZone() != "" || slices.Contains(paths, "time_zone")
	if zone {
		if _, err := budget.ParseZone("time_zone", in.GetTimeZone()); err != nil {
			return nil, err
		}
	}
	most := defaultsOf(in)
	tokens := most.DefaultMaxTokens != 0 || slices.Contains(paths, "default_max_tokens")
	tools := most.DefaultMaxToolCalls != 0 || slices.Contains(paths, "default_max_tool_calls")
	if err := most.Check(); err != nil {
		return nil, err
	}
	var limit *budget.Amount
	var period budget.Period
	if slices.ContainsFunc(capFields(in), func(f capField) bool { return f.cents != nil }) {
		p, amount, err := theCap(in)
		if err != nil {
			return nil, err
		}
		period, limit = p, &amount
	}
	if !zone && !tokens && !tools && limit == nil {
		return nil, budget.Invalid("field_invalid", "budget", "nothing to change; send a cap, time_zone, default_max_tokens or default_max_tool_calls")
	}
	return func(b *budget.Budget) error {
		if limit != nil {
			if b.Period != period {
				return budget.Invalid("field_invalid", capName(period), fmt.Sprintf("this is a budget of period %s; send %s, or set another budget", b.Period, capName(b.Period)))
			}
			b.Cap = *limit
		}
		if zone {
			b.Zone = cmp.Or(in.GetTimeZone(), defaultZone)
		}
		if tokens {
			b.DefaultMaxTokens = most.DefaultMaxTokens
		}
		if tools {
			b.DefaultMaxToolCalls = most.DefaultMaxToolCalls
		}
		return nil
	}, nil
}

func capName(p budget.Period) string {
	for _, f := range capFields(&aigatewayv1.Budget{}) {
		if f.period == p {
			return f.name
		}
	}
	return "monthly_cap_cents"
}

func (s *budgetService) DeleteBudget(ctx context.Context, req *aigatewayv1.DeleteBudgetRequest) (*emptypb.Empty, error) {
	key := caller(ctx)
	if _, err := s.find(key, req.GetId()); err != nil {
		return nil, err
	}
	if err := s.budgets.DeleteBudget(ctx, req.GetId(), req.GetEtag(), author(key, req)); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

func seesBudget(key *budget.Key, b budget.Budget) bool {
	if b.Target.KeyID != "" {
		return len(key.AllowedTags) == 0
	}
	return sees(key, b.Target.Tags)
}

func notFound(what, id string) *budget.Error {
	return budget.NotFound(what+"_not_found", fmt.Sprintf("there is no %s %q; GET /v1/%ss lists them", what, clip(id), what))
}

func isNotFound(err error) bool {
	var e *budget.Error
	return errors.As(err, &e) && e != nil && e.Kind == budget.KindNotFound
}

// clip shortens what a client sent before it is repeated to it.
func clip(s string) string { return budget.Clip(s, 80) }
