package metricset

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Names counts by a name that others choose, such as a tag, in a metric that
// stays small: it has the names of a Few. It is safe for concurrent use.
type Names struct {
	desc *prometheus.Desc

	mu  sync.Mutex
	few *Few[kinds]
}

// kinds are the counts of one name by the second label.
type kinds map[string]float64

func (k *kinds) add(kind string, n float64) {
	if *k == nil {
		*k = make(kinds)
	}
	(*k)[kind] += n
}

// NewNames returns the counter name with two labels: label is the name, kind one
// of a few words of ours.
func NewNames(name, help, label, kind string) *Names {
	return &Names{
		desc: prometheus.NewDesc(name, help, []string{label, kind}, nil),
		few: NewFew(func(_ string, idle, rest *kinds) {
			for kind, n := range *idle {
				rest.add(kind, n)
			}
		}),
	}
}

// Add counts n, which is not negative, for a name.
func (s *Names) Add(n float64, name, kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, counts := s.few.Use(name)
	counts.add(kind, n)
}

// Describe implements prometheus.Collector.
func (s *Names) Describe(ch chan<- *prometheus.Desc) { ch <- s.desc }

// Collect implements prometheus.Collector. It copies under the lock and sends
// after it: the receiver may be slow.
func (s *Names) Collect(ch chan<- prometheus.Metric) {
	all := make(map[string]kinds)
	s.mu.Lock()
	for name, counts := range s.few.All() {
		all[name] = maps.Clone(*counts)
	}
	s.mu.Unlock()
	for name, counts := range all {
		for kind, n := range counts {
			ch <- prometheus.MustNewConstMetric(s.desc, prometheus.CounterValue, n, name, kind)
		}
	}
}
