package extauthz

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/apierror"
	"aigateway/metricset"
)

// metrics count decisions. Reasons are a closed set, so the counters stay few.
type metrics struct {
	decisions *prometheus.CounterVec
	admitted  prometheus.Counter // one of decisions, looked up once: the common one
	free      prometheus.Counter // … and one for calls that no provider bills
	unpriced  prometheus.Counter
	duration  prometheus.Histogram

	byTag, byKey *metricset.Names // refused and failed calls
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
	m.byTag = metricset.NewNames("aig_tag_refusals_total", "Calls refused or failed, by tag and reason; the empty tag is all beyond 200.", "tag", "reason")
	m.byKey = metricset.NewNames("aig_key_refusals_total", "Calls refused or failed, by the key's id and reason; the empty key is all beyond 200.", "key", "reason")
	set := metricset.New(r)
	m.byTag = metricset.Share(set, m.byTag)
	m.byKey = metricset.Share(set, m.byKey)
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

// attribute counts a call that was refused, as far as it was understood: without
// a key it is nobody's.
func (m *metrics) attribute(c *call, err error) {
	if c.key == nil {
		return
	}
	reason := apierror.Reason(apierror.From(err))
	m.byKey.Add(1, c.key.ID, reason)
	if c.tag != "" {
		m.byTag.Add(1, string(c.tag), reason)
	}
}

func (m *metrics) took(d time.Duration) { m.duration.Observe(d.Seconds()) }
