package metricset_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"aigateway/metricset"
)

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func names(t *testing.T, r *prometheus.Registry) string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range families {
		out = append(out, f.GetName())
	}
	return strings.Join(out, " ")
}

func TestAllOrNone(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(counter("b", "of another part"))
	for name, add := range map[string]func(*metricset.Set){
		"own": func(s *metricset.Set) { s.Add(counter("a", ""), counter("b", "other words"), counter("c", "")) },
		"own, the same": func(s *metricset.Set) {
			s.Add(counter("a", ""), counter("b", "of another part"), counter("c", ""))
		},
		"shared": func(s *metricset.Set) {
			s.Add(counter("a", ""))
			metricset.Share(s, counter("b", "other words"))
			metricset.Share(s, counter("c", ""))
		},
	} {
		s := metricset.New(r)
		add(s)
		if err := s.Done(); err == nil || !strings.Contains(err.Error(), "register metrics: ") {
			t.Errorf("%s: error %v", name, err)
		}
		if got := names(t, r); got != "b" {
			t.Errorf("%s: registered after the error: %s", name, got)
		}
	}
}

func TestShareCountsTogether(t *testing.T) {
	r := prometheus.NewRegistry()
	first, second := metricset.New(r), metricset.New(r)
	a, b := metricset.Share(first, counter("a", "")), metricset.Share(second, counter("a", ""))
	if a != b || first.Done() != nil || second.Done() != nil {
		t.Errorf("two counters, or errors %v and %v", first.Done(), second.Done())
	}
	second.Remove()
	if got := names(t, r); got != "a" {
		t.Errorf("after the second set is removed: %q", got)
	}
	first.Remove()
	if got := names(t, r); got != "" {
		t.Errorf("after the first set is removed: %q", got)
	}
	nowhere := metricset.New(nil)
	nowhere.Add(a)
	metricset.Share(nowhere, a)
	if err := nowhere.Done(); err != nil {
		t.Error(err)
	}
	nowhere.Remove()
}
