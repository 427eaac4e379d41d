package envoy

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	logdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	grpclogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/grpc/v3"
	inspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/http_inspector/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	uuidv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/request_id/uuid/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// statPrefix names the client listener's statistics: http.clients.*.
const statPrefix = "clients"

// readBytes is what Envoy reads of a connection before it looks at the others, and
// what it keeps for one that does not read its answer: as Envoy's documentation has it
// for an edge, "Configuring Envoy as an edge proxy". A thousand streams of HTTP/2 that
// are opened and reset fit into it.
const readBytes = 32 << 10

func (b *builder) listener() *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:                          listenerClients,
		Address:                       b.address(b.c.ClientsAddress),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(readBytes),
		// A connection that says nothing is not made before it does, and is closed:
		// the inspector waits for its first line.
		ListenerFilters:        []*listenerv3.ListenerFilter{b.inspector()},
		ListenerFiltersTimeout: durationpb.New(b.c.FirstByteTimeout),
		FilterChains: []*listenerv3.FilterChain{
			// An HTTP/2 connection says that it ends and no request is lost by it, so
			// one without any is not kept. A client of HTTP/1 may be sending the next.
			b.chain("http2", &listenerv3.FilterChainMatch{ApplicationProtocols: []string{b.http2()}}, b.c.FirstByteTimeout),
			b.chain("http1", nil, time.Hour),
		},
	}
}

// http2 is what the inspector calls HTTP/2, told by TLS or by its first line.
func (b *builder) http2() string {
	if b.c.ClientsTLS != nil {
		return "h2"
	}
	return "h2c"
}

// inspector waits for what a connection begins with.
func (b *builder) inspector() *listenerv3.ListenerFilter {
	if b.c.ClientsTLS != nil {
		return &listenerv3.ListenerFilter{
			Name:       "envoy.filters.listener.tls_inspector",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: b.any(&tlsinspectorv3.TlsInspector{})},
		}
	}
	return &listenerv3.ListenerFilter{
		Name:       "envoy.filters.listener.http_inspector",
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: b.any(&inspectorv3.HttpInspector{})},
	}
}

// chain serves connections that match; idle is how long one may be without a
// request.
func (b *builder) chain(name string, match *listenerv3.FilterChainMatch, idle time.Duration) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name: name, FilterChainMatch: match, TransportSocket: b.clientsTLS(name),
		Filters: []*listenerv3.Filter{{
			Name:       "envoy.filters.network.http_connection_manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: b.any(b.manager(idle))},
		}},
	}
}

func (b *builder) manager(idle time.Duration) *hcmv3.HttpConnectionManager {
	return &hcmv3.HttpConnectionManager{
		StatPrefix: statPrefix,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			RouteConfigName: RouteConfig, ConfigSource: adsSource(),
		}},
		UseRemoteAddress: wrapperspb.Bool(true),
		NormalizePath:    wrapperspb.Bool(true),
		MergeSlashes:     true,
		// SDKs escape the slash in the name of a model. What is unescaped is what
		// routes match and what goes on.
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD,
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:       durationpb.New(idle), // between requests of a connection
			MaxStreamDuration: durationpb.New(b.c.MaxStreamDuration),
			// Some servers read x_api_key as x-api-key; we would not strip it.
			HeadersWithUnderscoresAction: corev3.HttpProtocolOptions_DROP_HEADER,
		},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:        u32(b.c.MaxStreams),
			InitialStreamWindowSize:     wrapperspb.UInt32(1 << 20),
			InitialConnectionWindowSize: wrapperspb.UInt32(16 << 20),
		},
		StreamIdleTimeout:     durationpb.New(b.c.StreamIdleTimeout),
		RequestTimeout:        durationpb.New(RequestTimeout),
		RequestHeadersTimeout: durationpb.New(b.c.FirstByteTimeout),
		RequestIdExtension: &hcmv3.RequestIDExtension{TypedConfig: b.any(&uuidv3.UuidRequestIdConfig{
			PackTraceReason: wrapperspb.Bool(false), // leave the id a plain random UUID
		})},
		EarlyHeaderMutationExtensions: []*corev3.TypedExtensionConfig{{Name: "aig.discard", TypedConfig: b.any(discardSpoofed())}},
		AccessLogOptions: &hcmv3.HttpConnectionManager_HcmAccessLogOptions{
			AccessLogFlushInterval: durationpb.New(b.c.Heartbeat),
		},
		AccessLog:        []*accesslogv3.AccessLog{b.streamLog(), b.fileLog()},
		LocalReplyConfig: b.localReplies(),
		HttpFilters:      b.httpFilters(),
	}
}

// discardSpoofed removes what only we or Envoy may set, before anything reads
// it. Envoy honours x-envoy-* of clients with a private address, and a client
// could multiply its provider calls with x-envoy-retry-on.
func discardSpoofed() *earlyv3.HeaderMutation {
	return &earlyv3.HeaderMutation{Mutations: []*mutationv3.HeaderMutation{
		removeHeader(HeaderRequestID), removePrefix(internalPrefix), removePrefix("x-envoy-"),
	}}
}

func removeHeader(name string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}}
}

func removePrefix(prefix string) *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
		RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: prefix},
		}},
	}}
}

func logTypes(types ...logdatav3.AccessLogType) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_LogTypeFilter{
		LogTypeFilter: &accesslogv3.LogTypeFilter{Types: types},
	}}
}

// streamLog is the quick channel: ends and heartbeats.
func (b *builder) streamLog() *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{
		Name:   "aig.stream",
		Filter: logTypes(logdatav3.AccessLogType_DownstreamEnd, logdatav3.AccessLogType_DownstreamPeriodic),
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: b.any(&grpclogv3.HttpGrpcAccessLogConfig{
			CommonConfig: &grpclogv3.CommonGrpcAccessLogConfig{
				LogName: LogName, TransportApiVersion: corev3.ApiVersion_V3, GrpcService: b.grpc(clusterALS, 0),
				// The buffer stays at Envoy's own 16 KiB: an entry waits as many small
				// objects, which cost less to send while they are in a cache.
				BufferFlushInterval:   durationpb.New(200 * time.Millisecond),
				GrpcStreamRetryPolicy: &corev3.RetryPolicy{NumRetries: wrapperspb.UInt32(3)},
			},
			AdditionalResponseHeadersToLog: []string{"content-type"},
		})},
	}
}

// fileLog is the durable channel: it needs no control plane to be alive.
func (b *builder) fileLog() *accesslogv3.AccessLog {
	format, err := structpb.NewStruct(logFormat())
	if err != nil {
		b.fail(err)
	}
	return &accesslogv3.AccessLog{
		Name:   "aig.file",
		Filter: logTypes(logdatav3.AccessLogType_DownstreamEnd),
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: b.any(&filelogv3.FileAccessLog{
			Path: b.c.SpoolPath,
			AccessLogFormat: &filelogv3.FileAccessLog_LogFormat{LogFormat: &corev3.SubstitutionFormatString{
				Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: format},
			}},
		})},
	}
}
