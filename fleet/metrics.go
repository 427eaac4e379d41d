package fleet

import (
	"github.com/prometheus/client_golang/prometheus"

	"aigateway/metricset"
)

type metrics struct {
	set    *metricset.Set
	pushed prometheus.Counter
	asks   *prometheus.CounterVec
	last   *prometheus.GaugeVec
	now    func() float64
}

func newMetrics(f *Fleet, on prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		set:    metricset.New(on),
		pushed: prometheus.NewCounter(prometheus.CounterOpts{Name: "aig_store_pushed_usage_rows_total", Help: "Rows of usage that the store of several gateways was told."}),
		asks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aig_store_asks_total",
			Help: "Questions to the store of several gateways, by subject (rules, usage, fold, refusals, questions, tidy) and result (ok, error)."}, []string{"subject", "result"}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "aig_store_last_ok_timestamp_seconds",
			Help: "When the store last answered as it should, by subject."}, []string{"subject"}),
		now: func() float64 { return float64(f.c.Now().UnixNano()) / 1e9 },
	}
	version := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "aig_store_rules_version", Help: "Version of the store's budgets and keys that is in force here."},
		func() float64 { return float64(f.c.Ledger.AppliedVersion()) })
	m.set.Add(m.pushed, m.asks, m.last, version)
	return m, m.set.Done()
}

// asked counts a question and its result.
func (m *metrics) asked(subject string, err error) {
	if err != nil {
		m.asks.WithLabelValues(subject, "error").Inc()
		return
	}
	m.asks.WithLabelValues(subject, "ok").Inc()
	m.last.WithLabelValues(subject).Set(m.now())
}
