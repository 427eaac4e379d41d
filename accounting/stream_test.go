package accounting_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"aigateway/accounting"
	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/internal/envoytest"
	"aigateway/pricing"
)

// fakeStream plays messages to the service.
type fakeStream struct {
	grpc.ServerStream
	ctx      context.Context
	messages []*alsv3.StreamAccessLogsMessage
	end      error
	closed   bool
}

func (s *fakeStream) Context() context.Context { return s.ctx }

func (s *fakeStream) Recv() (*alsv3.StreamAccessLogsMessage, error) {
	if len(s.messages) == 0 {
		return nil, s.end
	}
	m := s.messages[0]
	s.messages = s.messages[1:]
	return m, nil
}

func (s *fakeStream) SendAndClose(*alsv3.StreamAccessLogsResponse) error {
	s.closed = true
	return nil
}

func play(t *testing.T, l accounting.Settler, entries ...*logv3.HTTPAccessLogEntry) func(name string, labels ...string) float64 {
	t.Helper()
	c, registry := config(t, l)
	stream := &fakeStream{ctx: t.Context(), end: io.EOF, messages: []*alsv3.StreamAccessLogsMessage{
		{Identifier: &alsv3.StreamAccessLogsMessage_Identifier{LogName: envoy.LogName}},
		{LogEntries: &alsv3.StreamAccessLogsMessage_TcpLogs{}},
		{LogEntries: &alsv3.StreamAccessLogsMessage_HttpLogs{HttpLogs: &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: entries}}},
	}}
	if err := newStream(t, c).StreamAccessLogs(stream); err != nil || !stream.closed {
		t.Fatalf("stream ended with %v, closed %v", err, stream.closed)
	}
	return func(name string, labels ...string) float64 { return counted(t, registry, name, labels...) }
}

// entry is an answered call in the stream, with changes.
func entry(t *testing.T, id int, changes ...func(*logv3.HTTPAccessLogEntry)) *logv3.HTTPAccessLogEntry {
	t.Helper()
	e := &logv3.HTTPAccessLogEntry{
		CommonProperties: &logv3.AccessLogCommon{
			StartTime: timestamppb.New(noon), Duration: durationpb.New(1500 * time.Millisecond),
			TimeToFirstUpstreamTxByte: durationpb.New(time.Millisecond),
			AccessLogType:             logv3.AccessLogType_DownstreamEnd, UpstreamCluster: "moonshot",
			Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
				envoy.NamespaceDecision: envoytest.Metadata(envoy.Decision{Token: token(t, id)}),
			}},
		},
		Request: &logv3.HTTPRequestProperties{RequestId: fmt.Sprintf("req-%d", id)},
		Response: &logv3.HTTPResponseProperties{
			ResponseCode: wrapperspb.UInt32(200), ResponseCodeDetails: "via_upstream",
			ResponseHeaders: map[string]string{"content-type": "application/json"},
		},
	}
	for _, change := range changes {
		change(e)
	}
	return e
}

func kind(k logv3.AccessLogType) func(*logv3.HTTPAccessLogEntry) {
	return func(e *logv3.HTTPAccessLogEntry) { e.CommonProperties.AccessLogType = k }
}

func withoutToken(e *logv3.HTTPAccessLogEntry) { e.CommonProperties.Metadata = nil }

func unsent(e *logv3.HTTPAccessLogEntry) { e.CommonProperties.TimeToFirstUpstreamTxByte = nil }

func answered(code uint32, details string) func(*logv3.HTTPAccessLogEntry) {
	return func(e *logv3.HTTPAccessLogEntry) {
		e.Response.ResponseCode, e.Response.ResponseCodeDetails = wrapperspb.UInt32(code), details
	}
}

func forged(e *logv3.HTTPAccessLogEntry) {
	e.CommonProperties.Metadata.FilterMetadata[envoy.NamespaceDecision] = envoytest.Metadata(envoy.Decision{Token: "AAAA"})
}

func TestStreamSettlesEndsAndExtendsTheRest(t *testing.T) {
	l := &fakeLedger{}
	count := play(t, l,
		entry(t, 1), entry(t, 2, kind(logv3.AccessLogType_DownstreamPeriodic)), entry(t, 3, kind(logv3.AccessLogType_DownstreamStart)),
		entry(t, 4, kind(logv3.AccessLogType_NotSet)), entry(t, 1), entry(t, 5),
	)
	if diff := cmp.Diff([]int{1, 5}, l.ids()); diff != "" {
		t.Errorf("settled -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]budget.ReservationID{2}, l.heartbeats); diff != "" {
		t.Errorf("heartbeats -want +got:\n%s", diff)
	}
	s := l.settled[0]
	want := &budget.Reservation{
		ID: 1, ReservedAt: s.Reservation.ReservedAt, Bound: 1000, Accounts: []int64{1},
		Attribution: budget.Attribution{KeyID: "key_1", Tag: "a", Model: "moonshot/kimi-k2.6", Provider: "moonshot"},
	}
	if diff := cmp.Diff(want, s.Reservation); diff != "" || !s.Reservation.ReservedAt.Equal(noon) {
		t.Errorf("reservation -want +got:\n%s", diff)
	}
	if s.RequestID != "req-1" || !s.At.Equal(noon.Add(1500*time.Millisecond)) {
		t.Errorf("settled %q at %v", s.RequestID, s.At)
	}
	for kind, want := range map[string]float64{"end": 3, "periodic": 1, "other": 2} {
		if got := count("aig_log_entries_total", "stream", kind); got != want {
			t.Errorf("%v entries of kind %s, want %v", got, kind, want)
		}
	}
	if got := count("aig_log_duplicates_total", "stream"); got != 1 {
		t.Errorf("%v duplicates, want 1", got)
	}
}

func TestEntryWithoutAToken(t *testing.T) {
	uaex := func(e *logv3.HTTPAccessLogEntry) {
		e.CommonProperties.ResponseFlags = &logv3.ResponseFlags{UnauthorizedDetails: &logv3.ResponseFlags_Unauthorized{}}
	}
	tests := []struct {
		name    string
		changes []func(*logv3.HTTPAccessLogEntry)
		basis   budget.Basis // empty: not settled
	}{
		{"refused by us", []func(*logv3.HTTPAccessLogEntry){withoutToken, unsent, uaex, answered(402, "ext_authz_denied")}, ""},
		{"check timed out", []func(*logv3.HTTPAccessLogEntry){withoutToken, unsent, uaex, answered(503, "ext_authz_error")}, budget.BasisReleased},
		{"client left during the check", []func(*logv3.HTTPAccessLogEntry){withoutToken, unsent, answered(0, "downstream_remote_disconnect")}, budget.BasisReleased},
		{"check failed", []func(*logv3.HTTPAccessLogEntry){withoutToken, unsent, uaex, answered(500, "ext_authz_denied")}, budget.BasisReleased},
		{"forged and sent", []func(*logv3.HTTPAccessLogEntry){forged}, budget.BasisBound},
		{"forged, not sent", []func(*logv3.HTTPAccessLogEntry){forged, unsent, answered(503, "no_healthy_upstream")}, budget.BasisReleased},
		{"our own REST", []func(*logv3.HTTPAccessLogEntry){withoutToken, func(e *logv3.HTTPAccessLogEntry) {
			e.CommonProperties.UpstreamCluster = envoy.ClusterREST
		}}, ""},
		{"nothing at all", []func(*logv3.HTTPAccessLogEntry){withoutToken, unsent, func(e *logv3.HTTPAccessLogEntry) { e.Request = nil }}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &fakeLedger{}
			play(t, l, entry(t, 1, tt.changes...))
			if tt.basis == "" {
				if len(l.settled) != 0 {
					t.Errorf("settled %+v", l.settled)
				}
				return
			}
			if len(l.settled) != 1 || l.settled[0].Reservation != nil || l.settled[0].Basis != tt.basis || l.settled[0].RequestID != "req-1" {
				t.Errorf("settled %+v, want %s by request id", l.settled, tt.basis)
			}
		})
	}
}

func TestForgedTokenIsCountedAndExtendsNothing(t *testing.T) {
	l := &fakeLedger{}
	count := play(t, l, entry(t, 1, forged, kind(logv3.AccessLogType_DownstreamPeriodic)))
	if len(l.heartbeats) != 0 || count("aig_log_tokens_rejected_total", "stream") != 1 {
		t.Errorf("heartbeats %v, %v rejected", l.heartbeats, count("aig_log_tokens_rejected_total", "stream"))
	}
}

func TestBadEntryDoesNotEndTheStream(t *testing.T) {
	l := &fakeLedger{}
	bad := entry(t, 1)
	bad.CommonProperties.Metadata.FilterMetadata[envoy.NamespaceReport] = &structpb.Struct{
		Fields: map[string]*structpb.Value{envoy.KeyReport: structpb.NewNumberValue(1)},
	}
	count := play(t, l, bad, nil, &logv3.HTTPAccessLogEntry{}, entry(t, 2))
	if diff := cmp.Diff([]int{2}, l.ids()); diff != "" || count("aig_log_malformed_total", "stream") != 1 {
		t.Errorf("settled -want +got:\n%s", diff)
	}
}

func TestLedgerErrorDoesNotEndTheStream(t *testing.T) {
	l := &fakeLedger{fail: errors.New("disk full")}
	count := play(t, l, entry(t, 1), entry(t, 2))
	if l.streamed != 2 || count("aig_log_unsettled_total", "stream") != 2 {
		t.Errorf("%d calls, want both entries tried and counted", l.streamed)
	}
}

func TestBrokenStreamIsAnError(t *testing.T) {
	c, _ := config(t, &fakeLedger{})
	broken := errors.New("connection reset")
	if err := newStream(t, c).StreamAccessLogs(&fakeStream{ctx: t.Context(), end: broken}); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}

func TestEvidence(t *testing.T) {
	base := envoy.LogLine{RequestID: "r", Start: noon, Duration: time.Second, Code: 200, Details: "via_upstream", Sent: true, Cluster: "moonshot"}
	tests := []struct {
		name   string
		change func(*envoy.LogLine)
		want   pricing.Evidence
	}{
		{"answered", func(l *envoy.LogLine) {
			l.Report = envoy.Report{Usage: "{}", FirstUsage: "{}", Model: `"m"`, ServiceTier: `"t"`, ToolUsage: "{}", Done: true,
				OtherUsage: []string{"{}"}, Many: true, Finished: 2, Output: true, Unread: true, Framing: envoy.FramingJSON, Seen: 77, SeenAt: noon.Add(time.Second), AnswerID: "a", ItemIDs: []string{"i"}}
		}, pricing.Evidence{
			Sent: true, Status: 200, Duration: time.Second, Done: true,
			Usage: "{}", FirstUsage: "{}", Model: `"m"`, ServiceTier: `"t"`, ToolUsage: "{}",
			OtherUsage: []string{"{}"}, Many: true, Finished: 2, Output: true, Unread: true, Seen: 77, SeenAt: noon.Add(time.Second),
		}},
		{"stream", func(l *envoy.LogLine) { l.ContentType = "text/event-stream; charset=utf-8" },
			pricing.Evidence{Sent: true, Status: 200, Duration: time.Second, Stream: true}},
		{"connect failure", func(l *envoy.LogLine) {
			l.Sent, l.Code, l.Details, l.Flags = false, 503, "upstream_reset_before_response_started{connection_failure}", "UF,URX"
		},
			pricing.Evidence{Duration: time.Second}},
		{"provider's error", func(l *envoy.LogLine) { l.Code, l.UpstreamStatus = 429, 429 },
			pricing.Evidence{Sent: true, Status: 429, Duration: time.Second}},
		{"provider's 401, shown as 502", func(l *envoy.LogLine) { l.Code, l.UpstreamStatus = 502, 401 },
			pricing.Evidence{Sent: true, Status: 401, Duration: time.Second}},
		{"provider's error without a report", func(l *envoy.LogLine) { l.Code = 500 },
			pricing.Evidence{Sent: true, Status: 500, Duration: time.Second}},
		{"Envoy's error after sending", func(l *envoy.LogLine) {
			l.Code, l.Details, l.Flags = 503, "upstream_reset_before_response_started{connection_termination}", "UC"
		},
			pricing.Evidence{Sent: true, Cut: true, Duration: time.Second}},
		{"idle timeout", func(l *envoy.LogLine) { l.Code, l.Details, l.Flags = 504, "stream_idle_timeout", "SI" },
			pricing.Evidence{Sent: true, Duration: time.Second}},
		{"maximum duration of a stream", func(l *envoy.LogLine) {
			l.Details, l.Flags, l.ContentType = "upstream_max_stream_duration_reached", "UMSDR,LR", "text/event-stream"
		},
			pricing.Evidence{Sent: true, Status: 200, Stream: true, Duration: time.Second}},
		{"client left", func(l *envoy.LogLine) { l.Details, l.Flags = "downstream_remote_disconnect", "DC" },
			pricing.Evidence{Sent: true, Status: 200, Cut: true, Duration: time.Second}},
		{"client left before the answer", func(l *envoy.LogLine) { l.Code, l.Details, l.Flags = 0, "downstream_remote_disconnect", "DC" },
			pricing.Evidence{Sent: true, Cut: true, Duration: time.Second}},
		{"provider broke off", func(l *envoy.LogLine) {
			l.Details, l.Flags = "upstream_reset_after_response_started{remote_reset}", "UR"
		},
			pricing.Evidence{Sent: true, Status: 200, Cut: true, Duration: time.Second}},
		{"answered without a first byte", func(l *envoy.LogLine) { l.Sent, l.Code = false, 400 },
			pricing.Evidence{Sent: true, Status: 400, Duration: time.Second}},
		{"stopped before it was sent", func(l *envoy.LogLine) {
			l.Sent, l.Code, l.Details, l.UpstreamStatus = false, 502, "rbac_access_denied_matched_policy[edit-missing]", 403
		},
			pricing.Evidence{Status: 403, Duration: time.Second}},
		{"no duration", func(l *envoy.LogLine) { l.Duration, l.Start = 0, noon.Add(-time.Minute) },
			pricing.Evidence{Sent: true, Status: 200, Duration: time.Minute}},
		{"no times", func(l *envoy.LogLine) { l.Duration, l.Start = 0, time.Time{} },
			pricing.Evidence{Sent: true, Status: 200, Duration: 24 * time.Hour}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := base
			tt.change(&l)
			if diff := cmp.Diff(tt.want, accounting.Evidence(&l, noon)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
