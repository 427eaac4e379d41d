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
)

// Stream is the access log service that Envoy streams to. It is safe for
// concurrent use. What it misses, the file has.
type Stream struct {
	alsv3.UnimplementedAccessLogServiceServer
	channel
}

// NewStream returns the service.
func NewStream(c Config) *Stream { return &Stream{channel: newChannel(c, "stream")} }

// StreamAccessLogs settles what ends and extends what goes on. An entry that
// cannot be read or settled is counted and left to the file; the stream goes
// on, for it carries those of everybody else.
func (s *Stream) StreamAccessLogs(stream alsv3.AccessLogService_StreamAccessLogsServer) error {
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&alsv3.StreamAccessLogsResponse{})
		}
		if err != nil {
			return fmt.Errorf("receive access log entries: %w", err)
		}
		for _, e := range msg.GetHttpLogs().GetLogEntry() {
			l, err := envoy.FromStream(e)
			s.take(stream.Context(), e.GetCommonProperties().GetAccessLogType(), &l, err)
		}
	}
}

// Register adds the service to r, whose codec must let a message read itself
// (extauthz.ServerOptions). It serves the same method as
// alsv3.RegisterAccessLogServiceServer, without decoding entries into objects.
func (s *Stream) Register(r grpc.ServiceRegistrar) {
	desc := alsv3.AccessLogService_ServiceDesc
	r.RegisterService(&grpc.ServiceDesc{
		ServiceName: desc.ServiceName,
		HandlerType: desc.HandlerType,
		Streams:     []grpc.StreamDesc{{StreamName: "StreamAccessLogs", Handler: streamHandler, ClientStreams: true}},
		Metadata:    desc.Metadata,
	}, s)
}

func streamHandler(srv any, stream grpc.ServerStream) error {
	s, ok := srv.(*Stream)
	if !ok {
		return errors.New("the access log service is not an accounting.Stream")
	}
	var m message
	for {
		err := stream.RecvMsg(&m)
		if errors.Is(err, io.EOF) {
			return stream.SendMsg(&alsv3.StreamAccessLogsResponse{})
		}
		if err != nil {
			return fmt.Errorf("receive access log entries: %w", err)
		}
		for _, e := range m.entries {
			kind, l, err := readEntry(e)
			s.take(stream.Context(), kind, &l, err)
		}
		m.release()
	}
}

// take handles one entry; err says that it could not be read.
func (s *Stream) take(ctx context.Context, kind logv3.AccessLogType, l *envoy.LogLine, err error) {
	switch {
	case kind != logv3.AccessLogType_DownstreamEnd && kind != logv3.AccessLogType_DownstreamPeriodic:
		s.metrics.other.Inc()
	case err != nil:
		s.metrics.malformed.Inc()
	case kind == logv3.AccessLogType_DownstreamPeriodic:
		s.metrics.periodic.Inc()
		s.heartbeat(l)
	default:
		s.metrics.ended.Inc()
		s.settle(ctx, l)
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
