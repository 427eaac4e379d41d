package accounting

import (
	"errors"
	"fmt"
	"io"

	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"

	"aigateway/budget"
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
			s.entry(stream, e)
		}
	}
}

func (s *Stream) entry(stream alsv3.AccessLogService_StreamAccessLogsServer, e *logv3.HTTPAccessLogEntry) {
	kind := e.GetCommonProperties().GetAccessLogType()
	if kind != logv3.AccessLogType_DownstreamEnd && kind != logv3.AccessLogType_DownstreamPeriodic {
		s.metrics.other.Inc()
		return
	}
	l, err := envoy.FromStream(e)
	if err != nil {
		s.metrics.malformed.Inc()
		return
	}
	if kind == logv3.AccessLogType_DownstreamPeriodic {
		s.metrics.periodic.Inc()
		s.heartbeat(&l)
		return
	}
	s.metrics.ended.Inc()
	settlement, ok := s.settlement(&l)
	if !ok {
		return
	}
	if err := s.settle(stream, settlement); err != nil {
		s.metrics.unsettled.Inc()
		s.log.Error("settle a call", "request_id", l.RequestID, "err", err)
	}
}

func (s *Stream) settle(stream alsv3.AccessLogService_StreamAccessLogsServer, settlement budget.Settlement) error {
	return s.ledger.Settle(stream.Context(), settlement)
}
