package wire_test

import (
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	logv3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"aigateway/envoy"
	"aigateway/envoy/wire"
	"aigateway/internal/envoytest"
)

func httpMessage(entries ...*logv3.HTTPAccessLogEntry) *alsv3.StreamAccessLogsMessage {
	return &alsv3.StreamAccessLogsMessage{LogEntries: &alsv3.StreamAccessLogsMessage_HttpLogs{
		HttpLogs: &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: entries},
	}}
}

// full is an entry with everything Envoy fills in.
func full(t testing.TB) *logv3.HTTPAccessLogEntry {
	t.Helper()
	report, err := structpb.NewStruct(map[string]any{envoy.KeyReport: envoytest.ReportText(envoy.Report{
		Usage: `{"prompt_tokens":9,"completion_tokens":12,"total_tokens":21}`, FirstUsage: "{}", Model: `"kimi-k2.6"`, ServiceTier: `"default"`,
		OtherUsage: []string{`{"a":1}`, "{}"}, Many: true, Finished: 3, Output: true, Framing: envoy.FramingEvents, Unread: true,
		AnswerID: "resp_1", ItemIDs: []string{"rs_1", "msg_2"}, ToolUsage: "{}", Done: true, UpstreamStatus: 429,
	}), "schema": "1"})
	if err != nil {
		t.Fatal(err)
	}
	address := &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "127.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 8080}}}}
	return &logv3.HTTPAccessLogEntry{
		ProtocolVersion: logv3.HTTPAccessLogEntry_HTTP11,
		CommonProperties: &logv3.AccessLogCommon{
			SampleRate: 1, DownstreamRemoteAddress: address, DownstreamLocalAddress: address, UpstreamRemoteAddress: address,
			StartTime: timestamppb.New(time.Unix(1_790_000_000, 123456789)), Duration: durationpb.New(1500 * time.Millisecond),
			TimeToLastRxByte: durationpb.New(1), TimeToFirstUpstreamTxByte: durationpb.New(2), TimeToLastDownstreamTxByte: durationpb.New(3),
			UpstreamCluster: "moonshot", RouteName: "moonshot-chat", UpstreamRequestAttemptCount: 2,
			ResponseFlags: &logv3.ResponseFlags{DownstreamConnectionTermination: true, UpstreamRetryLimitExceeded: true},
			StreamId:      "s", AccessLogType: logv3.AccessLogType_DownstreamEnd,
			Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
				envoy.NamespaceDecision: envoytest.Metadata(envoy.Decision{Token: "token", Edits: []envoy.Edit{{Ins: "x"}}}),
				envoy.NamespaceReport:   report,
				"another":               {},
			}},
		},
		Request: &logv3.HTTPRequestProperties{
			RequestId: "req-1", Path: "/v1/chat/completions", UserAgent: "OpenAI/Python 3.54.0", Authority: "localhost", RequestBodyBytes: 1024,
		},
		Response: &logv3.HTTPResponseProperties{
			ResponseCode: wrapperspb.UInt32(502), ResponseCodeDetails: "via_upstream", ResponseBodyBytes: 4096,
			ResponseHeaders: map[string]string{"content-type": "text/event-stream", "content-encoding": "identity"},
		},
	}
}

// entry is an entry as it was read.
type entry struct {
	wire.Entry
	Bad bool
}

// readMessage reads a message of the stream as the server does.
func readMessage(msg []byte) ([]entry, error) {
	var m wire.LogMessage
	defer m.Release()
	if err := m.ReadWire(mem.BufferSlice{mem.SliceBuffer(msg)}); err != nil {
		return nil, err
	}
	var out []entry
	for _, e := range m.Entries {
		got, err := wire.ReadEntry(e)
		out = append(out, entry{got, err != nil})
	}
	return out, nil
}

func FuzzStreamCodec(f *testing.F) {
	wrong := full(f)
	wrong.CommonProperties.Metadata.FilterMetadata[envoy.NamespaceReport].Fields[envoy.KeyReport] = structpb.NewStringValue("done 5:true")
	odd := full(f)
	odd.CommonProperties.Metadata.FilterMetadata[envoy.NamespaceReport].Fields[envoy.KeyReport] = structpb.NewNumberValue(1.5)
	odd.CommonProperties.Metadata.FilterMetadata[envoy.NamespaceDecision].Fields["rsv"] = structpb.NewNullValue()
	for _, m := range []*alsv3.StreamAccessLogsMessage{
		{}, httpMessage(full(f)), httpMessage(full(f), &logv3.HTTPAccessLogEntry{}, full(f)), httpMessage(wrong), httpMessage(odd),
		{LogEntries: &alsv3.StreamAccessLogsMessage_TcpLogs{TcpLogs: &alsv3.StreamAccessLogsMessage_TCPAccessLogEntries{}}},
	} {
		msg, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg, msg)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		msg := append(append([]byte{}, first...), second...) // two messages merge
		var in alsv3.StreamAccessLogsMessage
		if proto.Unmarshal(msg, &in) != nil {
			return // the projection may be more lenient on what it does not read
		}
		var want []entry
		for _, e := range in.GetHttpLogs().GetLogEntry() {
			line, err := envoytest.FromStream(e)
			want = append(want, entry{wire.Entry{Kind: e.GetCommonProperties().GetAccessLogType(), Line: line}, err != nil})
		}
		got, err := readMessage(msg)
		if err != nil {
			t.Fatalf("the projection refuses what protobuf accepts: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("generated (-) and projected (+) differ:\n%s", diff)
		}
	})
}

func BenchmarkReadEntry(b *testing.B) {
	msg, err := proto.Marshal(httpMessage(full(b)))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("projected", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if got, err := readMessage(msg); err != nil || len(got) != 1 || got[0].Bad {
				b.Fatal(got, err)
			}
		}
	})
	b.Run("generated", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var in alsv3.StreamAccessLogsMessage
			if err := proto.Unmarshal(msg, &in); err != nil {
				b.Fatal(err)
			}
			if _, err := envoytest.FromStream(in.GetHttpLogs().GetLogEntry()[0]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestFlagText(t *testing.T) {
	got := wire.FlagText(&logv3.ResponseFlags{
		UpstreamConnectionFailure: true, UpstreamRetryLimitExceeded: true, UnauthorizedDetails: &logv3.ResponseFlags_Unauthorized{},
	})
	if want := "UF,UAEX,URX"; got != want {
		t.Errorf("FlagText = %q, want %q", got, want)
	}
	if got := wire.FlagText(nil); got != "" {
		t.Errorf("FlagText(nil) = %q", got)
	}
}
