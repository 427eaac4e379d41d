package extauthz

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"aigateway/budget"
	"aigateway/envoy"
	"aigateway/envoy/wire"
	"aigateway/pricing"
)

// maxRequestID is the longest request id taken; Envoy's own are 36 bytes.
const maxRequestID = 128

// request is what Envoy asks, with what this package reads out of it.
type request struct{ wire.Check }

// id is the request id that Envoy made, which joins the decision, both log
// channels and our own log.
func (r *request) id() (string, error) {
	f := r.Headers.RequestID
	if f.N != 1 || len(f.Value) == 0 || len(f.Value) > maxRequestID {
		return "", &budget.Error{
			Kind: budget.KindInternal, Reason: "request_id_missing",
			Message: "the gateway's Envoy sent no usable x-request-id; use the bootstrap that `aigateway envoy bootstrap` prints",
		}
	}
	for _, c := range f.Value {
		if c <= ' ' || c > '~' {
			return "", &budget.Error{Kind: budget.KindInternal, Reason: "request_id_missing", Message: "the gateway's Envoy sent an x-request-id that is not printable ASCII"}
		}
	}
	return string(f.Value), nil
}

// keyOnly reports whether nothing but the key is in question: the body has yet
// to be read.
func (r *request) keyOnly() bool { return string(r.Step) == envoy.StepKey }

// api is what is called: the context extension of the route that Envoy found, or,
// where the route has many APIs, the one at its path.
func (r *request) api() pricing.Endpoint {
	if len(r.API) > 0 {
		return pricing.EndpointNamed(r.API)
	}
	path, _, _ := bytes.Cut(r.Path, []byte("?"))
	return pricing.EndpointAt(string(path))
}

// anthropic reports whether the client speaks Anthropic's own API.
func (r *request) anthropic() bool { return r.api().Anthropic() }

// secret is the key's text. Anthropic's SDKs send theirs in x-api-key, so its
// API takes that, too. Both headers may be sent where they hold the same key, as
// some clients do; with two keys, which of them pays would depend on who reads
// first. One header sent twice is refused whatever it holds: HTTP has no such
// Authorization, and what a proxy makes of it cannot be told from a longer key.
func (r *request) secret() (string, error) {
	h := &r.Headers
	switch {
	case h.Authorization.N > 1:
		return "", budget.KeyRepeated("Authorization")
	case h.APIKey.N > 1 && (r.anthropic() || h.Authorization.N > 0):
		return "", budget.KeyRepeated("x-api-key")
	case h.Authorization.N > 0 && h.APIKey.N > 0:
		key, err := bearer(h.Authorization.Value)
		if err != nil || !budget.SameKey(key, bytes.Trim(h.APIKey.Value, " ")) {
			return "", denied("key_invalid", "authorization", "Authorization and x-api-key were sent with different keys; "+r.oneOfBoth())
		}
		return ownKey("authorization", key)
	case r.anthropic() && h.APIKey.N == 1:
		return ownKey("x-api-key", bytes.Trim(h.APIKey.Value, " "))
	case r.anthropic() && h.Authorization.N == 0:
		return "", denied("key_missing", "x-api-key", "no key was sent; send x-api-key: "+budget.KeyPrefix+"… or Authorization: Bearer "+budget.KeyPrefix+"…")
	case h.Authorization.N == 0:
		return "", denied("key_missing", "authorization", "no key was sent; send Authorization: Bearer "+budget.KeyPrefix+"…")
	}
	key, err := bearer(h.Authorization.Value)
	if err != nil {
		return "", err
	}
	return ownKey("authorization", key)
}

// oneOfBoth is what to do about two different credentials.
func (r *request) oneOfBoth() string {
	if r.anthropic() {
		return "send one of them, with one key"
	}
	return "send Authorization alone"
}

// bearer is the credential in an Authorization header.
func bearer(value []byte) ([]byte, error) {
	scheme, key, found := bytes.Cut(value, []byte(" "))
	if !found || !bytes.EqualFold(scheme, []byte("Bearer")) {
		return nil, denied("key_invalid", "authorization", "the Authorization header is no bearer key; send Authorization: Bearer "+budget.KeyPrefix+"…")
	}
	return bytes.Trim(key, " "), nil
}

// refusal is err, with which the key was refused, or a better reason for it.
func (r *request) refusal(err error) error {
	if h := &r.Headers; r.anthropic() && h.Authorization.N == 0 {
		return budget.KeyRefusal(err, "x-api-key", string(h.APIKey.Value))
	}
	return budget.KeyRefusal(err, "Authorization", string(r.Headers.Authorization.Value))
}

func ownKey(field string, key []byte) (string, error) {
	if !bytes.HasPrefix(key, []byte(budget.KeyPrefix)) {
		return "", denied("key_invalid", field, "the key is not one of this gateway; its keys start with "+budget.KeyPrefix)
	}
	return string(key), nil
}

func denied(reason, field, message string) *budget.Error {
	return &budget.Error{Kind: budget.KindUnauthenticated, Reason: reason, Field: field, Message: message}
}

// betas is what of the client's anthropic-beta may reach the provider: those of
// allowed, once each. Others are left out, not refused: clients send betas that
// they can do without, and a body that cannot is refused by the provider.
func (r *request) betas(allowed []string) (string, error) {
	f := &r.Headers.Beta
	switch {
	case f.N == 0 || len(allowed) == 0:
		return "", nil
	case f.N > 1:
		return "", budget.Invalid("field_invalid", envoy.HeaderBeta, "anthropic-beta was sent more than once; send one header with the names joined by commas")
	}
	var kept []string
	for name := range bytes.SplitSeq(f.Value, []byte(",")) {
		name = bytes.TrimSpace(name)
		for _, a := range allowed {
			if string(name) == a && !slices.Contains(kept, a) {
				kept = append(kept, a)
			}
		}
	}
	return strings.Join(kept, ","), nil
}

// tagFor is the tag the call is charged to.
func (r *request) tagFor(key *budget.Key) (budget.Tag, error) {
	f := r.Headers.Tag
	switch {
	case f.N == 0 && key.DefaultTag != "":
		return key.DefaultTag, nil // checked when the key was made
	case f.N > 1, !r.Raw && bytes.IndexByte(f.Value, ',') >= 0:
		return "", budget.Invalid("tag_repeated", envoy.HeaderTag, "x-aig-tag was sent more than once; a call has one tag")
	}
	tag := budget.Untagged
	if f.N == 1 {
		var err error
		if tag, err = budget.ParseTag(string(f.Value)); err != nil {
			return "", err
		}
	}
	if !key.MayUseTag(tag) {
		return "", &budget.Error{
			Kind: budget.KindPermission, Reason: "tag_not_allowed", Field: envoy.HeaderTag,
			Message: fmt.Sprintf("this key may not use the tag %q; send one of its allowed tags", tag),
		}
	}
	return tag, nil
}

// endpoint is the kind of call.
func (r *request) endpoint() (pricing.Endpoint, error) {
	if e := r.api(); e.Known() {
		return e, nil
	}
	return "", &budget.Error{
		Kind: budget.KindInternal, Reason: "api_unknown",
		Message: "the gateway's route names no API that this version decides; use the routes it serves itself",
	}
}

// content checks that the body is one whole, plain JSON document, or one whole
// form where the endpoint takes forms: whatever is hidden in an encoding or cut
// off could not be bounded. The boundary of a form is never empty.
func (r *request) content(e pricing.Endpoint) (body []byte, boundary string, err error) {
	if e.TakesForms() && r.Headers.ContentType.N == 1 {
		if boundary, err = pricing.FormBoundary(r.Headers.ContentType.Value); err != nil {
			return nil, "", err
		}
	}
	body, err = r.whole(boundary != "")
	return body, boundary, err
}

// whole is the body, if it came as it should.
func (r *request) whole(form bool) ([]byte, error) {
	h := &r.Headers
	body := r.Body()
	switch {
	case string(r.Method) != "POST":
		return nil, budget.NotFound("route_unknown", "this address answers POST only; send a JSON body with POST")
	case h.PartialBody.N > 0 && string(h.PartialBody.Value) != "false":
		return nil, &budget.Error{Kind: budget.KindTooLarge, Reason: "body_too_large", Message: "the body is longer than this gateway reads; send a shorter one"}
	case h.Upgrade.N > 0:
		return nil, budget.Invalid("body_missing", "upgrade", "this address takes a JSON body, no upgraded connection; leave the upgrade header out")
	case h.ContentEncoding.N > 0 && !isIdentity(h.ContentEncoding):
		return nil, budget.Invalid("content_encoding_unsupported", "content-encoding", "the body is compressed; send it as plain JSON without a content-encoding")
	case !form && !mayBeJSON(h.ContentType):
		return nil, budget.Invalid("content_type_unsupported", "content-type", "the content type is in parts, in another character set or there twice; send the body as JSON, with content-type: application/json")
	case len(body) == 0:
		return nil, budget.Invalid("body_missing", "", "the body is empty; send a JSON object")
	case !agrees(h.ContentLength, len(body)):
		return nil, budget.Invalid("body_missing", "content-length", "the body is not as long as its content-length says; send it whole")
	}
	return body, nil
}

func agrees(f wire.Header, length int) bool {
	if f.N == 0 {
		return true
	}
	n, err := strconv.Atoi(string(f.Value))
	return err == nil && f.N == 1 && n == length
}

func isIdentity(f wire.Header) bool {
	return f.N == 1 && bytes.EqualFold(bytes.TrimSpace(f.Value), []byte("identity"))
}

// mayBeJSON accepts every content type, as `curl -d` calls JSON a form: the body
// has to be JSON whatever it is called, and the provider is told so (see
// isJSON). What says that it has parts or another character set has to be meant.
func mayBeJSON(f wire.Header) bool {
	media, params, _ := bytes.Cut(f.Value, []byte(";"))
	if f.N > 1 || bytes.IndexByte(f.Value, ',') >= 0 || hasPrefixFold(bytes.TrimSpace(media), "multipart/") {
		return false
	}
	for len(params) > 0 {
		var p []byte
		p, params, _ = bytes.Cut(params, []byte(";"))
		name, value, _ := bytes.Cut(p, []byte("="))
		if !bytes.EqualFold(bytes.TrimSpace(name), []byte("charset")) {
			continue
		}
		value = bytes.Trim(bytes.TrimSpace(value), `"`)
		if !bytes.EqualFold(value, []byte("utf-8")) && !bytes.EqualFold(value, []byte("utf8")) && !bytes.EqualFold(value, []byte("us-ascii")) {
			return false
		}
	}
	return true
}

func hasPrefixFold(s []byte, prefix string) bool {
	return len(s) >= len(prefix) && bytes.EqualFold(s[:len(prefix)], []byte(prefix))
}

// isJSON reports whether the body is called what it is. If not, the provider
// gets another name for it: one that reads a form would read another call than
// the one that was bounded.
func isJSON(f wire.Header) bool {
	media, _, _ := bytes.Cut(f.Value, []byte(";"))
	return bytes.EqualFold(bytes.TrimSpace(media), []byte("application/json"))
}
