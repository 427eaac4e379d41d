package envoy

import (
	"fmt"
	"strings"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	headerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	matchluav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/string_matcher/lua/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// returned are the headers of a provider's answer that reach the client, beside
// those that returnedParts and returnedEnds name. Any other is the provider's
// own business with whom it takes for its client: cookies, redirects, origins,
// accounts, protocols.
func returned() []string {
	return []string{
		"content-type", "content-length", "content-encoding", "content-disposition", "content-language", "transfer-encoding",
		"date", "cache-control", "vary", "deprecation", "sunset", "x-accel-buffering",
		"retry-after", "retry-after-ms", HeaderShouldRetry, "x-api-warning", "server-timing",
		"openai-version", "openai-model", "x-ms-region", "x-ms-deployment-name", "x-ms-rai-invoked", "azureml-model-session",
		"cf-ray", "x-vercel-id", "nvcf-status", "x-generation-id", "num_chars", "num_tokens",
	}
}

// returnedParts are texts anywhere in names of headers that reach the client:
// every vendor's rate limits (x-ratelimit-remaining-tokens,
// anthropic-ratelimit-requests-reset, ratelimit-policy, x-rate-limit-limit).
func returnedParts() []string { return []string{"ratelimit", "rate-limit"} }

// returnedStarts are how such names begin.
func returnedStarts() []string {
	return []string{"anthropic-priority-", "anthropic-fast-", "x-groq-", "fireworks-"}
}

// returnedEnds are how such names end: ids that a vendor's support asks for, and
// how long a call took (openai-processing-ms, x-envoy-… is removed before).
func returnedEnds() []string {
	return []string{"request-id", "requestid", "reqid", "trace-id", "traceid", "correlation-id", "inference-id", "-ms", "processing-time", "inference-time", "compute-time", "service-tier"}
}

// neverReturned go even if the test of a name fails, which keeps its header.
func neverReturned() []*mutationv3.HeaderMutation {
	ms := []*mutationv3.HeaderMutation{removePrefix("x-aig-"), removePrefix("x-envoy-"), removePrefix("access-control-")}
	for _, name := range []string{
		"set-cookie", "location", "refresh", "clear-site-data", "alt-svc", "strict-transport-security", "www-authenticate",
		"openai-organization", "openai-project", "anthropic-organization-id",
	} {
		ms = append(ms, removeHeader(name))
	}
	return ms
}

// maxCredentials is how many headers AnswerFilter takes.
const maxCredentials = 8

// note is the value of headerAnswer: what FilterLua must know of the decision,
// and what the provider was sent of the credentials, to take it out of errors
// that quote it. A header costs the script less than metadata.
func note(credentials []string) string {
	parts := []string{metadata(KeyStream), metadata(KeyAnthropic)}
	for _, name := range credentials[:min(len(credentials), maxCredentials)] {
		parts = append(parts, "%REQ("+name+")%")
	}
	return strings.Join(parts, "\t")
}

func metadata(key string) string { return "%DYNAMIC_METADATA(" + NamespaceDecision + ":" + key + ")%" }

// AnswerFilter is the HTTP filter of a provider's cluster that lets only named
// headers of its answer pass, and tells FilterLua that it is a provider's.
// credentials are the request headers, at most maxCredentials, whose values no
// error of the provider may quote to a client.
func AnswerFilter(credentials []string) (*headerv3.HeaderMutation, error) {
	matcher, err := luaMatcher(keepsHeader())
	if err != nil {
		return nil, err
	}
	unnamed := &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_RemoveOnMatch_{
		RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{KeyMatcher: matcher},
	}}
	headers := append(neverReturned(), unnamed, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{
		Append: setHeader(headerAnswer, note(credentials)),
	}})
	return &headerv3.HeaderMutation{Mutations: &headerv3.Mutations{
		ResponseMutations: headers, ResponseTrailersMutations: append(neverReturned(), unnamed),
	}}, nil
}

// luaMatcher matches the names of which the script's envoy_match says so.
func luaMatcher(script string) (*matcherv3.StringMatcher, error) {
	config := &anypb.Any{}
	// Deterministic: equal configurations must give equal bytes.
	err := anypb.MarshalFrom(config, &matchluav3.Lua{SourceCode: &corev3.DataSource{
		Specifier: &corev3.DataSource_InlineString{InlineString: script},
	}}, proto.MarshalOptions{Deterministic: true})
	if err != nil {
		return nil, fmt.Errorf("pack a matcher: %w", err)
	}
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Custom{
		Custom: &xdscorev3.TypedExtensionConfig{Name: "envoy.string_matcher.lua", TypedConfig: config},
	}}, nil
}

// keepsHeader is Lua that says of a name whether it goes. Names that begin with
// a colon are the status line. It remembers the names it has tested: a provider
// sends the same ones with each answer. One that invents names fills no more
// than the first thousand places.
func keepsHeader() string {
	var b strings.Builder
	b.WriteString("local sub, find, byte = string.sub, string.find, string.byte\nlocal goes, places = {")
	for _, h := range returned() {
		fmt.Fprintf(&b, "[%q]=false,", h)
	}
	b.WriteString("}, 1000\nlocal function test(name)\n  if byte(name) == 58 then return false end\n")
	for _, part := range returnedParts() {
		fmt.Fprintf(&b, "  if find(name, %q, 1, true) then return false end\n", part)
	}
	for _, start := range returnedStarts() {
		fmt.Fprintf(&b, "  if sub(name, 1, %d) == %q then return false end\n", len(start), start)
	}
	for _, end := range returnedEnds() {
		fmt.Fprintf(&b, "  if sub(name, -%d) == %q then return false end\n", len(end), end)
	}
	b.WriteString(`  return true
end
function envoy_match(name)
  local verdict = goes[name]
  if verdict == nil then
    verdict = test(name)
    if places > 0 and #name < 100 then places, goes[name] = places - 1, verdict end
  end
  return verdict
end
`)
	return b.String()
}
