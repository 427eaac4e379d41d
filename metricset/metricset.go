// Package metricset registers the metrics of one part of the program: all of
// them or none, with an error that ends the start. A metric that could not be
// registered and counts for nobody is worse than a gateway that says so.
package metricset

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Set is the metrics of one part. It is not safe for concurrent use.
type Set struct {
	on    prometheus.Registerer // nil: nobody reads them
	added []prometheus.Collector
	err   error
}

// New returns an empty set that registers on r; nil registers nowhere.
func New(r prometheus.Registerer) *Set { return &Set{on: r} }

// Add registers collectors that only this set has.
func (s *Set) Add(collectors ...prometheus.Collector) {
	for _, c := range collectors {
		if s.on == nil || s.err != nil {
			return
		}
		if s.err = s.on.Register(c); s.err == nil {
			s.added = append(s.added, c)
		}
	}
}

// Share registers c, or returns what the registry already has under its name:
// two servers, or two channels, count into the same metrics.
func Share[C prometheus.Collector](s *Set, c C) C {
	if s.on == nil || s.err != nil {
		return c
	}
	err := s.on.Register(c)
	var twice prometheus.AlreadyRegisteredError
	if errors.As(err, &twice) {
		if old, ok := twice.ExistingCollector.(C); ok {
			return old
		}
	}
	if err == nil {
		s.added = append(s.added, c)
	}
	s.err = err
	return c
}

// Done ends the registration. With an error none of the set's own metrics stay
// registered.
func (s *Set) Done() error {
	if s.err == nil {
		return nil
	}
	s.Remove()
	return fmt.Errorf("register metrics: %w", s.err)
}

// Remove takes the set's own metrics off the registry.
func (s *Set) Remove() {
	for _, c := range s.added {
		s.on.Unregister(c)
	}
	s.added = nil
}
