package wire

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"aigateway/envoy"
)

// Field numbers of envoy.service.auth.v3, envoy.config.core.v3 and
// envoy.type.v3.
const (
	responseStatus   = 1
	responseDenied   = 2
	responseOK       = 3
	responseMetadata = 4

	deniedStatus  = 1
	deniedHeaders = 2
	deniedBody    = 3

	okHeaders         = 2
	okResponseHeaders = 6

	optionHeader = 1
	optionAction = 3
)

// AppendDenied appends a CheckResponse that answers the client with a status, a
// body and what headers appends with AppendDeniedHeader.
func AppendDenied(dst []byte, status int, body []byte, headers func([]byte) []byte) []byte {
	dst = appendMessage(dst, responseStatus, func(dst []byte) []byte {
		return appendVarint(dst, 1, uint64(codes.PermissionDenied))
	})
	return appendMessage(dst, responseDenied, func(dst []byte) []byte {
		dst = appendMessage(dst, deniedStatus, func(dst []byte) []byte { return appendVarint(dst, 1, uint64(status)) })
		dst = headers(dst)
		dst = protowire.AppendTag(dst, deniedBody, protowire.BytesType)
		return protowire.AppendBytes(dst, body)
	})
}

// AppendOK appends a CheckResponse that lets a request pass, with what headers
// appends with AppendUpstreamHeader and AppendClientHeader, and with d for the
// filters behind; nil: nothing for them.
func AppendOK(dst []byte, d *envoy.Decision, headers func([]byte) []byte) []byte {
	dst = appendMessage(dst, responseOK, headers)
	if d == nil {
		return dst
	}
	return appendMessage(dst, responseMetadata, func(dst []byte) []byte { return appendDecision(dst, d) })
}

// AppendDeniedHeader appends a header of a refusal, in the place of any other of
// its name.
func AppendDeniedHeader(dst []byte, key, value string) []byte {
	return appendHeader(dst, deniedHeaders, key, value)
}

// AppendUpstreamHeader appends a header that the request gets.
func AppendUpstreamHeader(dst []byte, key, value string) []byte {
	return appendHeader(dst, okHeaders, key, value)
}

// AppendClientHeader appends a header that the answer to the client gets.
func AppendClientHeader(dst []byte, key, value string) []byte {
	return appendHeader(dst, okResponseHeaders, key, value)
}

// appendHeader appends a HeaderValueOption that replaces whatever the message
// had under that name.
func appendHeader(dst []byte, num protowire.Number, key, value string) []byte {
	return appendMessage(dst, num, func(dst []byte) []byte {
		dst = appendMessage(dst, optionHeader, func(dst []byte) []byte {
			return appendString(appendString(dst, headerKey, key), headerValue, value)
		})
		return appendVarint(dst, optionAction, uint64(corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD))
	})
}

// appendDecision appends d as a Struct.
func appendDecision(dst []byte, d *envoy.Decision) []byte {
	dst = appendText(dst, envoy.KeyToken, d.Token)
	if stream := d.Stream(); stream != "" {
		dst = appendText(dst, envoy.KeyStream, stream)
	}
	if d.Anthropic {
		dst = appendTrue(dst, envoy.KeyAnthropic)
	}
	if d.Betas != "" {
		dst = appendText(dst, envoy.KeyBetas, d.Betas)
	}
	return dst
}

func appendText(dst []byte, key, text string) []byte {
	return appendMember(dst, key, func(dst []byte) []byte { return appendString(dst, valueString, text) })
}

func appendTrue(dst []byte, key string) []byte {
	return appendMember(dst, key, func(dst []byte) []byte { return appendVarint(dst, valueBool, 1) })
}

// appendMember appends one member of a Struct; value appends the inside of its
// Value.
func appendMember(dst []byte, key string, value func([]byte) []byte) []byte {
	return appendMessage(dst, structFields, func(dst []byte) []byte {
		return appendMessage(appendString(dst, mapKey, key), mapValue, value)
	})
}
