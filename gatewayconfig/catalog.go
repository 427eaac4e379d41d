package gatewayconfig

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"aigateway/pricing"
	"aigateway/strictyaml"
)

// catalog builds the price list that the rest of the configuration, already
// read, is in force with. Beside other problems it is nil, and only says what is
// wrong with the price rows: all of them or none, for a row may say no more than
// what differs.
func (v *validator) catalog(f *file, c *Config) *pricing.Catalog {
	c.PricesFile = v.absolute("prices_file", f.PricesFile)
	prices, models := v.prices(c.PricesFile), v.models(f.Models)
	if slices.ContainsFunc(v.report.list, func(p Problem) bool { return p.Field == "prices_file" }) {
		return nil
	}
	if c.PricesFile != "" && prices == nil {
		return nil
	}
	longest, upstreams := c.Streams.MaxDuration, make([]pricing.Upstream, len(c.Providers))
	for i, p := range c.Providers {
		upstreams[i] = p.Upstream
	}
	if len(v.report.list) > 0 {
		if prices == nil && models == nil {
			return nil
		}
		longest, upstreams = 24*time.Hour, nil // what rows are checked with is not right itself
	}
	catalog, err := pricing.LoadPrices(prices, models, upstreams, longest)
	v.faults(c, err)
	return catalog
}

// faults reports what pricing found.
func (v *validator) faults(c *Config, err error) {
	var faults pricing.Faults
	if err != nil && !errors.As(err, &faults) {
		v.add(place{1, 1}, "", "load the prices: %v", err)
	}
	for _, f := range faults {
		p := Problem{File: c.Path, Line: f.Line, Column: f.Column, Field: f.Field, Message: f.Message}
		if f.InPrices {
			p.File = c.PricesFile
		}
		// The field's name may start the message, too.
		name := f.Field[strings.LastIndexByte(f.Field, '.')+1:]
		for _, after := range []string{": ", " "} {
			p.Message = strings.TrimPrefix(p.Message, name+after)
		}
		v.report.list = append(v.report.list, p)
	}
}

// models only refuses what can be no list of price rows; package pricing reads
// them, with the same lines.
func (v *validator) models(n *yaml.Node) *yaml.Node {
	if strictyaml.IsNull(n) {
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
	data, err := v.secrets.sources.read(path, maxFileBytes)
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
	v.report.list = append(v.report.list, r.list...)
	return root
}
