package gatewayconfig

import (
	"context"
	"io"
	"sync"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// deltaStream is an Envoy's stream that the server can end: the library reads
// it until Recv fails, and the client then connects again.
type deltaStream struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	received chan *discoveryv3.DeltaDiscoveryRequest // closed when the peer is gone
	ended    chan struct{}
	once     sync.Once
}

type deltaStreamKey struct{}

// deltaStreamOf finds the stream in its own context; nil for other streams.
func deltaStreamOf(ctx context.Context) *deltaStream {
	s, _ := ctx.Value(deltaStreamKey{}).(*deltaStream)
	return s
}

func newDeltaStream(inner discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) *deltaStream {
	s := &deltaStream{
		AggregatedDiscoveryService_DeltaAggregatedResourcesServer: inner,
		received: make(chan *discoveryv3.DeltaDiscoveryRequest),
		ended:    make(chan struct{}),
	}
	go s.receive()
	return s
}

// receive ends with the stream: gRPC fails Recv once the handler has returned.
func (s *deltaStream) receive() {
	defer close(s.received)
	for {
		request, err := s.AggregatedDiscoveryService_DeltaAggregatedResourcesServer.Recv()
		if err != nil {
			return
		}
		select {
		case s.received <- request:
		case <-s.ended:
			return
		case <-s.AggregatedDiscoveryService_DeltaAggregatedResourcesServer.Context().Done():
			return
		}
	}
}

// Context carries the stream itself, for the callback that books it.
func (s *deltaStream) Context() context.Context {
	return context.WithValue(s.AggregatedDiscoveryService_DeltaAggregatedResourcesServer.Context(), deltaStreamKey{}, s)
}

// Recv returns the next request, or io.EOF once the stream is ended.
func (s *deltaStream) Recv() (*discoveryv3.DeltaDiscoveryRequest, error) {
	select {
	case request, open := <-s.received:
		if open {
			return request, nil
		}
		return nil, io.EOF
	case <-s.ended:
		return nil, io.EOF
	}
}

// end reports whether it ended the stream, which it does once.
func (s *deltaStream) end() (first bool) {
	s.once.Do(func() {
		close(s.ended)
		first = true
	})
	return first
}
