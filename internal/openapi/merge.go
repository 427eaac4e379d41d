// Package openapi makes one OpenAPI document of the generator's one for each
// service, and checks real answers against it. The generator writes 64-bit
// integers as strings and knows neither our error envelope nor the parts of the
// REST edge that no rpc describes; those are added here. Test and build support
// only: nothing ships.
package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/descriptorpb"
)

type object = map[string]any

// Merge joins documents of protoc-gen-openapiv3. set holds the descriptors of
// the protos they were made from: it tells which fields are JSON numbers.
func Merge(parts [][]byte, set *descriptorpb.FileDescriptorSet) ([]byte, error) {
	paths, schemas, tags := object{}, object{}, []any{}
	for i, part := range parts {
		var doc object
		if err := json.Unmarshal(part, &doc); err != nil {
			return nil, fmt.Errorf("read part %d: %w", i, err)
		}
		for path, item := range asObject(doc["paths"]) {
			merged, _ := paths[path].(object)
			if merged == nil {
				merged = object{}
			}
			for method, op := range asObject(item) {
				if merged[method] != nil {
					return nil, fmt.Errorf("%s %s is defined twice", method, path)
				}
				merged[method] = op
			}
			paths[path] = merged
		}
		for name, schema := range asObject(asObject(doc["components"])["schemas"]) {
			schemas[name] = schema
		}
		if more, ok := doc["tags"].([]any); ok {
			tags = append(tags, more...)
		}
	}
	if err := markNumbers(schemas, set); err != nil {
		return nil, err
	}
	explainBody(schemas)
	joinSegments(paths)
	dropMasks(paths)
	addErrors(paths, schemas)
	if err := addCSV(paths); err != nil {
		return nil, err
	}
	return render(object{
		"openapi": "3.1.0",
		"info": object{
			"title":       "aigateway",
			"version":     "v1",
			"description": "Hard spending caps and usage reports for LLM traffic. The same services answer over gRPC as aigateway.v1.",
		},
		"security": []any{object{"key": []any{}}},
		"tags":     tags,
		"paths":    paths,
		"components": object{
			"schemas": schemas,
			"securitySchemes": object{
				"key": object{"type": "http", "scheme": "bearer", "description": "A key of this gateway: sk-aig-…"},
			},
		},
	})
}

// markNumbers turns what the protos mark as JSON numbers into integers.
func markNumbers(schemas object, set *descriptorpb.FileDescriptorSet) error {
	for _, file := range set.GetFile() {
		if !strings.HasPrefix(file.GetPackage(), "aigateway.") {
			continue
		}
		for _, message := range file.GetMessageType() {
			name := file.GetPackage() + "." + message.GetName()
			properties := asObject(asObject(schemas[name])["properties"])
			for _, field := range message.GetField() {
				if field.GetOptions().GetJstype() != descriptorpb.FieldOptions_JS_NUMBER || properties == nil {
					continue
				}
				schema := asObject(properties[field.GetJsonName()])
				if schema == nil {
					return fmt.Errorf("no schema of %s.%s", name, field.GetJsonName())
				}
				schema["type"] = "integer"
			}
		}
	}
	return nil
}

// explainBody lets the body to explain be a JSON object: the REST edge makes it
// the text that the proto holds.
func explainBody(schemas object) {
	properties := asObject(asObject(schemas["aigateway.v1.ExplainRequest"])["properties"])
	if body := asObject(properties["body"]); body != nil {
		body["type"] = []any{"object", "string"}
	}
}

// joinSegments names a parameter of several segments once: a slug has slashes.
func joinSegments(paths object) {
	for path, item := range paths {
		before, name, found := strings.Cut(strings.TrimSuffix(path, "_1}"), "}/{")
		if !found || !strings.HasSuffix(path, "_1}") || !strings.HasSuffix(before, "{"+name) {
			continue
		}
		delete(paths, path)
		paths[before+"}"] = item
		for _, op := range asObject(item) {
			op := asObject(op)
			parameters, _ := op["parameters"].([]any)
			op["parameters"] = slices.DeleteFunc(parameters, func(p any) bool { return asObject(p)["name"] == name+"_1" })
		}
	}
}

// dropMasks removes the parameter update_mask: over REST a change takes the
// members of the body, and the REST edge refuses any other mask.
func dropMasks(paths object) {
	for _, item := range paths {
		for _, op := range asObject(item) {
			o := asObject(op)
			parameters, ok := o["parameters"].([]any)
			if !ok {
				continue
			}
			o["parameters"] = slices.DeleteFunc(parameters, func(p any) bool { return asObject(p)["name"] == "update_mask" })
		}
	}
}

// addErrors gives every operation the error envelope.
func addErrors(paths, schemas object) {
	schemas["Error"] = object{
		"type":        "object",
		"description": "The error envelope of every path.",
		"required":    []any{"error"},
		"properties": object{"error": object{
			"type":     "object",
			"required": []any{"message", "type", "code", "metadata"},
			"properties": object{
				"message": object{"type": "string", "description": "What is wrong and what to do about it."},
				"type":    object{"type": "string", "description": "The class of the error, such as invalid_request_error."},
				"code":    object{"type": "integer", "format": "int32", "description": "The HTTP status."},
				"param":   object{"type": "string", "description": "The parameter or body member at fault."},
				"metadata": object{
					"type":     "object",
					"required": []any{"reason"},
					"properties": object{
						"reason":     object{"type": "string", "description": "A stable code, such as field_invalid."},
						"request_id": object{"type": "string", "description": "The x-request-id of the call."},
					},
				},
			},
		}},
	}
	for _, item := range paths {
		for _, op := range asObject(item) {
			asObject(asObject(op)["responses"])["default"] = object{
				"description": "An error.",
				"content":     object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Error"}}},
			}
		}
	}
}

// addCSV describes the report's second form, which exists at the REST edge only.
func addCSV(paths object) error {
	const path = "/v1/usage"
	get := asObject(asObject(paths[path])["get"])
	content := asObject(asObject(asObject(get["responses"])["200"])["content"])
	if content == nil {
		return fmt.Errorf("no answer of GET %s", path)
	}
	content["text/csv"] = object{"schema": object{"type": "string"}}
	parameters, _ := get["parameters"].([]any)
	get["parameters"] = append(parameters, object{
		"name": "format", "in": "query", "schema": object{"type": "string", "enum": []any{"json", "csv"}},
		"description": "The form of the answer. Default: what Accept asks for, else json.",
	})
	return nil
}

func render(doc object) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return nil, fmt.Errorf("write document: %w", err)
	}
	return b.Bytes(), nil
}

func asObject(v any) object {
	o, _ := v.(object)
	return o
}
