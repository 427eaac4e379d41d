package adminapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	aigatewayv1 "aigateway/api/gen/aigateway/v1"
	"aigateway/budget"
)

type tagRow struct {
	Tag       string `json:"tag"`
	Requests  int64  `json:"requests"`
	CostCents int64  `json:"cost_cents"`
}

// many gives the store n tags, each costing a cent more than the one before.
func many(w *world, n int) (want []tagRow) {
	w.store.rows = nil
	for i := n; i > 0; i-- {
		tag := fmt.Sprintf("t/%d\"<é", i)
		want = append(want, tagRow{tag, 1, int64(i)})
		w.store.rows = append(w.store.rows, budget.UsageRow{Attribution: budget.Attribution{Tag: budget.Tag(tag)}, Time: instant, Requests: 1, Cost: budget.Amount(i) * budget.Cent})
	}
	return want
}

// TestByTagAtAnyNumber asks for more tags than fit one message, and for the
// dearest of them.
func TestByTagAtAnyNumber(t *testing.T) {
	w := newWorld(t)
	want := many(w, 120_000)
	rows := func(query string) (out []tagRow) {
		t.Helper()
		a := w.do(reporter, "GET", "/v1/usage/by-tag"+query, "")
		if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != 200 {
			t.Fatalf("%d, %v: %.200s", a.status, err, a.body)
		}
		return out
	}
	if d := cmp.Diff(want, rows("")); d != "" {
		t.Errorf("all tags (-want +got):\n%.2000s", d)
	}
	if d := cmp.Diff(want[:3], rows("?limit=3")); d != "" {
		t.Errorf("the dearest (-want +got):\n%s", d)
	}
	if got := rows("?limit=2147483647"); len(got) != len(want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	for _, limit := range []string{"0", "-1", "x", "1.5", "2147483648", ""} {
		w.wantError(w.do(reporter, "GET", "/v1/usage/by-tag?limit="+limit, ""), 400, "field_invalid", "limit")
	}
}

func TestStreamUsageByTag(t *testing.T) {
	w := newWorld(t)
	want := many(w, 2500)
	usage := aigatewayv1.NewUsageServiceClient(w.dial())
	stream, err := usage.StreamUsageByTag(with(reporter), &aigatewayv1.StreamUsageByTagRequest{})
	if err != nil {
		t.Fatal(err)
	}
	var got []tagRow
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range part.GetUsage() {
			got = append(got, tagRow{u.GetTag(), u.GetRequests(), u.GetCostCents()})
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%.2000s", d)
	}
	one, err := usage.UsageByTag(with(reporter), &aigatewayv1.UsageByTagRequest{Limit: proto.Int32(1)})
	if err != nil || len(one.GetUsage()) != 1 || one.GetUsage()[0].GetTag() != want[0].Tag {
		t.Errorf("the dearest: %v, %v", one, err)
	}
	for _, c := range []struct {
		key    string
		req    *aigatewayv1.StreamUsageByTagRequest
		code   codes.Code
		reason string
		field  string
	}{
		{"", &aigatewayv1.StreamUsageByTagRequest{}, codes.Unauthenticated, "KEY_INVALID", "authorization"},
		{inference, &aigatewayv1.StreamUsageByTagRequest{}, codes.PermissionDenied, "SCOPE_MISSING", ""},
		{teamA, &aigatewayv1.StreamUsageByTagRequest{Tag: "team/b"}, codes.PermissionDenied, "TAG_NOT_ALLOWED", "tag"},
		{reporter, &aigatewayv1.StreamUsageByTagRequest{Month: "x"}, codes.InvalidArgument, "FIELD_INVALID", "month"},
		{reporter, &aigatewayv1.StreamUsageByTagRequest{Limit: proto.Int32(0)}, codes.InvalidArgument, "FIELD_INVALID", "limit"},
	} {
		stream, err := usage.StreamUsageByTag(with(c.key), c.req)
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		wantStatus(t, err, c.code, c.reason, c.field)
	}
	unknown := &aigatewayv1.StreamUsageByTagRequest{}
	unknown.ProtoReflect().SetUnknown([]byte{0x98, 0x06, 0x01})
	stream, err = usage.StreamUsageByTag(with(reporter), unknown)
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.InvalidArgument, "UNKNOWN_FIELD", "")
	w.store.panics = true
	stream, err = usage.StreamUsageByTag(with(reporter), &aigatewayv1.StreamUsageByTagRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.Internal, "INTERNAL", "")
}
