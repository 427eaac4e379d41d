package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	apiv1 "aigateway/api/gen/aigateway/v1"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// TestAnswersMatchTheAPI keeps the structs that decode answers equal to the
// API's messages: strict decoding would refuse a field only one side knows.
func TestAnswersMatchTheAPI(t *testing.T) {
	for _, tc := range []struct {
		ours any
		api  protoreflect.ProtoMessage
	}{
		{restBudget{}, &apiv1.Budget{}},
		{restBudgetPage{}, &apiv1.ListBudgetsResponse{}},
		{restKey{}, &apiv1.Key{}},
		{restKeyPage{}, &apiv1.ListKeysResponse{}},
		{restNewKey{}, &apiv1.CreateKeyResponse{}},
		{restTagUsage{}, &apiv1.TagUsage{}},
		{restUsageRow{}, &apiv1.UsageRow{}},
		{restUsage{}, &apiv1.QueryUsageResponse{}},
		{restReservation{}, &apiv1.Reservation{}},
		{restReservations{}, &apiv1.ListReservationsResponse{}},
		{restAuditEntry{}, &apiv1.AuditEntry{}},
		{restAuditPage{}, &apiv1.ListAuditEntriesResponse{}},
		{restAdjustment{}, &apiv1.Adjustment{}},
		{restOverview{}, &apiv1.GetOverviewResponse{}},
		{restHealth{}, &apiv1.GetHealthResponse{}},
		{restCondition{}, &apiv1.HealthCondition{}},
		{restReplica{}, &apiv1.Replica{}},
		{restReplicaHealth{}, &apiv1.ReplicaHealth{}},
		{restBooks{}, &apiv1.GetBooksResponse{}},
		{restBill{}, &apiv1.Bill{}},
		{restBillDay{}, &apiv1.BillDay{}},
		{restBills{}, &apiv1.ListBillsResponse{}},
		{restBillRow{}, &apiv1.BillRow{}},
		{restTree{}, &apiv1.GetTagTreeResponse{}},
		{restNode{}, &apiv1.TagNode{}},
		{restCurve{}, &apiv1.GetBudgetCurveResponse{}},
		{restAdjustmentPage{}, &apiv1.ListAdjustmentsResponse{}},
	} {
		fields := tc.api.ProtoReflect().Descriptor().Fields()
		var want []string
		for i := range fields.Len() {
			want = append(want, fields.Get(i).JSONName())
		}
		var got []string
		typ := reflect.TypeOf(tc.ours)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			got = append(got, name)
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-api +ours):\n%s", typ.Name(), diff)
		}
	}
}

// TestParametersMatchTheAPI does the same for what is sent: the server refuses
// an unknown parameter.
func TestParametersMatchTheAPI(t *testing.T) {
	for _, tc := range []struct {
		api   protoreflect.ProtoMessage
		names []string
	}{
		{&apiv1.ListBudgetsRequest{}, []string{"page_size", "page_token", "tag", "key_id"}},
		{&apiv1.DeleteBudgetRequest{}, []string{"etag"}},
		{&apiv1.ListKeysRequest{}, []string{"page_size", "page_token"}},
		{&apiv1.UsageByTagRequest{}, []string{"month", "tag"}},
		{&apiv1.QueryUsageRequest{}, []string{"from", "to", "group_by", "tag", "model", "provider", "key_id", "time_zone"}},
		{&apiv1.ListReservationsRequest{}, []string{"page_size"}},
		{&apiv1.Budget{}, []string{"tag", "key_id", "monthly_cap_cents", "daily_cap_cents", "weekly_cap_cents", "total_cap_cents", "time_zone"}},
		{&apiv1.Key{}, []string{"name", "scopes", "allowed_tags", "default_tag", "allowed_models", "expire_time"}},
	} {
		d := tc.api.ProtoReflect().Descriptor()
		for _, name := range tc.names {
			if d.Fields().ByJSONName(name) == nil {
				t.Errorf("%s has no field %s", d.Name(), name)
			}
		}
	}
}
