package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// settling is how long after the last call CPU time is still counted: access
// logs are flushed, and settled, up to 200 ms later.
const settling = 500 * time.Millisecond

// sample is one round of one chain, in CPU time per call.
type sample struct {
	envoy, service, store, total time.Duration
	unavailable                  int // calls answered 503
}

// result is what was measured of one chain.
type result struct {
	envoy, service, store, total time.Duration // CPU time of a call, the 25th percentile: other work on the machine only ever adds
	p50, p99                     time.Duration
	unavailable                  int
}

// measure runs all chains interleaved with one load and prints the table.
func (l *lab) measure(ctx context.Context, out io.Writer, w load) error {
	samples := make([][]sample, len(l.chains))
	latencies := make([][]time.Duration, len(l.chains))
	callers := make([]*agents, len(l.chains))
	for i := range callers {
		callers[i] = &agents{load: &w}
	}
	for range l.rounds {
		for i, c := range l.chains {
			s, err := l.round(ctx, c, callers[i])
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			samples[i] = append(samples[i], s)
		}
		for i, c := range l.chains {
			some, err := openLoop(ctx, c.address, callers[i], l.duration)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			latencies[i] = append(latencies[i], some...)
		}
	}
	fmt.Fprintf(out, "%s\n  %-32s %8s %8s %8s %8s %9s %9s %6s   at %d calls a second\n", w.name, "", "envoy", "service", "store", "total", "p50 ms", "p99 ms", "503s", w.rate)
	results := make([]result, len(l.chains))
	var floor result
	for i, c := range l.chains {
		r := summarize(samples[i], latencies[i])
		if results[i] = r; c.name == nameTuned {
			floor = r
		}
		fmt.Fprintf(out, "  %-32s %8d %8d %8d %8d %9.2f %9.2f %6d\n", c.name,
			r.envoy.Microseconds(), r.service.Microseconds(), r.store.Microseconds(), r.total.Microseconds(), ms(r.p50), ms(r.p99), r.unavailable)
	}
	for i, c := range l.chains {
		if c.isGateway() {
			printRatios(out, c.name+" / no-op", results[i], floor)
		}
		if c.shared {
			printRatios(out, c.name+" / without", results[i], results[i-1])
		}
	}
	fmt.Fprintln(out)
	return nil
}

func printRatios(out io.Writer, name string, ours, theirs result) {
	fmt.Fprintf(out, "  %-32s %8.2f %8.2f %8s %8.2f %9.2f %9.2f\n", name, ratio(ours.envoy, theirs.envoy),
		ratio(ours.service, theirs.service), "", ratio(ours.total, theirs.total), ratio(ours.p50, theirs.p50), ratio(ours.p99, theirs.p99))
}

func summarize(samples []sample, latencies []time.Duration) result {
	slices.Sort(latencies)
	r := result{
		envoy:   lowQuartile(samples, func(s sample) time.Duration { return s.envoy }),
		service: lowQuartile(samples, func(s sample) time.Duration { return s.service }),
		store:   lowQuartile(samples, func(s sample) time.Duration { return s.store }),
		total:   lowQuartile(samples, func(s sample) time.Duration { return s.total }),
		p50:     percentile(latencies, 0.50), p99: percentile(latencies, 0.99),
	}
	for _, s := range samples {
		r.unavailable += s.unavailable
	}
	return r
}

// round saturates a chain once.
func (l *lab) round(ctx context.Context, c *chain, a *agents) (sample, error) {
	before, err := cpuOf(c)
	if err != nil {
		return sample{}, err
	}
	calls, unavailable, err := saturate(ctx, c.address, a, l.clients, l.duration)
	if err != nil {
		return sample{}, err
	}
	if calls == 0 {
		return sample{}, fmt.Errorf("no call was answered")
	}
	select {
	case <-ctx.Done():
		return sample{}, ctx.Err()
	case <-time.After(settling):
	}
	after, err := cpuOf(c)
	if err != nil {
		return sample{}, err
	}
	n := time.Duration(calls)
	s := sample{envoy: (after.envoy - before.envoy) / n, service: (after.service - before.service) / n, store: (after.store - before.store) / n, unavailable: unavailable}
	s.total = s.envoy + s.service + s.store
	return s, nil
}

func cpuOf(c *chain) (s sample, err error) {
	if s.envoy, err = cpuTime(c.envoy.Process.Pid); err != nil {
		return s, err
	}
	for _, p := range c.service {
		used, err := cpuTime(p.Process.Pid)
		if err != nil {
			return s, err
		}
		s.service += used
	}
	if c.store != nil {
		s.store, err = c.store.CPU()
	}
	return s, err
}

func lowQuartile(all []sample, of func(sample) time.Duration) time.Duration {
	values := make([]time.Duration, len(all))
	for i, s := range all {
		values[i] = of(s)
	}
	slices.Sort(values)
	return percentile(values, 0.25)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(1, b)) }
