package gatewayconfig

import (
	"bytes"
	"slices"

	"go.yaml.in/yaml/v4"
)

// Rows checks the price rows of a prices file and those under models, which this
// package does not understand; either may be nil. The problems it returns need
// no File.
type Rows func(prices, models *yaml.Node) (inPrices, inModels []Problem)

// rows reads the price rows and has them checked. They are checked over all of
// the prices or not at all: a row may say no more than what differs.
func (v *validator) rows(f *file, c *Config, check Rows) {
	c.PricesFile = v.absolute("prices_file", f.PricesFile)
	c.Prices = v.prices(c.PricesFile)
	c.Models = v.models(f.Models)
	unread := c.PricesFile != "" && c.Prices == nil ||
		slices.ContainsFunc(v.report.list, func(p Problem) bool { return p.Field == "prices_file" })
	if check == nil || unread {
		return
	}
	inPrices, inModels := check(c.Prices, c.Models)
	for _, p := range inPrices {
		p.File = c.PricesFile
		v.report.list = append(v.report.list, p)
	}
	for _, p := range inModels {
		p.File = c.Path
		v.report.list = append(v.report.list, p)
	}
}

// models only refuses what can be no list of price rows; package pricing reads
// them, with the same lines.
func (v *validator) models(n *yaml.Node) *yaml.Node {
	if n == nil || isNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode && n.Kind != yaml.MappingNode {
		v.fail("models", "is %s; write price rows, as in example.yaml", kindName(n))
		return nil
	}
	return n
}

// prices reads the prices file, as far as any YAML file can be read; package
// pricing reads its rows.
func (v *validator) prices(path string) *yaml.Node {
	if path == "" {
		return nil
	}
	v.secrets.files = append(v.secrets.files, path)
	data, err := readLimited(path, maxFileBytes)
	if err != nil {
		v.fail("prices_file", "%v; write it with: aigateway catalog import --file %s", err, path)
		return nil
	}
	if len(bytes.TrimSpace(data)) == 0 {
		v.fail("prices_file", "%s is empty, as a file that is being written; write models: [] for no prices", path)
		return nil
	}
	r := &report{file: path}
	root := parseYAML(r, data)
	if root != nil && !checkAliases(r, root) {
		root = nil
	}
	v.report.list = append(v.report.list, r.list...)
	return root
}
