package envoy

import (
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	celv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/filters/cel/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// reply is one kind of answer that Envoy gives by itself, in our envelope.
type reply struct {
	// when is a CEL expression over Envoy's attributes; or, if it begins with
	// "flags ", a list of response flags, one of which must be set.
	when    string
	code    int
	typ     string
	reason  string
	message string
	// retry is the x-should-retry header. It is "false" wherever the provider
	// may already have billed the call, or SDKs pay for it three times.
	retry string
	// id adds the request id header, where no OK from Check adds it.
	id bool
}

// ours matches answers that already are in the envelope: Check's refusals and
// the direct responses of our own routes.
const ours = `(response.code_details.startsWith("ext_authz_denied") || response.code_details == "direct_response")`

// onMessages matches calls of Anthropic's own API. The path is as the client
// sent it, but normalized; what follows it has a 404 of its own envelope, too.
const onMessages = `(request.url_path == "` + pathMessages + `" || request.url_path.startsWith("` + pathMessages + `/"))`

// onWebSocket matches the upgrade that Envoy refused where the Responses API is. A
// client that can do without one, such as Codex, posts at once after a 426, and
// gives up after any other status.
const onWebSocket = `response.code_details == "upgrade_failed" && request.method == "GET" && request.url_path in ["` + pathResponses + `", "` + pathResponses + `/"]`

// anthropicType is error.type in Anthropic's envelope.
func (r reply) anthropicType() string {
	switch r.typ {
	case "not_found":
		return "not_found_error"
	case "provider_error", "service_unavailable":
		return "api_error"
	}
	return r.typ // the others are the same there
}

// DetailsRefused are the response code details of a request that the provider
// says it has not touched: it reset the stream with REFUSED_STREAM, or went away
// with a GOAWAY for earlier ones (RFC 9113, section 8.7). Envoy had sent it anew by
// then, as often as the route lets it.
const DetailsRefused = "upstream_reset_before_response_started{remote_refused_stream_reset}"

// replies are tried in order.
func replies() []reply {
	const unavailable, provider, timeout, invalid = "service_unavailable", "provider_error", "timeout_error", "invalid_request_error"
	return []reply{
		{`response.code_details.startsWith("ext_authz_error")`, 503, unavailable, "decision_timeout",
			"No spending decision could be made in time, so nothing was sent to the provider. Try again.", "true", true},
		{`response.code_details.startsWith("rbac_access_denied") && response.code_details.contains("` + policyEdit + `")`, 503, unavailable, "edit_failed",
			"The request could not be prepared for the provider, so nothing was sent.", "true", false},
		{onWebSocket, 426, invalid, "websocket_unsupported",
			"There is no WebSocket here; post the request over HTTP.", "", true},
		{`response.code_details == "route_not_found"`, 404, "not_found", "route_unknown",
			"There is no such endpoint here; see /openapi.json for those there are.", "", true},
		{detailsNoCredential, 503, unavailable, "credential_unavailable",
			"This gateway has no credential for the provider now, so nothing was sent to it. Try again; if it lasts, whoever runs the gateway must check the provider's settings.", "true", false},
		{`response.code_details == "local_rate_limited"`, 429, "rate_limit_error", "too_many_requests",
			"Your address sends more requests than this gateway takes from one. Wait before you try again.", "true", true},
		{`response.code == 413 && !` + ours, 413, "request_too_large", "body_too_large",
			"The request body is longer than this gateway accepts.", "", true},
		{`xds.cluster_name == "` + ClusterREST + `" && response.code >= 500`, 503, unavailable, "control_plane_unavailable",
			"The control plane does not answer. Try again.", "true", true},
		{`response.code_details == "cluster_not_found"`, 503, unavailable, "provider_not_ready",
			"The provider is being added or removed; nothing was sent to it. Try again.", "true", true},
		{"flags UF UH DF", 502, provider, "upstream_unreachable",
			"The provider cannot be reached; nothing was sent to it.", "true", false},
		{"flags UO OM", 503, unavailable, "overloaded",
			"This gateway is at its limit; nothing was sent to the provider. Try again.", "true", false},
		{`response.code_details == "overload"`, 503, unavailable, "overloaded",
			"This gateway is at its limit; nothing was sent to the provider. Try again.", "true", false},
		{`response.code_details == "` + DetailsRefused + `"`, 502, provider, "upstream_refused",
			"The provider refused the request untouched, each time that it was sent; it cannot have billed it. Try again.", "true", false},
		{"flags UPE", 502, provider, "upstream_malformed",
			"The provider's answer is not valid HTTP, ended too early, or has headers too long or too many; it may have billed the call.", "false", false},
		{`response.code_details == "response_payload_too_large"`, 502, provider, "upstream_malformed",
			"The provider's error is too long to be passed on.", "false", false},
		{"flags UR UC", 502, provider, "upstream_disconnected",
			"The provider closed the connection before it answered; it may have billed the call.", "false", false},
		{`response.code == 504 && !` + ours, 504, timeout, "upstream_timeout",
			"The provider did not answer in time; it may have billed the call.", "false", false},
		{`response.code == 408 && !` + ours, 408, timeout, "request_timeout",
			"The request did not arrive completely in time.", "", true},
		// 501 is Envoy's own answer to a transfer-encoding other than chunked.
		{`(response.code < 500 || response.code == 501) && !` + ours, 400, invalid, "malformed_request",
			"The request is not valid HTTP for this gateway.", "", true},
		{`!` + ours, 503, unavailable, "gateway_error",
			"This gateway could not complete the call; the provider may have billed it.", "false", false},
	}
}

func (b *builder) localReplies() *hcmv3.LocalReplyConfig {
	c := &hcmv3.LocalReplyConfig{}
	for _, r := range replies() {
		c.Mappers = append(c.Mappers, b.mapper(b.both(b.condition(r.when), b.condition(onMessages)), r, r.anthropicBody()))
		c.Mappers = append(c.Mappers, b.mapper(b.condition(r.when), r, r.openAIBody()))
	}
	return c
}

func (r reply) openAIBody() map[string]any {
	return map[string]any{"error": map[string]any{
		"message": r.message, "type": r.typ, "code": r.code,
		"metadata": map[string]any{"reason": r.reason, "request_id": "%REQ(x-request-id)%"},
	}}
}

func (r reply) anthropicBody() map[string]any {
	return map[string]any{
		"type":       "error",
		"error":      map[string]any{"message": r.message, "type": r.anthropicType(), "metadata": map[string]any{"reason": r.reason}},
		"request_id": "%REQ(x-request-id)%",
	}
}

func (b *builder) both(one, other *accesslogv3.AccessLogFilter) *accesslogv3.AccessLogFilter {
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_AndFilter{
		AndFilter: &accesslogv3.AndFilter{Filters: []*accesslogv3.AccessLogFilter{one, other}},
	}}
}

func (b *builder) mapper(when *accesslogv3.AccessLogFilter, r reply, envelope map[string]any) *hcmv3.ResponseMapper {
	body, err := structpb.NewStruct(envelope)
	if err != nil {
		b.fail(err)
	}
	m := &hcmv3.ResponseMapper{
		Filter:     when,
		StatusCode: u32(r.code),
		BodyFormatOverride: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: body},
		},
	}
	if r.retry != "" {
		m.HeadersToAdd = append(m.HeadersToAdd, setHeader(HeaderShouldRetry, r.retry))
	}
	if r.id {
		m.HeadersToAdd = append(m.HeadersToAdd, setHeader(HeaderClientRequestID, "%REQ(x-request-id)%"))
	}
	return m
}

func (b *builder) condition(when string) *accesslogv3.AccessLogFilter {
	if flags, ok := strings.CutPrefix(when, "flags "); ok {
		return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
			ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: strings.Fields(flags)},
		}}
	}
	return &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ExtensionFilter{
		ExtensionFilter: &accesslogv3.ExtensionFilter{
			Name:       "envoy.access_loggers.extension_filters.cel",
			ConfigType: &accesslogv3.ExtensionFilter_TypedConfig{TypedConfig: b.any(&celv3.ExpressionFilter{Expression: when})},
		},
	}}
}
