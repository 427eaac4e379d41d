package wire

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec this one falls back to
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
)

// Reader is a message that reads itself from the wire, taking what it needs and
// nothing else. data is freed after the call; a reader that keeps parts of it
// holds its own reference.
type Reader interface {
	ReadWire(data mem.BufferSlice) error
}

// Writer is a message that writes itself.
type Writer interface {
	AppendWire(dst []byte) ([]byte, error)
}

// codec is the protobuf codec of the control server. Messages that implement
// Reader or Writer read and write themselves, all others are generated types
// and take gRPC's own codec: decoding a CheckRequest into objects would cost
// more than the decision.
type codec struct{ fallback encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2("proto")} }

// Name is part of the content type; the bytes are protobuf in either case.
func (codec) Name() string { return "proto" }

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	w, ok := v.(Writer)
	if !ok {
		return c.fallback.Marshal(v)
	}
	b, err := w.AppendWire(make([]byte, 0, 1024))
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	if r, ok := v.(Reader); ok {
		return r.ReadWire(data)
	}
	return c.fallback.Unmarshal(data, v)
}

const (
	maxMessage   = 40 << 20 // the largest body a configuration allows, 32 MiB, and its headers
	streamWindow = 16 << 20
	connWindow   = 64 << 20
	buffer       = 64 << 10
	workers      = 32
)

// ServerOptions are the options of the gRPC server that Envoy calls, for every
// service on it.
//
// Static windows keep a large body from waiting for window updates, which was
// most of the cost of bodies over 16 KiB. Workers keep their grown stacks
// between calls. The enforcement policy allows Envoy's keepalive, which pings
// each ten seconds also when idle. A body may be over gRPC's default limit of
// 4 MiB.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.StaticStreamWindowSize(streamWindow),
		grpc.StaticConnWindowSize(connWindow),
		grpc.ReadBufferSize(buffer),
		grpc.WriteBufferSize(buffer),
		grpc.NumStreamWorkers(workers),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 2 * time.Second, PermitWithoutStream: true}),
	}
}
