package extauthz

import (
	"strconv"
	"time"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/envoy/wire"
)

// answer is a decision. Status 0 is a yes; everything else is a refusal with
// that HTTP status.
type answer struct {
	requestID string

	// a refusal
	status int
	reason string
	failed bool // by a fault of ours
	body   []byte
	retry  string // value of x-should-retry; empty leaves it out
	// retryAfter is the value of retry-after; empty leaves it out
	retryAfter string

	// a yes to a key alone, which leaves the request as it is
	keyOnly bool

	// a yes
	provider          string
	decision          envoy.Decision
	misnamed          bool // the provider is told that the body is JSON
	bounded           bool
	bound             budget.Amount
	tightest          *budget.Status // nil: no budget watches the call
	injectedCap       int64          // 0: none
	injectedToolCalls int64          // 0: none

	// either
	waited time.Duration // for running calls to end
}

// AppendWire appends the answer as a CheckResponse. It implements wire.Writer
// and never returns an error.
func (a *answer) AppendWire(dst []byte) ([]byte, error) {
	switch {
	case a.status != 0:
		return wire.AppendDenied(dst, a.status, a.body, a.appendDenied), nil
	case a.keyOnly:
		return wire.AppendOK(dst, nil, func(dst []byte) []byte { return dst }), nil
	}
	return wire.AppendOK(dst, &a.decision, a.appendOK), nil
}

func (a *answer) appendDenied(dst []byte) []byte {
	dst = wire.AppendDeniedHeader(dst, "content-type", "application/json")
	if a.requestID != "" {
		dst = wire.AppendDeniedHeader(dst, envoy.HeaderClientRequestID, a.requestID)
	}
	if a.waited > 0 {
		dst = wire.AppendDeniedHeader(dst, envoy.HeaderWaitedMS, millis(a.waited))
	}
	if a.retry != "" {
		dst = wire.AppendDeniedHeader(dst, envoy.HeaderShouldRetry, a.retry)
	}
	if a.retryAfter != "" {
		dst = wire.AppendDeniedHeader(dst, "retry-after", a.retryAfter)
	}
	return dst
}

func (a *answer) appendOK(dst []byte) []byte {
	dst = wire.AppendUpstreamHeader(dst, envoy.HeaderUpstream, a.provider)
	if len(a.decision.Edits) > 0 {
		// The Lua filter takes this off after the splice; while it is there, the
		// request is not let through.
		dst = wire.AppendUpstreamHeader(dst, envoy.HeaderEdit, envoy.EncodeEdits(a.decision.Edits))
	}
	if a.misnamed {
		dst = wire.AppendUpstreamHeader(dst, "content-type", "application/json")
	}
	dst = wire.AppendClientHeader(dst, envoy.HeaderClientRequestID, a.requestID)
	var usd [32]byte // an amount's text on the stack
	if a.bounded {
		dst = wire.AppendClientHeader(dst, envoy.HeaderBoundUSD, string(a.bound.Append(usd[:0])))
	}
	if a.tightest != nil {
		dst = wire.AppendClientHeader(dst, envoy.HeaderRemainingUSD, string(a.tightest.Remaining().Append(usd[:0])))
		dst = wire.AppendClientHeader(dst, envoy.HeaderReservedUSD, string(a.tightest.Reserved.Append(usd[:0])))
	}
	if a.waited > 0 {
		dst = wire.AppendClientHeader(dst, envoy.HeaderWaitedMS, millis(a.waited))
	}
	if a.injectedCap > 0 {
		dst = wire.AppendClientHeader(dst, envoy.HeaderInjectedMaxTokens, strconv.FormatInt(a.injectedCap, 10))
	}
	if a.injectedToolCalls > 0 {
		dst = wire.AppendClientHeader(dst, envoy.HeaderInjectedMaxToolCalls, strconv.FormatInt(a.injectedToolCalls, 10))
	}
	return dst
}

// millis is d in whole milliseconds, at least 1.
func millis(d time.Duration) string { return strconv.FormatInt(max(1, d.Milliseconds()), 10) }
