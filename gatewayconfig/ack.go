package gatewayconfig

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

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
	// onNack gets what was served when it was sent. It is called under mu, before
	// those who wait hear of the rejection.
	onNack func(Nack, *Snapshot)

	mu        sync.Mutex // guards all below
	target    *Snapshot  // last given to Apply
	installed *Snapshot  // what the cache serves: target, or a step towards it
	accepted  *Snapshot  // last one that every Envoy accepted
	streams   map[int64]*streamState
	returning []*absence    // one for each Envoy whose stream we cut, until one serves again or it is late
	nack      *Nack         // of target; nil: none so far
	changed   chan struct{} // closed and replaced whenever an answer arrives
}

// streamState is one Envoy's: what it accepted, and what it has yet to answer.
type streamState struct {
	accepted map[resource.Type]map[string]string // name -> content hash
	pending  map[string]*answer                  // by nonce
	node     string
	rejected bool
	serves   bool // accepted all of some snapshot
	stream   *deltaStream
}

// absence is that of an Envoy whose stream we cut.
type absence struct {
	late   *time.Timer
	served bool // when it was cut, as it goes on doing
}

type answer struct {
	typeURL resource.Type
	version string
	set     map[string]string
	removed []string
	of      *Snapshot // what was served then
	target  *Snapshot // what that was a step towards
}

func newAckBook(onNack func(Nack, *Snapshot)) *ackBook {
	return &ackBook{onNack: onNack, streams: map[int64]*streamState{}, changed: make(chan struct{})}
}

// wake tells waiters that something changed. Callers hold mu.
func (b *ackBook) wake() {
	for _, state := range b.streams {
		if !state.serves && b.installed != nil && state.has(b.installed) {
			state.serves = true
			b.back()
		}
	}
	if b.everywhere(b.installed) {
		b.accepted = b.installed
	}
	close(b.changed)
	b.changed = make(chan struct{})
}

// OnDeltaStreamOpen is called when an Envoy connects.
func (b *ackBook) OnDeltaStreamOpen(ctx context.Context, id int64, _ string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[id] = &streamState{accepted: map[resource.Type]map[string]string{}, pending: map[string]*answer{}, stream: deltaStreamOf(ctx)}
	b.wake()
	return nil
}

// returnWithin is how long a cut Envoy is waited for; it tries again at once.
const returnWithin = 10 * time.Second

// cut ends a stream, whose Envoy will be back. Callers hold mu.
func (b *ackBook) cut(state *streamState) {
	if state.stream == nil || !state.stream.end() {
		return
	}
	a := &absence{served: state.serves}
	a.late = time.AfterFunc(returnWithin, func() { b.lose(a) })
	b.returning = append(b.returning, a)
}

// lose waits no longer for an Envoy. Another one that was cut may be taken for it, and
// its absence ended, while its timer runs out.
func (b *ackBook) lose(a *absence) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.returning = slices.DeleteFunc(b.returning, func(o *absence) bool { return o == a })
	b.wake()
}

// back takes the Envoy that was cut first for returned. Callers hold mu.
func (b *ackBook) back() {
	if len(b.returning) > 0 {
		b.returning[0].late.Stop()
		b.returning = b.returning[1:]
	}
}

// OnDeltaStreamClosed is called when an Envoy is gone.
func (b *ackBook) OnDeltaStreamClosed(id int64, _ *corev3.Node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, id)
	b.wake()
}

// maxPending is how many answers one Envoy may owe; it owes one of each type, or
// a few when changes follow each other closely.
const maxPending = 50

// OnStreamDeltaResponse notes what is sent. A stream that asks and asks and
// answers nothing is cut.
func (b *ackBook) OnStreamDeltaResponse(id int64, _ *discoveryv3.DeltaDiscoveryRequest, r *discoveryv3.DeltaDiscoveryResponse) {
	a := &answer{typeURL: r.GetTypeUrl(), version: r.GetSystemVersionInfo(), set: map[string]string{}, removed: r.GetRemovedResources()}
	for _, item := range r.GetResources() {
		a.set[item.GetName()] = item.GetVersion()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.streams[id]; s != nil {
		a.of, a.target = b.installed, b.target
		s.pending[r.GetNonce()] = a
		if len(s.pending) > maxPending {
			b.cut(s)
		}
	}
}

// OnStreamDeltaRequest takes an Envoy's answer. The first request of a stream
// that was cut says what the Envoy still has. Of secrets it is not believed, and
// they are sent again: Envoy keeps one that it rejected, under the version of the one
// before, and would take the same for no change the next time.
func (b *ackBook) OnStreamDeltaRequest(id int64, q *discoveryv3.DeltaDiscoveryRequest) error {
	if q.GetTypeUrl() == resource.SecretType {
		q.InitialResourceVersions = nil
	}
	if initial := q.GetInitialResourceVersions(); len(initial) > 0 {
		b.mu.Lock()
		if s := b.streams[id]; s != nil {
			s.accepted[q.GetTypeUrl()] = maps.Clone(initial)
			b.wake()
		}
		b.mu.Unlock()
	}
	b.settle(id, q.GetResponseNonce(), q.GetNode().GetId(), q.GetErrorDetail())
	return nil
}

func (b *ackBook) settle(id int64, nonce, node string, rejection *statuspb.Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.streams[id]
	if s != nil && node != "" {
		s.node = node // only a stream's first request names it
	}
	if s == nil || s.pending[nonce] == nil {
		return
	}
	defer b.wake()
	a := s.pending[nonce]
	delete(s.pending, nonce)
	if rejection != nil {
		s.rejected = true
		nack := &Nack{Type: shortType(a.typeURL), Version: a.version, Node: s.node, Message: a.clean(rejection.GetMessage())}
		if a.target == b.target {
			b.nack = nack
		}
		b.onNack(*nack, a.of)
		return
	}
	if s.accepted[a.typeURL] == nil {
		s.accepted[a.typeURL] = map[string]string{}
	}
	maps.Copy(s.accepted[a.typeURL], a.set)
	for _, name := range a.removed {
		delete(s.accepted[a.typeURL], name)
	}
}

// maxNackMessage keeps a dump of the whole configuration out of the log.
const maxNackMessage = 2000

// clean takes the secrets of what was rejected out of Envoy's words.
func (a *answer) clean(message string) string {
	if a.of != nil {
		message = redact(message, a.of.secrets)
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

// setTarget begins a change: no answer to an earlier one counts for it.
func (b *ackBook) setTarget(s *Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.target, b.nack = s, nil
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
		if state.rejected {
			b.cut(state)
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

// alone reports whether no Envoy is connected, nor about to be again.
func (b *ackBook) alone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.nobody()
}

// nobody is alone for callers that hold mu.
func (b *ackBook) nobody() bool { return len(b.streams) == 0 && len(b.returning) == 0 }

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

// serving says why no Envoy can serve: none is connected, or none ever had a
// whole configuration; nil when one can.
func (b *ackBook) serving() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.target == nil {
		return errors.New("no configuration was rendered yet")
	}
	if b.nobody() {
		return errNoEnvoy
	}
	if b.served() {
		return nil
	}
	return cmp.Or(b.rejection(), errors.New("no Envoy has accepted the configuration yet"))
}

// served reports whether some Envoy has a whole configuration, cut or not. Callers
// hold mu.
func (b *ackBook) served() bool {
	for _, state := range b.streams {
		if state.serves {
			return true
		}
	}
	return slices.ContainsFunc(b.returning, func(a *absence) bool { return a.served })
}

// lagging says why the target is not in force everywhere; nil when it is.
func (b *ackBook) lagging() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.usable(b.target) {
		return nil
	}
	return cmp.Or(b.rejection(), errors.New("the newest configuration is not accepted by every Envoy yet"))
}

// rejection is the target's, if it has one. Callers hold mu.
func (b *ackBook) rejection() error {
	if b.nack == nil {
		return nil
	}
	return *b.nack
}

// quiet waits until every Envoy has answered what it was sent, so that no answer
// of before is taken for one to what comes next.
func (b *ackBook) quiet(ctx context.Context) {
	b.await(ctx, func() bool {
		for _, state := range b.streams {
			if len(state.pending) > 0 {
				return false
			}
		}
		return true
	})
}

// answerTo waits for the answer to a snapshot: nil once every connected Envoy, and
// each that was cut and is not late, has accepted it or none is there to ask, a Nack
// when one did not.
func (b *ackBook) answerTo(ctx context.Context, s *Snapshot) error {
	var answer error
	answered := b.await(ctx, func() bool {
		switch {
		case b.target != s:
			answer = errors.New("a newer configuration took its place")
		case b.nack != nil:
			answer = *b.nack
		default:
			return b.usable(s) && len(b.returning) == 0 || b.nobody()
		}
		return true
	})
	if !answered {
		return fmt.Errorf("wait for Envoy's answer: %w", ctx.Err())
	}
	return answer
}

// await blocks until something holds, which is looked at under mu whenever an
// answer arrives; false when ctx ended.
func (b *ackBook) await(ctx context.Context, holds func() bool) bool {
	for {
		b.mu.Lock()
		done, changed := holds(), b.changed
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

// everywhere reports whether every stream, and at least one, accepted all of a
// snapshot and holds no cluster besides, and nobody is about to be back. Callers hold
// mu.
func (b *ackBook) everywhere(want *Snapshot) bool {
	if !b.usable(want) || len(b.returning) > 0 {
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
		if !state.has(want) {
			return false
		}
	}
	return len(b.streams) > 0
}

// has reports whether the Envoy accepted all of a snapshot.
func (s *streamState) has(want *Snapshot) bool {
	for _, typeURL := range resourceTypes() {
		held := s.accepted[typeURL]
		for name, hash := range want.cache.GetVersionMap(typeURL) {
			if held[name] != hash {
				return false
			}
		}
	}
	return true
}

// wait blocks until a snapshot is accepted everywhere; false when ctx ended.
func (b *ackBook) wait(ctx context.Context, s *Snapshot) bool {
	return b.await(ctx, func() bool { return b.everywhere(s) })
}
