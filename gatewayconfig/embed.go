package gatewayconfig

import _ "embed"

//go:embed schema.json
var schemaJSON string

//go:embed example.yaml
var exampleYAML string

// Schema is the JSON Schema of the configuration file, for editors.
func Schema() string { return schemaJSON }

// Example is a complete, commented configuration file.
func Example() string { return exampleYAML }
