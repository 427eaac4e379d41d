package main

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/adminapi"
	"aigateway/metricset"
	"aigateway/pricing"
)

// models is the price list as the API shows it.
func (c *controlPlane) models(now func() time.Time) func() adminapi.Catalog {
	return func() adminapi.Catalog {
		catalog := c.catalog.Load()
		out := adminapi.Catalog{Version: catalog.Version(), CheckedAt: catalog.Date()}
		for _, m := range catalog.Models(now()) {
			out.Models = append(out.Models, adminapi.Model{Slug: m.Slug, Provider: m.Provider, CheckedAt: m.Row.CheckedAt})
		}
		return out
	}
}

// catalogMetrics show how old the prices are that calls are charged by.
func (c *controlPlane) catalogMetrics(set *metricset.Set, now func() time.Time) {
	gauge := func(name, help string, value func([]pricing.Model) int64) {
		set.Add(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			return float64(value(c.catalog.Load().Models(now())))
		}))
	}
	gauge("aig_catalog_models", "Models of the configured providers that have a price.",
		func(models []pricing.Model) int64 { return int64(len(models)) })
	gauge("aig_catalog_oldest_check_timestamp_seconds", "When the price was checked that was checked longest ago, of all models of the configured providers; 0: one never was, or there are none.",
		func(models []pricing.Model) int64 {
			oldest := int64(math.MaxInt64)
			for _, m := range models {
				oldest = min(oldest, checkTime(m))
			}
			return oldest % math.MaxInt64 // none: 0
		})
	gauge("aig_catalog_newest_check_timestamp_seconds", "When the price was checked that was checked last, of all models of the configured providers; 0: none was.",
		func(models []pricing.Model) int64 {
			newest := int64(0)
			for _, m := range models {
				newest = max(newest, checkTime(m))
			}
			return newest
		})
}

// checkTime is in Unix seconds; 0 is never.
func checkTime(m pricing.Model) int64 {
	if m.Row.CheckedAt.IsZero() {
		return 0
	}
	return m.Row.CheckedAt.Unix()
}
