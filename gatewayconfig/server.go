package gatewayconfig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"aigateway/envoy"
	"aigateway/metricset"
)

// ServerConfig is what a Server needs.
type ServerConfig struct {
	Log     *slog.Logger          // required
	Metrics prometheus.Registerer // required
	// Warm is how long a new cluster may take to resolve its name before routes
	// use it; 0: one second.
	Warm time.Duration
	// Linger is how long a cluster stays after the routes to it are gone; 0: as
	// long as a request may take to arrive and be decided. Envoy keeps the routes
	// a request began with, so one that is still being read or decided when they
	// change goes to the old cluster, and fails if that is no more.
	Linger time.Duration
}

// nodeKey is the one snapshot key: every Envoy gets the same configuration.
const nodeKey = "envoy"

type sameForAll struct{}

func (sameForAll) ID(*corev3.Node) string { return nodeKey }

// Server serves snapshots over delta ADS to any number of Envoys, and keeps
// account of what each accepted. All methods are safe for concurrent use.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	log     *slog.Logger
	warm    time.Duration
	linger  time.Duration
	cache   cache.SnapshotCache
	delta   delta.Server
	cancel  context.CancelFunc
	nacks   *prometheus.CounterVec
	streams prometheus.Gauge

	// rolling serialises Set and the steps of a rollout; it is held across calls
	// into the cache, so no stream callback may take it.
	rolling sync.Mutex
	stop    context.CancelFunc // ends the rollout under way; nil: none

	acks *ackBook
}

// NewServer makes a Server that serves nothing until Apply. Close ends it.
func NewServer(c ServerConfig) (*Server, error) {
	s := &Server{
		log:  c.Log,
		warm: cmp.Or(c.Warm, time.Second),
		// The margin is for Envoys that are slow to put an accepted route in force.
		linger: cmp.Or(c.Linger, envoy.RequestTimeout+envoy.DefaultCheckTimeout+10*time.Second),
		cache:  cache.NewSnapshotCache(true, sameForAll{}, nil),
		nacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "aig_xds_nacks_total", Help: "Configurations that an Envoy rejected, by resource type.",
		}, []string{"type"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "aig_xds_streams", Help: "Envoys connected for configuration.",
		}),
	}
	set := metricset.New(c.Metrics)
	set.Add(s.nacks, s.streams)
	if err := set.Done(); err != nil {
		return nil, err
	}
	s.acks = newAckBook(s.onNack)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.delta = delta.NewServer(ctx, s.cache, s.acks)
	return s, nil
}

// Register adds the aggregated discovery service to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(r, s)
}

// Close ends every stream and rollout, so that the gRPC server can stop
// gracefully. Envoys keep what they have.
func (s *Server) Close() {
	s.rolling.Lock()
	defer s.rolling.Unlock()
	if s.stop != nil {
		s.stop()
	}
	s.cancel()
}

// DeltaAggregatedResources serves one Envoy.
func (s *Server) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	s.streams.Inc()
	defer s.streams.Dec()
	return s.delta.DeltaStreamHandler(newDeltaStream(stream), resource.AnyType)
}

// errNoEnvoy is Ready's answer while nobody is connected.
var errNoEnvoy = errors.New("no Envoy is connected")

// Ready says why no Envoy serves, or nil. One that has some whole configuration
// serves, whatever became of a newer one: see Lagging.
func (s *Server) Ready() error { return s.acks.serving() }

// Alone reports whether no Envoy is connected.
func (s *Server) Alone() bool { return s.acks.alone() }

// Lagging says why the snapshot last given to Apply is not in force in every
// connected Envoy, or nil. It is a Nack when one rejected it.
func (s *Server) Lagging() error { return s.acks.lagging() }

// onNack runs in the stream's goroutine and under the lock of acks: it must not wait
// for the cache.
func (s *Server) onNack(n Nack, rejected *Snapshot) {
	s.nacks.WithLabelValues(n.Type).Inc()
	message := "envoy rejected a configuration; the last good one stays in force"
	if !s.acks.served() {
		message = "envoy rejected a configuration, and has no other; no client is served until it is mended"
	}
	s.log.Error(message,
		"type", n.Type, "version", n.Version, "node", n.Node, "message", n.Message)
	go s.rollBack(rejected)
}

// rollBack serves the last accepted snapshot again, so that an Envoy that
// starts after a rejection gets routes that work.
func (s *Server) rollBack(rejected *Snapshot) {
	s.rolling.Lock()
	defer s.rolling.Unlock()
	last := s.acks.rollback(rejected)
	if last == nil {
		return
	}
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	if err := s.install(last); err != nil {
		s.log.Error("serve the last good configuration again", "err", err)
	}
}

// settleWithin is how long Apply waits for answers to an earlier change.
const settleWithin = 2 * time.Second

// Apply makes a snapshot the one to serve, and answers for that one: nil once
// every connected Envoy has accepted all of it that calls can use, or when none
// is connected; a Nack when an Envoy rejected it; an error when ctx ends before
// their answer, or a later Apply replaced it. After ctx ended the change still goes
// on.
//
// When clusters come or go under a connected Envoy, the change takes steps, so
// that no request meets a route without its cluster: the new clusters beside
// the old; then, accepted and warm, the new routes; then, accepted and used by
// no request any more, the old clusters go. A rejected step ends the change: the last snapshot that every
// Envoy accepted is served again.
// A later Apply replaces a change under way.
func (s *Server) Apply(ctx context.Context, next *Snapshot) error {
	settled, stop := context.WithTimeout(ctx, settleWithin)
	s.acks.quiet(settled)
	stop()
	if err := s.begin(next); err != nil {
		return err
	}
	return s.acks.answerTo(ctx, next)
}

// begin takes the first step of a change; the others follow by themselves.
func (s *Server) begin(next *Snapshot) error {
	s.rolling.Lock()
	defer s.rolling.Unlock()
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	current := s.acks.base()
	s.acks.setTarget(next)
	if current == nil || s.acks.alone() || sameClusters(current, next) {
		return s.install(next)
	}
	first, err := union(current, next, current.resources.routes)
	if err != nil {
		return fmt.Errorf("prepare clusters: %w", err)
	}
	second, err := union(current, next, next.resources.routes)
	if err != nil {
		return fmt.Errorf("prepare routes: %w", err)
	}
	if err := s.install(first); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	steps := []step{{first, 0}, {second, 0}, {next, 0}}
	if adds(current, next) {
		steps[1].after = s.warm
	}
	if adds(next, current) {
		steps[2].after = s.linger
	}
	go s.roll(ctx, steps)
	return nil
}

func sameClusters(a, b *Snapshot) bool { return !adds(a, b) && !adds(b, a) }

// adds reports whether next has a cluster that current lacks.
func adds(current, next *Snapshot) bool {
	for name := range next.resources.clusters {
		if _, ok := current.resources.clusters[name]; !ok {
			return true
		}
	}
	return false
}

// step is one snapshot of a change, and the pause between the acceptance of the
// one before and its own turn.
type step struct {
	snapshot *Snapshot
	after    time.Duration
}

// roll installs each step but the first, which is installed, once the one before
// is accepted everywhere. Without any answer it stays where it is: an Envoy that
// reconnects gets the step and answers then.
func (s *Server) roll(ctx context.Context, steps []step) {
	for i, next := range steps[1:] {
		if !s.acks.wait(ctx, steps[i].snapshot) {
			return
		}
		select {
		case <-time.After(next.after):
		case <-ctx.Done():
			return
		}
		if !s.take(ctx, next.snapshot) {
			return
		}
	}
}

func (s *Server) take(ctx context.Context, next *Snapshot) bool {
	s.rolling.Lock()
	defer s.rolling.Unlock()
	if ctx.Err() != nil { // a newer Apply won
		return false
	}
	if err := s.install(next); err != nil {
		s.log.Error("serve the next step of a configuration", "err", err)
		return false
	}
	return true
}

// install hands a snapshot to the cache. Callers hold rolling.
func (s *Server) install(next *Snapshot) error {
	s.acks.setInstalled(next)
	if err := s.cache.SetSnapshot(context.Background(), nodeKey, next.cache); err != nil {
		return fmt.Errorf("serve configuration: %w", err)
	}
	return nil
}
