package gatewayconfig

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"aigateway/envoy"
	"aigateway/pricing"
)

// routes is the one route configuration: what Check decided, what it has yet
// to decide, our REST API, and a plain no for everything else. First match
// wins, so the order is the policy.
func routes(c *Config) (*routev3.RouteConfiguration, error) {
	b := &routeBuilder{config: c}
	b.keyFirst()
	for _, slash := range []string{"", "/"} { // some clients end every path so
		for _, api := range pricing.Endpoints() {
			for _, at := range api.Paths() {
				b.inference(api, at+slash)
			}
		}
	}
	b.storedResponses()
	for _, api := range pricing.Endpoints() { // after all of them: some paths begin like others
		for _, at := range api.Paths() {
			b.preflight(routeName(api, at), at)
			b.refusal("no-"+routeName(api, at), api, prefix(at), "route_unknown", "only POST "+at+" is served here")
		}
	}
	b.allow(b.rest(prefix("/v1/models")))
	for _, p := range []string{"/v1/usage", "/v1/budgets", "/v1/keys", "/v1/calls", "/v1/refusals", "/v1/overview", "/v1/books", "/v1/bills", "/v1/health", "/v1/explain", "/v1/reservations", "/v1/adjustments", "/v1/audit"} {
		b.rest(prefix(p))
	}
	b.rest(path("/openapi.json"))
	for _, p := range []string{"/model", "/v1/projects", "/v1beta1/projects"} {
		b.refusal("cloud"+strings.ReplaceAll(p, "/", "-"), "", prefix(p), "route_unknown",
			"the clouds' own APIs (Bedrock's InvokeModel and Converse, Vertex's rawPredict and generateContent) are not spoken here; use /v1/chat/completions or /v1/messages with the provider's name before the model's")
	}
	b.refusal("unknown", "", &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}, "route_unknown",
		"nothing is served at this path; see /openapi.json")
	if b.err != nil {
		return nil, b.err
	}
	return &routev3.RouteConfiguration{
		Name:         envoy.RouteConfig,
		VirtualHosts: []*routev3.VirtualHost{{Name: envoy.RouteConfig, Domains: []string{"*"}, Routes: b.routes}},
	}, nil
}

type routeBuilder struct {
	config *Config
	routes []*routev3.Route
	err    error
}

func (b *routeBuilder) pack(m proto.Message) *anypb.Any {
	out, err := pack(m)
	if err != nil && b.err == nil {
		b.err = err
	}
	return out
}

// inference serves one API at one path, of any provider that has it.
func (b *routeBuilder) inference(api API, at string) {
	name := routeName(api, at)
	for i := range b.config.Providers {
		b.decided(&b.config.Providers[i], api, at, name)
	}
	b.undecided("undecided-"+name, inferenceMatch(at), b.authz(api, envoy.FilterAuthz))
}

// keyFirst is for calls to any API whose caller shows a key before the body is
// taken. Check knows the API by the path.
func (b *routeBuilder) keyFirst() {
	var paths []string
	for _, api := range pricing.Endpoints() {
		paths = append(paths, api.Paths()...)
	}
	headers, err := envoy.KeyFirst(b.config.EnvoyMemory, int(b.config.Envoy.Concurrency), paths)
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("render the matcher of calls that show their key first: %w", err)
	}
	match := &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}, Headers: headers}
	b.undecided("key-first", match, b.authz("", envoy.FilterKey, envoy.FilterAuthz))
}

// routeName tells an API's routes apart in logs.
func routeName(api API, at string) string {
	if at == api.Paths()[0] {
		return string(api)
	}
	return string(api) + strings.ReplaceAll(at, "/", "-")
}

// decided serves one API of one provider, once Check has named the provider.
func (b *routeBuilder) decided(p *Provider, api API, at, name string) {
	match := inferenceMatch(at)
	match.Headers = append(match.Headers, exactHeader(envoy.HeaderUpstream, p.Name))
	name = p.Name + "-" + name
	if !hasAPI(p, api) {
		message := fmt.Sprintf("provider %s has no %s", p.Name, api)
		if why := p.Refuses[string(api)]; why != "" {
			message += ": " + why
		}
		b.refusal(name, api, match, "route_unknown", message)
		return
	}
	filters := b.authz(api, envoy.FilterAuthz)
	if !p.GCP {
		maps.Copy(filters, b.disabled(envoy.FilterGCP))
	}
	b.routes = append(b.routes, &routev3.Route{
		Name:                   name,
		Match:                  match,
		Action:                 &routev3.Route_Route{Route: b.toProvider(p, api)},
		RequestBodyBufferLimit: wrapperspb.UInt64(uint64(b.config.MaxBodyBytes) + envoy.EditRoom),
		TypedPerFilterConfig:   filters,
		RequestHeadersToAdd:    upstreamHeaders(api),
	})
}

// storedResponses serve responses by their ids, which Check finds the provider of.
func (b *routeBuilder) storedResponses() {
	const one = `(/[A-Za-z0-9_-]+(?:/(?:cancel|input_items))?)/?`
	match := func() *routev3.RouteMatch {
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: pricing.Responses.Paths()[0] + one}}}
	}
	filters := b.authz(envoy.APIStored, envoy.FilterKey, envoy.FilterAuthz)
	for i := range b.config.Providers {
		p := &b.config.Providers[i]
		if !hasAPI(p, pricing.Responses) {
			continue
		}
		m, action := match(), b.toProvider(p, pricing.Responses)
		m.Headers = append(m.Headers, exactHeader(envoy.HeaderUpstream, p.Name))
		action.PrefixRewrite, action.RegexRewrite = "", &matcherv3.RegexMatchAndSubstitute{
			Pattern:      &matcherv3.RegexMatcher{Regex: "^" + pricing.Responses.Paths()[0] + one},
			Substitution: p.upstreamPath(pricing.Responses) + `\1`,
		}
		b.routes = append(b.routes, &routev3.Route{
			Name: p.Name + "-" + envoy.APIStored, Match: m, Action: &routev3.Route_Route{Route: action},
			RequestBodyBufferLimit: wrapperspb.UInt64(uint64(b.config.MaxBodyBytes) + envoy.EditRoom), TypedPerFilterConfig: filters,
		})
	}
	b.undecided("undecided-"+envoy.APIStored, match(), filters)
}

func hasAPI(p *Provider, api API) bool {
	for _, a := range p.APIs {
		if a == api {
			return true
		}
	}
	return false
}

// toProvider has no overall timeout: an answer may take as long as it keeps
// moving. Only attempts that certainly sent nothing are repeated, as every
// other repetition could be billed twice.
func (b *routeBuilder) toProvider(p *Provider, api API) *routev3.RouteAction {
	e := p.endpoint(api)
	return &routev3.RouteAction{
		ClusterSpecifier:     &routev3.RouteAction_Cluster{Cluster: clusterName(p, e.Auth)},
		PrefixRewrite:        p.upstreamPath(api),
		HostRewriteSpecifier: &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: authority(p)},
		Timeout:              durationpb.New(0),
		IdleTimeout:          durationpb.New(b.config.Streams.IdleTimeout),
		MaxStreamDuration:    &routev3.RouteAction_MaxStreamDuration{MaxStreamDuration: durationpb.New(b.config.Streams.MaxDuration)},
		RetryPolicy: &routev3.RetryPolicy{
			RetryOn:    "connect-failure,refused-stream,reset-before-request",
			NumRetries: wrapperspb.UInt32(2),
		},
	}
}

// authority is the Host header: the port only where it is not the default.
func authority(p *Provider) string {
	host := strings.TrimSuffix(p.BaseURL.Hostname(), ".")
	number := port(p.BaseURL)
	if p.BaseURL.Scheme == "https" && number == 443 || p.BaseURL.Scheme == "http" && number == 80 {
		if strings.Contains(host, ":") {
			return "[" + host + "]"
		}
		return host
	}
	return net.JoinHostPort(host, strconv.FormatUint(uint64(number), 10))
}

// undecided is what every inference call matches first, for Check. A call that
// still does when Check has named a provider meets one that this Envoy has no
// route for, which a moment later it has.
func (b *routeBuilder) undecided(name string, match *routev3.RouteMatch, filters map[string]*anypb.Any) {
	r := &routev3.Route{
		Name:                   name,
		Match:                  match,
		Action:                 unserved(),
		RequestBodyBufferLimit: wrapperspb.UInt64(uint64(b.config.MaxBodyBytes) + envoy.EditRoom),
		TypedPerFilterConfig:   filters,
	}
	b.allow(r)
	b.routes = append(b.routes, r)
}

// unserved leads to a cluster that there is not, which Envoy answers as
// provider_not_ready. Its CORS filter ignores routes without a cluster.
func unserved() *routev3.Route_Route {
	return &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: envoy.ClusterNone}}}
}

// authz is what the filters that ask Check tell it; api is empty where the path
// does.
func (b *routeBuilder) authz(api API, filters ...string) map[string]*anypb.Any {
	out := map[string]*anypb.Any{}
	for _, filter := range filters {
		context := map[string]string{}
		if api != "" {
			context[envoy.ContextAPI] = string(api)
		}
		if filter == envoy.FilterKey {
			context[envoy.ContextStep] = envoy.StepKey
		}
		out[filter] = b.pack(&authzv3.ExtAuthzPerRoute{Override: &authzv3.ExtAuthzPerRoute_CheckSettings{
			CheckSettings: &authzv3.CheckSettings{ContextExtensions: context},
		}})
	}
	return out
}

// refusal answers in Envoy, without a Check.
// api is empty where the path belongs to none.
func (b *routeBuilder) refusal(name string, api API, match *routev3.RouteMatch, reason, message string) {
	b.routes = append(b.routes, &routev3.Route{
		Name:                 name,
		Match:                match,
		Action:               b.direct(api, reason, message),
		ResponseHeadersToAdd: directHeaders(),
		TypedPerFilterConfig: b.disabled(envoy.FilterAuthz, envoy.FilterLua),
	})
}

func (b *routeBuilder) disabled(filters ...string) map[string]*anypb.Any {
	out := map[string]*anypb.Any{}
	for _, filter := range filters {
		out[filter] = b.pack(&routev3.FilterConfig{Disabled: true})
	}
	return out
}

// rest hands a path to our REST gateway, with the client's own Authorization.
func (b *routeBuilder) rest(match *routev3.RouteMatch) *routev3.Route {
	r := &routev3.Route{
		Name:  "rest" + strings.ReplaceAll(match.GetPathSeparatedPrefix()+match.GetPath(), "/", "-"),
		Match: match,
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: envoy.ClusterREST},
			Timeout:          durationpb.New(30 * time.Second),
		}},
		TypedPerFilterConfig: b.disabled(envoy.FilterAuthz, envoy.FilterLua, envoy.FilterStrip, envoy.FilterGCP),
	}
	b.routes = append(b.routes, r)
	return r
}

func (b *routeBuilder) direct(api API, reason, message string) *routev3.Route_DirectResponse {
	text, err := json.Marshal(errorBody(api, reason, message))
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("marshal error body: %w", err)
	}
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
		Status: 404,
		Body:   &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: string(text)}},
	}}
}

// errorBody is the envelope of what is not found here; Anthropic's own API has
// Anthropic's.
func errorBody(api API, reason, message string) any {
	type metadata struct {
		Reason string `json:"reason"`
	}
	type body struct {
		Message  string   `json:"message"`
		Type     string   `json:"type"`
		Code     int      `json:"code,omitempty"`
		Metadata metadata `json:"metadata"`
	}
	if api.Anthropic() {
		return struct {
			Type  string `json:"type"`
			Error body   `json:"error"`
		}{"error", body{Message: message, Type: "not_found_error", Metadata: metadata{reason}}}
	}
	return struct {
		Error body `json:"error"`
	}{body{Message: message, Type: "not_found", Code: 404, Metadata: metadata{reason}}}
}

func directHeaders() []*corev3.HeaderValueOption {
	return []*corev3.HeaderValueOption{
		setHeader("content-type", "application/json"),
		setHeader(envoy.HeaderClientRequestID, "%REQ("+envoy.HeaderRequestID+")%"),
	}
}

func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}

// upstreamHeaders are what an API needs beside the provider's fixed headers,
// which its cluster adds. Which of the client's reach it is envoy.FilterStrip's
// to say.
func upstreamHeaders(api API) []*corev3.HeaderValueOption {
	var out []*corev3.HeaderValueOption
	if api.Anthropic() {
		version := setHeader("anthropic-version", "2023-06-01") // the API refuses a call without one
		version.AppendAction = corev3.HeaderValueOption_ADD_IF_ABSENT
		// What Check allowed of the client's own header, which is removed: a beta
		// can change what is billed. Without any the header is not added.
		out = append(out, version, setHeader("anthropic-beta", "%DYNAMIC_METADATA("+envoy.NamespaceDecision+":"+envoy.KeyBetas+")%"))
	}
	return out
}

func inferenceMatch(at string) *routev3.RouteMatch {
	match := path(at)
	match.Headers = []*routev3.HeaderMatcher{exactHeader(":method", "POST")}
	return match
}

func exactHeader(name, value string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{
		StringMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: value}},
	}}
}

func path(exact string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: exact}}
}

func prefix(p string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: p}}
}
