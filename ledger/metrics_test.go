package ledger_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/ledger"
)

// TestRepeatsAreCounted: only an entry that tells of a reservation once more is
// a repeat. Calls that Envoy answered itself never had one.
func TestRepeatsAreCounted(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	b := start(t, func(c *ledger.Config) { c.Metrics = reg })
	b.budget("a", budget.Month, budget.Dollar)
	stray := budget.Reservation{ID: 99<<43 | 5, ReservedAt: april, Bound: 30, Attribution: budget.Attribution{Tag: "a"}}
	unsent := budget.Settlement{RequestID: "unsent", Reservation: &stray, Basis: budget.BasisReleased}
	sent := settlement(stray, 20)
	sent.RequestID = "sent"
	call := settlement(b.reserve("a", budget.Cent), budget.Cent/2)
	for i, step := range []struct {
		entry            budget.Settlement
		settled, repeats float64
	}{
		{budget.Settlement{RequestID: "our own route", Basis: budget.BasisReleased}, 0, 0},
		{budget.Settlement{RequestID: "unknown", Basis: budget.BasisBound}, 0, 0},
		{unsent, 0, 0}, {unsent, 0, 0},
		{call, 1, 0}, {call, 1, 1}, {call, 1, 2},
		{sent, 2, 2}, {sent, 2, 3},
	} {
		b.settle(step.entry)
		b.flush() // what is finished is known by its number alone
		value := countersOf(t, reg)
		if value["aig_settlements_total"] != step.settled || value["aig_settlements_repeated_total"] != step.repeats {
			t.Errorf("entry %d: %v settled, %v repeated; want %v, %v", i, value["aig_settlements_total"],
				value["aig_settlements_repeated_total"], step.settled, step.repeats)
		}
	}
}

// countersOf is every counter's value, over all its labels.
func countersOf(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	value := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			value[f.GetName()] += m.GetCounter().GetValue()
		}
	}
	return value
}
