package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"
)

// settling is how long after the last call CPU time is still counted: access
// logs are flushed, and settled, up to 200 ms later.
const settling = 500 * time.Millisecond

// sample is one round of one chain, in CPU time per call.
type sample struct {
	envoy, service, total time.Duration
	unavailable           int // calls answered 503
}

// measure runs all chains interleaved and prints the table.
func (l *lab) measure(ctx context.Context, out io.Writer) error {
	samples := make([][]sample, len(l.chains))
	for range l.rounds {
		for i, c := range l.chains {
			s, err := l.round(ctx, c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			samples[i] = append(samples[i], s)
		}
	}
	fmt.Fprintf(out, "  %-32s %8s %8s %8s %9s %9s %6s\n", "", "envoy", "service", "total", "p50 ms", "p99 ms", "503s")
	for i, c := range l.chains {
		latencies, err := openLoop(ctx, c.address, l.request, l.rate, 2*l.duration)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		unavailable := 0
		for _, s := range samples[i] {
			unavailable += s.unavailable
		}
		fmt.Fprintf(out, "  %-32s %8d %8d %8d %9.2f %9.2f %6d\n", c.name,
			lowQuartile(samples[i], func(s sample) time.Duration { return s.envoy }),
			lowQuartile(samples[i], func(s sample) time.Duration { return s.service }),
			lowQuartile(samples[i], func(s sample) time.Duration { return s.total }),
			ms(percentile(latencies, 0.50)), ms(percentile(latencies, 0.99)), unavailable)
	}
	fmt.Fprintln(out)
	return nil
}

// round saturates a chain once.
func (l *lab) round(ctx context.Context, c *chain) (sample, error) {
	before, err := cpuOf(c)
	if err != nil {
		return sample{}, err
	}
	calls, unavailable, err := saturate(ctx, c.address, l.request, l.clients, l.duration)
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
	s := sample{envoy: (after.envoy - before.envoy) / n, service: (after.service - before.service) / n, unavailable: unavailable}
	s.total = s.envoy + s.service
	return s, nil
}

func cpuOf(c *chain) (s sample, err error) {
	for p, to := range map[*exec.Cmd]*time.Duration{c.envoy: &s.envoy, c.service: &s.service} {
		if p == nil {
			continue
		}
		if *to, err = cpuTime(p.Process.Pid); err != nil {
			return s, err
		}
	}
	return s, nil
}

// lowQuartile is the 25th percentile in microseconds: other work on the
// machine only ever adds.
func lowQuartile(all []sample, of func(sample) time.Duration) int64 {
	values := make([]time.Duration, len(all))
	for i, s := range all {
		values[i] = of(s)
	}
	slices.Sort(values)
	return percentile(values, 0.25).Microseconds()
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
