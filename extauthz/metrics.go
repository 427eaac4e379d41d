package extauthz

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/metricset"
)

// metrics count decisions. Reasons are a closed set, so the counters stay few.
type metrics struct {
	decisions *prometheus.CounterVec
	admitted  prometheus.Counter // one of decisions, looked up once: the common one
	free      prometheus.Counter // … and one for calls that no provider bills
	unpriced  prometheus.Counter
	duration  prometheus.Histogram
}

// newMetrics registers them; a second server on a registry counts into the same.
func newMetrics(r prometheus.Registerer) (metrics, error) {
	m := metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aig_decisions_total",
			Help: "Calls decided, by outcome (admitted, free, refused, failed) and reason.",
		}, []string{"outcome", "reason"}),
		unpriced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "aig_unpriced_requests_total",
			Help: "Calls admitted without a bound, because no budget watches them; what they cost is known only from the provider's report.",
		}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "aig_decision_seconds",
			Help:    "Time from a decoded request to its decision.",
			Buckets: []float64{5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 2e-2, 1e-1, 1},
		}),
	}
	set := metricset.New(r)
	m.decisions = metricset.Share(set, m.decisions)
	m.unpriced = metricset.Share(set, m.unpriced)
	m.duration = metricset.Share(set, m.duration)
	m.admitted = m.decisions.WithLabelValues("admitted", "")
	m.free = m.decisions.WithLabelValues("free", "")
	return m, set.Done()
}

func (m *metrics) refuse(outcome, reason string) {
	m.decisions.WithLabelValues(outcome, reason).Inc()
}

func (m *metrics) took(d time.Duration) { m.duration.Observe(d.Seconds()) }
