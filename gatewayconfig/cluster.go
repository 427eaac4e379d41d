package gatewayconfig

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	dnsfamilyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/common/dns/v3"
	dnsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/clusters/dns/v3"
	codecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"aigateway/envoy"
)

const (
	connectTimeout = 5 * time.Second // TLS handshake included
	// poolIdle closes our side before the 60 s that load balancers commonly
	// allow, so that a request seldom meets a closing connection.
	poolIdle = 50 * time.Second
	// unlimited replaces Envoy's small default circuit breakers: what may run is
	// decided by budgets, and a refusal here would look like a provider's fault.
	unlimited = 1 << 20

	systemCASecret = "aig_ca"
	restCASecret   = "aig_rest_ca"
)

// upstream is one provider's cluster and the secrets it uses. A provider has one
// for each way its key is sent, since the key is added inside the cluster.
type upstream struct {
	cluster *clusterv3.Cluster
	secrets []*tlsv3.Secret
	texts   []string // secrets in clear
}

func newUpstream(c *Config, p *Provider, a Auth) (*upstream, error) {
	u := &upstream{cluster: baseCluster(clusterName(p, a))}
	if err := u.setAddress(p.BaseURL); err != nil {
		return nil, err
	}
	if p.BaseURL.Scheme == "https" {
		bundle, name := c.SystemCA, systemCASecret
		if len(p.CA) > 0 {
			bundle, name = p.CA, secretName(p, a, "ca")
		}
		if err := u.setTLS(p.BaseURL, bundle, name); err != nil {
			return nil, err
		}
	}
	return u, u.setHTTP(p, a)
}

// auths are the ways a provider's key is sent, over all its APIs.
func auths(p *Provider) []Auth {
	var out []Auth
	for _, api := range p.APIs {
		if a := p.endpoint(api).Auth; !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// identity tells apart the places a provider's name may point to over time. It
// is part of the cluster's and the secrets' names: while Envoy replaces one by
// the other, no request may carry the new key to the old host or the reverse.
// A new key for the same place keeps its name and is replaced under way.
func identity(p *Provider, a Auth) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s|%s|%d|%s|%s|%t|%t", p.BaseURL.Scheme, strings.ToLower(p.BaseURL.Hostname()), port(p.BaseURL),
		a.Header, a.Prefix, p.APIKey.Empty(), len(p.CA) > 0)
	for _, header := range p.Headers {
		fmt.Fprintf(h, "|%s", header.Name)
	}
	p.identify(h)
	return shortHash(h.Sum(nil))
}

func clusterName(p *Provider, a Auth) string { return "provider_" + p.Name + "_" + identity(p, a) }

func secretName(p *Provider, a Auth, what string) string {
	return "secret_" + p.Name + "_" + identity(p, a) + "_" + what
}

// baseCluster is what provider clusters and the REST cluster share.
func baseCluster(name string) *clusterv3.Cluster {
	high := wrapperspb.UInt32(unlimited)
	return &clusterv3.Cluster{
		Name:           name,
		ConnectTimeout: durationpb.New(connectTimeout),
		CircuitBreakers: &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
			MaxConnections: high, MaxPendingRequests: high, MaxRequests: high, MaxRetries: high,
		}}},
		UpstreamConnectionOptions: &clusterv3.UpstreamConnectionOptions{TcpKeepalive: &corev3.TcpKeepalive{
			KeepaliveTime: wrapperspb.UInt32(30), KeepaliveInterval: wrapperspb.UInt32(10), KeepaliveProbes: wrapperspb.UInt32(3),
		}},
	}
}

// setAddress picks a static endpoint for an IP, DNS for a name: all addresses
// of the name are one endpoint, so that a changed answer of a large provider's
// DNS never drains connections.
func (u *upstream) setAddress(base *url.URL) error {
	host := strings.TrimSuffix(base.Hostname(), ".")
	u.cluster.LoadAssignment = endpoint(u.cluster.GetName(), socketAddress(host, port(base)))
	if _, err := netip.ParseAddr(host); err == nil {
		u.cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
		return nil
	}
	dns, err := pack(&dnsv3.DnsCluster{
		AllAddressesInSingleEndpoint: true,
		DnsLookupFamily:              dnsfamilyv3.DnsLookupFamily_ALL, // both families, raced
		DnsRefreshRate:               durationpb.New(30 * time.Second),
		DnsFailureRefreshRate: &dnsv3.DnsCluster_RefreshRate{
			BaseInterval: durationpb.New(time.Second), MaxInterval: durationpb.New(10 * time.Second),
		},
	})
	if err != nil {
		return err
	}
	u.cluster.ClusterDiscoveryType = &clusterv3.Cluster_ClusterType{
		ClusterType: &clusterv3.Cluster_CustomClusterType{Name: "envoy.cluster.dns", TypedConfig: dns},
	}
	return nil
}

func endpoint(cluster string, address *corev3.Address) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{ClusterName: cluster, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
			Endpoint: &endpointv3.Endpoint{Address: address},
		}}},
	}}}
}

func socketAddress(host string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: host, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

// setTLS verifies the other side: its certificate must chain to the CA bundle and
// name exactly the host of its address. The bundle is a secret, of this name, so
// one copy serves all clusters and a renewed one is taken over without a restart.
func (u *upstream) setTLS(base *url.URL, bundle []byte, name string) error {
	host := strings.TrimSuffix(base.Hostname(), ".")
	if len(bundle) == 0 {
		return fmt.Errorf("no CA bundle to verify %s with", host)
	}
	san := &tlsv3.SubjectAltNameMatcher{
		SanType: tlsv3.SubjectAltNameMatcher_DNS,
		Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: host}},
	}
	context := &tlsv3.UpstreamTlsContext{Sni: host}
	if _, err := netip.ParseAddr(host); err == nil {
		san.SanType, context.Sni = tlsv3.SubjectAltNameMatcher_IP_ADDRESS, "" // SNI holds names only
	}
	context.CommonTlsContext = &tlsv3.CommonTlsContext{
		TlsParams: &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3},
		ValidationContextType: &tlsv3.CommonTlsContext_CombinedValidationContext{
			CombinedValidationContext: &tlsv3.CommonTlsContext_CombinedCertificateValidationContext{
				DefaultValidationContext:         &tlsv3.CertificateValidationContext{MatchTypedSubjectAltNames: []*tlsv3.SubjectAltNameMatcher{san}},
				ValidationContextSdsSecretConfig: &tlsv3.SdsSecretConfig{Name: name, SdsConfig: viaADS()},
			},
		},
	}
	config, err := pack(context)
	if err != nil {
		return err
	}
	u.cluster.TransportSocket = &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: config},
	}
	u.secrets = append(u.secrets, &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{
		ValidationContext: &tlsv3.CertificateValidationContext{TrustedCa: inlineBytes(bundle)},
	}})
	return nil
}

func inlineBytes(b []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: b}}
}

// setHTTP chooses the protocol (HTTP/2 where the TLS handshake offers it) and
// adds the credentials: they join a request inside the cluster, after routing,
// so they are in no header, log or metadata before that.
func (u *upstream) setHTTP(p *Provider, a Auth) error {
	options := &httpv3.HttpProtocolOptions{CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(poolIdle)}}
	if p.BaseURL.Scheme == "https" {
		options.UpstreamProtocolOptions = &httpv3.HttpProtocolOptions_AutoConfig{AutoConfig: &httpv3.HttpProtocolOptions_AutoHttpConfig{
			Http2ProtocolOptions: &corev3.Http2ProtocolOptions{ConnectionKeepalive: &corev3.KeepaliveSettings{
				Interval: durationpb.New(30 * time.Second), Timeout: durationpb.New(10 * time.Second),
			}},
		}}
	} else {
		options.UpstreamProtocolOptions = explicitHTTP1()
	}
	var err error
	for _, h := range p.Headers {
		if err == nil {
			err = u.inject(options, secretName(p, a, "header_"+h.Name), h.Name, "", h.Value)
		}
	}
	if err == nil { // behind the headers, of which a signature covers some
		err = u.setCredential(options, p, a)
	}
	if err == nil {
		err = addAnswerFilter(options, p, a)
	}
	if err == nil {
		err = addFilter(options, "envoy.filters.http.upstream_codec", &codecv3.UpstreamCodec{})
	}
	if err != nil {
		return err
	}
	return u.setOptions(options)
}

// addAnswerFilter also names what is secret of the request.
func addAnswerFilter(options *httpv3.HttpProtocolOptions, p *Provider, a Auth) error {
	var credentials []string
	if !p.APIKey.Empty() || p.ownCredentials() {
		credentials = append(credentials, a.Header)
	}
	if p.AWS != nil {
		credentials = append(credentials, "x-amz-security-token")
	}
	for _, h := range p.Headers {
		if namesCredential(h.Name) {
			credentials = append(credentials, h.Name)
		}
	}
	filter, err := envoy.AnswerFilter(credentials)
	if err != nil {
		return err
	}
	return addFilter(options, "envoy.filters.http.header_mutation", filter)
}

// namesCredential tells headers with keys from those that name a team or a
// version, which an error may well quote.
func namesCredential(header string) bool {
	for _, part := range []string{"auth", "key", "token", "secret", "cookie", "password", "credential", "signature"} {
		if strings.Contains(header, part) {
			return true
		}
	}
	return false
}

func (u *upstream) setOptions(options *httpv3.HttpProtocolOptions) error {
	packed, err := pack(options)
	if err != nil {
		return err
	}
	u.cluster.TypedExtensionProtocolOptions = map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packed}
	return nil
}

func explicitHTTP1() *httpv3.HttpProtocolOptions_ExplicitHttpConfig_ {
	return &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &corev3.Http1ProtocolOptions{}},
	}}
}

func addFilter(options *httpv3.HttpProtocolOptions, name string, config proto.Message) error {
	packed, err := pack(config)
	if err != nil {
		return err
	}
	options.HttpFilters = append(options.HttpFilters, &hcmv3.HttpFilter{
		Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed},
	})
	return nil
}

// restCluster reaches our own REST gateway.
func restCluster(c *Config, address string) (*upstream, error) {
	u := &upstream{cluster: baseCluster(envoy.ClusterREST)}
	u.cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		u.cluster.UpstreamConnectionOptions = nil // keepalive is TCP's
		u.cluster.LoadAssignment = endpoint(envoy.ClusterREST, &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}})
		return u, u.setOptions(&httpv3.HttpProtocolOptions{UpstreamProtocolOptions: explicitHTTP1()})
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("address of the REST gateway: %w", err)
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("address of the REST gateway: %w", err)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1" // listening everywhere is no address to connect to
	}
	u.cluster.LoadAssignment = endpoint(envoy.ClusterREST, socketAddress(host, uint32(number)))
	if c.AdminName != "" {
		err = u.setTLS(&url.URL{Host: bracketed(c.AdminName)}, c.AdminCA, restCASecret)
		if err != nil {
			return nil, err
		}
	}
	return u, u.setOptions(&httpv3.HttpProtocolOptions{UpstreamProtocolOptions: explicitHTTP1()})
}

// bracketed is a name or an address as a URL has it.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}
