package adminapi_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"aigateway/adminapi"
	"aigateway/budget"
)

// fakeExplainer shows what it was asked: the note is the call's text.
type fakeExplainer struct{}

func (fakeExplainer) Explain(_ context.Context, key *budget.Key, q adminapi.ExplainQuery) (*adminapi.Explanation, error) {
	if len(q.Body) == 0 {
		return nil, budget.Invalid("body_missing", "body", "body is missing; send it")
	}
	most := int64(7)
	return &adminapi.Explanation{
		Model: "moonshot/kimi-k2.6", UpstreamModel: q.Model, Endpoint: q.Endpoint, BoundUSD: "0.40", CatalogVersion: key.ID,
		Lines:   []adminapi.ExplanationLine{{Label: string(q.Tag), Quantity: int64(len(q.Body)), Unit: "tokens", PicoPerUnit: 1 << 60, AmountUSD: "0.40", Note: string(q.Body)}},
		Room:    &adminapi.ExplanationRoom{Budget: "bud_1", RoomUSD: "0.30", MaxTokensThatFit: &most},
		Learned: &adminapi.ExplanationLearned{Tag: "t", Calls: 3, BoundUSD: "4.00", CostUSD: "1.00", BoundOverCost: "4.00", LikelyUSD: "0.10"},
	}, nil
}

func TestExplain(t *testing.T) {
	w := newWorld(t)
	// The bytes of the call decide, so its spaces and escapes must arrive.
	call := `{ "model" : "a\u0062" , "messages":[ 1e3,"\"é" ] }`
	a := w.do(inference, "POST", "/v1/explain", `{"endpoint":"messages","model":"x/y","tag":"t","body":`+call+`}`)
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	line := got["lines"].([]any)[0].(map[string]any)
	if line["note"] != call || line["label"] != "t" || got["endpoint"] != "messages" || got["upstream_model"] != "x/y" {
		t.Errorf("explained %v, want the call %s", got, call)
	}
	if _, number := line["quantity"].(float64); !number {
		t.Errorf("quantity is %T", line["quantity"])
	}
	if diff := cmp.Diff(map[string]any{"budget": "bud_1", "room_usd": "0.30", "fits": false, "max_tokens_that_fit": 7.0}, got["room"]); diff != "" {
		t.Errorf("room (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"tag": "t", "calls": 3.0, "bound_usd": "4.00", "cost_usd": "1.00", "bound_over_cost": "4.00", "likely_usd": "0.10"}, got["learned"]); diff != "" {
		t.Errorf("learned (-want +got):\n%s", diff)
	}
	// The same call as text.
	text, err := json.Marshal(call)
	if err != nil {
		t.Fatal(err)
	}
	if b := w.do(inference, "POST", "/v1/explain", `{"endpoint":"messages","model":"x/y","tag":"t","body":`+string(text)+`}`); b.body != a.body {
		t.Errorf("as text %s, as an object %s", b.body, a.body)
	}
	if b := w.do(inference, "POST", "/v1/explain", `{"body":{"x":"`+strings.Repeat("y", 200_000)+`"}}`); b.status != 200 || !strings.Contains(b.body, `"label":"untagged"`) {
		t.Errorf("a long call: %d %.200s", b.status, b.body)
	}
}

func TestExplainRefuses(t *testing.T) {
	w := newWorld(t)
	for body, want := range map[string]struct {
		status        int
		reason, param string
	}{
		`{}`:                              {400, "body_missing", "body"},
		`{"body":null}`:                   {400, "body_missing", "body"},
		`{"body":[]}`:                     {400, "field_invalid", "body"},
		`{"body":7}`:                      {400, "field_invalid", "body"},
		`{"body":{"a":1,"a":2}}`:          {400, "duplicate_key", "a"},
		`{"body":{"a":{"b":1,"b":2}}}`:    {400, "duplicate_key", "b"},
		`{"body":{"a":1}`:                 {400, "body_not_json", ""},
		`{"body":{"a":1},"room":"1"}`:     {400, "unknown_field", "room"},
		`{"body":{"a":1},"tag":"\u0001"}`: {400, "tag_invalid", ""},
		`{"body":{"a":1},"endpoint":{}}`:  {400, "field_invalid", "endpoint"},
		`{"body":{"a":"` + strings.Repeat("x", 8<<20) + `"}}`: {413, "body_too_large", ""},
	} {
		a := w.do(inference, "POST", "/v1/explain", body)
		var e struct {
			Error struct {
				Param    string
				Metadata struct{ Reason string }
			}
		}
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != want.status || e.Error.Metadata.Reason != want.reason || want.param != "" && e.Error.Param != want.param {
			t.Errorf("%.60s: %d %.300s; want %+v", body, a.status, a.body, want)
		}
	}
	w.wantError(w.do(reporter, "POST", "/v1/explain", `{"body":{}}`), 403, "scope_missing", "")
	w.wantError(w.do("", "POST", "/v1/explain", `{"body":{}}`), 401, "key_missing", "authorization")
}
