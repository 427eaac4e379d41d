package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v4"

	"aigateway/metricset"
	"aigateway/pricing"
)

// TestCatalogMetrics: they follow the catalog in force.
func TestCatalogMetrics(t *testing.T) {
	c := &controlPlane{metrics: prometheus.NewRegistry()}
	set := metricset.New(c.metrics)
	c.catalogMetrics(set, func() time.Time { return time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC) })
	if err := set.Done(); err != nil {
		t.Fatal(err)
	}
	store := func(prices string, upstreams ...pricing.Upstream) {
		t.Helper()
		catalog, err := pricing.LoadPrices(priceNode(t, prices), nil, upstreams, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		c.catalog.Store(catalog)
	}
	want := func(models, oldest, newest string) {
		t.Helper()
		got := map[string]string{}
		families, err := c.metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			v := f.GetMetric()[0].GetGauge().GetValue()
			if got[f.GetName()] = fmt.Sprint(v); v > 1000 {
				got[f.GetName()] = time.Unix(int64(v), 0).UTC().Format(time.DateOnly)
			}
		}
		if diff := cmp.Diff(map[string]string{
			"aig_catalog_models":                         models,
			"aig_catalog_newest_check_timestamp_seconds": newest,
			"aig_catalog_oldest_check_timestamp_seconds": oldest,
		}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	store("models: []")
	want("0", "0", "0")
	const two = `models:
- {model: acme/a, prices: [{checked_at: 2026-11-01, input: "1", output: "1"}]}
- {model: acme/b, prices: [{checked_at: 2026-10-01, input: "1", output: "1"}]}
`
	store(two, pricing.Upstream{Provider: "acme"})
	want("2", "2026-10-01", "2026-11-01")
	store(two+"- {model: acme/c, prices: [{input: \"1\", output: \"1\"}]}\n", pricing.Upstream{Provider: "acme"})
	want("3", "0", "2026-11-01")
}

func priceNode(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	return &n
}
