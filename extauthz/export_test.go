package extauthz

import (
	"context"

	"google.golang.org/grpc/mem"

	"aigateway/envoy"
)

// HeaderFacts is one header as the projection saw it.
type HeaderFacts struct {
	Value string
	N     int
}

// Facts is everything the projection of a CheckRequest took.
type Facts struct {
	Headers map[string]HeaderFacts
	Raw     bool
	Method  string
	API     string
	Body    string
}

// HeaderNames are the headers that decide.
var HeaderNames = []string{
	"x-request-id", "authorization", "x-api-key", "x-aig-tag", "content-type", "content-encoding",
	"content-length", "upgrade", "x-envoy-auth-partial-body", "anthropic-beta",
}

// ReadFacts projects a CheckRequest, through the codec.
func ReadFacts(msg []byte) (Facts, error) {
	var in checkRequest
	defer in.release()
	if err := newCodec().Unmarshal(mem.BufferSlice{mem.SliceBuffer(msg)}, &in); err != nil {
		return Facts{}, err
	}
	f := Facts{Headers: map[string]HeaderFacts{}, Raw: in.raw, Method: string(in.method), API: string(in.api), Body: string(in.body())}
	for _, name := range HeaderNames {
		if h := in.headers.at([]byte(name)); h.n > 0 {
			f.Headers[name] = HeaderFacts{string(h.value), h.n}
		}
	}
	return f, nil
}

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
	if err := in.read(msg); err != nil {
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
