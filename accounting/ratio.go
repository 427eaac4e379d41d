package accounting

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/budget"
	"aigateway/metricset"
)

// Ratio is what the settled calls of a tag were bounded by and what they cost,
// by their providers' reports, since the start of this process. Bound divided
// by Cost is how much more is held than needed.
type Ratio struct {
	Calls       int64
	Bound, Cost budget.Amount
}

// Ratios learns the Ratio of each tag, and how tight the bounds of each model are.
// It is safe for concurrent use; the nil one learns nothing.
type Ratios struct {
	calls, bound, cost *prometheus.Desc
	ofModels           *prometheus.HistogramVec

	mu     sync.Mutex
	byTag  *metricset.Few[Ratio]
	models *metricset.Few[struct{}] // those with a histogram of their own
}

// NewRatios returns an empty view, with its metrics on r, which may be nil.
func NewRatios(r prometheus.Registerer) (*Ratios, error) {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, []string{"tag"}, nil) }
	ratios := &Ratios{
		calls: desc("aig_tag_calls_total", "Calls charged by their provider's report, by tag; the empty tag is all beyond 200."),
		bound: desc("aig_tag_bound_usd_total", "What the calls of aig_tag_calls_total held before they were sent."),
		cost:  desc("aig_tag_cost_usd_total", "What the calls of aig_tag_calls_total cost; aig_tag_bound_usd_total is that many times as much."),
		ofModels: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "aig_bound_ratio",
			Help:    "How many times its cost a call's bound was, of calls charged by their provider's report, by model; the empty model is all beyond 200.",
			Buckets: []float64{1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 30, 100},
		}, []string{"model"}),
		byTag: metricset.NewFew(func(_ string, idle, rest *Ratio) { rest.add(*idle) }),
	}
	ratios.models = metricset.NewFew(func(model string, _, _ *struct{}) { ratios.ofModels.DeleteLabelValues(model) })
	set := metricset.New(r)
	set.Add(ratios, ratios.ofModels)
	return ratios, set.Done()
}

// Of is the ratio of one tag; false when no call with it has settled.
func (r *Ratios) Of(tag budget.Tag) (Ratio, bool) {
	if r == nil {
		return Ratio{}, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if learned := r.byTag.Get(string(tag)); learned != nil {
		return *learned, true
	}
	return Ratio{}, false
}

// observe counts a settled call. Only a provider's report says what a call
// cost; a free call says nothing about its bound. A channel that settles an
// entry a second time counts it twice, which moves both sums alike.
func (r *Ratios) observe(tag budget.Tag, model string, basis budget.Basis, bound, cost budget.Amount) {
	if r == nil || basis != budget.BasisUsage || cost <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, learned := r.byTag.Use(string(tag))
	learned.add(Ratio{1, bound, cost})
	if bound > 0 { // else none was asked for
		model, _ = r.models.Use(model) // a configuration may leave their names to clients
		r.ofModels.WithLabelValues(model).Observe(float64(bound) / float64(cost))
	}
}

// add counts more calls, unless a sum would pass its limit.
func (r *Ratio) add(more Ratio) {
	b, fits := r.Bound.Add(more.Bound)
	c, fitsToo := r.Cost.Add(more.Cost)
	if fits && fitsToo {
		*r = Ratio{r.Calls + more.Calls, b, c}
	}
}

// Describe implements prometheus.Collector.
func (r *Ratios) Describe(ch chan<- *prometheus.Desc) {
	ch <- r.calls
	ch <- r.bound
	ch <- r.cost
}

// Collect implements prometheus.Collector. It copies under the lock and sends
// after it: the receiver may be slow.
func (r *Ratios) Collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	all := make(map[string]Ratio)
	for tag, learned := range r.byTag.All() {
		if learned.Calls > 0 {
			all[tag] = *learned
		}
	}
	r.mu.Unlock()
	usd := func(a budget.Amount) float64 { return float64(a) / float64(budget.Dollar) }
	for tag, learned := range all {
		ch <- prometheus.MustNewConstMetric(r.calls, prometheus.CounterValue, float64(learned.Calls), tag)
		ch <- prometheus.MustNewConstMetric(r.bound, prometheus.CounterValue, usd(learned.Bound), tag)
		ch <- prometheus.MustNewConstMetric(r.cost, prometheus.CounterValue, usd(learned.Cost), tag)
	}
}
