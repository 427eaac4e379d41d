package envoy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	downstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	heapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// BootstrapConfig is what an operator may choose about Envoy's static part. The
// four addresses are "host:port" or "unix:/path"; where a field says so, zero
// means its default.
type BootstrapConfig struct {
	NodeID         string      // how this Envoy names itself to the control plane
	ClientsAddress string      // where clients connect; port 0 picks a free one
	AdminAddress   string      // Envoy's admin interface; never expose it
	ControlAddress string      // our gRPC server: ext_authz, access logs, ADS, health
	SpoolPath      string      // the durable access log
	ControlTLS     *ControlTLS // nil: the control plane is reached in clear
	ClientsTLS     *ClientsTLS // nil: clients are served in clear

	MaxBodyBytes      int           // longest request body; 0: 8 MiB
	StreamIdleTimeout time.Duration // silence that ends an exchange; 0: 10 min
	MaxStreamDuration time.Duration // longest exchange; 0: 30 min
	Heartbeat         time.Duration // between log entries of a running call; 0: 30 s
	CheckTimeout      time.Duration // for a decision; 0: 1 s
	MaxConnections    int           // client connections at a time; 0: 20,000
	MaxStreams        int           // requests at a time on one HTTP/2 connection; 0: 100
	AddressRate       int           // requests per second from one address; 0: no limit
	// FirstByteTimeout is for a connection's first line, the headers of a request,
	// and the next request on an HTTP/2 connection that has none; 0: 10 s.
	FirstByteTimeout time.Duration
	// MaxHeapBytes is the memory Envoy may use: at nine tenths of it new requests
	// are answered 503; 0: no limit.
	MaxHeapBytes int64
}

// Defaults of BootstrapConfig.
const (
	DefaultMaxBodyBytes      = 8 << 20
	DefaultStreamIdleTimeout = 10 * time.Minute
	DefaultMaxStreamDuration = 30 * time.Minute
	defaultHeartbeat         = 30 * time.Second
	DefaultCheckTimeout      = time.Second
	DefaultMaxConnections    = 20000
	DefaultMaxStreams        = 100
	defaultFirstByteTimeout  = 10 * time.Second
)

// RequestTimeout is how long a client may take to send a whole request.
const RequestTimeout = time.Minute

// Bootstrap renders the configuration Envoy starts with, as JSON: the client
// listener and the clusters of the control plane. Routes, provider clusters and
// secrets come over ADS, so that changing them never touches the listener,
// which would cut long streams. Equal input gives equal bytes.
//
// Envoy does not listen for clients before it has its first routes.
func Bootstrap(c BootstrapConfig) ([]byte, error) {
	c = c.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	b := builder{c: c}
	boot := b.bootstrap()
	if b.err != nil {
		return nil, fmt.Errorf("render bootstrap: %w", b.err)
	}
	if err := boot.ValidateAll(); err != nil {
		return nil, fmt.Errorf("render bootstrap: %w", err)
	}
	return stableJSON(boot)
}

func (c BootstrapConfig) withDefaults() BootstrapConfig {
	defaultTo(&c.MaxBodyBytes, DefaultMaxBodyBytes)
	defaultTo(&c.StreamIdleTimeout, DefaultStreamIdleTimeout)
	defaultTo(&c.MaxStreamDuration, DefaultMaxStreamDuration)
	defaultTo(&c.Heartbeat, defaultHeartbeat)
	defaultTo(&c.CheckTimeout, DefaultCheckTimeout)
	defaultTo(&c.MaxConnections, DefaultMaxConnections)
	defaultTo(&c.MaxStreams, DefaultMaxStreams)
	defaultTo(&c.FirstByteTimeout, defaultFirstByteTimeout)
	return c
}

func defaultTo[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c BootstrapConfig) validate() error {
	for _, f := range []struct{ name, value string }{
		{"NodeID", c.NodeID}, {"ClientsAddress", c.ClientsAddress}, {"AdminAddress", c.AdminAddress},
		{"ControlAddress", c.ControlAddress}, {"SpoolPath", c.SpoolPath},
	} {
		if f.value == "" {
			return fmt.Errorf("bootstrap: %s is required", f.name)
		}
	}
	if c.MaxBodyBytes < 0 || c.MaxBodyBytes > 1<<30 {
		return fmt.Errorf("bootstrap: MaxBodyBytes %d: want at most 1 GiB", c.MaxBodyBytes)
	}
	if c.MaxHeapBytes < 0 {
		return fmt.Errorf("bootstrap: MaxHeapBytes %d: want a positive number", c.MaxHeapBytes)
	}
	if c.MaxConnections < 0 {
		return fmt.Errorf("bootstrap: MaxConnections %d: want a positive number", c.MaxConnections)
	}
	if c.MaxStreams < 0 || c.MaxStreams > 1<<20 {
		return fmt.Errorf("bootstrap: MaxStreams %d: want 1 to 1048576", c.MaxStreams)
	}
	if c.AddressRate < 0 || c.AddressRate > 1<<20 {
		return fmt.Errorf("bootstrap: AddressRate %d: want 0 to 1048576", c.AddressRate)
	}
	if min(c.StreamIdleTimeout, c.MaxStreamDuration, c.Heartbeat, c.CheckTimeout, c.FirstByteTimeout) < time.Millisecond {
		return fmt.Errorf("bootstrap: durations must be at least 1ms")
	}
	return nil
}

// stableJSON is protojson without its deliberate randomness in white space.
func stableJSON(m proto.Message) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("render bootstrap: %w", err)
	}
	var compact, out bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return nil, fmt.Errorf("render bootstrap: %w", err)
	}
	if err := json.Indent(&out, compact.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("render bootstrap: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// builder assembles the bootstrap; the first error sticks, and what is built
// after it does not matter.
type builder struct {
	c   BootstrapConfig
	lua string // instead of the embedded script; only tests set it
	err error
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

func (b *builder) any(m proto.Message) *anypb.Any {
	a := &anypb.Any{}
	// Deterministic: equal configurations must give equal bytes.
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		b.fail(err)
	}
	return a
}

func (b *builder) bootstrap() *bootstrapv3.Bootstrap {
	return &bootstrapv3.Bootstrap{
		Node: &corev3.Node{Id: b.c.NodeID, Cluster: "aigateway"},
		// An Envoy full of clients must still be ready, drained and looked at.
		Admin: &bootstrapv3.Admin{Address: b.address(b.c.AdminAddress), IgnoreGlobalConnLimit: true},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: []*listenerv3.Listener{b.listener()},
			Clusters:  []*clusterv3.Cluster{b.control(clusterControl), b.control(clusterAuthz), b.control(clusterALS)},
		},
		DynamicResources: &bootstrapv3.Bootstrap_DynamicResources{
			AdsConfig: &corev3.ApiConfigSource{
				ApiType: corev3.ApiConfigSource_DELTA_GRPC, TransportApiVersion: corev3.ApiVersion_V3,
				GrpcServices:              []*corev3.GrpcService{b.grpc(clusterControl, 0)},
				SetNodeOnFirstMessageOnly: true,
			},
			CdsConfig: adsSource(),
		},
		LayeredRuntime:  b.runtime(),
		OverloadManager: b.overload(),
	}
}

// runtime keeps a connection that opens and resets streams as fast as it can from
// starving the others: in a turn of the worker ten of its requests are begun, and what
// is reset by the next never is. readBytes keeps small what comes without being asked
// for its key before its turn. Who goes on is disconnected, which Envoy does by itself.
func (b *builder) runtime() *bootstrapv3.LayeredRuntime {
	values, err := structpb.NewStruct(map[string]any{"http.max_requests_per_io_cycle": 10})
	if err != nil {
		b.fail(err)
	}
	return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
		Name: "static", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: values},
	}}}
}

// overload bounds what all clients together can take. At the limit of memory,
// requests that have begun go on: they are what frees it.
func (b *builder) overload() *overloadv3.OverloadManager {
	const heap = "envoy.resource_monitors.fixed_heap"
	m := &overloadv3.OverloadManager{
		RefreshInterval: durationpb.New(100 * time.Millisecond),
		ResourceMonitors: []*overloadv3.ResourceMonitor{
			b.monitor("envoy.resource_monitors.global_downstream_max_connections", &downstreamv3.DownstreamConnectionsConfig{
				MaxActiveDownstreamConnections: int64(b.c.MaxConnections),
			}),
		},
	}
	if b.c.MaxHeapBytes == 0 {
		return m
	}
	m.ResourceMonitors = append(m.ResourceMonitors, b.monitor(heap, &heapv3.FixedHeapConfig{MaxHeapSizeBytes: uint64(b.c.MaxHeapBytes)}))
	m.Actions = []*overloadv3.OverloadAction{
		b.shortenIdle(heap), b.giveBack(heap), action("stop_accepting_requests", heap, 0.9),
	}
	return m
}

// giveBack returns free memory to the system, as KeyFirst counts what Envoy has
// from it: near the half from which strangers show a key first.
func (b *builder) giveBack(monitor string) *overloadv3.OverloadAction {
	a := action("shrink_heap", monitor, 0.4)
	a.TypedConfig = b.any(&overloadv3.ShrinkHeapConfig{
		TimerInterval: durationpb.New(time.Second), MaxUnfreedMemoryBytes: wrapperspb.UInt64(uint64(b.c.MaxHeapBytes / 16)),
	})
	return a
}

// shortenIdle ends connections that do nothing the sooner, the less memory is
// left: from an hour at 60 % down to two seconds at 85 %. Calls are not touched.
func (b *builder) shortenIdle(monitor string) *overloadv3.OverloadAction {
	a := action("reduce_timeouts", monitor, 0)
	a.Triggers[0].TriggerOneof = &overloadv3.Trigger_Scaled{Scaled: &overloadv3.ScaledTrigger{ScalingThreshold: 0.6, SaturationThreshold: 0.85}}
	a.TypedConfig = b.any(&overloadv3.ScaleTimersOverloadActionConfig{TimerScaleFactors: []*overloadv3.ScaleTimersOverloadActionConfig_ScaleTimer{{
		Timer:          overloadv3.ScaleTimersOverloadActionConfig_HTTP_DOWNSTREAM_CONNECTION_IDLE,
		OverloadAdjust: &overloadv3.ScaleTimersOverloadActionConfig_ScaleTimer_MinTimeout{MinTimeout: durationpb.New(2 * time.Second)},
	}}})
	return a
}

func action(name, monitor string, at float64) *overloadv3.OverloadAction {
	return &overloadv3.OverloadAction{
		Name: "envoy.overload_actions." + name,
		Triggers: []*overloadv3.Trigger{{Name: monitor, TriggerOneof: &overloadv3.Trigger_Threshold{
			Threshold: &overloadv3.ThresholdTrigger{Value: at},
		}}},
	}
}

func (b *builder) monitor(name string, config proto.Message) *overloadv3.ResourceMonitor {
	return &overloadv3.ResourceMonitor{Name: name, ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: b.any(config)}}
}

// adsSource never gives up waiting for its first answer: an Envoy without
// routes would answer 404 to every client.
func adsSource() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		InitialFetchTimeout:   durationpb.New(0),
	}
}

func (b *builder) grpc(cluster string, timeout time.Duration) *corev3.GrpcService {
	g := &corev3.GrpcService{TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
		EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster},
	}}
	if timeout > 0 {
		g.Timeout = durationpb.New(timeout)
	}
	return g
}

// maxUnixPath is what Linux takes in a socket address, without the final zero.
const maxUnixPath = 107

func (b *builder) address(text string) *corev3.Address {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if path == "" || len(path) > maxUnixPath {
			b.fail(fmt.Errorf("address %q: a socket path has 1 to %d bytes", text, maxUnixPath))
		}
		return &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path, Mode: 0o600}}}
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		b.fail(fmt.Errorf("address %q: want host:port or unix:/path: %w", text, err))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		b.fail(fmt.Errorf("address %q: want a numeric port", text))
	}
	if host == "" {
		host = "0.0.0.0"
	}
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(n)},
	}}}
}

func u32(n int) *wrapperspb.UInt32Value {
	return wrapperspb.UInt32(uint32(min(max(n, 0), math.MaxUint32)))
}
