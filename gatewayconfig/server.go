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
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"aigateway/envoy"
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

// Server serves snapshots over ADS, delta or state-of-the-world, to any number
// of Envoys, and keeps account of what each accepted. All methods are safe for
// concurrent use.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	log     *slog.Logger
	warm    time.Duration
	linger  time.Duration
	cache   cache.SnapshotCache
	delta   delta.Server
	sotw    sotw.Server
	cancel  context.CancelFunc
	nacks   *prometheus.CounterVec
	streams prometheus.Gauge

	// rolling serialises Set and the steps of a rollout; it is held across calls
	// into the cache, so no stream callback may take it.
	rolling sync.Mutex
	stop    context.CancelFunc // ends the rollout under way; nil: none

	acks *ackBook
}

// NewServer makes a Server that serves nothing until Set. Close ends it.
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
	for _, collector := range []prometheus.Collector{s.nacks, s.streams} {
		if err := c.Metrics.Register(collector); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	s.acks = newAckBook(s.onNack)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.delta = delta.NewServer(ctx, s.cache, s.acks)
	s.sotw = sotw.NewServer(ctx, s.cache, s.acks)
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

// StreamAggregatedResources serves one client that does not speak delta.
func (s *Server) StreamAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	s.streams.Inc()
	defer s.streams.Dec()
	return s.sotw.StreamHandler(stream, resource.AnyType)
}

// Applied reports whether at least one Envoy is connected and every connected
// one has accepted all of the snapshot with this version, which must be the
// one last given to Set. Clusters that are no longer used may still be there.
func (s *Server) Applied(version string) bool { return s.acks.applied(version) }

// Connected is the number of connected Envoys.
func (s *Server) Connected() int { return s.acks.connected() }

// LastNack is the newest rejection, until every connected Envoy accepted what
// was last given to Set; ok is false when there is none.
func (s *Server) LastNack() (nack Nack, ok bool) { return s.acks.lastNack() }

// Ready says why the configuration is not in force everywhere, or nil.
func (s *Server) Ready() error {
	if nack, ok := s.LastNack(); ok {
		return nack
	}
	switch version := s.acks.targetVersion(); {
	case version == "":
		return errors.New("no configuration was rendered yet")
	case s.Connected() == 0:
		return errors.New("no Envoy is connected")
	case !s.Applied(version):
		return errors.New("the newest configuration is not accepted by every Envoy yet")
	}
	return nil
}

// onNack runs in the stream's goroutine, which must not wait for the cache.
func (s *Server) onNack(n Nack, rejected *Snapshot) {
	s.nacks.WithLabelValues(n.Type).Inc()
	s.log.Error("envoy rejected a configuration; the last good one stays in force",
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

// Set makes a snapshot the one to serve. It returns once the first step is on
// its way; Applied tells when all of it is in force.
//
// When clusters come or go under a connected Envoy, the change takes steps, so
// that no request meets a route without its cluster: the new clusters beside
// the old; then, accepted and warm, the new routes; then, accepted and used by
// no request any more, the old clusters go. A rejected step ends the change: the last snapshot that every
// Envoy accepted is served again.
// A later Set replaces a change under way.
func (s *Server) Set(next *Snapshot) error {
	s.rolling.Lock()
	defer s.rolling.Unlock()
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	current := s.acks.base()
	s.acks.setTarget(next)
	if current == nil || s.Connected() == 0 || sameClusters(current, next) {
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
	if ctx.Err() != nil { // a newer Set won
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
