package accounting

import (
	"context"
	"errors"
	"fmt"
	"io"

	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc"

	"aigateway/envoy"
	"aigateway/envoy/wire"
	"aigateway/metricset"
)

// Stream is the access log service that Envoy streams to. It is safe for
// concurrent use. What it misses, the file has.
type Stream struct {
	channel
}

// NewStream returns the service.
func NewStream(c Config) (*Stream, error) {
	set := metricset.New(c.Metrics)
	return &Stream{channel: newChannel(c, set, "stream")}, set.Done()
}

// Register adds the service to r, which must have been made with
// wire.ServerOptions. It serves the same method as
// alsv3.RegisterAccessLogServiceServer, without decoding entries into objects:
// that costs several times as much as settling them, and one text that is not
// UTF-8, from a provider's answer, would make the generated decoder refuse the
// batch and end the stream.
func (s *Stream) Register(r grpc.ServiceRegistrar) {
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: alsv3.AccessLogService_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "StreamAccessLogs", ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return s.serve(stream) }}},
		Metadata: alsv3.AccessLogService_ServiceDesc.Metadata,
	}, s)
}

// serve settles what ends and extends what goes on. An entry that cannot be read
// or settled is counted and left to the file; the stream goes on, for it carries
// those of everybody else.
func (s *Stream) serve(stream grpc.ServerStream) error {
	var m wire.LogMessage
	for {
		err := stream.RecvMsg(&m)
		if errors.Is(err, io.EOF) {
			return stream.SendMsg(&alsv3.StreamAccessLogsResponse{})
		}
		if err != nil {
			return fmt.Errorf("receive access log entries: %w", err)
		}
		for _, msg := range m.Entries {
			e, err := wire.ReadEntry(msg)
			s.take(stream.Context(), &e, err)
		}
		m.Release()
	}
}

// take handles one entry; err says that it could not be read.
func (s *Stream) take(ctx context.Context, e *wire.Entry, err error) {
	switch kind := e.Kind; {
	case kind != logv3.AccessLogType_DownstreamEnd && kind != logv3.AccessLogType_DownstreamPeriodic:
		s.metrics.other.Inc()
	case err != nil:
		s.metrics.malformed.Inc()
	case kind == logv3.AccessLogType_DownstreamPeriodic:
		s.metrics.periodic.Inc()
		s.heartbeat(&e.Line)
	default:
		s.metrics.ended.Inc()
		s.settle(ctx, &e.Line)
	}
}

func (s *Stream) settle(ctx context.Context, l *envoy.LogLine) {
	settlement, ok := s.settlement(l)
	if !ok {
		return
	}
	if err := s.ledger.Settle(ctx, settlement); err != nil {
		s.metrics.unsettled.Inc()
		s.log.Error("settle a call", "request_id", l.RequestID, "err", err)
	}
}
