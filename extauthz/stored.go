package extauthz

import (
	"bytes"
	"context"
	"regexp"

	"aigateway/budget"
	"aigateway/envoy"
)

// Origins knows where responses were made that their providers store. It is safe
// for concurrent use.
type Origins interface {
	// Provider is the provider that made the response with the key; false when
	// this gateway has not seen that. It may wait for a moment for the log of one
	// that was just made.
	Provider(ctx context.Context, keyID, id string) (string, bool)
	// Foreign reports whether the provider's response with this id is known to have
	// been made with another key.
	Foreign(keyID, provider, id string) bool
}

// storedPath is a stored response, or what may be asked about it.
var storedPath = regexp.MustCompile(`^/v1/responses/([A-Za-z0-9_-]+)(/cancel|/input_items)?/?$`)

// stored decides a call about a response that its provider stores: it goes there
// if the same key made it. All keys share the account at the provider, so for any
// other id there is nothing. It costs nothing and holds nothing.
func (s *Server) stored(ctx context.Context, r *request, id string) (*answer, error) {
	key, err := s.caller(r)
	if err != nil {
		return nil, err
	}
	if _, err := r.tagFor(key); err != nil {
		return nil, err
	}
	response, err := r.storedResponse()
	if err != nil {
		return nil, err
	}
	provider, ok := "", false
	if s.origins != nil {
		provider, ok = s.origins.Provider(ctx, key.ID, response)
	}
	if !ok {
		return nil, budget.NotFound("response_unknown", "no response with this id was made with this key through this gateway, or it was too long ago; responses are had with the key that made them")
	}
	s.metrics.free.Inc()
	return &answer{requestID: id, provider: provider, decision: envoy.Decision{Token: envoy.TokenFree}}, nil
}

// MayName implements pricing.Caller: what is known to be another key's is not
// there, on whatever tag, for its provider would put it into this key's answer.
func (p *payer) MayName(provider string, ids []string) error {
	s := p.server
	for _, id := range ids {
		if s.origins != nil && s.origins.Foreign(p.key.ID, provider, id) || s.settled != nil && s.settled.Foreign(p.key.ID, provider, id) {
			return budget.NotFound("response_unknown", "the body names a response, or an item of one, that was not made with this key; send the messages themselves")
		}
	}
	return nil
}

// storedResponse is the id of the response that is asked for.
func (r *request) storedResponse() (string, error) {
	path, _, _ := bytes.Cut(r.Path, []byte("?"))
	m := storedPath.FindSubmatch(path)
	if m == nil {
		return "", budget.NotFound("route_unknown", "there is no such endpoint here; see /openapi.json for those there are")
	}
	method, what := string(r.Method), string(m[2])
	if !(method == "GET" && what != "/cancel" || method == "DELETE" && what == "" || method == "POST" && what == "/cancel") {
		return "", budget.NotFound("route_unknown", "a response takes GET and DELETE, its input_items GET, its cancel POST")
	}
	if body := bytes.TrimSpace(r.Body()); len(body) > 0 && string(body) != "{}" || r.Headers.Upgrade.N > 0 {
		return "", budget.Invalid("field_invalid", "", "this address takes no body and no upgrade; leave them out")
	}
	return string(m[1]), nil
}
