package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Document is a parsed OpenAPI document to check answers against. It knows the
// parts of JSON Schema that Merge writes, and no more.
type Document struct{ root object }

// Parse reads a document that Merge wrote.
func Parse(text []byte) (*Document, error) {
	var root object
	if err := json.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	return &Document{root}, nil
}

// Operations lists what the document describes, as "GET /v1/budgets", sorted.
func (d *Document) Operations() []string {
	var out []string
	for path, item := range asObject(d.root["paths"]) {
		for method := range asObject(item) {
			out = append(out, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(out)
	return out
}

// Check compares a JSON answer to an operation, such as "GET /v1/budgets/{id}",
// with its schema. A member that the schema does not name is an error: what is
// sent must be described.
func (d *Document) Check(operation string, status int, body []byte) error {
	method, path, _ := strings.Cut(operation, " ")
	op := asObject(asObject(asObject(d.root["paths"])[path])[strings.ToLower(method)])
	if op == nil {
		return fmt.Errorf("%s is not described", operation)
	}
	responses := asObject(op["responses"])
	response := asObject(responses[strconv.Itoa(status)])
	if response == nil {
		response = asObject(responses["default"])
	}
	schema := asObject(asObject(asObject(response["content"])["application/json"])["schema"])
	if schema == nil {
		return fmt.Errorf("%s has no JSON answer with status %d", operation, status)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return d.check("answer", schema, value)
}

func (d *Document) check(at string, schema object, value any) error {
	if ref, ok := schema["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		target := asObject(asObject(asObject(d.root["components"])["schemas"])[name])
		if target == nil {
			return fmt.Errorf("%s: no schema %s", at, ref)
		}
		return d.check(at, target, value)
	}
	if all, ok := schema["allOf"].([]any); ok && len(all) == 1 { // a reference with a description beside it
		return d.check(at, asObject(all[0]), value)
	}
	switch kind := schema["type"]; kind {
	case "object":
		return d.checkObject(at, schema, value)
	case "array":
		list, ok := value.([]any)
		if !ok {
			return fmt.Errorf("%s is %T, want an array", at, value)
		}
		for i, v := range list {
			if err := d.check(fmt.Sprintf("%s[%d]", at, i), asObject(schema["items"]), v); err != nil {
				return err
			}
		}
		return nil
	case "string":
		return checkString(at, schema, value)
	case "boolean":
		if _, ok := value.(bool); !ok {
			return fmt.Errorf("%s is %T, want a boolean", at, value)
		}
		return nil
	case "integer":
		number, ok := value.(json.Number)
		if !ok {
			return fmt.Errorf("%s is %T, want an integer", at, value)
		}
		if _, err := number.Int64(); err != nil {
			return fmt.Errorf("%s is %s, want an integer", at, number)
		}
		return nil
	default:
		return fmt.Errorf("%s has a schema of type %v, which Check does not know", at, kind)
	}
}

func (d *Document) checkObject(at string, schema object, value any) error {
	members, ok := value.(object)
	if !ok {
		return fmt.Errorf("%s is %T, want an object", at, value)
	}
	properties := asObject(schema["properties"])
	for name, v := range members {
		property := asObject(properties[name])
		if property == nil {
			return fmt.Errorf("%s.%s is not described", at, name)
		}
		if err := d.check(at+"."+name, property, v); err != nil {
			return err
		}
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := members[fmt.Sprint(name)]; !ok {
			return fmt.Errorf("%s.%v is missing", at, name)
		}
	}
	return nil
}

func checkString(at string, schema object, value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("%s is %T, want a string", at, value)
	}
	if schema["format"] == "date-time" {
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return fmt.Errorf("%s is %q, want a time in RFC 3339", at, text)
		}
	}
	return nil
}
