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
	rest  func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error
	serve func(*Config) any // its server
}

// services is every service there is: a new one needs a row, and nothing else
// outside its own file. Its REST routes are those of its proto.
func services() []service {
	return []service{
		{&aigatewayv1.AdjustmentService_ServiceDesc, budget.ScopeAdmin, aigatewayv1.RegisterAdjustmentServiceHandler,
			func(c *Config) any { return &adjustmentService{adjustments: c.Adjustments} }},
		{&aigatewayv1.AuditService_ServiceDesc, budget.ScopeAdmin, aigatewayv1.RegisterAuditServiceHandler,
			func(c *Config) any { return &auditService{audit: c.Audit} }},
		{&aigatewayv1.BudgetService_ServiceDesc, budget.ScopeBudgets, aigatewayv1.RegisterBudgetServiceHandler,
			func(c *Config) any {
				return &budgetService{keys: c.Keys, budgets: c.Budgets, zone: budgetZone(c.Zone)}
			}},
		{&aigatewayv1.CallService_ServiceDesc, budget.ScopeUsage, aigatewayv1.RegisterCallServiceHandler,
			func(c *Config) any {
				return &callService{calls: c.Calls, refusals: c.Refusals, zone: c.Zone, log: c.Log}
			}},
		{&aigatewayv1.ExplainService_ServiceDesc, budget.ScopeInference, aigatewayv1.RegisterExplainServiceHandler,
			func(c *Config) any { return &explainService{explainer: c.Explainer} }},
		{&aigatewayv1.KeyService_ServiceDesc, budget.ScopeAdmin, aigatewayv1.RegisterKeyServiceHandler,
			func(c *Config) any { return &keyService{keys: c.Keys, now: c.Now} }},
		{&aigatewayv1.ModelService_ServiceDesc, "", aigatewayv1.RegisterModelServiceHandler,
			func(c *Config) any { return &modelService{catalog: c.Catalog, now: c.Now} }},
		{&aigatewayv1.ReservationService_ServiceDesc, budget.ScopeAdmin, aigatewayv1.RegisterReservationServiceHandler,
			func(c *Config) any { return &reservationService{reservations: c.Reservations} }},
		{&aigatewayv1.UsageService_ServiceDesc, budget.ScopeUsage, aigatewayv1.RegisterUsageServiceHandler,
			func(c *Config) any { return &usageService{usage: c.Usage, now: c.Now, zone: c.Zone} }},
	}
}

// scopeOf is what a key needs for a method: a scope, or "" for any valid key.
// ok is false for a method of no service of ours; it is then refused.
func scopeOf(fullMethod string) (scope budget.Scope, ok bool) {
	name, _, _ := strings.Cut(strings.TrimPrefix(fullMethod, "/"), "/")
	for _, s := range services() {
		if s.desc.ServiceName == name {
			return s.scope, true
		}
	}
	return "", false
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
