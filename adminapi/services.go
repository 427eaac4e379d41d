package adminapi

import (
	"context"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// service is one gRPC service of the API, behind both doors.
type service struct {
	desc  *grpc.ServiceDesc
	scope budget.Scope // that a key needs for it; "": any valid key
	read  budget.Scope // that will do for methods that only read, too
	rest  func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error
	serve func(*Config) any // its server
}

// services is every service there is: a new one needs a row, and nothing else
// outside its own file. Its REST routes are those of its proto.
func services() []service {
	return []service{
		{&aigatewayv1.AdjustmentService_ServiceDesc, budget.ScopeAdmin, "", aigatewayv1.RegisterAdjustmentServiceHandler,
			func(c *Config) any { return &adjustmentService{adjustments: c.Adjustments} }},
		{&aigatewayv1.AuditService_ServiceDesc, budget.ScopeAdmin, "", aigatewayv1.RegisterAuditServiceHandler,
			func(c *Config) any { return &auditService{audit: c.Audit} }},
		{&aigatewayv1.BillService_ServiceDesc, budget.ScopeAdmin, budget.ScopeUsage, aigatewayv1.RegisterBillServiceHandler,
			func(c *Config) any { return &billService{bills: c.Bills, usage: newUsageService(c)} }},
		{&aigatewayv1.BudgetService_ServiceDesc, budget.ScopeBudgets, budget.ScopeUsage, aigatewayv1.RegisterBudgetServiceHandler,
			func(c *Config) any { return newBudgetService(c) }},
		{&aigatewayv1.CallService_ServiceDesc, budget.ScopeUsage, "", aigatewayv1.RegisterCallServiceHandler,
			func(c *Config) any {
				return &callService{peers: c.Peers, here: callLists{c.Calls, c.Refusals}, list: callsKind(c), ended: endedKind(c), now: c.Now, zone: c.Zone, log: c.Log}
			}},
		{&aigatewayv1.ExplainService_ServiceDesc, budget.ScopeInference, "", aigatewayv1.RegisterExplainServiceHandler,
			func(c *Config) any { return &explainService{explainer: c.Explainer} }},
		{&aigatewayv1.KeyService_ServiceDesc, budget.ScopeAdmin, "", aigatewayv1.RegisterKeyServiceHandler,
			func(c *Config) any { return &keyService{keys: c.Keys, now: c.Now} }},
		{&aigatewayv1.ModelService_ServiceDesc, "", "", aigatewayv1.RegisterModelServiceHandler,
			func(c *Config) any { return &modelService{catalog: c.Catalog, now: c.Now} }},
		{&aigatewayv1.OverviewService_ServiceDesc, budget.ScopeUsage, "", aigatewayv1.RegisterOverviewServiceHandler,
			func(c *Config) any {
				return &overviewService{usage: newUsageService(c), budgets: newBudgetService(c), peers: c.Peers, running: runningKind(c), refused: c.Refused}
			}},
		{&aigatewayv1.ReservationService_ServiceDesc, budget.ScopeAdmin, "", aigatewayv1.RegisterReservationServiceHandler,
			func(c *Config) any { return &reservationService{peers: c.Peers, kind: reservationsKind(c)} }},
		{&aigatewayv1.StatusService_ServiceDesc, budget.ScopeUsage, "", aigatewayv1.RegisterStatusServiceHandler,
			func(c *Config) any {
				return &statusService{state: c.State, peers: c.Peers, kind: stateKind(c), catalog: c.Catalog, usage: newUsageService(c)}
			}},
		{&aigatewayv1.UsageService_ServiceDesc, budget.ScopeUsage, "", aigatewayv1.RegisterUsageServiceHandler,
			func(c *Config) any { return newUsageService(c) }},
	}
}

func newBudgetService(c *Config) *budgetService {
	return &budgetService{keys: c.Keys, budgets: c.Budgets, history: c.History, usage: newUsageService(c), now: c.Now, zone: budgetZone(c.Zone)}
}

func newUsageService(c *Config) *usageService {
	return &usageService{usage: c.Usage, complete: c.AsOf, now: c.Now, zone: c.Zone}
}

// scopesOf are what a key needs one of for a method; "" is any valid key. ok is
// false for a method of no service of ours; it is then refused.
func scopesOf(fullMethod string) (scopes []budget.Scope, ok bool) {
	name, method, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	for _, s := range services() {
		if s.desc.ServiceName != name {
			continue
		}
		scopes = append(scopes, s.scope)
		if s.read != "" && (strings.HasPrefix(method, "Get") || strings.HasPrefix(method, "List")) {
			scopes = append(scopes, s.read)
		}
		return scopes, true
	}
	return nil, false
}

// serviceNames are the full names of our services.
func serviceNames() []string {
	var out []string
	for _, s := range services() {
		out = append(out, s.desc.ServiceName)
	}
	return out
}

// descriptor is the service as its proto has it.
func (s *service) descriptor() (protoreflect.ServiceDescriptor, error) {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(s.desc.ServiceName))
	if err != nil {
		return nil, err
	}
	return d.(protoreflect.ServiceDescriptor), nil
}
