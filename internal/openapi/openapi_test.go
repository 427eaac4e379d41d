package openapi_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"aigateway/internal/openapi"
)

const part = `{
 "paths": {
  "/v1/usage": {"get": {"parameters": [{"name": "update_mask"}, {"name": "from"}],
   "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/aigateway.v1.Row"}}}}}}}
 },
 "tags": [{"name": "UsageService"}],
 "components": {"schemas": {"aigateway.v1.Row": {"type": "object", "required": ["tag"], "properties": {
  "tag": {"type": "string"}, "cost_cents": {"type": "string", "format": "int64"},
  "at": {"type": "string", "format": "date-time"}, "tags": {"type": "array", "items": {"type": "string"}}}}}}
}`

func set() *descriptorpb.FileDescriptorSet {
	number := descriptorpb.FieldOptions_JS_NUMBER
	return &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{
		Package: proto.String("aigateway.v1"),
		MessageType: []*descriptorpb.DescriptorProto{{
			Name: proto.String("Row"),
			Field: []*descriptorpb.FieldDescriptorProto{
				{Name: proto.String("cost_cents"), JsonName: proto.String("cost_cents"), Options: &descriptorpb.FieldOptions{Jstype: &number}},
				{Name: proto.String("tag"), JsonName: proto.String("tag")},
			},
		}},
	}}}
}

func TestMergeAndCheck(t *testing.T) {
	text, err := openapi.Merge([][]byte{[]byte(part)}, set())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "update_mask") {
		t.Error("update_mask is still a parameter")
	}
	doc, err := openapi.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, op string
		status   int
		body     string
		want     string // in the error; empty for none
	}{
		{"right", "GET /v1/usage", 200, `{"tag":"a","cost_cents":1,"at":"2026-01-01T00:00:00Z","tags":["x"]}`, ""},
		{"number as string", "GET /v1/usage", 200, `{"tag":"a","cost_cents":"1"}`, "want an integer"},
		{"fraction", "GET /v1/usage", 200, `{"tag":"a","cost_cents":1.5}`, "want an integer"},
		{"missing", "GET /v1/usage", 200, `{}`, "tag is missing"},
		{"null", "GET /v1/usage", 200, `{"tag":null}`, "want a string"},
		{"undescribed", "GET /v1/usage", 200, `{"tag":"a","more":1}`, "not described"},
		{"no array", "GET /v1/usage", 200, `{"tag":"a","tags":"x"}`, "want an array"},
		{"no time", "GET /v1/usage", 200, `{"tag":"a","at":"today"}`, "RFC 3339"},
		{"error", "GET /v1/usage", 400, `{"error":{"message":"m","type":"t","code":400,"metadata":{"reason":"r"}}}`, ""},
		{"bad error", "GET /v1/usage", 400, `{"error":{"message":"m"}}`, "is missing"},
		{"unknown operation", "PUT /v1/usage", 200, `{}`, "not described"},
		{"no JSON", "GET /v1/usage", 200, `x`, "read answer"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := doc.Check(tt.op, tt.status, []byte(tt.body))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Check = %v, want %q", err, tt.want)
			}
		})
	}
}

func TestMergeRefuses(t *testing.T) {
	if _, err := openapi.Merge([][]byte{[]byte(part), []byte(part)}, set()); err == nil {
		t.Error("two parts with one path were merged")
	}
	if _, err := openapi.Merge([][]byte{[]byte("{")}, set()); err == nil {
		t.Error("a broken part was merged")
	}
	if _, err := openapi.Merge(nil, set()); err == nil {
		t.Error("nothing was merged into a document")
	}
}
