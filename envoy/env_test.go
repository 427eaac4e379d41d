package envoy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	logdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	codecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/delta/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"aigateway/envoy"
	"aigateway/internal/envoytest"
)

// env is an Envoy between a fake control plane and a fake provider; check and
// provider are set by each test.
type env struct {
	*envoytest.Envoy
	grpc *grpc.Server

	rest *httptest.Server

	mu       sync.Mutex // guards all below
	check    func(*authv3.CheckRequest) *authv3.CheckResponse
	provider http.HandlerFunc
	checks   []*authv3.CheckRequest
	got      []received
	entries  map[string]*logdatav3.HTTPAccessLogEntry // ends, by request id
	periodic int
}

// received is a request as the provider got it.
type received struct {
	Header http.Header
	Path   string
	Body   string
}

func start(t testing.TB, b envoy.BootstrapConfig, render func(envoy.BootstrapConfig) ([]byte, error)) *env {
	t.Helper()
	e := &env{entries: map[string]*logdatav3.HTTPAccessLogEntry{}}
	upstream := httptest.NewServer(http.HandlerFunc(e.serveProvider))
	t.Cleanup(upstream.Close)
	e.rest = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "auth=%q int=%q", r.Header.Get("Authorization"), r.Header.Get(envoy.HeaderUpstream))
	}))
	t.Cleanup(e.rest.Close)
	if b.CheckTimeout == 0 {
		b.CheckTimeout = time.Minute // this process may be slow to answer
	}
	dir := envoytest.Dir(t)
	b.ControlAddress = "unix:" + filepath.Join(dir, envoy.FileControlSocket)
	e.serveControl(t, filepath.Join(dir, envoy.FileControlSocket), snapshot(t, upstream.Listener.Addr(), e.rest.Listener.Addr()))
	e.Envoy = envoytest.Start(t, envoytest.Config{Bootstrap: b, Render: render, Dir: dir})
	e.WaitReady(t)
	return e
}

// gate keeps calls waiting until it is opened. A test that fails opens it, too:
// the provider's end waits for its calls.
func gate(t testing.TB) (shut <-chan struct{}, open func()) {
	c := make(chan struct{})
	open = sync.OnceFunc(func() { close(c) })
	t.Cleanup(open)
	return c, open
}

func (e *env) serveControl(t testing.TB, socket string, snap *cache.Snapshot) {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	snaps := cache.NewSnapshotCache(true, cache.IDHash{}, nil)
	if err := snaps.SetSnapshot(t.Context(), "test", snap); err != nil {
		t.Fatal(err)
	}
	e.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(64 << 20))
	ctx, cancel := context.WithCancel(context.Background())
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(e.grpc, adsServer{server: delta.NewServer(ctx, snaps, noCallbacks{})})
	authv3.RegisterAuthorizationServer(e.grpc, authzServer{e})
	alsv3.RegisterAccessLogServiceServer(e.grpc, logServer{e})
	healthpb.RegisterHealthServer(e.grpc, health.NewServer())
	go e.grpc.Serve(l)
	t.Cleanup(func() { cancel(); e.grpc.Stop() })
}

type adsServer struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	server delta.Server
}

func (s adsServer) DeltaAggregatedResources(stream discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return s.server.DeltaStreamHandler(stream, resource.AnyType)
}

type noCallbacks struct{}

func (noCallbacks) OnDeltaStreamOpen(context.Context, int64, string) error               { return nil }
func (noCallbacks) OnDeltaStreamClosed(int64, *corev3.Node)                              {}
func (noCallbacks) OnStreamDeltaRequest(int64, *discoveryv3.DeltaDiscoveryRequest) error { return nil }
func (noCallbacks) OnStreamDeltaResponse(int64, *discoveryv3.DeltaDiscoveryRequest, *discoveryv3.DeltaDiscoveryResponse) {
}

type authzServer struct{ *env }

func (s authzServer) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	s.mu.Lock()
	s.checks = append(s.checks, r)
	check := s.check
	s.mu.Unlock()
	return check(r), nil
}

type logServer struct{ *env }

func (s logServer) StreamAccessLogs(stream alsv3.AccessLogService_StreamAccessLogsServer) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		s.mu.Lock()
		for _, entry := range m.GetHttpLogs().GetLogEntry() {
			if entry.CommonProperties.AccessLogType == logdatav3.AccessLogType_DownstreamPeriodic {
				s.periodic++
				continue
			}
			s.entries[entry.GetRequest().GetRequestId()] = entry
		}
		s.mu.Unlock()
	}
}

func (e *env) serveProvider(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.mu.Lock()
	e.got = append(e.got, received{r.Header.Clone(), r.RequestURI, string(body)})
	h := e.provider
	e.mu.Unlock()
	h(w, r)
}

// set installs a test's behaviour and forgets what was recorded.
func (e *env) set(check func(*authv3.CheckRequest) *authv3.CheckResponse, provider http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.check, e.provider, e.checks, e.got = check, provider, nil, nil
}

func (e *env) recorded() ([]*authv3.CheckRequest, []received) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.checks, e.got
}

// allow is an OK from Check as extauthz gives it.
func allow(upstream string, d envoy.Decision) func(*authv3.CheckRequest) *authv3.CheckResponse {
	return func(*authv3.CheckRequest) *authv3.CheckResponse {
		headers := []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: envoy.HeaderUpstream, Value: upstream}}}
		if len(d.Edits) > 0 {
			headers = append(headers, &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: envoy.HeaderEdit, Value: envoy.EncodeEdits(d.Edits)}})
		}
		return &authv3.CheckResponse{
			HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
				Headers: headers,
				ResponseHeadersToAdd: []*corev3.HeaderValueOption{{
					Header: &corev3.HeaderValue{Key: envoy.HeaderBoundUSD, Value: "0.5"},
				}},
			}},
			DynamicMetadata: envoytest.Metadata(d),
		}
	}
}

func deny(status int, body string) func(*authv3.CheckRequest) *authv3.CheckResponse {
	return func(*authv3.CheckRequest) *authv3.CheckResponse {
		resp := &authv3.CheckResponse{HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
			Status: &typev3.HttpStatus{Code: typev3.StatusCode(status)}, Body: body,
			Headers: []*corev3.HeaderValueOption{
				{Header: &corev3.HeaderValue{Key: "content-type", Value: "application/json"}},
				{Header: &corev3.HeaderValue{Key: envoy.HeaderShouldRetry, Value: "false"}},
			},
		}}}
		resp.Status = deniedStatus()
		return resp
	}
}

// result is a client's view of an answer.
type result struct {
	status int
	header http.Header
	body   string
}

func (e *env) do(t testing.TB, method, path, body string, headers ...string) result {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, e.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("read answer: %v", err)
	}
	return result{resp.StatusCode, resp.Header, string(got)}
}

const (
	chat       = "/v1/chat/completions"
	embeddings = "/v1/embeddings"
	messages   = "/v1/messages"
)

func snapshot(t testing.TB, provider, rest net.Addr) *cache.Snapshot {
	t.Helper()
	snap, err := cache.NewSnapshot("1", map[resource.Type][]types.Resource{
		resource.ClusterType: {
			withAnswerFilter(t, cluster("fake", provider.String())), withAnswerFilter(t, cluster("dead", "127.0.0.1:1")),
			cluster(envoy.ClusterREST, rest.String()),
		},
		resource.RouteType: {routes(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func cluster(name, addr string) *clusterv3.Cluster {
	host, port, _ := net.SplitHostPort(addr)
	var n uint32
	fmt.Sscan(port, &n)
	return &clusterv3.Cluster{
		Name: name, ConnectTimeout: durationpb.New(time.Minute),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
				Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
					Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: n},
				}}},
			}}}},
		}}},
	}
}

// withAnswerFilter makes c a provider's.
func withAnswerFilter(t testing.TB, c *clusterv3.Cluster) *clusterv3.Cluster {
	t.Helper()
	answers, err := envoy.AnswerFilter(nil)
	if err != nil {
		t.Fatal(err)
	}
	filter := func(name string, config proto.Message) *hcmv3.HttpFilter {
		return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(t, config)}}
	}
	c.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(t, &httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
			ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{},
		}},
		HttpFilters: []*hcmv3.HttpFilter{filter("answers", answers), filter("codec", &codecv3.UpstreamCodec{})},
	})}
	return c
}

func routes(t testing.TB) *routev3.RouteConfiguration {
	t.Helper()
	var rs []*routev3.Route
	for _, path := range []string{chat, embeddings, messages} {
		for _, up := range []string{"fake", "dead"} {
			r := route(t, path, up)
			r.Name = up + "-" + strings.Trim(path, "/")
			r.Match.Headers = []*routev3.HeaderMatcher{{Name: envoy.HeaderUpstream, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{
				StringMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: up}},
			}}}
			rs = append(rs, r)
		}
		r := route(t, path, "fake")
		r.Name = "undecided"
		r.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 500}}
		rs = append(rs, r)
	}
	r := route(t, "/v1/usage", envoy.ClusterREST)
	for _, f := range []string{envoy.FilterAuthz, envoy.FilterLua, envoy.FilterStrip} {
		r.TypedPerFilterConfig[f] = pack(t, &routev3.FilterConfig{Disabled: true})
	}
	rs = append(rs, r)
	gone := route(t, "/v1/rerank", "fake")
	gone.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
		Status: 404, Body: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: `{"error":"ours"}`}},
	}}
	gone.TypedPerFilterConfig[envoy.FilterAuthz] = pack(t, &routev3.FilterConfig{Disabled: true})
	rs = append(rs, gone)
	return &routev3.RouteConfiguration{Name: envoy.RouteConfig, VirtualHosts: []*routev3.VirtualHost{{
		Name: "all", Domains: []string{"*"}, Routes: rs,
	}}}
}

func route(t testing.TB, path, clusterName string) *routev3.Route {
	t.Helper()
	return &routev3.Route{
		Match:                  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: path}},
		RequestBodyBufferLimit: wrapperspb.UInt64(envoy.DefaultMaxBodyBytes + envoy.EditRoom),
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: clusterName}, Timeout: durationpb.New(0),
		}},
		TypedPerFilterConfig: map[string]*anypb.Any{envoy.FilterAuthz: pack(t, &authzv3.ExtAuthzPerRoute{
			Override: &authzv3.ExtAuthzPerRoute_CheckSettings{CheckSettings: &authzv3.CheckSettings{
				ContextExtensions: map[string]string{envoy.ContextAPI: "chat"},
			}},
		})},
	}
}

func pack(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
