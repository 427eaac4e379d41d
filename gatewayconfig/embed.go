package gatewayconfig

import (
	_ "embed"
	"encoding/json"
	"strings"

	"aigateway/pricing"
)

//go:embed schema.json
var schemaJSON string

//go:embed example.yaml
var exampleYAML string

// Schema is the JSON Schema of the configuration file, for editors. The names of
// endpoints and dialects are those that pricing declares.
func Schema() string {
	list := func(names []string) string {
		text, err := json.Marshal(names)
		if err != nil { // names are text
			return "[]"
		}
		return strings.ReplaceAll(string(text), ",", ", ")
	}
	return strings.NewReplacer(`["$endpoints"]`, list(apiNames()), `["$dialects"]`, list(pricing.Dialects())).Replace(schemaJSON)
}

// Example is a complete, commented configuration file.
func Example() string { return exampleYAML }
