package apierror

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"aigateway/budget"
)

// Dialect is the shape of an error body, chosen by the path a client called.
type Dialect int

const (
	// OpenAI is the envelope of every path but Anthropic's, REST included.
	OpenAI Dialect = iota
	// Anthropic is the envelope of /v1/messages.
	Anthropic
)

// class is what one kind of error looks like outside.
type class struct {
	status    int
	openai    string // error.type
	anthropic string // error.type for /v1/messages
	reason    string // used when an error carries none
	retry     string // x-should-retry; empty leaves the SDK its default
}

// classOf is the only place where kinds become statuses and types.
//
// The retry column overrides the SDKs, which send a call three times on 429
// and 5xx. A refusal is final, so is our 504 (the provider may have billed
// already, and a repeat would be billed again); on 503 nothing was sent.
func classOf(k budget.Kind) class {
	switch k {
	case budget.KindInvalid:
		return class{http.StatusBadRequest, "invalid_request_error", "invalid_request_error", "field_invalid", ""}
	case budget.KindUnauthenticated:
		return class{http.StatusUnauthorized, "authentication_error", "authentication_error", "key_invalid", ""}
	case budget.KindBudgetExceeded:
		return class{http.StatusPaymentRequired, "budget_exceeded", "billing_error", "cap_reached", "false"}
	case budget.KindPermission:
		return class{http.StatusForbidden, "permission_error", "permission_error", "permission_denied", ""}
	case budget.KindModelNotFound:
		return class{http.StatusNotFound, "model_not_found", "not_found_error", "model_unknown", ""}
	case budget.KindNotFound:
		return class{http.StatusNotFound, "not_found", "not_found_error", "route_unknown", ""}
	case budget.KindConflict:
		return class{http.StatusConflict, "conflict", "invalid_request_error", "etag_mismatch", ""}
	case budget.KindTooLarge:
		return class{http.StatusRequestEntityTooLarge, "request_too_large", "request_too_large", "body_too_large", ""}
	case budget.KindRateLimited:
		return class{http.StatusTooManyRequests, "rate_limit_error", "rate_limit_error", "rate_limited", ""}
	case budget.KindProvider:
		return class{http.StatusBadGateway, "provider_error", "api_error", "upstream_unreachable", ""}
	case budget.KindUnavailable:
		return class{http.StatusServiceUnavailable, "service_unavailable", "api_error", "store_unavailable", "true"}
	case budget.KindTimeout:
		return class{http.StatusGatewayTimeout, "timeout_error", "timeout_error", "upstream_timeout", "false"}
	default: // KindInternal, and a kind nobody declared
		return class{http.StatusInternalServerError, "internal_error", "api_error", "internal", ""}
	}
}

// Status is the HTTP status of e.
func Status(e *budget.Error) int { return classOf(e.Kind).status }

// Type is error.type of e in dialect d.
func Type(d Dialect, e *budget.Error) string {
	if d == Anthropic {
		return classOf(e.Kind).anthropic
	}
	return classOf(e.Kind).openai
}

// Reason is error.metadata.reason of e: its own, or its kind's default.
func Reason(e *budget.Error) string {
	if e.Reason != "" {
		return e.Reason
	}
	return classOf(e.Kind).reason
}

// RetryHeader is the value of the x-should-retry response header, which the
// OpenAI and Anthropic SDKs obey; ok is false when the header is left out.
func RetryHeader(e *budget.Error) (value string, ok bool) {
	v := classOf(e.Kind).retry
	return v, v != ""
}

// RetryAfter is the value of the retry-after response header, in seconds; ok is false
// where it is left out. What is refused because too much runs at once may come
// again a second later.
func RetryAfter(e *budget.Error) (seconds string, ok bool) {
	if e.Kind != budget.KindRateLimited {
		return "", false
	}
	return "1", true
}

// From makes any error one that may be shown. A *budget.Error anywhere in the
// chain is returned itself; a deadline or a cancelled call becomes unavailable,
// since nothing was decided; all else is internal, with err as the cause and
// without a word of it in the message. From(nil) is nil.
func From(err error) *budget.Error {
	if err == nil {
		return nil
	}
	var e *budget.Error
	if errors.As(err, &e) {
		if e == nil { // a nil pointer in an error: nothing may be called on it
			return internal(errors.New("a nil *budget.Error was returned"))
		}
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return budget.Unavailable("decision_timeout", "the gateway could not decide in time; nothing was sent, try again", err)
	}
	return internal(err)
}

func internal(err error) *budget.Error {
	return &budget.Error{
		Kind: budget.KindInternal, Reason: "internal", Err: err,
		Message: "the gateway failed on this request; its log has the cause",
	}
}

// RouteUnknown is the answer for a method and a path that nothing serves.
func RouteUnknown(method, path string) *budget.Error {
	const limit = 200 // an answer does not repeat an attacker's megabyte
	if len(path) > limit {
		path = path[:limit] + "…"
	}
	return budget.NotFound("route_unknown", "no route for "+method+" "+strings.ToValidUTF8(path, "?")+"; /openapi.json lists them")
}
