package extauthz

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"

	"aigateway/budget"
	"aigateway/envoy"
)

// answer is a decision. Status 0 is a yes; everything else is a refusal with
// that HTTP status.
type answer struct {
	requestID string

	// a refusal
	status int
	body   []byte
	retry  string // value of x-should-retry; empty leaves it out

	// a yes to a key alone, which leaves the request as it is
	keyOnly bool

	// a yes
	provider    string
	decision    envoy.Decision
	misnamed    bool // the provider is told that the body is JSON
	bounded     bool
	bound       budget.Amount
	tightest    *budget.Status // nil: no budget watches the call
	injectedCap int64          // 0: none
}

// Field numbers of envoy.service.auth.v3, envoy.config.core.v3, envoy.type.v3
// and google.protobuf.Struct.
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

	structFields = 1
	valueString  = 3
	valueBool    = 4
)

// AppendWire appends the answer as a CheckResponse. It implements WireWriter
// and never returns an error.
func (a *answer) AppendWire(dst []byte) ([]byte, error) {
	if a.status != 0 {
		return a.appendDenied(dst), nil
	}
	if a.keyOnly {
		return appendMessage(dst, responseOK, func(dst []byte) []byte { return dst }), nil
	}
	dst = appendMessage(dst, responseOK, a.appendOK)
	return appendMessage(dst, responseMetadata, func(dst []byte) []byte { return appendDecision(dst, &a.decision) }), nil
}

func (a *answer) appendDenied(dst []byte) []byte {
	dst = appendMessage(dst, responseStatus, func(dst []byte) []byte {
		return appendVarint(dst, 1, uint64(codes.PermissionDenied))
	})
	return appendMessage(dst, responseDenied, func(dst []byte) []byte {
		dst = appendMessage(dst, deniedStatus, func(dst []byte) []byte { return appendVarint(dst, 1, uint64(a.status)) })
		dst = appendHeader(dst, deniedHeaders, "content-type", "application/json")
		if a.requestID != "" {
			dst = appendHeader(dst, deniedHeaders, envoy.HeaderClientRequestID, a.requestID)
		}
		if a.retry != "" {
			dst = appendHeader(dst, deniedHeaders, envoy.HeaderShouldRetry, a.retry)
		}
		dst = protowire.AppendTag(dst, deniedBody, protowire.BytesType)
		return protowire.AppendBytes(dst, a.body)
	})
}

func (a *answer) appendOK(dst []byte) []byte {
	dst = appendHeader(dst, okHeaders, envoy.HeaderUpstream, a.provider)
	if len(a.decision.Edits) > 0 {
		// The Lua filter takes this off after the splice; while it is there, the
		// request is not let through.
		dst = appendHeader(dst, okHeaders, envoy.HeaderEdit, "1")
	}
	if a.misnamed {
		dst = appendHeader(dst, okHeaders, "content-type", "application/json")
	}
	dst = appendHeader(dst, okResponseHeaders, envoy.HeaderClientRequestID, a.requestID)
	var usd [32]byte // an amount's text on the stack
	if a.bounded {
		dst = appendHeader(dst, okResponseHeaders, envoy.HeaderBoundUSD, string(a.bound.Append(usd[:0])))
	}
	if a.tightest != nil {
		dst = appendHeader(dst, okResponseHeaders, envoy.HeaderRemainingUSD, string(a.tightest.Remaining().Append(usd[:0])))
		dst = appendHeader(dst, okResponseHeaders, envoy.HeaderReservedUSD, string(a.tightest.Reserved.Append(usd[:0])))
	}
	if a.injectedCap > 0 {
		dst = appendHeader(dst, okResponseHeaders, envoy.HeaderInjectedMaxTokens, strconv.FormatInt(a.injectedCap, 10))
	}
	return dst
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

// appendDecision appends d as the Struct that envoy.Decision.Encode makes.
func appendDecision(dst []byte, d *envoy.Decision) []byte {
	dst = appendEntry(dst, "rsv", func(dst []byte) []byte { return appendString(dst, valueString, d.Token) })
	if len(d.Edits) > 0 {
		dst = appendEntry(dst, "edits", func(dst []byte) []byte { return appendString(dst, valueString, envoy.EncodeEdits(d.Edits)) })
	}
	if d.StripUsage {
		dst = appendEntry(dst, "strip_usage", func(dst []byte) []byte { return appendVarint(dst, valueBool, 1) })
	}
	if d.Anthropic {
		dst = appendEntry(dst, "anthropic", func(dst []byte) []byte { return appendVarint(dst, valueBool, 1) })
	}
	if d.Betas != "" {
		dst = appendEntry(dst, envoy.KeyBetas, func(dst []byte) []byte { return appendString(dst, valueString, d.Betas) })
	}
	return dst
}

// appendEntry appends one field of a Struct; value appends the inside of its
// Value.
func appendEntry(dst []byte, key string, value func([]byte) []byte) []byte {
	return appendMessage(dst, structFields, func(dst []byte) []byte {
		return appendMessage(appendString(dst, mapKey, key), mapValue, value)
	})
}

func appendVarint(dst []byte, num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(dst, num, protowire.VarintType), v)
}

func appendString(dst []byte, num protowire.Number, s string) []byte {
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}

// appendMessage appends a nested message. Its length comes before its content
// but is known after it, so the content moves by the length of the length.
func appendMessage(dst []byte, num protowire.Number, content func([]byte) []byte) []byte {
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	at := len(dst)
	dst = content(append(dst, 0)) // most lengths take one byte
	size := len(dst) - at - 1
	if extra := protowire.SizeVarint(uint64(size)) - 1; extra > 0 {
		dst = append(dst, make([]byte, extra)...)
		copy(dst[at+1+extra:], dst[at+1:at+1+size])
	}
	protowire.AppendVarint(dst[:at], uint64(size))
	return dst
}
