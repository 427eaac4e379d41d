package gatewayconfig

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
)

// Nack is a configuration that an Envoy rejected.
type Nack struct {
	Type    string // cluster, route or secret
	Version string // of the resources of this type
	Node    string // id of the Envoy
	Message string // Envoy's words, without secrets
}

// Error describes the rejection.
func (n Nack) Error() string {
	return fmt.Sprintf("envoy %s rejected a %s configuration: %s", n.Node, n.Type, n.Message)
}

// ackBook knows what every connected Envoy accepted. It is the callbacks of the
// xDS server, which calls it from each stream's goroutine.
type ackBook struct {
	onNack func(Nack, *Snapshot) // gets what was served when it was sent

	mu        sync.Mutex // guards all below
	target    *Snapshot  // last given to Set
	installed *Snapshot  // what the cache serves: target, or a step towards it
	accepted  *Snapshot  // last one that every Envoy accepted
	streams   map[streamID]*streamState
	nack      *Nack
	changed   chan struct{} // closed and replaced whenever an answer arrives
}

// streamID tells delta streams from others: the two servers count separately.
type streamID struct {
	delta  bool
	number int64
}

// streamState is one Envoy's: what it accepted, and what it has yet to answer.
type streamState struct {
	accepted map[resource.Type]map[string]string // name -> content hash
	pending  map[string]*answer                  // by nonce
	node     string
	rejected bool
	stream   *deltaStream // nil for state of the world
}

type answer struct {
	typeURL resource.Type
	version string
	set     map[string]string
	removed []string
	whole   bool      // set is all there is, not a difference
	of      *Snapshot // what was served then
}

func newAckBook(onNack func(Nack, *Snapshot)) *ackBook {
	return &ackBook{onNack: onNack, streams: map[streamID]*streamState{}, changed: make(chan struct{})}
}

func (b *ackBook) open(ctx context.Context, id streamID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[id] = &streamState{accepted: map[resource.Type]map[string]string{}, pending: map[string]*answer{}, stream: deltaStreamOf(ctx)}
	b.wake()
}

func (b *ackBook) close(id streamID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, id)
	b.wake()
}

// wake tells waiters that something changed, and forgets a rejection once what
// should be served is accepted everywhere. Callers hold mu.
func (b *ackBook) wake() {
	if b.everywhere(b.installed) {
		b.accepted = b.installed
	}
	if b.nack != nil && b.usable(b.target) {
		b.nack = nil
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// OnDeltaStreamOpen is called when an Envoy connects.
func (b *ackBook) OnDeltaStreamOpen(ctx context.Context, id int64, _ string) error {
	b.open(ctx, streamID{true, id})
	return nil
}

// OnDeltaStreamClosed is called when an Envoy is gone.
func (b *ackBook) OnDeltaStreamClosed(id int64, _ *corev3.Node) { b.close(streamID{true, id}) }

// OnStreamOpen is called when a client without delta connects.
func (b *ackBook) OnStreamOpen(ctx context.Context, id int64, _ string) error {
	b.open(ctx, streamID{false, id})
	return nil
}

// OnStreamClosed is called when such a client is gone.
func (b *ackBook) OnStreamClosed(id int64, _ *corev3.Node) { b.close(streamID{false, id}) }

// OnStreamDeltaResponse notes what is sent.
func (b *ackBook) OnStreamDeltaResponse(id int64, _ *discoveryv3.DeltaDiscoveryRequest, r *discoveryv3.DeltaDiscoveryResponse) {
	a := &answer{typeURL: r.GetTypeUrl(), version: r.GetSystemVersionInfo(), set: map[string]string{}, removed: r.GetRemovedResources()}
	for _, item := range r.GetResources() {
		a.set[item.GetName()] = item.GetVersion()
	}
	b.sent(streamID{true, id}, r.GetNonce(), a)
}

// OnStreamResponse notes what is sent. Without delta a response carries all
// resources asked for, at the version of the snapshot served.
func (b *ackBook) OnStreamResponse(_ context.Context, id int64, q *discoveryv3.DiscoveryRequest, r *discoveryv3.DiscoveryResponse) {
	a := &answer{typeURL: r.GetTypeUrl(), version: r.GetVersionInfo(), set: map[string]string{}, whole: true}
	b.mu.Lock()
	if s := b.installed; s != nil && s.cache.GetVersion(a.typeURL) == a.version {
		all := s.cache.GetVersionMap(a.typeURL)
		maps.Copy(a.set, all)
		if names := q.GetResourceNames(); len(names) > 0 {
			a.set = map[string]string{}
			for _, name := range names {
				if hash, ok := all[name]; ok {
					a.set[name] = hash
				}
			}
		}
	}
	b.mu.Unlock()
	b.sent(streamID{false, id}, r.GetNonce(), a)
}

func (b *ackBook) sent(id streamID, nonce string, a *answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.streams[id]; s != nil {
		a.of = b.installed
		s.pending[nonce] = a
	}
}

// OnStreamDeltaRequest takes an Envoy's answer. The first request of a stream
// that was cut says what the Envoy still has.
func (b *ackBook) OnStreamDeltaRequest(id int64, q *discoveryv3.DeltaDiscoveryRequest) error {
	if initial := q.GetInitialResourceVersions(); len(initial) > 0 {
		b.mu.Lock()
		if s := b.streams[streamID{true, id}]; s != nil {
			s.accepted[q.GetTypeUrl()] = maps.Clone(initial)
			b.wake()
		}
		b.mu.Unlock()
	}
	b.answered(streamID{true, id}, q.GetResponseNonce(), q.GetNode().GetId(), q.GetErrorDetail())
	return nil
}

// OnStreamRequest takes the answer of a client without delta.
func (b *ackBook) OnStreamRequest(id int64, q *discoveryv3.DiscoveryRequest) error {
	b.answered(streamID{false, id}, q.GetResponseNonce(), q.GetNode().GetId(), q.GetErrorDetail())
	return nil
}

func (b *ackBook) answered(id streamID, nonce, node string, rejection *statuspb.Status) {
	if nack, of := b.settle(id, nonce, node, rejection); nack != nil {
		b.onNack(*nack, of)
	}
}

func (b *ackBook) settle(id streamID, nonce, node string, rejection *statuspb.Status) (*Nack, *Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.streams[id]
	if s != nil && node != "" {
		s.node = node // only a stream's first request names it
	}
	if s == nil || s.pending[nonce] == nil {
		return nil, nil
	}
	defer b.wake()
	a := s.pending[nonce]
	delete(s.pending, nonce)
	if rejection != nil {
		s.rejected = true
		b.nack = &Nack{Type: shortType(a.typeURL), Version: a.version, Node: s.node, Message: b.clean(rejection.GetMessage())}
		return b.nack, a.of
	}
	if s.accepted[a.typeURL] == nil || a.whole {
		s.accepted[a.typeURL] = map[string]string{}
	}
	maps.Copy(s.accepted[a.typeURL], a.set)
	for _, name := range a.removed {
		delete(s.accepted[a.typeURL], name)
	}
	return nil, nil
}

// maxNackMessage keeps a dump of the whole configuration out of the log.
const maxNackMessage = 2000

func (b *ackBook) clean(message string) string {
	if b.installed != nil {
		message = redact(message, b.installed.secrets)
	}
	return strings.ToValidUTF8(message[:min(len(message), maxNackMessage)], "")
}

func shortType(typeURL resource.Type) string {
	switch typeURL {
	case resource.ClusterType:
		return "cluster"
	case resource.RouteType:
		return "route"
	case resource.SecretType:
		return "secret"
	}
	return "other"
}

func (b *ackBook) setTarget(s *Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.target = s
}

// setInstalled also cuts the configuration stream of every Envoy that rejected
// something. The xDS library takes a sent resource for a held one; an Envoy
// that connects again says what it really holds, and gets the rest.
func (b *ackBook) setInstalled(s *Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.installed = s
	b.wake()
	for _, state := range b.streams {
		if state.rejected && state.stream != nil {
			state.stream.end()
		}
	}
}

// base is what a change starts from: what is served, unless that was rejected;
// nil when no Envoy ever accepted anything.
func (b *ackBook) base() *Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nack != nil {
		return b.accepted
	}
	return b.installed
}

// rollback returns what to serve instead of a rejected snapshot, or nil when
// that is no longer served or nothing was ever accepted.
func (b *ackBook) rollback(rejected *Snapshot) *Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.installed != rejected || b.accepted == rejected {
		return nil
	}
	return b.accepted
}

func (b *ackBook) targetVersion() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.target == nil {
		return ""
	}
	return b.target.version
}

func (b *ackBook) connected() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.streams)
}

func (b *ackBook) lastNack() (Nack, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nack == nil {
		return Nack{}, false
	}
	return *b.nack, true
}

func (b *ackBook) applied(version string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.target != nil && b.target.version == version && b.usable(b.target)
}

// everywhere reports whether every stream, and at least one, accepted all of a
// snapshot and holds no cluster besides. Callers hold mu.
func (b *ackBook) everywhere(want *Snapshot) bool {
	if !b.usable(want) {
		return false
	}
	for _, state := range b.streams {
		if len(state.accepted[resource.ClusterType]) != len(want.cache.GetVersionMap(resource.ClusterType)) {
			return false
		}
	}
	return true
}

// usable is everywhere, except that clusters which are no longer routed to may
// linger. Callers hold mu.
func (b *ackBook) usable(want *Snapshot) bool {
	if want == nil {
		return false
	}
	for _, state := range b.streams {
		for _, typeURL := range resourceTypes() {
			held := state.accepted[typeURL]
			for name, hash := range want.cache.GetVersionMap(typeURL) {
				if held[name] != hash {
					return false
				}
			}
		}
	}
	return len(b.streams) > 0
}

// wait blocks until a snapshot is accepted everywhere; false when ctx ended.
func (b *ackBook) wait(ctx context.Context, s *Snapshot) bool {
	for {
		b.mu.Lock()
		done, changed := b.everywhere(s), b.changed
		b.mu.Unlock()
		if done {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
