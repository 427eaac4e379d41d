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

// maxRatios is how many tags and models have a ratio of their own; clients choose
// tags, so the rest share one. A tag that none of the last idleAfter calls had gives
// its place to one that comes.
const (
	maxRatios = 200
	idleAfter = 10_000
)

// Ratios learns the Ratio of each tag, and how tight the bounds of each model are.
// It is safe for concurrent use; the nil one learns nothing.
type Ratios struct {
	calls, bound, cost *prometheus.Desc
	ofModels           *prometheus.HistogramVec

	mu       sync.Mutex
	models   map[string]bool // those with a histogram of their own
	byTag    map[budget.Tag]*learnedRatio
	rest     learnedRatio
	observed int64 // calls, the clock of idleness
}

// learnedRatio is a Ratio and which of the observed calls was its last.
type learnedRatio struct {
	Ratio
	last int64
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
		models: make(map[string]bool),
		byTag:  make(map[budget.Tag]*learnedRatio),
	}
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
	if learned := r.byTag[tag]; learned != nil {
		return learned.Ratio, true
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
	r.observed++
	learned := r.byTag[tag]
	if learned == nil && (len(r.byTag) < maxRatios || r.evict()) {
		learned = &learnedRatio{}
		r.byTag[tag] = learned
	}
	if learned == nil {
		learned = &r.rest
	}
	learned.last = r.observed
	learned.add(Ratio{1, bound, cost})
	if bound > 0 { // else none was asked for
		r.ofModels.WithLabelValues(r.named(model)).Observe(float64(bound) / float64(cost))
	}
}

// named is the model's label; a configuration may leave models' names to clients.
// Callers hold mu.
func (r *Ratios) named(model string) string {
	if !r.models[model] {
		if len(r.models) == maxRatios {
			return ""
		}
		r.models[model] = true
	}
	return model
}

// add counts more calls, unless a sum would pass its limit.
func (r *Ratio) add(more Ratio) {
	b, fits := r.Bound.Add(more.Bound)
	c, fitsToo := r.Cost.Add(more.Cost)
	if fits && fitsToo {
		*r = Ratio{r.Calls + more.Calls, b, c}
	}
}

// evict takes the place of the tag that was idle longest, if that is long, and
// counts it with the rest. Callers hold mu.
func (r *Ratios) evict() bool {
	oldest, last := budget.Tag(""), r.observed-idleAfter
	for tag, learned := range r.byTag {
		if learned.last <= last {
			oldest, last = tag, learned.last
		}
	}
	idle := r.byTag[oldest]
	if idle == nil {
		return false
	}
	r.rest.add(idle.Ratio)
	delete(r.byTag, oldest)
	return true
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
	all := make(map[budget.Tag]Ratio, len(r.byTag)+1)
	for tag, learned := range r.byTag {
		all[tag] = learned.Ratio
	}
	if r.rest.Calls > 0 {
		all[""] = r.rest.Ratio
	}
	r.mu.Unlock()
	usd := func(a budget.Amount) float64 { return float64(a) / float64(budget.Dollar) }
	for tag, learned := range all {
		ch <- prometheus.MustNewConstMetric(r.calls, prometheus.CounterValue, float64(learned.Calls), string(tag))
		ch <- prometheus.MustNewConstMetric(r.bound, prometheus.CounterValue, usd(learned.Bound), string(tag))
		ch <- prometheus.MustNewConstMetric(r.cost, prometheus.CounterValue, usd(learned.Cost), string(tag))
	}
}
