package metricset_test

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/metricset"
)

// TestNames: whoever chooses names makes no more than 201 of them, every count is
// in some series, and a name that comes back into use has one of its own again.
func TestNames(t *testing.T) {
	registry := prometheus.NewRegistry()
	names := metricset.NewNames("aig_test_total", "Test.", "tag", "reason")
	registry.MustRegister(names)
	read := func() (series map[string]float64, sum float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		series = map[string]float64{}
		for _, m := range families[0].GetMetric() {
			v := m.GetCounter().GetValue()
			series[m.GetLabel()[1].GetValue()] += v
			sum += v
		}
		return series, sum
	}
	for i := range 1000 {
		names.Add(1, fmt.Sprint("once/", i), "a")
	}
	names.Add(1, "", "b")
	series, sum := read()
	if len(series) != 201 || sum != 1001 || series[""] != 801 || series["once/7"] != 1 {
		t.Errorf("%d series, sum %v, the rest %v", len(series), sum, series[""])
	}
	for range 10_000 {
		names.Add(1, "once/3", "a")
	}
	names.Add(2, "new", "a")
	if series, sum = read(); len(series) != 201 || sum != 11_003 || series["new"] != 2 || series["once/3"] != 10_001 {
		t.Errorf("later: %d series, sum %v, new %v", len(series), sum, series["new"])
	}
}
