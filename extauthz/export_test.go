package extauthz

import (
	"context"
	"fmt"
	"hash/maphash"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/proto"

	"aigateway/budget"
	"aigateway/envoy"
)

// EncodeOK encodes a yes without a budget.
func EncodeOK(requestID, provider string, d envoy.Decision) []byte {
	b, err := (&answer{requestID: requestID, provider: provider, decision: d}).AppendWire(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// CheckWire is the hot path without gRPC: bytes in, bytes out.
func (s *Server) CheckWire(ctx context.Context, msg, dst []byte) ([]byte, error) {
	var in request
	if err := in.Read(msg); err != nil {
		return nil, err
	}
	return s.check(ctx, &in).AppendWire(dst)
}

// Bodies gives turns to large bodies, for most bytes held.
func Bodies(most int64) func(ctx context.Context, key string, size int) (leave func(), err error) {
	return newBodies(most).enter
}

// LargeBody is the size from which a body waits for its turn.
const LargeBody = largeBody

// Check decides one call on the generated types; the error says that no message
// could be read.
func (s *Server) Check(ctx context.Context, in *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	msg, err := proto.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode check request: %w", err)
	}
	var r request
	if err := r.Read(msg); err != nil {
		return nil, err
	}
	msg, err = s.check(ctx, &r).AppendWire(nil)
	if err != nil {
		return nil, err
	}
	out := new(authv3.CheckResponse)
	if err := proto.Unmarshal(msg, out); err != nil {
		return nil, fmt.Errorf("decode check response: %w", err)
	}
	return out, nil
}

// BodiesAndKeys is Bodies, and how many keys it keeps.
func BodiesAndKeys(most int64) (enter func(ctx context.Context, key string, size int) (leave func(), err error), keys func() int) {
	b := newBodies(most)
	return b.enter, func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.keys)
	}
}

// CountDifferent counts n different refusals at once.
func CountDifferent(n int) []budget.Refused {
	var c refusedCounts
	for i := range n {
		c.add(maphash.MakeSeed(), &refusedCall{body: uint64(i)})
	}
	return c.take()
}

// Remembers is how many bytes of conversations s remembers.
func (s *Server) Remembers() int64 { return s.memory.Size() }
