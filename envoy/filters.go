package envoy

import (
	"fmt"
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacpbv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	headerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
)

// policyEdit names the RBAC policy; it shows in the response code details of a
// refused request, and a local reply mapper looks for it there.
const policyEdit = "edit-missing"

// checkHeaders is what Check gets of a request's headers. Everything else,
// user agents and SDK telemetry above all, would only cost time there.
func checkHeaders() []string {
	return []string{
		"authorization", "x-api-key", "content-type", "content-encoding", "content-length", HeaderTag, HeaderRequestID, HeaderBeta,
		HeaderTraceParent,
	}
}

// The order is the contract: an address that asks too often is told so, whatever it
// asks; a preflight is answered, for it has no key; a request
// is decided, spliced, refused if the splice did not happen, stripped of what the
// provider must not see, given a token where it needs Google's, and sent. Answers
// pass in the opposite order.
func (b *builder) httpFilters() []*hcmv3.HttpFilter {
	key := b.filter(FilterKey, b.keyCheck())
	key.Disabled = true // but for routes that ask for it
	cors := b.filter(FilterCORS, &corsv3.Cors{})
	cors.Disabled = true // likewise
	fs := []*hcmv3.HttpFilter{b.filter(filterGuard, guard())}
	if b.c.AddressRate > 0 {
		fs = append(fs, b.filter(filterAddress, addressLimit(b.c.AddressRate)))
	}
	return append(fs,
		cors,
		key,
		b.filter(FilterAuthz, b.authz()),
		b.filter(FilterLua, lua(b.luaSource())),
		b.filter(filterRBAC, refuseUnedited()),
		b.filter(FilterStrip, b.strip()),
		b.filter(FilterGCP, gcpTokens()),
		b.filter(filterRouter, &routerv3.Router{SuppressEnvoyHeaders: true}),
	)
}

func (b *builder) luaSource() string {
	if b.lua != "" {
		return b.lua
	}
	return inflateSource + luaSource
}

func (b *builder) filter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: b.any(config)}}
}

// keyCheck asks before the body is read, and changes nothing.
func (b *builder) keyCheck() *authzv3.ExtAuthz {
	c := b.authz()
	c.WithRequestBody, c.ClearRouteCache, c.ClearRouteCacheHeaders = nil, false, nil
	return c
}

func (b *builder) authz() *authzv3.ExtAuthz {
	var allowed []*matcherv3.StringMatcher
	for _, h := range checkHeaders() {
		allowed = append(allowed, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: h}})
	}
	return &authzv3.ExtAuthz{
		TransportApiVersion: corev3.ApiVersion_V3,
		Services:            &authzv3.ExtAuthz_GrpcService{GrpcService: b.grpc(clusterAuthz, b.c.CheckTimeout)},
		// No decision, no call: the promise is a hard cap.
		FailureModeAllow:  false,
		StatusOnError:     &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		ValidateMutations: true,
		// Two x-aig-tag headers must arrive as two, not joined by a comma.
		EncodeRawHeaders: true,
		AllowedHeaders:   &matcherv3.ListStringMatcher{Patterns: allowed},
		WithRequestBody: &authzv3.BufferSettings{
			MaxRequestBytes: uint32(b.c.MaxBodyBytes), AllowPartialMessage: false, PackAsBytes: true,
		},
		ClearRouteCache:        true,
		ClearRouteCacheHeaders: []string{HeaderUpstream},
	}
}

// refuseUnedited stops a request whose edits were not made. Envoy goes on after
// a Lua error, so the script cannot be trusted to stop it itself.
func refuseUnedited() *rbacv3.RBAC {
	return &rbacv3.RBAC{Rules: &rbacpbv3.RBAC{
		Action: rbacpbv3.RBAC_DENY,
		Policies: map[string]*rbacpbv3.Policy{policyEdit: {
			Permissions: []*rbacpbv3.Permission{{Rule: &rbacpbv3.Permission_Header{Header: &routev3.HeaderMatcher{
				Name: HeaderEdit, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
			}}}},
			Principals: []*rbacpbv3.Principal{{Identifier: &rbacpbv3.Principal_Any{Any: true}}},
		}},
	}}
}

// guard takes what the Lua filter is told off an answer: answers meet it after
// the script, which does that itself unless it fails. The note has credentials.
func guard() *headerv3.HeaderMutation {
	return &headerv3.HeaderMutation{Mutations: &headerv3.Mutations{
		ResponseMutations: []*mutationv3.HeaderMutation{removeHeader(headerAnswer)},
	}}
}

// forwarded are the client's headers that reach a provider, beside those whose
// names begin with x-stainless- (the SDKs' telemetry). Any other may change what
// is billed, or to whom: retries, caches and fallbacks of proxies on the way,
// projects, betas, methods; or it is ours, or a credential, or says who the
// client is. x-request-id is read by the access log; the provider gets it, too.
func forwarded() []string {
	return []string{
		"content-type", "content-length", "transfer-encoding", "accept", "accept-language", "user-agent",
		HeaderRequestID, "x-client-request-id", HeaderTraceParent, "tracestate",
		"anthropic-version", "anthropic-dangerous-direct-browser-access",
		"http-referer", "referer", "x-title", // by which OpenRouter names the app
	}
}

// neverForwarded go even if the test of a name fails, which keeps its header.
func neverForwarded() []string {
	return []string{"authorization", "x-api-key", "api-key", "cookie", "proxy-authorization", HeaderBeta}
}

// strip removes all that is not forwarded, and asks for an answer that can be
// read. The provider's own key is added later, in its cluster.
func (b *builder) strip() *headerv3.HeaderMutation {
	var ms []*mutationv3.HeaderMutation
	for _, h := range neverForwarded() {
		ms = append(ms, removeHeader(h))
	}
	// Our own and Envoy's, of which there are some on every call, go before the
	// test: it costs more than all of this.
	for _, p := range []string{"x-aig-", "x-forwarded-", "x-envoy-"} {
		ms = append(ms, removePrefix(p))
	}
	matcher, err := luaMatcher(removesHeader())
	if err != nil {
		b.fail(err)
	}
	ms = append(ms, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
		RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: matcher},
	}})
	ms = append(ms, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: setHeader("accept-encoding", "identity")}})
	return &headerv3.HeaderMutation{Mutations: &headerv3.Mutations{RequestMutations: ms, RequestTrailersMutations: []*mutationv3.HeaderMutation{noTrailers()}}}
}

// noTrailers keeps a client's from providers that speak HTTP/2: no API reads them, and
// a proxy on the way may take them for headers.
func noTrailers() *mutationv3.HeaderMutation {
	return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
		RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: ".+"}},
		}},
	}}
}

// removesHeader is Lua that says of a name whether it goes. Names that begin
// with a colon are the request line.
func removesHeader() string {
	var b strings.Builder
	b.WriteString("local pass = {")
	for _, h := range forwarded() {
		fmt.Fprintf(&b, "[%q]=true,", h)
	}
	b.WriteString("}\nfunction envoy_match(name)\n" +
		"  return not (pass[name] or string.byte(name) == 58 or string.sub(name, 1, 12) == \"x-stainless-\")\nend\n")
	return b.String()
}

func setHeader(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{
		Header:       &corev3.HeaderValue{Key: name, Value: value},
		AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
	}
}
