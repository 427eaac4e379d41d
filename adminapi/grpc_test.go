package adminapi_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"aigateway/adminapi"
	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

// wantStatus checks a gRPC error and its details.
func wantStatus(t *testing.T, err error, code codes.Code, reason, field string) {
	t.Helper()
	st := status.Convert(err)
	var gotReason, gotField, badField string
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			gotReason, gotField = d.GetReason(), d.GetMetadata()["param"]
			if d.GetDomain() != "aigateway" {
				t.Errorf("domain %q", d.GetDomain())
			}
		case *errdetails.BadRequest:
			badField = d.GetFieldViolations()[0].GetField()
		}
	}
	if st.Code() != code || gotReason != reason || gotField != field {
		t.Errorf("got %v %s %q, want %v %s %q: %s", st.Code(), gotReason, gotField, code, reason, field, st.Message())
	}
	if code == codes.InvalidArgument && badField != field {
		t.Errorf("BadRequest names %q, want %q", badField, field)
	}
}

func TestGRPC(t *testing.T) {
	w := newWorld(t)
	conn := w.dial()
	budgets := aigatewayv1.NewBudgetServiceClient(conn)
	tag, cents := "summarize", int64(50000)
	ctx := context.Background()

	_, err := budgets.ListBudgets(ctx, &aigatewayv1.ListBudgetsRequest{})
	wantStatus(t, err, codes.Unauthenticated, "KEY_MISSING", "authorization")
	_, err = budgets.ListBudgets(with(inference), &aigatewayv1.ListBudgetsRequest{})
	wantStatus(t, err, codes.PermissionDenied, "SCOPE_MISSING", "")
	_, err = budgets.SetBudget(with(finance), &aigatewayv1.SetBudgetRequest{})
	wantStatus(t, err, codes.InvalidArgument, "FIELD_INVALID", "budget")
	_, err = budgets.SetBudget(with(finance), &aigatewayv1.SetBudgetRequest{Budget: &aigatewayv1.Budget{Tag: &tag}})
	wantStatus(t, err, codes.InvalidArgument, "FIELD_INVALID", "monthly_cap_cents")
	_, err = budgets.SetBudget(with(finance), &aigatewayv1.SetBudgetRequest{Budget: &aigatewayv1.Budget{Tag: &tag, MonthlyCapCents: &cents, SpentCents: 1}})
	wantStatus(t, err, codes.InvalidArgument, "FIELD_INVALID", "spent_cents")

	set, err := budgets.SetBudget(with(finance), &aigatewayv1.SetBudgetRequest{Budget: &aigatewayv1.Budget{Tag: &tag, MonthlyCapCents: &cents}})
	if err != nil {
		t.Fatal(err)
	}
	read, err := budgets.GetBudget(with(finance), &aigatewayv1.GetBudgetRequest{Id: set.GetId()})
	if err != nil || !proto.Equal(read, set) {
		t.Errorf("GetBudget = %v, %v; want %v", read, err, set)
	}

	// Read, modify, write: with a mask, the rest of the message is not looked at.
	*read.MonthlyCapCents = 7
	updated, err := budgets.UpdateBudget(with(finance), &aigatewayv1.UpdateBudgetRequest{
		Id: read.GetId(), Budget: read, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"monthly_cap_cents"}},
	})
	if err != nil || updated.GetCap() != "0.07" {
		t.Errorf("UpdateBudget = %v, %v", updated, err)
	}
	for path, field := range map[string]string{"spent": "spent", "nothing": "update_mask", "daily_cap_cents": "daily_cap_cents"} {
		_, err = budgets.UpdateBudget(with(finance), &aigatewayv1.UpdateBudgetRequest{
			Id: read.GetId(), Budget: read, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{path}},
		})
		if st := status.Convert(err); st.Code() != codes.InvalidArgument || !strings.Contains(st.Message(), field) {
			t.Errorf("mask %s: %v", path, err)
		}
	}
	_, err = budgets.UpdateBudget(with(finance), &aigatewayv1.UpdateBudgetRequest{Id: read.GetId(), Budget: &aigatewayv1.Budget{MonthlyCapCents: &cents, Etag: "old"}})
	wantStatus(t, err, codes.Aborted, "ETAG_MISMATCH", "etag")
	_, err = budgets.DeleteBudget(with(finance), &aigatewayv1.DeleteBudgetRequest{Id: "none"})
	wantStatus(t, err, codes.NotFound, "BUDGET_NOT_FOUND", "")
	_, err = aigatewayv1.NewUsageServiceClient(conn).QueryUsage(with(teamA), &aigatewayv1.QueryUsageRequest{Tag: "other"})
	wantStatus(t, err, codes.PermissionDenied, "TAG_NOT_ALLOWED", "tag")
	w.store.fail = errors.New("boom")
	_, err = budgets.ListBudgets(with(finance), &aigatewayv1.ListBudgetsRequest{})
	wantStatus(t, err, codes.Internal, "INTERNAL", "")
	if strings.Contains(err.Error(), "boom") {
		t.Errorf("the cause leaked: %v", err)
	}
}

func TestGRPCRefusesUnknownFields(t *testing.T) {
	w := newWorld(t)
	req := &aigatewayv1.ListBudgetsRequest{}
	req.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	budgets := aigatewayv1.NewBudgetServiceClient(w.dial())
	_, err := budgets.ListBudgets(with(finance), req)
	wantStatus(t, err, codes.InvalidArgument, "UNKNOWN_FIELD", "")

	inner := &aigatewayv1.Budget{}
	inner.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 99, protowire.VarintType), 1))
	_, err = budgets.SetBudget(with(finance), &aigatewayv1.SetBudgetRequest{Budget: inner})
	wantStatus(t, err, codes.InvalidArgument, "UNKNOWN_FIELD", "")
}

func TestGRPCHealthAndReflection(t *testing.T) {
	w := newWorld(t)
	conn := w.dial()
	health := healthpb.NewHealthClient(conn)
	ctx := context.Background()
	check := func(service string) string {
		resp, err := health.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			return status.Code(err).String()
		}
		return resp.GetStatus().String()
	}
	if got := check(""); got != "SERVING" {
		t.Errorf("health: %s", got)
	}
	w.setReady([]adminapi.Condition{{Name: "ledger", Err: errors.New("recovering")}}...)
	if got := check("aigateway.v1.BudgetService"); got != "NOT_SERVING" {
		t.Errorf("health of a service: %s", got)
	}
	if got := check("nothing"); got != "NotFound" {
		t.Errorf("health of no service: %s", got)
	}

	testHealthWatch(t, w, health)

	stream, err := reflectpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&reflectpb.ServerReflectionRequest{MessageRequest: &reflectpb.ServerReflectionRequest_ListServices{}})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range resp.GetListServicesResponse().GetService() {
		names[s.GetName()] = true
	}
	for _, want := range adminapi.ServiceNames() {
		if !names[want] {
			t.Errorf("reflection does not list %s", want)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("end of reflection: %v", err)
	}
}

// TestEveryMethodHasAScope fails for a service that nobody put behind a scope.
func TestEveryMethodHasAScope(t *testing.T) {
	for _, service := range adminapi.ServiceNames() {
		if _, ok := adminapi.ScopesOf("/" + service + "/Any"); !ok {
			t.Errorf("%s has no scope", service)
		}
	}
	if _, ok := adminapi.ScopesOf("/aigateway.v1.NewService/Any"); ok {
		t.Error("a service nobody knows has a scope")
	}
}

// TestStatusRoundTrip sends every kind through gRPC and back: REST must tell
// what the service said.
func TestStatusRoundTrip(t *testing.T) {
	for k := budget.KindInternal; k <= budget.KindTimeout; k++ {
		want := &budget.Error{Kind: k, Reason: "some_reason", Field: "field", Message: "message"}
		got := adminapi.ErrorOf(adminapi.Status(want).Err())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("kind %d: -want +got:\n%s", k, diff)
		}
	}
	for code, kind := range map[codes.Code]budget.Kind{
		codes.InvalidArgument: budget.KindInvalid, codes.Unimplemented: budget.KindNotFound, codes.Unavailable: budget.KindUnavailable,
		codes.DeadlineExceeded: budget.KindUnavailable, codes.Unknown: budget.KindInternal,
	} {
		if got := adminapi.ErrorOf(status.Error(code, "internals")); got.Kind != kind || strings.Contains(got.Message, "internals") {
			t.Errorf("%v became %+v", code, got)
		}
	}
}

func TestClosedServerIsUnavailable(t *testing.T) {
	w := newWorld(t)
	w.server.GRPC().Stop()
	w.wantError(w.do(admin, "GET", "/v1/models", ""), 503, "decision_timeout", "")
}

// testHealthWatch follows a server that is not ready, and then is.
func testHealthWatch(t *testing.T, w *world, health healthpb.HealthClient) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for service, want := range map[string][]string{"aigateway.v1.BudgetService": {"NOT_SERVING", "SERVING"}, "nothing": {"SERVICE_UNKNOWN"}} {
		w.setReady(adminapi.Condition{Name: "ledger", Err: errors.New("recovering")})
		watch, err := health.Watch(ctx, &healthpb.HealthCheckRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range want {
			got, err := watch.Recv()
			if err != nil || got.GetStatus().String() != state {
				t.Errorf("watch of %s: %v %v, want %s", service, got, err, state)
			}
			w.setReady()
		}
	}
}
