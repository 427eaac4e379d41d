package metricset

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Names counts by a name that others choose, such as a tag, in a metric that
// stays small: 200 names have series of their own, and the rest share the one of
// the empty name. A name that none of the last 10,000 counts had gives its place
// to one that comes. It is safe for concurrent use.
type Names struct {
	desc *prometheus.Desc

	mu     sync.Mutex
	byName map[string]*named
	rest   named
	clock  int64 // counts
}

// named are the counts of one name by the second label, and its last.
type named struct {
	counts map[string]float64
	last   int64
}

const (
	maxNames  = 200
	idleAfter = 10_000
)

// NewNames returns the counter name with two labels: label is the name, kind one
// of a few words of ours.
func NewNames(name, help, label, kind string) *Names {
	return &Names{desc: prometheus.NewDesc(name, help, []string{label, kind}, nil), byName: map[string]*named{}, rest: named{counts: map[string]float64{}}}
}

// Add counts n, which is not negative, for a name.
func (s *Names) Add(n float64, name, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock++
	found := s.byName[name]
	if found == nil && (len(s.byName) < maxNames || s.evict()) {
		found = &named{counts: map[string]float64{}}
		s.byName[name] = found
	}
	if found == nil {
		found = &s.rest
	}
	found.counts[kind] += n
	found.last = s.clock
}

// evict takes the place of the name that was idle longest, if that is long.
// Callers hold mu.
func (s *Names) evict() bool {
	oldest, last := "", s.clock-idleAfter
	for name, n := range s.byName {
		if n.last <= last {
			oldest, last = name, n.last
		}
	}
	idle := s.byName[oldest]
	if idle == nil {
		return false
	}
	for kind, n := range idle.counts {
		s.rest.counts[kind] += n
	}
	delete(s.byName, oldest)
	return true
}

// Describe implements prometheus.Collector.
func (s *Names) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

// Collect implements prometheus.Collector. It copies under the lock and sends
// after it: the receiver may be slow.
func (s *Names) Collect(ch chan<- prometheus.Metric) {
	var out []prometheus.Metric
	add := func(name string, n *named) {
		for kind, count := range n.counts {
			out = append(out, prometheus.MustNewConstMetric(s.desc, prometheus.CounterValue, count, name, kind))
		}
	}
	s.mu.Lock()
	for name, n := range s.byName {
		if name != "" {
			add(name, n)
		}
	}
	all := named{counts: map[string]float64{}}
	for _, n := range []*named{&s.rest, s.byName[""]} {
		if n != nil {
			for kind, count := range n.counts {
				all.counts[kind] += count
			}
		}
	}
	add("", &all)
	s.mu.Unlock()
	for _, m := range out {
		ch <- m
	}
}
