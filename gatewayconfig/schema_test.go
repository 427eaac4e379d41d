package gatewayconfig_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v4"

	"aigateway/gatewayconfig"
	"aigateway/pricing"
)

type schema struct {
	Type                 any               `json:"type"`
	Description          string            `json:"description"`
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties json.RawMessage   `json:"additionalProperties"`
	Items                *schema           `json:"items"`
	Enum                 []string          `json:"enum"`
}

func TestSchemaMatchesFile(t *testing.T) {
	var s schema
	if err := json.Unmarshal([]byte(gatewayconfig.Schema()), &s); err != nil {
		t.Fatal(err)
	}
	compare(t, "", s, gatewayconfig.FileType())
	presets, err := gatewayconfig.PresetNames()
	if err != nil {
		t.Fatal(err)
	}
	var provider schema
	if err := json.Unmarshal(s.Properties["providers"].AdditionalProperties, &provider); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(presets, provider.Properties["preset"].Enum); diff != "" {
		t.Errorf("presets (-file +schema):\n%s", diff)
	}
	var apis []string
	for _, e := range pricing.Endpoints() {
		apis = append(apis, string(e))
	}
	if diff := cmp.Diff(apis, provider.Properties["apis"].Items.Enum); diff != "" {
		t.Errorf("endpoints (-declared +schema):\n%s", diff)
	}
}

func compare(t *testing.T, field string, s schema, typ reflect.Type) {
	t.Helper()
	if typ == reflect.TypeFor[*yaml.Node]() {
		return
	}
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := map[reflect.Kind]string{reflect.Struct: "object", reflect.Map: "object", reflect.Slice: "array", reflect.String: "string", reflect.Bool: "boolean", reflect.Int64: "integer"}[typ.Kind()]
	if typ == reflect.TypeFor[time.Duration]() {
		want = "string"
	}
	if !allows(s.Type, want) {
		t.Errorf("%s: the schema says %v, the file %v", field, s.Type, typ)
	}
	switch typ.Kind() {
	case reflect.Struct:
		if string(s.AdditionalProperties) != "false" {
			t.Errorf("%s: the schema allows unknown keys", field)
		}
		names := gatewayconfig.FieldNames(typ)
		for name := range s.Properties {
			if !slices.Contains(names, name) {
				t.Errorf("%s.%s is in the schema only", field, name)
			}
		}
		for i, name := range names {
			sub, ok := s.Properties[name]
			if !ok {
				t.Errorf("%s.%s is missing in the schema", field, name)
				continue
			}
			compare(t, strings.TrimPrefix(field+"."+name, "."), sub, typ.Field(i).Type)
		}
	case reflect.Map:
		var value schema
		if err := json.Unmarshal(s.AdditionalProperties, &value); err != nil {
			t.Errorf("%s: %v", field, err)
			return
		}
		compare(t, field+".*", value, typ.Elem())
	case reflect.Slice:
		compare(t, field+"[]", *s.Items, typ.Elem())
	default:
		if s.Description == "" && !strings.HasSuffix(field, "[]") && !strings.HasSuffix(field, ".*") {
			t.Errorf("%s has no description", field)
		}
	}
}

func allows(declared any, want string) bool {
	switch d := declared.(type) {
	case string:
		return d == want
	case []any:
		return slices.Contains(d, any(want))
	}
	return false
}

// TestExampleNamesEveryField keeps the example complete.
func TestExampleNamesEveryField(t *testing.T) {
	var walk func(typ reflect.Type)
	walk = func(typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Map, reflect.Pointer:
			if typ != reflect.TypeFor[*yaml.Node]() {
				walk(typ.Elem())
			}
		case reflect.Struct:
			for i, name := range gatewayconfig.FieldNames(typ) {
				if !strings.Contains(gatewayconfig.Example(), name+":") {
					t.Errorf("example.yaml does not show %s", name)
				}
				walk(typ.Field(i).Type)
			}
		}
	}
	walk(gatewayconfig.FileType())
}
