package gatewayconfig

import (
	"net/url"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"aigateway/envoy"
)

// origins are as browsers send them: scheme://host, and a port where it is not
// the scheme's own. Any origin at all is no list.
func (v *validator) origins(given []string) []string {
	for i, origin := range given {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || !validHost(u) || origin != u.Scheme+"://"+strings.ToLower(u.Host) ||
			u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
			v.fail("cors.allowed_origins["+strconv.Itoa(i)+"]",
				"is %s, which no browser sends as an origin; write https://HOST, or https://HOST:PORT where the port is not the scheme's own, in lower case and without a path", shown(origin))
		}
	}
	return given
}

// allow puts the policy for scripts of the listed pages on a route. Headers are
// not listed there: which of a request's reach a provider, and which of an answer
// return, is decided by name elsewhere. A browser's own credentials are never
// allowed, for a page shows a key.
func (b *routeBuilder) allow(r *routev3.Route) {
	if len(b.config.AllowedOrigins) == 0 {
		return
	}
	policy := &corsv3.CorsPolicy{AllowMethods: "GET,HEAD,POST,DELETE", AllowHeaders: "*", ExposeHeaders: "*", MaxAge: "600"}
	for _, origin := range b.config.AllowedOrigins {
		policy.AllowOriginStringMatch = append(policy.AllowOriginStringMatch, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: origin}})
	}
	if r.TypedPerFilterConfig == nil {
		r.TypedPerFilterConfig = map[string]*anypb.Any{}
	}
	r.TypedPerFilterConfig[envoy.FilterCORS] = b.pack(policy)
}

// preflight answers browsers that ask whether a listed page's script may call an
// API. Any other question gets what it gets without a list. Each page has a route,
// since Envoy takes no regular expression as long as a list.
func (b *routeBuilder) preflight(name, at string) {
	for i, origin := range b.config.AllowedOrigins {
		match := prefix(at)
		match.Headers = []*routev3.HeaderMatcher{exactHeader(":method", "OPTIONS"), exactHeader("origin", origin), regexHeader("access-control-request-method", ".+")}
		r := &routev3.Route{Name: "preflight-" + name + "-" + strconv.Itoa(i), Match: match, Action: unserved(), TypedPerFilterConfig: b.disabled(envoy.FilterAuthz, envoy.FilterLua)}
		b.allow(r)
		b.routes = append(b.routes, r)
	}
}

func regexHeader(name, regex string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{
		StringMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: regex}}},
	}}
}
